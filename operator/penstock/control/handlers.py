"""The only user of kopf, which carries login, lifecycle and the watch of the five kinds; decisions are made elsewhere.

Only `on.event` handlers: kopf's change detection would write an annotation with a copy of every spec, and a finalizer.
The probes are our own: kopf serves one, and only when it watches.
"""

import asyncio
import contextlib
import logging
import signal
from collections.abc import Callable, Mapping
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import kopf

from penstock.api import objects
from penstock.control import lease, prerequisites, probes, threads
from penstock.control.cluster import client
from penstock.control.cluster.fence import Fence
from penstock.control.cluster.port import Cluster
from penstock.control.controller import Controller
from penstock.control.inbox import Inbox
from penstock.control.probes import Health
from penstock.control.settings import Settings

log = logging.getLogger(__name__)

_PAGE = 100
"""How many objects one answer of a list has."""


class Ended(Exception):
    """The watch has ended, so the operator has to be started again, as a new process."""


@dataclass(frozen=True)
class Connection:
    """Where the API server is, and where the probes are served, as [HOST]:PORT (None: nowhere)."""

    kubeconfig: Path | None = None
    context: str | None = None
    probes: str | None = None


async def operate(settings: Settings, connection: Connection, ready: asyncio.Event | None = None) -> None:
    """Run the operator until cancelled: wait for what it needs, then for the Lease, then act.

    `ready` is set when it watches. Raises, in groups, `lease.Lost` when another operator may act, and `Ended`.
    """
    health, fence = Health(), Fence()
    with probes.served(health, connection.probes):
        beating = asyncio.create_task(health.heartbeat.keep(), name="heartbeat")
        try:
            await _operate(settings, connection, health, fence, ready)
        finally:
            beating.cancel()


async def _operate(
    settings: Settings, connection: Connection, health: Health, fence: Fence, ready: asyncio.Event | None
) -> None:
    def connect() -> AbstractAsyncContextManager[Cluster]:  # for the Lease's thread: a client of its own
        return client.connect(connection.kubeconfig, connection.context)

    async with client.connect(connection.kubeconfig, connection.context, fence=fence) as cluster:
        await prerequisites.met(cluster, settings, health)
        async with lease.leading(connect, settings.election, health, fence) as leading, asyncio.TaskGroup() as group:
            acting = group.create_task(_act(cluster, settings, health, ready), name="act")
            if leading is not None:
                watching = group.create_task(_until_lost(leading), name="leading")
                acting.add_done_callback(lambda _: watching.cancel())


async def _until_lost(leading: "asyncio.Future[None]") -> None:
    """Raise `lease.Lost` when the Lease is lost."""
    await asyncio.shield(leading)


async def _act(cluster: client.HttpCluster, settings: Settings, health: Health, ready: asyncio.Event | None) -> None:
    """Watch, decide and write until cancelled; then let what is under way finish."""
    controller = Controller(cluster, settings)
    controller.metrics.api_calls = cluster.answers
    controller.metrics.gauges["work_loop_longest_block_seconds"] = lambda: health.heartbeat.longest_block
    health.metrics = controller.metrics.text
    inbox = Inbox(lambda manifest, deleted: controller.seen(manifest, deleted=deleted), controller.pace)
    with threads.running("kopf") as thread:
        watch = _Watch(thread, _registry(inbox, cluster), settings, ready)
        await _work(controller, inbox, watch, health)


async def _work(controller: Controller, inbox: Inbox, watching: "_Watch", health: Health) -> None:
    """Work until cancelled. Raises `Ended` when the watch does not continue."""
    work = asyncio.create_task(controller.run(), name="controller")
    watch = asyncio.create_task(watching.ended(), name="watch")
    taking = asyncio.create_task(inbox.keep(), name="inbox")
    synced = asyncio.create_task(controller.synced.wait(), name="synced")
    synced.add_done_callback(lambda task: None if task.cancelled() else health.report("acts", ready=True))
    health.silence = lambda: controller.silence
    health.report("lists what there is", ready=False)
    try:
        ended, _ = await asyncio.wait({work, watch, taking}, return_when=asyncio.FIRST_COMPLETED)
    finally:
        health.report("ends", ready=False)
        synced.cancel()
        await controller.end()
        work.cancel()
        taking.cancel()
        watching.stop()
        await asyncio.gather(work, taking, watch, return_exceptions=True)
    if watch in ended and (error := watch.exception()) is not None:
        raise Ended(f"the watch of the five kinds has ended: {error}") from error
    for task in ended & {work, taking}:
        task.result()


