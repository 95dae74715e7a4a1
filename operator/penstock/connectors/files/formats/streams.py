"""Bytes from a stream: decompressed, in blocks, checked to be whole."""

import zlib
from collections.abc import Iterator
from typing import BinaryIO

from penstock.connectors.files.stores import BLOCK
from penstock.language.errors import InvalidSpec

_WITH_GZIP_HEADER = 31
_UTF16 = (b"\xff\xfe", b"\xfe\xff")
_UTF8_MARK = b"\xef\xbb\xbf"


def gzipped(url: str, compression: str) -> bool:
    """Whether the file is to be read as gzip: as told, or by its ending."""
    return compression == "gzip" or (compression == "auto" and url.partition("?")[0].lower().endswith(".gz"))


def plain(stream: BinaryIO) -> Iterator[bytes]:
    """The stream's bytes in blocks."""
    while block := stream.read(BLOCK):
        yield block


def unzipped(stream: BinaryIO, where: str) -> Iterator[bytes]:
    """The stream's content after RFC 1952, all members of it. Raises InvalidSpec when it is cut or not gzip."""
    member = zlib.decompressobj(_WITH_GZIP_HEADER)
    rest, begun = b"", False
    while block := rest or stream.read(BLOCK):
        rest = b""
        try:
            content = member.decompress(block, BLOCK)
        except zlib.error:
            message = f"{where} is not gzip, or damaged. Check compression, or upload the file again."
            raise InvalidSpec(message, "WrongSpecification") from None
        begun = True
        if content:
            yield content
        rest = member.unconsumed_tail
        if member.eof:
            rest = member.unused_data or stream.read(BLOCK)
            if not rest.strip(b"\0"):
                return
            member = zlib.decompressobj(_WITH_GZIP_HEADER)
    if begun and not member.eof:
        message = f"{where} ends in the middle of its gzip stream. Upload the file again."
        raise InvalidSpec(message, "WrongSpecification")


def text(blocks: Iterator[bytes], where: str) -> Iterator[bytes]:
    """The blocks without a byte order mark. Raises InvalidSpec when they begin as UTF-16."""
    first = next(blocks, b"")
    if first.startswith(_UTF16):
        message = f"{where} is UTF-16; files must be UTF-8. Convert it, or have it exported as UTF-8."
        raise InvalidSpec(message, "WrongSpecification")
    yield first.removeprefix(_UTF8_MARK)
    yield from blocks
