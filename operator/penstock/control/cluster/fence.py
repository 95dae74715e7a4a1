"""Fencing: whether this operator may write, checked by the client directly before each request that changes something.

The thread that renews the Lease moves the deadline forward. A deadline needs no working event loop: an operator whose
process or work loop stood still finds it in the past when it continues.
"""

import math
import time
from collections.abc import Callable

from penstock.control.cluster.port import ClusterError


class Fenced(ClusterError):
    """This operator does not hold the Lease, so the request was not sent."""

    def __init__(self) -> None:
        super().__init__(0, "LeaseLost", "this operator does not hold the Lease any more, so it writes nothing")


class Fence:
    """Until when this operator may write, on the monotonic clock. One that needs no Lease may write at any time.

    Written by the thread of the Lease and read by the work loop; each access is one attribute.
    """

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._deadline = math.inf
        self._expiry = math.inf

    def allow_until(self, deadline: float, expiry: float) -> None:
        """Allow writes to begin until `deadline`, and to last until `expiry`, when another operator may take over."""
        self._expiry, self._deadline = expiry, deadline

    def close(self) -> None:
        """Allow no further write."""
        self._deadline = -math.inf

    def check(self) -> float:
        """How many seconds a write that begins now may take. Raises `Fenced` where none may begin."""
        now = self._clock()
        if now >= self._deadline:
            raise Fenced
        return self._expiry - now
