"""How many rows a text file can still have, by the bytes that are left of it."""

from collections.abc import Iterator

from penstock.connectors.files.formats.block import Block


class Rows:
    """The rows of one file of `size` bytes; -1 where its size is not known."""

    def __init__(self, size: int) -> None:
        self._size, self._read, self._until = size, 0, 0
        self._shortest: int | None = None

    def count(self, blocks: Iterator[Block], shortest: int) -> Iterator[Block]:
        """The blocks, counted. A row that may be good has at least `shortest` bytes, its line end included.

        The text must be the very bytes of the file.
        """
        self._shortest = shortest
        for block in blocks:
            self._read, self._until = self._read + block.read, block.until
            yield block
        self._size = self._until = 0

    def most(self) -> int | None:
        """How many rows there are at most, those that are surely bad left out; None where that is not known."""
        if self._shortest is None or self._size < 0:
            return None
        left = max(self._size - self._until, 0)
        return self._read + (left + 1) // self._shortest  # the last row may have no line end
