"""Server-side apply: who owns which field (managedFields), merging, conflicts, and letting go.

After sigs.k8s.io/structured-merge-diff v6, whose rules these are; its names stand in brackets. A set of fields is a set
of paths, a path a tuple of steps in FieldsV1 spelling: f:name for a field, k:{...} for an item of a map list, v:... for
an item of a set. A path in the set says that the place itself is owned, not what lies below it. Atomic lists and maps
are leaves.
"""

from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

import orjson

from penstock.embedded import errors, schema
from penstock.embedded.objects import Json, now

Path = tuple[str, ...]
_ABSENT: Any = object()
_NOBODYS = {("f:apiVersion",), ("f:kind",), ("f:metadata",)} | {
    ("f:metadata", f"f:{key}")
    for key in (
        *("name", "namespace", "uid", "resourceVersion", "generation", "creationTimestamp", "selfLink"),
        "managedFields",
    )
}


@dataclass(frozen=True)
class Manager:
    """Who writes, and how: operation Apply or Update, subresource "" or status."""

    name: str
    operation: str
    api_version: str
    subresource: str = ""


Owners = dict[Manager, frozenset[Path]]


@dataclass
class _Changes:
    """What became of the places of an object [Comparison]."""

    added: set[Path] = field(default_factory=set)
    modified: set[Path] = field(default_factory=set)
    removed: set[Path] = field(default_factory=set)


def owners(item: Json) -> Owners:
    """The managedFields of an object."""
    entries = item["metadata"].get("managedFields", ())
    return {_manager(entry): frozenset(_parsed(entry.get("fieldsV1", {}), ())) for entry in entries}


def _manager(entry: Json) -> Manager:
    return Manager(entry["manager"], entry["operation"], entry["apiVersion"], entry.get("subresource", ""))


def record(item: Json, owned: Owners, before: Json | None, writer: Manager | None) -> None:
    """Write managedFields; all but `writer`, who has changed something, keep their times."""
    former = (before or {}).get("metadata", {}).get("managedFields", ())
    known = {_manager(entry): entry for entry in former}
    entries = []
    for manager, paths in owned.items():
        if not paths:
            continue
        time = now() if manager == writer else known.get(manager, {}).get("time")
        entry: Json = {"manager": manager.name, "operation": manager.operation, "apiVersion": manager.api_version}
        entry |= ({"time": time} if time else {}) | {"fieldsType": "FieldsV1", "fieldsV1": _tree(paths)}
        entries.append(entry | ({"subresource": manager.subresource} if manager.subresource else {}))
    entries.sort(
        key=lambda e: (e["operation"], e.get("time", ""), e["manager"], e["apiVersion"], e.get("subresource", ""))
    )
    item["metadata"]["managedFields"] = entries
    if not entries:
        del item["metadata"]["managedFields"]


def updated(shape: Json, new: Json, old: Json, manager: Manager, others: frozenset[str]) -> Owners:
    """Owners after a create, update or patch [Updater.Update]: whoever changes a field owns it alone.

    An object that nobody owns anything of stays so until the first apply.
    `others`: top-level fields that this kind of write never changes.
    """
    if "uid" in old.get("metadata", ()) and not owners(old):
        return {}
    changes = _compared(shape, old, new)
    changed = _owned(changes.added | changes.modified, others)
    touched = changed | changes.removed
    owned = {m: paths - touched for m, paths in owners(new).items()}
    owned = {m: paths for m, paths in owned.items() if paths}
    if changed:
        owned[manager] = owned.get(manager, frozenset()) | changed
    return owned


def declared(shape: Json, wanted: Json, others: frozenset[str]) -> frozenset[Path]:
    """What an apply asks for [ToFieldSet]."""
    found: set[Path] = set()
    _declare(shape, wanted, (), found)
    return _owned(found, others)


def applied(
    shape: Json, live: Json, wanted: Json, manager: Manager, how: tuple[bool, frozenset[str]]
) -> tuple[Json, Owners]:
    """The object after a server-side apply [Updater.Apply], and its owners; `how`: (force, others as in updated).

    Refused with 409 naming every conflict.
    """
    force, others = how
    owned = owners(live) or {_first(manager): _owned(_compared(shape, {}, live).added, others)}
    last, asked = owned.pop(manager, frozenset()), declared(shape, wanted, others)
    merged: Json = _merged(shape, live, wanted)
    if last - asked:
        merged = _pruned(shape, merged, _all(shape, wanted).union(*owned.values()), last)
    changes = _compared(shape, live, merged)
    contested = {path for path in changes.added | changes.modified if path[0][2:] not in others}
    conflicts = {m: lost for m, paths in owned.items() if (lost := contested & paths)}
    if conflicts and not force:
        raise _conflict(conflicts)
    kept = {m: paths - contested - changes.removed for m, paths in owned.items()}
    return merged, {m: paths for m, paths in kept.items() if paths} | {manager: asked}


