"""First station: from an object to the closed graph of what it refers to. Pure; problems are values in the graph."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from datetime import timedelta
from typing import Generic, TypeVar, cast

from penstock.api import checks, objects, trigger
from penstock.api.dataset import DatasetSpec, DatasetStatus
from penstock.api.destination import DestinationSpec
from penstock.api.objects import Key, KindName, Meta
from penstock.api.pipeline import PipelineDataset, PipelineSpec
from penstock.api.source import SourceSpec
from penstock.api.subscription import SubscriptionSpec
from penstock.control import limits
from penstock.control.cluster.port import Manifest
from penstock.control.cluster.store import Store
from penstock.control.settings import Settings
from penstock.language import conditions, lenient, times
from penstock.language.conditions import Condition, ConditionType, Reason
from penstock.language.errors import InvalidSpec, PenstockError
from penstock.language.model import Model

S = TypeVar("S", bound=Model)
T = TypeVar("T")
CLOCK_MARGIN = timedelta(minutes=10)
"""By how much the clocks of two machines may differ."""
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

    @property
    def title(self) -> str:
        """Its kind and name, as a message names it."""
        return f"{self.key.kind} {self.name}"


@dataclass(frozen=True)
class Request:
    """What a spec says about its runs, read also where the rest of it is invalid: what was asked for is not lost."""

    run_nonce: str = ""
    identity: str | None = None
    history: int = 10

    @classmethod
    def of(cls, manifest: Manifest) -> "Request":
        """The request in an object; a member that cannot be what it should counts as absent."""
        spec = manifest.get("spec")
        members = spec if isinstance(spec, dict) else {}
        nonce, identity, history = (members.get(name) for name in ("runNonce", "identity", "history"))
        is_number = isinstance(history, int) and not isinstance(history, bool)
        return cls(
            run_nonce=nonce if isinstance(nonce, str) and len(nonce) <= 128 else "",
            identity=identity if isinstance(identity, str) and 0 < len(identity) <= 253 else None,
            history=min(max(cast(int, history), 1), 50) if is_number else 10,
        )


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
    request: Request = Request()
    problem: Problem | None = None
    source: Node[SourceSpec] | None = None
    destination: Node[DestinationSpec] | None = None
    lake: Node[DestinationSpec] | None = None
    """Where the Dataset of a Subscription lies."""
    dataset: Node[DatasetSpec] | None = None
    entries: tuple[Entry, ...] = ()
    after: tuple[Node[DatasetSpec], ...] = ()
    """The Datasets whose loads start a run; not among `nodes`, for a run reads nothing of them by that."""
    children: tuple[Manifest, ...] = ()
    dataset_jobs: tuple[Manifest, ...] = ()
    """Jobs, anyone's, that write or wrote this Dataset's table, as far as status does not have their reports yet."""
    rivals: tuple[Manifest, ...] = ()
    """Jobs, anyone's, that run and write the Datasets of this Pipeline: one writes at a time."""
    full: Key | None = None
    """A Source or Destination of this Pipeline or Subscription that as many runs use as its `maxConcurrentRuns` allows.
    """
    last_use: tuple[Manifest, ...] = ()
    """The Job, anyone's, that used this Source or Destination and ended last; one or none."""
    pods: Mapping[str, tuple[Manifest, ...]] = field(default_factory=dict)
    """Pods by the name of their Job, oldest first."""
    derived: dict[str, object] = field(default_factory=dict, compare=False, repr=False)
    """What later stations made of the spec and the nodes, so that each makes it once (see `once`)."""

    def once(self, name: str, make: Callable[[], T]) -> T:
        """What `make` returns, which may depend on nothing but the spec, the settings and the nodes; called once."""
        if name not in self.derived:
            self.derived[name] = make()
        return cast(T, self.derived[name])

    @property
    def nodes(self) -> list[Node[SourceSpec] | Node[DestinationSpec] | Node[DatasetSpec]]:
        """Everything the object refers to, each once."""
        nodes: list[Node[SourceSpec] | Node[DestinationSpec] | Node[DatasetSpec] | None] = [
            self.source,
            self.destination,
            self.lake,
            self.dataset,
        ]
        for entry in self.entries:
            nodes += [entry.dataset, entry.destination]
        return list({node.key: node for node in nodes if node is not None}.values())

    @property
    def suspended(self) -> str | None:
        """What keeps work from starting by `suspend: true`, in words; None if nothing does."""
        if getattr(self.spec, "suspend", False):
            return f"{self.key.kind} {self.key.name} is suspended"
        node = next((node for node in self.nodes if node.spec.suspend), None)
        return f"{node.key.kind} {node.name} is suspended" if node is not None else None

    @property
    def identity(self) -> str:
        """Whose runs these are: the first part of every run id."""
        if self.key.kind == "Pipeline" and self.request.identity:
            return self.request.identity
        marker = f"{self.key.namespace}/{self.key.name}"
        return marker if self.key.kind == "Pipeline" else f"{self.key.kind.lower()}:{marker}"


