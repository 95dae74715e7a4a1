"""Python's garbage collector, kept from going over the whole store again and again.

A full collection visits every container on the heap: with 10,000 objects in the store that blocks the work loop for
half a second, each time a quarter more has been allocated. What the store holds is no garbage and forms no cycles, so
it is set aside (`gc.freeze`) once everything has been listed, and again when the store has grown.
"""

import gc

GROWTH = 1.2
"""By which factor the store has to grow until what it holds is set aside again."""


class Heap:
    """What was set aside so far. One per process."""

    def __init__(self) -> None:
        self._size = 0

    def begin_loading(self) -> None:
        """Collect nothing while everything is listed: the heap only grows then."""
        gc.disable()

    def loaded(self, size: int) -> None:
        """The store holds `size` objects: set them aside if it has grown, and collect garbage from now on."""
        if size >= self._size * GROWTH:
            gc.collect(1)  # what became garbage lately, so that it is not set aside with the rest
            gc.freeze()
            self._size = size
        gc.enable()

    def end(self) -> None:
        """Leave the collector as it was found."""
        gc.unfreeze()
        gc.enable()
