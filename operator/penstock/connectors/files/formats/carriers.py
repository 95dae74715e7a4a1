"""What stands for a Parquet column's values: for each stored type, one that Arrow and DuckDB hold without loss.

A cell that the carrying type cannot hold (a moment in the year 84107, text that is not UTF-8) becomes null in it, and
its exact text is kept beside. Whether the row is bad then is not decided here.
"""

import base64
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from functools import cache, partial

import duckdb
import pyarrow as pa
import pyarrow.compute as pc

from penstock.worker.ports.chunks import UNKNOWN
from penstock.worker.rows import engine

INT96 = "INT96"
BASE64 = "base64:"
"""Begins the text of bytes that are not UTF-8."""

_DAY, _MICROSECONDS = 86_400, 1_000_000
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_FIRST = (datetime(1, 1, 1, tzinfo=UTC) - _EPOCH) // timedelta(seconds=1)
_LAST = (datetime(9999, 12, 31, 23, 59, 59, tzinfo=UTC) - _EPOCH) // timedelta(seconds=1)
"""The years 1 to 9999, in seconds of 1970."""
_PER_SECOND = {"s": 1, "ms": 1_000, "us": 1_000_000, "ns": 1_000_000_000}
_ERA_YEARS, _ERA_DAYS = 400, 146_097
"""The Gregorian calendar repeats itself after so many years and days."""

Beside = Mapping[int, str]
"""Exact texts of the cells that the carrying type cannot hold, by row."""


@dataclass(frozen=True)
class Carrier:
    """How one column is read. `name` is its source type: DuckDB's name, or one that `lossless` has a rule for.

    `text`: it is read as a dictionary first. `beside`: some of its cells may come as exact text. `twice`: it is read
    in seconds and in nanoseconds, for `moments_of_96_bits`.
    """

    name: str
    carry: Callable[[pa.Array], tuple[pa.Array, Beside]]
    text: bool = False
    beside: bool = False
    twice: bool = False


WIDE_INTEGER = Carrier(f"{UNKNOWN}integer of 128 bits", lambda column: (column, {}))


def carrier(stored: pa.DataType, physical: str, logical: str) -> Carrier:  # noqa: PLR0911 - one case a type
    """The carrier for a column of the Arrow type `stored`; `physical` and `logical` are Parquet's types of its leaf."""
    types = pa.types
    if types.is_dictionary(stored) or types.is_run_end_encoded(stored):
        return _decoded(stored, physical, logical)
    if physical == INT96:
        return Carrier("TIMESTAMP", moments_of_96_bits, beside=True, twice=True)
    if types.is_null(stored):
        return Carrier("VARCHAR", lambda column: (pa.nulls(len(column), pa.string()), {}))
    if is_bytes(stored):
        return _of_bytes(stored, logical)
    if types.is_decimal(stored):
        return _decimal(stored)
    if types.is_float16(stored):
        return Carrier("FLOAT", lambda column: (column.cast(pa.float32()), {}))
    if types.is_date(stored):
        return Carrier("DATE", lambda column: _dates(column.cast(pa.date32())), beside=True)
    if types.is_timestamp(stored):
        name = "TIMESTAMP" if stored.tz is None else "TIMESTAMP WITH TIME ZONE"
        return Carrier(name, partial(_moments, stored), beside=True)
    if types.is_time(stored):
        return Carrier("TIME", partial(_times, stored), beside=True)
    return Carrier(_PLAIN.get(stored) or engine_name(stored), lambda column: (column, {}))


_PLAIN = {
    pa.bool_(): "BOOLEAN",
    pa.int8(): "TINYINT",
    pa.int16(): "SMALLINT",
    pa.int32(): "INTEGER",
    pa.int64(): "BIGINT",
    pa.uint8(): "UTINYINT",
    pa.uint16(): "USMALLINT",
    pa.uint32(): "UINTEGER",
    pa.uint64(): "UBIGINT",
    pa.float32(): "FLOAT",
    pa.float64(): "DOUBLE",
}


@cache
def engine_name(stored: pa.DataType) -> str:
    """DuckDB's name of a list, a structure or the like."""
    empty = pa.table({"c": pa.array([], stored)})
    try:
        with engine.small() as connection:
            connection.register("columns", empty)
            try:
                rows = connection.execute("DESCRIBE columns").fetchall()
            finally:
                connection.unregister("columns")
    except (duckdb.Error, pa.ArrowException):
        return f"{UNKNOWN}{stored}"
    return str(rows[0][1]) if rows and pa.types.is_nested(stored) else f"{UNKNOWN}{stored}"


