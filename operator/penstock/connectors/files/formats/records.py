"""Cutting text into records without parsing them: where each ends, how many there are, which lines are none.

One regular expression per dialect walks over whole well-formed records at C speed and stops at the first that is not.
A line whose quoting is broken is set aside as that one line, and reading goes on with the next: an unclosed quote costs
a line, not the rest of the file.
"""

import re
from collections.abc import Iterator
from dataclasses import dataclass

import pyarrow as pa
import pyarrow.compute as pc

from penstock.connectors.files.formats.block import Block, Broken, Lines
from penstock.connectors.files.spec import CsvFormat

LONGEST = 1 << 20
"""Bytes of the longest line that is a row; a longer one goes to the quarantine, its beginning as its payload."""
SHOWN = 4096
"""Bytes kept of a line that is no row."""
_BLANK = re.compile(rb"^\r?\n", re.MULTILINE)


@dataclass(frozen=True)
class Dialect:
    """Regular expressions over the bytes of one CSV dialect, each of which begins where a record begins.

    `records` matches whole records; `record` one; `flat` matches up to a quoted field that holds a line end, and
    `quoted` that field.
    """

    records: re.Pattern[bytes]
    record: re.Pattern[bytes]
    flat: re.Pattern[bytes]
    quoted: re.Pattern[bytes]
    quote: bytes


def dialect(form: CsvFormat) -> Dialect:
    """The dialect's expressions."""
    characters = (form.delimiter, form.quote)
    d, q, e = (re.escape(character.encode()) for character in (*characters, form.escape))
    begins, ends = rb"(?<![^%b\n])%b" % (d, q), rb"%b(?=[%b\r\n])" % (q, d)
    held, escaped = (rb"[^%b]" % q, q + q) if form.escape == form.quote else (rb"[^%b" % q + e + b"]", e + rb"[\s\S]")
    flat_held = held.replace(b"[^", rb"[^\n", 1)
    bare = rb"[^%b\r\n]++|\r(?=\n)|(?<=[^%b\n])%b" % (q, d, q)
    field, flat_field = (
        rb"%b%b*+(?:%b%b*+)*+%b" % (begins, inside, escaped, inside, ends) for inside in (held, flat_held)
    )
    one = rb"(?:%b|%b)*+\n" % (bare, field)
    flat = rb"(?:%b|\n|%b)*+" % (bare, flat_field)
    return Dialect(
        records=re.compile(rb"(?:%b)*+" % one),
        record=re.compile(one),
        flat=re.compile(flat),
        quoted=re.compile(field),
        quote=form.quote.encode(),
    )


def csv_blocks(content: Iterator[bytes], speaking: Dialect) -> Iterator[Block]:
    """Blocks of whole CSV records. Blank lines are no records and are not counted."""
    return _Cutter(speaking).blocks(content)


def line_blocks(content: Iterator[bytes]) -> Iterator[Block]:
    """Blocks of whole lines, quotes meaning nothing. Blank lines are no records and are not counted."""
    return _Cutter(None).blocks(content)


