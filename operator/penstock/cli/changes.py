"""What a set of manifests changes: which objects, and what becomes of the data. Pure; nothing is applied.

The state before is a set of objects too: those of a cluster, with their status, or those of other files. What only a
cluster can tell (rows, bytes) is None without one, and is printed as `unknown`.
"""

import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

from penstock.api import manifests, objects
from penstock.api.dataset import DatasetSpec
from penstock.api.pipeline import PipelineSpec
from penstock.api.subscription import SubscriptionSpec
from penstock.language import words
from penstock.language.model import Model
from penstock.worker.ports import differences
from penstock.worker.ports.differences import Change, Column

Object = Mapping[str, Any]
Address = tuple[str, str]
"""Kind and name; all objects of a plan are in one namespace."""
Action = Literal["create", "change", "remove", "unchanged"]

LONGEST_VALUE = 120
METADATA_ONLY = ("lake",)
"""The connectors whose tables take every safe change of a schema without rewriting data."""


@dataclass(frozen=True)
class FieldChange:
    """A field of a spec that changes; the values are JSON, None where the field is not there."""

    path: str
    before: str | None
    after: str | None


@dataclass(frozen=True)
class Effect:
    """What a change does to data."""

    message: str
    breaking: bool = False
    """Whether it is refused, or stops something that works, or cannot be undone."""


@dataclass(frozen=True)
class ObjectChange:
    """One object and what changes in it. `rows` and `bytes` are those of a Dataset's table, None where unknown."""

    kind: str
    name: str
    action: Action
    fields: tuple[FieldChange, ...] = ()
    effects: tuple[Effect, ...] = ()
    affected: tuple[str, ...] = ()
    """The Pipelines and Subscriptions whose data change with it, as `Kind name`."""
    rows: int | None = None
    bytes_rewritten: int | None = None
    rows_without_new_values: int | None = None
    """Rows that keep old values until they are loaded again: the backfill that the change implies."""

    @property
    def breaking(self) -> bool:
        """Whether one of its effects is."""
        return any(effect.breaking for effect in self.effects)

    @property
    def is_table(self) -> bool:
        """Whether rows and bytes say something about it."""
        return self.kind == "Dataset" and self.action == "change"


def between(before: Sequence[Object], after: Sequence[Object], *, removes: bool) -> list[ObjectChange]:
    """The changes from one set of valid objects to another, in the order of the kinds and by name.

    `removes`: an object that is in `before` only is removed. Otherwise, as with `kubectl apply`, it stays.
    """
    old, new = _by_address(before), _by_address(after)
    whole = new if removes else {**old, **new}
    order = [*objects.KINDS]
    addresses = sorted({*new, *(old if removes else ())}, key=lambda address: (order.index(address[0]), address[1]))
    return [_change(address, old.get(address), new.get(address), whole) for address in addresses]


def _by_address(listed: Sequence[Object]) -> dict[Address, Object]:
    return {(str(each["kind"]), str(each["metadata"]["name"])): each for each in listed}


def _change(address: Address, old: Object | None, new: Object | None, whole: Mapping[Address, Object]) -> ObjectChange:
    kind, name = address
    if new is None:
        message = "it is not reconciled any more; tables and files that it has written stay"
        return ObjectChange(
            kind, name, "remove", effects=(Effect(message, breaking=True),), affected=_users(address, whole)
        )
    after = manifests.parse(new)
    if old is None:
        return ObjectChange(kind, name, "create", effects=tuple(_created(after)))
    before = _spec(old)
    if before is None:  # it was applied before this version, or past its validation
        fields = tuple(_fields(old.get("spec") or {}, new["spec"]))
        return ObjectChange(kind, name, "change", fields, (Effect("it is not valid now"),), _users(address, whole))
    fields = tuple(_fields(before.to_object(), after.to_object()))
    if not fields:
        return ObjectChange(kind, name, "unchanged")
    if isinstance(before, DatasetSpec) and isinstance(after, DatasetSpec):
        return _dataset(name, (before, after), fields, old, whole)
    return ObjectChange(kind, name, "change", fields, tuple(_effects(before, after, fields)), _users(address, whole))


def _spec(manifest: Object) -> Model | None:
    """The typed spec of an object; None where it is not valid, as one in a cluster may be."""
    return manifests.read(manifest)[0]


def _created(spec: Model) -> Iterator[Effect]:
    if isinstance(spec, DatasetSpec):
        columns = words.count(len(spec.schema_.fields), "column")
        yield Effect(f"the table {spec.table} is created in {spec.destination_ref.name}, with {columns}")
    if isinstance(spec, PipelineSpec) and (spec.run_nonce or spec.schedule):
        yield Effect("its first run starts at once" if spec.run_nonce else f"it runs at {', '.join(spec.schedule)}")
    if isinstance(spec, SubscriptionSpec):
        yield Effect(f"Dataset {spec.dataset_ref.name} is delivered to {spec.destination_ref.name}")


# ── which fields ──


_ORDER = " (order)"
"""What the path of the order of a list ends with."""