def is_bytes(stored: pa.DataType) -> bool:
    names = ("string", "large_string", "string_view", "binary", "large_binary", "binary_view")
    return str(stored) in names or pa.types.is_fixed_size_binary(stored)


def _decoded(stored: pa.DataType, physical: str, logical: str) -> Carrier:
    """The carrier of the values that a dictionary or runs stand for."""
    of_values = carrier(stored.value_type, physical, logical)

    def carry(column: pa.Array) -> tuple[pa.Array, Beside]:
        if pa.types.is_dictionary(column.type):
            column = column.dictionary_decode()
        elif pa.types.is_run_end_encoded(column.type):
            column = pc.run_end_decode(column)
        return of_values.carry(column)

    return Carrier(of_values.name, carry, of_values.text, of_values.beside)


def _of_bytes(stored: pa.DataType, logical: str) -> Carrier:
    if logical == "INTERVAL":
        return Carrier(f"{UNKNOWN}interval", lambda column: (column, {}))
    if logical == "UUID":
        return Carrier("UUID", _uuids)
    bare = not ("string" in str(stored) or logical in ("STRING", "JSON", "ENUM"))
    text = not pa.types.is_fixed_size_binary(stored)  # Arrow has no dictionaries of those
    return Carrier("BLOB" if bare else "VARCHAR", _texts, text=text, beside=True)


def _texts(column: pa.Array) -> tuple[pa.Array, Beside]:
    """Bytes as text; those that are not UTF-8 beside, in base64."""
    if pa.types.is_dictionary(column.type):
        if len(column.dictionary) < len(column):
            values, _ = _texts_or_none(column.dictionary)
            if values is not None:
                return pa.DictionaryArray.from_arrays(column.indices, values).dictionary_decode(), {}
        column = column.dictionary_decode()
    values, raw = _texts_or_none(column)
    if values is not None:
        return values, {}
    texts: list[str | None] = []
    beside = {}
    for row, value in enumerate(raw.to_pylist()):
        try:
            texts.append(None if value is None else value.decode())
        except UnicodeDecodeError:
            texts.append(None)
            beside[row] = BASE64 + base64.b64encode(value).decode()
    return pa.array(texts, pa.string()), beside


def _texts_or_none(column: pa.Array) -> tuple[pa.Array | None, pa.Array]:
    """The column as text, or None where a cell is not UTF-8; and as bytes."""
    raw = column.cast(pa.binary())
    try:
        return raw.cast(pa.string()), raw
    except pa.ArrowInvalid:
        return None, raw


def _uuids(column: pa.Array) -> tuple[pa.Array, Beside]:
    texts = [None if value is None else value.hex() for value in column.to_pylist()]
    cuts = ((0, 8), (8, 12), (12, 16), (16, 20), (20, 32))
    return pa.array([text and "-".join(text[start:end] for start, end in cuts) for text in texts], pa.string()), {}


def _decimal(stored: pa.DataType) -> Carrier:
    name = f"DECIMAL({stored.precision},{stored.scale})"
    if stored.precision <= 38:
        narrow = pa.decimal128(stored.precision, stored.scale)
        return Carrier(name, lambda column: (column.cast(narrow), {}))
    return Carrier(name, _wide_decimals)


def _wide_decimals(column: pa.Array) -> tuple[pa.Array, Beside]:
    """Decimals of up to 76 digits as text."""
    return pa.array([None if value is None else f"{value:f}" for value in column.to_pylist()], pa.string()), {}


