"""First station: from an object to the closed graph of what it refers to. Pure; problems are values in the graph."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Generic, TypeVar, cast

from penstock.api import checks, manifests, objects
from penstock.api.dataset import DatasetSpec
from penstock.api.destination import DestinationSpec
from penstock.api.objects import Key, KindName, Meta
from penstock.api.pipeline import PipelineDataset, PipelineSpec
from penstock.api.source import SourceSpec
from penstock.api.subscription import SubscriptionSpec
from penstock.control.cluster.port import Manifest
from penstock.control.cluster.store import Store
from penstock.control.settings import Settings
from penstock.language import conditions, lenient
from penstock.language.conditions import Condition, ConditionType, Reason
from penstock.language.errors import InvalidSpec, PenstockError
from penstock.language.model import Model

S = TypeVar("S", bound=Model)
NOT_FOUND: Mapping[str, Reason] = {
    "Source": "SourceNotFound",
    "Destination": "DestinationNotFound",
    "Dataset": "DatasetNotFound",
}


@dataclass(frozen=True)
class Problem:
    """Why an object cannot work as it stands."""

    reason: Reason
    message: str


@dataclass(frozen=True)
class Node(Generic[S]):
    """An object that another one refers to, with a valid spec."""

    key: Key
    spec: S
    status: Model

    def condition(self, kind: ConditionType) -> Condition | None:
        """One of its conditions, as last published."""
        return conditions.find(getattr(self.status, "conditions", []), kind)

    @property
    def name(self) -> str:
        """Its name."""
        return self.key.name

    def saying(self, message: str) -> str:
        """A message of its own, with whose it is, once."""
        subject = f"{self.key.kind} {self.name}"
        return message if message.startswith(f"{subject}:") else f"{subject}: {message}"


@dataclass(frozen=True)
class Entry:
    """One line of a Pipeline's `datasets`, with what it refers to."""

    entry: PipelineDataset
    dataset: Node[DatasetSpec]
    destination: Node[DestinationSpec]


@dataclass(frozen=True)
class Graph:
    """An object, what it refers to, and what was made for it.

    `spec` is None when the object's own spec is invalid; the members that follow it are None or empty as far as they do
    not apply to the kind or could not be resolved, and `problem` says why.
    """

    key: Key
    meta: Meta
    spec: Model | None
    status: Model
    settings: Settings
    problem: Problem | None = None
    source: Node[SourceSpec] | None = None
    destination: Node[DestinationSpec] | None = None
    lake: Node[DestinationSpec] | None = None
    """Where the Dataset of a Subscription lies."""
    dataset: Node[DatasetSpec] | None = None
    entries: tuple[Entry, ...] = ()
    children: tuple[Manifest, ...] = ()
    dataset_jobs: tuple[Manifest, ...] = ()
    """Jobs, anyone's, that work on this Dataset: their reports tell of its table."""
    rivals: tuple[Manifest, ...] = ()
    """Jobs, anyone's, that work on the Datasets of this Pipeline: one writes at a time."""
    pods: Mapping[str, tuple[Manifest, ...]] = field(default_factory=dict)
    """Pods by the name of their Job, oldest first."""

    @property
    def nodes(self) -> list[Node[SourceSpec] | Node[DestinationSpec] | Node[DatasetSpec]]:
        """Everything the object refers to, each once."""
        found: list[Node[SourceSpec] | Node[DestinationSpec] | Node[DatasetSpec] | None] = [
            self.source,
            self.destination,
            self.lake,
            self.dataset,
        ]
        for entry in self.entries:
            found += [entry.dataset, entry.destination]
        return list({node.key: node for node in found if node is not None}.values())

    @property
    def suspended(self) -> str | None:
        """What keeps work from starting by `suspend: true`, in words; None if nothing does."""
        if getattr(self.spec, "suspend", False):
            return f"{self.key.kind} {self.key.name} is suspended"
        held = next((node for node in self.nodes if node.spec.suspend), None)
        return f"{held.key.kind} {held.name} is suspended" if held is not None else None

    @property
    def identity(self) -> str:
        """Whose runs these are: the first part of every run id."""
        if isinstance(self.spec, PipelineSpec) and self.spec.identity:
            return self.spec.identity
        marker = f"{self.key.namespace}/{self.key.name}"
        return marker if self.key.kind == "Pipeline" else f"{self.key.kind.lower()}:{marker}"


