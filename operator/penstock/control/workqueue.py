"""A deduplicating queue of keys, as client-go's workqueue: a key is in work at most once, and never forgotten.

A key that is added while it is in work is worked on again afterwards; one that waits already is not added twice.
"""

import asyncio
import heapq
from collections.abc import Callable
from typing import Generic, TypeVar

T = TypeVar("T")
_SLACK = 64
"""Superseded wake-ups that may lie around before they are cleared away."""


class WorkQueue(Generic[T]):
    """Keys to work on now, and keys to work on later. `clock` gives seconds and never goes back."""

    def __init__(self, clock: Callable[[], float]) -> None:
        self._clock = clock
        self._ready: asyncio.Queue[T] = asyncio.Queue()
        self._waiting: set[T] = set()
        self._working: set[T] = set()
        self._again: set[T] = set()
        self._later: list[tuple[float, int, T]] = []
        self._due: dict[T, float] = {}
        self._count = 0
        self._changed = asyncio.Event()
        self._closed = False
        self._all_done = asyncio.Event()

    def add(self, key: T) -> None:
        """Work on `key` as soon as possible."""
        if self._closed:
            return
        if key in self._working:
            self._again.add(key)
        elif key not in self._waiting:
            self._waiting.add(key)
            self._ready.put_nowait(key)

    def add_after(self, key: T, delay: float) -> None:
        """Work on `key` in `delay` seconds; replaces what was set before for that key."""
        self._count += 1
        self._due[key] = self._clock() + delay
        heapq.heappush(self._later, (self._due[key], self._count, key))
        if len(self._later) > 2 * len(self._due) + _SLACK:
            self._compact()
        self._changed.set()

    def forget(self, key: T) -> None:
        """Cancel what is set for later."""
        self._due.pop(key, None)

    async def get(self) -> T:
        """The next key; call `done` afterwards."""
        key = await self._ready.get()
        self._waiting.discard(key)
        self._working.add(key)
        return key

    def done(self, key: T) -> None:
        """Work on `key` has ended."""
        self._working.discard(key)
        if key in self._again:
            self._again.discard(key)
            self.add(key)
        if self._closed and not self._working:
            self._all_done.set()

    async def close(self) -> None:
        """Give out no more keys; returns when no key is in work any more."""
        self._closed = True
        self._waiting.clear()
        while not self._ready.empty():
            self._ready.get_nowait()
        if self._working:
            await self._all_done.wait()

    def _compact(self) -> None:
        """Drop what was replaced or forgotten: a key that is set for tomorrow again and again leaves one entry each."""
        self._later = [entry for entry in self._later if self._due.get(entry[2]) == entry[0]]
        heapq.heapify(self._later)

    def __len__(self) -> int:
        """How many keys wait to be worked on now."""
        return len(self._waiting)

    @property
    def idle(self) -> bool:
        """Whether nothing waits and nothing is in work; what is set for later does not count."""
        return not self._waiting and not self._working

    async def tick(self) -> None:
        """Move keys whose time has come to the front, for ever: the one clock behind all wake-ups."""
        while True:
            while self._later and self._later[0][0] <= self._clock():
                moment, _, key = heapq.heappop(self._later)
                if self._due.get(key) == moment:
                    del self._due[key]
                    self.add(key)
            self._changed.clear()
            delay = self._later[0][0] - self._clock() if self._later else None
            try:
                async with asyncio.timeout(delay):
                    await self._changed.wait()
            except TimeoutError:
                continue
