"""A cluster in memory that implements `control.cluster.port.Cluster` and records every call; no network, no clock.

It does what the API server does as far as control relies on it: uids, resource versions that stay when nothing changes,
generations, merge patches, server-side apply with one manager, optimistic locking, watches from a version, and (in
place of the garbage collector) dependents that go with their owner. Calls are recorded; what a test does itself is not.
"""

import asyncio
import bisect
import copy
import itertools
from collections.abc import AsyncIterator, Mapping
from dataclasses import dataclass, field
from typing import Any

from penstock.control.cluster.port import ClusterError, Conflict, Event, Listing, Manifest, NotFound, Ref

WRITES = ("apply", "create", "patch", "patch_status", "delete")
_SERVER_SIDE = ("uid", "resourceVersion", "creationTimestamp", "generation")


@dataclass(frozen=True)
class Call:
    """One request: its verb and what it was about."""

    verb: str
    ref: Ref


Manifests = list[Manifest]
Calls = list[Call]
"""Lists by other names: within the class, `list` is a verb of the port."""


@dataclass
class FakeCluster:
    """Objects by reference, and what was asked of them."""

    now: str = "2026-11-22T12:00:00Z"
    """What the server takes for the time; RFC 3339."""
    calls: list[Call] = field(default_factory=list)
    logs: dict[str, str] = field(default_factory=dict)
    """The log of each Pod, by name."""
    refuse: dict[Call, Exception] = field(default_factory=dict)
    """Calls that fail, and how; for `create` with a generated name, the name is empty."""
    defaults: Mapping[str, Manifest] = field(default_factory=dict)
    """What the server adds to every object of a kind, unless it says something else."""
    resources: set[str] = field(default_factory=set)
    """What discovery tells, as penstock.dev/v1alpha1/sources."""
    _objects: dict[Ref, Manifest] = field(default_factory=dict)
    _applied: dict[Ref, Manifest] = field(default_factory=dict)
    _owned: dict[str, set[Ref]] = field(default_factory=dict)
    """What had an object as its owner at some time, by the object's UID."""
    _history: list[tuple[int, Event]] = field(default_factory=list)
    _numbers: "itertools.count[int]" = field(default_factory=lambda: itertools.count(1))
    _version: int = 0
    _forgotten: int = 0
    _changed: asyncio.Event = field(default_factory=asyncio.Event)

    # ── the port ──

    async def served(self, api_version: str) -> frozenset[str]:
        self._called("served", Ref(api_version, "", ""))
        prefix = f"{api_version}/"
        return frozenset(resource.removeprefix(prefix) for resource in self.resources if resource.startswith(prefix))

    async def list(self, kind: str, namespace: str | None, selector: str) -> Listing:
        self._called("list", Ref(kind, namespace or "", ""))
        return Listing([copy.deepcopy(item) for item in self.items(kind, namespace, selector)], str(self._version))

    async def watch(self, kind: str, namespace: str | None, selector: str, version: str) -> AsyncIterator[Event]:
        self._called("watch", Ref(kind, namespace or "", ""))
        seen = int(version)
        while seen >= self._forgotten:
            start = bisect.bisect_right(self._history, seen, key=lambda entry: entry[0])
            news, seen = [event for _, event in self._history[start:]], self._version
            for event in news:
                if _picked(event.object, kind, namespace, selector):
                    yield copy.deepcopy(event)
            if seen == self._version:
                self._changed.clear()
                await self._changed.wait()
        yield Event("ERROR", {"code": 410, "message": "too old resource version"})

    async def get(self, ref: Ref) -> Manifest:
        self._called("get", ref)
        return copy.deepcopy(self.read(ref))

    async def apply(self, manifest: Manifest) -> Manifest:
        ref = Ref.of(manifest)
        self._called("apply", ref)
        live = self._objects.get(ref)
        before = self._applied.get(ref, {})
        self._applied[ref] = copy.deepcopy(manifest)
        if live is None:
            return self._added(manifest)
        after = _merged(_pruned(copy.deepcopy(live), before, manifest), manifest)
        # A merged list: what another than this manager's applies wrote stays.
        ours = after["metadata"].get("ownerReferences") or []
        applied = {owner["uid"] for owner in [*ours, *before.get("metadata", {}).get("ownerReferences", [])]}
        others = [owner for owner in live["metadata"].get("ownerReferences") or [] if owner["uid"] not in applied]
        if others or ours:
            after["metadata"]["ownerReferences"] = [*others, *ours]
        return self._stored(ref, after)

    async def create(self, manifest: Manifest) -> Manifest:
        metadata = manifest.get("metadata", {})
        self._called("create", Ref(manifest["kind"], metadata.get("namespace", ""), metadata.get("name", "")))
        if "name" in metadata and Ref.of(manifest) in self._objects:
            raise Conflict(409, "AlreadyExists", f"{metadata['name']} already exists")
        return self._added(manifest)

    async def patch(self, ref: Ref, patch: Manifest) -> Manifest:
        self._called("patch", ref)
        wanted = patch.get("metadata", {}).get("resourceVersion")
        if wanted is not None and self.read(ref)["metadata"]["resourceVersion"] != wanted:
            raise Conflict(409, "Conflict", "the object has been modified")
        return self.change(ref, patch)

    async def patch_status(self, ref: Ref, patch: Manifest) -> Manifest:
        self._called("patch_status", ref)
        wanted = patch["metadata"].get("resourceVersion")
        if wanted is not None and self.read(ref)["metadata"]["resourceVersion"] != wanted:
            raise Conflict(409, "Conflict", "the object has been modified")
        return self.change(ref, {"status": patch["status"]})

    async def delete(self, ref: Ref, uid: str) -> None:
        self._called("delete", ref)
        if ref in self._objects and self._objects[ref]["metadata"]["uid"] == uid:
            self.remove(ref)

    async def log(self, namespace: str, pod: str, tail: int | None = None) -> str:
        self._called("log", Ref("Pod", namespace, pod))
        if pod not in self.logs:
            raise NotFound(404, "NotFound", f"pods {pod} not found")
        return self.logs[pod] if tail is None else "\n".join(self.logs[pod].rstrip("\n").split("\n")[-tail:])

    # ── what tests and other controllers do; not recorded ──

    @property
    def writes(self) -> Calls:
        """The recorded calls that change something."""
        return [call for call in self.calls if call.verb in WRITES]

    def items(self, kind: str, namespace: str | None = None, selector: str = "") -> Manifests:
        """The objects of a kind, by name."""
        return [item for _, item in sorted(self._objects.items()) if _picked(item, kind, namespace, selector)]

    def everything(self) -> Manifests:
        """Every object there is."""
        return [item for _, item in sorted(self._objects.items())]

    def read(self, ref: Ref) -> Manifest:
        """One object. Raises `port.NotFound`."""
        if ref not in self._objects:
            raise NotFound(404, "NotFound", f"{ref.kind} {ref.name} not found")
        return self._objects[ref]

    def put(self, manifest: Manifest, namespace: str = "default") -> Manifest:
        """Create an object, or replace its spec, labels and annotations, as `kubectl apply` would."""
        whole = {**manifest, "metadata": {"namespace": namespace, **manifest["metadata"]}}
        live = self._objects.get(Ref.of(whole))
        if live is None:
            return self._added(whole)
        kept = {name: live["metadata"][name] for name in _SERVER_SIDE}
        changed = {**live, **whole, "metadata": {**whole["metadata"], **kept}}
        return self._stored(Ref.of(whole), changed)

    def change(self, ref: Ref, patch: Manifest) -> Manifest:
        """Merge a patch into an object, as RFC 7386 has it."""
        return self._stored(ref, _merged(copy.deepcopy(self.read(ref)), patch))

    def remove(self, ref: Ref, *, dependents: bool = True) -> None:
        """Delete an object and what it owns, or (the garbage collector takes its time) not yet what it owns."""
        gone = copy.deepcopy(self._objects.pop(ref))
        self._applied.pop(ref, None)
        self._version += 1
        gone["metadata"]["resourceVersion"] = str(self._version)
        self._tell("DELETED", gone)
        uid = gone["metadata"]["uid"]
        for dependent in sorted(self._owned.pop(uid, ())) if dependents else ():
            if uid in _owners(self._objects.get(dependent, {"metadata": {}})):
                self.remove(dependent)

    def forget(self) -> None:
        """Compact the history: watches that have not seen all of it are ended with 410."""
        self._history.clear()
        self._forgotten = self._version
        self._changed.set()

    def say(self, event: Event) -> None:
        """Have watches tell of something that never happened."""
        self._version += 1
        self._history.append((self._version, event))
        self._changed.set()

    # ── storage ──

    def _called(self, verb: str, ref: Ref) -> None:
        call = Call(verb, ref)
        self.calls.append(call)
        if call in self.refuse:
            raise self.refuse[call]

    def _added(self, manifest: Manifest) -> Manifest:
        number = next(self._numbers)
        whole = _merged(copy.deepcopy(self.defaults.get(manifest["kind"], {})), copy.deepcopy(manifest))
        metadata = whole["metadata"]
        metadata.setdefault("name", f"{metadata.get('generateName', '')}{number:05}")
        metadata.update(uid=f"uid-{number}", creationTimestamp=self.now, generation=1)
        return self._kept("ADDED", whole)

    def _stored(self, ref: Ref, manifest: Manifest) -> Manifest:
        before = self._objects[ref]
        if manifest == before:
            return copy.deepcopy(before)
        if manifest.get("spec") != before.get("spec"):
            manifest["metadata"]["generation"] = before["metadata"]["generation"] + 1
        return self._kept("MODIFIED", copy.deepcopy(manifest))

    def _kept(self, word: Any, manifest: Manifest) -> Manifest:
        owners = manifest["metadata"].get("ownerReferences") or []
        if sum(bool(owner.get("controller")) for owner in owners) > 1:
            raise ClusterError(422, "Invalid", "Only one reference can have Controller set to true")
        self._version += 1
        manifest["metadata"]["resourceVersion"] = str(self._version)
        self._objects[Ref.of(manifest)] = manifest
        for uid in _owners(manifest):
            self._owned.setdefault(uid, set()).add(Ref.of(manifest))
        self._tell(word, manifest)
        return copy.deepcopy(manifest)

    def _tell(self, word: Any, manifest: Manifest) -> None:
        self._history.append((self._version, Event(word, copy.deepcopy(manifest))))
        self._changed.set()


