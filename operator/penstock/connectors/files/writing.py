# ruff: noqa: S608 - SQL is built here; every name and literal in it goes through engine.name and engine.text
"""Rows as text that others read: which SQL writes a delivered file, and how a value looks in CSV and in JSON.

DuckDB's own words for times are no RFC 3339 (`2026-01-01 00:00:00+00`), and not all of its JSON is JSON (RFC 8259): it
writes `.5` for the decimals that are all fraction, and `NaN` and `Infinity`, which JSON does not have.
"""

import json
from collections.abc import Sequence
from pathlib import Path

from penstock.connectors.files.spec import Format
from penstock.worker.ports.target import DeliveredColumn as Column
from penstock.worker.rows import engine, lossless

_UNSEEN = r"\x{00}-\x{20}\x{7F}-\x{A0}\x{200B}-\x{200F}\x{2028}\x{2029}\x{3000}\x{FEFF}"
"""Blanks and invisible characters; programs differ in which of them they ignore."""
_FORMULA = rf"^([\t\r\n]|[{_UNSEEN}]*[=+\-@\x{{FF1D}}\x{{FF0B}}\x{{FF0D}}\x{{FF20}}])"
"""How a text begins that a spreadsheet runs as a formula: also after those, and in the wide letters of East Asia."""


def statement(columns: Sequence[Column], form: Format, compression: str, target: Path) -> str:
    """The SQL that writes the rows of the relation `delivered` into the file `target`."""
    if form.choice == "json_":
        values = _line(columns, form)
    else:
        values = ", ".join(f"{_value(column, form)} AS {engine.name(column.target)}" for column in columns)
    rows = f"SELECT {values} FROM delivered"
    return f"COPY ({rows}) TO {engine.text(str(target))} ({_options(form, compression)})"


def _value(column: Column, form: Format) -> str:
    x = engine.name(column.source)
    if form.choice == "parquet":
        return x
    match column.type:
        case "timestamp":
            return f"replace(CAST({x} AS VARCHAR), ' ', 'T')"
        case "timestamptz":  # as a timestamp it is that of the session's zone, which is UTC
            return f"replace(CAST(CAST({x} AS TIMESTAMP) AS VARCHAR), ' ', 'T') || 'Z'"
        case "string" if form.csv is not None and form.csv.escape_formulas:
            return f"CASE WHEN regexp_matches({x}, {engine.text(_FORMULA)}) THEN '''' || {x} ELSE {x} END"
        case "double" if form.choice == "json_":
            return f"CASE WHEN isfinite({x}) THEN {x} END"
    return x


def _line(columns: Sequence[Column], form: Format) -> str:
    """The row as a line of JSON.

    A decimal that is all fraction gets the 0 before its point in the text: 38 digits leave no room for it in the type.
    What is replaced is no part of any text in the line, where each quote stands behind a backslash.
    """
    packed = ", ".join(f"{engine.name(column.target)} := {_value(column, form)}" for column in columns)
    line = f"CAST(to_json(struct_pack({packed})) AS VARCHAR)"
    for column in columns:
        if column.type.startswith("decimal") and len({*lossless.digits(column.type)}) == 1:
            key = f"{json.dumps(column.target)}:"
            for sign in ("", "-"):
                line = f"replace({line}, {engine.text(f'{key}{sign}.')}, {engine.text(f'{key}{sign}0.')})"
    return line


def _options(form: Format, compression: str) -> str:
    """DuckDB's COPY options for the format."""
    if form.parquet is not None:
        return "FORMAT parquet, COMPRESSION zstd"
    if form.csv is None:  # each line is one column, to be written as it stands
        return f"FORMAT csv, HEADER false, DELIMITER '\n', QUOTE '', ESCAPE '', COMPRESSION {compression}"
    null = form.csv.null_values[0] if form.csv.null_values else ""
    characters = ", ".join(
        f"{option} {engine.text(value)}"
        for option, value in (
            ("DELIMITER", form.csv.delimiter),
            ("QUOTE", form.csv.quote),
            ("ESCAPE", form.csv.escape),
        )
    )
    header = "true" if form.csv.header else "false"
    return f"FORMAT csv, HEADER {header}, {characters}, NULLSTR {engine.text(null)}, COMPRESSION {compression}"
