"""DuckDB as a Source and a TableStore."""

import os
import shutil
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager, suppress
from datetime import UTC, date, datetime
from decimal import Decimal
from pathlib import Path
from typing import Self

import duckdb

from connectors.contract import faults
from connectors.contract.adapters import (
    BAD,
    Adapter,
    Cell,
    DeliveredTableAdapter,
    Fault,
    Json,
    Row,
    SourceAdapter,
    StoreAdapter,
)

_COLUMNS = {
    "b": "BOOLEAN", "i": "INTEGER", "l": "BIGINT", "u": "UBIGINT", "h": "HUGEINT", "n": "DECIMAL(10,2)",
    "f": "DOUBLE", "t": "VARCHAR", "d": "DATE", "ts": "TIMESTAMP", "ns": "TIMESTAMP_NS", "tz": "TIMESTAMPTZ",
    "c": "TIME", "o": "INTERVAL", "x": "BLOB", "bits": "BIT", "e": "ENUM('red', 'blue')", "g": "UUID", "j": "JSON",
    "a": "INTEGER[]", "s": "STRUCT(a INTEGER, b VARCHAR)", "m": "MAP(VARCHAR, INTEGER)", "w": "UNION(n INTEGER)",
}  # fmt: skip


def _cells() -> list[Cell]:
    """What is written is SQL."""
    return [
        Cell("b", "boolean", "true", True),
        Cell("i", "int", "-2147483648", -(2**31)),
        Cell("l", "long", "9223372036854775807", 2**63 - 1),
        Cell("u", "decimal(20,0)", "18446744073709551615", Decimal(2**64 - 1)),
        Cell("h", "long", "-9223372036854775808", -(2**63), "string"),
        Cell("h", "long", "170141183460469231731687303715884105727", BAD, "string"),
        Cell("n", "decimal(10,2)", "12.34", Decimal("12.34")),
        Cell("f", "double", "0.1", 0.1),
        Cell("f", "double", "1e308", 1e308),
        Cell("t", "string", "'ä\u2028\U0001f600'", "ä\u2028\U0001f600"),
        Cell("t", "string", "''", ""),
        Cell("d", "date", "'2026-02-28'", date(2026, 2, 28)),
        Cell("d", "date", "'0001-01-01'", date(1, 1, 1)),
        Cell("d", "date", "'infinity'", BAD),
        Cell("d", "date", "'20000-01-01'", BAD),
        Cell("d", "date", "'0044-03-15 (BC)'", BAD),
        Cell("ts", "timestamp", "'2026-02-28 23:59:59.123456'", datetime(2026, 2, 28, 23, 59, 59, 123456)),
        Cell("ts", "timestamp", "'-infinity'", BAD),
        Cell("ns", "timestamp", "'2026-02-28 23:59:59.123456'", datetime(2026, 2, 28, 23, 59, 59, 123456)),
        Cell("ns", "timestamp", "'2026-02-28 23:59:59.123456789'", BAD),
        Cell("ns", "timestamp", "'infinity'", BAD),
        Cell("tz", "timestamptz", "'2026-02-28 23:59:59+01'", datetime(2026, 2, 28, 22, 59, 59, tzinfo=UTC)),
        Cell("tz", "timestamptz", "'20000-01-01 00:00:00+00'", BAD),
        Cell("c", "string", "'10:00:00.5'", "10:00:00.5"),
        Cell("o", "string", "'1 month 2 days'", "1 month 2 days"),
        Cell("x", "string", "'text'", "text"),
        Cell("x", "string", r"'\xFF\x00'", BAD),
        Cell("bits", "string", "'0101'", "0101"),
        Cell("e", "string", "'blue'", "blue"),
        Cell("g", "string", "'8c0a2a7e-8b1f-4f0e-9b0a-000000000001'", "8c0a2a7e-8b1f-4f0e-9b0a-000000000001"),
        Cell("j", "string", """'{"a": [1]}'""", '{"a": [1]}'),
        Cell("a", "string", "[1, NULL]", "[1,null]"),
        Cell("s", "string", "{'a': 1, 'b': 'x'}", '{"a":1,"b":"x"}'),
        Cell("m", "string", "MAP {'k': 1}", '{"k":1}'),
        Cell("w", "string", "7", '{"n":7}'),
    ]


