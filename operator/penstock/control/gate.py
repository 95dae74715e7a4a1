"""The gate: the one serial place where waiting runs are admitted.

Every run waits as a suspended Job, whether a CronJob made it, a nonce changed, or a person typed `kubectl create job
--from`. What runs and what waits is read from the store each time, so a restart changes nothing. A change leads to the
few Jobs that it concerns, so an admission costs the same however many wait. Admission is one patch that stamps run id
and interval on the Pod template and unsuspends.
"""

import asyncio
import logging
from collections.abc import Callable
from datetime import datetime

from penstock.api import objects
from penstock.api.objects import Key
from penstock.control import apply, due, encoding, limits, loads, observe, resolve, waiting
from penstock.control.cluster import owners
from penstock.control.cluster.port import Cluster, ClusterError, Conflict, Manifest, NotFound, Ref, Unavailable
from penstock.control.cluster.store import WRITERS, Store, datasets_of, waits
from penstock.control.desired import orders
from penstock.control.desired import runs as desired_runs
from penstock.control.desired.runs import Start
from penstock.control.observe import Observed
from penstock.control.pace import Pace
from penstock.control.resolve import Graph
from penstock.control.settings import Settings
from penstock.language import times
from penstock.language.errors import PenstockError
from penstock.runs.order import RunOrder

log = logging.getLogger(__name__)

RETRY_SECONDS = 1.0


