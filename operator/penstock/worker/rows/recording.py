"""Writing and counting rows that were judged: good ones become staged rows, bad ones quarantine entries."""

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from threading import Lock

import pyarrow as pa

from penstock.runs.order import DatasetOrder
from penstock.worker import steps
from penstock.worker.planning import PlannedInput
from penstock.worker.ports.chunks import Chunk
from penstock.worker.ports.tablestore import Writer
from penstock.worker.rows import accounts, quality, quarantine
from penstock.worker.rows.accounts import Faults, InputAccount
from penstock.worker.rows.lineage import Good, Lineage
from penstock.worker.rows.progress import Meter
from penstock.worker.rows.quarantine import Context

_ENTRIES = 8192
"""Quarantine entries that are made and written at once."""

Entries = tuple[pa.ChunkedArray, pa.Table]
"""What is wrong with rows in general, and their quarantine entries."""


@dataclass(frozen=True)
class Judged:
    """A chunk of an input, which of its rows are good and bad, and where they are written."""

    planned: PlannedInput
    writer: Writer
    chunk: Chunk
    split: quality.Split

    @property
    def bad_rows(self) -> int:
        """How many of its rows are bad."""
        return 0 if self.split.bad is None else self.split.bad.num_rows


class Recorder:
    """What became of the rows of one plan so far. `accounts` has one entry for each input, by its id."""

    def __init__(
        self, dataset: DatasetOrder, context: Context, lineage: Lineage, meter: Meter, inputs: Sequence[PlannedInput]
    ) -> None:
        self.faults = Faults()
        self.accounts = {planned.id: InputAccount(planned) for planned in inputs}
        self.bound = Bound(sum(len(planned.parts) for planned in inputs))
        self._dataset, self._context, self._lineage, self._meter = dataset, context, lineage, meter
        self._counting = Lock()
        """Held while rows are counted here and there, so that the counts fit together."""

    def take(self, taken: Sequence[Judged]) -> None:
        """Write and count the rows of chunks, whose targets have the same writer; any thread may."""
        writer = taken[0].writer
        good = [
            Good(each.planned.id, each.split.good, each.chunk.number, each.chunk.first)
            for each in taken
            if each.split.good.num_rows
        ]
        if good:
            writer.write(self._lineage.beside(good))
            steps.reached("first bytes staged")
        faults, entries = Faults(), list[Entries]()
        for made in self._entries(taken):
            entries.append(made)
            if sum(rows.num_rows for _, rows in entries) >= _ENTRIES:
                _reject(writer, entries, faults)
                entries = []
        _reject(writer, entries, faults)
        bad_rows = 0
        with self._counting:
            self.faults.include(faults)
            for each in taken:
                self.accounts[each.planned.id].add(each.chunk.read, each.split.good.num_rows, each.bad_rows, 0)
                bad_rows += each.bad_rows
                self._warn(each)
        self._meter.count(rows=sum(each.chunk.read for each in taken), bad=bad_rows)
        if bad_rows:
            self.end_early()

    def _warn(self, judged: Judged) -> None:
        """Count the loaded rows that break rules."""
        chunk, name = judged.chunk, judged.planned.name
        for warned in judged.split.warned:
            positions = chunk.lines_of(warned.first)
            places = list[tuple[int, str]]()
            for row, position in zip(warned.first, positions, strict=True):
                key = None if chunk.keys is None else chunk.keys[row].as_py()
                places.append((position, quarantine.locator(name, chunk.section, position, key)))
            self.accounts[judged.planned.id].warn(warned.rule.reason, warned.rows, places)

    def _entries(self, taken: Sequence[Judged]) -> Iterator[Entries]:
        """Quarantine entries of the bad rows, with the kinds of these, at most _ENTRIES together."""
        for each in taken:
            if each.split.bad is None:
                continue
            for start in range(0, each.bad_rows, _ENTRIES):
                some = each.split.bad.slice(start, _ENTRIES)
                yield some["kind"], self._context.entries_of_rows(some, each.planned, each.chunk)

    def end_early(self) -> None:
        """Raise InvalidSpec (TooManyBadRows) when the rows to come cannot bring the share of bad ones down again."""
        most = self.bound.rows
        if most is None:
            return
        with self._counting:
            read, bad = accounts.read_and_bad(self.accounts.values())
            if not accounts.too_many(self._dataset, bad, max(most, read)):
                return
            raise accounts.too_many_bad_rows(self._dataset, self.faults, read, bad, whole=read >= most)


class Bound:
    """How many rows a plan can have at most, once all of its parts have said so."""

    def __init__(self, parts: int) -> None:
        self._unopened = parts
        self._opened: list[Callable[[], int | None]] = []
        self._lock = Lock()

    def opened(self, most_rows: Callable[[], int | None]) -> None:
        """A part was opened, which has so many rows at most."""
        with self._lock:
            self._unopened -= 1
            self._opened.append(most_rows)

    @property
    def rows(self) -> int | None:
        """None while it is not known."""
        if self._unopened:
            return None
        total = 0
        for most_rows in self._opened:
            rows = most_rows()
            if rows is None:
                return None
            total += rows
        return total


def _reject(writer: Writer, entries: Sequence[Entries], faults: Faults) -> None:
    """Write quarantine entries, and add what is wrong with their rows to `faults`."""
    if entries:
        together = pa.concat_tables([rows for _, rows in entries])
        writer.reject(together)
        faults.add(pa.chunked_array([chunk for kinds, _ in entries for chunk in kinds.chunks]), together)


def batches(taken: Iterable[Judged]) -> Iterator[list[Judged]]:
    """Chunks that are written together: a run that has too many bad rows is to end before it counts all of them."""
    batch, bad = list[Judged](), 0
    for each in taken:
        more = each.bad_rows
        if batch and bad + more > _ENTRIES:
            yield batch
            batch, bad = [], 0
        batch.append(each)
        bad += more
    if batch:
        yield batch
