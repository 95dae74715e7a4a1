"""Whole records of a text file as bytes, and where each of them stands."""

import re
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import Protocol

import pyarrow as pa
import pyarrow.compute as pc

from penstock.connectors.files.formats.charsets import UTF_8, Charset
from penstock.worker.ports.chunks import BROKEN, UTF8, BrokenReason, Chunk
from penstock.worker.rows import engine

SHOWN = 4096
"""Bytes that are kept of a record that is longer than a row may be."""


class BrokenLines:
    """Collects records that are no rows, in the order of their lines."""

    def __init__(self, charset: Charset = UTF_8) -> None:
        self._charset = charset
        self._columns: dict[str, list[object]] = {name: [] for name in BROKEN.names}

    def __len__(self) -> int:
        return len(self._columns["line"])

    def add(self, line: int, reason: BrokenReason, error: str, written: bytes, *, complete: bool = True) -> None:
        """Add the record that begins on this line; `written` is all of it, or its beginning."""
        payload, encoding = self._charset.payload(written if complete else _whole_characters(written))
        for name, value in zip(BROKEN.names, (line, reason, error, payload, encoding, complete), strict=True):
            self._columns[name].append(value)

    def table(self) -> pa.Table:
        """What was added, with the schema `BROKEN`."""
        return pa.table(self._columns, schema=BROKEN)


def _whole_characters(written: bytes) -> bytes:
    """The bytes without a character that was cut at their end."""
    try:
        written.decode()
    except UnicodeDecodeError as error:
        if error.reason == "unexpected end of data":
            return written[: error.start]
    return written


def line_ends(data: bytes) -> pa.BooleanArray:
    """For each byte whether it is a line end. Counted by Arrow: a quarter of what `bytes.count` and `in` take."""
    codes = pa.Array.from_buffers(pa.uint8(), len(data), [None, pa.py_buffer(data)])
    return pc.equal(codes, pa.scalar(ord("\n"), pa.uint8()))


def without_line_end(record: bytes) -> bytes:
    """The record without the one line end that ends it."""
    return record.removesuffix(b"\n").removesuffix(b"\r")


Work = Callable[[tuple[str, ...], engine.Connection], Chunk]
"""Parses one block into the columns asked for; any thread may do it, each with its own connection."""
Mask = Callable[[bytes, frozenset[str]], bytes]
"""A record with the values of some columns masked."""


