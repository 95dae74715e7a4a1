"""Compression, by the first bytes of a file and not by its name: what cannot be read is named."""

import io
from collections.abc import Iterator
from typing import BinaryIO, cast

from penstock.connectors.files.formats import archives, decompression, kinds, snappy, streams
from penstock.language.errors import InvalidSpec

_GZIP = b"\x1f\x8b"
_BZIP2_BLOCKS = (bytes.fromhex("314159265359"), bytes.fromhex("177245385090"))
"""What follows the first four bytes of bzip2: a block, or the end where there is none."""
_FIRST_OF_TEXT = ord("\t")
"""The least byte that a text has."""
_ENDINGS = {"gz": "gzip", "bz2": "bzip2", "xz": "xz", "zst": "zstd", "zip": "zip", "sz": "snappy", "snappy": "snappy"}
"""What endings of names stand for."""


def content(stream: BinaryIO, where: str, compression: str) -> Iterator[bytes]:
    """The text in the stream, unpacked. `compression` is auto, none, gzip, bzip2, xz, zstd, zip or snappy.

    Raises InvalidSpec (WrongSpecification) for what is no text, and for what is not compressed as `compression` says,
    is cut or is damaged.
    """
    start, rest = beginning(stream)
    kind = packing(start)
    if compression not in ("auto", "none") and start and kind != compression:
        message = (
            f"{where} is not {compression}{_variants(compression)}. Leave compression out: each file then is read "
        )
        message += "by its first bytes."
        raise InvalidSpec(message, "WrongSpecification")
    if compression == "gzip" or (compression == "auto" and kind == "gzip"):
        yield from _checked(streams.unzipped(rest, where), where)
    elif compression != "none" and kind == "zip":
        yield from _checked(archives.content(rest, where), where)
    elif compression != "none" and kind == "snappy":
        yield from _checked(snappy.content(rest, where), where)
    elif compression != "none" and kind is not None:
        yield from _checked(decompression.unpacked(rest, where, kind), where)
    elif compression == "auto" and min(start, default=_FIRST_OF_TEXT) < _FIRST_OF_TEXT and (name := _named(where)):
        said = f"is not {name}{_variants(name)}, or damaged"
        raise InvalidSpec(f"{where} {said}. Upload the file again.", "WrongSpecification")
    else:
        yield from _checked(streams.plain(rest), where)


def _named(url: str) -> str | None:
    """What compression the ending of the file's name stands for; None for another ending."""
    ending = url.partition("?")[0].rpartition(".")[2].lower()
    return _ENDINGS.get(ending)


def _variants(name: str) -> str:
    """Which variants of the compression are read, where there are others."""
    return " in the framing format or in that of Hadoop" if name == "snappy" else ""


def packing(start: bytes) -> str | None:
    """How a file that begins so is compressed; None: not at all, or in a way that is not read. A text may begin BZh."""
    if start.startswith(_GZIP):
        return "gzip"
    if start.startswith(archives.MAGIC):
        return "zip"
    if snappy.matches(start):
        return "snappy"
    if start.startswith(decompression.MAGIC["bzip2"]) and start[4:10] not in _BZIP2_BLOCKS:
        return None
    return next((name for name, magic in decompression.MAGIC.items() if start.startswith(magic)), None)


def beginning(stream: BinaryIO) -> tuple[bytes, BinaryIO]:
    """The first bytes of a stream, enough for `is_plain`, and the stream from its start."""
    start = b""
    while len(start) < kinds.LONGEST and (more := stream.read(kinds.LONGEST - len(start))):
        start += more
    return start, cast(BinaryIO, _Again(start, stream))


def is_plain(start: bytes, compression: str) -> bool:
    """Whether `content` reads a file that begins so as it stands."""
    return compression == "none" or (compression == "auto" and packing(start) is None)


def _checked(blocks: Iterator[bytes], where: str) -> Iterator[bytes]:
    """The blocks. Raises InvalidSpec when the first begins as a file of another kind does."""
    first = next(blocks, b"")
    while len(first) < kinds.LONGEST and (more := next(blocks, None)) is not None:
        first += more
    if (other := kinds.binary(first)) is not None:
        raise InvalidSpec(f"{where} is {other.name}, not a text file. {other.remedy}.", "WrongSpecification")
    if (again := packing(first)) is not None:
        message = f"{where} is compressed by {again}, perhaps twice. Compress it once, and leave compression out."
        raise InvalidSpec(message, "WrongSpecification")
    if first:
        yield first
    yield from blocks


class _Again(io.RawIOBase):
    """A stream whose start has been read, from its start."""

    def __init__(self, start: bytes, rest: BinaryIO) -> None:
        self._start, self._rest = start, rest

    def readable(self) -> bool:
        return True

    def read(self, size: int = -1) -> bytes:
        start, self._start = self._start, b""
        return start + self._rest.read(size if size < 0 else max(size - len(start), 0))
