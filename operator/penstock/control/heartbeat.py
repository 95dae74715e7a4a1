"""The heartbeat of the work loop: it shows other threads that the loop still runs, and how long it was blocked."""

import asyncio
import time
from collections.abc import Callable

BEAT_SECONDS = 0.02
"""Between two beats; a block shorter than this is not noticed."""


class Heartbeat:
    """When the work loop last ran, and its longest block so far. Times are in seconds, on clocks that only advance."""

    def __init__(
        self, clock: Callable[[], float] = time.monotonic, cpu_clock: Callable[[], float] = time.thread_time
    ) -> None:
        self._clock = clock
        self._cpu_clock = cpu_clock
        self._last = clock()
        self.longest_block = 0.0
        """The longest time for which the loop ran nothing else, by the clock on the wall."""
        self.longest_block_cpu = 0.0
        """The same in CPU time of the loop's thread: what other processes took of the machine is not in it."""

    @property
    def age(self) -> float:
        """Seconds since the work loop last ran."""
        return self._clock() - self._last

    async def keep(self) -> None:
        """Beat until cancelled. Run it in the work loop."""
        self._last, cpu = self._clock(), self._cpu_clock()
        while True:
            await asyncio.sleep(BEAT_SECONDS)
            now, cpu_now = self._clock(), self._cpu_clock()
            self.longest_block = max(self.longest_block, now - self._last - BEAT_SECONDS)
            self.longest_block_cpu = max(self.longest_block_cpu, cpu_now - cpu - BEAT_SECONDS)
            self._last, cpu = now, cpu_now
