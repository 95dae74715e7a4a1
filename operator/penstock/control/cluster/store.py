"""What was seen of the cluster, in memory: the five kinds, our children, and who refers to whom.

Reads cost no API call, and what a reconciliation needs is found by index, so its cost does not grow with the number of
objects. Each spec and status is parsed once for each of its versions. Writes go through to the store, so that a
decision never rests on what we have changed since.
"""

from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import Any, TypeVar, cast

from penstock.api import manifests, objects
from penstock.api.destination import DestinationSpec
from penstock.api.objects import Key
from penstock.api.subscription import SubscriptionSpec
from penstock.control.cluster import owners
from penstock.control.cluster.indexes import DeliveryPlaces, Divided, Ordered
from penstock.control.cluster.port import Manifest, Ref
from penstock.control.cluster.triggers import Triggers, after_of
from penstock.language.errors import InvalidSpec
from penstock.language.model import Model
from penstock.language.traits import DeliveryPlace
from penstock.runs.order import RUNS

T = TypeVar("T")

JOB_NAME = "batch.kubernetes.io/job-name"
"""Label that the Job controller puts on the Pods of a Job."""

SELECTOR = f"{objects.MANAGED_BY}={objects.FIELD_MANAGER}"
"""Picks our children, and nothing else, out of a namespace."""

WRITERS = ("ingest", "migrate")
"""The purposes of Jobs that write a Dataset's table."""

USERS = ("ingest", "deliver", "migrate")
"""The purposes of Jobs that use Sources and Destinations; inspections only look at them."""

_REMEMBERED = 10_000
"""How many deleted objects are remembered; an event of an older version comes within seconds of the deletion."""


