"""What reading yields."""

from collections.abc import Callable
from dataclasses import dataclass

from penstock.worker.ports.chunks import ANY, Broken, Chunk, Columns, Lines
from penstock.worker.rows import engine

__all__ = ["ANY", "Block", "Broken", "Chunk", "Columns", "Lines", "Measure", "Work"]


class Measure(str):
    """The key of values that are read as numbers, days or times alone: how a number is written makes no difference."""

    __slots__ = ()


@dataclass(frozen=True)
class Block:
    """Consecutive whole records, as bytes, counted; and the lines among them that cannot be part of any record."""

    data: bytes
    records: int
    lines: Lines
    broken: tuple[Broken, ...] = ()


Work = Callable[[tuple[str, ...], engine.Connection], Chunk]
"""Parses one block into the columns asked for; any thread may do it, each with its own connection."""