@dataclass(frozen=True)
class Block:
    """Consecutive whole records, counted.

    `data` holds them, blank lines among them included; the lines that are part of no record are left out of it and
    stand in `gaps`: (offset in `data`, how many lines lie before it). `first` is the line on which `data` begins.
    `record` is the expression of one record; None where each line that is not blank is one. `charset` is how the file
    encodes what is UTF-8 here. `until` is how many bytes of the text had been cut when the block was.
    """

    data: bytes
    records: int
    first: int
    gaps: tuple[tuple[int, int], ...] = ()
    broken: BrokenLines = field(default_factory=BrokenLines)
    record: re.Pattern[bytes] | None = None
    charset: Charset = UTF_8
    until: int = 0

    @property
    def read(self) -> int:
        """How many records were read, those that are no rows included."""
        return self.records + len(self.broken)

    @cached_property
    def spans(self) -> list[tuple[int, int]]:
        """Where each record begins and ends in `data`."""
        if self.record is not None:
            every = [match.span() for match in self.record.finditer(self.data)]
        else:
            ends = [end + 1 for end in self._line_ends.to_pylist()]
            every = [*zip([0, *ends[:-1]], ends, strict=True)] if ends else []
        blank = (b"\n", b"\r\n")
        return [(start, end) for start, end in every if end - start > 2 or self.data[start:end] not in blank]

    @cached_property
    def _line_ends(self) -> pa.UInt64Array:
        """The offsets of all line ends."""
        return pc.indices_nonzero(line_ends(self.data))

    @cached_property
    def _ends(self) -> memoryview | None:
        """The offsets of all line ends, where each ends a record: finding a few records then needs no list of all."""
        if self.record is not None:
            return None
        ends = self._line_ends
        return memoryview(ends.buffers()[1]).cast("Q") if len(ends) == self.records else None

    @property
    def has_rows_alone(self) -> bool:
        """Whether each line of `data` is a record: no line is blank, and no record has several."""
        return self._ends is not None

    def span(self, record: int) -> tuple[int, int]:
        """Where the record of this index begins and ends in `data`."""
        if self._ends is None:
            return self.spans[record]
        return (self._ends[record - 1] + 1 if record else 0), self._ends[record] + 1

    def written(self, record: int) -> bytes:
        """The record of this index without its line end."""
        start, end = self.span(record)
        return without_line_end(self.data[start:end])

    @cached_property
    def _lines(self) -> pa.LargeBinaryArray:
        """All lines with their line ends, where each is a record; over the bytes of `data`."""
        ends = self._line_ends
        offsets = pa.concat_arrays([pa.array([0], pa.int64()), pc.add(ends, 1).cast(pa.int64())])
        buffers = [None, offsets.buffers()[1], pa.py_buffer(self.data)]
        return pa.LargeBinaryArray.from_buffers(pa.large_binary(), len(ends), buffers)

    def texts(self, records: Sequence[int]) -> pa.StringArray | None:
        """The records of these indices without their line ends; None where records have several lines, or no UTF-8."""
        if not self.has_rows_alone:
            return None
        lines = self._lines.take(pa.array(records, pa.int64())).cast(pa.binary())
        lines = pc.binary_slice(lines, start=0, stop=-1)
        returns = pc.ends_with(lines, pattern=b"\r")
        if returns.true_count:
            lines = pc.if_else(returns, pc.binary_slice(lines, start=0, stop=-1), lines)
        try:
            return lines.cast(pa.string())
        except pa.ArrowInvalid:
            return None

    def of(self, records: Iterable[int]) -> list[int]:
        """The lines on which the records with these indices, ascending, begin."""
        if self.has_rows_alone and not self.gaps:
            return [self.first + record for record in records]
        lines, line, between, at, gap = list[int](), self.first, 0, 0, 0
        whole = self._ends is not None  # then each line is a record, and nothing need be counted
        for record in records:
            start = self.span(record)[0]
            if whole:
                line = self.first + record
            else:
                line += self.data.count(b"\n", at, start)
                at = start
            while gap < len(self.gaps) and self.gaps[gap][0] <= start:
                between += self.gaps[gap][1]
                gap += 1
            lines.append(line + between)
        return lines

    def without_first(self) -> "Block":
        """The same without its first record, which no gap precedes."""
        end = self.spans[0][1]
        gaps = tuple((offset - end, lines) for offset, lines in self.gaps)
        first = self.first + self.data.count(b"\n", 0, end)
        return Block(self.data[end:], self.records - 1, first, gaps, self.broken, self.record, self.charset)


class CutRecords(Protocol):
    """Records that were cut: what parsing, positions and payloads need of them."""

    @property
    def data(self) -> bytes: ...
    @property
    def spans(self) -> list[tuple[int, int]]: ...
    @property
    def records(self) -> int: ...
    @property
    def read(self) -> int: ...
    @property
    def broken(self) -> BrokenLines: ...
    @property
    def charset(self) -> Charset: ...
    def of(self, records: Iterable[int]) -> list[int]: ...
    def written(self, record: int) -> bytes: ...


def payloads(block: CutRecords, records: Sequence[int]) -> tuple[pa.Array, pa.Array]:
    """The records with these indices as texts, and the encoding of each; see `Charset.payload`."""
    texts = block.texts(records) if isinstance(block, Block) and block.charset.is_utf8 else None
    if texts is not None:
        return texts, pa.repeat(UTF8, len(texts))
    return block.charset.payloads([block.written(record) for record in records])


@dataclass(frozen=True)
class WrittenRecords:
    """A block's records as payloads of bad rows."""

    block: CutRecords
    mask: Mask

    def payloads(self, records: Sequence[int], hidden: frozenset[str]) -> pa.Table:
        """See `chunks.Written`."""
        if not hidden:
            texts, encodings = payloads(self.block, records)
            complete = pa.repeat(True, len(records))
            return pa.table({"payload": texts, "payload_encoding": encodings, "complete": complete})
        written = [self.block.written(record) for record in records]
        shown = [self.mask(record, hidden) for record in written]
        texts, encodings = self.block.charset.payloads(shown)
        complete = pa.array([after == before for after, before in zip(shown, written, strict=True)], pa.bool_())
        return pa.table({"payload": texts, "payload_encoding": encodings, "complete": complete})
