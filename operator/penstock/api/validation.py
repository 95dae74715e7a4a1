"""Whether a set of manifests is right, before any cluster sees it: each object alone, and what refers to what."""

import re
from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Literal, ParamSpec

from penstock.api import checks, deliverychecks, expressionchecks, findings, manifests, objects, trigger
from penstock.api.dataset import DatasetSpec
from penstock.api.destination import DestinationSpec
from penstock.api.documents import Position, Unreadable
from penstock.api.expressionchecks import Expressions, Rules
from penstock.api.fields import SchemaField
from penstock.api.findings import Finding, Path
from penstock.api.manifests import Manifest
from penstock.api.pipeline import PipelineSpec
from penstock.api.source import SourceSpec
from penstock.api.subscription import SubscriptionSpec
from penstock.language.errors import InvalidSpec
from penstock.language.model import Model
from penstock.language.traits import DeliveryPlace

Severity = Literal["error", "warning"]
_Given = ParamSpec("_Given")
_Address = tuple[str, str, str]  # kind, namespace, name

_TOP = ("apiVersion", "kind", "metadata", "spec", "status")
_METADATA = (
    "name", "namespace", "labels", "annotations", "finalizers", "ownerReferences", "generateName", "uid",
    "resourceVersion", "generation", "creationTimestamp", "managedFields", "deletionTimestamp",
)  # fmt: skip
_NAME = re.compile(r"[a-z0-9]([-a-z0-9.]*[a-z0-9])?")


@dataclass(frozen=True)
class Complaint:
    """One fault in a file: where it stands, in which object, and what is wrong and what to do."""

    position: Position
    severity: Severity
    subject: str
    finding: Finding

    def __str__(self) -> str:
        subject = f"{self.subject}: " if self.subject else ""
        return f"{self.position}: {self.severity}: {subject}{self.finding}"


@dataclass(frozen=True)
class Verdict:
    """What validating a set found. `checked` objects are of our five kinds, `others` were left to kubectl."""

    complaints: Sequence[Complaint]
    checked: Sequence[Manifest]
    others: int

    @property
    def errors(self) -> int:
        """How many complaints forbid applying the set."""
        return sum(complaint.severity == "error" for complaint in self.complaints)


Filters = Callable[[str, str, Sequence[SchemaField]], None]
"""Judges an expression that is a filter over fields: (expression, where, fields) raises InvalidSpec."""


def validate(
    entries: Iterable[Manifest | Unreadable],
    *,
    complete: bool = False,
    expressions: Expressions | None = None,
    filters: Filters | None = None,
    rules: Rules | None = None,
) -> Verdict:
    """Check a set. A reference to what is not in it is a warning, and an error when the set is `complete`.

    An expression is looked at by `expressions`, as a filter by `filters`, and as a check or a rule by `rules`.
    """
    complaints: list[Complaint] = []
    ours: list[Manifest] = []
    others = 0
    for entry in entries:
        if isinstance(entry, Unreadable):
            complaints.append(Complaint(entry.position, "error", "", Finding((), entry.message)))
        elif _is_ours(entry):
            ours.append(entry)
        else:
            others += 1
    specs: dict[_Address, tuple[Manifest, Model | None]] = {}
    for manifest in ours:
        spec, faults = _alone(manifest)
        address = (manifest.kind, manifest.namespace, manifest.name)
        if manifest.name and (twin := specs.get(address)):
            faults.append(Finding(("metadata", "name"), f"the same object stands at {twin[0].at(())}, too"))
        specs.setdefault(address, (manifest, spec))
        faults += expressionchecks.findings(manifest, expressions, rules)
        complaints += [_complaint(manifest, fault) for fault in faults]
    complaints += _between(specs, "error" if complete else "warning")
    complaints += _filters(specs, filters, complaints) if filters is not None else ()
    complaints += _tables(specs)
    complaints += _deliveries(specs)
    complaints += _cycles(specs)
    return Verdict(sorted(complaints, key=lambda complaint: complaint.position), ours, others)


def _is_ours(manifest: Manifest) -> bool:
    """Whether it is of our group, or was probably meant to be."""
    group = str(manifest.object.get("apiVersion") or "").partition("/")[0]
    return group == objects.GROUP or findings.nearest(group, [objects.GROUP]) is not None or not group


