"""Cutting text into records without parsing them: where each ends, how many there are, which lines are none.

One regular expression per dialect walks over whole well-formed records at C speed and stops at the first that is not.
A line whose quoting is broken is one bad line, and reading continues with the next: an unclosed quote costs
a line, not the rest of the file.

What a record is depends on its own bytes and those after it, never on where the pieces of the file end: nothing is
decided before `Limits.sought` bytes from the record's beginning, or the end of the file, have been seen. So the memory
that cutting takes is bounded by `sought` plus a piece, and each byte is looked at a bounded number of times.
"""

from collections.abc import Iterator
from dataclasses import dataclass

import pyarrow.compute as pc

from penstock.connectors.files.formats.block import SHOWN, Block, BrokenLines, line_ends, without_line_end
from penstock.connectors.files.formats.charsets import UTF_8, Charset
from penstock.connectors.files.formats.dialect import Dialect
from penstock.worker.ports.chunks import BrokenReason

LONGEST = 1 << 20
"""Bytes of the longest row, without its line end; a longer one goes to the quarantine, its beginning as its payload."""


@dataclass(frozen=True)
class Limits:
    """Sizes in bytes: of a `block`, and so of the pieces in which a file is cut; of the `longest` row; and within how
    many bytes of a row's beginning its last quote is `sought`. `rows` is how many records a block has at most, about.
    """

    block: int = 8 << 20
    longest: int = LONGEST
    sought: int = 16 << 20
    rows: int = 1 << 17

    @property
    def window(self) -> int:
        """Bytes that are looked at together."""
        return min(2 * self.rows, 256 << 10, self.block, self.longest)


CSV_LIMITS = Limits()
JSON_LIMITS = Limits(block=4 << 20, rows=1 << 14)
"""Lines of JSON may lack most keys that are asked for: fewer of them bound the cells of a chunk."""


@dataclass(frozen=True)
class Beginning:
    """Where a text begins: the number of its first line; and how the file encodes it."""

    line: int = 1
    charset: Charset = UTF_8


START = Beginning()


def csv_blocks(
    content: Iterator[bytes], speaking: Dialect, limits: Limits = CSV_LIMITS, beginning: Beginning = START
) -> Iterator[Block]:
    """Blocks of whole CSV records. Blank lines are no records and are not counted."""
    return _Cutter(speaking, limits, beginning).blocks(content)


def after_lines(content: Iterator[bytes], lines: int) -> Iterator[bytes]:
    """The content after so many lines, whatever stands in them."""
    for piece in content:
        at = 0
        while lines and (end := piece.find(b"\n", at) + 1):
            at, lines = end, lines - 1
        if not lines:
            yield piece[at:] if at else piece


def line_blocks(content: Iterator[bytes], limits: Limits = JSON_LIMITS) -> Iterator[Block]:
    """Blocks of whole lines, quotes meaning nothing. Blank lines are no records and are not counted."""
    return _Cutter(None, limits).blocks(content)


def _pieces(content: Iterator[bytes], size: int) -> Iterator[tuple[bytes, bool]]:
    """The content in pieces of at least `size` bytes, each with whether it is the last; the last ends in a line end."""
    waiting, length, ended = list[bytes](), 0, True
    for piece in content:
        if not piece:
            continue
        waiting.append(piece)
        length += len(piece)
        ended = piece.endswith(b"\n")
        if length >= size:
            yield b"".join(waiting), False
            waiting, length = [], 0
    yield b"".join(waiting) + (b"" if ended else b"\n"), True


