"""How many runs may use a Source or a Destination at the same time, and the queue of the Jobs that wait for that.

A run is an ingest or a delivery that was admitted and has not ended. What runs is counted by an index of the store, so
a restart changes nothing; the queue is made anew from the Jobs that wait.

Jobs that use the same systems can only start together or not at all, so they form one group. A group waits at one of
its systems, one that is full. When a run there ends, the oldest Job of all groups that wait there is next; a group that
another of its systems holds back moves to that one as a whole. So an admission costs the same however many wait.
"""

from collections.abc import Iterable
from typing import cast

from penstock.api.destination import DestinationSpec
from penstock.api.objects import Key
from penstock.api.source import SourceSpec
from penstock.control.cluster.indexes import Ordered
from penstock.control.cluster.port import Ref
from penstock.control.cluster.store import Store
from penstock.language.errors import InvalidSpec

Systems = tuple[Key, ...]
"""The Source and the Destinations that a run uses, sorted."""


def limit(system: Key, store: Store) -> int | None:
    """The `maxConcurrentRuns` of a Source or a Destination; None where it has none, is invalid or does not exist."""
    if store.get(system) is None:
        return None
    try:
        spec = store.spec(system)
    except InvalidSpec:
        return None  # the Jobs that use it wait for that
    return cast("SourceSpec | DestinationSpec", spec).max_concurrent_runs


def is_full(system: Key, store: Store) -> bool:
    """Whether as many runs use a Source or a Destination as may."""
    most = limit(system, store)
    return most is not None and store.count_using(system) >= most


def full(systems: Iterable[Key], store: Store) -> Key | None:
    """The first of `systems` that is full."""
    return next((system for system in systems if is_full(system, store)), None)


class Queue:
    """Jobs that wait only because a system that they use is full."""

    def __init__(self) -> None:
        self._groups: Ordered[Systems, Ref] = Ordered()
        self._waiting_at: Ordered[Key, Systems] = Ordered()
        """The groups that wait at each system, in the order of their oldest Jobs."""
        self._places: dict[Systems, tuple[Key, str]] = {}
        """The system at which a group waits, and the age of its oldest Job."""
        self._entries: dict[Ref, tuple[Systems, str]] = {}

    def __contains__(self, ref: Ref) -> bool:
        return ref in self._entries

    def __len__(self) -> int:
        return len(self._entries)

    def add(self, ref: Ref, age: str, systems: Systems, at: Key) -> None:
        """A Job, created at `age` (RFC 3339), waits for `at`, one of the `systems` that it uses."""
        self.remove(ref)
        self._entries[ref] = (systems, age)
        self._groups.add(systems, age, ref)
        self._settle(systems, at)

    def remove(self, ref: Ref) -> None:
        """A Job waits no more; it may not have waited."""
        entry = self._entries.pop(ref, None)
        if entry is None:
            return
        systems, age = entry
        self._groups.remove(systems, age, ref)
        self._settle(systems, self._places[systems][0])

    def next(self, system: Key) -> tuple[Ref, Systems] | None:
        """The oldest Job of those that wait at `system`, and what it uses."""
        systems = self._waiting_at.first(system)
        ref = self._groups.first(systems) if systems is not None else None
        return (ref, systems) if ref is not None and systems is not None else None

    def move(self, systems: Systems, to: Key) -> None:
        """Have all Jobs that use `systems` wait at another of them."""
        self._settle(systems, to)

    def _settle(self, systems: Systems, at: Key) -> None:
        """Keep the index of groups, after a change of a group or of its place."""
        before = self._places.pop(systems, None)
        if before is not None:
            self._waiting_at.remove(*before, systems)
        oldest = self._groups.first(systems)
        if oldest is not None:
            self._places[systems] = (at, self._entries[oldest][1])
            self._waiting_at.add(*self._places[systems], systems)
