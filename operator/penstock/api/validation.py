"""Whether a set of manifests is right, before any cluster sees it: each object alone, and what refers to what."""

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Literal, ParamSpec

from penstock.api import checks, findings, manifests, objects
from penstock.api.dataset import DatasetSpec
from penstock.api.destination import DestinationSpec
from penstock.api.documents import Position, Unreadable
from penstock.api.errors import InvalidSpec
from penstock.api.findings import Finding, Path
from penstock.api.manifests import Manifest
from penstock.api.model import Model
from penstock.api.pipeline import PipelineSpec
from penstock.api.subscription import SubscriptionSpec

Severity = Literal["error", "warning"]
_Given = ParamSpec("_Given")
_Address = tuple[str, str, str]  # kind, namespace, name

_TOP = ("apiVersion", "kind", "metadata", "spec", "status")


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


def validate(found: Iterable[Manifest | Unreadable], *, complete: bool = False) -> Verdict:
    """Check a set. A reference to what is not in it is a warning, and an error when the set is `complete`."""
    complaints: list[Complaint] = []
    ours: list[Manifest] = []
    others = 0
    for entry in found:
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
        complaints += [_complaint(manifest, fault) for fault in faults]
    complaints += _between(specs, "error" if complete else "warning")
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
        faults.append(Finding(("apiVersion",), f'"{version or ""}" should be {objects.API_VERSION}'))
    if not manifest.name:
        faults.append(Finding(("metadata", "name"), "is missing"))
    spec, wrong = manifests.read(manifest.object)
    return spec, faults + wrong


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


def _dataset(spec: DatasetSpec, references: "_References") -> None:
    destination = references.find("Destination", spec.destination_ref.name, ("spec", "destinationRef", "name"))
    if isinstance(destination, DestinationSpec):
        references.check(("spec", "destinationRef", "name"), checks.dataset_destination, spec, destination)


def _pipeline(spec: PipelineSpec, references: "_References") -> None:
    references.find("Source", spec.source_ref.name, ("spec", "sourceRef", "name"))
    for index, entry in enumerate(spec.datasets):
        here: Path = ("spec", "datasets", index)
        dataset = references.find("Dataset", entry.dataset_ref.name, (*here, "datasetRef", "name"))
        if entry.stream is not None:
            references.check((*here, "stream"), checks.stream, entry, [spec.source_ref.name])
        if isinstance(dataset, DatasetSpec):
            references.check((*here, "sync"), checks.pipeline_dataset, entry, dataset)


def _subscription(spec: SubscriptionSpec, references: "_References") -> None:
    dataset = references.find("Dataset", spec.dataset_ref.name, ("spec", "datasetRef", "name"))
    destination = references.find("Destination", spec.destination_ref.name, ("spec", "destinationRef", "name"))
    if isinstance(destination, DestinationSpec):
        where: Path = ("spec", "destinationRef", "name")
        references.check(where, checks.subscription_destination, spec, destination)
    if isinstance(dataset, DatasetSpec):
        for index, field in enumerate(spec.fields):
            where = ("spec", "fields", index, "name")
            references.check(where, checks.subscription_field, field, spec, dataset)


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
        found = self._specs.get((kind, self._namespace, name))
        if found is not None:
            return found[1]
        known = [each for (of, namespace, each) in self._specs if (of, namespace) == (kind, self._namespace)]
        meant = findings.nearest(name, known)
        ending = f"; did you mean {meant}?" if meant else ""
        fault = Finding(path, f'there is no {kind} "{name}" in these files{ending}')
        self.complaints.append(_complaint(self._manifest, fault, self._missing))
        return None

    def check(self, path: Path, judge: Callable[_Given, None], *given: _Given.args, **named: _Given.kwargs) -> None:
        """Run one check of `penstock.api.checks`; what it raises is a complaint at `path`."""
        try:
            judge(*given, **named)
        except InvalidSpec as error:
            self.complaints.append(_complaint(self._manifest, Finding(path, error.message)))
