"""Bytes from a stream: decompressed, in blocks, checked to be whole."""

import re
import zlib
from collections.abc import Iterator
from typing import BinaryIO

from penstock.connectors.files.stores import BLOCK
from penstock.language.errors import InvalidSpec

_WITH_GZIP_HEADER = 31
_STEP, _LONGEST_STEP = 4 << 10, 1 << 20
"""Bytes of gzip that are given at once at the beginning of a member, and later."""
_ZEROS = re.compile(rb"\0+")
_UTF16 = (b"\xff\xfe", b"\xfe\xff")
_UTF8_MARK = b"\xef\xbb\xbf"


def plain(stream: BinaryIO) -> Iterator[bytes]:
    """The stream's bytes in blocks."""
    while block := stream.read(BLOCK):
        yield block


def unzipped(stream: BinaryIO, where: str) -> Iterator[bytes]:
    """The stream's content after RFC 1952, all members of it, in pieces of at most BLOCK bytes.

    Each byte is handed over once, whatever the number of members: what follows a member is copied, so little is given
    at once where members are short. Raises InvalidSpec when it is cut or not gzip.
    """
    member = zlib.decompressobj(_WITH_GZIP_HEADER)
    block, at, step, begun = b"", 0, _STEP, False
    while True:
        if at >= len(block):
            block, at = stream.read(BLOCK), 0
            if not block:
                break
        if member.eof:
            zeros = _ZEROS.match(block, at)  # they may fill the last block of a tape
            at = zeros.end() if zeros else at
            if at == len(block):
                continue
            member, step = zlib.decompressobj(_WITH_GZIP_HEADER), _STEP
        given = block[at : at + step]
        try:
            content = member.decompress(given, BLOCK)
        except zlib.error:
            message = f"{where} is not gzip, or damaged. Check compression, or upload the file again."
            raise InvalidSpec(message, "WrongSpecification") from None
        begun = True
        # At the end of a member, zlib may name what follows it twice, in `unconsumed_tail` as well.
        at += len(given) - len(member.unused_data if member.eof else member.unconsumed_tail)
        step = min(2 * step, _LONGEST_STEP)
        if content:
            yield content
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
