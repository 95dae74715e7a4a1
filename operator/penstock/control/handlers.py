"""kopf's only door: it carries login, probes, lifecycle and the watch of the five kinds; we decide elsewhere.

Only `on.event` handlers: kopf's change detection would write an annotation with a copy of every spec, and a finalizer.
"""

import asyncio
import logging
import time
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import kopf

from penstock.api import objects
from penstock.control.cluster import client
from penstock.control.cluster.port import NotFound, Unavailable
from penstock.control.controller import Controller
from penstock.control.settings import Settings

log = logging.getLogger(__name__)

WAIT_SECONDS = 5
"""Between two looks for what the operator needs to begin."""

BLIND_SECONDS = 600
"""Nothing heard from the API server for so long, bookmarks included: the liveness probe fails."""


@dataclass(frozen=True)
class Connection:
    """Where the API server is, and where the probes are served (None: nowhere)."""

    kubeconfig: Path | None = None
    context: str | None = None
    liveness: str | None = None


async def operate(settings: Settings, connection: Connection, ready: asyncio.Event | None = None) -> None:
    """Run the operator until cancelled. `ready` is set when it watches."""
    async with client.connect(connection.kubeconfig, connection.context) as cluster:
        await _served(cluster, settings)
        controller = Controller(cluster, settings)
        operator = kopf.operator(
            registry=_registry(controller, cluster),
            settings=_settings(),
            standalone=True,
            clusterwide=not settings.namespaces,
            namespaces=settings.namespaces,
            liveness_endpoint=connection.liveness,
            ready_flag=ready,
        )
        async with asyncio.TaskGroup() as group:
            work = group.create_task(controller.run())
            try:
                await operator
            finally:
                work.cancel()


async def _served(cluster: client.HttpCluster, settings: Settings) -> None:
    """Wait until the API serves the five kinds: kopf would never look for them again."""
    namespace = next(iter(settings.namespaces), None)
    for kind in objects.KINDS:
        while True:
            try:
                await cluster.list(kind, namespace, f"{objects.GROUP}/nothing=carries-this")
                break
            except NotFound:
                log.warning("the API does not know the kind %s yet. Please: kubectl apply -f crds/", kind)
            except Unavailable as error:
                log.warning("%s", error.message)
            await asyncio.sleep(WAIT_SECONDS)


def main(settings: Settings, connection: Connection) -> None:
    """Run the operator until SIGTERM or SIGINT."""
    asyncio.run(operate(settings, connection))


def _registry(controller: Controller, cluster: client.HttpCluster) -> kopf.OperatorRegistry:
    registry = kopf.OperatorRegistry()

    async def seen(event: Mapping[str, Any], **_: Any) -> None:
        controller.seen(dict(event["object"]), deleted=event["type"] == "DELETED")

    def alive(**_: Any) -> str:
        silence = time.monotonic() - controller.last_seen
        if silence > BLIND_SECONDS:
            raise RuntimeError(f"nothing heard from the API server for {silence:.0f} s")
        return f"heard from the API server {silence:.0f} s ago"

    def login(**_: Any) -> kopf.ConnectionInfo:
        return kopf.ConnectionInfo(**cluster.login)

    for kind in objects.KINDS.values():
        kopf.on.event(objects.GROUP, objects.VERSION, kind.plural, registry=registry)(seen)
    kopf.on.probe(id="watch", registry=registry)(alive)
    kopf.on.login(registry=registry)(login)
    return registry


def _settings() -> kopf.OperatorSettings:
    settings = kopf.OperatorSettings()
    settings.posting.enabled = False
    settings.scanning.disabled = True  # our CRDs are there before the operator is
    settings.queueing.idle_timeout = 0.05  # a task per object for 5 s costs 50 MB at 5,000 objects
    for chatty in ("kopf", "aiohttp.access"):  # the latter tells of every probe
        logging.getLogger(chatty).setLevel(logging.WARNING)
    return settings