class Store:
    """The newest seen version of each object, with indexes."""

    parses: int = 0
    """How many specs and statuses were parsed so far, for tests of what a reconciliation costs."""

    def __init__(self) -> None:
        self._objects: dict[Key, Manifest] = {}
        self._children: dict[Ref, Manifest] = {}
        self._by_owner: defaultdict[Key, set[Ref]] = defaultdict(set)
        self._by_cronjob: defaultdict[str, set[Ref]] = defaultdict(set)
        self._cronjobs: defaultdict[str, set[Ref]] = defaultdict(set)
        self._pods_of: defaultdict[tuple[str, str], set[Ref]] = defaultdict(set)
        self._referrers: defaultdict[Key, set[Key]] = defaultdict(set)
        self._specs: dict[Key, Model | InvalidSpec] = {}
        self._derived: dict[Key, dict[object, Any]] = {}
        self._delivery_places = DeliveryPlaces()
        self.triggers = Triggers()
        self._changed: dict[Key, None] = {}
        self._waiting: Ordered[Key | str, Ref] = Ordered()
        """Jobs that wait for the gate, by their owner, by the UID of the CronJob that made them, and ("") all."""
        self._waiting_writers: Divided[Key, Ref] = Divided()
        """Jobs that wait to write a Dataset, divided by the systems that they use: their annotation."""
        self._using: Ordered[Key, Ref] = Ordered()
        """Runs under way, by each Source and Destination that they use."""
        self._writing: Ordered[Key, Ref] = Ordered()
        self._written: Ordered[Key, Ref] = Ordered()
        self._used: Ordered[Key, Ref] = Ordered()
        """Runs that have ended, by each Source and Destination that they connected to."""
        self._released: set[Key] = set()
        self._gone: dict[str, int] = {}

    # ── the five kinds ──

    def get(self, key: Key) -> Manifest | None:
        """The object, if it is there."""
        return self._objects.get(key)

    def object_keys(self) -> list[Key]:
        """Every object of the five kinds."""
        return list(self._objects)

    def spec(self, key: Key) -> Model:
        """The typed spec of an object that is there; parsed once. Raises `InvalidSpec`."""
        spec = self._specs.get(key)
        if spec is None:
            self.parses += 1
            try:
                spec = manifests.parse(self._objects[key])
            except InvalidSpec as invalid:
                spec = invalid
            self._specs[key] = spec
        if isinstance(spec, InvalidSpec):
            raise InvalidSpec(spec.message, spec.reason)
        return spec

    def derived(self, key: Key, derive: Callable[[Manifest], T]) -> T:
        """What `derive` makes of an object that is there; computed once for each of its versions."""
        values = self._derived.setdefault(key, {})
        if derive not in values:
            self.parses += 1
            values[derive] = derive(self._objects[key])
        return cast(T, values[derive])

    def reads(self, key: Key) -> list[Key]:
        """The objects whose specs a reconciliation reads and that were not parsed yet: its own, and those it names."""
        manifest = self._objects.get(key)
        if manifest is None:
            return []
        read = [key, *sorted(references(manifest))]
        return [one for one in read if one in self._objects and one not in self._specs]

    def referrers(self, key: Key) -> set[Key]:
        """The objects whose spec names this one, whether it exists or not."""
        return set(self._referrers[key]) if key in self._referrers else set()

    def delivery_place(self, subscription: Key) -> DeliveryPlace | None:
        """Where a Subscription delivers, if it and its Destination are valid."""
        return self._delivery_places.place(subscription)

    def delivery_owner(self, place: DeliveryPlace) -> Key | None:
        """The Subscription that may deliver into a place: the oldest one that is not being deleted."""
        return self._delivery_places.owner(place)

    def take_changed(self) -> list[Key]:
        """The objects of which, since the last call, something has changed that their referrers read, oldest first.

        Whoever changed it, and however: a watch that reports what we wrote ourselves brings no news.
        """
        changed, self._changed = self._changed, {}
        return list(changed)

    def take_reordered(self) -> set[Key]:
        """Subscriptions that may deliver, or may not any more, because others left or entered their place."""
        return self._delivery_places.take_reordered()

    def put(self, manifest: Manifest) -> bool:
        """Remember an object of the five kinds; False if the version in the store is as new or newer."""
        key = objects.key_of(manifest)
        before = self._objects.get(key)
        if not self._news(manifest, before):
            return False
        self._objects[key] = _lean(manifest)
        self.triggers.put(key, before, manifest)
        self._derived.pop(key, None)
        if _read_by_referrers(before) != _read_by_referrers(manifest):
            self._changed[key] = None
        if before is None or not _same_spec(before, manifest):
            self._specs.pop(key, None)
            self._refer(key, before, manifest)
            self._deliver(key)
        return True

    def remove(self, manifest: Manifest) -> bool:
        """Forget an object that was deleted; one created since under the same name (another uid) stays."""
        key = objects.key_of(manifest)
        before = self._objects.get(key)
        self._bury(manifest)
        if before is None or _uid(before) != _uid(manifest):
            return False
        del self._objects[key]
        self._changed[key] = None
        self.triggers.put(key, before, None)
        self._specs.pop(key, None)
        self._derived.pop(key, None)
        self._refer(key, before, None)
        self._deliver(key)
        return True

    def _refer(self, key: Key, before: Manifest | None, after: Manifest | None) -> None:
        """Keep the index of what an object refers to."""
        old = references(before) if before is not None else set()
        new = references(after) if after is not None else set()
        for target in old - new:
            self._referrers[target].discard(key)
            if not self._referrers[target]:
                del self._referrers[target]
        for target in new - old:
            self._referrers[target].add(key)

    def _deliver(self, key: Key) -> None:
        """Keep the index of delivery places, after a change of a Subscription or of its Destination."""
        if key.kind == "Subscription":
            self._put_place(key)
        elif key.kind == "Destination":
            for referrer in self._referrers.get(key, ()):
                if referrer.kind == "Subscription":
                    self._put_place(referrer)

    def _put_place(self, key: Key) -> None:
        manifest = self._objects.get(key)
        self._delivery_places.put(key, self._place(key), _created(manifest) if manifest is not None else "")

    def _place(self, key: Key) -> DeliveryPlace | None:
        manifest = self._objects.get(key)
        if manifest is None or "deletionTimestamp" in manifest["metadata"]:
            return None
        try:
            subscription = cast(SubscriptionSpec, self.spec(key))
            named = Key("Destination", key.namespace, subscription.destination_ref.name)
            if named not in self._objects:
                return None
            destination = cast(DestinationSpec, self.spec(named))
        except InvalidSpec:
            return None
        settings = subscription.settings
        return destination.connector.spec.delivery_place(settings.suffix, settings.table, key.namespace)

    # ── children ──

    def child(self, ref: Ref) -> Manifest | None:
        """One child, if it is there."""
        return self._children.get(ref)

    def children(self, key: Key) -> list[Manifest]:
        """Jobs, CronJobs and ConfigMaps whose owner an object is, and the Jobs that those CronJobs made."""
        refs = set(self._by_owner.get(key, ()))
        for ref in tuple(refs):
            if ref.kind == "CronJob":
                refs |= self._by_cronjob.get(_uid(self._children[ref]), set())
        return [self._children[ref] for ref in sorted(refs)]

    def owner_of(self, child: Manifest) -> Key | None:
        """The object for which a child was made, itself or by a CronJob of ours; None for what is foreign.

        A Pod's is that of its Job.
        """
        if child["kind"] == "Pod":
            metadata = child["metadata"]
            job = self._children.get(Ref("Job", metadata["namespace"], metadata.get("labels", {}).get(JOB_NAME, "")))
            return self.owner_of(job) if job is not None else None
        if (owner := owners.direct(child)) is not None:
            return owner.key
        for ref in self._cronjobs.get(owners.cronjob(child) or "", ()):
            owner = owners.direct(self._children[ref])
            return owner.key if owner is not None else None
        return None

    def waiting_jobs(self, key: Key | None = None) -> list[Ref]:
        """Jobs that wait for the gate, oldest first: those of an object, or all."""
        if key is None:
            return self._waiting.members("")
        makers: list[Key | str] = [key]
        makers += [_uid(self._children[ref]) for ref in self._by_owner.get(key, ()) if ref.kind == "CronJob"]
        waiting = [ref for maker in makers for ref in self._waiting.members(maker)]
        return sorted(waiting, key=lambda ref: (_created(self._children[ref]), ref))

    def waiting_writers(self, dataset: Key) -> list[str]:
        """The parts into which the Jobs that wait to write a Dataset are divided: those of one use the same systems."""
        return self._waiting_writers.parts(dataset)

    def waiting_writer(self, dataset: Key, part: str, position: int) -> Ref | None:
        """Of the Jobs of a part that wait to write a Dataset, oldest first, the one at `position`."""
        return self._waiting_writers.at(dataset, part, position)

    def count_using(self, system: Key) -> int:
        """How many runs under way use a Source or a Destination."""
        return self._using.count(system)

    def writing_jobs(self, dataset: Key) -> list[Manifest]:
        """Our Jobs that run and write a Dataset's table, for whichever object they were made; usually one at most."""
        return self._ours(self._writing.members(dataset))

    def written_jobs(self, dataset: Key, since: str = "") -> list[Manifest]:
        """Our Jobs that wrote a Dataset's table and ended at `since` (RFC 3339) or later, in the order of their end."""
        return self._ours(self._written.members(dataset, since))

    def last_use(self, key: Key) -> Manifest | None:
        """Our Job that used a Source or a Destination and ended last."""
        ref = self._used.last(key)
        return next(iter(self._ours([ref])), None) if ref is not None else None

    def take_released(self) -> set[Key]:
        """The Datasets that a Job ceased to write and the systems that a run ceased to use since the last call."""
        released, self._released = self._released, set()
        return released

    def _ours(self, refs: Iterable[Ref]) -> list[Manifest]:
        jobs = [self._children[ref] for ref in refs]
        return [job for job in jobs if self.owner_of(job) is not None]

    def pods(self, job: Manifest) -> list[Manifest]:
        """The Pods of a Job, oldest first."""
        metadata = job["metadata"]
        refs = self._pods_of.get((metadata["namespace"], metadata["name"]), ())
        return sorted((self._children[ref] for ref in refs), key=lambda pod: str(pod["metadata"]["creationTimestamp"]))

    def put_child(self, manifest: Manifest) -> bool:
        """Remember a child; False if the version in the store is as new or newer."""
        ref = Ref.of(manifest)
        before = self._children.get(ref)
        if not self._news(manifest, before):
            return False
        if before is not None:
            self._unlink(ref, before)
        self._children[ref] = _lean(manifest)
        for index, entry in self._links(manifest):
            index[entry].add(ref)
        for ordered, group, text in self._places(manifest):
            ordered.add(group, text, ref)
        return True

    def remove_child(self, manifest: Manifest) -> bool:
        """Forget a child that was deleted, unless another one has its name by now."""
        ref = Ref.of(manifest)
        before = self._children.get(ref)
        self._bury(manifest)
        if before is None or _uid(before) != _uid(manifest):
            return False
        self._unlink(ref, before)
        del self._children[ref]
        return True

    def refs(self, kind: str) -> set[Ref]:
        """Every child of a kind: what a sweep compares a fresh list with."""
        return {ref for ref in self._children if ref.kind == kind}

    def _news(self, manifest: Manifest, before: Manifest | None) -> bool:
        """Whether to take `manifest` for `before`: a later version, or another incarnation that is not gone already.

        The answer to a request of ours may arrive after the watch has reported that the object is gone.
        """
        if version_of(manifest) <= self._gone.get(_uid(manifest), -1):
            return False
        return before is None or _uid(manifest) != _uid(before) or version_of(manifest) > version_of(before)

    def _bury(self, manifest: Manifest) -> None:
        uid = _uid(manifest)
        self._gone[uid] = max(version_of(manifest), self._gone.pop(uid, -1))
        if len(self._gone) > _REMEMBERED:
            del self._gone[next(iter(self._gone))]

    def _links(self, manifest: Manifest) -> Iterable[tuple[defaultdict[Any, set[Ref]], Any]]:
        metadata = manifest["metadata"]
        if manifest["kind"] == "Pod":
            yield self._pods_of, (metadata["namespace"], metadata.get("labels", {}).get(JOB_NAME, ""))
            return
        if (owner := owners.direct(manifest)) is not None:
            yield self._by_owner, owner.key
        if manifest["kind"] == "CronJob":
            yield self._cronjobs, _uid(manifest)
        if manifest["kind"] == "Job" and (maker := owners.cronjob(manifest)) is not None:
            yield self._by_cronjob, maker

    def _places(self, manifest: Manifest) -> Iterator[tuple[Ordered[Any, Ref] | Divided[Any, Ref], Any, str]]:
        """Where a Job stands in the indexes of Jobs, and the text by which it is ordered there."""
        if manifest["kind"] != "Job":
            return
        purpose = owners.labels(manifest).get(objects.PURPOSE)
        writes = purpose in WRITERS
        if waits(manifest):
            owner, maker, created = owners.direct(manifest), owners.cronjob(manifest), _created(manifest)
            yield self._waiting, "", created
            if (group := owner.key if owner is not None else maker) is not None:
                yield self._waiting, group, created
            for dataset in datasets_of(manifest) if writes else ():
                yield self._waiting_writers, (dataset, _uses(manifest)), created
        elif writes and (finished(manifest) or not manifest["spec"].get("suspend")):
            index = self._written if finished(manifest) else self._writing
            for dataset in datasets_of(manifest):
                yield index, dataset, finish_time(manifest) or "~"
        yield from self._uses(manifest, purpose)

    def _uses(self, manifest: Manifest, purpose: str | None) -> Iterator[tuple[Ordered[Any, Ref], Any, str]]:
        """Where a Job stands in the indexes of Sources and Destinations."""
        for key in uses_of(manifest):
            if finished(manifest) and purpose in USERS:
                yield self._used, key, finish_time(manifest) or ""
            elif not finished(manifest) and purpose in RUNS and not manifest["spec"].get("suspend"):
                yield self._using, key, ""

    def _unlink(self, ref: Ref, manifest: Manifest) -> None:
        for ordered, group, text in self._places(manifest):
            ordered.remove(group, text, ref)
            if ordered is self._writing or ordered is self._using:
                self._released.add(group)
        for index, entry in self._links(manifest):
            index[entry].discard(ref)
            if not index[entry]:
                del index[entry]


