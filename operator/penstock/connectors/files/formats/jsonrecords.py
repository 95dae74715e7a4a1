"""Rows that lie deeper in JSON than the line or element they come in, with the fields of what is around them.

`$.orders[*].lines[*]` makes a row of each element of `lines`; `$.orders[*].id` then is a column with the id of the
order around it. Each record (a line, or an element of a document) is parsed once; its rows are walked to in what Python
made of it, and found in its text only where a cell is a list or object, or a payload is shown.
"""

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Any

import pyarrow as pa

from penstock.connectors.files.formats import jsonlines
from penstock.connectors.files.formats.block import BrokenLines, CutRecords, WrittenRecords
from penstock.connectors.files.formats.charsets import UTF_8, Charset
from penstock.connectors.files.formats.csvrows import with_faults
from penstock.connectors.files.formats.jsonvalues import (
    NotARow,
    Repeated,
    elements,
    members,
    parse,
    span_of,
    whole_characters,
)  # fmt: skip
from penstock.language import paths
from penstock.language.errors import InvalidSpec
from penstock.language.paths import Step
from penstock.worker.ports.chunks import BrokenReason, Chunk

Steps = tuple[Step, ...]
_ABSENT = object()


@dataclass(frozen=True)
class Rows:
    """Where rows lie. `around` are the steps from `$` to the record that is cut, `inside` those from it to a row.

    Each of the two ends in [*] or is empty. `what` is what messages call the record.
    """

    around: Steps = ()
    inside: Steps = ()
    what: str = "line"


@dataclass(frozen=True)
class _Column:
    """A key that is asked for. `level`: 0 is the record, 1 an element of the first list in it, -1 the row."""

    key: str
    level: int
    steps: Steps


def is_nested(rows: Rows, keys: Sequence[str]) -> bool:
    """Whether rows have to be read here."""
    return bool(rows.around or rows.inside) or any(_path(rows, key) is not None for key in keys)


def check_keys(rows: Rows, keys: Sequence[str]) -> None:
    """Raise InvalidSpec where a key is a path from `$` that does not lead through what is around the rows."""
    for key in keys:
        _column(rows, key)


def _path(rows: Rows, key: str) -> paths.Path | None:
    """The path that a key is; one in quotes is a name, unless it begins with `$` where rows lie in something."""
    around = paths.parse(key) if rows.around or rows.inside else None
    return paths.of_column(key) or (around if around is not None and around.root == "$" else None)


def _column(rows: Rows, key: str) -> _Column:
    path = _path(rows, key)
    if path is None:
        return _Column(key, -1, (key,))
    if path.root == "@":
        return _Column(key, -1, path.steps)
    every = path.steps
    lists = [place for place, step in enumerate(every) if step is None]
    through = every[: lists[-1] + 1] if lists else ()
    whole = rows.around + rows.inside
    level = len(lists) - rows.around.count(None)
    if through != whole[: len(through)] or level < 0 or len(through) == len(every):
        there = paths.Path("$", whole) if whole else "$"
        around = (
            f" Fields around the rows begin with a part of it that ends in [*]{' or $' if not rows.around else ''}."
        )
        raise InvalidSpec(f"{path.shown} does not lead to a field of {there} or of what is around it.{around}")
    return _Column(key, level, every[len(through) :])


@dataclass(frozen=True)
class _Place:
    """A row in its block: the index of its record, and which of the record's rows it is."""

    record: int
    row: int


class _RowsOfBlock:
    """The rows of a block as records: what Positions, payloads and counts ask of a block."""

    def __init__(self, block: CutRecords, inside: Steps, places: Sequence[_Place], read: int) -> None:
        self._block, self._inside, self._places, self._read = block, inside, places, read

    data, spans = b"", list[tuple[int, int]]()  # rows have no bytes of their own: they lie in the records

    @property
    def broken(self) -> BrokenLines:
        return self._block.broken

    @property
    def charset(self) -> Charset:
        return UTF_8

    @property
    def records(self) -> int:
        return len(self._places)

    @property
    def read(self) -> int:
        """How many rows were read, by a count over the lists."""
        return self._read + len(self._block.broken)

    def of(self, records: Iterable[int]) -> list[int]:
        """The positions of the records that the rows with these indices, ascending, lie in."""
        return self._block.of(self._places[index].record for index in records)

    def written(self, record: int) -> bytes:
        """The row of this index as it stands in its record; all of the record where it has no such row."""
        place = self._places[record]
        whole = self._block.written(place.record)
        if not self._inside:
            return whole
        try:
            line = whole.decode()
            parse(whole)
        except (UnicodeDecodeError, NotARow):
            return whole
        spans = [*_spans(line, (_start(line),), self._inside)]
        span = spans[place.row]
        return whole if span is None else line[span[-2] : span[-1]].encode()


