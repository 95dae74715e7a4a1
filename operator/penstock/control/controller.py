"""The loop around the line: watches feed the store, the store feeds the queue, workers reconcile, the gate admits.

Nothing here runs for long without a pause: what goes over many objects awaits `Pace.turn` between them.
"""

import asyncio
import contextlib
import functools
import logging
import random
import time
from collections.abc import Awaitable, Callable
from datetime import UTC, datetime

from penstock.api import objects
from penstock.api.objects import Key
from penstock.control import resolve
from penstock.control.cluster.fence import Fenced
from penstock.control.cluster.port import Cluster, ClusterError, Conflict, Listing, Manifest, NotFound, Ref
from penstock.control.cluster.store import SELECTOR, Store, datasets_of, finished, uses_of, version_of
from penstock.control.gate import Gate
from penstock.control.heap import Heap
from penstock.control.metrics import Metrics
from penstock.control.notices import Notices
from penstock.control.pace import Pace
from penstock.control.reconcile import World, publish, reconcile
from penstock.control.settings import Settings
from penstock.control.status import publish as status
from penstock.control.workqueue import WorkQueue
from penstock.language.errors import InvalidSpec

log = logging.getLogger(__name__)

CHILDREN = ("Job", "CronJob", "ConfigMap", "Pod")
BUSY_SECONDS, IDLE_SECONDS = 0.05, 1.0
"""Between two collections of young garbage, while there is work and while there is none."""
END_SECONDS = 5.0
"""How long what is under way may take to finish when the operator is stopped."""


