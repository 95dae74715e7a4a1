"""The gate: the one serial place where waiting runs are admitted.

Every run waits as a suspended Job, whether a CronJob rang, a nonce changed, or a person typed `kubectl create job
--from`. The gate keeps nothing in memory: who runs is read from the unfinished Jobs each time, so a restart changes
nothing. Admission is one patch that stamps run id and interval on the Pod template and unsuspends.
"""

import asyncio
import logging
from collections.abc import Callable
from datetime import datetime

from penstock.api import objects, times
from penstock.control import apply, due, observe, resolve
from penstock.control.cluster.port import Cluster, ClusterError, Manifest, Ref
from penstock.control.cluster.store import Store, datasets_of, owner_of
from penstock.control.desired import orders
from penstock.control.desired import runs as desired_runs
from penstock.control.desired.runs import Start
from penstock.control.observe import Observed
from penstock.control.resolve import Graph
from penstock.control.settings import Settings

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

    def ring(self) -> None:
        """Something changed that may let a run start."""
        self._bell.set()

    async def keep(self) -> None:
        """Admit what may start, whenever something changed; for ever."""
        while True:
            await self._bell.wait()
            self._bell.clear()
            try:
                await self.admit()
            except ClusterError as error:
                log.warning("admission is tried again: %s", error.message)
                await asyncio.sleep(RETRY_SECONDS)
                self._bell.set()

    async def admit(self) -> None:
        """One pass over the waiting Jobs, oldest first."""
        unfinished = self._store.unfinished_jobs()
        waiting = sorted(
            (job for job in unfinished if job["spec"].get("suspend")),
            key=lambda job: (str(job["metadata"]["creationTimestamp"]), str(job["metadata"]["name"])),
        )
        for job in waiting:
            owner = owner_of(job)
            graph = resolve.references(owner, self._store, self._settings) if owner is not None else None
            if graph is None or "deletionTimestamp" in job["metadata"]:
                continue
            seen = observe.job(job, ())
            if due.held(graph, seen.purpose, self._rivals(job)) is None:
                await self._start(graph, job, seen)

    def _rivals(self, job: Manifest) -> list[Observed]:
        """Runs under way on the Datasets that a Job works on."""
        ours = set(datasets_of(job))
        return [
            observe.job(other, ())
            for other in self._store.unfinished_jobs()
            if not other["spec"].get("suspend") and ours & set(datasets_of(other))
        ]

    async def _start(self, graph: Graph, job: Manifest, seen: Observed) -> None:
        order = orders.of(graph)
        if order is None:
            return
        slot, end = self._slot(seen)
        run = seen.run or due.run_id(graph, slot)
        if seen.order != order.digest:
            # A waiting Job's volumes cannot be changed, and it was made with an older order.
            start = Start(order, slot, run, end, seen.attempt + bool(seen.run), suspended=True)
            await apply.create(graph, desired_runs.job(graph, start), self._cluster, self._store)
            await apply.delete(job, self._cluster, self._store)
            self.ring()
            return
        stamps = {objects.RUN_ID: run, objects.INTERVAL_END: end, objects.ATTEMPT: str(seen.attempt)}
        patch = {
            "metadata": {"annotations": {**stamps, objects.SLOT: slot}},
            "spec": {"suspend": False, "template": {"metadata": {"annotations": stamps}}},
        }
        log.info("%s: run %s starts as Job %s", graph.key, run, seen.job)
        self._store.put_child(await self._cluster.patch(Ref.of(job), patch))

    def _slot(self, seen: Observed) -> tuple[str, str]:
        """The event that a run answers, and the upper end of its interval."""
        kind, _, value = seen.slot.partition("/")
        if kind == "schedule":
            end = times.text(times.parse(value))
            return f"schedule/{end}", end
        return seen.slot, seen.interval_end or times.text(self._clock())