def _lean(manifest: Manifest) -> Manifest:
    """Without `managedFields`, which we never read and which are often the larger part of an object."""
    metadata = {key: value for key, value in manifest["metadata"].items() if key != "managedFields"}
    return {**manifest, "metadata": metadata}


def finished(job: Mapping[str, Any]) -> bool:
    """Whether a Job has ended, successfully or not."""
    conditions = (job.get("status") or {}).get("conditions") or []
    return any(entry["type"] in ("Complete", "Failed") and entry["status"] == "True" for entry in conditions)


def finish_time(job: Mapping[str, Any]) -> str | None:
    """When a Job ended, RFC 3339; None while it has not."""
    status = job.get("status") or {}
    ends = [
        condition.get("lastTransitionTime")
        for condition in status.get("conditions") or []
        if condition["type"] in ("Complete", "Failed") and condition["status"] == "True"
    ]
    end = status.get("completionTime") or (ends[0] if ends else None)
    return str(end) if end is not None else None


def waits(job: Mapping[str, Any]) -> bool:
    """Whether a Job is the gate's to admit. One that was admitted and is suspended since then, a person suspended."""
    metadata = job["metadata"]
    if objects.ADMITTED in (metadata.get("annotations") or {}) or "deletionTimestamp" in metadata:
        return False
    return bool(job["spec"].get("suspend")) and not finished(job)


