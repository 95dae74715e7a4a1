"""SQLite as a Source."""

import os
import shutil
import sqlite3
from collections.abc import Sequence
from contextlib import closing
from pathlib import Path

from connectors.contract import faults
from connectors.contract.adapters import BAD, Cell, Fault, Row, SourceAdapter

_COLUMNS = {
    "i": "INTEGER", "r": "REAL", "t": "TEXT", "d": "DATE", "ts": "TIMESTAMP", "n": "DECIMAL(10,2)", "b": "BOOLEAN",
    "free": "",
}  # fmt: skip


def _cells() -> list[Cell]:
    """What is written is SQL."""
    from datetime import date, datetime
    from decimal import Decimal

    return [
        Cell("i", "long", "9223372036854775807", 2**63 - 1),
        Cell("i", "long", "-9223372036854775808", -(2**63)),
        Cell("i", "long", "'seven'", BAD),
        Cell("i", "long", "1.5", BAD),
        Cell("r", "double", "0.1", 0.1),
        Cell("r", "double", "1e308", 1e308),
        Cell("r", "double", "'much'", BAD),
        Cell("t", "string", "'ä\u2028\U0001f600'", "ä\u2028\U0001f600"),
        Cell("t", "string", "''", ""),
        Cell("t", "string", "x'00ff'", BAD),
        Cell("d", "date", "'2026-02-28'", date(2026, 2, 28), "string"),
        Cell("d", "date", "'2026-02-30'", BAD, "string"),
        Cell("ts", "timestamp", "'2026-02-28 23:59:59.123456'", datetime(2026, 2, 28, 23, 59, 59, 123456), "string"),
        Cell("n", "decimal(10,2)", "12.34", Decimal("12.34"), "string"),
        Cell("n", "decimal(10,2)", "12.345", BAD, "string"),
        Cell("b", "boolean", "'true'", True, "string"),
        Cell("free", "string", "'x'", "x"),
        Cell("free", "string", "5", "5"),
    ]


class Sqlite(SourceAdapter):
    system = "sqlite"
    write_mode = "replace"
    matrix = tuple(_cells())
    hostile_columns = ('a "b"', "select", "x'y", "ä", "a.b", "line\nbreak", "$1", "%s")

    def __init__(self, root: Path) -> None:
        super().__init__(root)
        self.file = self.claim("shop") / "shop.db"
        self.connector = {"path": "/volumes/shop/shop.db", "volume": {"claimName": "shop"}}

    def execute(self, *statements: str) -> None:
        """Execute them in one transaction."""
        with closing(sqlite3.connect(self.file)) as database, database:
            for statement in statements:
                database.execute(statement)

    def fill(self, stream: str, rows: Sequence[Row]) -> None:
        with closing(sqlite3.connect(self.file)) as database:
            database.execute("PRAGMA journal_mode = WAL")  # readers and a writer at the same time
        self.execute(f'DROP TABLE IF EXISTS "{stream}"', f'CREATE TABLE "{stream}" (id INTEGER PRIMARY KEY, word TEXT)')
        self.add(stream, rows)

    def add(self, stream: str, rows: Sequence[Row]) -> None:
        with closing(sqlite3.connect(self.file)) as database, database:
            database.executemany(f'INSERT INTO "{stream}" VALUES (:id, :word)', rows)

    def fill_matrix(self) -> str:
        columns = ", ".join(f"{name} {kind}" for name, kind in _COLUMNS.items())
        rows = [
            f"INSERT INTO cells (id, {cell.column}) VALUES ({number}, {cell.written})"
            for number, cell in enumerate(self.matrix)
        ]
        self.execute(f"CREATE TABLE cells (id INTEGER PRIMARY KEY, {columns})", *rows)
        return "cells"

    def fill_hostile(self) -> str:
        stream = 'odd "; DROP TABLE orders; --'
        quoted = ['"' + name.replace('"', '""') + '"' for name in (stream, *self.hostile_columns)]
        values = ", ".join(f"'v{number}'" for number in range(len(self.hostile_columns)))
        columns = ", ".join(f"{name} TEXT" for name in quoted[1:])
        self.execute(f"CREATE TABLE {quoted[0]} ({columns})", f"INSERT INTO {quoted[0]} VALUES ({values})")
        return stream


def _not_mounted(adapter: Sqlite) -> None:
    shutil.rmtree(adapter.file.parent)


def _folder(adapter: Sqlite) -> None:
    adapter.file.unlink()
    adapter.file.mkdir()


def _locked(adapter: Sqlite) -> None:
    with closing(sqlite3.connect(adapter.file)) as database:
        database.execute("PRAGMA journal_mode = DELETE")
    adapter.blocker = sqlite3.connect(adapter.file, isolation_level=None)  # type: ignore[attr-defined]
    adapter.blocker.execute("BEGIN EXCLUSIVE")  # type: ignore[attr-defined]


Sqlite.faults = (
    Fault("no claim", "ResourceNotFound", _not_mounted),
    Fault("no file", "ResourceNotFound", lambda adapter: adapter.file.unlink()),
    Fault("a folder", "WrongSpecification", _folder),
    Fault("no database", "WrongSpecification", lambda adapter: adapter.file.write_bytes(os.urandom(8192))),
    Fault("locked", "Unreachable", _locked),
    Fault("a table that is not there", "ResourceNotFound", faults.drop_a_table),
    Fault("a query that writes", "WrongSpecification", faults.ask_a_query_that_writes, fails_runs=False),
)

SOURCES = (Sqlite,)
