"""Lists, structures and maps of Parquet: each leaf is read as a column of its type is, and all are put together again.

Where a leaf has a value that its carrying type cannot hold, the whole cell is null and its exact text is beside, as
JSON: which value of the cell a field is made of is not known here.
"""

import json
from bisect import bisect_right
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc

from penstock.connectors.files.formats import carriers
from penstock.connectors.files.formats.carriers import INT96, Carrier
from penstock.worker.ports.chunks import UNKNOWN

Leaf = tuple[Carrier, bool]
"""How a leaf is read, and whether it must be: others are held by Arrow and DuckDB as they are."""
LeafOf = Callable[[pa.DataType, int], Leaf]
"""Called with the type of a leaf and its number among the leaves of the column."""
_SECONDS, _NANOSECONDS = 0, 1


def must_be_carried(stored: pa.DataType, physical: str) -> bool:
    """Whether values of a leaf of this type cannot be handed to DuckDB as they are."""
    types = pa.types
    wide = types.is_decimal(stored) and stored.bit_width > 128
    return physical == INT96 or types.is_float16(stored) or wide or carriers.is_bytes(stored)


def carrier(stored: pa.DataType, leaf_of: LeafOf) -> Carrier:
    """The carrier of a column of lists, structures or maps."""
    leaves = _numbered(leaf_of)
    node = _node(stored, leaves)
    as_bytes = all(leaf.text for leaf in node.leaves())
    if not node.changed or (node.has_nulls and as_bytes):
        return Carrier(carriers.engine_name(stored), lambda column: (column, {}))
    if node.has_nulls or any(leaf.name.startswith(UNKNOWN) for leaf in node.leaves()):
        return Carrier(f"{UNKNOWN}{stored}", lambda column: (column, {}))
    twice = any(leaf.twice for leaf in node.leaves())
    empty = pa.array([], stored)
    name = carriers.engine_name(_built(node, [empty, empty] if twice else [empty], set()).type)
    return Carrier(name, lambda column: _carried(node, column, twice=twice), beside=True, twice=twice)


def _numbered(leaf_of: LeafOf) -> Callable[[pa.DataType], Leaf]:
    count = iter(range(1 << 30))
    return lambda stored: leaf_of(stored, next(count))


@dataclass(frozen=True)
class _Node:
    """A type within a column's type. `changed`: some leaf in it is carried otherwise than it is stored."""

    stored: pa.DataType
    children: tuple["_Node", ...]
    leaf: Carrier | None
    changed: bool

    @property
    def has_nulls(self) -> bool:
        """Whether some leaf is of the type null: Arrow may end the process when such a column is taken apart."""
        return pa.types.is_null(self.stored) or any(child.has_nulls for child in self.children)

    def leaves(self) -> Iterator[Carrier]:
        """The leaves that are carried."""
        if self.leaf is not None and self.changed:
            yield self.leaf
        for child in self.children:
            yield from child.leaves()


def _node(stored: pa.DataType, leaf_of: Callable[[pa.DataType], Leaf]) -> _Node:
    if is_leaf(stored):
        leaf, changed = leaf_of(stored)
        return _Node(stored, (), leaf, changed)
    children = tuple(_node(stored.field(number).type, leaf_of) for number in range(stored.num_fields))
    return _Node(stored, children, None, any(child.changed for child in children))


def is_leaf(stored: pa.DataType) -> bool:
    """Whether Parquet stores the type as one column."""
    types = pa.types
    return not types.is_nested(stored) or types.is_dictionary(stored) or types.is_run_end_encoded(stored)


def _carried(node: _Node, column: pa.Array, *, twice: bool) -> tuple[pa.Array, Mapping[int, str]]:
    readings = [column.field(_SECONDS), column.field(_NANOSECONDS)] if twice else [column]
    lost = set[int]()
    built = _built(node, readings, lost)
    if not lost:
        return built, {}
    texts = {}
    for row in sorted(lost):
        [value] = _plain(node, [reading.slice(row, 1) for reading in readings])
        texts[row] = json.dumps(value, default=str, ensure_ascii=False)
    return pc.if_else(pa.array([row not in lost for row in range(len(built))]), built, None), texts