def _start(line: str) -> int:
    return len(line) - len(line.lstrip(" \t\r\n"))


def chunk(block: CutRecords, keys: Sequence[str], rows: Rows) -> Chunk:
    """The rows in the block's records as columns of text c0, c1, …, one for each key."""
    reading = _Reading([_column(rows, key) for key in keys], rows)
    for record, (start, end) in enumerate(block.spans):
        reading.record(record, block.data[start:end])
    table = reading.table()
    expanded = _RowsOfBlock(block, rows.inside, reading.places, reading.read)
    written = _WrittenRows(expanded, jsonlines.masked, any(column.level >= 0 for column in reading.columns))
    parsed = with_faults(expanded, table, reading.faults, written)
    return replace(parsed, names=(*reading.names,), absent=frozenset(reading.absent))


@dataclass(frozen=True)
class _WrittenRows(WrittenRecords):
    """Rows as payloads; one whose columns are also of what is around it is not complete."""

    needs_more: bool = False

    def payloads(self, records: Sequence[int], hidden: frozenset[str]) -> pa.Table:
        payloads = super().payloads(records, hidden)
        if not self.needs_more:
            return payloads
        return payloads.set_column(2, "complete", pa.repeat(pa.scalar(False), payloads.num_rows))


class _Reading:
    """Rows being collected from the records of a block."""

    def __init__(self, columns: Sequence[_Column], rows: Rows) -> None:
        self.columns, self._rows = columns, rows
        self.cells: list[list[str | None]] = [[] for _ in columns]
        self.faults: dict[int, tuple[BrokenReason, str]] = {}
        self.places: list[_Place] = []
        self.read = 0
        self.absent = {column.key for column in columns}
        self.names = dict[str, None]()

    def record(self, index: int, written: bytes) -> None:
        """Add the rows of a record."""
        inside, what = self._rows.inside, self._rows.what
        try:
            parsed = parse(written, what)
        except NotARow as bad:
            self.read += 1
            self._fault(_Place(index, 0), bad)
            return
        self.read += _count(parsed, inside)
        text = _Text(written, inside)
        for number, row in enumerate(_walk(parsed, (parsed,), inside)):
            place = _Place(index, number)
            if isinstance(row, NotARow):
                self._fault(place, row)
                continue
            try:
                values = self._values(row, text, number)
            except NotARow as bad:
                self._fault(place, bad)
                continue
            self.places.append(place)
            for cells, value in zip(self.cells, values, strict=True):
                cells.append(value)
            if len(self.places) < jsonlines.NAMED and len(self.names) < jsonlines.NAMES:
                self.names.update(dict.fromkeys(row[-1]))

    def _fault(self, place: _Place, bad: NotARow) -> None:
        self.faults[len(self.places)] = bad.reason, bad.error
        self.places.append(place)

    def _values(self, row: tuple[Any, ...], text: "_Text", number: int) -> list[str | None]:
        what = "element" if self._rows.inside else self._rows.what
        if not isinstance(row[-1], dict):
            raise NotARow("NotAnObject", f"the {what} is JSON, and not an object")
        values = list[str | None]()
        for column in self.columns:
            value = _value(row[column.level], column)
            if value is not _ABSENT:
                self.absent.discard(column.key)
            values.append(_cell(value, column, text, number))
        return values

    def table(self) -> pa.Table:
        """The rows that are whole; without a column there is still one for each."""
        if not self.columns:
            return pa.table({"line": pa.nulls(len(self.places) - len(self.faults))})
        return pa.table({f"c{place}": pa.array(cells, pa.string()) for place, cells in enumerate(self.cells)})


