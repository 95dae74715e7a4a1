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

MOST_KEYS = 2_000_000
"""Values of the first column of the key that are compared one by one; of more, the least and the greatest are."""


@dataclass(frozen=True)
class Keys:
    """The staged keys: for each column the least and the greatest; of the first also the values, ascending."""

    ranges: Sequence[tuple[Any, Any]]
    first: pa.ChunkedArray | None

    def may_be_between(self, place: int, lower: Any, upper: Any) -> bool:
        """Whether a value of the column at this place is from `lower` to `upper`."""
        least, most = self.ranges[place]
        if upper < least or lower > most:
            return False
        values = self._values
        if place or values is None:
            return True
        place_of_first = bisect_left(values, lower)
        return place_of_first < len(values) and values[place_of_first] <= upper

    @cached_property
    def _values(self) -> "_Values | None":
        return None if self.first is None else _Values(self.first)  # copied once, and not for each file


class _Values(Sequence[Any]):
    """An Arrow array as `bisect` takes it."""

    def __init__(self, array: pa.ChunkedArray) -> None:
        self._array = arrays.one(array)

    def __len__(self) -> int:
        return len(self._array)

    def __getitem__(self, place: Any) -> Any:
        return self._array[place].as_py()


def as_statistics(name: str, kind: pa.DataType) -> str:
    """SQL of DuckDB that writes a column's values as statistics have them: dates and times are integers there."""
    if pa.types.is_date(kind):
        return f"datediff('day', DATE '1970-01-01', {name})"
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
