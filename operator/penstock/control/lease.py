"""The Lease: of all operators that would act on the same objects one does, the holder; the others stand by.

As Kubernetes' own controllers do it (https://kubernetes.io/docs/concepts/architecture/leases/#leader-election): the
holder renews, and whoever has seen no renewal for the Lease's duration takes it over. Nobody's clock is compared with
anybody else's. Who cannot renew in time stops before another may begin.
"""

import asyncio
import logging
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import UTC, datetime

from penstock.control.cluster.port import Cluster, ClusterError, Conflict, Manifest, NotFound, Ref
from penstock.control.notices import Notices
from penstock.control.probes import Health
from penstock.control.settings import Election

log = logging.getLogger(__name__)


class Lost(Exception):
    """The Lease could not be renewed in time, or somebody else holds it."""


class Lease:
    """One operator's hold on the Lease of its election."""

    def __init__(self, cluster: Cluster, election: Election) -> None:
        self._cluster = cluster
        self._election = election
        self._ref = Ref("Lease", election.namespace, election.name)
        self._notices = Notices(log)
        self._version = ""
        self._seen_at = 0.0
        """When `_version` was first seen, or written by us, on the monotonic clock."""

    async def acquire(self, health: Health) -> None:
        """Return when the Lease is ours."""
        while True:
            try:
                async with asyncio.timeout(self._election.renew_deadline):
                    holder = await self._attempt()
            except (ClusterError, TimeoutError) as error:
                told = f"waiting for the Lease {self._name}: {_words(error)}"
                self._notices.warn("", told)
                health.tell(told, ready=False)
            else:
                if holder is None:
                    log.info("%s holds the Lease %s and acts", self._election.identity, self._name)
                    return
                told = f"stands by: {holder} holds the Lease {self._name}"
                if health.told != told:
                    log.info("%s", told)
                health.tell(told, ready=True)
            await asyncio.sleep(self._election.retry_period)

    async def keep(self) -> None:
        """Renew for ever. Raises `Lost`."""
        while True:
            await asyncio.sleep(self._election.retry_period)
            left = self._election.renew_deadline - (time.monotonic() - self._seen_at)
            try:
                async with asyncio.timeout(max(left, 0)):
                    await self._renew()
            except (ClusterError, TimeoutError) as error:
                self._notices.warn("", f"the Lease {self._name} could not be renewed: {_words(error)}")
                if time.monotonic() - self._seen_at >= self._election.renew_deadline:
                    raise Lost(f"the Lease {self._name} could not be renewed in time: {_words(error)}") from error
            else:
                self._notices.over("")

    async def release(self) -> None:
        """Give the Lease up, so that the next one need not wait; if that fails, it waits."""
        try:
            async with asyncio.timeout(self._election.retry_period):
                await self._write({"holderIdentity": "", "leaseDurationSeconds": 1})
        except (ClusterError, TimeoutError) as error:
            log.info("the Lease %s runs out by itself: %s", self._name, _words(error))

    @property
    def _name(self) -> str:
        return f"{self._election.namespace}/{self._election.name}"

    async def _attempt(self) -> str | None:
        """Take the Lease if it may be taken; who holds it otherwise."""
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
            return "another operator"  # it was quicker; the next look tells which
        return None

    async def _create(self) -> None:
        api = {"apiVersion": "coordination.k8s.io/v1", "kind": "Lease"}
        metadata = {"name": self._election.name, "namespace": self._election.namespace}
        self._saw(await self._cluster.create({**api, "metadata": metadata, "spec": self._spec(0)}))

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
            self._version = live["metadata"]["resourceVersion"]  # someone labelled it: nothing to us
            await self._write({"renewTime": _now()})

    async def _write(self, spec: Manifest) -> None:
        """Patch the Lease as it was last seen, and no other."""
        began = time.monotonic()  # an answer may be late: what counts is when others can have seen it first
        patched = await self._cluster.patch(self._ref, {"metadata": {"resourceVersion": self._version}, "spec": spec})
        self._version, self._seen_at = patched["metadata"]["resourceVersion"], began

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


@asynccontextmanager
async def held(
    cluster: Cluster, election: Election | None, health: Health, group: asyncio.TaskGroup
) -> AsyncIterator[None]:
    """Enter when the Lease is ours, and renew it in `group`, which ends with `Lost` when it is ours no more."""
    if election is None:
        yield
        return
    lease = Lease(cluster, election)
    await lease.acquire(health)
    keeping = group.create_task(lease.keep(), name="lease")
    try:
        yield
    finally:
        keeping.cancel()
        await lease.release()


def _words(error: Exception) -> str:
    return error.message if isinstance(error, ClusterError) else "the API server does not answer"


def _now() -> str:
    return datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%S.%fZ")