def _merged(live: Manifest, patch: Manifest) -> Manifest:
    """RFC 7386: null removes, objects merge, everything else replaces."""
    for key, value in patch.items():
        if value is None:
            live.pop(key, None)
        elif isinstance(value, dict):
            known = live.get(key)
            live[key] = _merged(known if isinstance(known, dict) else {}, value)
        else:
            live[key] = copy.deepcopy(value)
    return live


def _pruned(live: Manifest, before: Manifest, after: Manifest) -> Manifest:
    """Without the members that were applied before and are not any more."""
    for key, value in before.items():
        if key not in after:
            live.pop(key, None)
        elif isinstance(value, dict) and isinstance(after[key], dict) and isinstance(live.get(key), dict):
            _pruned(live[key], value, after[key])
    return live


def _picked(manifest: Manifest, kind: str, namespace: str | None, selector: str) -> bool:
    metadata = manifest["metadata"]
    labels = metadata.get("labels") or {}
    wanted = [term.split("=") for term in selector.split(",") if term]
    in_place = manifest["kind"] == kind and namespace in (None, metadata.get("namespace"))
    return in_place and all(labels.get(name) == value for name, value in wanted)


def _owners(manifest: Manifest) -> set[str]:
    return {owner["uid"] for owner in manifest["metadata"].get("ownerReferences") or []}
