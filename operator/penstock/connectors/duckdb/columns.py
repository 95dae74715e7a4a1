"""The columns of a Dataset's two tables, as DuckDB has them."""

import re
from collections.abc import Sequence

from penstock.worker.rows import engine, lossless
from penstock.worker.sqltables import Column

_KINDS = {
    lossless.sql_type(kind): kind
    for kind in ("string", "boolean", "int", "long", "double", "date", "timestamp", "timestamptz")
} | {"TIMESTAMP WITH TIME ZONE": "timestamptz"}


def kind(written: str) -> str:
    """The type of a Dataset's field for a type as DuckDB prints it; DuckDB's name where there is none."""
    decimal = re.fullmatch(r"DECIMAL\((\d+),(\d+)\)", written)
    return f"decimal({decimal[1]},{decimal[2]})" if decimal else _KINDS.get(written, written)


def definition(column: Column) -> str:
    """The column in CREATE TABLE."""
    return f"{engine.name(column.name)} {lossless.sql_type(column.kind)}{' NOT NULL' if column.required else ''}"


def names(columns: Sequence[Column]) -> str:
    """The columns' names, separated by commas."""
    return ", ".join(engine.name(column.name) for column in columns)