def _alone(manifest: Manifest) -> tuple[Model | None, list[Finding]]:
    """What is wrong with one object by itself."""
    faults = [
        Finding((str(name),), f"unknown field; {findings.suggestion(str(name), _TOP)}")
        for name in manifest.object
        if name not in _TOP
    ]
    version = manifest.object.get("apiVersion")
    if version != objects.API_VERSION:
        wrong_version = "is missing" if version is None else f'"{version}" is not served'
        faults.append(Finding(("apiVersion",), f"{wrong_version}; write {objects.API_VERSION}"))
    spec, wrong = manifests.read(manifest.object)
    return spec, [*faults, *_metadata(manifest), *wrong]


def _metadata(manifest: Manifest) -> Iterator[Finding]:
    """What is wrong with the name and what stands beside it, as the API server would say it."""
    metadata = manifest.object.get("metadata")
    if not isinstance(metadata, Mapping):
        yield Finding(("metadata",), "is missing: metadata: {name: …}" if metadata is None else "must be an object")
        return
    for field in ("name", "namespace"):
        value = metadata.get(field)
        if value is None and field == "name":
            yield Finding(("metadata", "name"), "is missing")
        elif isinstance(value, bool):
            yield Finding(("metadata", field), findings.BOOLEAN_FOR_STRING)
        elif value is not None and not isinstance(value, str):
            yield Finding(("metadata", field), f'must be a string: write it in quotes, "{value}"')
        elif value is not None and not _NAME.fullmatch(value):
            yield Finding(("metadata", field), f'"{value}" is not a name: lower-case letters, digits, - and .')
        elif value is not None and len(value) > objects.LONGEST_NAME:
            yield Finding(("metadata", field), f"has {len(value)} characters; at most {objects.LONGEST_NAME}")
    for word in metadata:
        if word not in _METADATA:
            yield Finding(("metadata", str(word)), f"unknown field; {findings.suggestion(str(word), _METADATA[:4])}")


def _filters(
    specs: Mapping[_Address, tuple[Manifest, Model | None]], judge: Filters, before: Sequence[Complaint]
) -> Iterator[Complaint]:
    """What is wrong with filters over the fields of their Dataset, where nothing is wrong with them by themselves."""
    complained = {(complaint.position, complaint.finding.path) for complaint in before}
    for (_kind, namespace, _name), (manifest, spec) in specs.items():
        for path, where in expressionchecks.places(manifest):
            written, fields = (
                expressionchecks.value_at(manifest.object, path),
                _fields_of_filter(spec, namespace, path, specs),
            )
            if isinstance(written, str) and fields is not None and (manifest.at(path), path) not in complained:
                try:
                    judge(written, where, fields)
                except InvalidSpec as error:
                    yield _complaint(manifest, Finding(path, error.message))


def _fields_of_filter(
    spec: Model | None, namespace: str, path: Path, specs: Mapping[_Address, tuple[Manifest, Model | None]]
) -> Sequence[SchemaField] | None:
    """The fields that a filter may use; None for another expression, and where its Dataset is not in the set."""
    if isinstance(spec, DatasetSpec):
        return spec.schema_.fields if path[1] == "access" else None
    if not isinstance(spec, SubscriptionSpec):
        return None
    entry = specs.get(("Dataset", namespace, spec.dataset_ref.name))
    dataset = entry[1] if entry is not None else None
    return deliverychecks.offered(dataset) if isinstance(dataset, DatasetSpec) else None


def _complaint(manifest: Manifest, finding: Finding, severity: Severity = "error") -> Complaint:
    subject = f"{manifest.kind} {manifest.name}".strip()
    return Complaint(manifest.at(finding.path), severity, subject, finding)


def _between(specs: Mapping[_Address, tuple[Manifest, Model | None]], missing: Severity) -> Iterator[Complaint]:
    """What is wrong between objects. What does not hold alone is not judged again by what refers to it."""
    for (_kind, namespace, _name), (manifest, spec) in specs.items():
        references = _References(manifest, namespace, specs, missing)
        if isinstance(spec, DatasetSpec):
            _dataset(spec, references)
        elif isinstance(spec, PipelineSpec):
            _pipeline(spec, references)
        elif isinstance(spec, SubscriptionSpec):
            _subscription(spec, references)
        yield from references.complaints


