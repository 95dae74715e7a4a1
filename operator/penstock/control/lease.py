"""The Lease: of several operators over the same objects, its holder acts and the others stand by.

As Kubernetes' own controllers do it (https://kubernetes.io/docs/concepts/architecture/leases/#leader-election): the
holder renews, and whoever has seen no renewal for the Lease's duration takes it over. No clock is compared with that of
another machine. Who cannot renew in time stops before another may begin.

The Lease has a thread and a client of its own, so that a busy work loop does not lose it; and it is renewed only while
the work loop runs, so that a blocked one does lose it. Each renewal moves the fence (`cluster/fence.py`) forward, which
every write passes: a holder that was blocked, or whose process stood still, never writes beside its successor.
"""

import asyncio
import logging
import time
from collections.abc import AsyncIterator, Callable
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from datetime import UTC, datetime

from penstock.control import threads
from penstock.control.cluster.fence import Fence
from penstock.control.cluster.port import Cluster, ClusterError, Conflict, Manifest, NotFound, Ref
from penstock.control.notices import Notices
from penstock.control.probes import Health
from penstock.control.settings import Election

log = logging.getLogger(__name__)


class Lost(Exception):
    """The Lease was not renewed in time, or another operator holds it."""


class Lease:
    """One operator's part in the election. All of it runs in one event loop; `fence` is read by others."""

    def __init__(self, cluster: Cluster, election: Election, health: Health, fence: Fence) -> None:
        self._cluster = cluster
        self._election = election
        self._health = health
        self._fence = fence
        self._ref = Ref("Lease", election.namespace, election.name)
        self._notices = Notices(log)
        self._version = ""
        self._seen_at = 0.0
        """When `_version` was first seen, or written by us, on the monotonic clock."""

    async def acquire(self) -> None:
        """Return when the Lease is ours."""
        while True:
            try:
                async with asyncio.timeout(self._election.renew_deadline):
                    holder = await self._attempt()
            except (ClusterError, TimeoutError) as error:
                message = f"waiting for the Lease {self._name}: {_cause(error)}"
                self._notices.warn("", message)
                self._health.report(message, ready=False)
            else:
                if holder is None:
                    log.info("%s holds the Lease %s and acts", self._election.identity, self._name)
                    return
                message = f"stands by: {holder} holds the Lease {self._name}"
                if self._health.message != message:
                    log.info("%s", message)
                self._health.report(message, ready=True)
            await asyncio.sleep(self._election.retry_period)

    async def keep(self) -> None:
        """Renew until cancelled. Raises `Lost`; from then on the fence is closed."""
        try:
            while True:
                began = time.monotonic()
                await asyncio.sleep(self._election.retry_period)
                stood_still = time.monotonic() - began - self._election.retry_period
                await self._renew_in_time(stood_still)
        finally:
            self._fence.close()

    async def _renew_in_time(self, stood_still: float) -> None:
        """Renew if the work loop runs. Raises `Lost` where the last renewal is too long ago."""
        left = self._election.renew_deadline - (time.monotonic() - self._seen_at)
        if left <= 0 and stood_still >= self._election.renew_deadline / 2:
            raise Lost(
                f"the Lease {self._name} was not renewed in time: the process stood still for {stood_still:.0f} s"
            )
        blocked = self._health.heartbeat.age
        if blocked >= self._election.heartbeat_limit:
            cause = f"the work loop of this operator has been blocked for {blocked:.0f} s"
        else:
            try:
                async with asyncio.timeout(max(left, 0)):
                    await self._renew()
                self._notices.over("")
                return
            except (ClusterError, TimeoutError) as error:
                cause = _cause(error)
        self._notices.warn("", f"the Lease {self._name} was not renewed: {cause}")
        if time.monotonic() - self._seen_at >= self._election.renew_deadline:
            raise Lost(f"the Lease {self._name} was not renewed in time: {cause}")

    async def release(self) -> None:
        """Give the Lease up, so that the next operator need not wait; if that fails, it waits."""
        try:
            async with asyncio.timeout(self._election.retry_period):
                await self._patch({"holderIdentity": "", "leaseDurationSeconds": 1})
        except (ClusterError, TimeoutError) as error:
            log.info("the Lease %s expires by itself: %s", self._name, _cause(error))

    @property
    def _name(self) -> str:
        return f"{self._election.namespace}/{self._election.name}"

    async def _attempt(self) -> str | None:
        """Take the Lease if it may be taken: None; otherwise its holder."""
        try:
            live = await self._cluster.get(self._ref)
        except NotFound:
            await self._create()
            return None
        spec = live.get("spec", {})
        if self._version != live["metadata"]["resourceVersion"]:
            self._saw(live)
        holder = spec.get("holderIdentity") or ""
        runs_out = self._seen_at + spec.get("leaseDurationSeconds", self._election.lease_duration)
        if holder not in ("", self._election.identity) and time.monotonic() < runs_out:
            return str(holder)
        try:
            await self._write(self._spec(spec.get("leaseTransitions", 0) + (holder != self._election.identity)))
        except Conflict:
            return "another operator"  # it was quicker; the next attempt shows which
        return None

    async def _create(self) -> None:
        api = {"apiVersion": "coordination.k8s.io/v1", "kind": "Lease"}
        metadata = {"name": self._election.name, "namespace": self._election.namespace}
        began = time.monotonic()
        created = await self._cluster.create({**api, "metadata": metadata, "spec": self._spec(0)})
        self._holds(created, began)

    async def _renew(self) -> None:
        try:
            await self._write({"renewTime": _now()})
        except NotFound:
            await self._create()
        except Conflict:
            live = await self._cluster.get(self._ref)
            holder = live.get("spec", {}).get("holderIdentity")
            if holder != self._election.identity:
                raise Lost(f"the Lease {self._name} is held by {holder or 'nobody'} now") from None
            self._version = live["metadata"]["resourceVersion"]  # somebody labelled it: that changes no holder
            await self._write({"renewTime": _now()})

    async def _write(self, spec: Manifest) -> None:
        """Take or renew the Lease as it was last seen, and no other."""
        began = time.monotonic()  # an answer may be late: what counts is when others can have seen it first
        self._holds(await self._patch(spec), began)

    async def _patch(self, spec: Manifest) -> Manifest:
        return await self._cluster.patch(self._ref, {"metadata": {"resourceVersion": self._version}, "spec": spec})

    def _holds(self, live: Manifest, began: float) -> None:
        """The Lease is ours, by a request that began at `began`."""
        self._version, self._seen_at = live["metadata"]["resourceVersion"], began
        self._fence.allow_until(began + self._election.renew_deadline, began + self._election.lease_duration)

    def _saw(self, live: Manifest) -> None:
        self._version, self._seen_at = live["metadata"]["resourceVersion"], time.monotonic()

    def _spec(self, transitions: int) -> Manifest:
        return {
            "holderIdentity": self._election.identity,
            "leaseDurationSeconds": self._election.lease_duration,
            "acquireTime": _now(),
            "renewTime": _now(),
            "leaseTransitions": transitions,
        }