class _Text:
    """The text of a record, in which rows are looked for at most once."""

    def __init__(self, written: bytes, inside: Steps) -> None:
        self._written, self._inside = written, inside
        self._line: str | None = None
        self._spans: list[tuple[int, ...] | None] = []
        self._seen: dict[tuple[int, Steps], str] = {}

    def of(self, column: _Column, row: int) -> str:
        """What stands in a column of a row that is a list or object."""
        if self._line is None:
            self._line = self._written.decode()
            begins = _start(self._line)
            self._spans = [*_spans(self._line, (begins,), self._inside)] if self._inside else [(begins, 0)]
        starts = self._spans[row]
        assert starts is not None  # noqa: S101 - only rows that are there are asked about
        start = starts[:-1][column.level]
        if (start, column.steps) not in self._seen:
            if column.level < 0:  # each row is asked about once
                return self._cut(start, column.steps)
            self._seen = {key: text for key, text in self._seen.items() if key[0] == start}
            self._seen[start, column.steps] = self._cut(start, column.steps)
        return self._seen[start, column.steps]

    def _cut(self, start: int, steps: Steps) -> str:
        assert self._line is not None  # noqa: S101 - see `of`
        return self._line[slice(*span_of(self._line, start, steps))]


def _cell(value: Any, column: _Column, text: _Text, row: int) -> str | None:
    if value is _ABSENT or value is None:
        return None
    if value is True or value is False:
        return "true" if value else "false"
    if isinstance(value, dict | list):
        return text.of(column, row)
    string: str = value
    if not string.isascii():
        whole_characters(string)
    return string


def _value(value: Any, column: _Column) -> Any:
    """What the steps lead to; `_ABSENT` where a name or an index is not there. Raises NotARow."""
    for step in column.steps:
        if value is None:
            return _ABSENT
        kind, called = (dict, "an object") if isinstance(step, str) else (list, "a list")
        if not isinstance(value, kind):
            shown = paths.of_column(column.key)
            raise NotARow("WrongPath", f"{shown.shown if shown else column.key} needs {called} where there is none")
        if isinstance(value, Repeated) and step in value.names:
            raise NotARow("RepeatedKey", f'the key "{step}" occurs more than once in the object')
        try:
            value = value[step]  # type: ignore[index] # a name or an index, as `kind` says
        except (KeyError, IndexError):
            return _ABSENT
    return value


def _walk(value: Any, around: tuple[Any, ...], steps: Steps) -> Iterator[tuple[Any, ...] | NotARow]:
    """For each row what is around it and itself, the record first; where there is no list of rows, why."""
    if not steps:
        yield around
        return
    for place, step in enumerate(steps):
        if step is None:
            if not isinstance(value, list):
                yield NotARow("NoRecords", f"{_shown(steps[:place])} is not a list")
                return
            for element in value:
                yield from _walk(element, (*around, element), steps[place + 1 :])
            return
        if not isinstance(value, dict):
            yield NotARow("NoRecords", f"{_shown(steps[:place])} is not an object")
            return
        if step not in value:
            yield NotARow("NoRecords", f"{_shown(steps[: place + 1])} is not there")
            return
        if isinstance(value, Repeated) and step in value.names:
            yield NotARow("RepeatedKey", f'the key "{step}" occurs more than once in the object')
            return
        value = value[step]


def _shown(steps: Steps) -> str:
    return paths.Path("@", steps).shown if steps else "the record"


def _count(value: Any, steps: Steps) -> int:
    """How many rows there are, what cannot be walked counted as one."""
    for place, step in enumerate(steps):
        if step is None:
            rest = steps[place + 1 :]
            if not isinstance(value, list):
                return 1
            return sum(_count(element, rest) for element in value) if rest else len(value)
        if not isinstance(value, dict) or step not in value:
            return 1
        if isinstance(value, Repeated) and step in value.names:
            return 1
        value = value[step]
    return 1


def _spans(line: str, starts: tuple[int, ...], steps: Steps) -> Iterator[tuple[int, ...] | None]:
    """For each row that `_walk` yields where the record, what is in it, and the row begin, and where the row ends."""
    at = starts[-1]
    for place, step in enumerate(steps):
        if step is None:
            rest = steps[place + 1 :]
            for start, end in elements(line, at) if line[at] == "[" else ():
                if rest:
                    yield from _spans(line, (*starts, start), rest)
                else:
                    yield (*starts, start, end)
            if line[at] != "[":
                yield None
            return
        named = [member.start for member in members(line, at) if member.name == step] if line[at] == "{" else []
        if len(named) != 1:
            yield None
            return
        at = named[0]
