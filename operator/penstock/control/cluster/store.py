"""What was seen of the cluster, in memory: the five kinds, our children, and who refers to whom.

Reads cost no API call and what a reconciliation needs is found by index, so its cost does not grow with the number of
objects. Writes go through to the store, so that a decision never rests on what we have changed since.
"""

from collections import defaultdict
from collections.abc import Iterable, Mapping
from typing import Any

from penstock.api import objects
from penstock.api.objects import Key, KindName
from penstock.control.cluster import owners
from penstock.control.cluster.port import Manifest, Ref

JOB_NAME = "batch.kubernetes.io/job-name"
"""Label that the Job controller puts on the Pods of a Job."""

SELECTOR = f"{objects.MANAGED_BY}={objects.FIELD_MANAGER}"
"""Picks our children, and nothing else, out of a namespace."""

_REMEMBERED = 10_000
"""How many deleted objects are remembered; the news of an older version comes within seconds of the deletion."""


class Store:
    """The newest seen version of each object, with indexes."""

    def __init__(self) -> None:
        self._objects: dict[Key, Manifest] = {}
        self._children: dict[Ref, Manifest] = {}
        self._by_owner: defaultdict[Key, set[Ref]] = defaultdict(set)
        self._by_cronjob: defaultdict[str, set[Ref]] = defaultdict(set)
        self._cronjobs: defaultdict[str, set[Ref]] = defaultdict(set)
        self._by_dataset: defaultdict[Key, set[Ref]] = defaultdict(set)
        self._pods_of: defaultdict[tuple[str, str], set[Ref]] = defaultdict(set)
        self._referrers: defaultdict[Key, set[Key]] = defaultdict(set)
        self._of_kind: defaultdict[str, set[Key]] = defaultdict(set)
        self._unfinished: set[Ref] = set()
        self._gone: dict[str, int] = {}

    # ── the five kinds ──

    def get(self, key: Key) -> Manifest | None:
        """The object, if it is there."""
        return self._objects.get(key)

    def known(self) -> list[Key]:
        """Every object of the five kinds."""
        return list(self._objects)

    def of_kind(self, kind: KindName) -> list[Key]:
        """Every object of one kind."""
        return sorted(self._of_kind[kind])

    def referrers(self, key: Key) -> set[Key]:
        """The objects whose spec names this one, whether it exists or not."""
        return set(self._referrers[key]) if key in self._referrers else set()

    def put(self, manifest: Manifest) -> bool:
        """Remember an object of the five kinds; False if what is known is as new or newer."""
        key = objects.key_of(manifest)
        before = self._objects.get(key)
        if not self._news(manifest, before):
            return False
        self._forget_references(key, before)
        self._objects[key] = _lean(manifest)
        self._of_kind[key.kind].add(key)
        for target in references(manifest):
            self._referrers[target].add(key)
        return True

    def remove(self, manifest: Manifest) -> bool:
        """Forget an object that was deleted; one created since under the same name (another uid) stays."""
        key = objects.key_of(manifest)
        before = self._objects.get(key)
        self._bury(manifest)
        if before is None or _uid(before) != _uid(manifest):
            return False
        self._forget_references(key, before)
        del self._objects[key]
        self._of_kind[key.kind].discard(key)
        return True

    def _forget_references(self, key: Key, manifest: Manifest | None) -> None:
        for target in references(manifest) if manifest is not None else ():
            self._referrers[target].discard(key)
            if not self._referrers[target]:
                del self._referrers[target]

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
        """The object for which a child was made, itself or by a CronJob of ours; None for what is foreign."""
        if (owner := owners.direct(child)) is not None:
            return owner.key
        for ref in self._cronjobs.get(owners.cronjob(child) or "", ()):
            found = owners.direct(self._children[ref])
            return found.key if found is not None else None
        return None

    def jobs_of_dataset(self, key: Key) -> list[Manifest]:
        """Our Jobs that work on a Dataset, for whichever object they were made."""
        jobs = [self._children[ref] for ref in sorted(self._by_dataset.get(key, ()))]
        return [job for job in jobs if self.owner_of(job) is not None]

    def unfinished_jobs(self) -> list[Manifest]:
        """Jobs that wait or run: what the gate is rebuilt from."""
        return [self._children[ref] for ref in sorted(self._unfinished)]

    def pods(self, job: Manifest) -> list[Manifest]:
        """The Pods of a Job, oldest first."""
        metadata = job["metadata"]
        refs = self._pods_of.get((metadata["namespace"], metadata["name"]), ())
        return sorted((self._children[ref] for ref in refs), key=lambda pod: str(pod["metadata"]["creationTimestamp"]))

    def put_child(self, manifest: Manifest) -> bool:
        """Remember a child; False if what is known is as new or newer."""
        ref = Ref.of(manifest)
        before = self._children.get(ref)
        if not self._news(manifest, before):
            return False
        if before is not None:
            self._unlink(ref, before)
        self._children[ref] = _lean(manifest)
        for index, entry in self._links(manifest):
            index[entry].add(ref)
        if ref.kind == "Job" and not finished(manifest):
            self._unfinished.add(ref)
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

        The answer to a request of ours may arrive after the watch has told that the object is gone.
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
        if manifest["kind"] == "Job":
            if (maker := owners.cronjob(manifest)) is not None:
                yield self._by_cronjob, maker
            for dataset in datasets_of(manifest):
                yield self._by_dataset, dataset

    def _unlink(self, ref: Ref, manifest: Manifest) -> None:
        self._unfinished.discard(ref)
        for index, entry in self._links(manifest):
            index[entry].discard(ref)
            if not index[entry]:
                del index[entry]


def _lean(manifest: Manifest) -> Manifest:
    """Without `managedFields`, which we never read and which are often the larger part of an object."""
    metadata = {key: value for key, value in manifest["metadata"].items() if key != "managedFields"}
    return {**manifest, "metadata": metadata}


def finished(job: Mapping[str, Any]) -> bool:
    """Whether a Job has come to its end, well or badly."""
    conditions = (job.get("status") or {}).get("conditions") or []
    return any(entry["type"] in ("Complete", "Failed") and entry["status"] == "True" for entry in conditions)


def datasets_of(job: Mapping[str, Any]) -> list[Key]:
    """The Datasets that a Job works on, by its annotation."""
    metadata = job["metadata"]
    names = (metadata.get("annotations") or {}).get(objects.DATASETS, "")
    return [Key("Dataset", metadata["namespace"], name) for name in names.split(",") if name]


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
    }


def version_of(manifest: Mapping[str, Any]) -> int:
    """The resource version of an object.

    Resource versions of one resource compare as integers: promised since Kubernetes 1.35, true of etcd always.
    """
    return int(manifest["metadata"]["resourceVersion"])


def _uid(manifest: Mapping[str, Any]) -> str:
    return str(manifest["metadata"]["uid"])
