"""The three patches beside server-side apply: JSON merge (RFC 7386), JSON (RFC 6902), strategic merge."""

from typing import Any

import jsonpatch
import jsonpointer

from localkube import errors, schema
from localkube.objects import Json


def merge(value: Any, patch: Any) -> Any:
    """RFC 7386, and as the API server's library has it: in the objects of lists, too, null means absent."""
    if isinstance(patch, list):
        return [_pruned(item) for item in patch]
    if not isinstance(patch, dict):
        return patch
    result = dict(value) if isinstance(value, dict) else {}
    for key, item in patch.items():
        if item is None:
            result.pop(key, None)
        else:
            result[key] = merge(result.get(key), item)
    return result


def _pruned(item: Any) -> Any:
    if isinstance(item, dict):
        return {key: _pruned(inner) for key, inner in item.items() if inner is not None}
    return [_pruned(inner) for inner in item] if isinstance(item, list) else item


def json_patch(value: Json, operations: Any) -> Json:
    """RFC 6902. Refused with 422 when a test fails or a path is not there (clients rely on that code)."""
    if not isinstance(operations, list):
        raise errors.bad_request("error decoding patch: a JSON patch is a list of operations")
    result: Any = value
    try:
        for operation in operations:
            result = jsonpatch.JsonPatch([_lenient(operation, result)]).apply(result)
    except (jsonpatch.JsonPatchException, jsonpointer.JsonPointerException, KeyError, TypeError):
        message = "the server rejected our request due to an error in our request"
        raise errors.Refused(422, "Invalid", message, {}) from None
    return dict(result)


def _lenient(operation: Any, value: Any) -> Any:
    """The API server's library replaces members that are not there, and finds null in them."""
    if not isinstance(operation, dict) or not operation.get("path"):
        raise jsonpatch.InvalidJsonPatch("the whole object cannot be patched")
    if operation.get("op") == "replace":
        parent, _ = jsonpointer.JsonPointer(operation["path"]).to_last(value)
        return operation | {"op": "add"} if isinstance(parent, dict) else operation
    if operation.get("op") == "test" and jsonpointer.resolve_pointer(value, operation["path"], None) is None:
        return {"op": "test", "path": "", "value": value if operation.get("value") is None else None}
    return operation


def strategic(shape: Json, value: Any, patch: Any) -> Any:
    """Kubernetes' own, for built-in kinds: lists with a merge key merge by it; `$patch`, `$retainKeys` and friends."""
    if not isinstance(patch, dict):
        return patch
    how = patch.get("$patch")
    if how == "replace":
        return {k: v for k, v in patch.items() if k != "$patch"}
    result = dict(value) if isinstance(value, dict) else {}
    if retained := patch.get("$retainKeys"):
        result = {k: v for k, v in result.items() if k in retained}
    for key, item in patch.items():
        if key.startswith("$deleteFromPrimitiveList/"):
            name = key.partition("/")[2]
            result[name] = [one for one in result.get(name, []) if one not in item]
        elif key.startswith("$"):
            continue  # $setElementOrder: see _list
        elif item is None or _deletes(item, key in result):
            result.pop(key, None)
        else:
            inner = schema.child(shape, key) or {}
            if isinstance(item, list):
                result[key] = _list(inner, result.get(key), item, patch.get(f"$setElementOrder/{key}", item))
            else:
                result[key] = strategic(inner, result.get(key), item)
    return result


def _deletes(item: Any, there: bool) -> bool:
    """Where there is nothing to replace, the API server leaves nothing."""
    how = item.get("$patch") if isinstance(item, dict) else None
    return how is not None and (how == "delete" or not there)


def _list(shape: Json, value: Any, patch: list[Any], order: list[Any]) -> list[Any]:
    result = list(value or [])
    if shape.get("x-kubernetes-list-type") == "set":
        return result + [item for item in patch if item not in result]
    merge_key = shape.get("x-kubernetes-patch-merge-key")
    if merge_key is None or {"$patch": "replace"} in patch:
        return [item for item in patch if item != {"$patch": "replace"}]
    for item in patch:
        at = next((n for n, one in enumerate(result) if one.get(merge_key) == item.get(merge_key)), None)
        if item.get("$patch") == "delete":
            result = [one for one in result if one.get(merge_key) != item.get(merge_key)]
        elif at is None:
            result.append(strategic(shape["items"], {}, item))
        else:
            result[at] = strategic(shape["items"], result[at], item)
    before, wanted = ([item.get(merge_key) for item in items] for items in (value or [], order))
    return _ordered({item.get(merge_key): item for item in result}, before, wanted)


def _ordered(items: dict[Any, Any], before: list[Any], wanted: list[Any]) -> list[Any]:
    """The patch's items in its order; the others stay before those of its items that they stood before."""
    asked = [key for key in wanted if key in items]
    result = []
    for key in [key for key in items if key not in asked]:
        while asked and not (asked[0] in before and before.index(key) < before.index(asked[0])):
            result.append(items[asked.pop(0)])
        result.append(items[key])
    return result + [items[key] for key in asked]
