"""What MySQL's values become: columns by their declared types, and beside them what those cannot hold.

The text protocol sends every value as the text that MySQL prints (https://dev.mysql.com/doc/refman/8.4/en/data-types.html),
so nothing is lost on the way: columns are made of these texts here, exactly or not at all.
"""

import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc

from penstock.worker.ports.chunks import Chunk, ExactCell, Lines
from penstock.worker.ports.source import Connection

Row = Sequence[Any]
Misfits = list[tuple[int, str]]
Convert = Callable[[Sequence[Any]], tuple[pa.Array, Misfits]]

_LONGEST_DECIMAL = 38


@dataclass(frozen=True)
class Column:
    """A column of a stream: its name, the SQL that reads it, its types, and how its texts become an array."""

    name: str
    sql: str
    duckdb_type: str
    field_type: str
    convert: Convert


def name(identifier: str) -> str:
    """A quoted identifier."""
    return "`" + identifier.replace("`", "``") + "`"


def column(identifier: str, declared: str) -> Column:
    """The column of a declared type such as `decimal(10,2) unsigned`, as information_schema prints it."""
    kind = re.split(r"[ (]", declared, maxsplit=1)[0].lower()
    unsigned = "unsigned" in declared
    if kind in ("decimal", "numeric"):
        return _decimal(identifier, declared)
    duckdb_type, field_type, convert = _TYPES.get("bigint unsigned" if kind == "bigint" and unsigned else kind, _TEXT)
    sql = _READ_AS.get(kind, "{}").format(name(identifier))
    return Column(identifier, sql, duckdb_type, field_type, convert)


def text(identifier: str) -> Column:
    """The column of a query, whose values are read as text."""
    return Column(identifier, name(identifier), *_TEXT)


def _decimal(identifier: str, declared: str) -> Column:
    digits = re.search(r"\((\d+),(\d+)\)", declared)
    precision, scale = (int(digits[1]), int(digits[2])) if digits else (10, 0)
    if precision > _LONGEST_DECIMAL:
        return text(identifier)
    written = f"({precision},{scale})"
    convert = _parsed(pa.decimal128(precision, scale))
    return Column(identifier, name(identifier), f"DECIMAL{written}", f"decimal{written}", convert)


def _parsed(kind: pa.DataType) -> Convert:
    """Arrays of a type that every value of the column fits."""

    def convert(cells: Sequence[Any]) -> tuple[pa.Array, Misfits]:
        return pa.array(cells, pa.string()).cast(kind), []

    return convert


def _moments(kind: pa.DataType) -> Convert:
    """Arrays of dates or times; MySQL also stores `0000-00-00`, `2024-00-15` and, where allowed, `2024-02-31`."""

    def convert(cells: Sequence[Any]) -> tuple[pa.Array, Misfits]:
        texts = pa.array(cells, pa.string())
        plain = pa.timestamp("us") if pa.types.is_timestamp(kind) else kind
        try:
            values = _without_zeros(texts).cast(plain)
        except pa.ArrowInvalid:
            values = pa.array([_moment(cell, plain) for cell in cells], plain)
        misfits = pc.and_(pc.is_valid(texts), pc.is_null(values))
        return values.cast(kind), [(row, cells[row]) for row in pc.indices_nonzero(misfits).to_pylist()]

    return convert


def _without_zeros(texts: pa.StringArray) -> pa.StringArray:
    """The texts, null where the year, month or day is zero."""
    year, month, day = (pc.utf8_slice_codeunits(texts, *ends) for ends in ((0, 4), (5, 7), (8, 10)))
    zero = pc.or_(pc.equal(year, "0000"), pc.or_(pc.equal(month, "00"), pc.equal(day, "00")))
    return pc.if_else(zero, pa.scalar(None, pa.string()), texts)


def _moment(cell: str | None, kind: pa.DataType) -> Any:
    try:
        return pa.array([cell], pa.string()).cast(kind)[0].as_py()
    except pa.ArrowInvalid:
        return None


def _texts(cells: Sequence[Any]) -> tuple[pa.Array, Misfits]:
    """Texts as they are; bytes are text where they are UTF-8, and do not fit where they are not."""
    misfits: Misfits = []
    values: list[str | None] = []
    for row, cell in enumerate(cells):
        value = cell
        if isinstance(cell, bytes):
            try:
                value = cell.decode()
            except UnicodeDecodeError:
                value = None
                misfits.append((row, f"X'{cell.hex().upper()}'"))
        values.append(value)
    return pa.array(values, pa.string()), misfits


_LONG = ("BIGINT", "long", _parsed(pa.int64()))
_UNSIGNED = ("UBIGINT", "decimal(20,0)", _parsed(pa.uint64()))
_DOUBLE = ("DOUBLE", "double", _parsed(pa.float64()))
_TEXT = ("VARCHAR", "string", _texts)
_TYPES: Mapping[str, tuple[str, str, Convert]] = {
    **dict.fromkeys(("tinyint", "smallint", "mediumint", "int", "bigint", "year"), _LONG),
    **dict.fromkeys(("bigint unsigned", "bit"), _UNSIGNED),
    **dict.fromkeys(("float", "double", "real"), _DOUBLE),
    "date": ("DATE", "date", _moments(pa.date32())),
    "datetime": ("TIMESTAMP", "timestamp", _moments(pa.timestamp("us"))),
    # The session's zone is UTC.
    "timestamp": ("TIMESTAMP WITH TIME ZONE", "timestamptz", _moments(pa.timestamp("us", "UTC"))),
}
"""By MySQL's name: DuckDB's type, the type of a field that holds every value, and the conversion. Others are text."""
_READ_AS = {
    "float": "CAST({} AS DOUBLE)",  # a FLOAT is printed with 6 digits only
    "bit": "CAST({} AS UNSIGNED)",
}


def chunk(
    rows: Sequence[Row], columns: Sequence[Column], key: Sequence[int], first: int, connection: Connection
) -> Chunk:
    """The chunk of some rows, which have the columns and then the key's, whose positions among the rows are `key`."""
    del connection
    arrays: list[pa.Array] = []
    exact: list[ExactCell] = []
    for number, each in enumerate(columns):
        values, misfits = each.convert([row[number] for row in rows])
        arrays.append(values)
        exact += [ExactCell(row, f"c{number}", written) for row, written in misfits]
    names = [f"c{number}" for number in range(len(columns))]
    table = pa.Table.from_arrays(arrays, names=names) if arrays else pa.table({"none": pa.nulls(len(rows))}).select([])
    keys = (
        pa.array([", ".join(_shown(row[position]) for position in key) for row in rows], pa.string()) if key else None
    )
    return Chunk(table, len(rows), Lines(first), exact=tuple(exact), keys=keys)


def _shown(cell: Any) -> str:
    return f"X'{cell.hex().upper()}'" if isinstance(cell, bytes) else str(cell)