def _dates(column: pa.Array) -> tuple[pa.Array, Beside]:
    days = column.cast(pa.int32())
    fits = _between(days, _FIRST // _DAY, _LAST // _DAY)
    return _apart(column, fits, lambda row: day_of(days[row].as_py()))


def _moments(stored: pa.DataType, column: pa.Array) -> tuple[pa.Array, Beside]:
    """Moments of any unit in microseconds; beside: other years than 1 to 9999, and what is finer."""
    per_second = _PER_SECOND[stored.unit]
    ticks = column.cast(pa.int64())
    fits = _between(ticks, _FIRST * per_second, (_LAST + 1) * per_second - 1)
    if stored.unit == "ns":
        whole = pc.multiply(pc.divide(ticks, 1000), 1000)
        fits = pc.and_(fits, pc.equal(whole, ticks))
    zone = "" if stored.tz is None else "+00"
    ticks_that_fit = pc.if_else(fits, ticks, None).cast(stored)
    values = ticks_that_fit.cast(pa.timestamp("us", stored.tz and "UTC"))
    beside = {}
    for row in _rows(fits):
        seconds, fraction = divmod(ticks[row].as_py(), per_second)
        beside[row] = moment_of(seconds, fraction, len(str(per_second)) - 1) + zone
    return values, beside


def moments_of_96_bits(readings: pa.StructArray) -> tuple[pa.Array, Beside]:
    """Moments of Impala, Hive and old Spark from two readings of the same column: in seconds, and in nanoseconds.

    Arrow reads them in one unit only: seconds lose the fraction, and nanoseconds since 1970 are right modulo 2^64. The
    difference of the two, modulo 2^64, is the fraction.
    """
    seconds, nanoseconds = readings.flatten()
    whole = seconds.cast(pa.int64())
    fraction = pc.subtract(nanoseconds.cast(pa.int64()), pc.multiply(whole, 1_000_000_000))  # wraps as it should
    fits = pc.and_(_between(whole, _FIRST, _LAST), pc.equal(pc.multiply(pc.divide(fraction, 1000), 1000), fraction))
    ticks = pc.add(pc.multiply(pc.if_else(fits, whole, None), _MICROSECONDS), pc.divide(fraction, 1000))
    beside = {row: moment_of(whole[row].as_py(), fraction[row].as_py(), 9) for row in _rows(fits)}
    return ticks.cast(pa.timestamp("us")), beside


def _times(stored: pa.DataType, column: pa.Array) -> tuple[pa.Array, Beside]:
    per_second = _PER_SECOND[stored.unit]
    ticks = column.cast(pa.int32() if stored.bit_width == 32 else pa.int64()).cast(pa.int64())
    fits = _between(ticks, 0, _DAY * per_second - 1)
    texts = pc.if_else(fits, ticks, None).cast(pa.int64())
    texts = texts.cast(pa.time64(stored.unit)) if stored.unit in ("us", "ns") else texts.cast(pa.int32()).cast(stored)
    return texts.cast(pa.string()), {row: f"{ticks[row].as_py()} {stored.unit}" for row in _rows(fits)}


def _between(numbers: pa.Array, first: int, last: int) -> pa.Array:
    """Whether each number lies between the two, both included; null where there is none."""
    bits = 63 if numbers.type == pa.int64() else 31
    first, last = max(first, -(1 << bits)), min(last, (1 << bits) - 1)
    kind = numbers.type
    return pc.and_(pc.greater_equal(numbers, pa.scalar(first, kind)), pc.less_equal(numbers, pa.scalar(last, kind)))


def _apart(column: pa.Array, fits: pa.Array, text: Callable[[int], str]) -> tuple[pa.Array, Beside]:
    rows = _rows(fits)
    return (pc.if_else(fits, column, None) if rows else column), {row: text(row) for row in rows}


def _rows(fits: pa.Array) -> Iterable[int]:
    """The rows for which it is false."""
    if fits.true_count + fits.null_count == len(fits):
        return []
    rows: list[int] = pc.indices_nonzero(pc.invert(fits)).to_pylist()
    return rows


def day_of(days: int) -> str:
    """The day that is so many days after 1970-01-01, in any year: `84107-01-05`, `-0043-03-15`."""
    eras, rest = divmod(days - _FIRST // _DAY, _ERA_DAYS)
    day = datetime(1, 1, 1, tzinfo=UTC) + timedelta(days=rest)
    year = day.year + eras * _ERA_YEARS
    return f"{'-' if year < 0 else ''}{abs(year):04d}-{day.month:02d}-{day.day:02d}"


def moment_of(seconds: int, fraction: int, places: int) -> str:
    """The moment so many seconds after 1970 and a fraction of so many decimal places, in any year."""
    days, rest = divmod(seconds, _DAY)
    clock = f"{rest // 3600:02d}:{rest // 60 % 60:02d}:{rest % 60:02d}"
    return f"{day_of(days)} {clock}" + (f".{fraction:0{places}d}".rstrip("0") if fraction else "")