class Gate:
    """Admits waiting runs one after the other."""

    def __init__(
        self,
        cluster: Cluster,
        store: Store,
        settings: Settings,
        clock: Callable[[], datetime],
        pace: Pace | None = None,
    ) -> None:
        self._cluster = cluster
        self._store = store
        self._settings = settings
        self._clock = clock
        self._pace = pace or Pace()
        self._changed = asyncio.Event()
        self.keys: dict[Key | None, None] = {None: None}
        """Owners whose waiting Jobs are to be considered again; None is all of them, as after a start."""
        self._released: set[Key] = set()
        """Datasets that a Job has ceased to write and systems that a run has ceased to use: the next one may."""
        self._queue = limits.Queue()
        self._turn = asyncio.Lock()

    def notify(self, key: Key) -> None:
        """An object, or what it refers to or owns, has changed, so that a Job of it may have to start."""
        self._released |= self._store.take_released()
        if self._store.waiting_jobs(key):
            self.keys[key] = None
        if self._queue.next(key) is not None:
            self._released.add(key)  # its limit may have changed
        if self.keys or self._released:
            self._changed.set()

    async def keep(self) -> None:
        """Admit what may start, whenever something changed, until cancelled."""
        while True:
            if not await self.admit():
                await asyncio.sleep(RETRY_SECONDS)
                self._changed.set()
            await self._changed.wait()
            self._changed.clear()

    async def close(self) -> None:
        """Admit nothing more; returns when no admission is under way any more."""
        await self._turn.acquire()

    async def admit(self) -> bool:
        """Consider the Jobs that what changed concerns, oldest first; False if that should be repeated soon.

        What is wrong with one Job delays no other.
        """
        keys, self.keys = self.keys, {}
        released, self._released = self._released | self._store.take_released(), set()
        complete = True
        for key in sorted(released):
            admit = self._admit_writer if key.kind == "Dataset" else self._admit_user
            complete = await admit(key) and complete
        concerned = {ref: None for key in keys for ref in self._store.waiting_jobs(key)}
        for ref in sorted(concerned, key=self._age):
            complete = await self._admit(ref) and complete
        return complete

    async def _admit_writer(self, dataset: Key) -> bool:
        """Admit the oldest Job that waits to write a Dataset and may; False if that should be tried again soon."""
        complete = True
        positions = dict.fromkeys(self._store.waiting_writers(dataset), 0)
        while not self._store.writing_jobs(dataset):
            heads = {part: self._store.waiting_writer(dataset, part, place) for part, place in positions.items()}
            oldest = min(((self._age(ref), part) for part, ref in heads.items() if ref is not None), default=None)
            if oldest is None:
                break
            (_, ref), part = oldest
            complete = await self._admit(ref) and complete
            if ref in self._queue:
                del positions[part]  # what it uses is full, for the others of this part too
            elif self._store.waiting_writer(dataset, part, positions[part]) == ref:
                positions[part] += 1
        return complete

    async def _admit_user(self, system: Key) -> bool:
        """Admit Jobs that wait for a Source or Destination until it is full; False if that should be repeated soon."""
        complete = True
        while (head := self._queue.next(system)) is not None and not limits.is_full(system, self._store):
            ref, systems = head
            other = limits.full(systems, self._store)
            if other is not None:
                self._queue.move(systems, other)
                continue
            self._queue.remove(ref)
            complete = await self._admit(ref) and complete
        return complete

    async def _admit(self, ref: Ref) -> bool:
        """Consider one Job; False if that should be repeated soon."""
        await self._pace.turn()  # many may wait, and nothing below need have paused
        try:
            async with self._turn:
                await self._consider(ref)
        except (Conflict, Unavailable) as error:
            log.warning("%s: admission is tried again: %s", ref.name, error.message)
            job = self._store.child(ref)
            owner = self._store.owner_of(job) if job is not None else None
            if owner is not None:
                self.keys[owner] = None
            return False
        except (ClusterError, PenstockError) as error:
            log.warning("%s cannot be admitted: %s", ref.name, error.message)
        except Exception:
            log.exception("%s cannot be admitted", ref.name)
        return True

    def _age(self, ref: Ref) -> tuple[str, Ref]:
        job = self._store.child(ref)
        return str(job["metadata"].get("creationTimestamp", "")) if job is not None else "", ref

    async def _consider(self, ref: Ref) -> None:
        self._queue.remove(ref)
        job = self._store.child(ref)
        owner = self._store.owner_of(job) if job is not None else None
        if job is None or owner is None or not waits(job):
            return  # it has changed since the pass began
        if owners.labels(job).get(objects.PURPOSE) in WRITERS and self._rivals(job):
            return  # before anything is resolved: thousands may wait for one Dataset
        graph = resolve.references(owner, self._store, self._settings)
        if (
            graph is None
            or graph.meta.deleting
            or job["metadata"]["uid"] not in {child["metadata"]["uid"] for child in graph.children}
        ):
            return
        if graph.full is not None:
            self._queue.add(ref, self._age(ref)[0], waiting.systems(graph), graph.full)
            return
        await encoding.prepare(orders.of(graph))
        if self._store.child(ref) is not job:
            return  # it has changed meanwhile, and that has notified us
        seen = next(iter(observe.runs([job], {}).runs), None)
        graph = resolve.with_children(graph, self._store)  # others may have started meanwhile
        if seen is None:
            return
        # Of the Datasets that the Pipeline names now; the Job may be of a time when it named others.
        obstacle = waiting.obstacle(graph, seen.purpose, observe.runs(graph.rivals, {}).runs)
        if obstacle is None:
            await self._start(graph, job, seen)
        elif obstacle.cause == "DatasetBusy":
            await self._renew(graph, job, seen)

    def _rivals(self, job: Manifest) -> list[Observed]:
        """Runs that write the Datasets that a Job works on."""
        others = {
            other["metadata"]["uid"]: other
            for dataset in datasets_of(job)
            for other in self._store.writing_jobs(dataset)
        }
        return list(observe.runs(others.values(), {}).runs)

    async def _start(self, graph: Graph, job: Manifest, seen: Observed) -> None:
        order = orders.of(graph)
        if order is None or not self._written(graph, order):
            return
        if not desired_runs.is_current(job, graph, order):
            await self._replace(graph, job, seen, admitted=True)
            return
        slot, end, run = self._identity(graph, seen)
        stamps = {objects.RUN_ID: run, objects.INTERVAL_END: end, objects.ATTEMPT: str(seen.attempt)}
        patch = {
            # The version: whoever changed the Job since we saw it, suspended it for good, say, is heeded first.
            "metadata": {
                "resourceVersion": job["metadata"]["resourceVersion"],
                "annotations": {**stamps, objects.SLOT: slot, **self._admission(graph)},
            },
            "spec": {"suspend": False, "template": {"metadata": {"annotations": stamps}}},
        }
        log.info("%s: run %s starts as Job %s", graph.key, run, seen.job)
        try:
            self._store.put_child(await self._cluster.patch(Ref.of(job), patch))
        except NotFound:
            self._store.remove_child(job)

    async def _renew(self, graph: Graph, job: Manifest, seen: Observed) -> None:
        """Replace a Job that names other Datasets than its Pipeline by one that waits for the right ones."""
        order = orders.of(graph)
        if order is not None and self._written(graph, order) and not desired_runs.is_current(job, graph, order):
            await self._replace(graph, job, seen, admitted=False)

    async def _replace(self, graph: Graph, job: Manifest, seen: Observed, *, admitted: bool) -> None:
        """Replace a Job that was made from an older order or image: the Pod template of a Job cannot be changed.

        One that is `admitted` starts at once: it would lose its place in the queue if it waited again.
        """
        order = orders.of(graph)
        if order is None:
            return
        slot, end, run = self._identity(graph, seen)
        attempt = seen.attempt + bool(seen.run)
        start = Start(order, slot, run, end, attempt, suspended=not admitted, trigger=seen.trigger)
        replacement = desired_runs.job(graph, start)
        if admitted:
            replacement["metadata"]["annotations"] |= self._admission(graph)
        await apply.create(graph, replacement, self._cluster, self._store)
        await apply.delete(job, self._cluster, self._store)
        self.notify(graph.key)

    def _admission(self, graph: Graph) -> dict[str, str]:
        """The annotations of a Job that starts: when, and which loads of other Datasets it comes after."""
        admission = {objects.ADMITTED: times.text(self._clock())}
        return {**admission, objects.LOADS: note} if (note := loads.note(graph)) else admission

    def _identity(self, graph: Graph, seen: Observed) -> tuple[str, str, str]:
        """The slot of a run, the end of its interval (RFC 3339) and its id."""
        end = seen.interval_end or times.text(self._clock())
        return seen.slot, end, seen.run or due.run_id(graph, seen.slot)

    def _written(self, graph: Graph, order: RunOrder) -> bool:
        """Whether the order is there to be mounted; else the reconciliation that writes it notifies us."""
        ref = Ref("ConfigMap", graph.key.namespace, desired_runs.order_name(graph, order))
        return self._store.child(ref) is not None
