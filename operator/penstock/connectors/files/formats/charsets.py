"""Text in other encodings than UTF-8: decoded into UTF-8 in pieces, and encoded again for the payloads of bad rows.

Each encoding here gives back the very bytes that it decoded, so a payload is the row as the file has it. Bytes that
mean nothing in the encoding become lone surrogates, which no UTF-8 has: the row that holds them is bad, like a row of a
UTF-8 file with wrong bytes, and the same bytes are made of them again.
"""

import base64
import codecs
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import pyarrow as pa

from penstock.connectors.files.spec import Encoding
from penstock.language.errors import InvalidSpec
from penstock.worker.ports.chunks import BASE64, UTF8

_MARKS = ((b"\xff\xfe\0\0", "utf-32"), (b"\xef\xbb\xbf", "utf-8"), (b"\xff\xfe", "utf-16le"), (b"\xfe\xff", "utf-16be"))
"""Byte order marks, and what they say."""
_LONGEST_MARK = 4
_PYTHON = {"windows-874": "cp874", "ibm437": "cp437", "ibm850": "cp850", "ibm852": "cp852", "ibm866": "cp866"}
"""Encodings that Python has under another name."""


@dataclass(frozen=True)
class Charset:
    """An encoding. `name` is the one that manifests have, but for utf-16, whose order of bytes is known here."""

    name: str = "utf-8"

    @property
    def is_utf8(self) -> bool:
        """Whether text is read as it stands."""
        return self.name == "utf-8"

    @property
    def _is_wide(self) -> bool:
        return self.name.startswith("utf-16")

    @property
    def _codec(self) -> str:
        return _PYTHON.get(self.name, self.name)

    @property
    def _errors(self) -> str:
        return "surrogatepass" if self._is_wide else "surrogateescape"

    def payload(self, record: bytes) -> tuple[str, str]:
        """A record, as UTF-8, as the text of its bytes in the file and its encoding: base64 where these are no UTF-8.

        UTF-16 is always in base64.
        """
        original = record if self.is_utf8 else _decoded(record).encode(self._codec, self._errors)
        try:
            if not self._is_wide:
                return original.decode(), UTF8
        except UnicodeDecodeError:
            pass
        return base64.b64encode(original).decode(), BASE64

    def payloads(self, records: Sequence[bytes]) -> tuple[pa.Array, pa.Array]:
        """As `payload`, for many records: an array of texts and one of encodings."""
        if self.is_utf8:
            try:
                return pa.array(records, pa.binary()).cast(pa.string()), pa.repeat(UTF8, len(records))
            except pa.ArrowInvalid:  # some of them are no UTF-8
                pass
        shown = [self.payload(record) for record in records]
        return pa.array([text for text, _ in shown], pa.string()), pa.array([kind for _, kind in shown], pa.string())

    def as_utf8(self, blocks: Iterator[bytes], where: str) -> Iterator[bytes]:
        """The blocks, decoded, as UTF-8. Raises InvalidSpec where they end in half a unit of UTF-16."""
        decoder = codecs.getincrementaldecoder(self._codec)(self._errors)
        for block in blocks:
            yield decoder.decode(block).encode("utf-8", "surrogatepass")
        rest = decoder.getstate()[0]  # decoded apart: at its end, the decoder may drop what follows a wrong byte
        try:
            yield rest.decode(self._codec, self._errors).encode("utf-8", "surrogatepass")
        except UnicodeDecodeError:
            message = f"{where} ends in the middle of a character. Upload the whole file again."
            raise InvalidSpec(message, "WrongSpecification") from None


UTF_8 = Charset()


def _decoded(record: bytes) -> str:
    """The record's characters; a character that was cut at the end is left out."""
    try:
        return record.decode("utf-8", "surrogatepass")
    except UnicodeDecodeError as error:
        return record[: error.start].decode("utf-8", "surrogatepass")


def text(blocks: Iterator[bytes], encoding: Encoding, where: str) -> tuple[Charset, Iterator[bytes]]:
    """The encoding of the text, and the text in UTF-8, without its byte order mark.

    Raises InvalidSpec (WrongSpecification) where the mark says that the text has another encoding.
    """
    first = next(blocks, b"")
    while len(first) < _LONGEST_MARK and (more := next(blocks, None)) is not None:
        first += more
    mark, marked = next((entry for entry in _MARKS if first.startswith(entry[0])), (b"", ""))
    if marked and marked != encoding and not (encoding == "utf-16" and marked.startswith("utf-16")):
        remedy = "Have it exported as UTF-8"
        if marked != "utf-32":
            remedy = f"Set format.csv.encoding: {marked.removesuffix('le').removesuffix('be')}"
        message = f"{where} begins with the byte order mark of {marked.upper()}; {encoding} is expected. {remedy}."
        raise InvalidSpec(message, "WrongSpecification")
    if encoding == "utf-16" and not marked and first:
        message = f"{where} has no byte order mark. Set format.csv.encoding: utf-16le, or utf-16be."
        raise InvalidSpec(message, "WrongSpecification")
    charset = Charset(marked if encoding == "utf-16" and marked else encoding)
    rest = _again(first.removeprefix(mark), blocks)
    return charset, rest if charset.is_utf8 else charset.as_utf8(rest, where)


def _again(first: bytes, rest: Iterator[bytes]) -> Iterator[bytes]:
    yield first
    yield from rest
