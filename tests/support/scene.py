"""Control without its loop: a cluster in memory, what was seen of it, and the other controllers' part, step by step."""

import asyncio
import copy
import json
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta
from functools import cache
from typing import Any

from penstock.api import objects
from penstock.api.objects import Key
from penstock.control import harvest, resolve
from penstock.control.cluster.port import Manifest, Ref
from penstock.control.cluster.store import Store
from penstock.control.gate import Gate
from penstock.control.observe import CRON_TIME
from penstock.control.reconcile import World, reconcile
from penstock.control.resolve import Graph
from penstock.control.settings import Settings
from penstock.language import times
from penstock.runs.report import RunReport
from support import jobs, manifests
from support.fakecluster import Call, FakeCluster

MOST_ROUNDS = 20


@dataclass
class Scene:
    """A namespace with an operator that acts only when told to."""

    cluster: FakeCluster = field(default_factory=FakeCluster)
    store: Store = field(default_factory=Store)
    settings: Settings = field(default_factory=Settings)
    logs: harvest.Logs = field(default_factory=harvest.Logs)

    @property
    def now(self) -> datetime:
        """The time, for the operator and the server alike."""
        return times.parse(self.cluster.now)

    def wait(self, seconds: float) -> None:
        """Let time pass."""
        self.cluster.now = times.text(self.now + timedelta(seconds=seconds))

    # ── people ──

    def apply(self, *wanted: Manifest) -> None:
        """kubectl apply."""
        for manifest in wanted:
            self.cluster.put(manifest)

    # ── the operator ──

    def see(self) -> None:
        """Let the watches catch up."""
        there = [manifest for manifest in self.cluster.everything() if _is_watched(manifest)]
        for manifest in there:
            self._see(manifest)
        living = {manifest["metadata"]["uid"] for manifest in there}
        for key in self.store.object_keys():
            known = self.store.get(key)
            if known is not None and known["metadata"]["uid"] not in living:
                self.store.remove(known)
        for ref in {ref for kind in ("Job", "CronJob", "ConfigMap", "Pod") for ref in self.store.refs(kind)}:
            child = self.store.child(ref)
            if child is not None and child["metadata"]["uid"] not in living:
                self.store.remove_child(child)

    def _see(self, manifest: Manifest) -> None:
        if manifest["kind"] in objects.KINDS:
            self.store.put(manifest)
        else:
            self.store.put_child(manifest)

    def reconcile(self, kind: Any, name: str) -> datetime | None:
        """One reconciliation of one object."""
        world = World(self.cluster, self.store, self.settings, self.logs)
        return asyncio.run(reconcile(Key(kind, "default", name), world, self.now))

    def admit(self) -> bool:
        """One pass of the gate."""
        return asyncio.run(Gate(self.cluster, self.store, self.settings, lambda: self.now).admit())

    def settle(self) -> list[Call]:
        """See, reconcile everything and admit, until nothing is written any more; the writes."""
        before = len(self.cluster.writes)
        for _ in range(MOST_ROUNDS):
            written = len(self.cluster.writes)
            self.see()
            for key in self.store.object_keys():
                self.reconcile(key.kind, key.name)
            self.admit()
            if len(self.cluster.writes) == written:
                return self.cluster.writes[before:]
        raise AssertionError(f"it does not settle: {self.cluster.writes[-6:]}")

    def graph(self, kind: Any, name: str) -> Graph:
        """The graph of an object as it is now."""
        self.see()
        found = resolve.references(Key(kind, "default", name), self.store, self.settings)
        assert found is not None
        return found

    def restarted(self) -> "Scene":
        """The same cluster after the operator has lost its memory."""
        return replace(self, store=Store(), logs=harvest.Logs())

    # ── the other controllers, and the workers ──

    def jobs(self, purpose: str | None = None) -> list[Manifest]:
        """The Jobs of a purpose, oldest first."""
        found = [
            job
            for job in self.cluster.items("Job")
            if purpose in (None, job["metadata"]["labels"].get(objects.PURPOSE))
        ]
        return sorted(found, key=lambda job: int(job["metadata"]["uid"].removeprefix("uid-")))

    def finish(self, job: Manifest, told: RunReport | None = None, **ended: Any) -> None:
        """A Job's Pod ends: with the report of a success, or with `exitCode` and the rest of its state."""
        told = told or (None if ended else jobs.report(job["metadata"]["labels"][objects.PURPOSE]))
        failed = bool(ended) or (told is not None and told.state == "Failed")
        state = {
            "exitCode": 2 if failed else 0,
            **ended,
            **({"message": jobs.message(told)} if told is not None else {}),
        }
        self.cluster.put(jobs.pod(job, **state))
        reason = "PodFailurePolicy" if failed else ""
        self.cluster.change(
            Ref.of(job), {"status": jobs.over("Failed" if failed else "Complete", self.cluster.now, reason)}
        )

    def ring(self, cronjob: str, at: str) -> Manifest:
        """The CronJob controller makes a Job; `at` as it writes it, in the CronJob's time zone."""
        return self._from(cronjob, f"{cronjob}-{len(self.jobs())}", {CRON_TIME: at})

    def create_from(self, cronjob: str, name: str) -> Manifest:
        """kubectl create job NAME --from=cronjob/CRONJOB."""
        return self._from(cronjob, name, {"cronjob.kubernetes.io/instantiate": "manual"})

    def _from(self, cronjob: str, name: str, annotations: dict[str, str]) -> Manifest:
        live = self.cluster.read(Ref("CronJob", "default", cronjob))
        template = live["spec"]["jobTemplate"]
        owner = {"apiVersion": "batch/v1", "kind": "CronJob", "name": cronjob, "uid": live["metadata"]["uid"]}
        metadata = {
            "name": name,
            "labels": template["metadata"]["labels"],
            "annotations": {**template["metadata"]["annotations"], **annotations},
            "ownerReferences": [owner],
        }
        return self.cluster.put(
            {"apiVersion": "batch/v1", "kind": "Job", "metadata": metadata, "spec": template["spec"]}
        )

    # ── words for tests ──

    def status(self, kind: str, name: str) -> Manifest:
        """The published status of an object."""
        found: Manifest = self.cluster.read(Ref(kind, "default", name)).get("status", {})
        return found

    def condition(self, kind: str, name: str, which: str) -> Manifest:
        """One condition of an object."""
        found: Manifest = next(one for one in self.status(kind, name)["conditions"] if one["type"] == which)
        return found


