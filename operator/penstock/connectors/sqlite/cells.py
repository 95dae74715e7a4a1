"""What SQLite's cells become: columns typed by affinity, and beside them what does not fit.

SQLite types values, not columns. A declared type gives its column an affinity
(https://www.sqlite.org/datatype3.html#determination_of_column_affinity), which says what its values should be.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import pyarrow as pa

from penstock.worker.ports.chunks import Chunk, ExactCell, Lines
from penstock.worker.ports.source import Connection

INTEGER, REAL, TEXT, NUMERIC = "INTEGER", "REAL", "TEXT", "NUMERIC"
DUCKDB_TYPES = {INTEGER: "BIGINT", REAL: "DOUBLE", TEXT: "VARCHAR", NUMERIC: "VARCHAR"}
FIELD_TYPES = {INTEGER: "long", REAL: "double", TEXT: "string", NUMERIC: "string"}
_ARROW_TYPES = {INTEGER: pa.int64(), REAL: pa.float64(), TEXT: pa.string(), NUMERIC: pa.string()}

Row = Sequence[Any]


@dataclass(frozen=True)
class Relation:
    """A table, view or query: its SQL, its columns with their affinities, its primary key."""

    sql: str
    names: tuple[str, ...]
    affinities: tuple[str, ...]
    key: tuple[int, ...] = ()
    """Positions of the primary key's columns."""
    query: bool = False


def affinity(declared: str | None) -> str:
    """The affinity of a declared type, by the rules of SQLite's documentation; BLOB and none count as NUMERIC here."""
    name = (declared or "").upper()
    if "INT" in name:
        return INTEGER
    if any(part in name for part in ("CHAR", "CLOB", "TEXT")):
        return TEXT
    if "BLOB" not in name and any(part in name for part in ("REAL", "FLOA", "DOUB")):
        return REAL
    return NUMERIC


def chunk(rows: list[Row], relation: Relation, wanted: Sequence[int], first: int, _: Connection) -> Chunk:
    """The chunk of some rows: the columns that are wanted, and beside them the cells that do not fit."""
    arrays: list[pa.Array] = []
    exact: list[ExactCell] = []
    for number, position in enumerate(wanted):
        values, misfits = _column([row[position] for row in rows], relation.affinities[position])
        arrays.append(values)
        exact += [ExactCell(row, f"c{number}", text) for row, text in misfits]
    names = [f"c{number}" for number in range(len(wanted))]
    table = pa.Table.from_arrays(arrays, names=names) if arrays else _empty(len(rows))
    keys = [_key(row, relation.key) for row in rows] if relation.key else None
    return Chunk(
        table,
        len(rows),
        Lines(first),
        exact=tuple(exact),
        keys=pa.array(keys, pa.string()) if keys is not None else None,
    )


def _empty(rows: int) -> pa.Table:
    """A table of so many rows without a column."""
    return pa.table({"none": pa.nulls(rows)}).select([])


def _column(cells: Sequence[Any], kind: str) -> tuple[pa.Array, list[tuple[int, str]]]:
    """The cells as one array; those that do not fit are null in it, and listed with their row and text."""
    misfits: list[tuple[int, str]] = []
    values: list[Any] = []
    for row, cell in enumerate(cells):
        value = _value(cell, kind)
        if value is None and cell is not None:
            misfits.append((row, _shown(cell)))
        values.append(value)
    return pa.array(values, _ARROW_TYPES[kind]), misfits


def _value(cell: Any, kind: str) -> Any:
    """The cell as a value of its column, or None where it does not fit."""
    if isinstance(cell, bytes) or cell is None:
        return None
    if kind == INTEGER:
        return cell if isinstance(cell, int) else None
    if kind == REAL:
        exact = isinstance(cell, float) or (isinstance(cell, int) and int(float(cell)) == cell)
        return float(cell) if exact else None
    return _shown(cell)


def _shown(cell: Any) -> str:
    """The cell as text: digits, the shortest form of a number with a fraction, a blob as X'…'."""
    if isinstance(cell, bytes):
        return f"X'{cell.hex().upper()}'"
    return repr(cell) if isinstance(cell, float) else str(cell)


def _key(row: Row, positions: Sequence[int]) -> str:
    return ", ".join(_shown(row[position]) for position in positions)
