"""Content that is compressed by bzip2, xz or zstd, in pieces of bounded size, checked to be whole.

However little a file has and however much it unpacks to, only one piece is in memory. Several members that follow each
other are read as one content.
"""

import bz2
import lzma
from collections.abc import Callable, Iterator
from typing import Any, BinaryIO

import zstandard

from penstock.connectors.files.stores import BLOCK
from penstock.language.errors import InvalidSpec

MAGIC = {"bzip2": b"BZh", "xz": b"\xfd7zXZ\x00", "zstd": b"\x28\xb5\x2f\xfd"}
"""How files of each kind begin."""
_STEP = 16 << 10
"""Bytes that are unpacked at once: what follows the end of a member is copied, so they are few."""
_FEW = 256
"""Bytes of zstd that are unpacked at once."""
_WINDOW = 128 << 20
"""Bytes that zstd may look back; `zstd --ultra -22` needs as many."""
_MEMORY = 256 << 20
"""Bytes that xz may use for its dictionary; `xz -9` needs 65 MiB."""


def unpacked(stream: BinaryIO, where: str, kind: str) -> Iterator[bytes]:
    """The content in pieces of at most BLOCK bytes. `kind` is one of MAGIC.

    Raises InvalidSpec (WrongSpecification) where it is cut, damaged, or followed by something else.
    """
    fresh: dict[str, Callable[[], Any]] = {"bzip2": bz2.BZ2Decompressor, "xz": _xz, "zstd": _Zstd}
    return _members(stream, where, kind, fresh[kind])


def _xz() -> lzma.LZMADecompressor:
    return lzma.LZMADecompressor(lzma.FORMAT_XZ, memlimit=_MEMORY)


def _members(stream: BinaryIO, where: str, kind: str, fresh: Callable[[], Any]) -> Iterator[bytes]:
    member, block, begun = fresh(), b"", False
    while True:
        if not block and (member.eof or member.needs_input):
            block = stream.read(_STEP)
            if not block:
                break
        if member.eof:
            block = block.lstrip(b"\0")  # padding
            if not block:
                continue
            member = fresh()
        begun = True
        try:
            content = member.decompress(block, BLOCK)
        except (lzma.LZMAError, zstandard.ZstdError, OSError, ValueError):
            raise _wrong(where, f"is not {kind}, or damaged") from None
        block = member.unused_data if member.eof else b""
        if content:
            yield content
    if begun and not member.eof:
        raise _wrong(where, f"ends in the middle of its {kind} stream")


class _Zstd:
    """One zstd frame. The library bounds no output, so it gets few bytes at once: 256 become 8 MiB at most."""

    def __init__(self) -> None:
        self._frame = zstandard.ZstdDecompressor(max_window_size=_WINDOW).decompressobj()
        self._rest = self.unused_data = b""
        self.eof, self.needs_input = False, True

    def decompress(self, block: bytes, _: int) -> bytes:
        """The content of the next few bytes. Raises ZstdError where they are damaged."""
        given = self._rest + block
        content = self._frame.decompress(given[:_FEW])
        self._rest, self.eof = given[_FEW:], self._frame.eof
        self.needs_input = not self._rest
        if self.eof:
            self.unused_data, self._rest = self._frame.unused_data + self._rest, b""
        return content


def _wrong(where: str, what: str) -> InvalidSpec:
    return InvalidSpec(f"{where} {what}. Upload the file again.", "WrongSpecification")