def _first(manager: Manager) -> Manager:
    """Who gets what was there before anybody was noted."""
    return Manager("before-first-apply", "Update", manager.api_version)


def _owned(paths: set[Path], others: frozenset[str]) -> frozenset[Path]:
    return frozenset(path for path in paths if path not in _NOBODYS and path[0][2:] not in others)


def _conflict(conflicts: dict[Manager, set[Path]]) -> errors.Refused:
    causes, texts = [], []
    for manager, paths in sorted(conflicts.items(), key=lambda c: c[0].name):
        by = f'"{manager.name}"' + (f' with subresource "{manager.subresource}"' if manager.subresource else "")
        by += f" using {manager.api_version}" if manager.operation == "Update" else ""
        shown = [_dotted(path) for path in sorted(paths, key=_rank)]
        causes += [{"reason": "FieldManagerConflict", "message": f"conflict with {by}", "field": at} for at in shown]
        if len(shown) == 1:
            texts.append(f"conflict with {by}: {shown[0]}")
        else:
            texts.append(f"conflicts with {by}:\n- " + "\n- ".join(shown))
    plural = "s" if len(causes) > 1 else ""
    message = f"Apply failed with {len(causes)} conflict{plural}: " + "\n".join(texts)
    return errors.Refused(409, "Conflict", message, {"causes": causes})


def _rank(path: Path) -> list[tuple[bool, str]]:
    """At each level what ends there comes first."""
    return [(number < len(path), step) for number, step in enumerate(path, 1)]


def _dotted(path: Path) -> str:
    text = ""
    for step in path:
        kind, part = step[:2], step[2:]
        if kind == "k:":
            text += "[" + ",".join(f"{k}={orjson.dumps(v).decode()}" for k, v in orjson.loads(part).items()) + "]"
        else:
            text += f"[={part}]" if kind == "v:" else f".{part}"
    return text


# ── walking by schema ────────────────────────────────────────────────────────
def _children(shape: Json, value: Any) -> list[tuple[str, Json, Any]] | None:
    """(step, schema, value) of what lies below; None for a leaf. What is absent or null has nothing below it."""
    if value is _ABSENT or value is None:
        return []
    if isinstance(value, dict) and shape.get("x-kubernetes-map-type") != "atomic":
        return [(f"f:{key}", schema.child(shape, key) or {}, item) for key, item in value.items()]
    if isinstance(value, list) and shape.get("x-kubernetes-list-type") in ("map", "set"):
        return [(_step(shape, item), shape["items"], item) for item in value]
    return None


def _step(shape: Json, item: Any) -> str:
    key = schema.identity(shape, item)
    if shape.get("x-kubernetes-list-type") == "set":
        return "v:" + orjson.dumps(key).decode()
    return "k:" + orjson.dumps(key, option=orjson.OPT_SORT_KEYS).decode()


def _compared(shape: Json, old: Any, new: Any) -> _Changes:
    changes = _Changes()
    _compare(shape, (old, new), (), changes)
    return changes


def _compare(shape: Json, values: tuple[Any, Any], path: Path, changes: _Changes) -> None:
    old, new = values
    below = (_children(shape, old), _children(shape, new))
    if (not below[0] and not below[1]) or below[0] is None or below[1] is None:
        if old != new or isinstance(old, bool) != isinstance(new, bool):
            _told(values, changes).add(path)
        return
    former, became = ({step: (inner, item) for step, inner, item in side or ()} for side in below)
    for step in former | became:
        inner = became.get(step) or former[step]
        pair = (former.get(step, (None, _ABSENT))[1], became.get(step, (None, _ABSENT))[1])
        _compare(inner[0], pair, (*path, step), changes)
    if old is _ABSENT or new is _ABSENT:
        _told(values, changes).add(path)