class Database(Adapter):
    """A file on a claim."""

    system = "duckdb"

    def __init__(self, root: Path) -> None:
        super().__init__(root)
        self.file = self.claim("shop") / "shop.duckdb"
        self.connector = {"path": "/volumes/shop/shop.duckdb", "volume": {"claimName": "shop"}}
        self.others = ExitStack()
        """Other processes that have the file open, to be ended with the test."""

    @classmethod
    @contextmanager
    def running(cls, root: Path) -> Iterator[Self]:
        adapter = cls(root)
        with adapter.others:
            yield adapter

    @contextmanager
    def opened(self, *, read_only: bool = False) -> Iterator[duckdb.DuckDBPyConnection]:
        """The file, as soon as no other program has it open."""
        give_up = time.monotonic() + 60
        while True:
            try:
                database = duckdb.connect(self.file, read_only=read_only)
                break
            except (duckdb.IOException, duckdb.ConnectionException):
                if time.monotonic() > give_up or not self.file.exists():
                    raise
            time.sleep(0.01)
        with database:
            database.execute("SET TimeZone = 'UTC'")
            yield database

    def execute(self, *statements: str) -> None:
        """Execute them in one transaction, as soon as no other process has the file open."""
        with self.opened() as database:
            database.execute("BEGIN")
            for statement in statements:
                database.execute(statement)
            database.execute("COMMIT")


class Duckdb(Database, SourceAdapter):
    write_mode = "replace"
    matrix = tuple(_cells())
    hostile_columns = ('a "b"', "select", "x'y", "ä", "a.b", "line\nbreak", "$1", "%s", "c0", "e0", "key")

    def fill(self, stream: str, rows: Sequence[Row]) -> None:
        table = f'CREATE OR REPLACE TABLE "{stream}" (id BIGINT PRIMARY KEY, word VARCHAR)'
        self.execute(table, *_inserts(stream, rows))

    def add(self, stream: str, rows: Sequence[Row]) -> None:
        """Add them now, or when the run that reads the file has closed it: nobody can write to it before."""
        writer = threading.Thread(target=self.execute, args=_inserts(stream, rows))
        writer.start()
        writer.join(2)

    def fill_large(self, stream: str, count: int, width: int) -> None:
        words = f"SELECT range AS id, lpad(CAST(range AS VARCHAR), {width}, '0') AS word FROM range({count})"
        self.execute(f'CREATE OR REPLACE TABLE "{stream}" AS {words}')

    def fill_matrix(self) -> str:
        columns = ", ".join(f"{name} {kind}" for name, kind in _COLUMNS.items())
        rows = [
            f"INSERT INTO cells (id, {cell.column}) VALUES ({number}, {cell.written})"
            for number, cell in enumerate(self.matrix)
        ]
        self.execute(f"CREATE TABLE cells (id BIGINT PRIMARY KEY, {columns})", *rows)
        return "cells"

    def fill_hostile(self) -> str:
        stream = 'odd "; DROP TABLE orders; --'
        quoted = ['"' + name.replace('"', '""') + '"' for name in (stream, *self.hostile_columns)]
        values = ", ".join(f"'v{number}'" for number in range(len(self.hostile_columns)))
        columns = ", ".join(f"{name} TEXT" for name in quoted[1:])
        self.execute(f"CREATE TABLE {quoted[0]} ({columns})", f"INSERT INTO {quoted[0]} VALUES ({values})")
        return stream


def _inserts(stream: str, rows: Sequence[Row]) -> list[str]:
    values = ", ".join(f"({row['id']}, '{row['word']}')" for row in rows)
    return [f'INSERT INTO "{stream}" VALUES {values}'] if rows else []


class Created(Database):
    """A file that a worker creates, in a folder that it creates too."""

    def __init__(self, root: Path) -> None:
        super().__init__(root)
        self.file = self.file.parent / "of orders/it's.duckdb"
        self.connector["path"] = "/volumes/shop/of orders/it's.duckdb"

    def read(self, table: str) -> list[Json]:
        """The rows of a table, none where it is missing."""
        if not self.file.exists():
            return []
        with self.opened(read_only=True) as database, suppress(duckdb.CatalogException):
            rows: list[Json] = database.sql(f'SELECT * FROM "{table}"').to_arrow_table().to_pylist()
            return rows
        return []


