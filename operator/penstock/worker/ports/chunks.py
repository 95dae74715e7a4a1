"""Rows as a Source yields them: columns, chunks of rows, the place of each row, and lines that are no rows."""

from bisect import bisect_right
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from typing import Literal, Protocol

import pyarrow as pa


@dataclass(frozen=True)
class NumberFormat:
    """How texts write numbers: the character before the fraction, and between groups of three digits ("": none)."""

    decimal: str = "."
    thousands: str = ""
    or_plain: bool = False
    """Whether a text may as well be a number of JSON, which is always written with a point and without groups."""


PLAIN_NUMBERS = NumberFormat()
UNKNOWN = "UNKNOWN "
"""Begins the type of a column that no field can be made of."""


@dataclass(frozen=True)
class Columns:
    """The columns of a stream in order, with their DuckDB types.

    `VARCHAR` of a text format and of a database are the same. `open` means that any name will do, as in JSON: a name
    that a row lacks is null in it, and names that differ in case are different. `partial` means that chunks have only
    the columns that fields are made of; a name may then stand twice, as long as no field uses it. `as_written` means
    that chunks keep their records as they were written; without it, a payload is made of the chunk's columns.
    `numbers` is how texts write numbers. `advice` is what to check where a column that a field needs is missing, in
    whole sentences; "" for nothing.
    """

    names: tuple[str, ...]
    types: tuple[str, ...]
    open: bool = False
    partial: bool = False
    as_written: bool = False
    numbers: NumberFormat = PLAIN_NUMBERS
    advice: str = ""


ANY = Columns((), (), open=True, as_written=True)
"""What JSON lines have: whatever a line holds."""


class Measure(str):
    """The key of values that are read as numbers, days or times alone: how a number is written makes no difference."""

    __slots__ = ()


class Positions(Protocol):
    """Where the records of a chunk stand in their input."""

    def of(self, records: Iterable[int]) -> list[int]:
        """The positions of the records with these indices, from 0, ascending."""


@dataclass(frozen=True)
class Lines:
    """Which line a record begins on: `first` plus its index, plus the lines between that begin no record.

    `extra` are (index, lines), ascending: so many such lines lie before the record of that index.
    """

    first: int
    extra: tuple[tuple[int, int], ...] = ()

    def of(self, records: Iterable[int]) -> list[int]:
        """The lines of the records with these indices, from 0, ascending."""
        lines_of_records, waiting, more = [], iter(self.extra), 0
        index, lines = next(waiting, _NEVER)
        for record in records:
            while index <= record:
                more += lines
                index, lines = next(waiting, _NEVER)
            lines_of_records.append(self.first + record + more)
        return lines_of_records


_NEVER = (1 << 62, 0)


BROKEN = pa.schema(
    [
        pa.field("line", pa.int64(), nullable=False),  # its position, ascending
        pa.field("reason", pa.string(), nullable=False),  # what is wrong, in general: one of `BrokenReason`
        pa.field("error", pa.string(), nullable=False),  # the same as a sentence
        pa.field("payload", pa.string(), nullable=False),
        pa.field("payload_encoding", pa.string(), nullable=False),  # utf-8, or base64 for bytes that are no text
        pa.field("complete", pa.bool_(), nullable=False),  # whether the payload is the whole record, unmasked and uncut
    ]
)
"""Records that are no rows, as they were written."""

BrokenReason = Literal[
    "NotUtf8",
    "NotDecodable",
    "WrongColumnCount",
    "RowTooLong",
    "BrokenQuoting",
    "LoneCarriageReturn",
    "NotJson",
    "NotAnObject",
    "NestedTooDeep",
    "LoneSurrogate",
    "RepeatedKey",
    "NoRecords",
    "WrongPath",
]

UTF8, BASE64 = "utf-8", "base64"
MASK = "***"
"""What stands in the place of a sensitive value."""


class Written(Protocol):
    """The records of a chunk as they stand in their input."""

    def payloads(self, records: Sequence[int], hidden: frozenset[str]) -> pa.Table:
        """The records with these indices, ascending: `payload`, `payload_encoding` and `complete`, as in `BROKEN`.

        Of the columns named in `hidden`, `MASK` stands in the place of the value; the rest is byte for byte as it was
        read, without the line end.
        """


@dataclass(frozen=True)
class ExactCell:
    """A cell that Arrow cannot hold, with its exact text: a numeric NaN, `infinity`, the year 20000.

    The cell is null in the table. The row is bad only if a field uses the column.
    """

    row: int
    """Index of the row in the chunk's table."""
    column: str
    """Name of the column in the chunk's table: c0, c1, …"""
    text: str


@dataclass(frozen=True)
class Chunk:
    """Some rows of an input, parsed.

    `table` has the columns c0, c1, … in the order of what was asked for (text, or the system's own types). `read` is
    how many records there are, by a count that the table had no part in: it must equal the table's rows plus `broken`.
    """

    table: pa.Table
    read: int
    lines: Positions
    broken: pa.Table | None = None
    """Records that are no rows, with the schema `BROKEN`."""
    missing: tuple[int, ...] = ()
    """Indices, ascending, of the records that are not in the table but among `broken`."""
    exact: tuple[ExactCell, ...] = ()
    keys: pa.StringArray | None = None
    """The key of each row as text, where the stream has one: a database row has no position."""
    deleted: pa.BooleanArray | None = None
    """Which rows say that the row of their key was deleted; None: none of them."""
    names: tuple[str, ...] = ()
    """For open columns: the names that the first rows have, in the order in which they appear."""
    absent: frozenset[str] = frozenset()
    """For open columns: the names asked for that no row has."""
    written: Written | None = None
    """The records as they were written, where `Columns.as_written` says that the stream has them."""
    first: int = 0
    """How many rows of the chunk that was parsed come before this one's, which is a part of it."""
    section: str = ""
    """What comes before a position in a locator: the sheet of a workbook, as `Orders!`."""
    number: int = 0
    """How many chunks of its input come before it, in the order of reading."""

    def records_of(self, rows: Iterable[int]) -> list[int]:
        """The indices of the records that the table's rows of these indices are."""
        if not self.missing:
            return [self.first + row for row in rows]
        shifted = [index - position for position, index in enumerate(self.missing)]
        return [row + bisect_right(shifted, row) for row in (self.first + row for row in rows)]

    def part(self, start: int, rows: int) -> "Chunk":
        """The rows from `start` on, at most so many. What is no row comes with the first part."""
        # a table without columns would be cut to more rows than it has
        table = self.table.slice(start, min(rows, self.table.num_rows - start))
        rest = self.table.num_rows - table.num_rows
        return replace(
            self,
            table=table,
            read=table.num_rows if start else self.read - rest,
            broken=None if start else self.broken,
            exact=tuple(
                replace(cell, row=cell.row - start) for cell in self.exact if 0 <= cell.row - start < table.num_rows
            ),
            keys=None if self.keys is None else self.keys.slice(start, table.num_rows),
            deleted=None if self.deleted is None else self.deleted.slice(start, table.num_rows),
            first=self.first + start,
        )

    def lines_of(self, rows: Iterable[int]) -> list[int]:
        """The positions of the table's rows of these indices; ascending."""
        return self.lines.of(self.records_of(rows))


def numbered(table: pa.Table, first: int, exact: Sequence[ExactCell] = ()) -> Chunk:
    """A chunk of rows that are all well-formed, the first at position `first`; what a database or an API yields."""
    return Chunk(table, table.num_rows, Lines(first), exact=tuple(exact))
