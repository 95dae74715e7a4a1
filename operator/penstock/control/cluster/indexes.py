"""Indexes of the store: what a decision needs of many objects is looked up, never searched for.

They are kept when an object changes, at a cost that does not grow with the number of objects.
"""

from bisect import bisect_left, insort
from collections import Counter
from collections.abc import Hashable
from typing import Generic, TypeVar

from penstock.api.objects import Key
from penstock.language.traits import DeliveryPlace

G = TypeVar("G", bound=Hashable)
M = TypeVar("M")


class Ordered(Generic[G, M]):
    """Members of groups, each group in the order of a text (a time, say) that each member has.

    Members with equal texts are in their own order. A group without members takes no memory.
    """

    def __init__(self) -> None:
        self._groups: dict[G, list[tuple[str, M]]] = {}

    def add(self, group: G, text: str, member: M) -> None:
        """Put `member` into `group`."""
        insort(self._groups.setdefault(group, []), (text, member))

    def remove(self, group: G, text: str, member: M) -> None:
        """Take `member`, which was added with `text`, out of `group`."""
        members = self._groups[group]
        del members[bisect_left(members, (text, member))]
        if not members:
            del self._groups[group]

    def first(self, group: G) -> M | None:
        """The first member of `group`, if there is any."""
        members = self._groups.get(group)
        return members[0][1] if members else None

    def last(self, group: G) -> M | None:
        """The last member of `group`, if there is any."""
        members = self._groups.get(group)
        return members[-1][1] if members else None

    def members(self, group: G, since: str = "") -> list[M]:
        """The members of `group` in order, from the text `since` on."""
        members = self._groups.get(group, [])
        start = bisect_left(members, (since,)) if since else 0  # a shorter tuple sorts first
        return [member for _, member in members[start:]]

    def count(self, group: G) -> int:
        """How many members `group` has."""
        return len(self._groups.get(group, ()))

    def at(self, group: G, position: int) -> M | None:
        """The member of `group` at `position`, counted from 0; None behind its end."""
        members = self._groups.get(group, [])
        return members[position][1] if position < len(members) else None


class Divided(Generic[G, M]):
    """Members of groups, each group divided into parts by a second text, each part in order as in `Ordered`."""

    def __init__(self) -> None:
        self._ordered: Ordered[tuple[G, str], M] = Ordered()
        self._parts: dict[G, Counter[str]] = {}

    def add(self, group: tuple[G, str], text: str, member: M) -> None:
        """Put `member` into a part of a group: `group` is both."""
        self._ordered.add(group, text, member)
        self._parts.setdefault(group[0], Counter())[group[1]] += 1

    def remove(self, group: tuple[G, str], text: str, member: M) -> None:
        """Take `member`, which was added with `text`, out of a part of a group."""
        self._ordered.remove(group, text, member)
        parts = self._parts[group[0]]
        parts[group[1]] -= 1
        if not parts[group[1]]:
            del parts[group[1]]
        if not parts:
            del self._parts[group[0]]

    def parts(self, group: G) -> list[str]:
        """The parts of `group` that have members."""
        return list(self._parts.get(group, ()))

    def at(self, group: G, part: str, position: int) -> M | None:
        """The member of a part at `position`, counted from 0; None behind its end."""
        return self._ordered.at((group, part), position)


class DeliveryPlaces:
    """Which Subscriptions deliver into which folder or table: of several into the same one only the oldest may."""

    def __init__(self) -> None:
        self._by_place: Ordered[DeliveryPlace, Key] = Ordered()
        self._of: dict[Key, tuple[DeliveryPlace, str]] = {}
        """The place of each Subscription, and when the Subscription was created."""
        self._reordered: set[Key] = set()

    def put(self, subscription: Key, place: DeliveryPlace | None, created: str) -> None:
        """A Subscription delivers into `place`, or into none."""
        before = self._of.pop(subscription, None)
        if before is not None:
            self._by_place.remove(*before, subscription)
        if place is not None:
            former = self._by_place.first(place)
            self._of[subscription] = (place, created)
            self._by_place.add(place, created, subscription)
            if former is not None and self._by_place.first(place) != former:
                self._reordered.add(former)
        if before is not None and before[0] != place and (first := self._by_place.first(before[0])) is not None:
            self._reordered.add(first)

    def owner(self, place: DeliveryPlace) -> Key | None:
        """The Subscription that may deliver into `place`."""
        return self._by_place.first(place)

    def place(self, subscription: Key) -> DeliveryPlace | None:
        """The place that a Subscription delivers into."""
        entry = self._of.get(subscription)
        return entry[0] if entry is not None else None

    def take_reordered(self) -> set[Key]:
        """Subscriptions that have become, or have ceased to be, the oldest of their place since the last call.

        Only those to which that happened because of another one.
        """
        reordered, self._reordered = self._reordered, set()
        return reordered
