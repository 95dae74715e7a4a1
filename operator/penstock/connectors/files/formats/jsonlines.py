"""JSON lines as columns of text: one object a line.

Loading and inspection both read them here. What a cell says is what `jsonvalues` reads. Documents, rows that lie deeper
than the line, and keys that are paths are read by `jsonrecords`.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc

from penstock.connectors.files.formats import alike
from penstock.connectors.files.formats.block import Block, WrittenRecords
from penstock.connectors.files.formats.csvrows import with_faults
from penstock.connectors.files.formats.jsonvalues import NotARow, Repeated, members, parse, whole_characters
from penstock.language import paths
from penstock.worker.ports.chunks import MASK, BrokenReason, Chunk

NAMED, NAMES = 1000, 10_000
"""Of how many rows of a block the names are listed, and how many of them, about."""
_CELLS = 1 << 17
"""Cells of lines read one by one that are Python's texts together."""


def masked(record: bytes, hidden: frozenset[str]) -> bytes:
    """The record with `MASK` in the place of hidden values; a name in other letters may be the same one, misspelt.

    Of a path, all that its first name has is hidden.
    """
    line, parts, at = record.decode(), list[str](), 0
    names = {_first(name).lower() for name in hidden}
    for member in members(line):
        if member.name.lower() in names:
            parts += [line[at : member.start], f'"{MASK}"']
            at = member.end
    return "".join([*parts, line[at:]]).encode()


def _first(key: str) -> str:
    path = paths.of_column(key)
    return key if path is None else str(path.steps[0])


def chunk(block: Block, keys: Sequence[str]) -> Chunk:
    """The block's lines as columns of text c0, c1, …, one for each key."""
    parts: list[alike.Part] = []
    others: Sequence[int] = range(block.records)
    if block.has_rows_alone:
        parts, others = alike.read(block.data, block.records, layout)
    read = _one_by_one(block, others, keys)
    absent = frozenset(keys).difference(read.seen, *(part.names for part in parts))
    listed = [part.names for part in parts if part.rows[0].as_py() < NAMED]
    names = (*dict.fromkeys(name for names in (*listed, read.names) for name in names),)[:NAMES]
    # without a key there is still a row for each line
    table = pa.table({"line": pa.nulls(block.records - len(read.faults))})
    if keys:
        table = _in_order(parts, read, keys)
    parsed = with_faults(block, table, read.faults, WrittenRecords(block, masked))
    return replace(parsed, names=names, absent=absent)


@dataclass(frozen=True)
class _Read:
    """Lines that were read one by one: the indices of those that are rows, and a column of texts for each key."""

    rows: pa.Array
    columns: list[pa.Array]
    faults: dict[int, tuple[BrokenReason, str]]
    seen: frozenset[str]
    """Those of the keys that some line has."""
    names: tuple[str, ...]
    """The names that the first lines have."""


def _one_by_one(block: Block, indices: Sequence[int], keys: Sequence[str]) -> _Read:
    """The lines with these indices, ascending."""
    faults: dict[int, tuple[BrokenReason, str]] = {}
    rows, wanted, names = list[int](), frozenset(keys), dict[str, None]()
    absent, pieces = set(wanted), list[list[pa.Array]]()
    columns: list[list[str | None]] = [[] for _ in keys]
    step = max(1, _CELLS // max(len(keys), 1))
    for index in indices:
        start, end = block.span(index)
        try:
            row, values = _row(block.data[start:end], wanted)
        except NotARow as bad:
            faults[index] = bad.reason, bad.error
            continue
        rows.append(index)
        for key, column in zip(keys, columns, strict=True):
            column.append(values.get(key))
        if absent:
            absent.difference_update(values)
        if index < NAMED and len(names) < NAMES:
            names.update(dict.fromkeys(row))
        if len(rows) % step == 0:
            pieces.append([pa.array(column, pa.string()) for column in columns])
            columns = [[] for _ in keys]
    pieces.append([pa.array(column, pa.string()) for column in columns])
    together = [pa.concat_arrays(column) for column in zip(*pieces, strict=True)]
    return _Read(pa.array(rows, pa.int64()), together, faults, wanted - absent, (*names,))


def _in_order(parts: Sequence[alike.Part], read: _Read, keys: Sequence[str]) -> pa.Table:
    """The rows of all parts in the order of their lines; null where a part lacks a key."""
    if not parts:
        return pa.table(read.columns, names=[f"c{index}" for index in range(len(keys))])
    places = [{name: place for place, name in enumerate(part.names)} for part in parts]
    order = None
    if len(parts) > 1 or len(read.rows):
        order = pc.array_sort_indices(pa.concat_arrays([*(part.rows for part in parts), read.rows]))
    columns = []
    for number, key in enumerate(keys):
        pieces = [
            part.columns[place[key]] if key in place else pa.nulls(len(part.rows), pa.string())
            for part, place in zip(parts, places, strict=True)
        ]
        column = pa.concat_arrays([*pieces, read.columns[number]])
        columns.append(column if order is None else column.take(order))
    return pa.table(columns, names=[f"c{index}" for index in range(len(keys))])


def layout(written: bytes) -> alike.LineLayout | None:
    """What stands around the line's values; None where it is no object of plain values under different names."""
    try:
        parsed = parse(written)
    except NotARow:
        return None
    if not parsed or isinstance(parsed, Repeated) or any(isinstance(value, dict | list) for value in parsed.values()):
        return None
    line, at, names, before = written.decode(), 0, list[str](), list[str]()
    for member in members(line):
        names.append(member.name)
        before.append(line[at : member.start])
        at = member.end
    return alike.LineLayout((*names,), (*before,), line[at:])


def _row(written: bytes, wanted: frozenset[str]) -> tuple[dict[str, Any], dict[str, str | None]]:
    """The line's object, and what stands under each of the wanted keys, as text; None for null. Raises NotARow."""
    parsed = parse(written)
    if isinstance(parsed, Repeated) and (twice := parsed.names & wanted):
        raise NotARow("RepeatedKey", f'the key "{min(twice)}" occurs more than once in the line')
    values = {key: parsed[key] for key in wanted if key in parsed}
    nested = False
    for key, value in values.items():
        if type(value) is str:
            if not value.isascii():
                whole_characters(value)
        elif value is True or value is False:
            values[key] = "true" if value else "false"
        elif value is not None:
            nested = True
    if nested:
        line = written.decode()
        for member in members(line):
            if isinstance(values.get(member.name), dict | list):
                values[member.name] = line[member.start : member.end]
    return parsed, values