Connect = Callable[[], AbstractAsyncContextManager[Cluster]]
"""Opens a client in the event loop that calls it."""


@asynccontextmanager
async def leading(
    connect: Connect, election: Election | None, health: Health, fence: Fence
) -> "AsyncIterator[asyncio.Future[None] | None]":
    """Enter when the Lease is ours, and renew it in a thread of its own; at the end it is given up.

    The future that is yielded ends with `Lost` when the Lease is lost. Without an election there is none.
    """
    if election is None:
        yield None
        return
    fence.close()
    leadership = _Leadership(connect, election, health, fence)
    with threads.running("lease") as thread:
        kept = asyncio.wrap_future(thread.submit(leadership.run()))
        try:
            await asyncio.wait({kept, leadership.acquired}, return_when=asyncio.FIRST_COMPLETED)
            if kept.done():
                kept.result()
            yield kept
        finally:
            fence.close()
            thread.call_soon(leadership.stop)
            await asyncio.wait({kept})
            leadership.acquired.cancel()


class _Leadership:
    """What runs in the thread of the Lease. Made in the work loop, which waits for `acquired`."""

    def __init__(self, connect: Connect, election: Election, health: Health, fence: Fence) -> None:
        self._connect, self._election, self._health, self._fence = connect, election, health, fence
        self._work_loop = asyncio.get_running_loop()
        self._stopped = asyncio.Event()
        self.acquired: asyncio.Future[None] = self._work_loop.create_future()

    def stop(self) -> None:
        """End `run`; to be called in its thread."""
        self._stopped.set()

    async def run(self) -> None:
        """Acquire the Lease and keep it until `stop`, then give it up. Raises `Lost`."""
        async with self._connect() as cluster:
            lease = Lease(cluster, self._election, self._health, self._fence)
            holding = asyncio.create_task(self._hold(lease))
            stopped = asyncio.create_task(self._stopped.wait())
            await asyncio.wait({holding, stopped}, return_when=asyncio.FIRST_COMPLETED)
            stopped.cancel()
            if holding.done():
                holding.result()
            holding.cancel()
            await asyncio.wait({holding})
            if self.acquired.done():
                await lease.release()

    async def _hold(self, lease: Lease) -> None:
        await lease.acquire()
        self._work_loop.call_soon_threadsafe(self._announce)
        await lease.keep()

    def _announce(self) -> None:
        if not self.acquired.done():
            self.acquired.set_result(None)


def _cause(error: Exception) -> str:
    return error.message if isinstance(error, ClusterError) else "the API server does not answer"


def _now() -> str:
    return datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%S.%fZ")
