"""Which data files may have some of the staged keys, by the statistics that the table has of them."""

from bisect import bisect_left
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any, cast

import pyarrow as pa
from pyiceberg.conversions import from_bytes
from pyiceberg.manifest import DataFile
from pyiceberg.table import FileScanTask, Table
from pyiceberg.types import IntegerType, LongType, NestedField, PrimitiveType

from penstock.worker.rows import arrays

LONGEST_TEXT = 32
"""Characters of a text by which files are distinguished; statistics have the first 16 as a rule."""
MOST_BYTES = 16 << 20
"""Bytes of the ranges of a key's first column. Where the values would take more, neighbours become one range."""


@dataclass(frozen=True)
class Keys:
    """The staged keys: for each column the least and the greatest; of the first, ranges that have all of its values.

    Of texts, these are the first LONGEST_TEXT characters. The ranges do not overlap, and ascend.
    """

    bounds: Sequence[tuple[Any, Any]]
    lower: pa.ChunkedArray
    upper: pa.ChunkedArray

    def may_be_between(self, place: int, lower: Any, upper: Any) -> bool:
        """Whether a value of the column at this place may be from `lower` to `upper`."""
        if isinstance(lower, str):
            lower = lower[:LONGEST_TEXT]
        least, most = self.bounds[place]
        if upper < least or lower > most:
            return False
        if place:
            return True
        number = bisect_left(self._upper, lower)  # the first range that does not end before `lower`
        return number < len(self._upper) and self._lower[number] <= upper

    @cached_property
    def _lower(self) -> "_Values":
        return _Values(self.lower)  # copied once, and not for each file

    @cached_property
    def _upper(self) -> "_Values":
        return _Values(self.upper)


class _Values(Sequence[Any]):
    """An Arrow array as `bisect` takes it."""

    def __init__(self, array: pa.ChunkedArray) -> None:
        self._array = arrays.one(array)

    def __len__(self) -> int:
        return len(self._array)

    def __getitem__(self, place: Any) -> Any:
        return self._array[place].as_py()


def is_text(kind: pa.DataType) -> bool:
    """Whether the type is that of texts."""
    return kind in (pa.string(), pa.large_string())


def as_statistics(name: str, kind: pa.DataType) -> str:
    """SQL of DuckDB that writes a key's values as statistics have them: dates and times are integers there."""
    if pa.types.is_date(kind):
        return f"datediff('day', DATE '1970-01-01', {name})"
    if is_text(kind):
        return f"left({name}, {LONGEST_TEXT})"
    return f"epoch_us({name})" if pa.types.is_timestamp(kind) else name


def candidates(table: Table, key: Sequence[str], keys: Keys) -> list[FileScanTask]:
    """The files that may have staged keys, by the least value of the key's first column, unknown ones last.

    Files written from neighbours hold neighbouring keys then, too.
    """
    fields = [table.schema().find_field(name) for name in key]
    tasks = []
    for task in table.scan().plan_files():
        bounds = [_bounds(task.file, field) for field in fields]
        if all(each is None or keys.may_be_between(place, *each) for place, each in enumerate(bounds)):
            tasks.append((bounds[0], task))
    tasks.sort(key=lambda entry: (entry[0] is None, entry[0][0] if entry[0] else 0, entry[1].file.file_path))
    return [task for _, task in tasks]


def _bounds(file: DataFile, field: NestedField) -> tuple[Any, Any] | None:
    """The least and the greatest value of the field in the file; None where they are not known."""
    lower, upper = ((bounds or {}).get(field.field_id) for bounds in (file.lower_bounds, file.upper_bounds))
    if lower is None or upper is None:
        return None
    return _value(field, lower), _value(field, upper)


def _value(field: NestedField, written: bytes) -> Any:
    """A bound; that of a file from before an int became a long has the int's four bytes."""
    kind = cast(PrimitiveType, field.field_type)  # a Dataset has no others
    return from_bytes(IntegerType() if isinstance(kind, LongType) and len(written) == 4 else kind, written)