def _is_watched(manifest: Manifest) -> bool:
    """Whether the operator's watches tell of an object: they select children by label."""
    return manifest["kind"] in objects.KINDS or objects.MANAGED_BY in manifest["metadata"].get("labels", {})


def quickstart(**pipeline: Any) -> Scene:
    """A Source, a lake with a Dataset, and a Pipeline; nothing was done yet."""
    scene = Scene()
    scene.apply(manifests.source(), manifests.lake(), manifests.dataset(), manifests.pipeline(**pipeline))
    return scene


def ready(**pipeline: Any) -> Scene:
    """The quickstart after its inspections and its migration, with what the Pipeline asks for admitted."""
    return copy.deepcopy(_ready(json.dumps(pipeline)))


@cache
def _ready(pipeline: str) -> Scene:
    scene = quickstart(**json.loads(pipeline))
    for _ in range(2):
        scene.settle()
        for job in scene.jobs():
            if "status" not in job and job["metadata"]["labels"][objects.PURPOSE] != "ingest":
                scene.finish(job)
    scene.settle()
    return scene


def whole() -> Scene:
    """All five kinds at rest after a load and a delivery."""
    stage = ready(schedule=["0 3 * * *"])
    stage.finish(stage.jobs("ingest")[0])
    stage.cluster.change(Ref("Dataset", "default", "cities"), {"status": {"lastLoadTime": jobs.ENDED}})
    stage.apply(manifests.outbox(), manifests.subscription(cadence="daily"))
    for purpose in ("inspect-destination", "deliver"):
        stage.settle()
        stage.finish(stage.jobs(purpose)[-1])
    stage.settle()
    return stage
