"""Cutting a JSON document into the elements of one of its lists, without parsing them.

The document is read once, in pieces. What is on the way to the list is followed step by step; values beside the way are
parsed and dropped. Each element is cut by its brackets and quotes, and is parsed by itself later: one that is no JSON
inside is one bad row. A document whose brackets, commas or names on the way are wrong is refused as a whole: nobody
knows where its next element begins.
"""

import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from typing import NoReturn

from penstock.connectors.files.formats import jsonvalues
from penstock.connectors.files.formats.block import SHOWN, BrokenLines
from penstock.connectors.files.formats.charsets import UTF_8, Charset
from penstock.language.errors import InvalidSpec
from penstock.language.paths import Step

LARGEST = 16 << 20
"""Bytes of the largest value beside the list, and of the largest element that holds rows itself."""
_BYTES, _ELEMENTS = 2 << 20, 1 << 13
"""Bytes and elements of a block, about."""
_REMEDY = (
    "Name the list that has the rows in format.json.records, for instance $.data[*], or set lines: true if each line "
    "is one object."
)
_BEGINNINGS = {b"{": "an object", b"[": "a list", b'"': "a text", b"": "empty", b"<": "HTML or XML"}
"""What begins with each character."""
_SPACE = re.compile(rb"[ \t\r\n]*+")
_STRING = rb'"(?:[^"\\]++|\\[\s\S])*+"'
_TEXT = re.compile(_STRING)
_SCALAR = re.compile(rb"[^][{}\",: \t\r\n]++")
_REST_OF_TEXT = re.compile(rb'(?:[^"\\]++|\\[\s\S])*+')
_SIGN = re.compile(rb'["\[\]{}]')


def _nested(levels: int) -> bytes:
    """The expression of a list or object with at most so many levels in it."""
    inner = rb"|" + _nested(levels - 1) if levels else b""
    return rb"[\[{](?:[^][{}\"]++|" + _STRING + inner + rb")*+[\]}]"


_CONTAINER = re.compile(_nested(5))


@dataclass(frozen=True)
class Elements:
    """Consecutive elements of a list, counted: their bytes one after another. `first` is the number of the first."""

    data: bytes
    spans: list[tuple[int, int]]
    first: int
    numbers: list[int]
    """The number of each element in the list, from 1: elements that are too long are not among them."""
    broken: BrokenLines = field(default_factory=BrokenLines)
    charset: Charset = UTF_8
    until: int = 0
    """How many bytes of the document had been cut when they were."""

    @property
    def records(self) -> int:
        """How many elements there are, without those that are too long."""
        return len(self.spans)

    @property
    def read(self) -> int:
        """How many elements were read, those that are no rows included."""
        return self.records + len(self.broken)

    def written(self, record: int) -> bytes:
        """The element of this index, as it stands in the file."""
        start, end = self.spans[record]
        return self.data[start:end]

    def of(self, records: Iterable[int]) -> list[int]:
        """The numbers in the list of the elements with these indices."""
        return [self.numbers[record] for record in records]


def blocks(content: Iterator[bytes], steps: tuple[Step, ...], longest: int, url: str) -> Iterator[Elements]:
    """The elements of the list at the end of these steps, the last of which is None. `longest`: bytes of an element.

    Raises InvalidSpec (WrongSpecification) where the text is no JSON, or there is no such list.
    """
    return _Document(content, longest, url).blocks(steps)


