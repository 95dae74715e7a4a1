"""Python's garbage collector, kept from going over the whole store again and again.

A full collection visits every container on the heap: with 10,000 objects in the store that blocks the work loop for
half a second, each time a quarter more has been allocated. What the store holds is no garbage and forms no cycles, so
it is set aside (`gc.freeze`) once everything has been listed, and what has survived a costly full collection after each
of these. Objects that are set aside are freed like others when nothing refers to them any more; only cycles that become
garbage later stay. They are looked for, among all there is, when that has happened many times.

Python decides when to collect by how many more containers were made than freed. Where new objects replace old ones, as
in a sweep, that number stays small while the young generation grows, and its collection at last takes 150 ms. So the
young generations are also collected by time (`collect_young`).
"""

import gc
import time
from collections.abc import Callable, Mapping

COSTLY_SECONDS = 0.01
"""CPU time of a full collection after which what survived it is set aside."""

FULL_EVERY = 5
"""How many collections of the middle generation lead to a full one; Python's 10 make it twice as long."""

TIMES = 200
"""How often something is set aside until garbage is looked for among it: there may be 20 MB of it then."""


class Heap:
    """What was set aside so far. One per process. `clock` gives CPU seconds."""

    def __init__(self, clock: Callable[[], float] = time.thread_time) -> None:
        self._clock = clock
        self._began = 0.0
        self._times = 0
        """How often something was set aside since garbage was looked for among all."""
        self._turns = 0
        self._thresholds = gc.get_threshold()

    @property
    def overdue(self) -> bool:
        """Whether it is time to look for garbage among what was set aside."""
        return self._times >= TIMES

    def begin_loading(self) -> None:
        """Collect nothing while everything is listed: the heap only grows then."""
        gc.disable()

    def loaded(self) -> None:
        """Set aside everything there is, and collect garbage from now on."""
        gc.collect(1)  # what became garbage lately, so that it is not set aside with the rest
        gc.freeze()
        gc.set_threshold(*self._thresholds[:2], FULL_EVERY)
        gc.callbacks.append(self._collecting)
        gc.enable()

    def collect_young(self) -> None:
        """Collect what was made since the last time; every `FULL_EVERY` times also what has survived since then."""
        if not gc.isenabled():
            return
        self._turns = (self._turns + 1) % FULL_EVERY
        gc.collect(1 if self._turns else 2)

    def clean(self) -> None:
        """Look for garbage among everything. With 10,000 objects in the store it takes half a second."""
        gc.unfreeze()
        gc.collect()
        gc.freeze()
        self._times = 0

    def end(self) -> None:
        """Leave the collector as it was found."""
        if self._collecting in gc.callbacks:
            gc.callbacks.remove(self._collecting)
        gc.set_threshold(*self._thresholds)
        gc.unfreeze()
        gc.enable()

    def _collecting(self, phase: str, info: Mapping[str, int]) -> None:
        """Called by the collector before and after each collection."""
        if info["generation"] < 2:
            return
        if phase == "start":
            self._began = self._clock()
        elif self._clock() - self._began >= COSTLY_SECONDS:
            gc.freeze()
            self._times += 1