class _Watch:
    """kopf's watch of the five kinds, in a thread of its own: it makes a task for each object that it lists."""

    def __init__(
        self,
        thread: threads.LoopThread,
        registry: kopf.OperatorRegistry,
        settings: Settings,
        ready: asyncio.Event | None,
    ) -> None:
        self._thread = thread
        self._stop = asyncio.Event()
        self._future = thread.submit(self._watch(registry, settings, ready, asyncio.get_running_loop()))

    async def _watch(
        self,
        registry: kopf.OperatorRegistry,
        settings: Settings,
        ready: asyncio.Event | None,
        work_loop: asyncio.AbstractEventLoop,
    ) -> None:
        begun = asyncio.Event()
        announcing = asyncio.create_task(begun.wait(), name="ready")
        if ready is not None:
            announcing.add_done_callback(
                lambda task: None if task.cancelled() else work_loop.call_soon_threadsafe(ready.set)
            )
        stopped = asyncio.create_task(self._stop.wait(), name="stop")
        watching = asyncio.create_task(_kopf(registry, settings, begun), name="kopf")
        await asyncio.wait({watching, stopped}, return_when=asyncio.FIRST_COMPLETED)
        announcing.cancel()
        if stopped.done():
            await _cancelled(watching)
        else:
            stopped.cancel()
            watching.result()

    def stop(self) -> None:
        """End it soon."""
        self._thread.call_soon(self._stop.set)

    async def ended(self) -> None:
        """Return when it has ended. Raises what ended it."""
        await asyncio.wrap_future(self._future)


async def _kopf(registry: kopf.OperatorRegistry, settings: Settings, begun: asyncio.Event) -> None:
    await kopf.operator(
        registry=registry,
        settings=_settings(),
        standalone=True,
        clusterwide=not settings.namespaces,
        namespaces=settings.namespaces,
        ready_flag=begun,
    )


async def _cancelled(watching: "asyncio.Task[None]") -> None:
    """Cancel kopf, and return when it has ended.

    Its own way, the `stop_flag`, gives each request that is under way 5 s to end, such as those with which it begins,
    for the resources that the API server has. Nothing that it does in here matters any more, nor what it says of it.
    """
    logging.getLogger("kopf").setLevel(logging.CRITICAL)
    watching.cancel()
    await asyncio.wait({watching})


def main(settings: Settings, connection: Connection) -> None:
    """Run the operator until SIGTERM or SIGINT."""
    asyncio.run(_until_signal(settings, connection))


async def _until_signal(settings: Settings, connection: Connection) -> None:
    operating = asyncio.create_task(operate(settings, connection), name="operate")
    _on_signals(operating.cancel)
    with contextlib.suppress(asyncio.CancelledError):
        await operating


def _on_signals(act: Callable[[], object]) -> None:
    for number in (signal.SIGINT, signal.SIGTERM):
        asyncio.get_running_loop().add_signal_handler(number, act)


def _registry(inbox: Inbox, cluster: client.HttpCluster) -> kopf.OperatorRegistry:
    registry = kopf.OperatorRegistry()

    async def seen(event: Mapping[str, Any], **_: Any) -> None:
        inbox.put(dict(event["object"]), deleted=event["type"] == "DELETED")

    def login(**_: Any) -> kopf.ConnectionInfo:
        return kopf.ConnectionInfo(**cluster.login)

    for kind in objects.KINDS.values():
        kopf.on.event(objects.GROUP, objects.VERSION, kind.plural, registry=registry)(seen)
    kopf.on.login(registry=registry)(login)
    return registry


def _settings() -> kopf.OperatorSettings:
    settings = kopf.OperatorSettings()
    settings.posting.enabled = False
    settings.watching.chunk_size = _PAGE
    settings.scanning.disabled = True  # our CRDs are there before kopf starts
    settings.queueing.idle_timeout = 0.05  # a task per object for 5 s costs 50 MB at 5,000 objects
    logging.getLogger("kopf").setLevel(logging.WARNING)
    logging.getLogger("kopf._core.reactor.running").setLevel(logging.ERROR)  # it warns that signals are not its own
    return settings