def datasets_of(job: Mapping[str, Any]) -> list[Key]:
    """The Datasets that a Job works on, by its annotation."""
    metadata = job["metadata"]
    names = (metadata.get("annotations") or {}).get(objects.DATASETS, "")
    return [Key("Dataset", metadata["namespace"], name) for name in names.split(",") if name]


def uses_of(job: Mapping[str, Any]) -> list[Key]:
    """The Source and the Destinations that a Job connects to, by its annotation."""
    pairs = [word.split("/") for word in _uses(job).split(",") if word.count("/") == 1]
    namespace = job["metadata"]["namespace"]
    # Each once, whatever the annotation says: a person can change it.
    return list({Key(kind, namespace, name): None for kind, name in pairs if kind in ("Source", "Destination")})  # type: ignore[arg-type]


def _uses(job: Mapping[str, Any]) -> str:
    return str((job["metadata"].get("annotations") or {}).get(objects.USES, ""))


def references(manifest: Mapping[str, Any]) -> set[Key]:
    """The objects that a spec names, read leniently: an invalid spec has references too."""
    namespace = manifest["metadata"].get("namespace", "default")
    spec = manifest.get("spec") or {}
    entries = spec.get("datasets")
    named = [
        ("Source", spec.get("sourceRef")),
        ("Destination", spec.get("destinationRef")),
        ("Dataset", spec.get("datasetRef")),
        *(
            ("Dataset", entry.get("datasetRef"))
            for entry in (entries if isinstance(entries, list) else [])
            if isinstance(entry, dict)
        ),
    ]
    return {
        Key(kind, namespace, ref["name"])  # type: ignore[arg-type]  # the three literals above are kinds
        for kind, ref in named
        if isinstance(ref, dict) and isinstance(ref.get("name"), str)
    } | set(after_of(manifest))


