"""The loop around the line: watches feed the store, the store feeds the queue, workers reconcile, the gate admits."""

import asyncio
import logging
import random
import time
from datetime import UTC, datetime

from penstock.api import objects
from penstock.api.objects import Key
from penstock.control import resolve
from penstock.control.cluster.port import Cluster, ClusterError, Conflict, Listing, Manifest, NotFound, Ref
from penstock.control.cluster.store import SELECTOR, Store, datasets_of, references, version_of
from penstock.control.gate import Gate
from penstock.control.notices import Notices
from penstock.control.reconcile import World, publish, reconcile
from penstock.control.settings import Settings
from penstock.control.status import publish as status
from penstock.control.workqueue import WorkQueue

log = logging.getLogger(__name__)

CHILDREN = ("Job", "CronJob", "ConfigMap", "Pod")
END_SECONDS = 5.0
"""How long what is under way may take to come to its end when the operator is told to end."""
_BACKOFF_SECONDS = (0.2, 60.0)


class Controller:
    """Everything that runs for as long as the operator does."""

    def __init__(self, cluster: Cluster, settings: Settings) -> None:
        self.store = Store()
        self.queue: WorkQueue[Key] = WorkQueue(time.monotonic)
        self.gate = Gate(cluster, self.store, settings, _utc_now)
        self._cluster = cluster
        self._settings = settings
        self._world = World(cluster, self.store, settings)
        self._failures: dict[Key, int] = {}
        self._namespaces: tuple[str | None, ...] = settings.namespaces or (None,)
        self._notices = Notices(log)
        self._last_heard = time.monotonic()
        self.synced = asyncio.Event()
        """Set when everything there is has been seen, and work begins."""

    @property
    def silence(self) -> float:
        """For how many seconds nothing was heard from the API server: what liveness goes by."""
        return time.monotonic() - self._last_heard

    async def end(self) -> None:
        """Begin nothing more, and give what is under way `END_SECONDS` to come to its end; to be cancelled then."""
        try:
            async with asyncio.timeout(END_SECONDS):
                await self.gate.close()
                await self.queue.close()
        except TimeoutError:
            log.warning("ends in the middle of a reconciliation; the next operator goes on with it")

    async def run(self) -> None:
        """Work until cancelled."""
        watched = [(kind, namespace, asyncio.Event()) for kind in CHILDREN for namespace in self._namespaces]
        async with asyncio.TaskGroup() as group:
            for kind, namespace, synced in watched:
                group.create_task(self._watch(kind, namespace, synced), name=f"watch-{kind}")
            # Without its children an object looks as if nothing had been made for it, and without what it refers to as
            # if that did not exist.
            await asyncio.gather(*(synced.wait() for _, _, synced in watched))
            await self._see_all()
            self.synced.set()
            group.create_task(self.queue.tick(), name="clock")
            group.create_task(self.gate.keep(), name="gate")
            group.create_task(self._sweep(), name="sweep")
            for number in range(self._settings.workers):
                group.create_task(self._work(), name=f"worker-{number}")

    # ── what is seen ──

    def seen(self, manifest: Manifest, *, deleted: bool = False) -> None:
        """An object of the five kinds is as `manifest` says, or is gone."""
        key = objects.key_of(manifest)
        self._last_heard = time.monotonic()
        before = self.store.get(key)
        changed = self.store.remove(manifest) if deleted else self.store.put(manifest)
        if changed:
            self._touched(key)
        if changed and before is not None and key.kind == "Subscription":
            self._vacated(before)

    def _vacated(self, subscription: Manifest) -> None:
        """A Subscription is gone or says something else: another one may have waited for its folder."""
        for place in references(subscription):
            for other in self.store.referrers(place) if place.kind == "Destination" else ():
                self.queue.add(other)

    def _touched(self, key: Key) -> None:
        self.queue.add(key)
        for referrer in self.store.referrers(key):
            self.queue.add(referrer)
            for second in self.store.referrers(referrer):
                self.queue.add(second)
        self.gate.ring()

    def _seen_child(self, manifest: Manifest, *, deleted: bool = False) -> None:
        owner = self.store.owner_of(manifest)  # before the deletion of its CronJob hides it
        changed = self.store.remove_child(manifest) if deleted else self.store.put_child(manifest)
        if not changed:
            return
        for key in [*([owner] if owner is not None else []), *datasets_of(manifest)]:
            self.queue.add(key)
        if manifest["kind"] == "Job":
            self.gate.ring()

    # ── watches ──

    async def _watch(self, kind: str, namespace: str | None, synced: asyncio.Event) -> None:
        """List and watch one kind of child, for ever; after a 410 or a lost connection, list again and sweep."""
        while True:
            try:
                listing = await self._cluster.list(kind, namespace, SELECTOR)
                self._sweep_children(kind, namespace, listing)
                synced.set()
                self._notices.over(kind)
                await self._follow(kind, namespace, listing.version)
            except ClusterError as error:
                self._notices.warn(kind, f"watch of {kind}: {error.message}")
            except Exception:
                log.exception("watch of %s: unforeseen", kind)  # one odd answer must not end the operator
            await self._pause()

    def _sweep_children(self, kind: str, namespace: str | None, listing: Listing) -> None:
        there = {Ref.of(item) for item in listing.items}
        for item in listing.items:
            self._seen_child(item)
        for ref in self.store.refs(kind) - there:
            child = self.store.child(ref)
            if child is not None and namespace in (None, ref.namespace) and _older(child, listing):
                self._seen_child(child, deleted=True)

    async def _follow(self, kind: str, namespace: str | None, version: str) -> None:
        while True:
            async for event in self._cluster.watch(kind, namespace, SELECTOR, version):
                self._last_heard = time.monotonic()
                if event.type == "ERROR":
                    raise ClusterError(event.object.get("code", 0), "Expired", event.object.get("message", ""))
                version = event.object["metadata"]["resourceVersion"]
                if event.type != "BOOKMARK":
                    self._seen_child(event.object, deleted=event.type == "DELETED")

    async def _sweep(self) -> None:
        """Now and then list the five kinds and look at every object: what a watch lost is found, and drift mended."""
        while True:
            await asyncio.sleep(self._settings.sweep_seconds)
            await self._see_all()
            for key in self.store.known():
                self._touched(key)

    async def _see_all(self) -> None:
        """List the five kinds, until that has worked once."""
        while True:
            try:
                for kind in objects.KINDS:
                    for namespace in self._namespaces:
                        self._sweep_kind(kind, namespace, await self._cluster.list(kind, namespace, ""))
            except ClusterError as error:
                self._notices.warn("sweep", f"sweep: {error.message}")
                await self._pause()
            else:
                self._notices.over("sweep")
                return

    def _sweep_kind(self, kind: str, namespace: str | None, listing: Listing) -> None:
        there = {objects.key_of(item) for item in listing.items}
        for item in listing.items:
            self.seen(item)
        for key in self.store.known():
            known = self.store.get(key)
            if known is None or key in there or key.kind != kind or namespace not in (None, key.namespace):
                continue
            if _older(known, listing):
                self.seen(known, deleted=True)

    async def _pause(self) -> None:
        """Before the API server is asked again; with jitter, so that many operators do not come back at once."""
        await asyncio.sleep(self._settings.relist_seconds * (1 + random.random()))  # noqa: S311 - jitter

    # ── work ──

    async def _work(self) -> None:
        while True:
            key = await self.queue.get()
            try:
                await self._reconcile(key)
            finally:
                self.queue.done(key)

    async def _reconcile(self, key: Key) -> None:
        now = _utc_now()
        before = self.store.get(key)
        try:
            again = await reconcile(key, self._world, now)
        except Conflict as conflict:
            await self._refresh(key, conflict)
        except ClusterError as error:
            self._later(key, error)
        except Exception as error:
            await self._tell(key, error, now)
            self._later(key, error)
        else:
            self._failures.pop(key, None)
            if again is not None:
                self.queue.add_after(key, max((again - now).total_seconds(), 0.5))
            else:
                self.queue.forget(key)
            if self.store.get(key) is not before:
                self._wake_referrers(key)
            self.gate.ring()  # what we made ourselves does not come back as news

    async def _tell(self, key: Key, error: Exception, now: datetime) -> None:
        """What nobody foresaw is to be seen on the object, too; if that fails, the log has it."""
        before = self.store.get(key)
        if before is None:
            return
        graph = resolve.unread(key, before, self._settings)
        try:
            await publish(graph, status.unforeseen(graph, error, now), now, self._world)
        except Exception as second:
            log.warning("%s: its status cannot be told: %s", key, second)
        if self.store.get(key) is not before:
            self._wake_referrers(key)

    def _wake_referrers(self, key: Key) -> None:
        """Our own status patch does not come back as news, and others may have waited for it."""
        for referrer in self.store.referrers(key):
            self.queue.add(referrer)

    async def _refresh(self, key: Key, conflict: Conflict) -> None:
        """Someone changed the object since we saw it: take it as it is now, and begin anew."""
        before = self.store.get(key)
        try:
            self.seen(await self._cluster.get(Ref(key.kind, key.namespace, key.name)))
        except NotFound:
            if before is not None:
                self.seen(before, deleted=True)
        except ClusterError as error:
            self._later(key, error)
        else:
            if self.store.get(key) is before:  # so it was not the object itself: do not ask again at once
                self._later(key, conflict)

    def _later(self, key: Key, error: Exception) -> None:
        """Try again, ever more rarely, with jitter so that many objects do not come back at once."""
        count = self._failures[key] = self._failures.get(key, 0) + 1
        first, most = _BACKOFF_SECONDS
        delay = min(first * 2**count, most) * (0.5 + random.random())  # noqa: S311 - jitter
        if isinstance(error, ClusterError):
            log.warning("%s: %s; tried again in %.0f s", key, error.message, delay)
        else:
            log.exception("%s: unforeseen; tried again in %.0f s", key, delay)
        self.queue.add_after(key, delay)


def _older(manifest: Manifest, listing: Listing) -> bool:
    """Whether a list would show an object if it were still there; what we wrote meanwhile is newer than the list."""
    return version_of(manifest) <= int(listing.version)


def _utc_now() -> datetime:
    return datetime.now(UTC)