def _tables(specs: Mapping[_Address, tuple[Manifest, Model | None]]) -> Iterator[Complaint]:
    """Tables that two Datasets claim. A Dataset has two: its own, and beside it the one of its bad rows."""
    owners: defaultdict[tuple[str, str], list[Manifest]] = defaultdict(list)
    for (_kind, namespace, _name), (manifest, spec) in specs.items():
        if not isinstance(spec, DatasetSpec):
            continue
        place = _table_place(specs, namespace, spec.destination_ref.name)
        place = place or f"{namespace}/{spec.destination_ref.name}"
        for table in (spec.table, checks.quarantine_table(spec.table)):
            owners[place, table].append(manifest)
    named = set()
    for (_place, table), (first, *others) in owners.items():
        for manifest in others:
            if manifest.name not in named:  # who shares a table shares that of the bad rows, too
                message = f'the table "{table}" belongs to Dataset {first.name} ({first.at(())}); choose another table'
                yield _complaint(manifest, Finding(("spec", "table"), message))
            named.add(manifest.name)


def _deliveries(specs: Mapping[_Address, tuple[Manifest, Model | None]]) -> Iterator[Complaint]:
    """Folders and tables that two Subscriptions deliver into, or that a Dataset has: each would replace the other's."""
    owners: dict[DeliveryPlace, Manifest] = {}
    for (kind, namespace, _name), (manifest, spec) in specs.items():
        if kind == "Dataset" and isinstance(spec, DatasetSpec):
            place = _table_place(specs, namespace, spec.destination_ref.name)
            for table in (spec.table, checks.quarantine_table(spec.table)) if place is not None else ():
                owners[DeliveryPlace("table", table, place or "")] = manifest
    for (_kind, namespace, _name), (manifest, spec) in specs.items():
        if not isinstance(spec, SubscriptionSpec):
            continue
        destination = _destination_of(specs, namespace, spec.destination_ref.name)
        if destination is None:
            continue
        where = destination.connector.spec.delivery_place(spec.settings.suffix, spec.settings.table, namespace)
        if where is not None and (first := owners.setdefault(where, manifest)) is not manifest:
            yield _complaint(manifest, _delivery_conflict(where, first))


def _delivery_conflict(where: DeliveryPlace, first: Manifest) -> Finding:
    owner = f"{first.kind} {first.name} ({first.at(())})"
    if first.kind == "Dataset":
        return Finding(
            ("spec", "settings", "table"), f'the table "{where.name}" belongs to {owner}; choose another table'
        )
    setting = "suffix" if where.kind == "folder" else "table"
    message = f"{owner} delivers into the same {where.kind}, {where.name}, and each would replace the other's "
    return Finding(("spec", "settings", setting), f"{message}deliveries; choose another {setting}")


def _destination_of(
    specs: Mapping[_Address, tuple[Manifest, Model | None]], namespace: str, name: str
) -> DestinationSpec | None:
    """The Destination of that name, where it is in the set and right."""
    there = specs.get(("Destination", namespace, name))
    return there[1] if there is not None and isinstance(there[1], DestinationSpec) else None


def _table_place(specs: Mapping[_Address, tuple[Manifest, Model | None]], namespace: str, name: str) -> str | None:
    destination = _destination_of(specs, namespace, name)
    return destination.connector.spec.table_place(namespace) if destination is not None else None


def _cycles(specs: Mapping[_Address, tuple[Manifest, Model | None]]) -> Iterator[Complaint]:
    """Pipelines that start each other without end, by `trigger.after`."""
    followers: defaultdict[tuple[str, str], list[_Address]] = defaultdict(list)
    writes: dict[_Address, list[tuple[str, str]]] = {}
    for address, (_manifest, spec) in specs.items():
        if isinstance(spec, PipelineSpec):
            writes[address] = [(address[1], entry.dataset_ref.name) for entry in spec.datasets]
            for name in spec.trigger.names if spec.trigger is not None else ():
                followers[address[1], name].append(address)
    for address in writes:
        cycle = trigger.cycle(address, writes.__getitem__, lambda dataset: followers.get(dataset, []))
        if cycle is not None:
            message = trigger.cycle_in_words([name for _kind, _namespace, name in cycle])
            yield _complaint(specs[address][0], Finding(("spec", "trigger", "after"), message))