def _fields(before: Object, after: Object) -> Iterator[FieldChange]:
    old, new = dict(_leaves(before, "")), dict(_leaves(after, ""))
    for path in dict.fromkeys([*old, *new]):
        if path.endswith(_ORDER) and sorted(old.get(path, [])) != sorted(new.get(path, [])):
            continue  # entries were added or removed, which is shown anyway
        if old.get(path) != new.get(path):
            yield FieldChange(path, _shown(old, path), _shown(new, path))


def _leaves(value: Any, path: str) -> Iterator[tuple[str, Any]]:
    """Every value that is no object and no list of named objects, with its path: `schema.fields[city].type`."""
    if isinstance(value, Mapping) and value:
        for key, inner in value.items():
            yield from _leaves(inner, f"{path}.{key}" if path else str(key))
    elif isinstance(value, list) and value and all(isinstance(entry, Mapping) and "name" in entry for entry in value):
        yield f"{path}{_ORDER}", [entry["name"] for entry in value]
        for entry in value:
            yield from _leaves(entry, f"{path}[{entry['name']}]")
    else:
        yield path, value


def _shown(values: Mapping[str, Any], path: str) -> str | None:
    if path not in values:
        return None
    text = json.dumps(values[path], ensure_ascii=False)
    return text if len(text) <= LONGEST_VALUE else f"{text[: LONGEST_VALUE - 1]}…"


# ── what becomes of the data ──


def _dataset(
    name: str,
    specs: tuple[DatasetSpec, DatasetSpec],
    fields: tuple[FieldChange, ...],
    live: Object,
    whole: Mapping[Address, Object],
) -> ObjectChange:
    before, after = specs
    status = live.get("status") or {}
    rows, size = status.get("rows"), status.get("bytes")
    changes = [*_schema_changes(before, after)]
    effects = [_of_column(change, rows) for change in changes]
    effects += _of_rules(before, after)
    for immutable in ("table", "destinationRef.name"):
        if any(field.path == immutable for field in fields):
            effects.append(Effect(f"{immutable} is immutable: the API server refuses the change", breaking=True))
    stale = _unfinished(status)
    effects += [Effect(stale)] if stale is not None else []
    filled = any(change.kind == "AddColumn" for change in changes) or bool(_of_rules(before, after))
    return ObjectChange(
        "Dataset",
        name,
        "change",
        fields,
        tuple(effects),
        _users(("Dataset", name), whole),
        rows=rows,
        bytes_rewritten=_rewritten(changes, after, whole, size),
        rows_without_new_values=rows if filled else 0,
    )


def _schema_changes(before: DatasetSpec, after: DatasetSpec) -> Iterator[Change]:
    renamed = {field.name: field.renamed_from for field in after.schema_.fields if field.renamed_from}
    yield from differences.between(_columns(before), _columns(after), renamed)
    yield from differences.of_keys(before.schema_.key, after.schema_.key, renamed)


def _columns(spec: DatasetSpec) -> list[Column]:
    return [Column(field.name, str(field.type).replace(" ", ""), bool(field.required)) for field in spec.schema_.fields]


def _of_column(change: Change, rows: int | None) -> Effect:
    if change.safe or rows == 0:
        return Effect(_in_words(change))
    if rows is None:
        return Effect(f"{_in_words(change)}: refused if the table has rows (rows: unknown)", breaking=True)
    return Effect(f"{_in_words(change)}: refused, because the table has {words.count(rows, 'row')}", breaking=True)


_WORDS: Mapping[str, str] = {
    "AddColumn": "column {column} ({after}) is added; rows that are there have no value in it",
    "DropColumn": "column {column} ({before}) is dropped",
    "Rename": "column {before} is renamed to {column}; its values stay",
    "Widen": "column {column} is widened from {before} to {after}; its values stay",
    "Retype": "column {column} is retyped from {before} to {after}",
    "Require": "column {column} becomes required",
    "Relax": "column {column} is not required any more",
    "Reorder": "the columns have another order",
    "Key": "the primary key changes from {before} to {after}",
}


def _in_words(change: Change) -> str:
    text = "column {column} ({after}), which is required, is added" if change.required else _WORDS[change.kind]
    return text.format(column=change.column, before=change.before or "none", after=change.after or "none")


_READING = ("type", "required", "renamed_from", "description")
"""What of a field is about its column; all else says which values are read, and which are good."""


def _of_rules(before: DatasetSpec, after: DatasetSpec) -> list[Effect]:
    """Fields that are read or checked by other rules: rows that are there stay as they are."""
    old = {field.name: field for field in before.schema_.fields}
    changed = [
        field.name
        for field in after.schema_.fields
        if field.name in old
        and field.model_dump(exclude={*_READING}) != old[field.name].model_dump(exclude={*_READING})
    ]
    effects = []
    if changed:
        which = ", ".join(changed[:8]) + (", …" if len(changed) > 8 else "")
        effects.append(
            Effect(f"{which}: read or checked by other rules from the next run on; rows that are there stay")
        )
    if before.write_mode != after.write_mode:
        effects.append(
            Effect(f"rows are written by {after.write_mode} instead of {before.write_mode} from the next run on")
        )
    return effects


