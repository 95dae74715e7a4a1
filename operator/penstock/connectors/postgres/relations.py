"""What can be read: tables, views and queries with their columns, and how each column's cells are printed and read."""

import re
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

from psycopg import sql

from penstock.connectors.postgres import connection as connections
from penstock.connectors.postgres.connection import Connection, Place
from penstock.connectors.postgres.spec import PostgresSource
from penstock.language.errors import InvalidSpec
from penstock.worker.ports import chunks
from penstock.worker.ports.source import Stream, StreamField

_DIGITS = 38
_PLAIN = {
    "int2": ("SMALLINT", "int"),
    "int4": ("INTEGER", "int"),
    "int8": ("BIGINT", "long"),
    "oid": ("BIGINT", "long"),
    "float4": ("FLOAT", "double"),
    "float8": ("DOUBLE", "double"),
    "bool": ("BOOLEAN", "boolean"),
    "date": ("DATE", "date"),
    "timestamp": ("TIMESTAMP", "timestamp"),
    "timestamptz": ("TIMESTAMP WITH TIME ZONE", "timestamptz"),
}
"""Types whose values have a type of their own: DuckDB's name, and that of a Dataset's field. All others are text."""

_LIST = """
SELECT c.oid, n.nspname, c.relname, c.relkind::text, pg_table_size(c.oid),
       has_schema_privilege(n.oid, 'USAGE')
       AND (has_table_privilege(c.oid, 'SELECT') OR has_any_column_privilege(c.oid, 'SELECT'))
FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace
WHERE c.relkind IN ('r', 'p', 'v', 'm', 'f') AND NOT c.relispartition
  AND n.nspname <> 'information_schema' AND n.nspname !~ '^pg_'
ORDER BY n.nspname, c.relname"""
_COLUMNS = """
SELECT a.attname, a.atttypid, a.atttypmod, has_column_privilege(a.attrelid, a.attnum, 'SELECT'),
       coalesce(array_position(i.indkey::int2[], a.attnum), -1)
FROM pg_attribute a LEFT JOIN pg_index i ON i.indrelid = a.attrelid AND i.indisprimary
WHERE a.attrelid = %s AND a.attnum > 0 AND NOT a.attisdropped ORDER BY a.attnum"""
_TYPES = """
WITH RECURSIVE base AS (
  SELECT t.oid AS asked, t.oid, t.typtype, t.typbasetype, t.typtypmod FROM pg_type t WHERE t.oid = ANY(%s)
  UNION ALL
  SELECT b.asked, t.oid, t.typtype, t.typbasetype, coalesce(nullif(b.typtypmod, -1), t.typtypmod)
  FROM base b JOIN pg_type t ON b.typtype = 'd' AND t.oid = b.typbasetype)
SELECT b.asked::int8, t.typname, n.nspname, t.typtype::text, t.typcategory::text, b.typtypmod,
       t.typelem <> 0 AND t.typsubscript = 'array_subscript_handler'::regproc
FROM base b JOIN pg_type t ON t.oid = b.oid JOIN pg_namespace n ON n.oid = t.typnamespace WHERE b.typtype <> 'd'"""


@dataclass(frozen=True)
class Column:
    """A column: its name, DuckDB's name of its cells' type, that of a field, and what to select for it."""

    name: str
    source: str
    kind: str
    cast: str = ""
    """What is around the column in SQL: `to_json` for arrays, `numeric` for money."""
    type: str = ""
    """PostgreSQL's name of its type, of a domain that of its base type; empty for types of other schemas."""


@dataclass(frozen=True)
class Relation:
    """A table, view or query. `key` are positions of columns."""

    stream: str
    columns: tuple[Column, ...]
    origin: sql.Composable
    """What stands behind FROM; its columns are called p0, p1, …"""
    key: tuple[int, ...] = ()
    bytes: int | None = None
    query: bool = False
    table: sql.Identifier | None = None
    copied: bool = False
    """Whether its rows come from elsewhere: a foreign table, a materialized view."""

    @property
    def where(self) -> str:
        """What it is, for messages."""
        return f"{'query' if self.query else 'table'} {self.stream}"

    def copy(self, wanted: Sequence[int], clauses: str = "") -> sql.Composed:
        """The statement that prints the columns at these positions as CSV; `clauses` follow what is after FROM."""
        chosen = [_selected(position, self.columns[position]) for position in wanted]
        return sql.SQL("COPY (SELECT {} FROM {} {}) TO STDOUT (FORMAT csv)").format(
            sql.SQL(", ").join(chosen) if chosen else sql.SQL("1"), self.origin, sql.SQL(clauses)
        )

    def described(self) -> Stream:
        """As the catalog shows it."""
        fields = tuple(StreamField(column.name, column.kind) for column in self.columns)
        key = tuple(self.columns[position].name for position in self.key)
        return Stream(self.stream, fields, key, bytes=self.bytes)


@dataclass(frozen=True)
class Table:
    """A table or view of the database. `readable` says whether the user may read some of it."""

    oid: int
    schema: str
    name: str
    kind: str
    bytes: int
    readable: bool

    @property
    def stream(self) -> str:
        """The stream's name."""
        return self.name if self.schema == "public" else f"{self.schema}.{self.name}"

    @property
    def identifier(self) -> sql.Identifier:
        """Its name in SQL."""
        return sql.Identifier(self.schema, self.name)