def _built(node: _Node, readings: Sequence[pa.Array], lost: set[int]) -> pa.Array:
    """The elements, their leaves carried; the places of those that are not held are added to `lost`.

    There are two readings of the same elements where a leaf has 96 bits.
    """
    first = readings[0]
    if not node.changed:
        return first
    if node.leaf is not None:
        values, beside = node.leaf.carry(_leaf_column(node.leaf, readings))
        lost.update(beside)
        return values
    if pa.types.is_struct(node.stored):
        members = [_members(reading) for reading in readings]
        children = [
            _built(child, [reading[number] for reading in members], lost) for number, child in enumerate(node.children)
        ]
        fields = [node.stored.field(number).with_type(child.type) for number, child in enumerate(children)]
        return pa.StructArray.from_arrays(children, fields=fields, mask=first.is_null())
    offsets, elements = zip(*(_elements(reading) for reading in readings), strict=True)
    within = set[int]()
    entries = _built(node.children[0], elements, within)
    if within:
        starts = offsets[0].to_pylist()
        lost.update(bisect_right(starts, element) - 1 for element in within)
    if pa.types.is_map(node.stored):
        key, item = _members(entries)
        kind = pa.map_(key.type, item.type)
        return pa.MapArray.from_arrays(offsets[0], key, item, kind, mask=first.is_null())
    return pa.ListArray.from_arrays(offsets[0], entries, mask=first.is_null())


def _leaf_column(leaf: Carrier, readings: Sequence[pa.Array]) -> pa.Array:
    if leaf.twice:
        return pa.StructArray.from_arrays([*readings], ["seconds", "nanoseconds"])
    return readings[0]


def _members(column: pa.StructArray) -> list[pa.Array]:
    """The members of structures, null where the structure is."""
    return list(column.flatten())


def _elements(column: pa.Array) -> tuple[pa.Int32Array, pa.Array]:
    """Where the elements of each list begin, from 0, and the elements. Null lists have none."""
    lengths = pc.fill_null(pc.list_value_length(column.cast(_as_list(column.type))), 0)
    ends = pc.cumulative_sum(lengths.cast(pa.int64()))
    offsets = pa.concat_arrays([pa.array([0], pa.int32()), ends.cast(pa.int32())])
    return offsets, pc.list_flatten(column.cast(_as_list(column.type)))


def _as_list(stored: pa.DataType) -> pa.DataType:
    """The list of pairs that a map is; any other list as it is."""
    if not pa.types.is_map(stored):
        return stored
    return pa.list_(pa.struct([stored.key_field, stored.item_field]))


def _plain(node: _Node, readings: Sequence[pa.Array]) -> list[Any]:
    """The elements as Python's values, with the exact texts of what is not held."""
    first = readings[0]
    if not node.changed:
        return list(first.to_pylist())
    if node.leaf is not None:
        values, beside = node.leaf.carry(_leaf_column(node.leaf, readings))
        return [beside.get(place, value) for place, value in enumerate(values.to_pylist())]
    valid = first.is_valid().to_pylist()
    if pa.types.is_struct(node.stored):
        members = [_members(reading) for reading in readings]
        columns = [
            _plain(child, [reading[number] for reading in members]) for number, child in enumerate(node.children)
        ]
        names = [node.stored.field(number).name for number in range(len(columns))]
        rows = [dict(zip(names, row, strict=True)) for row in zip(*columns, strict=True)]
    else:
        offsets, elements = zip(*(_elements(reading) for reading in readings), strict=True)
        entries, starts = _plain(node.children[0], elements), offsets[0].to_pylist()
        rows = [entries[start:end] for start, end in pairwise(starts)]  # type: ignore[misc] # lists
    return [row if there else None for row, there in zip(rows, valid, strict=True)]
