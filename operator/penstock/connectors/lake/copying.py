"""Data files are written again with staged rows in the places of theirs, some rows at a time."""

from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field

import pyarrow as pa
import pyarrow.compute as pc
from pyiceberg.manifest import DataFile

from penstock.connectors.lake.datafiles import DataFiles
from penstock.connectors.lake.matching import LINES
from penstock.connectors.lake.spill import Spill
from penstock.runs.order import DatasetOrder
from penstock.worker.ports.tablestore import INPUT_ID, Merged
from penstock.worker.rows import arrays


@dataclass
class Upsert:
    """What an upsert changes: files that go, files that come, rows overwritten, rows not needed."""

    dropped: list[DataFile] = field(default_factory=list)
    added: list[str] = field(default_factory=list)
    rows: int = 0
    superseded: Counter[int] = field(default_factory=Counter)
    unchanged: Counter[int] = field(default_factory=Counter)
    displaced: Counter[int] = field(default_factory=Counter)

    @property
    def merged(self) -> Merged:
        """What became of the staged rows that were not written, and of rows of the table."""
        return Merged(self.superseded, self.unchanged, self.displaced)


class Matches:
    """Staged rows with their places in files, in the order of these; they are read once, a portion at a time.

    They have the column `position`, then those of the table's files.
    """

    def __init__(self, spill: Spill) -> None:
        self._spill, self._numbers = spill, iter(spill.numbers())
        self._rest = self._next()

    def _next(self) -> pa.Table | None:
        number = next(self._numbers, None)
        if number is None:
            return None
        rows = pa.concat_tables(self._spill.take(number))
        return rows.take(pc.sort_indices(rows["position"]))

    def has(self, file: int) -> bool:
        """Whether the next match is in the file with this number."""
        return self._rest is not None and self._rest["position"][0].as_py() // LINES == file

    def until(self, position: int) -> pa.Table | None:
        """Next matches that are before this position; None where there are none, or no more."""
        if self._rest is None:
            return None
        count = pc.sum(pc.less(self._rest["position"], position)).as_py() or 0
        if not count:
            return None
        taken = self._rest.slice(0, count)
        self._rest = self._rest.slice(count) if count < self._rest.num_rows else self._next()
        return taken


@dataclass
class Copy:
    """A file being written again. Nothing is written before the first change, and what lies before it is read twice.

    `read` begins to read the file's rows, with the columns of the table's files.
    """

    dataset: DatasetOrder
    read: Callable[[], Iterator[pa.Table]]
    files: DataFiles
    done: Upsert
    changed: bool = False

    def make(self, matches: Matches, number: int) -> bool:
        """Copy the file with this number, with the matches in the places of its rows; whether anything changed."""
        line, start = 0, number * LINES
        for rows in self.read():
            batch, end = rows, line + rows.num_rows
            while (staged := matches.until(start + end)) is not None:
                following = staged["position"][-1].as_py() - start + 1
                lines = pc.subtract(arrays.one(staged["position"]), start + line)
                self._write(self._replaced(batch.slice(0, following - line), staged, lines), line)
                batch, line = batch.slice(following - line), following
            self._write(batch if self.changed else None, line)
            line = end
        return self.changed

    def _write(self, rows: pa.Table | None, line: int) -> None:
        """Write rows that begin at this line, and before the first ones all before them; None: nothing has changed."""
        if rows is None:
            return
        if not self.changed:
            self._write_before(line)
            self.changed = True
        self.files.write(rows)

    def _write_before(self, line: int) -> None:
        """Write the rows before this line as they are."""
        written = 0
        for batch in self.read() if line else ():
            self.files.write(batch.slice(0, min(batch.num_rows, line - written)))
            written += batch.num_rows
            if written >= line:
                return

    def _replaced(self, batch: pa.Table, staged: pa.Table, lines: pa.Int64Array) -> pa.Table | None:
        """The batch with those of the staged rows that change something; `lines` are their places in it.

        None where none does, and the file has not changed so far.
        """
        there = batch.take(lines)
        older = self._older(there, staged)
        same = pc.and_(self._same(there, staged), pc.invert(older))
        change = pc.invert(pc.or_(older, same))
        self.done.superseded.update(_by_input(staged, older))
        self.done.unchanged.update(_by_input(staged, same))
        new = staged.filter(change)
        if not new.num_rows:
            return batch if self.changed else None
        self.done.rows += new.num_rows
        self.done.displaced.update(_by_input(there, change))
        mask = pc.is_in(pa.arange(0, batch.num_rows), value_set=lines.filter(change))
        columns = [
            pc.replace_with_mask(arrays.one(column.cast(each.type)), mask, arrays.one(new[each.name]))
            for column, each in zip(batch.columns, self.files.schema, strict=True)
        ]
        return pa.Table.from_arrays(columns, names=batch.column_names)

    def _older(self, there: pa.Table, staged: pa.Table) -> pa.BooleanArray:
        """Which staged rows are earlier than the table's; a version of null is the earliest."""
        version = self.dataset.schema_.version_field
        if version is None:
            return pa.repeat(pa.scalar(False), staged.num_rows)
        before, now = arrays.one(there[version]), arrays.one(staged[version])
        greater = pc.fill_null(pc.greater(before, now.cast(before.type)), False)
        if pa.types.is_floating(before.type):  # not a number is the greatest, as where the staged rows are ranked
            greatest = pc.and_(pc.is_nan(before), pc.invert(pc.is_nan(now)))
            greater = pc.or_(greater, pc.fill_null(greatest, False))
        return pc.or_(greater, pc.and_(pc.is_null(now), pc.is_valid(before)))

    def _same(self, there: pa.Table, staged: pa.Table) -> pa.BooleanArray:
        """Which staged rows have the values of the table's."""
        same = pa.repeat(pa.scalar(True), staged.num_rows)
        for each in self.dataset.schema_.fields:
            if each.name not in self.dataset.schema_.key:
                now = arrays.one(staged[each.name])
                same = pc.and_(same, _equal(arrays.one(there[each.name]).cast(now.type), now))
        return same


def _equal(before: pa.Array, now: pa.Array) -> pa.BooleanArray:
    """Where both are equal, both null, or both not a number."""
    same = pc.or_(pc.fill_null(pc.equal(before, now), False), pc.and_(pc.is_null(before), pc.is_null(now)))
    if pa.types.is_floating(now.type):
        same = pc.or_(same, pc.fill_null(pc.and_(pc.is_nan(before), pc.is_nan(now)), False))
    return same


def _by_input(rows: pa.Table, which: pa.BooleanArray) -> Counter[int]:
    """How many of the rows there are of each input; those without lineage are not counted."""
    counted = pc.value_counts(rows[INPUT_ID].filter(which).drop_null())
    return Counter({each["values"]: each["counts"] for each in counted.to_pylist()})
