"""The columns of a Dataset's two tables, as PostgreSQL has them."""

import re
from collections.abc import Mapping, Sequence

from psycopg import sql

from penstock.runs.order import DatasetOrder
from penstock.worker import sqltables
from penstock.worker.ports.tablestore import ORDER
from penstock.worker.rows import lossless
from penstock.worker.sqltables import Column

_TYPES: Mapping[str, str] = {
    "string": "text",
    "boolean": "boolean",
    "int": "integer",
    "long": "bigint",
    "double": "double precision",
    "date": "date",
    "timestamp": "timestamp without time zone",
    "timestamptz": "timestamp with time zone",
}
_KINDS = {written: kind for kind, written in _TYPES.items()}


def kind(written: str) -> str:
    """The type of a Dataset's field for a type as PostgreSQL prints it; PostgreSQL's name where there is none."""
    decimal = re.fullmatch(r"numeric\((\d+),(\d+)\)", written)
    return f"decimal({decimal[1]},{decimal[2]})" if decimal else _KINDS.get(written, written)


def sql_type(column: Column) -> str:
    """The column's type as PostgreSQL prints it."""
    return _TYPES.get(column.kind) or column.kind.replace("decimal", "numeric").replace(" ", "")


def printed(column: Column) -> str:
    """DuckDB's name of the column's type, by which `cells` knows how its values are printed."""
    return "TIMESTAMP WITH TIME ZONE" if column.kind == "timestamptz" else lossless.sql_type(column.kind)


def definition(column: Column) -> sql.Composable:
    """The column in CREATE TABLE."""
    ending = sql.SQL(" NOT NULL" if column.required else "")
    return sql.SQL("{} {}{}").format(sql.Identifier(column.name), sql.SQL(sql_type(column)), ending)


def of_staging(dataset: DatasetOrder) -> list[Column]:
    """The columns of what is staged for the Dataset's table."""
    table = sqltables.columns_of_table(dataset)
    return [*table, Column(ORDER.name, "long", required=True)] if dataset.write_mode == "upsert" else table


def names(columns: Sequence[Column]) -> sql.Composed:
    """The columns' names, separated by commas."""
    return sql.SQL(", ").join(sql.Identifier(column.name) for column in columns)
