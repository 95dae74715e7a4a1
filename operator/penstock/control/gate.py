"""The gate: the one serial place where waiting runs are admitted.

Every run waits as a suspended Job, whether a CronJob rang, a nonce changed, or a person typed `kubectl create job
--from`. The gate keeps nothing in memory: who runs is read from the unfinished Jobs each time, so a restart changes
nothing. Admission is one patch that stamps run id and interval on the Pod template and unsuspends.
"""

import asyncio
import logging
from collections.abc import Callable
from datetime import datetime

from penstock.api import objects
from penstock.control import apply, due, observe, resolve
from penstock.control.cluster.port import Cluster, ClusterError, Conflict, Manifest, NotFound, Ref, Unavailable
from penstock.control.cluster.store import Store, datasets_of, finished
from penstock.control.desired import orders
from penstock.control.desired import runs as desired_runs
from penstock.control.desired.runs import Start
from penstock.control.observe import Observed
from penstock.control.resolve import Graph
from penstock.control.settings import Settings
from penstock.language import times
from penstock.language.errors import PenstockError
from penstock.runs.order import RunOrder

log = logging.getLogger(__name__)

RETRY_SECONDS = 1.0


class Gate:
    """Admits waiting runs one after the other."""

    def __init__(self, cluster: Cluster, store: Store, settings: Settings, clock: Callable[[], datetime]) -> None:
        self._cluster = cluster
        self._store = store
        self._settings = settings
        self._clock = clock
        self._bell = asyncio.Event()
        self._turn = asyncio.Lock()

    def ring(self) -> None:
        """Something changed that may let a run start."""
        self._bell.set()

    async def keep(self) -> None:
        """Admit what may start, whenever something changed; for ever."""
        while True:
            await self._bell.wait()
            self._bell.clear()
            if not await self.admit():
                await asyncio.sleep(RETRY_SECONDS)
                self._bell.set()

    async def close(self) -> None:
        """Admit nothing more; returns when no admission is under way any more."""
        await self._turn.acquire()

    async def admit(self) -> bool:
        """One pass over the waiting Jobs, oldest first; False if it should be repeated soon.

        What is wrong with one Job holds up no other.
        """
        waiting = sorted(
            (job for job in self._store.unfinished_jobs() if _waits(job)),
            key=lambda job: (str(job["metadata"]["creationTimestamp"]), str(job["metadata"]["name"])),
        )
        complete = True
        for ref in [Ref.of(job) for job in waiting]:
            try:
                async with self._turn:
                    await self._consider(ref)
            except (Conflict, Unavailable) as error:
                log.warning("%s: admission is tried again: %s", ref.name, error.message)
                complete = False
            except (ClusterError, PenstockError) as error:
                log.warning("%s cannot be admitted: %s", ref.name, error.message)
            except Exception:
                log.exception("%s cannot be admitted", ref.name)
            await asyncio.sleep(0)  # many may wait, and nothing above need have paused
        return complete

    async def _consider(self, ref: Ref) -> None:
        job = self._store.child(ref)
        owner = self._store.owner_of(job) if job is not None else None
        if job is None or owner is None or not _waits(job):
            return  # things have changed since the pass began
        graph = resolve.references(owner, self._store, self._settings)
        if (
            graph is None
            or graph.meta.deleting
            or job["metadata"]["uid"] not in {child["metadata"]["uid"] for child in graph.children}
        ):
            return
        seen = next(iter(observe.runs([job], {}).runs), None)
        if seen is not None and due.held(graph, seen.purpose, self._rivals(job)) is None:
            await self._start(graph, job, seen)

    def _rivals(self, job: Manifest) -> list[Observed]:
        """Runs under way on the Datasets that a Job works on."""
        others = {
            other["metadata"]["uid"]: other
            for dataset in datasets_of(job)
            for other in self._store.jobs_of_dataset(dataset)
            if not finished(other) and not other["spec"].get("suspend")
        }
        return list(observe.runs(others.values(), {}).runs)

    async def _start(self, graph: Graph, job: Manifest, seen: Observed) -> None:
        order = orders.of(graph)
        if order is None or not self._written(graph, order):
            return
        slot, end = seen.slot, seen.interval_end or times.text(self._clock())
        run = seen.run or due.run_id(graph, slot)
        if seen.order != desired_runs.fingerprint(graph, order):
            # A waiting Job's volumes cannot be changed, and it was made with an older order.
            start = Start(order, slot, run, end, seen.attempt + bool(seen.run), suspended=True)
            await apply.create(graph, desired_runs.job(graph, start), self._cluster, self._store)
            await apply.delete(job, self._cluster, self._store)
            self.ring()
            return
        stamps = {objects.RUN_ID: run, objects.INTERVAL_END: end, objects.ATTEMPT: str(seen.attempt)}
        patch = {
            "metadata": {"annotations": {**stamps, objects.SLOT: slot, objects.ADMITTED: times.text(self._clock())}},
            "spec": {"suspend": False, "template": {"metadata": {"annotations": stamps}}},
        }
        log.info("%s: run %s starts as Job %s", graph.key, run, seen.job)
        try:
            self._store.put_child(await self._cluster.patch(Ref.of(job), patch))
        except NotFound:
            self._store.remove_child(job)

    def _written(self, graph: Graph, order: RunOrder) -> bool:
        """Whether the order is there to be mounted; else the reconciliation that writes it rings again."""
        ref = Ref("ConfigMap", graph.key.namespace, desired_runs.order_name(graph, order))
        return self._store.child(ref) is not None


def _waits(job: Manifest) -> bool:
    """Whether it is the gate's to admit; what was admitted and is suspended since, a person wants to hold."""
    if objects.ADMITTED in (job["metadata"].get("annotations") or {}):
        return False
    return bool(job["spec"].get("suspend")) and not finished(job) and "deletionTimestamp" not in job["metadata"]
