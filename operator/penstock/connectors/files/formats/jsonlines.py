"""JSON lines, read strictly: RFC 8259, one object a line. Loading and inspection both read them here.

Python's own scanner does it, which is C and knows the grammar; three things that it lets pass are refused here: NaN and
the infinities, text after the object, and nesting without a bound. A number is the text that stands there, with every
digit; so is a list or an object within the row, byte for byte.
"""

import json
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Any, NoReturn

import pyarrow as pa
import pyarrow.compute as pc

from penstock.connectors.files.formats import alike
from penstock.connectors.files.formats.block import Block, WrittenRecords
from penstock.connectors.files.formats.csvrows import with_faults
from penstock.worker.ports.chunks import MASK, BrokenReason, Chunk

DEEPEST = 200
"""How deep objects and lists may be nested in a line."""
_NAMED, _NAMES = 1000, 10_000
"""Of how many rows of a block the names are listed, and how many of them, about."""
_CELLS = 1 << 17
"""Cells of lines read one by one that are Python's texts together."""
_BLANKS = " \t\r\n"
_STRUCTURE = re.compile(r'"(?:[^"\\]|\\.)*+"|[\[\]{}]', re.DOTALL)
_SPACE = re.compile(r"[ \t\r\n]*")


class NotARow(Exception):
    """A line that is no row: `reason` and `error` say why."""

    def __init__(self, reason: BrokenReason, error: str) -> None:
        super().__init__(error)
        self.reason: BrokenReason = reason
        self.error = error


class _Repeated(dict[str, Any]):
    """An object in which some names stand more than once."""

    names: frozenset[str]


def _object(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    members = dict(pairs)
    if len(members) == len(pairs):
        return members
    repeated, seen, names = _Repeated(members), set[str](), set[str]()
    for name, _ in pairs:
        (names if name in seen else seen).add(name)
    repeated.names = frozenset(names)
    return repeated


def _no_number(word: str) -> NoReturn:
    raise NotARow("NotJson", f"the line is not JSON: {word} is not a number in JSON")


_DECODER = json.JSONDecoder(
    parse_float=str, parse_int=str, parse_constant=_no_number, strict=True, object_pairs_hook=_object
)


def parse(written: bytes) -> dict[str, Any]:
    """The object that a line holds: numbers as they are written, lists and objects within it as Python's.

    Raises NotARow.
    """
    try:
        line = written.decode().strip(_BLANKS)
    except UnicodeDecodeError:
        raise NotARow("NotUtf8", "the line is not UTF-8") from None
    if line.count("{") + line.count("[") > DEEPEST and _depth(line) > DEEPEST:
        raise NotARow("NestedTooDeep", f"objects and lists are nested more than {DEEPEST} deep")
    try:
        value, end = _DECODER.raw_decode(line)
    except json.JSONDecodeError as error:
        raise NotARow("NotJson", _wrong(line, error)) from None
    if end != len(line):
        raise NotARow("NotJson", "the line is not JSON: text follows its end")
    if not isinstance(value, dict):
        raise NotARow("NotAnObject", "the line is JSON, and not an object")
    return value


def _wrong(line: str, error: json.JSONDecodeError) -> str:
    if line.startswith("\ufeff"):
        return "the line is not JSON: a byte order mark stands before it"
    if error.msg.startswith("Invalid control character"):
        return "the line is not JSON: a control character in a text is not escaped"
    return "the line is not JSON"


def _depth(line: str) -> int:
    depth = deepest = 0
    for found in _STRUCTURE.finditer(line):
        mark = found.group()
        if mark in "[{":
            depth += 1
            deepest = max(deepest, depth)
        elif mark in "]}":
            depth -= 1
    return deepest


@dataclass(frozen=True)
class _Member:
    """A member of a line's object: its name, and where its value begins and ends."""

    name: str
    start: int
    end: int


def _members(line: str) -> Iterator[_Member]:
    """The members of a line's object, which is well-formed."""
    at = _after_space(line, line.index("{") + 1)
    while line[at] != "}":
        name, at = _DECODER.raw_decode(line, at)
        start = _after_space(line, _after_space(line, at) + 1)
        end = _DECODER.raw_decode(line, start)[1]
        yield _Member(name, start, end)
        at = _after_space(line, end)
        at = _after_space(line, at + 1) if line[at] == "," else at


def _after_space(line: str, at: int) -> int:
    found = _SPACE.match(line, at)
    return found.end() if found else at


def masked(record: bytes, hidden: frozenset[str]) -> bytes:
    """The record with `MASK` in the place of hidden values; a name in other letters may be the same one, misspelt."""
    line, parts, at = record.decode(), list[str](), 0
    names = {name.lower() for name in hidden}
    for member in _members(line):
        if member.name.lower() in names:
            parts += [line[at : member.start], f'"{MASK}"']
            at = member.end
    return "".join([*parts, line[at:]]).encode()


def chunk(block: Block, keys: Sequence[str]) -> Chunk:
    """The block's lines as columns of text c0, c1, …, one for each key."""
    parts: list[alike.Part] = []
    others: Sequence[int] = range(block.records)
    if block.has_rows_alone:
        parts, others = alike.read(block.data, block.records, layout)
    read = _one_by_one(block, others, keys)
    absent = frozenset(keys).difference(read.seen, *(part.names for part in parts))
    listed = [part.names for part in parts if part.rows[0].as_py() < _NAMED]
    names = (*dict.fromkeys(name for names in (*listed, read.names) for name in names),)[:_NAMES]
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
            found, values = _row(block.data[start:end], wanted)
        except NotARow as bad:
            faults[index] = bad.reason, bad.error
            continue
        rows.append(index)
        for key, column in zip(keys, columns, strict=True):
            column.append(values.get(key))
        if absent:
            absent.difference_update(values)
        if index < _NAMED and len(names) < _NAMES:
            names.update(dict.fromkeys(found))
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
        found = parse(written)
    except NotARow:
        return None
    if not found or isinstance(found, _Repeated) or any(isinstance(value, dict | list) for value in found.values()):
        return None
    line, at, names, before = written.decode(), 0, list[str](), list[str]()
    for member in _members(line):
        names.append(member.name)
        before.append(line[at : member.start])
        at = member.end
    return alike.LineLayout((*names,), (*before,), line[at:])


def _row(written: bytes, wanted: frozenset[str]) -> tuple[dict[str, Any], dict[str, str | None]]:
    """The line's object, and what stands under each of the wanted keys, as text; None for null. Raises NotARow."""
    found = parse(written)
    if isinstance(found, _Repeated) and (twice := found.names & wanted):
        raise NotARow("RepeatedKey", f'the key "{min(twice)}" stands more than once in the line')
    values = {key: found[key] for key in wanted if key in found}
    nested = False
    for key, value in values.items():
        if type(value) is str:
            if not value.isascii():
                _whole_characters(value)
        elif value is True or value is False:
            values[key] = "true" if value else "false"
        elif value is not None:
            nested = True
    if nested:
        line = written.decode()
        for member in _members(line):
            if isinstance(values.get(member.name), dict | list):
                values[member.name] = line[member.start : member.end]
    return found, values


def _whole_characters(value: str) -> None:
    try:
        value.encode()
    except UnicodeEncodeError as error:
        code = ord(value[error.start])
        raise NotARow("LoneSurrogate", f"a lone surrogate, \\u{code:04x}, stands in a text: half a character") from None
