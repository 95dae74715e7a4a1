"""Accounting: what became of each row of each input, what is wrong with bad ones, and when too many are bad."""

from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from threading import Lock

import pyarrow as pa

from penstock.language import words
from penstock.language.errors import InvalidSpec, NotYet
from penstock.language.scalars import ratio
from penstock.runs.order import DatasetOrder
from penstock.runs.report import Counts, RuleWarning
from penstock.worker.planning import PlannedInput

_LONGEST_PLACE = 300
"""Characters of a locator that are shown."""
_SAMPLES = 3
"""Rules that a message names, and rows that are shown for a rule that warns."""
_KIND = 140
"""Characters of each."""


@dataclass
class Warnings:
    """Loaded rows that break one rule: how many, and the places of the first ones, as positions and locators."""

    rows: int = 0
    places: list[tuple[int, str]] = field(default_factory=list)

    def add(self, rows: int, places: Iterable[tuple[int, str]]) -> None:
        """Count more of them."""
        self.rows += rows
        self.places = sorted([*self.places, *places])[:_SAMPLES]


@dataclass
class InputAccount:
    """The rows of one input. Several threads may add."""

    planned: PlannedInput
    read: int = 0
    loaded: int = 0
    quarantined: int = 0
    ignored: int = 0
    refusal: str | None = None
    """Why the input could not be read as a whole; then it has no rows."""
    warnings: dict[str, "Warnings"] = field(default_factory=dict)
    """Loaded rows that break rules, by the rule's name."""
    _lock: Lock = field(default_factory=Lock)

    def add(self, read: int, loaded: int, quarantined: int, ignored: int) -> None:
        """Count some of its rows."""
        with self._lock:
            self.read += read
            self.loaded += loaded
            self.quarantined += quarantined
            self.ignored += ignored

    def warn(self, rule: str, rows: int, places: Iterable[tuple[int, str]]) -> None:
        """Count loaded rows that break a rule. `places` are positions and locators of the first of them."""
        with self._lock:
            self.warnings.setdefault(rule, Warnings()).add(rows, places)

    def refuse(self, why: str) -> None:
        """It cannot be read: what was counted of it counts no more."""
        with self._lock:
            self.read = self.loaded = self.quarantined = self.ignored = 0
            self.warnings = {}
            self.refusal = why

    @property
    def balanced(self) -> bool:
        """Whether every row that was read is accounted for."""
        return self.read == self.loaded + self.quarantined + self.ignored


@dataclass
class Faults:
    """What is wrong with bad rows: how often each rule is broken, and where first; never a value."""

    kinds: Counter[str] = field(default_factory=Counter)
    _first: dict[str, tuple[str, int, str]] = field(default_factory=dict)
    _lock: Lock = field(default_factory=Lock)

    def add(self, kinds: pa.ChunkedArray, entries: pa.Table) -> None:
        """Count bad rows: their kinds and their quarantine entries, in the order of the plan; any thread may."""
        kinds = kinds.dictionary_encode().combine_chunks()
        values = kinds.dictionary.to_pylist()
        counted = {values[each["values"]]: each["counts"] for each in kinds.indices.value_counts().to_pylist()}
        rows = pa.array([kinds.indices.index(place).as_py() for place in range(len(values))], pa.int64())
        first = entries.select(["input", "position", "locator"]).take(rows).to_pylist()
        with self._lock:
            for kind, row in zip(values, first, strict=True):
                count = counted[kind]
                self.kinds[kind] += count
                place = (row["input"], row["position"] or 0, row["locator"])
                self._first[kind] = min(self._first.get(kind, place), place)

    def include(self, other: "Faults") -> None:
        """Count those of other rows too."""
        with self._lock:
            for kind, count in other.kinds.items():
                self.kinds[kind] += count
                self._first[kind] = min(self._first.get(kind, other._first[kind]), other._first[kind])

    def samples(self) -> str:
        """The rules that most rows break, with the place of the first row of each."""
        places = {kind: locator for kind, (_, _, locator) in self._first.items()}
        frequent = sorted(self.kinds, key=lambda kind: (-self.kinds[kind], places[kind]))[:_SAMPLES]
        parts = [
            f"{words.count(self.kinds[kind], 'row')}: {kind[:_KIND]}, first in {places[kind]}" for kind in frequent
        ]
        more = len(self.kinds) - len(parts)
        return "; ".join(parts) + (f"; and {words.count(more, 'other reason')}." if more else ".")


def counts(accounts: Sequence[InputAccount]) -> Counts:
    """The sums over all inputs; `replaced` is the store's to say."""
    return Counts(
        read=sum(account.read for account in accounts),
        loaded=sum(account.loaded for account in accounts),
        quarantined=sum(account.quarantined for account in accounts),
        ignored=sum(account.ignored for account in accounts),
        refused=sum(account.refusal is not None for account in accounts),
        bytes=sum(max(account.planned.size, 0) for account in accounts if account.refusal is None),
        files=sum(account.refusal is None for account in accounts),
    )


def rule_warnings(accounts: Sequence[InputAccount]) -> list[RuleWarning]:
    """The rules that loaded rows break, those of most rows first; the places are in the order of the inputs."""
    rows, places = Counter[str](), dict[str, list[str]]()
    for account in accounts:
        for rule, warnings in account.warnings.items():
            rows[rule] += warnings.rows
            places.setdefault(rule, []).extend(locator for _, locator in warnings.places)
    return [
        RuleWarning(rule=rule, rows=count, places=[place[:_LONGEST_PLACE] for place in places[rule][:_SAMPLES]])
        for rule, count in rows.most_common()
    ]


def check_balance(dataset: DatasetOrder, accounts: Sequence[InputAccount], staged: tuple[int, int]) -> None:
    """Raise NotYet (CountMismatch) unless every row of every input is accounted for.

    `staged` are the rows and quarantine entries that the store counted: one entry for each bad row and each refused
    input.
    """
    total = counts(accounts)
    uneven = [account for account in accounts if not account.balanced]
    if not uneven and total.balanced and staged == (total.loaded, total.quarantined + total.refused):
        return
    name, where = dataset.owner.name, f" The first of these inputs is {uneven[0].planned.name}." if uneven else ""
    message = (
        f"Dataset {name}: {total.read} rows were read, {total.loaded} of them are good and {total.quarantined} bad; "
        f"{staged[0]} and {staged[1]} were staged. Nothing was committed to {name}. This is a defect of Penstock; "
        f"please report it.{where}"
    )
    raise NotYet(message, "CountMismatch")


def too_many(dataset: DatasetOrder, bad: int, rows: int) -> bool:
    """Whether so many bad ones of so many rows are more than the Dataset allows."""
    return bad > rows * ratio(dataset.quality.max_bad_ratio)


def read_and_bad(accounts: Iterable[InputAccount]) -> tuple[int, int]:
    """Rows read so far, and how many of them are bad."""
    every = [*accounts]
    return sum(account.read for account in every), sum(account.quarantined for account in every)


def too_many_bad_rows(dataset: DatasetOrder, faults: Faults, rows: int, bad: int, *, whole: bool) -> InvalidSpec:
    """What is said of `bad` bad rows of `rows` that were read; `whole` says that there are no more."""
    name = dataset.owner.name
    message = (
        f"Dataset {name}: {bad:,} of {'' if whole else 'the first '}{words.count(rows, 'row')} "
        f"{'is' if bad == 1 else 'are'} bad, and quality.maxBadRatio allows {dataset.quality.max_bad_ratio}. "
        f"Nothing was committed to {name}. {faults.samples()}"
    )
    return InvalidSpec(message, "TooManyBadRows")
