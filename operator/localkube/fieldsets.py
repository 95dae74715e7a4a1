"""Sets of places in an object, after sigs.k8s.io/structured-merge-diff v6, whose names stand in brackets.

A set of fields is a set of paths, a path a tuple of steps in FieldsV1 spelling: f:name for a field, k:{...} for an
item of a map list, v:... for an item of a set. A path in the set means the place itself, not what lies below it. Atomic
lists and maps are leaves.
"""

from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

import orjson

from localkube import schema
from localkube.objects import Json

Path = tuple[str, ...]
_ABSENT: Any = object()


@dataclass
class Changes:
    """What became of the places of an object [Comparison]."""

    added: set[Path] = field(default_factory=set)
    modified: set[Path] = field(default_factory=set)
    removed: set[Path] = field(default_factory=set)


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


def compared(shape: Json, old: Json, new: Json) -> Changes:
    """What the way from one object to another adds, modifies and removes; what is added whole counts itself too."""
    changes = Changes()
    _compare(shape, (old, new), (), changes)
    return changes


def _compare(shape: Json, values: tuple[Any, Any], path: Path, changes: Changes) -> None:
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


def _told(values: tuple[Any, Any], changes: Changes) -> set[Path]:
    if values[0] is _ABSENT:
        return changes.added
    return changes.removed if values[1] is _ABSENT else changes.modified


def _declare(shape: Json, value: Any, path: Path, paths: set[Path]) -> None:
    below = _children(shape, value)
    if below is None:
        paths.add(path)
        return
    for step, inner, item in below:
        _declare(inner, item, (*path, step), paths)
        named = step[:2] == "f:" and step[2:] in shape.get("properties", ())
        if item is None or item == {} or not named:
            paths.add((*path, step))


def merged(shape: Json, live: Any, wanted: Any) -> Any:
    """Both together; `wanted` wins, but null leaves what has parts as it is [Merge]."""
    if isinstance(live, dict) and isinstance(wanted, dict) and shape.get("x-kubernetes-map-type") != "atomic":
        both = {k: merged(schema.child(shape, k) or {}, v, wanted[k]) if k in wanted else v for k, v in live.items()}
        return both | {key: item for key, item in wanted.items() if key not in live}
    if isinstance(live, list) and isinstance(wanted, list) and shape.get("x-kubernetes-list-type") in ("map", "set"):
        return _merged_list(shape, live, wanted)
    if wanted is None and _children(shape, live):
        return live
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
        result.append(merged(shape["items"], former[step], item) if step in former else item)
    return result + [former[step] for step in waiting if step not in asked]


def declared(shape: Json, item: Json) -> frozenset[Path]:
    """All places that an object speaks of [ToFieldSet]: leaves, items of lists, entries of maps."""
    paths: set[Path] = set()
    _declare(shape, item, (), paths)
    return frozenset(paths)


def with_named(shape: Json, paths: frozenset[Path]) -> frozenset[Path]:
    """With the declared fields on the way to each path [EnsureNamedFieldsAreMembers]."""
    with_containers = set(paths)
    for path in paths:
        at: Json = shape
        for number, step in enumerate(path[:-1], 1):
            if step[:2] == "f:":
                if step[2:] in at.get("properties", ()):
                    with_containers.add(path[:number])
                at = schema.child(at, step[2:]) or {}
            else:
                at = at.get("items", {})
    return frozenset(with_containers)


def without(shape: Json, value: Any, paths: frozenset[Path], at: Path) -> Any:
    """A copy without those places; what is emptied becomes null [RemoveItems]."""
    below = _children(shape, value)
    if not below:
        return value
    kept = [(step, without(inner, item, paths, (*at, step))) for step, inner, item in below if (*at, step) not in paths]
    if not kept:
        return None
    return {step[2:]: item for step, item in kept} if isinstance(value, dict) else [item for _, item in kept]


# ── FieldsV1 ─────────────────────────────────────────────────────────────────
def parsed(tree: Json, path: Path) -> Iterator[Path]:
    """The paths of a fieldsV1, each after `path`."""
    for step, inner in tree.items():
        if step == ".":
            yield path
        elif inner:
            yield from parsed(inner, (*path, step))
        else:
            yield (*path, step)


def tree(paths: frozenset[Path]) -> Json:
    """As fieldsV1."""
    root: Json = {}
    for path in sorted(paths):  # a place comes before what lies below it
        at = root
        for step in path[:-1]:
            if at.get(step) == {}:
                at[step] = {".": {}}  # so far a leaf, that is: owned itself
            at = at.setdefault(step, {})
        at[path[-1]] = {}
    return root


def rank(path: Path) -> list[tuple[bool, str]]:
    """At each level what ends there comes first."""
    return [(number < len(path), step) for number, step in enumerate(path, 1)]


def dotted(path: Path) -> str:
    """As messages name it: .spec.items[name="x"].v"""
    text = ""
    for step in path:
        kind, part = step[:2], step[2:]
        if kind == "k:":
            text += "[" + ",".join(f"{k}={orjson.dumps(v).decode()}" for k, v in orjson.loads(part).items()) + "]"
        else:
            text += f"[={part}]" if kind == "v:" else f".{part}"
    return text