class Tables(Created, StoreAdapter):
    """Tables of Datasets."""

    def rows(self, table: str) -> list[Json]:
        return self.read(table)

    def drop(self, table: str) -> None:
        self.execute(f'DROP TABLE "{table}"')

    def staged(self) -> int:
        return sum(path.is_file() for path in self.file.with_name(f"{self.file.name}.penstock").rglob("*"))


class DeliveredTable(Created, DeliveredTableAdapter):
    """A table that Subscriptions deliver into."""


def _not_mounted(adapter: Database) -> None:
    shutil.rmtree(adapter.file.parent)


def _folder(adapter: Database) -> None:
    adapter.file.unlink(missing_ok=True)
    adapter.file.mkdir(parents=True)


def _link(adapter: Database) -> None:
    adapter.file.rename(adapter.root / "outside.duckdb")
    adapter.file.symlink_to(adapter.root / "outside.duckdb")


def _locked(adapter: Database) -> None:
    """Another process has the file open."""
    script = (
        f"import duckdb, sys; c = duckdb.connect({str(adapter.file)!r}); print('open', flush=True); sys.stdin.read()"
    )
    command = [sys.executable, "-c", script]
    other = adapter.others.enter_context(
        subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
    )
    adapter.others.callback(other.kill)
    assert other.stdout is not None
    assert other.stdout.readline() == "open\n"


def _other_file(adapter: Duckdb) -> None:
    adapter.connector["queries"] = [{"name": "q", "sql": "FROM read_text('/etc/hostname')"}]


def _no_database(adapter: Database) -> None:
    adapter.file.write_bytes(os.urandom(8192))


def _damaged(adapter: Database) -> None:
    adapter.file.write_bytes(adapter.file.read_bytes()[:13_000])


Duckdb.faults = (
    Fault("no claim", "ResourceNotFound", _not_mounted),
    Fault("no file", "ResourceNotFound", lambda adapter: adapter.file.unlink()),
    Fault("a folder", "WrongSpecification", _folder),
    Fault("a link", "WrongSpecification", _link),
    Fault("no database", "WrongSpecification", _no_database),
    Fault("damaged", "WrongSpecification", _damaged),
    Fault("locked", "Unreachable", _locked),
    Fault("a table that is not there", "ResourceNotFound", faults.drop_a_table),
    Fault("a query that writes", "WrongSpecification", faults.ask_a_query_that_writes, fails_runs=False),
    Fault("a query of another file", "WrongSpecification", _other_file, fails_runs=False),
)


def _filled(bring_about: Callable[[Database], None]) -> Callable[[Database], None]:
    """As `bring_about`, of a file that is there."""

    def fill_first(adapter: Database) -> None:
        adapter.file.parent.mkdir(parents=True)
        adapter.execute("CREATE TABLE other (id BIGINT)", "INSERT INTO other FROM range(100_000)")
        bring_about(adapter)

    return fill_first


def _second_name(adapter: Database) -> None:
    (adapter.root / "outside.duckdb").hardlink_to(adapter.file)


def _linked_folder(adapter: Database) -> None:
    (adapter.root / "outside").mkdir()
    adapter.file.parent.symlink_to(adapter.root / "outside")


_OF_TABLES = (
    Fault("no claim", "ResourceNotFound", lambda adapter: shutil.rmtree(adapter.claim("shop"))),
    Fault("a folder", "WrongSpecification", _folder),
    Fault("a link", "WrongSpecification", _filled(_link)),
    Fault("a second name", "WrongSpecification", _filled(_second_name)),
    Fault("a link to its folder", "WrongSpecification", _linked_folder),
    Fault("no database", "WrongSpecification", _filled(_no_database)),
    Fault("damaged", "WrongSpecification", _filled(_damaged)),
    Fault("locked", "Unreachable", _filled(_locked)),
)
Tables.faults = _OF_TABLES
DeliveredTable.faults = _OF_TABLES

SOURCES = (Duckdb,)
STORES = (Tables,)
TARGETS = (DeliveredTable,)