def references(key: Key, store: Store, settings: Settings) -> Graph | None:
    """The graph of an object, or None if there is no such object (any more)."""
    manifest = store.get(key)
    if manifest is None:
        return None
    bare = unread(key, manifest, settings)
    meta = bare.meta
    children = [child for child in store.children(key) if not _left_over(child, key, meta)]
    jobs = [child for child in children if child["kind"] == "Job"]
    pods = {job["metadata"]["name"]: tuple(store.pods(job)) for job in jobs}
    bare = _with(bare, children=tuple(children), pods=pods)
    try:
        spec = manifests.parse(manifest)
    except InvalidSpec as invalid:
        return _with(bare, problem=Problem("InvalidSpec", invalid.message))
    if len(key.name) > objects.LONGEST_NAME:
        return _with(bare, problem=Problem("InvalidSpec", f"metadata.name: at most {objects.LONGEST_NAME} characters"))
    resolved = _with(bare, spec=spec)
    try:
        resolved = _RESOLVERS[key.kind](resolved, store)
    except PenstockError as error:
        return _with(resolved, problem=Problem(error.reason, error.message))
    return resolved


def unread(key: Key, manifest: Manifest, settings: Settings) -> Graph:
    """An object before its spec is read: what can be told of it whatever is wrong."""
    status = _status(key.kind, manifest)
    return Graph(key=key, meta=Meta.of(manifest), spec=None, status=status, settings=settings)


def _source(graph: Graph, store: Store) -> Graph:
    del store
    return graph


def _dataset(graph: Graph, store: Store) -> Graph:
    spec = cast(DatasetSpec, graph.spec)
    destination = _find(store, graph.key, "Destination", spec.destination_ref.name, DestinationSpec)
    checks.dataset_destination(spec, destination.spec)
    jobs = tuple(store.jobs_of_dataset(graph.key))
    pods = {job["metadata"]["name"]: tuple(store.pods(job)) for job in jobs}
    return _with(graph, destination=destination, dataset_jobs=jobs, pods={**graph.pods, **pods})


def _pipeline(graph: Graph, store: Store) -> Graph:
    spec = cast(PipelineSpec, graph.spec)
    source = _find(store, graph.key, "Source", spec.source_ref.name, SourceSpec)
    entries = []
    for entry in spec.datasets:
        checks.stream(entry, source.name, source.spec)
        checks.stream_sync(entry, source.name, source.spec)
        dataset = _find(store, graph.key, "Dataset", entry.dataset_ref.name, DatasetSpec)
        checks.pipeline_dataset(entry, dataset.spec)
        name = dataset.spec.destination_ref.name
        entries.append(Entry(entry, dataset, _find(store, graph.key, "Destination", name, DestinationSpec)))
    rivals = tuple(job for entry in entries for job in store.jobs_of_dataset(entry.dataset.key))
    return _with(graph, source=source, entries=tuple(entries), rivals=rivals)


def _subscription(graph: Graph, store: Store) -> Graph:
    spec = cast(SubscriptionSpec, graph.spec)
    dataset = _find(store, graph.key, "Dataset", spec.dataset_ref.name, DatasetSpec)
    lake = _find(store, graph.key, "Destination", dataset.spec.destination_ref.name, DestinationSpec)
    destination = _find(store, graph.key, "Destination", spec.destination_ref.name, DestinationSpec)
    checks.subscription(spec, dataset.spec, destination.spec)
    _check_folder(graph.key, spec, destination.spec, store)
    return _with(graph, dataset=dataset, lake=lake, destination=destination)


