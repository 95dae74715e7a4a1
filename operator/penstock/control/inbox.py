"""What the watch of the five kinds reports, handed from its thread to the work loop, which takes it in by and by."""

import asyncio
import logging
from collections import deque
from collections.abc import Callable

from penstock.control.cluster.port import Manifest
from penstock.control.pace import Pace

log = logging.getLogger(__name__)


class Inbox:
    """Objects in the order in which they were reported. Made in the work loop; one other thread calls `put`.

    `take` is called in the work loop for each object, with whether it was deleted.
    """

    def __init__(self, take: Callable[[Manifest, bool], None], pace: Pace) -> None:
        self._take = take
        self._pace = pace
        self._loop = asyncio.get_running_loop()
        self._arrived = asyncio.Event()
        self._items: deque[tuple[Manifest, bool]] = deque()

    def put(self, manifest: Manifest, *, deleted: bool) -> None:
        """Hand over an object."""
        self._items.append((manifest, deleted))
        if len(self._items) == 1:  # while there are more, the work loop is at it already
            self._loop.call_soon_threadsafe(self._arrived.set)

    async def keep(self) -> None:
        """Take in what arrives until cancelled, and give way to other work between two objects."""
        while True:
            await self._arrived.wait()
            self._arrived.clear()
            while self._items:
                await self._pace.turn()
                manifest, deleted = self._items[0]
                try:
                    self._take(manifest, deleted)
                except Exception:  # the sweep brings it again
                    log.exception("an error in the operator; one object is left out until it changes")
                self._items.popleft()
