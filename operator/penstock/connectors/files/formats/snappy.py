"""Content that is compressed by snappy, in pieces of bounded size: the framing format, and that of Hadoop.

The framing format (https://github.com/google/snappy/blob/main/framing_format.txt) has a checksum for each piece.
Hadoop's, which Spark and Hive write, has none: blocks, each with its size, then its parts with theirs, as integers of
four bytes in big-endian order. Neither says where the content ends, so a file that is cut between two pieces is taken
for a shorter one. Snappy without a frame around it says nothing of itself, and is not read.
"""

from collections.abc import Iterator
from typing import BinaryIO

import google_crc32c
import pyarrow as pa

from penstock.connectors.files.stores import BLOCK
from penstock.language.errors import InvalidSpec

MAGIC = b"\xff\x06\x00\x00sNaPpY"
"""How the framing format begins."""
_COMPRESSED, _UNCOMPRESSED, _IDENTIFIER, _SKIPPABLE = 0x00, 0x01, 0xFF, 0x80
_LARGEST_PIECE = 1 << 16
"""Bytes of a piece of the framing format, decompressed."""
_CHECKSUM = 4
_TOGETHER = 1 << 20
"""Bytes of the pieces that are handed over together, about."""
_STEP = 1 << 16
"""Bytes that are read at once."""
_EMPTY = bytes(4)
"""What Hadoop writes where there is no content."""


def matches(start: bytes) -> bool:
    """Whether a file that begins so is compressed by snappy. Hadoop's sizes must agree with the first part's own."""
    if start.startswith(MAGIC) or start == _EMPTY:
        return True
    block, part = int.from_bytes(start[:4], "big"), int.from_bytes(start[4:8], "big")
    size = _size_of(start[8:13])
    return 0 < block <= BLOCK and 0 < part <= _largest_compressed(block) and size is not None and 0 < size <= block


def content(stream: BinaryIO, where: str) -> Iterator[bytes]:
    """The content in pieces of at most BLOCK bytes.

    Raises InvalidSpec (WrongSpecification) where it is cut, damaged, or followed by something else.
    """
    source = _Exact(stream, where)
    first = source.take_or_end(4)
    pieces = _framed(source, first) if first.startswith(MAGIC[:4]) else _blocks(source, first)
    together, size = list[bytes](), 0
    for piece in pieces:
        if size + len(piece) > _TOGETHER and together:
            yield b"".join(together)
            together, size = [], 0
        together.append(piece)
        size += len(piece)
    if together:
        yield b"".join(together)


def _framed(source: "_Exact", header: bytes) -> Iterator[bytes]:
    """The pieces of the framing format."""
    while header:
        kind, length = header[0], int.from_bytes(header[1:], "little")
        if kind in (_COMPRESSED, _UNCOMPRESSED):
            if not _CHECKSUM <= length <= _CHECKSUM + _largest_compressed(_LARGEST_PIECE):
                raise source.damaged()
            data = source.take(length)
            piece = data[_CHECKSUM:]
            if kind == _COMPRESSED:
                piece = source.decompressed(piece, _LARGEST_PIECE)
            if len(piece) > _LARGEST_PIECE or _masked_checksum(piece) != int.from_bytes(data[:_CHECKSUM], "little"):
                raise source.damaged()
            yield piece
        elif kind == _IDENTIFIER:
            if length != len(MAGIC) - 4 or source.take(length) != MAGIC[4:]:
                raise source.damaged()
        elif kind >= _SKIPPABLE:
            source.skip(length)
        else:
            raise source.damaged()
        header = source.take_or_end(4)


def _masked_checksum(piece: bytes) -> int:
    """CRC-32C, rotated and with a number added, as the format has it."""
    checksum: int = google_crc32c.value(piece)
    return ((checksum >> 15 | checksum << 17) + 0xA282EAD8) & 0xFFFFFFFF


def _blocks(source: "_Exact", header: bytes) -> Iterator[bytes]:
    """The parts of Hadoop's blocks."""
    while header:
        left = int.from_bytes(header, "big")
        if left > BLOCK:
            raise source.damaged()
        while left:
            length = int.from_bytes(source.take(4), "big")
            if not 0 < length <= _largest_compressed(left):
                raise source.damaged()
            piece = source.decompressed(source.take(length), left)
            if not piece:
                raise source.damaged()
            yield piece
            left -= len(piece)
        header = source.take_or_end(4)


def _largest_compressed(size: int) -> int:
    """Bytes that so many bytes take at most, by snappy's own rule."""
    return 32 + size + size // 6


def _size_of(compressed: bytes) -> int | None:
    """How many bytes it decompresses to, which stand at its beginning; None where they do not."""
    size = 0
    for place, byte in enumerate(compressed[:5]):
        size |= (byte & 127) << (7 * place)
        if byte < 128:
            return size
    return None


class _Exact:
    """A stream of which as many bytes are taken as are asked for."""

    def __init__(self, stream: BinaryIO, where: str) -> None:
        self._stream, self._where = stream, where
        self._rest = b""
        self._codec = pa.Codec("snappy")

    def damaged(self) -> InvalidSpec:
        """What is said of a file that breaks the rules of its format."""
        return InvalidSpec(f"{self._where} is not snappy, or damaged. Upload the file again.", "WrongSpecification")

    def take(self, length: int) -> bytes:
        """The next bytes. Raises InvalidSpec where there are fewer."""
        taken = self.take_or_end(length)
        if len(taken) < length:
            raise self._cut()
        return taken

    def take_or_end(self, length: int) -> bytes:
        """The next bytes; none at the end. Raises InvalidSpec where there are fewer."""
        pieces, there = [self._rest], len(self._rest)
        while there < length and (piece := self._stream.read(_STEP)):
            pieces.append(piece)
            there += len(piece)
        if 0 < there < length:
            raise self._cut()
        taken = b"".join(pieces)
        self._rest = taken[length:]
        return taken[:length]

    def skip(self, length: int) -> None:
        """Leave the next bytes out. Raises InvalidSpec where there are fewer."""
        while length:
            length -= len(self.take(min(length, _LARGEST_PIECE)))

    def decompressed(self, data: bytes, most: int) -> bytes:
        """What the data decompresses to, at most so many bytes. Raises InvalidSpec."""
        size = _size_of(data)
        if size is None or size > most:
            raise self.damaged()
        try:
            content: bytes = self._codec.decompress(data, size, asbytes=True)
        except (pa.ArrowException, OSError):
            raise self.damaged() from None
        return content

    def _cut(self) -> InvalidSpec:
        message = f"{self._where} ends in the middle of its snappy stream. Upload the file again."
        return InvalidSpec(message, "WrongSpecification")