class Controller:
    """Everything that runs for as long as the operator does."""

    def __init__(self, cluster: Cluster, settings: Settings) -> None:
        self.store = Store()
        self.queue: WorkQueue[Key] = WorkQueue(time.monotonic)
        self.pace = Pace()
        """How all work in this loop gives way to the rest of it."""
        self._heap = Heap()
        self.gate = Gate(cluster, self.store, settings, _utc_now, self.pace)
        self._cluster = cluster
        self._settings = settings
        self.metrics = Metrics({"work_queue_length": lambda: len(self.queue)})
        self.metrics.gauges["watch_silence_seconds"] = lambda: self.silence
        self._world = World(cluster, self.store, settings, metrics=self.metrics)
        self._failures: dict[Key, int] = {}
        self._namespaces: tuple[str | None, ...] = settings.namespaces or (None,)
        self._notices = Notices(log)
        self._last_message = time.monotonic()
        self._changed: dict[Key, None] = {}
        """Objects whose referrers are to be looked at."""
        self._change = asyncio.Event()
        self.synced = asyncio.Event()
        """Set when everything there is has been seen, and work begins."""

    @property
    def silence(self) -> float:
        """For how many seconds nothing was received from the API server: which decides about liveness."""
        return time.monotonic() - self._last_message

    async def end(self) -> None:
        """Begin nothing more, and give what is under way `END_SECONDS` to finish; `run` is to be cancelled then."""
        try:
            async with asyncio.timeout(END_SECONDS):
                await self.gate.close()
                await self.queue.close()
        except TimeoutError:
            log.warning("stops in the middle of a reconciliation; the next operator completes it")

    async def run(self) -> None:
        """Work until cancelled."""
        self._heap.begin_loading()
        try:
            await self._run()
        finally:
            self._heap.end()

    async def _run(self) -> None:
        watched = [(kind, namespace, asyncio.Event()) for kind in CHILDREN for namespace in self._namespaces]
        async with asyncio.TaskGroup() as group:
            for kind, namespace, synced in watched:
                watch = functools.partial(self._watch, kind, namespace, synced)
                group.create_task(self._repeat(f"watch of {kind}", watch), name=f"watch-{kind}")
            # Without its children an object looks as if nothing had been made for it, and without what it refers to as
            # if that did not exist.
            await asyncio.gather(*(synced.wait() for _, _, synced in watched))
            await self._see_all()
            self._heap.loaded()
            self.synced.set()
            tasks = {"clock": self.queue.tick, "fan-out": self._fan_out, "gate": self.gate.keep, "sweep": self._sweep}
            tasks["heap"] = self._keep_heap
            tasks |= {f"worker-{number}": self._work for number in range(self._settings.workers)}
            for name, work in tasks.items():
                group.create_task(self._repeat(name, work), name=name)

    async def _repeat(self, name: str, work: Callable[[], Awaitable[None]]) -> None:
        """Run `work`, which lasts until it fails, again and again: no error of ours or the API's ends the operator."""
        backoff = Backoff()
        while True:
            try:
                began = time.monotonic()
                await work()
            except ClusterError as error:
                self._notices.warn(name, f"{name}: {error.message}")
                await self._pause()
            except Exception:
                if time.monotonic() - began > Backoff.LONGEST:
                    backoff.reset()
                delay = backoff.next()
                log.exception("%s: an error in the operator; continues in %.1f s", name, delay)
                await asyncio.sleep(delay)

    # ── what is seen ──

    def seen(self, manifest: Manifest, *, deleted: bool = False) -> None:
        """An object of the five kinds is as `manifest` says, or is gone."""
        key = objects.key_of(manifest)
        self._last_message = time.monotonic()
        changed = self.store.remove(manifest) if deleted else self.store.put(manifest)
        if not changed:
            return
        self.queue.add(key)
        self._wake_others()

    def _wake_others(self) -> None:
        """Look at what reads of objects that have changed in the store, whether we changed them or somebody else."""
        for key in self.store.take_changed():
            self._changed[key] = None
            self._change.set()
        for key in self.store.take_reordered() | self.store.triggers.take_concerned():
            self.queue.add(key)

    async def _fan_out(self) -> None:
        """Look at whatever refers to what has changed, directly and by way of another; there may be thousands.

        A Pipeline and a Subscription read of the Destination that their Dataset refers to.
        """
        while True:
            await self._change.wait()
            self._change.clear()
            changed, self._changed = self._changed, {}
            for key in changed:
                for referrer in self.store.referrers(key):
                    await self.pace.turn()
                    self.queue.add(referrer)
                    for second in self.store.referrers(referrer):
                        await self.pace.turn()
                        self.queue.add(second)

    def _seen_child(self, manifest: Manifest, *, deleted: bool = False) -> None:
        owner = self.store.owner_of(manifest)  # before the deletion of its CronJob hides it
        changed = self.store.remove_child(manifest) if deleted else self.store.put_child(manifest)
        if not changed:
            return
        used = uses_of(manifest) if finished(manifest) else []  # what it met there may contradict what status says
        for key in [*([owner] if owner is not None else []), *datasets_of(manifest), *used]:
            self.queue.add(key)
            self.gate.notify(key)

    # ── watches ──

    async def _watch(self, kind: str, namespace: str | None, synced: asyncio.Event) -> None:
        """List and watch one kind of child; after a 410 or a lost connection that raises, to begin with a list."""
        listing = await self._cluster.list(kind, namespace, SELECTOR)
        await self._sweep_children(kind, namespace, listing)
        synced.set()
        self._notices.over(f"watch of {kind}")
        await self._follow(kind, namespace, listing.version)

    async def _sweep_children(self, kind: str, namespace: str | None, listing: Listing) -> None:
        listed = set()
        for item in listing.items:
            await self.pace.turn()
            listed.add(Ref.of(item))
            self._seen_child(item)
        for ref in self.store.refs(kind) - listed:
            await self.pace.turn()
            child = self.store.child(ref)
            if child is not None and namespace in (None, ref.namespace) and _older(child, listing):
                self._seen_child(child, deleted=True)

    async def _follow(self, kind: str, namespace: str | None, version: str) -> None:
        while True:
            async for event in self._cluster.watch(kind, namespace, SELECTOR, version):
                self._last_message = time.monotonic()
                if event.type == "ERROR":
                    raise ClusterError(event.object.get("code", 0), "Expired", event.object.get("message", ""))
                version = event.object["metadata"]["resourceVersion"]
                if event.type != "BOOKMARK":
                    await self.pace.turn()
                    self._seen_child(event.object, deleted=event.type == "DELETED")

    async def _keep_heap(self) -> None:
        """Collect young garbage, and look for garbage among what was set aside when that is due."""
        while True:
            await asyncio.sleep(IDLE_SECONDS if self.queue.idle else BUSY_SECONDS)
            self._heap.collect_young()
            if self._heap.overdue and self.queue.idle:
                self._heap.clean()

    async def _sweep(self) -> None:
        """Sweep periodically: that finds what a watch lost, and corrects drift."""
        while True:
            await asyncio.sleep(self._settings.sweep_seconds)
            await self.sweep()

    async def sweep(self) -> None:
        """List the five kinds once, and have every object reconciled."""
        await self._see_all()
        for key in self.store.object_keys():
            await self.pace.turn()
            self.queue.add(key)

    async def _see_all(self) -> None:
        """List the five kinds, until that has succeeded once."""
        backoff = Backoff()
        while True:
            try:
                for kind in objects.KINDS:
                    for namespace in self._namespaces:
                        await self._sweep_kind(kind, namespace, await self._cluster.list(kind, namespace, ""))
            except ClusterError as error:
                self._notices.warn("sweep", f"sweep: {error.message}")
                await self._pause()
            except Exception:
                delay = backoff.next()
                log.exception("sweep: an error in the operator; continues in %.1f s", delay)
                await asyncio.sleep(delay)
            else:
                self._notices.over("sweep")
                return

    async def _sweep_kind(self, kind: str, namespace: str | None, listing: Listing) -> None:
        listed = set()
        for item in listing.items:
            await self.pace.turn()
            listed.add(objects.key_of(item))
            self.seen(item)
        for key in self.store.object_keys():
            await self.pace.turn()
            manifest = self.store.get(key)
            if manifest is None or key in listed or key.kind != kind or namespace not in (None, key.namespace):
                continue
            if _older(manifest, listing):
                self.seen(manifest, deleted=True)

    async def _pause(self) -> None:
        """Before the API server is asked again; with jitter, so that many operators do not come back at once."""
        await asyncio.sleep(self._settings.relist_seconds * (1 + random.random()))  # noqa: S311 - jitter

    # ── work ──

    async def _work(self) -> None:
        while True:
            key = await self.queue.get()
            try:
                await self._parse(key)
                await self._reconcile(key)
            except Exception as error:
                self._later(key, error)
            finally:
                self._wake_others()  # also after an error: what was written before it brings no event
                self.queue.done(key)

    async def _parse(self, key: Key) -> None:
        """Parse the specs that a reconciliation reads one by one: one of 1,000 fields takes 7 ms, and there may be 16.

        Each takes its turn now, not before: all workers may have waited for a key, and wake together.
        """
        await self.pace.turn()
        for read in self.store.reads(key):
            await self.pace.turn()
            with contextlib.suppress(InvalidSpec, KeyError):  # the reconciliation says so; or it is gone meanwhile
                self.store.spec(read)

    async def _reconcile(self, key: Key) -> None:
        """Reconcile one object, and set when to look at it again. Raises what `_work` repeats it for."""
        now, began = _utc_now(), time.monotonic()
        try:
            again = await reconcile(key, self._world, now)
            self.metrics.reconciled(key, time.monotonic() - began)
        except Conflict as conflict:
            await self._refresh(key, conflict)
            return
        except ClusterError:
            raise
        except Exception as error:
            await self._report(key, error, now)
            raise
        self._failures.pop(key, None)
        if again is not None:
            self.queue.add_after(key, max((again - now).total_seconds(), 0.5))
        else:
            self.queue.forget(key)
        self.gate.notify(key)

    async def _report(self, key: Key, error: Exception, now: datetime) -> None:
        """Show an error of ours in the object's status, too; if that fails, the log has it."""
        before = self.store.get(key)
        if before is None:
            return
        try:
            graph = resolve.unread(key, before, self._settings)
            await publish(graph, status.unforeseen(graph, error, now), now, self._world)
        except Exception as second:
            log.warning("%s: its status cannot be written: %s", key, second)
        self.gate.notify(key)

    async def _refresh(self, key: Key, conflict: Conflict) -> None:
        """Somebody changed the object since we saw it: take it as it is now, and reconcile it again."""
        before = self.store.get(key)
        try:
            self.seen(await self._cluster.get(Ref(key.kind, key.namespace, key.name)))
        except NotFound:
            if before is not None:
                self.seen(before, deleted=True)
        else:
            if self.store.get(key) is before:  # so it was not the object itself: do not ask again at once
                raise conflict

    def _later(self, key: Key, error: Exception) -> None:
        """Try again, ever more rarely, with jitter so that many objects do not come back at once."""
        if isinstance(error, Fenced):
            log.debug("%s: %s", key, error.message)
            return
        count = self._failures[key] = self._failures.get(key, 0) + 1
        delay = Backoff.delay(count)
        if isinstance(error, ClusterError):
            delay = max(delay, error.retry_after or 0)
            log.warning("%s: %s; tried again in %.0f s", key, error.message, delay)
        else:
            log.error("%s: an error in the operator; tried again in %.0f s", key, delay, exc_info=error)
        self.queue.add_after(key, delay)


class Backoff:
    """Delays that double up to a limit."""

    FIRST = 0.4
    LONGEST = 60.0

    def __init__(self) -> None:
        self._count = 0

    def next(self) -> float:
        """The next delay in seconds."""
        self._count += 1
        return self.delay(self._count)

    def reset(self) -> None:
        """Begin with the first delay again."""
        self._count = 0

    @classmethod
    def delay(cls, count: int) -> float:
        """The delay after the failure number `count`, with jitter."""
        delay = min(cls.FIRST * 2.0 ** min(count - 1, 16), cls.LONGEST)
        return delay * (0.5 + random.random())  # noqa: S311 - jitter


def _older(manifest: Manifest, listing: Listing) -> bool:
    """Whether a list would show an object if it were still there; what we wrote meanwhile is newer than the list."""
    return version_of(manifest) <= int(listing.version)


def _utc_now() -> datetime:
    return datetime.now(UTC)
