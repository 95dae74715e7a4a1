"""The three patches beside server-side apply: JSON merge (RFC 7386), JSON (RFC 6902), strategic merge."""

from typing import Any

import jsonpatch
import jsonpointer

from penstock.embedded import errors, schema
from penstock.embedded.objects import Json


def merge(value: Any, patch: Any) -> Any:
    """RFC 7386."""
    if not isinstance(patch, dict):
        return patch
    result = dict(value) if isinstance(value, dict) else {}
    for key, item in patch.items():
        if item is None:
            result.pop(key, None)
        else:
            result[key] = merge(result.get(key), item)
    return result


def json_patch(value: Json, operations: Any) -> Json:
    """RFC 6902. Refused with 422 when a test fails or a path is not there (clients rely on that code)."""
    try:
        result: Any = jsonpatch.JsonPatch(operations).apply(value)
    except (jsonpatch.JsonPatchException, jsonpointer.JsonPointerException, TypeError):
        message = "the server rejected our request due to an error in our request"
        raise errors.Refused(422, "Invalid", message) from None
    return dict(result)


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
            continue  # $setElementOrder only orders
        elif item is None:
            result.pop(key, None)
        else:
            inner = schema.child(shape, key) or {}
            joined = _list if isinstance(item, list) else strategic
            result[key] = joined(inner, result.get(key), item)
    return result


def _list(shape: Json, value: Any, patch: list[Any]) -> list[Any]:
    kind = shape.get("x-kubernetes-list-type")
    result = list(value or [])
    if kind == "set":
        return result + [item for item in patch if item not in result]
    if kind != "map" or {"$patch": "replace"} in patch:
        return [item for item in patch if item != {"$patch": "replace"}]
    merge_key = shape["x-kubernetes-list-map-keys"][0]  # strategic merge knows one key, the first
    for item in patch:
        at = next((n for n, one in enumerate(result) if one.get(merge_key) == item.get(merge_key)), None)
        if item.get("$patch") == "delete":
            result = [one for one in result if one.get(merge_key) != item.get(merge_key)]
        elif at is None:
            result.append(strategic(shape["items"], {}, item))
        else:
            result[at] = strategic(shape["items"], result[at], item)
    return result