def version_of(manifest: Mapping[str, Any]) -> int:
    """The resource version of an object.

    Resource versions of one resource compare as integers: promised since Kubernetes 1.35, true of etcd always.
    """
    return int(manifest["metadata"]["resourceVersion"])


def _created(manifest: Mapping[str, Any]) -> str:
    return str(manifest["metadata"].get("creationTimestamp", ""))


def _same_spec(before: Mapping[str, Any], after: Mapping[str, Any]) -> bool:
    """Whether two versions of an object have the same spec, and are both being deleted or both not."""
    deleting = [manifest["metadata"].get("deletionTimestamp") for manifest in (before, after)]
    return _uid(before) == _uid(after) and deleting[0] == deleting[1] and before.get("spec") == after.get("spec")


def _read_by_referrers(manifest: Mapping[str, Any] | None) -> object:
    """What the objects that refer to this one read of it."""
    if manifest is None:
        return None
    metadata, status = manifest["metadata"], manifest.get("status") or {}
    fields = ("type", "status", "reason", "message")
    conditions = [tuple(condition.get(name) for name in fields) for condition in status.get("conditions") or []]
    loaded = status.get("lastLoadTime") is not None
    return metadata["uid"], metadata.get("deletionTimestamp"), manifest.get("spec"), conditions, loaded


def _uid(manifest: Mapping[str, Any]) -> str:
    return str(manifest["metadata"]["uid"])
