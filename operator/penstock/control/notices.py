"""Warnings that would be the same every second: said at once, and then only now and then."""

import logging
import time
from collections.abc import Callable

REPEAT_SECONDS = 300
"""How long until the same thing is said again."""


class Notices:
    """What was last said on each topic, and when. `clock` gives seconds and never goes back."""

    def __init__(self, log: logging.Logger, clock: Callable[[], float] = time.monotonic) -> None:
        self._log = log
        self._clock = clock
        self._last: dict[str, tuple[str, float]] = {}

    def warn(self, topic: str, message: str) -> None:
        """Say it, unless just that is what was said on this topic within `REPEAT_SECONDS`."""
        before, at = self._last.get(topic, ("", 0.0))
        if message != before or self._clock() - at >= REPEAT_SECONDS:
            self._last[topic] = (message, self._clock())
            self._log.warning("%s", message)

    def over(self, topic: str) -> None:
        """It has passed: should it come back, that is news again."""
        self._last.pop(topic, None)
