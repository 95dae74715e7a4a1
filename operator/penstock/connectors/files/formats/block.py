"""What reading yields."""

from bisect import bisect_right
from collections.abc import Iterable
from dataclasses import dataclass

import pyarrow as pa


@dataclass(frozen=True)
class Columns:
    """The columns of a stream in order, with their DuckDB types; `open` means any name will do (JSON)."""

    names: tuple[str, ...]
    types: tuple[str, ...]
    open: bool = False


ANY = Columns((), (), open=True)
"""What JSON lines have: whatever a line holds."""


class Measure(str):
    """The key of values that are read as numbers, days or times alone: how a number is written makes no difference."""

    __slots__ = ()


@dataclass(frozen=True)
class Lines:
    """Which line a record begins on: `first` plus its index, plus the lines between that begin no record.

    `extra` are (index, lines), ascending: so many such lines lie before the record of that index.
    """

    first: int
    extra: tuple[tuple[int, int], ...] = ()

    def of(self, records: Iterable[int]) -> list[int]:
        """The lines of the records with these indices, from 0, ascending."""
        found, waiting, more = [], iter(self.extra), 0
        index, lines = next(waiting, _NEVER)
        for record in records:
            while index <= record:
                more += lines
                index, lines = next(waiting, _NEVER)
            found.append(self.first + record + more)
        return found


_NEVER = (1 << 62, 0)


@dataclass(frozen=True)
class Broken:
    """A line that is no row: `text` is the beginning of what is written there."""

    line: int
    text: str
    error: str


@dataclass(frozen=True)
class Block:
    """Consecutive whole records, as bytes, counted; and the lines among them that cannot be part of any record."""

    data: bytes
    records: int
    lines: Lines
    broken: tuple[Broken, ...] = ()


@dataclass(frozen=True)
class Chunk:
    """Rows of one block, parsed.

    `table` has the columns c0, c1, … (text, or the file's own types), and for JSON `line`. `read` is how many rows
    the block has by the cutter's count; `places` says which of its records the table's rows are, None being all.
    """

    table: pa.Table
    read: int
    lines: Lines
    broken: tuple[Broken, ...] = ()
    missing: tuple[int, ...] = ()
    """Indices, ascending, of the block's records that are not in the table but among `broken`."""

    def lines_of(self, rows: Iterable[int]) -> list[int]:
        """The lines on which the table's rows of these indices begin; ascending."""
        shifted = [index - position for position, index in enumerate(self.missing)]
        return self.lines.of(row + bisect_right(shifted, row) for row in rows)
