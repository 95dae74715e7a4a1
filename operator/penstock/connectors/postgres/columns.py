"""The columns of a Dataset's two tables, as PostgreSQL has them."""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import pyarrow as pa
from psycopg import sql

from penstock.runs.order import DatasetOrder
from penstock.worker.ports.tablestore import INPUT_ID, LINEAGE, LOAD_ID, LOADED_AT, ORDER, QUARANTINE
from penstock.worker.rows import direct, lossless

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
_OF_ARROW: Mapping[pa.DataType, str] = {
    pa.string(): "string",
    pa.int64(): "long",
    pa.bool_(): "boolean",
    pa.timestamp("us", "UTC"): "timestamptz",
}
_DESCRIPTIONS = {
    LOAD_ID: "The load that last changed the row's values; only grows.",
    LOADED_AT: "When the row was loaded.",
}


@dataclass(frozen=True)
class Column:
    """A column of a table: `kind` is the type of a Dataset's field, or PostgreSQL's own name of another type."""

    name: str
    kind: str
    required: bool
    description: str = ""

    @property
    def type(self) -> str:
        """The type as PostgreSQL prints it."""
        return _TYPES.get(self.kind) or self.kind.replace("decimal", "numeric").replace(" ", "")

    @property
    def printed(self) -> str:
        """DuckDB's name of the type, by which `cells` knows how it is printed."""
        return "TIMESTAMP WITH TIME ZONE" if self.kind == "timestamptz" else lossless.sql_type(self.kind)

    @property
    def definition(self) -> sql.Composable:
        """The column in CREATE TABLE."""
        ending = sql.SQL(" NOT NULL" if self.required else "")
        return sql.SQL("{} {}{}").format(sql.Identifier(self.name), sql.SQL(self.type), ending)


def of_table(dataset: DatasetOrder) -> list[Column]:
    """The columns that the Dataset's fields describe, and those of lineage after them."""
    own = [
        Column(field.name, field.type.replace(" ", ""), bool(field.required), field.description or "")
        for field in dataset.schema_.fields
    ]
    return own + _from_arrow(LINEAGE)


def of_quarantine() -> list[Column]:
    """The columns of every quarantine table."""
    return _from_arrow(QUARANTINE)


def arrow(columns: Sequence[Column]) -> pa.Schema:
    """The columns as an Arrow schema."""
    return pa.schema([pa.field(column.name, direct.arrow_type(column.kind)) for column in columns])


def kind(written: str) -> str:
    """The type of a Dataset's field for a type as PostgreSQL prints it; PostgreSQL's name where there is none."""
    decimal = re.fullmatch(r"numeric\((\d+),(\d+)\)", written)
    return f"decimal({decimal[1]},{decimal[2]})" if decimal else _KINDS.get(written, written)


def _from_arrow(schema: pa.Schema) -> list[Column]:
    return [
        Column(each.name, _OF_ARROW[each.type], not each.nullable, _DESCRIPTIONS.get(each.name, "")) for each in schema
    ]


def of_staging(dataset: DatasetOrder) -> list[Column]:
    """The columns of what is staged for the Dataset's table."""
    order = Column(ORDER.name, "long", required=True)
    return [*of_table(dataset), order] if dataset.write_mode == "upsert" else of_table(dataset)


def names(columns: Sequence[Column]) -> sql.Composed:
    """The columns' names, separated by commas."""
    return sql.SQL(", ").join(sql.Identifier(column.name) for column in columns)


INPUT_COLUMNS = (INPUT_ID, "input_id")
"""The columns of the two tables by which the rows of an input are found."""