class _Document:
    """One document being read. `_buffer` has what was read, `_at` is where reading is in it.

    `_before` is how many bytes came before the buffer.
    """

    def __init__(self, content: Iterator[bytes], longest: int, url: str) -> None:
        self._content, self._longest, self._url = content, longest, url
        self._buffer, self._at, self._line = b"", 0, 1
        self._before = self._count = 0
        self._missing: str | None = None

    def blocks(self, steps: tuple[Step, ...]) -> Iterator[Elements]:
        """All of it, and the end of the document."""
        if not self._next():  # an empty file
            return
        yield from self._value(steps, "the document")
        if self._next():
            self._refuse("text follows the end of the document")
        if self._missing is not None:
            message = f'{self._url} has no "{self._missing}", which format.json.records names.'
            raise InvalidSpec(message, "WrongSpecification")

    def _value(self, steps: tuple[Step, ...], where: str) -> Iterator[Elements]:
        """The value that begins here, which is on the way."""
        begins = self._next()
        wanted = b"[" if steps[0] is None else b"{"
        if begins != wanted:
            kind = "a list" if steps[0] is None else "an object"
            self._refuse(f"{where} is {_BEGINNINGS.get(begins, 'a single value')}, not {kind}", begins=begins)
        yield from self._list() if steps[0] is None else self._object(steps)

    def _object(self, steps: tuple[Step, ...]) -> Iterator[Elements]:
        self._take(1)
        seen = False
        while True:
            if self._next() == b"}":
                break
            name = self._name()
            if name == steps[0]:
                if seen:
                    self._refuse(f'"{name}" occurs more than once in one object')
                seen = True
                yield from self._value(steps[1:], f'"{name}"')
            else:
                self._skip_value()
            sign = self._next()
            if sign == b"}":
                break
            if sign != b",":
                self._refuse("a comma or } is missing")
            self._take(1)
            if self._next() == b"}":
                self._refuse("a comma stands before }")
        self._take(1)
        if not seen:
            self._missing = str(steps[0])

    def _name(self) -> str:
        start, end = self._text()
        try:
            name = jsonvalues.value(self._buffer[start:end])
        except jsonvalues.NotARow as error:
            self._refuse(error.error)
        self._at = end
        if self._next() != b":":
            self._refuse("a colon is missing after a name")
        self._take(1)
        return str(name)

    def _text(self) -> tuple[int, int]:
        """Where the text that begins here begins and ends."""
        if self._next() != b'"':
            self._refuse("a name in quotes is missing")
        end = self._end(LARGEST)
        return end if end is not None else self._refuse("a name is too long")

    def _skip_value(self) -> None:
        """Leave out a value beside the way, which must be JSON."""
        if self._next() in (b"", b",", b"}", b"]", b":"):
            self._refuse("a value is missing")
        span = self._end(LARGEST)
        if span is None:
            self._refuse(f"a value beside the records is larger than {LARGEST} bytes")
        try:
            jsonvalues.value(self._buffer[slice(*span)])
        except jsonvalues.NotARow as error:
            self._refuse(error.error)
        self._at = span[1]

    def _list(self) -> Iterator[Elements]:
        """The elements of the list that begins here, in blocks."""
        self._take(1)
        parts, spans, numbers, size, broken = list[bytes](), list[tuple[int, int]](), list[int](), 0, BrokenLines()
        first = self._count + 1
        ended = self._next() == b"]"
        while not ended:
            if self._next() in (b"", b",", b"]", b"}", b":"):
                comma = self._count and self._next() == b"]"
                self._refuse("a comma stands before ]" if comma else "an element is missing in the list")
            self._count += 1
            element = self._element(broken)
            if element is not None:
                parts.append(element)
                spans.append((size, size + len(element)))
                numbers.append(self._count)
                size += len(element)
            sign = self._next()
            if sign not in (b",", b"]"):
                self._refuse("a comma or ] is missing after an element")
            self._take(1)
            ended = sign == b"]"
            if size >= _BYTES or len(spans) + len(broken) >= _ELEMENTS or ended:
                until = self._before + self._at
                yield Elements(b"".join(parts), spans, first, numbers, broken, until=until)
                parts, spans, numbers, size, broken = [], [], [], 0, BrokenLines()
                first = self._count + 1
        if not self._count:
            self._take(1)

    def _element(self, broken: BrokenLines) -> bytes | None:
        """The element that begins here; None where it is too long, and was added to `broken`."""
        beginning = self._buffer[self._at : self._at + SHOWN]
        span = self._end(self._longest)
        if span is None:
            error = f"the row is longer than {self._longest} bytes"
            broken.add(self._count, "RowTooLong", error, beginning, complete=False)
            return None
        self._at = span[1]
        return self._buffer[span[0] : span[1]]

    def _end(self, longest: int) -> tuple[int, int] | None:
        """Where the value that begins here begins and ends in the buffer; None where it was too long and left out."""
        short = _CONTAINER.match(self._buffer, self._at)
        if short is not None and short.end() - self._at <= longest:
            return self._at, short.end()
        if self._buffer[self._at : self._at + 1] not in (b"[", b"{", b'"'):
            return self._scalar()
        depth, at, kept = _Depth(), self._at, True
        while (end := depth.feed(self._buffer, at)) < 0:
            kept = kept and len(self._buffer) - self._at <= longest
            if not kept:  # the beginning is no longer needed
                self._at = len(self._buffer)
            before = len(self._buffer) - self._at
            if not self._more():
                self._refuse("it ends in the middle of a value: upload the whole file again")
            at = self._at + before
        if kept and end - self._at <= longest:
            return self._at, end
        self._at = end
        return None

    def _scalar(self) -> tuple[int, int]:
        while True:
            match = _SCALAR.match(self._buffer, self._at)
            if match is None:
                self._refuse("a value is missing")
            if match.end() < len(self._buffer) or match.end() - self._at > SHOWN or not self._more():
                return self._at, self._at + len(match[0])

    def _next(self) -> bytes:
        """The next character that is no blank, which is not taken; nothing at the end."""
        while True:
            match = _SPACE.match(self._buffer, self._at)
            self._at = match.end() if match else self._at
            if self._at < len(self._buffer) or not self._more():
                return self._buffer[self._at : self._at + 1]

    def _take(self, characters: int) -> None:
        self._at += characters

    def _more(self) -> bool:
        """Read on; whether there was more. What is not taken yet is at least doubled, so copying it is cheap."""
        self._line += self._buffer.count(b"\n", 0, self._at)
        self._before += self._at
        kept = self._buffer[self._at :]
        pieces, size = [kept], 0
        while size <= len(kept) and (piece := next(self._content, None)) is not None:
            pieces.append(piece)
            size += len(piece)
        self._buffer, self._at = b"".join(pieces), 0
        return size > 0

    def _refuse(self, error: str, begins: bytes | None = None) -> NoReturn:
        line = self._line + self._buffer.count(b"\n", 0, self._at)
        remedy = "" if begins is None else f" {_REMEDY}"
        raise InvalidSpec(f"{self._url}, line {line}: {error}.{remedy}", "WrongSpecification")


class _Depth:
    """How deep in brackets reading is, over pieces of a value that begins with a bracket or a quote."""

    def __init__(self) -> None:
        self._depth, self._in_text, self._escaped = 0, False, False

    def feed(self, data: bytes, at: int) -> int:
        """Where the value ends in the data, which goes on at `at`; -1 where it does not."""
        while at < len(data):
            if self._in_text:
                at = self._after_text(data, at)
            else:
                sign = _SIGN.search(data, at)
                if sign is None:
                    return -1
                at = sign.end()
                self._in_text = sign[0] == b'"'
                self._depth += (sign[0] in b"[{") - (sign[0] in b"]}")
            if not self._in_text and not self._depth and at <= len(data):
                return at
        return -1

    def _after_text(self, data: bytes, at: int) -> int:
        """Where the text that reading is in ends; the end of the data where it does not."""
        if self._escaped:
            self._escaped = False
            at += 1
        match = _REST_OF_TEXT.match(data, at)
        at = match.end() if match else at
        if at >= len(data):
            return len(data)
        if data[at] == ord("\\"):  # the last byte: what it escapes comes with the next piece
            self._escaped = True
            return len(data)
        self._in_text = False
        return at + 1