def references(key: Key, store: Store, settings: Settings) -> Graph | None:
    """The graph of an object, or None if there is no such object (any more)."""
    manifest = store.get(key)
    if manifest is None:
        return None
    bare = Graph(
        key=key,
        meta=Meta.of(manifest),
        spec=None,
        status=store.derived(key, _status),
        settings=settings,
        request=Request.of(manifest),
    )
    return with_children(_resolved(bare, store), store)


def _resolved(bare: Graph, store: Store) -> Graph:
    """The graph without what was made for the object."""
    try:
        spec = store.spec(bare.key)
    except InvalidSpec as invalid:
        return replace(bare, problem=Problem("InvalidSpec", invalid.message))
    if len(bare.key.name) > objects.LONGEST_NAME:
        problem = Problem("InvalidSpec", f"metadata.name: at most {objects.LONGEST_NAME} characters")
        return replace(bare, problem=problem)
    graph = replace(bare, spec=spec)
    try:
        return _RESOLVERS[bare.key.kind](graph, store)
    except PenstockError as error:
        return replace(graph, problem=Problem(error.reason, error.message))


def with_children(graph: Graph, store: Store) -> Graph:
    """The graph with the children as they are in the store now; the same graph where none of them has changed."""
    children = tuple(child for child in store.children(graph.key) if not _left_over(child, graph.key, graph.meta))
    dataset_jobs = _dataset_jobs(graph, store)
    rivals = tuple(job for entry in graph.entries for job in store.writing_jobs(entry.dataset.key))
    user = store.last_use(graph.key)
    last_use = (user,) if user is not None else ()
    jobs = [child for child in (*children, *dataset_jobs, *last_use) if child["kind"] == "Job"]
    pods = {job["metadata"]["name"]: tuple(store.pods(job)) for job in jobs}
    full = _full(graph, store)
    now = (children, dataset_jobs, rivals, full, last_use, pods)
    if now == (graph.children, graph.dataset_jobs, graph.rivals, graph.full, graph.last_use, graph.pods):
        return graph
    # What was derived from the spec and the nodes stays: it does not depend on children.
    return replace(
        graph,
        children=children,
        dataset_jobs=dataset_jobs,
        rivals=rivals,
        full=full,
        last_use=last_use,
        pods=pods,
    )


def _full(graph: Graph, store: Store) -> Key | None:
    """What is full of the systems that a run of a Pipeline or Subscription uses."""
    if graph.key.kind not in ("Pipeline", "Subscription"):
        return None
    return limits.full((node.key for node in graph.nodes if node.key.kind in ("Source", "Destination")), store)


def _dataset_jobs(graph: Graph, store: Store) -> tuple[Manifest, ...]:
    """The Jobs whose reports may say more of a Dataset's table than its status does."""
    if not isinstance(graph.status, DatasetStatus):
        return ()
    last = graph.status.last_report_time
    # The report is written before the Job ends, by the clock of another machine.
    since = times.text(times.parse(last) - CLOCK_MARGIN) if last is not None else ""
    return (*store.written_jobs(graph.key, since), *store.writing_jobs(graph.key))


def unread(key: Key, manifest: Manifest, settings: Settings) -> Graph:
    """An object without its spec and its references: for an error that was not foreseen."""
    request = Request.of(manifest)
    return Graph(
        key=key, meta=Meta.of(manifest), spec=None, status=_status(manifest), settings=settings, request=request
    )


def _source(graph: Graph, store: Store) -> Graph:
    del store
    return graph


