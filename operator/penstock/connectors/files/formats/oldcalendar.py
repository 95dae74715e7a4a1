"""Dates and times that Spark 2, or Spark 3 in its legacy mode, wrote into Parquet: in the Julian calendar before 1582.

Such a file counts days as the Julian calendar has them before 1582-10-15, and says so in its metadata. Read as the
calendar of ISO 8601 they would be other dates, up to ten days away. The date that was written is kept, as Spark itself
does it: 1500-03-01 stays 1500-03-01. What cannot be kept is set aside as exact text: 29 February of a year that has
none, and times before 1900 that were written in another time zone than UTC, whose offset then is not known.
"""

from collections.abc import Callable, Mapping
from datetime import date
from functools import cache

import pyarrow as pa
import pyarrow.compute as pc

Carry = Callable[[pa.Array], tuple[pa.Array, Mapping[int, str]]]

_VERSION, _TIME_ZONE = b"org.apache.spark.version", b"org.apache.spark.timeZone"
_LEGACY, _LEGACY_INT96 = b"org.apache.spark.legacyDateTime", b"org.apache.spark.legacyINT96"
_SWITCH, _OFFSETS = date(1582, 10, 15), date(1900, 1, 1)
_EPOCH = date(1970, 1, 1)
_DAY = 86_400
_PER_SECOND = {"s": 1, "ms": 1_000, "us": 1_000_000, "ns": 1_000_000_000}


def applies(metadata: Mapping[bytes, bytes], *, int96: bool) -> bool:
    """Whether a file with this metadata has its dates and times, or its moments of 96 bits, in the old calendar."""
    version = metadata.get(_VERSION)
    if version is None:
        return False
    if version.startswith((b"1.", b"2.")) or (int96 and version.startswith(b"3.0.")):
        return True  # Spark 3.0 wrote moments of 96 bits in the old calendar always, and does not say so
    return (_LEGACY_INT96 if int96 else _LEGACY) in metadata


def carried(carry: Carry, metadata: Mapping[bytes, bytes], stored: pa.DataType) -> Carry:
    """`carry` for a column of dates, of moments of any unit, or of 96 bits, that is written in the old calendar."""
    is_date = pa.types.is_date(stored)
    exact = is_date or metadata.get(_TIME_ZONE) in (b"UTC", b"Etc/UTC", b"GMT", b"Z")
    first = ((_SWITCH if exact else _OFFSETS) - _EPOCH).days

    def of_old_calendar(column: pa.Array) -> tuple[pa.Array, Mapping[int, str]]:
        ticks, per_day = _ticks(column)
        rows = pc.indices_nonzero(pc.fill_null(pc.less(ticks, first * per_day), False)).to_pylist()
        if not rows:
            return carry(column)
        moves, texts = dict[int, int](), dict[int, str]()
        for row in rows:
            day = ticks[row].as_py() // per_day
            move = _move(day) if exact else None
            if move is None:
                texts[row] = f"{_written(day)} of Spark's legacy calendar"
            else:
                moves[row] = move
        values, beside = carry(_moved(column, moves))
        if texts:
            values = pc.if_else(pa.array([row in texts for row in range(len(values))]), None, values)
        return values, {**beside, **texts}

    return of_old_calendar


def _ticks(column: pa.Array) -> tuple[pa.Array, int]:
    """The column as numbers, and how many of them are a day."""
    if pa.types.is_struct(column.type):  # 96 bits: in seconds, and in nanoseconds
        return column.field(0).cast(pa.int64()), _DAY
    if pa.types.is_date32(column.type):
        return column.cast(pa.int32()).cast(pa.int64()), 1
    if pa.types.is_date64(column.type):
        return column.cast(pa.int64()), _DAY * 1000
    return column.cast(pa.int64()), _DAY * _PER_SECOND[column.type.unit]


def _moved(column: pa.Array, moves: Mapping[int, int]) -> pa.Array:
    """The column with these rows moved by so many days."""
    days = pa.array([moves.get(row, 0) for row in range(len(column))], pa.int64())
    if pa.types.is_struct(column.type):
        parts = [_moved(column.field(number), moves) for number in range(2)]
        return pa.StructArray.from_arrays(parts, ["seconds", "nanoseconds"])
    ticks, per_day = _ticks(column)
    moved = pc.add(ticks, pc.multiply(days, per_day))  # nanoseconds of 96 bits wrap as they should
    return (moved.cast(pa.int32()) if pa.types.is_date32(column.type) else moved).cast(column.type)


@cache
def _move(day: int) -> int | None:
    """By how many days the day is moved to stay the date that was written; None where ISO 8601 has no such date."""
    year, month, number = _julian(day)
    try:
        return (date(year, month, number) - _EPOCH).days - day
    except ValueError:
        return None


def _written(day: int) -> str:
    if day >= (_SWITCH - _EPOCH).days:
        return str(date.fromordinal(_EPOCH.toordinal() + day))
    year, month, number = _julian(day)
    return f"{year:04d}-{month:02d}-{number:02d}"


def _julian(day: int) -> tuple[int, int, int]:
    """Year, month and day of the Julian calendar, so many days after 1970-01-01 of ISO 8601 (E. G. Richards, 2013)."""
    counted = day + 2_440_588 + 32_082
    years = (4 * counted + 3) // 1461
    rest = counted - 1461 * years // 4
    month = (5 * rest + 2) // 153
    return years - 4800 + month // 10, month + 3 - 12 * (month // 10), rest - (153 * month + 2) // 5 + 1