def tables(connection: Connection, spec: PostgresSource, place: Place) -> list[Table]:
    """The tables that are selected, also those that the user may not read. Raises InvalidSpec for a doubtful name."""
    rows = connection.execute(_LIST).fetchall()
    selected = [table for table in (Table(*row) for row in rows) if spec.tables.selects(table.stream)]
    names = [query.name for query in spec.queries] + [table.stream for table in selected]
    twice = sorted({name for name in names if names.count(name) > 1})
    if twice:
        message = f'{place.where}: two streams are named "{twice[0]}". Rename the query, or exclude the table.'
        raise InvalidSpec(message, "WrongSpecification")
    return selected


def of_table(connection: Connection, table: Table) -> Relation:
    """The table with its columns; those that the user may not read are of an unknown type."""
    rows = connection.execute(_COLUMNS, [table.oid]).fetchall()
    columns = _columns(connection, [(name, kind, modifier) for name, kind, modifier, _, _ in rows])
    for number, (_, _, _, readable, _) in enumerate(rows):
        if not readable:
            columns[number] = Column(columns[number].name, f"{chunks.UNKNOWN}of a column without SELECT", "string")
    names = [sql.SQL("{} AS {}").format(sql.Identifier(row[0]), _position(number)) for number, row in enumerate(rows)]
    readable_names = [name for name, row in zip(names, rows, strict=True) if row[3]]
    inner = sql.SQL("(SELECT {} FROM {}) AS s").format(sql.SQL(", ").join(readable_names), table.identifier)
    keyed = sorted((row[4], number) for number, row in enumerate(rows) if row[4] >= 0)
    readable_key = all(rows[number][3] for _, number in keyed)
    key = tuple(number for _, number in keyed) if readable_key else ()
    size = table.bytes if table.kind in "rm" else None
    return Relation(table.stream, tuple(columns), inner, key, size, table=table.identifier, copied=table.kind in "fm")


def of_query(connection: Connection, stream: str, text: str, place: Place) -> Relation:
    """The query with its columns, which are asked for without executing it.

    Parsed by itself first, it is one whole statement, so that it cannot end the brackets that it is put into.
    """
    text = text.strip().removesuffix(";")
    where = f"{place.where}, query {stream}"
    with connections.searching_as_the_user(connection):
        prepared = connections.described(connection, text.encode())
    if not prepared.nfields:
        raise InvalidSpec(f"{where}: it has no columns. Write one SELECT statement.", "WrongSpecification")
    described = [
        ((prepared.fname(i) or b"").decode(), prepared.ftype(i), prepared.fmod(i)) for i in range(prepared.nfields)
    ]
    names = sql.SQL(", ").join(_position(number) for number in range(len(described)))
    origin = sql.SQL("(\n{}\n) AS s({})").format(sql.SQL(text), names)
    return Relation(stream, tuple(_columns(connection, described)), origin, query=True)


def _columns(connection: Connection, described: Sequence[tuple[str, int, int]]) -> list[Column]:
    """Columns by their names, type oids and type modifiers."""
    oids = sorted({kind for _, kind, _ in described})
    rows = connection.execute(_TYPES, [oids]).fetchall()
    types = {row[0]: row[1:] for row in rows}
    return [_column(name, types.get(kind), modifier) for name, kind, modifier in described]


def _column(name: str, described: Any, modifier: int) -> Column:
    if described is None:
        return Column(name, "VARCHAR", "string")
    column = _described(name, described, modifier)
    kind, schema = described[:2]
    return replace(column, type=kind if schema == "pg_catalog" else "")


def _described(name: str, described: Any, modifier: int) -> Column:
    kind, schema, form, category, base_modifier, array = described
    modifier = modifier if modifier >= 0 else base_modifier
    if array or category == "A" or form == "c":
        return Column(name, "VARCHAR", "string", "to_json")
    if schema != "pg_catalog":
        return Column(name, "VARCHAR", "string")
    if kind == "numeric":
        return _numeric(name, modifier)
    if kind == "money":
        return Column(name, "VARCHAR", "string", "numeric")
    return Column(name, *_PLAIN.get(kind, ("VARCHAR", "string")))


def _numeric(name: str, modifier: int) -> Column:
    """A decimal where precision and scale are given and fit; else text, which is exact."""
    if modifier < 4:
        return Column(name, "VARCHAR", "string")
    precision, scale = (modifier - 4) >> 16 & 0xFFFF, ((modifier - 4 & 0x7FF) ^ 1024) - 1024
    precision, scale = max(precision - min(scale, 0), scale + 1), max(scale, 0)  # with a digit before the point
    if precision > _DIGITS:
        return Column(name, "VARCHAR", "string")
    return Column(name, f"DECIMAL({precision},{scale})", f"decimal({precision},{scale})")


def _selected(position: int, column: Column) -> sql.Composable:
    name = _position(position)
    return sql.SQL("pg_catalog.{}({})").format(sql.SQL(column.cast), name) if column.cast else name


def _position(number: int) -> sql.Identifier:
    return sql.Identifier(f"p{number}")


def decimal_of(source: str) -> tuple[int, int]:
    """The precision and scale of `DECIMAL(precision,scale)`."""
    precision, scale = (int(part) for part in re.findall(r"\d+", source))
    return precision, scale