def _dataset(graph: Graph, store: Store) -> Graph:
    spec = cast(DatasetSpec, graph.spec)
    destination = _find(store, graph.key, "Destination", spec.destination_ref.name, DestinationSpec)
    checks.dataset_destination(spec, destination.spec)
    checks.access(spec)
    return replace(graph, destination=destination)


def _pipeline(graph: Graph, store: Store) -> Graph:
    spec = cast(PipelineSpec, graph.spec)
    source = _find(store, graph.key, "Source", spec.source_ref.name, SourceSpec)
    entries = []
    for entry in spec.datasets:
        checks.stream(entry, source.name, source.spec)
        checks.stream_sync(entry, source.name, source.spec)
        checks.cursor(entry, source.name, source.spec)
        dataset = _find(store, graph.key, "Dataset", entry.dataset_ref.name, DatasetSpec)
        checks.pipeline_dataset(entry, dataset.spec)
        checks.lookback(entry, dataset.spec)
        name = dataset.spec.destination_ref.name
        entries.append(Entry(entry, dataset, _find(store, graph.key, "Destination", name, DestinationSpec)))
    cycle = store.triggers.cycle(graph.key)
    if cycle is not None:
        raise InvalidSpec(f"trigger.after: {trigger.cycle_in_words([key.name for key in cycle])}")
    return replace(graph, source=source, entries=tuple(entries), after=_after(graph, spec, store))


def _after(graph: Graph, spec: PipelineSpec | SubscriptionSpec, store: Store) -> tuple[Node[DatasetSpec], ...]:
    """The Datasets whose loads start a run."""
    names = spec.trigger.names if spec.trigger is not None else []
    return tuple(_find(store, graph.key, "Dataset", name, DatasetSpec) for name in names)


def _subscription(graph: Graph, store: Store) -> Graph:
    spec = cast(SubscriptionSpec, graph.spec)
    dataset = _find(store, graph.key, "Dataset", spec.dataset_ref.name, DatasetSpec)
    lake = _find(store, graph.key, "Destination", dataset.spec.destination_ref.name, DestinationSpec)
    destination = _find(store, graph.key, "Destination", spec.destination_ref.name, DestinationSpec)
    checks.subscription(spec, dataset.spec, destination.spec)
    _check_place(graph.key, store)
    after = _after(graph, spec, store)
    return replace(graph, dataset=dataset, lake=lake, destination=destination, after=after)


def _check_place(key: Key, store: Store) -> None:
    """Raise InvalidSpec (DeliveryConflict) if an older Subscription delivers into the same folder or table."""
    place = store.delivery_place(key)
    owner = store.delivery_owner(place) if place is not None else None
    if place is not None and owner is not None and owner != key:
        name = owner.name if owner.namespace == key.namespace else f"{owner.namespace}/{owner.name}"
        setting = "suffix" if place.kind == "folder" else "table"
        raise InvalidSpec(
            f"Subscription {name} delivers into the same {place.kind}, and each would replace the other's deliveries. "
            f"Choose another settings.{setting}, or another Destination.",
            "DeliveryConflict",
        )


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
        parsed = store.spec(key)
    except InvalidSpec as invalid:
        raise InvalidSpec(f"{kind} {name} is invalid: {invalid.message}") from None
    assert isinstance(parsed, spec)  # noqa: S101 - the kind decides the model
    return Node(key, parsed, store.derived(key, _status))


def _left_over(child: Manifest, key: Key, meta: Meta) -> bool:
    """Whether a Job was made for a former object of this name, so that the garbage collector is about to take it.

    Its run is not a run of this object: a nonce that it answered has not been answered here. (Orders and CronJobs of
    the former object are taken over: their names are the same.)
    """
    if child["kind"] != "Job":
        return False
    owners = child["metadata"].get("ownerReferences") or []
    return any(owner["kind"] == key.kind and owner["name"] == key.name and owner["uid"] != meta.uid for owner in owners)


def _status(manifest: Manifest) -> Model:
    """The status as last published, by this version or another."""
    model = objects.KINDS[objects.key_of(manifest).kind].status
    try:
        return lenient.read(model, manifest.get("status") or {})
    except ValueError:  # it is no object at all
        return model()