def _told(values: tuple[Any, Any], changes: _Changes) -> set[Path]:
    if values[0] is _ABSENT:
        return changes.added
    return changes.removed if values[1] is _ABSENT else changes.modified


def _declare(shape: Json, value: Any, path: Path, found: set[Path]) -> None:
    below = _children(shape, value)
    if below is None:
        found.add(path)
        return
    for step, inner, item in below:
        _declare(inner, item, (*path, step), found)
        named = step[:2] == "f:" and step[2:] in shape.get("properties", ())
        if item is None or item == {} or not named:
            found.add((*path, step))


def _merged(shape: Json, live: Any, wanted: Any) -> Any:
    """Both together; `wanted` wins [Merge]."""
    if isinstance(live, dict) and isinstance(wanted, dict) and shape.get("x-kubernetes-map-type") != "atomic":
        both = {k: _merged(schema.child(shape, k) or {}, v, wanted[k]) if k in wanted else v for k, v in live.items()}
        return both | {key: item for key, item in wanted.items() if key not in live}
    if isinstance(live, list) and isinstance(wanted, list) and shape.get("x-kubernetes-list-type") in ("map", "set"):
        return _merged_list(shape, live, wanted)
    return wanted


def _merged_list(shape: Json, live: list[Any], wanted: list[Any]) -> list[Any]:
    """In the order of `wanted`; what only `live` has stays before the shared item that it stood before."""
    former, asked = {_step(shape, item): item for item in live}, [_step(shape, item) for item in wanted]
    waiting, shared = list(former), [step for step in asked if step in former]
    result: list[Any] = []
    for step, item in zip(asked, wanted, strict=True):
        while waiting and (waiting[0] not in asked or waiting[0] != shared[0]):
            passed = waiting.pop(0)
            result += [former[passed]] if passed not in asked else []
        if step in shared:
            shared.remove(step)
            waiting = [other for other in waiting if other != step]
        result.append(_merged(shape["items"], former[step], item) if step in former else item)
    return result + [former[step] for step in waiting if step not in asked]


def _pruned(shape: Json, merged: Json, managed: frozenset[Path], last: frozenset[Path]) -> Json:
    """Without what the manager applied last time, not this time, and nobody else owns [prune]."""
    everything = _named(shape, _all(shape, merged))
    mine = _named(shape, last)
    pruned = _without(shape, merged, mine, ())
    owned = _named(shape, _all(shape, pruned)) | _named(shape, managed)
    pruned = _without(shape, merged, everything - owned, ())
    left = _named(shape, _all(shape, pruned))
    result: Json = _without(shape, merged, (everything - left) & mine, ())
    return result


def _all(shape: Json, item: Json) -> frozenset[Path]:
    found: set[Path] = set()
    _declare(shape, item, (), found)
    return frozenset(found)


def _named(shape: Json, paths: frozenset[Path]) -> frozenset[Path]:
    """With the declared fields on the way to each path [EnsureNamedFieldsAreMembers]."""
    found = set(paths)
    for path in paths:
        at: Json = shape
        for number, step in enumerate(path[:-1], 1):
            if step[:2] == "f:":
                if step[2:] in at.get("properties", ()):
                    found.add(path[:number])
                at = schema.child(at, step[2:]) or {}
            else:
                at = at.get("items", {})
    return frozenset(found)


def _without(shape: Json, value: Any, paths: frozenset[Path], at: Path) -> Any:
    """A copy without those places; what is emptied becomes null [RemoveItems]."""
    below = _children(shape, value)
    if not below:
        return value
    kept = [
        (step, _without(inner, item, paths, (*at, step))) for step, inner, item in below if (*at, step) not in paths
    ]
    if not kept:
        return None
    return {step[2:]: item for step, item in kept} if isinstance(value, dict) else [item for _, item in kept]


# ── FieldsV1 ─────────────────────────────────────────────────────────────────
def _parsed(tree: Json, path: Path) -> Iterator[Path]:
    for step, inner in tree.items():
        if step == ".":
            yield path
        elif inner:
            yield from _parsed(inner, (*path, step))
        else:
            yield (*path, step)


def _tree(paths: frozenset[Path]) -> Json:
    root: Json = {}
    for path in sorted(paths):  # a place comes before what lies below it
        at = root
        for step in path[:-1]:
            if at.get(step) == {}:
                at[step] = {".": {}}  # so far a leaf, that is: owned itself
            at = at.setdefault(step, {})
        at[path[-1]] = {}
    return root