def _check_folder(key: Key, spec: SubscriptionSpec, destination: DestinationSpec, store: Store) -> None:
    """Raise InvalidSpec (DeliveryConflict) if an older Subscription delivers into the same folder."""
    folder = _place(destination, spec.settings.suffix, key.namespace)
    for place in store.of_kind("Destination") if folder is not None else ():
        if (there := _lenient(store, place, DestinationSpec)) is None:
            continue
        for rival in store.referrers(place):
            # There may be thousands: the suffix is looked at before anything is parsed.
            if rival == key or _place(there, _suffix(store, rival), rival.namespace) != folder:
                continue
            older = rival.kind == "Subscription" and _age(store, rival) <= _age(store, key)
            if older and _lenient(store, rival, SubscriptionSpec):
                name = rival.name if rival.namespace == key.namespace else f"{rival.namespace}/{rival.name}"
                raise InvalidSpec(
                    f"Subscription {name} delivers into the same folder, and each would replace the other's "
                    "manifest.json. Choose another settings.suffix, or another Destination.",
                    "DeliveryConflict",
                )


def _place(destination: DestinationSpec, suffix: str | None, namespace: str) -> str | None:
    return destination.connector.spec.delivery_place(suffix, namespace)


def _suffix(store: Store, key: Key) -> str | None:
    """The suffix that a Subscription's manifest gives, valid or not."""
    manifest = store.get(key) or {}
    suffix: str | None = ((manifest.get("spec") or {}).get("settings") or {}).get("suffix")
    return suffix


def _age(store: Store, key: Key) -> tuple[str, Key]:
    """What orders objects from the oldest to the newest; one that is being deleted is younger than all."""
    manifest = store.get(key)
    if manifest is None or Meta.of(manifest).deleting:
        return "~", key
    return str(manifest["metadata"].get("creationTimestamp", "")), key


def _lenient(store: Store, key: Key, spec: type[S]) -> S | None:
    """The spec of an object, None where it is not there or not valid."""
    manifest = store.get(key)
    parsed = manifests.read(manifest)[0] if manifest is not None else None
    return parsed if isinstance(parsed, spec) else None


_RESOLVERS = {
    "Source": _source,
    "Destination": _source,
    "Dataset": _dataset,
    "Pipeline": _pipeline,
    "Subscription": _subscription,
}


def _find(store: Store, by: Key, kind: KindName, name: str, spec: type[S]) -> Node[S]:
    key = Key(kind, by.namespace, name)
    manifest = store.get(key)
    if manifest is None or Meta.of(manifest).deleting:
        raise InvalidSpec(
            f"{kind} {name} does not exist in namespace {by.namespace}. Create it, or name another.", NOT_FOUND[kind]
        )
    try:
        parsed = manifests.parse(manifest)
    except InvalidSpec as invalid:
        raise InvalidSpec(f"{kind} {name} is invalid: {invalid.message}") from None
    assert isinstance(parsed, spec)  # noqa: S101 - the kind decides the model
    return Node(key, parsed, _status(kind, manifest))


def _left_over(child: Manifest, key: Key, meta: Meta) -> bool:
    """Whether a Job was made for a former object of this name, so that the garbage collector is about to take it.

    Its run is not a run of this object: a nonce that it answered has not been answered here. (Orders and CronJobs of
    the former object are taken over: their names are the same.)
    """
    if child["kind"] != "Job":
        return False
    owners = child["metadata"].get("ownerReferences") or []
    return any(owner["kind"] == key.kind and owner["name"] == key.name and owner["uid"] != meta.uid for owner in owners)


def _status(kind: KindName, manifest: Manifest) -> Model:
    """The status as last published, by this version or another."""
    model = objects.KINDS[kind].status
    try:
        return lenient.read(model, manifest.get("status") or {})
    except ValueError:  # it is no object at all
        return model()


def _with(graph: Graph, **changes: object) -> Graph:
    return Graph(**{**graph.__dict__, **changes})
