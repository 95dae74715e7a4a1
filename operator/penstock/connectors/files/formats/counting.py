"""How many rows a text file can still have, by the bytes that are left of it."""

from collections.abc import Iterator
from typing import Protocol, TypeVar


class Counted(Protocol):
    """Some records of a file: how many were read, and how many bytes of the text had been cut after them."""

    @property
    def read(self) -> int: ...

    @property
    def until(self) -> int: ...


_Block = TypeVar("_Block", bound=Counted)


class Rows:
    """The rows of one file of `size` bytes; -1 where its size is not known."""

    def __init__(self, size: int) -> None:
        self._size, self._read, self._until = size, 0, 0
        self._shortest: int | None = None

    def count(self, blocks: Iterator[_Block], shortest: int, widened: int = 1) -> Iterator[_Block]:
        """The blocks, counted. A row that may be good has at least `shortest` bytes, its line end included.

        A byte of the file is at most `widened` bytes of the text: 1 where these are the same.
        """
        self._shortest = shortest
        for block in blocks:
            self._read, self._until = self._read + block.read, block.until // widened
            yield block
        self._size = self._until = 0

    def most(self) -> int | None:
        """How many rows there are at most, those that are surely bad left out; None where that is not known."""
        if self._shortest is None or self._size < 0:
            return None
        left = max(self._size - self._until, 0)
        return self._read + (left + 1) // self._shortest  # the last row may have no line end
