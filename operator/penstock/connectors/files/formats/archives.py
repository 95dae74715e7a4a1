"""A zip archive with one file, read from its beginning to its end (APPNOTE.TXT 6.3.10 of PKWARE).

The file's own header comes first; what follows its content tells whether it is the only one. Folders, and what macOS
adds beneath `__MACOSX/`, are left out. However much the content unpacks to, only one piece of it is in memory.
"""

import struct
import zlib
from collections.abc import Iterator
from dataclasses import dataclass
from typing import BinaryIO

from penstock.connectors.files.stores import BLOCK
from penstock.language.errors import InvalidSpec

MAGIC = b"PK\x03\x04"
_STEP = 64 << 10
"""Bytes that are read at once."""
_FILE, _DESCRIPTOR, _LISTING, _EMPTY = 0x04034B50, 0x08074B50, 0x02014B50, 0x06054B50
_LISTING_ENDS = (_LISTING, 0x08064B50, _EMPTY)
"""How what follows the files begins: the listing, or records about all of the archive."""
_HEADER = struct.Struct("<HHHHHIIIHH")
_STORED, _DEFLATED = 0, 8
_ENCRYPTED, _SIZES_FOLLOW = 0x1, 0x8
_UNKNOWN = 0xFFFFFFFF
_ZIP64 = 1
_OFFICE = ("[Content_Types].xml", "_rels/", "docProps/", "xl/", "word/", "ppt/", "mimetype")
"""How the names in documents of Excel, LibreOffice and their like begin."""


@dataclass(frozen=True)
class _Member:
    """The header of a file. `size` is that of its packed content, None where only its end tells."""

    name: str
    method: int
    size: int | None
    checksum: int | None
    wide: bool

    @property
    def is_left_out(self) -> bool:
        """Whether it is a folder, or what macOS adds."""
        return self.name.endswith("/") or self.name.startswith("__MACOSX/")


def content(stream: BinaryIO, where: str) -> Iterator[bytes]:
    """The content of the one file in pieces of at most BLOCK bytes.

    Raises InvalidSpec (WrongSpecification) where the archive has several files or none, is encrypted, cut or damaged.
    """
    archive = _Archive(stream, where)
    read: str | None = None
    while (member := archive.member()) is not None:
        pieces = archive.content(member)
        if member.is_left_out:
            for _ in pieces:
                pass
            continue
        if read is not None:
            raise archive.wrong(f'has several files, "{read[:60]}" and "{member.name[:60]}". Upload each by itself')
        read = member.name
        yield from pieces
    if read is None:
        raise archive.wrong("is a zip archive without a file. Upload the file again")


class _Archive:
    """An archive that is read forwards."""

    def __init__(self, stream: BinaryIO, where: str) -> None:
        self._stream, self._where, self._buffer = stream, where, b""

    def wrong(self, what: str) -> InvalidSpec:
        """What is wrong with the archive."""
        return InvalidSpec(f"{self._where} {what}.", "WrongSpecification")

    def _damaged(self) -> InvalidSpec:
        return self.wrong("is not zip, or damaged. Upload the file again")

    def _some(self) -> bytes:
        """What is next. Raises InvalidSpec at the end of the stream."""
        block, self._buffer = self._buffer or self._stream.read(_STEP), b""
        if not block:
            raise self.wrong("ends in the middle of its zip archive. Upload the file again")
        return block

    def _take(self, count: int) -> bytes:
        block = b""
        while len(block) < count:
            block += self._some()
        self._buffer = block[count:] + self._buffer
        return block[:count]

    def member(self) -> _Member | None:
        """The header of the next file; None where there are no more. Raises InvalidSpec."""
        [signature] = struct.unpack("<I", self._take(4))
        if signature in _LISTING_ENDS:
            return None
        if signature != _FILE:
            raise self._damaged()
        _, flags, method, _, _, checksum, size, _, name_length, more_length = _HEADER.unpack(self._take(_HEADER.size))
        name, more = self._take(name_length).decode("utf-8", "replace"), self._take(more_length)
        if name.startswith(_OFFICE):
            raise self.wrong(
                "is an Excel workbook, or another Office document. Export the data as CSV, JSON or Parquet, or set "
                "format: {excel: {}} for a workbook (.xlsx)"
            )
        if flags & _ENCRYPTED:
            raise self.wrong("is an encrypted zip archive. Upload it without a password")
        if method not in (_STORED, _DEFLATED):
            raise self.wrong("is a zip archive by another method than deflate. Pack it with deflate")
        wide = _wide_sizes(more)
        if flags & _SIZES_FOLLOW:
            if method == _STORED and not name.endswith("/"):
                raise self.wrong("is a zip archive whose file is stored without its size. Pack it with deflate")
            return _Member(name, method, 0 if method == _STORED else None, None, wide is not None)
        return _Member(name, method, wide if size == _UNKNOWN else size, checksum, wide is not None)

    def content(self, member: _Member) -> Iterator[bytes]:
        """The content of a file, checked by its checksum. Raises InvalidSpec."""
        pieces = self._stored(member.size or 0) if member.method == _STORED else self._deflated()
        checksum = 0
        for piece in pieces:
            checksum = zlib.crc32(piece, checksum)
            yield piece
        expected = member.checksum if member.checksum is not None else self._descriptor(member.wide)
        if checksum != expected:
            raise self._damaged()

    def _stored(self, size: int) -> Iterator[bytes]:
        while size:
            block = self._some()
            yield block[:size]
            self._buffer = block[size:]
            size -= min(size, len(block))

    def _deflated(self) -> Iterator[bytes]:
        packed = zlib.decompressobj(-zlib.MAX_WBITS)
        rest = b""
        while not packed.eof:
            try:
                piece = packed.decompress(rest or self._some(), BLOCK)
            except zlib.error:
                raise self._damaged() from None
            rest = packed.unconsumed_tail
            if piece:
                yield piece
        self._buffer = packed.unused_data + self._buffer

    def _descriptor(self, wide: bool) -> int:
        """The checksum behind a file's content, whose signature may be missing."""
        checksum = int(struct.unpack("<I", self._take(4))[0])
        if checksum == _DESCRIPTOR:
            checksum = int(struct.unpack("<I", self._take(4))[0])
        self._take(16 if wide else 8)
        return checksum


def _wide_sizes(more: bytes) -> int | None:
    """The packed size of 8 bytes that the extra fields have, None where they have none."""
    while len(more) >= 4:
        kind, length = struct.unpack_from("<HH", more)
        if kind == _ZIP64 and length >= 16:
            return int(struct.unpack_from("<Q", more, 12)[0])
        more = more[4 + length :]
    return None