def _unfinished(status: Object) -> str | None:
    """That the table is not as the manifest in the cluster says: the changes then start from another schema."""
    for condition in status.get("conditions") or []:
        if condition["type"] == "SchemaCurrent" and condition["status"] != "True":
            return f"the table does not have the schema in the cluster: {condition.get('message', '')}"
    return None


def _rewritten(
    changes: Sequence[Change], spec: DatasetSpec, whole: Mapping[Address, Object], size: int | None
) -> int | None:
    """How many bytes of the table are written again; None where unknown."""
    if not any(change.kind == "Widen" for change in changes):
        return 0
    destination = whole.get(("Destination", spec.destination_ref.name))
    if destination is None:
        return None
    connector = next(iter(destination["spec"].get("connector") or {}), None)
    return 0 if connector in METADATA_ONLY else size


def _effects(before: Model, after: Model, fields: Sequence[FieldChange]) -> Iterator[Effect]:
    """What changes of the other kinds do to data."""
    paths = {field.path for field in fields}
    if any(path.startswith("connector.") for path in paths):
        yield Effect(
            "another place, or another way to read or write it: it is inspected again, and what is new there is loaded"
        )
    if "maxConcurrentRuns" in paths:
        yield Effect("the number of runs that use it at the same time changes at once")
    if isinstance(before, PipelineSpec) and isinstance(after, PipelineSpec):
        yield from _pipeline(before, after)
    if isinstance(before, SubscriptionSpec) and isinstance(after, SubscriptionSpec):
        yield from _subscription(before, after, paths)
    suspended = getattr(before, "suspend", False), getattr(after, "suspend", False)
    if suspended[0] != suspended[1]:
        yield Effect("nothing new is started for it" if suspended[1] else "it is started again")


def _pipeline(before: PipelineSpec, after: PipelineSpec) -> Iterator[Effect]:
    if before.identity != after.identity:
        yield Effect(
            "the ledger knows it by another name: every input counts as new and is loaded again", breaking=True
        )
    if before.source_ref != after.source_ref:
        yield Effect(f"it reads Source {after.source_ref.name} instead of {before.source_ref.name}")
    old = {entry.dataset_ref.name: entry for entry in before.datasets}
    new = {entry.dataset_ref.name: entry for entry in after.datasets}
    for name in sorted(old.keys() - new.keys()):
        yield Effect(f"Dataset {name} is not loaded by it any more; its rows stay", breaking=True)
    for name in sorted(new.keys() - old.keys()):
        yield Effect(f"Dataset {name} is loaded by it, from the beginning")
    for name in sorted(name for name in new.keys() & old.keys() if new[name] != old[name]):
        yield Effect(f"Dataset {name} is loaded in another way")
    if after.run_nonce and before.run_nonce != after.run_nonce:
        yield Effect("a run starts at once")
    if (before.schedule, before.time_zone, before.trigger) != (after.schedule, after.time_zone, after.trigger):
        yield Effect("it runs at other times")


def _subscription(before: SubscriptionSpec, after: SubscriptionSpec, paths: set[str]) -> Iterator[Effect]:
    if (before.dataset_ref, before.destination_ref) != (after.dataset_ref, after.destination_ref):
        yield Effect(f"it delivers {after.dataset_ref.name} to {after.destination_ref.name}; what was delivered stays")
    if any(path.startswith(("fields", "settings")) for path in paths):
        yield Effect("the next delivery has other columns, other rows or another form")
    if after.run_nonce and before.run_nonce != after.run_nonce:
        yield Effect("a delivery starts at once")


# ── whom it concerns ──


def _users(address: Address, whole: Mapping[Address, Object]) -> tuple[str, ...]:
    """The Pipelines and Subscriptions that use an object, directly or by way of a Dataset."""
    kind, name = address
    direct = [other for other, manifest in whole.items() if address in _names(manifest)]
    if kind == "Destination":
        direct += [user for other in direct if other[0] == "Dataset" for user in _users_of_dataset(other, whole)]
    users = {f"{of} {each}" for of, each in direct if of in ("Pipeline", "Subscription")}
    return tuple(sorted(users - {f"{kind} {name}"}))


def _users_of_dataset(address: Address, whole: Mapping[Address, Object]) -> list[Address]:
    return [other for other, manifest in whole.items() if address in _names(manifest)]


def _names(manifest: Object) -> set[Address]:
    """What the spec of an object names."""
    spec = _spec(manifest)
    if isinstance(spec, DatasetSpec):
        return {("Destination", spec.destination_ref.name)}
    if isinstance(spec, PipelineSpec):
        return {("Source", spec.source_ref.name), *(("Dataset", entry.dataset_ref.name) for entry in spec.datasets)}
    if isinstance(spec, SubscriptionSpec):
        return {("Dataset", spec.dataset_ref.name), ("Destination", spec.destination_ref.name)}
    return set()
