"""Rows of a sheet, as `worksheet` wrote them, become columns of text."""

import json
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import pyarrow as pa

from penstock.connectors.files.formats.block import BrokenLines
from penstock.worker.ports.chunks import MASK, UTF8, Chunk, ExactCell

LONGEST = 1 << 20
"""Characters of the longest row; a longer one goes to the quarantine, its beginning as its payload."""

Cells = list[Any]
"""The cells of a row: a text, None, or a list with the text of an error."""


@dataclass(frozen=True)
class Layout:
    """A sheet's columns: what the header says of each ("": nothing), their letters, and the texts that mean null."""

    sheet: str
    names: tuple[str, ...]
    letters: tuple[str, ...]
    nulls: frozenset[str]

    @cached_property
    def titles(self) -> tuple[str, ...]:
        """What a payload calls each column: its name, with its letters where another column has the same name."""
        often = {name for name in self.names if self.names.count(name) > 1}
        return tuple(
            letters if not name else f"{name} ({letters})" if name in often else name
            for name, letters in zip(self.names, self.letters, strict=True)
        )


@dataclass(frozen=True)
class Block:
    """Consecutive rows, each a line of JSON."""

    lines: Sequence[bytes]
    layout: Layout

    @cached_property
    def numbers(self) -> list[int]:
        """The number of each row in the sheet."""
        return [number_of(line) for line in self.lines]

    def of(self, records: Iterable[int]) -> list[int]:
        """The numbers in the sheet of the rows with these indices."""
        return [self.numbers[record] for record in records]

    def payloads(self, records: Sequence[int], hidden: frozenset[str]) -> pa.Table:
        """See `chunks.Written`: each row is a JSON object of the texts of its cells, by the names of their columns."""
        texts, complete = list[str](), list[bool]()
        for record in records:
            shown, masked = {}, False
            cells: Cells = json.loads(self.lines[record])[1]
            for name, title, cell in zip(self.layout.names, self.layout.titles, cells, strict=True):
                is_hidden = cell is not None and name in hidden
                masked = masked or is_hidden
                if name or cell is not None:
                    shown[title] = MASK if is_hidden else text_of(cell)
            texts.append(json.dumps(shown, ensure_ascii=False))
            complete.append(not masked)
        columns = [pa.array(texts, pa.string()), pa.repeat(UTF8, len(texts)), pa.array(complete, pa.bool_())]
        return pa.table(columns, names=["payload", "payload_encoding", "complete"])


def number_of(line: bytes) -> int:
    """The number in the sheet of the row that the line holds."""
    return int(line[1 : line.index(b",")])


def text_of(cell: Any) -> str | None:
    """What the cell says; of an error, its text."""
    text: str | None = cell[0] if isinstance(cell, list) else cell
    return text


def chunk(block: Block, places: Sequence[int]) -> Chunk:
    """The columns at these places as c0, c1, …; an error is a cell that no type holds."""
    columns: list[list[str | None]] = [[] for _ in places]
    broken, missing, exact, rows = BrokenLines(), list[int](), list[ExactCell](), 0
    nulls = block.layout.nulls
    for record, line in enumerate(block.lines):
        number, cells = json.loads(line)
        if isinstance(cells, str):
            missing.append(record)
            error = f"the row is longer than {LONGEST} characters"
            broken.add(number, "RowTooLong", error, cells.encode(), complete=False)
            continue
        for position, (place, column) in enumerate(zip(places, columns, strict=True)):
            cell = cells[place]
            text = text_of(cell)
            if text in nulls:
                text = None
            elif isinstance(cell, list):
                exact.append(ExactCell(rows, f"c{position}", cell[0]))
                text = None
            column.append(text)
        rows += 1
    arrays = [pa.array(column, pa.string()) for column in columns]
    table = pa.table(arrays or [pa.nulls(rows)], names=[f"c{place}" for place in range(len(arrays))] or ["none"])
    return Chunk(
        table,
        len(block.lines),
        block,
        broken.table(),
        tuple(missing),
        tuple(exact),
        written=block,
        section=f"{block.layout.sheet}!",
    )
