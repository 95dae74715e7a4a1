"""Cooperative yielding: work that never waits gives way to the rest of the event loop by elapsed time."""

import asyncio
import time
from collections.abc import Callable

TURN_SECONDS = 0.01
"""How long all work together may take in one turn of the event loop; what is begun is finished."""


class Pace:
    """Shared by everything that works in one event loop: there each piece of work awaits `turn` before it begins.

    In each turn of the loop, the first piece notes the time; once `TURN_SECONDS` have passed, the others continue in a
    later turn. Between two turns the loop serves what has arrived: answers, watches, timers, the heartbeat.
    """

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._began: float | None = None
        """When work began in this turn of the loop; None while none has."""

    async def turn(self) -> None:
        """Return at once while this turn has time left, and otherwise in a later turn."""
        while self._began is not None and self._clock() - self._began >= TURN_SECONDS:  # noqa: ASYNC110 - the turn of the loop is what is waited for
            await asyncio.sleep(0)
        if self._began is None:
            self._began = self._clock()
            asyncio.get_running_loop().call_soon(self._over)  # runs in the next turn

    def _over(self) -> None:
        self._began = None
