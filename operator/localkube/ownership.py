"""Server-side apply: who owns which field (managedFields), conflicts, and letting go.

After sigs.k8s.io/structured-merge-diff v6, whose rules these are; its names stand in brackets.
"""

import json
from collections.abc import Iterable
from dataclasses import dataclass

from localkube import errors, fieldsets
from localkube.fieldsets import Path
from localkube.objects import Json, now

_LAST_APPLIED = "kubectl.kubernetes.io/last-applied-configuration"
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


def owners(item: Json) -> Owners:
    """The managedFields of an object."""
    entries = item["metadata"].get("managedFields", ())
    return {_manager(entry): frozenset(fieldsets.parsed(entry.get("fieldsV1", {}), ())) for entry in entries}


def _manager(entry: Json) -> Manager:
    return Manager(entry["manager"], entry["operation"], entry["apiVersion"], entry.get("subresource", ""))


def given(entries: list[Json] | None, former: list[Json]) -> list[Json]:
    """The managedFields of a write: those it sends, if they can be read; [{}] is the documented way to forget them."""
    if entries == [{}]:
        return []
    readable = entries and all("apiVersion" in e and e.get("fieldsType") == "FieldsV1" for e in entries)
    return entries if entries and readable else former


def record(item: Json, owned: Owners, before: Json | None, writer: Manager | None) -> None:
    """Write managedFields; all but `writer`, who has changed something, keep their times."""
    former = (before or {}).get("metadata", {}).get("managedFields", ())
    entries_before = {_manager(entry): entry for entry in former}
    entries = []
    for manager, paths in owned.items():
        if not paths:
            continue
        is_new = manager not in entries_before and manager.operation == "Update"
        time = now() if manager == writer or is_new else entries_before.get(manager, {}).get("time")
        entry: Json = {"manager": manager.name, "operation": manager.operation, "apiVersion": manager.api_version}
        entry |= ({"time": time} if time else {}) | {"fieldsType": "FieldsV1", "fieldsV1": fieldsets.tree(paths)}
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
    changes = fieldsets.compared(shape, old, new)
    changed = _owned(changes.added | changes.modified, others)
    touched = changed | changes.removed
    owned = {m: paths - touched for m, paths in owners(new).items()}
    owned = {m: paths for m, paths in owned.items() if paths}
    if changed:
        owned[manager] = owned.get(manager, frozenset()) | changed
    return owned


def declared(shape: Json, wanted: Json, others: frozenset[str]) -> frozenset[Path]:
    """What an apply asks for [ToFieldSet]."""
    return _owned(fieldsets.declared(shape, wanted), others)


def applied(
    shape: Json, live: Json, wanted: Json, manager: Manager, how: tuple[bool, frozenset[str], Json]
) -> tuple[Json, Owners]:
    """The object after a server-side apply [Updater.Apply], and its owners; `how`: (force, others, blank).

    Refused with 409 naming every conflict.
    """
    force, others, blank = how
    owned = owners(live) or updated(shape, live, blank, _first(manager), others)
    last, asked = owned.pop(manager, frozenset()), declared(shape, wanted, others)
    merged: Json = fieldsets.merged(shape, live, wanted)
    if last - asked:
        merged = _pruned(shape, merged, fieldsets.declared(shape, wanted).union(*owned.values()), last)
    changes = fieldsets.compared(shape, live, merged)
    contested = {path for path in changes.added | changes.modified if path[0][2:] not in others}
    conflicts = {m: lost for m, paths in owned.items() if (lost := contested & paths)}
    if conflicts and not force and manager.name == "kubectl":
        conflicts = _beyond_last_applied(shape, live, conflicts)
    if conflicts and not force:
        raise _conflict(conflicts)
    kept = {m: paths - contested - changes.removed for m, paths in owned.items()}
    return merged, {m: paths for m, paths in kept.items() if paths} | {manager: asked}


def _beyond_last_applied(shape: Json, live: Json, conflicts: dict[Manager, set[Path]]) -> dict[Manager, set[Path]]:
    """The conflicts, without the fields that still have the value of the last client-side apply [lastAppliedManager].

    The API server takes them over for kubectl alone, so that one may change from client-side to server-side apply.
    """
    try:
        last_applied = json.loads(live["metadata"]["annotations"][_LAST_APPLIED])
    except (KeyError, TypeError, ValueError):
        return conflicts
    changes = fieldsets.compared(shape, live, last_applied)
    allowed = fieldsets.declared(shape, last_applied) - changes.added - changes.modified - changes.removed
    return {manager: left for manager, paths in conflicts.items() if (left := paths - allowed)}


def _first(manager: Manager) -> Manager:
    """Who gets what was there before anybody was noted."""
    return Manager("before-first-apply", "Update", manager.api_version, manager.subresource)


def _owned(paths: Iterable[Path], others: frozenset[str]) -> frozenset[Path]:
    return frozenset(path for path in paths if path not in _NOBODYS and path[0][2:] not in others)


def _conflict(conflicts: dict[Manager, set[Path]]) -> errors.Refused:
    causes, texts = [], []
    for manager, paths in sorted(conflicts.items(), key=lambda c: c[0].name):
        by = f'"{manager.name}"' + (f' with subresource "{manager.subresource}"' if manager.subresource else "")
        by += f" using {manager.api_version}" if manager.operation == "Update" else ""
        shown = [fieldsets.dotted(path) for path in sorted(paths, key=fieldsets.rank)]
        causes += [{"reason": "FieldManagerConflict", "message": f"conflict with {by}", "field": at} for at in shown]
        if len(shown) == 1:
            texts.append(f"conflict with {by}: {shown[0]}")
        else:
            texts.append(f"conflicts with {by}:\n- " + "\n- ".join(shown))
    plural = "s" if len(causes) > 1 else ""
    message = f"Apply failed with {len(causes)} conflict{plural}: " + "\n".join(texts)
    return errors.Refused(409, "Conflict", message, {"causes": causes})


def _pruned(shape: Json, merged: Json, managed: frozenset[Path], last: frozenset[Path]) -> Json:
    """Without what the manager applied last time, not this time, and nobody else owns [prune]."""
    everything = fieldsets.with_named(shape, fieldsets.declared(shape, merged))
    mine = fieldsets.with_named(shape, last)
    pruned = fieldsets.without(shape, merged, mine, ())
    owned = fieldsets.with_named(shape, fieldsets.declared(shape, pruned)) | fieldsets.with_named(shape, managed)
    pruned = fieldsets.without(shape, merged, everything - owned, ())
    left = fieldsets.with_named(shape, fieldsets.declared(shape, pruned))
    result: Json = fieldsets.without(shape, merged, (everything - left) & mine, ())
    return result
