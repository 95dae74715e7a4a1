"""Files that a store reads in ranges of bytes, as streams."""

import io
from collections.abc import Callable
from typing import Any

from penstock.connectors.files.stores.port import BLOCK
from penstock.language.errors import NotYet


class RangeStream(io.RawIOBase):
    """One version of a file of `size` bytes, read in order.

    `fetch` returns the bytes from one offset (included) to another (excluded), of exactly that version; it raises
    InvalidSpec or NotYet. An answer that is shorter raises NotYet: the connection was cut. `close` frees what is open.
    """

    def __init__(
        self,
        subject: str,
        url: str,
        size: int,
        fetch: Callable[[int, int], bytes],
        close: Callable[[], None] = lambda: None,
    ) -> None:
        self._subject, self._url, self._size = subject, url, size
        self._fetch, self._close = fetch, close
        self._block = memoryview(b"")
        self._end = 0

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: Any) -> int:
        if not self._block:
            self._block = memoryview(self._next())
        view = memoryview(buffer)
        count = min(len(view), len(self._block))
        view[:count] = self._block[:count]
        self._block = self._block[count:]
        return count

    def _next(self) -> bytes:
        start, end = self._end, min(self._end + BLOCK, self._size)
        if start == end:
            return b""
        block = self._fetch(start, end)
        if len(block) != end - start:
            message = f"{self._subject}: {self._url} broke off after {start + len(block)} of {self._size} bytes."
            raise NotYet(message, "Unreachable")
        self._end = end
        return block

    def close(self) -> None:
        if not self.closed:
            self._close()
        super().close()
