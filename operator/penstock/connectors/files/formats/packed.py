"""Compression, by the first bytes of a file and not by its name: what cannot be read is named."""

import io
from collections.abc import Iterator
from typing import BinaryIO, cast

from penstock.connectors.files.formats import archives, decompression, streams
from penstock.language.errors import InvalidSpec

_GZIP = b"\x1f\x8b"
_BZIP2_BLOCKS = (bytes.fromhex("314159265359"), bytes.fromhex("177245385090"))
"""What follows the first four bytes of bzip2: a block, or the end where there is none."""
_FIRST_OF_TEXT = ord("\t")
"""The least byte that a text has."""
_MAGIC = (
    (b"PK\x05\x06", "an empty zip archive", "Upload the file again"),
    (b"\x04\x22\x4d\x18", "compressed by lz4", "Compress it with gzip, or not at all"),
    (b"\xff\x06\x00\x00sNaPpY", "compressed by snappy", "Compress it with gzip, or not at all"),
    (b"7z\xbc\xaf\x27\x1c", "a 7z archive", "Unpack it"),
    (b"Rar!\x1a\x07", "a rar archive", "Unpack it"),
    (b"PAR1", "Parquet", "Set format: parquet, or choose other files by glob"),
    (b"ORC", "ORC", "Have it exported as Parquet, CSV or JSON"),
    (b"Obj\x01", "Avro", "Have it exported as Parquet, CSV or JSON"),
    (b"\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1", "an old Excel workbook", "Have it exported as CSV, JSON or Parquet"),
    (b"%PDF-", "a PDF document", "Have the data exported as CSV, JSON or Parquet"),
    (b"SQLite format 3\x00", "an SQLite database", "Have its table exported as CSV, JSON or Parquet"),
)
"""How files begin that are neither text nor compressed text, what they are, and what to do."""
_LONGEST = max(len(magic) for magic, _, _ in _MAGIC)


def content(stream: BinaryIO, where: str, compression: str) -> Iterator[bytes]:
    """The text in the stream, unpacked. `compression` is auto, none, gzip, bzip2, xz, zstd or zip.

    Raises InvalidSpec (WrongSpecification) for what is no text, and for what is not compressed as `compression` says,
    is cut or is damaged.
    """
    start, rest = beginning(stream)
    kind = _kind(start)
    if compression not in ("auto", "none") and start and kind != compression:
        message = f"{where} is not {compression}. Leave compression out: each file then is read by its first bytes."
        raise InvalidSpec(message, "WrongSpecification")
    if compression == "gzip" or (compression == "auto" and kind == "gzip"):
        yield from _checked(streams.unzipped(rest, where), where)
    elif compression != "none" and kind == "zip":
        yield from _checked(archives.content(rest, where), where)
    elif compression != "none" and kind is not None:
        yield from _checked(decompression.unpacked(rest, where, kind), where)
    elif streams.gzipped(where, compression) and min(start, default=_FIRST_OF_TEXT) < _FIRST_OF_TEXT:
        raise InvalidSpec(f"{where} is not gzip, or damaged. Upload the file again.", "WrongSpecification")
    else:
        yield from _checked(streams.plain(rest), where)


def _kind(start: bytes) -> str | None:
    """How a file that begins so is compressed; None: not at all, or in a way that is not read. A text may begin BZh."""
    if start.startswith(_GZIP):
        return "gzip"
    if start.startswith(archives.MAGIC):
        return "zip"
    if start.startswith(decompression.MAGIC["bzip2"]) and start[4:10] not in _BZIP2_BLOCKS:
        return None
    return next((kind for kind, magic in decompression.MAGIC.items() if start.startswith(magic)), None)


def beginning(stream: BinaryIO) -> tuple[bytes, BinaryIO]:
    """The first bytes of a stream, enough for `is_plain`, and the stream from its start."""
    start = b""
    while len(start) < _LONGEST and (more := stream.read(_LONGEST - len(start))):
        start += more
    return start, cast(BinaryIO, _Again(start, stream))


def is_plain(start: bytes, compression: str) -> bool:
    """Whether `content` reads a file that begins so as it stands."""
    return compression == "none" or (compression == "auto" and _kind(start) is None)


def _checked(blocks: Iterator[bytes], where: str) -> Iterator[bytes]:
    """The blocks. Raises InvalidSpec when the first begins as a file of another kind does."""
    first = next(blocks, b"")
    while len(first) < _LONGEST and (more := next(blocks, None)) is not None:
        first += more
    for magic, kind, remedy in _MAGIC:
        if first.startswith(magic) and not _is_text(magic, first):
            raise InvalidSpec(f"{where} is {kind}, which cannot be read here. {remedy}.", "WrongSpecification")
    if (packing := _kind(first)) is not None:
        message = f"{where} is compressed by {packing}, perhaps twice. Compress it once, and leave compression out."
        raise InvalidSpec(message, "WrongSpecification")
    if first:
        yield first
    yield from blocks


def _is_text(magic: bytes, first: bytes) -> bool:
    """Whether it is a text that only begins alike: a column may be called ORCHARD, or PAR1, or BZhang."""
    if not magic.isascii() or not magic.decode().isprintable():
        return False
    return magic != b"%PDF-" and b"\0" not in first[:64] and all(byte >= 9 for byte in first[:64])


class _Again(io.RawIOBase):
    """A stream whose start has been read, from its start."""

    def __init__(self, start: bytes, rest: BinaryIO) -> None:
        self._start, self._rest = start, rest

    def readable(self) -> bool:
        return True

    def read(self, size: int = -1) -> bytes:
        start, self._start = self._start, b""
        return start + self._rest.read(size if size < 0 else max(size - len(start), 0))
