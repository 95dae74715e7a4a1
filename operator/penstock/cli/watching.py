"""The five kinds of a cluster as they change: a list, then a watch, again and again."""

import asyncio
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from penstock.api import objects

Object = Mapping[str, Any]
Changed = Callable[[Object | None, Object | None], None]
"""What to call with an object before and after a change."""

_AGAIN_SECONDS = 1.0


async def changes(kubeconfig: Path, changed: Changed, *, from_the_start: bool = True) -> None:
    """Call `changed` for every change of an object of ours, for ever; `from_the_start`: also for what is there now."""
    from penstock.control.cluster import client

    async with client.connect(kubeconfig) as cluster, asyncio.TaskGroup() as group:
        for kind in objects.KINDS:
            group.create_task(_kind(cluster, kind, changed, quiet=not from_the_start))


async def _kind(cluster: Any, kind: str, changed: Changed, *, quiet: bool) -> None:
    from penstock.control.cluster.port import ClusterError

    items: dict[str, Object] = {}
    while True:
        try:
            listing = await cluster.list(kind, None, "")
            there = {item["metadata"]["uid"]: item for item in listing.items}
            for uid in items.keys() - there.keys():
                changed(items.pop(uid), None)
            for item in there.values():
                _seen(items, item, _ignored if quiet else changed)
            quiet = False
            async for event in cluster.watch(kind, None, "", listing.version):
                if event.type == "DELETED":
                    changed(items.pop(event.object["metadata"]["uid"], None), None)
                elif event.type in ("ADDED", "MODIFIED"):
                    _seen(items, event.object, changed)
        except ClusterError:
            await asyncio.sleep(_AGAIN_SECONDS)


def _ignored(_before: Object | None, _after: Object | None) -> None:
    pass


def _seen(items: dict[str, Object], item: Object, changed: Changed) -> None:
    uid = item["metadata"]["uid"]
    changed(items.get(uid), item)
    items[uid] = item