class _Cutter:
    """Cuts one file; its state is the number of the next line and the records of the block in the making."""

    def __init__(self, speaking: Dialect | None, limits: Limits, beginning: Beginning = START) -> None:
        self._speaking, self._limits = speaking, limits
        self._line, self._charset = beginning.line, beginning.charset
        self._skipping = False
        self._buffer, self._last = b"", False
        self._before = 0
        """Bytes of the text before the buffer."""
        self._begin()

    def _begin(self) -> None:
        self._first, self._records, self._size, self._flat = self._line, 0, 0, True
        self._spans: list[bytes] = []
        self._gaps: list[tuple[int, int]] = []
        self._broken = BrokenLines(self._charset)

    def blocks(self, content: Iterator[bytes]) -> Iterator[Block]:
        """The file's records, in order."""
        for piece, last in _pieces(content, self._limits.block):
            self._buffer, self._last = self._buffer + piece if self._buffer else piece, last
            at = 0
            while (end := self._next(at)) > at:
                at = end
                if self._size >= self._limits.block or self._records + len(self._broken) >= self._limits.rows:
                    yield self._block(at)
            self._buffer, self._before = self._buffer[at:], self._before + at
            if self._records or len(self._broken):
                yield self._block(0)

    def _block(self, at: int) -> Block:
        data = self._spans[0] if len(self._spans) == 1 else b"".join(self._spans)
        record = self._speaking.record if self._speaking is not None and not self._flat else None
        until = self._before + at
        block = Block(data, self._records, self._first, tuple(self._gaps), self._broken, record, self._charset, until)
        self._begin()
        return block

    def _next(self, at: int) -> int:
        """Take the next records, or set the next line aside; where that ends, or `at` if more must be read first."""
        if self._skipping:
            end = self._buffer.find(b"\n", at) + 1
            self._skipping = not end
            return end or len(self._buffer)
        end = self._run(at)
        if end > at:
            self._take(at, end)
            return end
        if at == len(self._buffer):
            return at
        return self._line_by_line(at) if self._speaking is None else self._careful(at, self._speaking)

    def _run(self, at: int) -> int:
        """The end of the whole records within the next window that have no line ends in their fields."""
        buffer, stop = self._buffer, min(at + self._limits.window, len(self._buffer))
        speaking = self._speaking
        if speaking is None or (buffer.find(speaking.quote, at, stop) < 0 and _ends_lines(buffer, at, stop)):
            end = buffer.rfind(b"\n", at, stop) + 1 or at
        else:
            match = speaking.run.match(buffer, at, stop)
            end = match.end() if match else at
        return end

    def _line_by_line(self, at: int) -> int:
        """The line that is longer than a window."""
        end = self._buffer.find(b"\n", at) + 1
        if end:
            self._long(at, end) if self._too_long(at, end) else self._take(at, end)
            return end
        return self._skip(at) if len(self._buffer) - at > self._limits.longest + 2 else at

    def _careful(self, at: int, speaking: Dialect) -> int:
        """The record that is longer than a window, has line ends in its fields, or is none."""
        limit = at + self._limits.sought
        match = speaking.record.match(self._buffer, at, min(limit, len(self._buffer)))
        if match:
            end = match.end()
            if self._too_long(at, end):
                self._long(at, end)
            else:
                self._take(at, end, flat=self._buffer.find(b"\n", at) == end - 1)
            return end
        if not self._last and len(self._buffer) < limit:
            return at
        end = self._buffer.find(b"\n", at, limit) + 1
        if not end:
            return self._skip(at)
        if self._too_long(at, end):
            self._long(at, end)
        else:
            reason, error = _why(self._buffer[at:end], speaking)
            self._set_aside(reason, error, without_line_end(self._buffer[at:end]))
        return end

    def _too_long(self, at: int, end: int) -> bool:
        ending = 2 if self._buffer.startswith(b"\r\n", end - 2) else 1
        return end - at - ending > self._limits.longest

    def _skip(self, at: int) -> int:
        self._long(at, at + 1)
        self._skipping = True
        return at + 1

    def _long(self, at: int, end: int) -> None:
        lines = max(self._buffer.count(b"\n", at, end), 1)
        error = f"the row is longer than {self._limits.longest} bytes"
        beginning = self._buffer[at : at + min(SHOWN, self._limits.longest)]
        self._set_aside("RowTooLong", error, beginning, lines=lines, complete=False)

    def _take(self, at: int, end: int, flat: bool = True) -> None:
        """Count the records of a well-formed span."""
        span = self._buffer[at:end] if at or end < len(self._buffer) else self._buffer
        lines, blank = _counted(span) if flat else (span.count(b"\n"), 0)
        self._line += lines
        if flat and lines == blank:  # nothing but blank lines: they need not be kept
            self._gap(lines)
            return
        self._records += lines - blank if flat else 1
        self._flat = self._flat and flat
        self._spans.append(span)
        self._size += len(span)

    def _gap(self, lines: int) -> None:
        if not self._records and not len(self._broken):
            self._first = self._line
        elif self._gaps and self._gaps[-1][0] == self._size:
            self._gaps[-1] = self._size, self._gaps[-1][1] + lines
        else:
            self._gaps.append((self._size, lines))

    def _set_aside(
        self, reason: BrokenReason, error: str, written: bytes, *, lines: int = 1, complete: bool = True
    ) -> None:
        self._broken.add(self._line, reason, error, written, complete=complete)
        self._line += lines
        self._gap(lines)


def _ends_lines(buffer: bytes, at: int, stop: int) -> bool:
    """Whether each carriage return is part of a line end."""
    returns = buffer.count(b"\r", at, stop) if buffer.find(b"\r", at, stop) >= 0 else 0
    return not returns or returns == buffer.count(b"\r\n", at, stop)


def _why(line: bytes, speaking: Dialect) -> tuple[BrokenReason, str]:
    if line.endswith(b"\r\r\n"):
        return "LoneCarriageReturn", "the line ends in CR CR LF, and must end in LF or CRLF"
    if b"\r" in without_line_end(line):
        return "LoneCarriageReturn", "a carriage return stands inside the line, outside quotes"
    error = "a quote is not closed, or text follows the closing quote"
    if speaking.escaped is None and b"\\" + speaking.quote in line:
        error += f"; if \\{speaking.quote.decode()} stands for a quote, set format.csv.escape"
    return "BrokenQuoting", error


def _counted(span: bytes) -> tuple[int, int]:
    """How many lines a span of whole lines has, and how many of them are blank."""
    if b"\r" in span and (b"\n\r\n" in span or span.startswith(b"\r\n")):  # seeking one byte is much cheaper
        span = span.replace(b"\r\n", b"\n")
    ends = line_ends(span)
    blank = pc.and_(ends.slice(1), ends.slice(0, len(ends) - 1)).true_count + span.startswith(b"\n")
    return ends.true_count, blank
