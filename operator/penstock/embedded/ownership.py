"""Server-side apply: who owns which field (managedFields), merging, conflicts, and letting go.

After sigs.k8s.io/structured-merge-diff: a manager owns the set of leaf paths it has applied or changed. Paths are
tuples in FieldsV1 spelling: f:name for a field, k:{...} for an item of a map list, v:... for an item of a set, and a
final "." for such an item itself. Atomic lists and maps are leaves.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import orjson

from penstock.embedded import errors, schema
from penstock.embedded.objects import Json, copy, now

Path = tuple[str, ...]
_UNTRACKED = frozenset(
    ("f:metadata", f"f:{key}")
    for key in (
        *("name", "namespace", "uid", "resourceVersion", "generation", "creationTimestamp", "selfLink"),
        *("deletionTimestamp", "deletionGracePeriodSeconds", "managedFields"),
    )
) | {("f:apiVersion",), ("f:kind",), ("f:metadata",)}


@dataclass(frozen=True)
class Manager:
    """Who writes, and how: operation Apply or Update, subresource "" or status."""

    name: str
    operation: str
    api_version: str
    subresource: str = ""


Owners = dict[Manager, frozenset[Path]]


def fields(shape: Json, item: Json) -> dict[Path, Any]:
    """All leaf paths of an object with their values, without what nobody owns."""
    return {p: v for p, v in _leaves(shape, item, ()) if p[:2] not in _UNTRACKED and p not in _UNTRACKED}


def owners(item: Json) -> Owners:
    """The managedFields of an object."""
    found: Owners = {}
    for entry in item["metadata"].get("managedFields", ()):
        manager = Manager(entry["manager"], entry["operation"], entry["apiVersion"], entry.get("subresource", ""))
        found[manager] = frozenset(_parsed(entry.get("fieldsV1", {}), ()))
    return found


def record(item: Json, owned: Owners, before: Json | None) -> None:
    """Write managedFields; an entry whose fields are as before keeps its time."""
    times = {}
    for entry in (before or {"metadata": {}})["metadata"].get("managedFields", ()):
        manager = Manager(entry["manager"], entry["operation"], entry["apiVersion"], entry.get("subresource", ""))
        times[manager] = (frozenset(_parsed(entry["fieldsV1"], ())), entry.get("time"))
    entries = []
    for manager, paths in owned.items():
        if paths:
            same = times.get(manager, (None, None))
            entry = {"manager": manager.name, "operation": manager.operation, "apiVersion": manager.api_version}
            entry |= {"time": same[1] if same[0] == paths else now(), "fieldsType": "FieldsV1"}
            entry |= {"fieldsV1": _tree(paths)}
            entries.append(entry | ({"subresource": manager.subresource} if manager.subresource else {}))
    entries.sort(key=lambda e: (e["operation"], e["time"], e["manager"], e["apiVersion"], e.get("subresource", "")))
    item["metadata"]["managedFields"] = entries


def updated(shape: Json, new: Json, old: Json | None, manager: Manager) -> Owners:
    """Owners after a create, update or patch: whoever changes a field owns it alone."""
    was = fields(shape, old) if old else {}
    became = fields(shape, new)
    changed = {p for p, v in became.items() if p not in was or was[p] != v}
    touched = changed | (was.keys() - became.keys())
    owned = {m: paths - touched for m, paths in owners(new).items()}
    if changed:
        owned[manager] = owned.get(manager, frozenset()) | changed
    return owned


def applied(shape: Json, live: Json, wanted: Json, manager: Manager, force: bool) -> tuple[Json, Owners]:
    """The object after a server-side apply, and its owners. Refused with 409 naming every conflict."""
    owned = owners(live)
    former = owned.get(manager, frozenset())
    asked, is_now = fields(shape, wanted), fields(shape, live)
    others = {m: paths for m, paths in owned.items() if m != manager}
    contested = {p for p, v in asked.items() if p[-1] != "." and p in is_now and is_now[p] != v}
    contested |= {p for p in asked if p not in is_now}
    conflicts = {m: lost for m, paths in others.items() if (lost := contested & paths)}
    if conflicts and not force:
        raise _conflict(conflicts)
    others = {m: paths - contested for m, paths in others.items()}
    kept = frozenset().union(*others.values()) if others else frozenset()
    merged = _merged(shape, copy(live), wanted)
    for path in sorted(former - asked.keys() - kept, key=lambda p: (p[-1] != ".", -len(p))):  # whole items first
        if path[-1] != "." or not any(p[: len(path) - 1] == path[:-1] for p in kept):
            _remove(shape, merged, path[:-1] if path[-1] == "." else path)
    return merged, others | {manager: frozenset(asked)}


def _conflict(conflicts: dict[Manager, set[Path]]) -> errors.Refused:
    causes, texts = [], []
    for manager, paths in conflicts.items():
        by = f'"{manager.name}"' + (f' with subresource "{manager.subresource}"' if manager.subresource else "")
        by += f" using {manager.api_version}" if manager.operation == "Update" else ""
        for path in sorted(paths):
            cause = {"reason": "FieldManagerConflict", "message": f"conflict with {by}", "field": _dotted(path)}
            causes.append(cause)
        shown = [_dotted(path) for path in sorted(paths)]
        if len(shown) == 1:
            texts.append(f"conflict with {by}: {shown[0]}")
        else:
            texts.append(f"conflicts with {by}:\n- " + "\n- ".join(shown))
    plural = "s" if len(causes) > 1 else ""
    message = f"Apply failed with {len(causes)} conflict{plural}: " + "\n".join(texts)
    return errors.Refused(409, "Conflict", message, {"causes": causes})


def _dotted(path: Path) -> str:
    parts = (p[2:] for p in path if p != ".")
    text = ""
    for part, spelled in zip(parts, path, strict=False):
        if spelled.startswith("k:"):
            keys = orjson.loads(part)
            text += "[" + ",".join(f"{k}={orjson.dumps(v).decode()}" for k, v in keys.items()) + "]"
        else:
            text += f"[={part}]" if spelled.startswith("v:") else f".{part}"
    return text


# ── walking by schema ────────────────────────────────────────────────────────
def _granular(shape: Json, value: Any) -> bool:
    if isinstance(value, dict):
        return bool(value) and shape.get("x-kubernetes-map-type") != "atomic"
    return isinstance(value, list) and bool(value) and shape.get("x-kubernetes-list-type") in ("map", "set")


def _leaves(shape: Json, value: Any, path: Path) -> Iterator[tuple[Path, Any]]:
    if not _granular(shape, value):
        yield path, value
    elif isinstance(value, dict):
        for key, item in value.items():
            yield from _leaves(schema.child(shape, key) or {}, item, (*path, f"f:{key}"))
    else:
        for item in value:
            step = _step(shape, item)
            if step.startswith("v:"):
                yield (*path, step), item
            else:
                yield (*path, step, "."), None
                for key, inner in item.items():
                    yield from _leaves(schema.child(shape["items"], key) or {}, inner, (*path, step, f"f:{key}"))


def _step(shape: Json, item: Any) -> str:
    key = schema.identity(shape, item)
    if shape.get("x-kubernetes-list-type") == "set":
        return "v:" + orjson.dumps(key).decode()
    return "k:" + orjson.dumps(key, option=orjson.OPT_SORT_KEYS).decode()


def _merged(shape: Json, live: Any, wanted: Any) -> Any:
    if isinstance(live, dict) and isinstance(wanted, dict) and shape.get("x-kubernetes-map-type") != "atomic":
        for key, item in wanted.items():
            live[key] = _merged(schema.child(shape, key) or {}, live[key], item) if key in live else item
        return live
    if isinstance(live, list) and isinstance(wanted, list) and shape.get("x-kubernetes-list-type") in ("map", "set"):
        places = {_step(shape, item): number for number, item in enumerate(live)}
        for item in wanted:
            step = _step(shape, item)
            if step not in places:
                live.append(item)
            elif step.startswith("k:"):
                live[places[step]] = _merged(shape["items"], live[places[step]], item)
        return live
    return wanted


def _remove(shape: Json, value: Any, path: Path) -> None:
    """Drop one path; containers that it leaves empty go too."""
    step, rest = path[0], path[1:]
    if step.startswith("f:"):
        key = step[2:]
        if not isinstance(value, dict) or key not in value:
            return
        if rest:
            _remove(schema.child(shape, key) or {}, value[key], rest)
        if not rest or value[key] in ({}, []):
            del value[key]
    elif isinstance(value, list):
        for item in [i for i in value if _step(shape, i) == step]:
            if rest:
                _remove(shape["items"], item, rest)
            else:
                value.remove(item)


# ── FieldsV1 ─────────────────────────────────────────────────────────────────
def _parsed(tree: Json, path: Path) -> Iterator[Path]:
    for step, inner in tree.items():
        if inner:
            yield from _parsed(inner, (*path, step))
        elif step != "." or path[-1].startswith("k:"):  # the "." of a plain map says nothing here
            yield (*path, step)


def _tree(paths: frozenset[Path]) -> Json:
    root: Json = {}
    for path in sorted(paths):
        at = root
        for step in path:
            at = at.setdefault(step, {})
    return root