def _dataset(spec: DatasetSpec, references: "_References") -> None:
    for fault in deliverychecks.access(spec):
        references.complain(fault)
    destination = references.find("Destination", spec.destination_ref.name, ("spec", "destinationRef", "name"))
    if isinstance(destination, DestinationSpec):
        references.check(("spec", "destinationRef", "name"), checks.holds_tables, spec, destination)
        references.check(("spec", "writeMode"), checks.write_mode, spec, destination)
        references.check(("spec", "table"), checks.table_name, spec, destination)
        for index, field in enumerate(spec.schema_.fields):
            references.check(("spec", "schema", "fields", index, "name"), checks.table_field, field, destination)


def _after(spec: PipelineSpec | SubscriptionSpec, references: "_References") -> None:
    for index, name in enumerate(spec.trigger.names if spec.trigger is not None else ()):
        references.find("Dataset", name, ("spec", "trigger", "after", index, "datasetRef", "name"))


def _pipeline(spec: PipelineSpec, references: "_References") -> None:
    _after(spec, references)
    source = references.find("Source", spec.source_ref.name, ("spec", "sourceRef", "name"))
    for index, entry in enumerate(spec.datasets):
        here: Path = ("spec", "datasets", index)
        dataset = references.find("Dataset", entry.dataset_ref.name, (*here, "datasetRef", "name"))
        if isinstance(source, SourceSpec):
            references.check((*here, "stream"), checks.stream, entry, spec.source_ref.name, source)
            references.check((*here, "sync"), checks.stream_sync, entry, spec.source_ref.name, source)
            references.check((*here, "cursor"), checks.cursor, entry, spec.source_ref.name, source)
        if isinstance(dataset, DatasetSpec):
            references.check((*here, "sync"), checks.pipeline_dataset, entry, dataset)
            references.check((*here, "lookback"), checks.lookback, entry, dataset)


def _subscription(spec: SubscriptionSpec, references: "_References") -> None:
    _after(spec, references)
    dataset = references.find("Dataset", spec.dataset_ref.name, ("spec", "datasetRef", "name"))
    destination = references.find("Destination", spec.destination_ref.name, ("spec", "destinationRef", "name"))
    if isinstance(destination, DestinationSpec):
        where: Path = ("spec", "destinationRef", "name")
        references.check(where, checks.subscription_destination, spec, destination)
        for name in (*checks.SETTINGS_OF["files"], *checks.SETTINGS_OF["tables"]):
            references.check(("spec", "settings", name), checks.subscription_setting, name, spec, destination)
    if isinstance(dataset, DatasetSpec):
        for fault in deliverychecks.faults(spec, dataset):
            references.complain(fault)
        if isinstance(destination, DestinationSpec):
            references.check(("spec", "fields"), checks.subscription_columns, spec, dataset, destination)


class _References:
    """Finds what one manifest refers to, and gathers what is wrong with it."""

    def __init__(
        self,
        manifest: Manifest,
        namespace: str,
        specs: Mapping[_Address, tuple[Manifest, Model | None]],
        missing: Severity,
    ) -> None:
        self._manifest = manifest
        self._namespace = namespace
        self._specs = specs
        self._missing = missing
        self.complaints: list[Complaint] = []

    def find(self, kind: str, name: str, path: Path) -> Model | None:
        """The spec of what is referred to, if it is in the set and right; a complaint if it is not in the set."""
        entry = self._specs.get((kind, self._namespace, name))
        if entry is not None:
            return entry[1]
        names = [each for (of, namespace, each) in self._specs if (of, namespace) == (kind, self._namespace)]
        meant = findings.nearest(name, names)
        ending = f"; did you mean {meant}?" if meant else ""
        fault = Finding(path, f'there is no {kind} "{name}" in these files{ending}')
        self.complaints.append(_complaint(self._manifest, fault, self._missing))
        return None

    def complain(self, finding: Finding) -> None:
        """Add a fault of the manifest."""
        self.complaints.append(_complaint(self._manifest, finding))

    def check(self, path: Path, judge: Callable[_Given, None], *given: _Given.args, **named: _Given.kwargs) -> None:
        """Run one check of `penstock.api.checks`; what it raises is a complaint at `path`."""
        try:
            judge(*given, **named)
        except InvalidSpec as error:
            self.complaints.append(_complaint(self._manifest, Finding(path, error.message)))
