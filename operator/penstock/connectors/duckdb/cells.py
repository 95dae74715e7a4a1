# ruff: noqa: S608 - SQL is built here; every name in it goes through engine.name, and a query has been checked
"""What DuckDB's cells become: the type as it is where Arrow and the worker have it, else text; beside it what fits not.

The conversion is SQL that the database itself computes: for each column that is wanted one expression, and a second one
for the exact text of the cells that the first cannot hold.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import duckdb
import pyarrow as pa
import pyarrow.compute as pc

from penstock.worker.ports.chunks import Chunk, ExactCell, Lines
from penstock.worker.ports.source import Connection
from penstock.worker.rows import engine, patterns

BASE64 = "base64:"
"""Begins the text of bytes that are not UTF-8."""

_FIELD_TYPES = {
    "BOOLEAN": "boolean",
    **dict.fromkeys(("TINYINT", "SMALLINT", "INTEGER", "UTINYINT", "USMALLINT"), "int"),
    **dict.fromkeys(("UINTEGER", "BIGINT"), "long"),
    "UBIGINT": "decimal(20,0)",
    **dict.fromkeys(("FLOAT", "DOUBLE"), "double"),
    "DATE": "date",
    **dict.fromkeys(("TIMESTAMP", "TIMESTAMP_S", "TIMESTAMP_MS", "TIMESTAMP_NS"), "timestamp"),
    **dict.fromkeys(("TIMESTAMP WITH TIME ZONE", "TIMESTAMPTZ_NS"), "timestamptz"),
}
"""The types that are read as they are, and the field that holds each; all others are read as text."""
_MOMENTS = {"date": "DATE", "timestamp": "TIMESTAMP", "timestamptz": "TIMESTAMPTZ"}
_TEXTS = {"uuid": "UUID", "time": "TIME", "blob": "BLOB"}
"""Types whose text no field other than a `string` is made of."""
_NESTED = frozenset({"list", "array", "struct", "map", "union", "variant"})


@dataclass(frozen=True)
class Column:
    """A column of a table, view or query. `type` is DuckDB's name; `kind` tells a name of DuckDB's from a user's."""

    name: str
    type: str
    kind: str

    @property
    def source_type(self) -> str:
        """The type of its values in a chunk."""
        if self.type in _FIELD_TYPES or self.kind == "decimal":
            return self.type
        return _TEXTS.get(self.kind, "VARCHAR")

    @property
    def field_type(self) -> str:
        """The type of a Dataset's field that holds it."""
        if self.kind == "decimal":
            return self.type.lower()
        return _FIELD_TYPES.get(self.type, "string")

    def value(self, x: str) -> str:
        """SQL for the column's values in a chunk; `x` is the column in SQL."""
        if self.field_type in _MOMENTS:
            return f"CASE WHEN {self._in_years(x)} THEN {x} END"
        if self.type in _FIELD_TYPES or self.kind == "decimal":
            return x
        if self.kind == "blob":
            return f"TRY(decode({x}))"
        return f"CAST(to_json({x}) AS VARCHAR)" if self.kind in _NESTED else f"CAST({x} AS VARCHAR)"

    def misfit(self, x: str) -> str | None:
        """SQL for the exact text of a cell that `value` cannot hold, NULL for the others; None: it holds all."""
        if self.field_type in _MOMENTS:
            return f"CASE WHEN {x} IS NOT NULL AND NOT {self._in_years(x)} THEN CAST({x} AS VARCHAR) END"
        if self.kind == "blob":
            return f"CASE WHEN TRY(decode({x})) IS NULL THEN {engine.text(BASE64)} || to_base64({x}) END"
        return None

    def _in_years(self, x: str) -> str:
        moment = _MOMENTS[self.field_type]
        return f"(isfinite({x}) AND {patterns.in_years(moment, f'CAST({x} AS {moment})')})"


def columns(names: Sequence[str], types: Sequence[duckdb.sqltypes.DuckDBPyType]) -> tuple[Column, ...]:
    """The columns of a result."""
    return tuple(Column(name, str(kind), kind.id) for name, kind in zip(names, types, strict=True))


@dataclass(frozen=True)
class Relation:
    """A table, view or query: its SQL, its columns, and the positions of its primary key's columns."""

    sql: str
    columns: tuple[Column, ...]
    key: tuple[int, ...] = ()
    query: bool = False

    @property
    def source(self) -> str:
        """What stands after FROM, with the columns x0, x1, …: two columns of a query may have one name."""
        numbered = ", ".join(f"x{number}" for number in range(len(self.columns)))
        return f"(\n{self.sql}\n) AS source ({numbered})"

    def reading(self, wanted: Sequence[int], clauses: str = "") -> "Reading":
        """How the columns at these positions are read; `clauses` follow what stands after FROM."""
        values, misfits = [], []
        for number, position in enumerate(wanted):
            column, x = self.columns[position], f"x{position}"
            values.append(f"{column.value(x)} AS c{number}")
            if (text := column.misfit(x)) is not None:
                misfits.append(f"{text} AS e{number}")
        key = ", ".join(f"CAST(x{position} AS VARCHAR)" for position in self.key)
        keys = [f"concat_ws(', ', {key}) AS key"] if self.key else []
        listed = ", ".join([*values, *misfits, *keys]) or "1 AS none"
        return Reading(f"SELECT {listed} FROM {self.source} {clauses}", len(wanted))


@dataclass(frozen=True)
class Reading:
    """A statement whose columns are c0, c1, …, e0, e1, … where there may be exact texts, and `key`."""

    sql: str
    wanted: int

    def chunk(self, batches: Sequence[pa.RecordBatch], first: int, _: Connection) -> Chunk:
        """The chunk of some rows of the statement."""
        rows = pa.Table.from_batches(batches)
        exact: list[ExactCell] = []
        for name in rows.column_names:
            if name.startswith("e"):
                texts = rows[name].combine_chunks()
                places = pc.indices_nonzero(pc.is_valid(texts)).to_pylist()
                exact += [ExactCell(row, f"c{name[1:]}", texts[row].as_py()) for row in places]
        names = [f"c{number}" for number in range(self.wanted)]
        keys = rows["key"].combine_chunks() if "key" in rows.column_names else None
        return Chunk(rows.select(names), rows.num_rows, Lines(first), exact=tuple(exact), keys=keys)
