"""How many bytes the values of Arrow's columns take: of a type, and of each row once it is unfolded."""

from bisect import bisect_right
from collections.abc import Iterator, Sequence
from functools import reduce

import pyarrow as pa
import pyarrow.compute as pc

_INDEX = 4
"""Bytes of a text's place in its dictionary."""
VALUE = 8
"""Bytes that a value in a list is taken to have at least."""
_NESTED = 256
"""Bytes that a list or a structure is taken to have."""
_VIEWS = (pa.string_view(), pa.binary_view())


def pieces(rows: pa.RecordBatch, most: int) -> Iterator[pa.RecordBatch]:
    """The rows in pieces that unfold to at most so many bytes each, unless one row alone has more."""
    if sum(_at_most(column) for column in rows.columns) <= most:
        if rows.num_rows:
            yield rows
        return
    ends = pc.cumulative_sum(of_rows(rows.columns, rows.num_rows)).to_pylist()
    start = before = 0
    while start < len(ends):
        end = max(bisect_right(ends, before + most), start + 1)
        yield rows.slice(start, end - start)
        start, before = end, ends[end - 1]


def _at_most(column: pa.Array) -> int:
    """Bytes that the column surely does not exceed when it is unfolded."""
    if not pa.types.is_dictionary(column.type):
        return int(column.nbytes)
    return len(column) * int(pc.max(row_bytes(column.dictionary)).as_py() or 0)


def of_rows(columns: Sequence[pa.Array], rows: int) -> pa.Array:
    """Bytes that each of so many rows unfolds to, over all of these columns."""
    return reduce(pc.add, [row_bytes(column) for column in columns], _zeros(rows))


def row_bytes(column: pa.Array) -> pa.Array:
    """Bytes that each row's value unfolds to: of its texts, and of all that lists and structures hold."""
    kind = column.type
    if pa.types.is_dictionary(kind):
        lengths = pc.take(row_bytes(column.dictionary), column.indices)
    elif kind in _VIEWS:
        lengths = pc.binary_length(column.cast(pa.large_binary()))
    elif kind in (pa.string(), pa.binary(), pa.large_string(), pa.large_binary()):
        lengths = pc.binary_length(column)
    elif pa.types.is_struct(kind):
        lengths = of_rows(column.flatten(), len(column))
    elif pa.types.is_list(kind) or pa.types.is_large_list(kind) or pa.types.is_map(kind):
        lengths = _list_bytes(column)
    else:
        lengths = pa.repeat(pa.scalar(int(fixed_width(kind) or VALUE)), len(column))
    return pc.fill_null(lengths.cast(pa.int64()), 0)


def _list_bytes(column: pa.Array) -> pa.Array:
    """Bytes of all elements of each list or map."""
    kind = column.type
    items = (kind.key_type, kind.item_type) if pa.types.is_map(kind) else (kind.value_type,)
    widths = [fixed_width(item) for item in items]
    if all(width is not None for width in widths):  # there may be many millions of them
        counts = pc.subtract(column.offsets.slice(1), column.offsets.slice(0, len(column))).cast(pa.int64())
        return pc.multiply(counts, max(1, int(sum(width or 0 for width in widths))))
    parts = (column.keys, column.items) if pa.types.is_map(kind) else (column.values,)
    elements = reduce(pc.add, [row_bytes(part) for part in parts])
    ends = pa.concat_arrays([_zeros(1), pc.cumulative_sum(elements)])
    places = ends.take(column.offsets)  # where each list begins, and the last one ends
    return pc.subtract(places.slice(1), places.slice(0, len(column)))


def _zeros(rows: int) -> pa.Array:
    return pa.repeat(pa.scalar(0, pa.int64()), rows)


def width(stored: pa.DataType) -> float:
    """Bytes that a value of the type takes before it is unfolded."""
    fixed = fixed_width(stored)
    if fixed is not None:
        return fixed
    return _INDEX if not pa.types.is_nested(stored) else _NESTED


def fixed_width(stored: pa.DataType) -> float | None:
    """Bytes of a value, where all have the same number; else None."""
    if pa.types.is_dictionary(stored):
        return _INDEX if fixed_width(stored.value_type) is not None else None
    if stored in _VIEWS:
        return None
    try:
        return float(stored.bit_width) / 8
    except ValueError:
        return None