class _Cutter:
    """Cuts one file; its state is the number of the next line and the records of the block in the making."""

    def __init__(self, speaking: Dialect | None) -> None:
        self._speaking = speaking
        self._line = 1
        self._begin()

    def _begin(self) -> None:
        self._first, self._records = self._line, 0
        self._spans: list[bytes] = []
        self._extra: list[tuple[int, int]] = []
        self._broken: list[Broken] = []

    def blocks(self, content: Iterator[bytes]) -> Iterator[Block]:
        """One block for each piece of content that ends a record."""
        buffer, skipping = b"", False
        for piece in content:
            if skipping:  # the rest of a line that is too long
                end = piece.find(b"\n") + 1
                skipping, piece = end == 0, piece[end:] if end else b""  # noqa: PLW2901 - what is left of it
            lines = piece.rfind(b"\n") + 1  # up to there at once, so that what is whole need not be copied again
            rest = self._cut(b"".join((buffer, memoryview(piece)[:lines])), last=False) + piece[lines:]
            if len(rest) > 2 * LONGEST:
                rest = self._cut(rest, last=False)
            if len(rest) > 2 * LONGEST:
                self._set_aside(rest, f"the line is longer than {LONGEST} bytes")
                rest, skipping = b"", True
            buffer = rest
            yield from self._finished()
        if buffer:
            self._cut(buffer if buffer.endswith(b"\n") else buffer + b"\n", last=True)
        yield from self._finished()

    def _finished(self) -> Iterator[Block]:
        if self._records or self._broken:
            data = self._spans[0] if len(self._spans) == 1 else b"".join(self._spans)
            yield Block(data, self._records, Lines(self._first, tuple(self._extra)), tuple(self._broken))
            self._begin()

    def _cut(self, buffer: bytes, last: bool) -> bytes:
        """Take whole records off the buffer; what is left may be the beginning of one."""
        at = 0
        while at < len(buffer):
            end = self._whole(buffer, at)
            if end > at:
                self._take(buffer[at:end] if at or end < len(buffer) else buffer)
                at = end
                continue
            if not last and len(buffer) - at <= 2 * LONGEST:
                break
            end = buffer.find(b"\n", at) + 1
            if not end:
                break
            self._set_aside(buffer[at:end], self._why(buffer[at:end]))
            at = end
        return buffer[at:]

    def _whole(self, buffer: bytes, at: int) -> int:
        if self._speaking is None or (buffer.find(self._speaking.quote, at) < 0 and b"\r" not in buffer):
            return buffer.rfind(b"\n", at) + 1 or at
        found = self._speaking.records.match(buffer, at)
        return found.end() if found else at

    def _take(self, span: bytes) -> None:
        """Count the records of a well-formed span and note the lines in it that begin none."""
        lines, doubled = _line_ends(span)
        events = self._between(span, doubled)
        counted, position = 0, 0  # records and position up to the event before
        for start, end, inside in events:
            before = span.count(b"\n", position, start)
            counted += before
            self._extra.append((self._records + counted + (1 if inside else 0), span.count(b"\n", start, end)))
            position = end
        self._records += lines - sum(span.count(b"\n", start, end) for start, end, _ in events)
        self._line += lines
        self._spans.append(span)

    def _between(self, span: bytes, doubled: bool) -> list[tuple[int, int, bool]]:
        """Where line ends that end no record lie: (start, end, whether inside a quoted field), in order."""
        fields = [*self._multiline(span)]
        if not (doubled or span.startswith((b"\n", b"\r\n"))):
            return fields
        blank = [(found.start(), found.end(), False) for found in _BLANK.finditer(span)]
        outside = [entry for entry in blank if not any(start <= entry[0] < end for start, end, _ in fields)]
        return sorted([*fields, *outside])

    def _multiline(self, span: bytes) -> Iterator[tuple[int, int, bool]]:
        speaking = self._speaking
        if speaking is None or speaking.quote not in span:
            return
        at = 0
        while (flat := speaking.flat.match(span, at)) and (field := speaking.quoted.match(span, flat.end())):
            yield field.start(), field.end(), True
            at = field.end()

    def _set_aside(self, line: bytes, error: str) -> None:
        self._broken.append(Broken(self._line, line[:SHOWN].decode(errors="replace").rstrip("\r\n"), error))
        self._extra.append((self._records, 1))
        self._line += 1

    def _why(self, line: bytes) -> str:
        if b"\r" in line[:-2]:
            return "a carriage return stands inside the line, outside quotes"
        return "a quote is not closed, or text follows the closing quote"


def _line_ends(span: bytes) -> tuple[int, bool]:
    """How many line ends there are, and whether one follows another at once.

    Counted by Arrow over the bytes as numbers: a quarter of what `bytes.count` and `in` take.
    """
    codes = pa.Array.from_buffers(pa.uint8(), len(span), [None, pa.py_buffer(span)])
    ends = pc.equal(codes, pa.scalar(ord("\n"), pa.uint8()))
    doubled = pc.any(pc.and_(ends.slice(1), ends.slice(0, len(ends) - 1))).as_py()
    return ends.true_count, bool(doubled) or (b"\r" in span and b"\n\r\n" in span)
