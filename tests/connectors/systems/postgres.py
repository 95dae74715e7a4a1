"""PostgreSQL as a Source and a TableStore: one server for all tests of a process; a database and a user for each."""

import atexit
import itertools
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager, suppress
from datetime import UTC, date, datetime
from decimal import Decimal
from functools import cache
from pathlib import Path
from typing import Self

import psycopg
from psycopg import sql
from psycopg.rows import dict_row

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
from support import postgres
from support.postgres import Server

_COLUMNS = {
    "small": "smallint", "i": "integer", "l": "bigint", "r": "real", "f": "double precision", "b": "boolean",
    "n": "numeric(10,2)", "free": "numeric", "d": "date", "ts": "timestamp", "tz": "timestamptz", "t": "text",
    "c": "char(3)", "u": "uuid", "x": "bytea", "j": "jsonb", "iv": "interval", "a": "integer[]", "m": "money",
}  # fmt: skip


def _cells() -> list[Cell]:
    """What is written is SQL."""
    return [
        Cell("small", "int", "-32768", -32768),
        Cell("i", "int", "2147483647", 2**31 - 1),
        Cell("l", "long", "-9223372036854775808", -(2**63)),
        Cell("r", "double", "0.5", 0.5),
        Cell("f", "double", "0.1", 0.1),
        Cell("f", "double", "'Infinity'", float("inf")),
        Cell("b", "boolean", "false", False),
        Cell("n", "decimal(10,2)", "-12345678.90", Decimal("-12345678.90")),
        Cell("n", "decimal(10,2)", "'NaN'", BAD),
        Cell("free", "decimal(10,2)", "12.3", Decimal("12.30"), "string"),
        Cell("free", "decimal(10,2)", "12.345", BAD, "string"),
        Cell("free", "decimal(10,2)", "'-Infinity'", BAD, "string"),
        Cell("d", "date", "'0001-01-01'", date(1, 1, 1)),
        Cell("d", "date", "'9999-12-31'", date(9999, 12, 31)),
        Cell("d", "date", "'10000-01-01'", BAD),
        Cell("d", "date", "'0001-12-31 BC'", BAD),
        Cell("d", "date", "'infinity'", BAD),
        Cell("ts", "timestamp", "'2026-02-28 23:59:59.123456'", datetime(2026, 2, 28, 23, 59, 59, 123456)),
        Cell("ts", "timestamp", "'-infinity'", BAD),
        Cell("tz", "timestamptz", "'2026-02-28 23:59:59+05:30'", datetime(2026, 2, 28, 18, 29, 59, tzinfo=UTC)),
        Cell("tz", "timestamptz", "'20000-02-28 23:59:59+00'", BAD),
        Cell("t", "string", "'ä\u2028\U0001f600'", "ä\u2028\U0001f600"),
        Cell("t", "string", "''", ""),
        Cell("t", "string", "E'a,\"b\"\\r\\n\\\\N'", 'a,"b"\r\n\\N'),
        Cell("c", "string", "'a'", "a  "),
        Cell("u", "string", "'a0eebc999c0b4ef8bb6d6bb9bd380a11'", "a0eebc99-9c0b-4ef8-bb6d-6bb9bd380a11"),
        Cell("x", "string", "'\\x00ff'", "\\x00ff"),
        Cell("j", "string", "'{\"a\": 1.10}'", '{"a": 1.10}'),
        Cell("iv", "string", "'1 day 2 hours'", "P1DT2H"),
        Cell("a", "string", "'{1,NULL}'", "[1,null]"),
        Cell("m", "decimal(10,2)", "12.34", Decimal("12.34"), "string"),
    ]


@cache
def server() -> Server:
    """The server, which ends with the process."""
    stack = ExitStack()
    atexit.register(stack.close)
    return stack.enter_context(postgres.serve())


_numbers = itertools.count()


def terminate(database: str) -> None:
    """End every session of the database, as a restart of the server does, and wait until they are gone."""
    sessions = f"FROM pg_stat_activity WHERE datname = '{database}' AND pid <> pg_backend_pid()"
    server().rows(f"SELECT pg_terminate_backend(pid, 10000) {sessions}")


class Database(Adapter):
    """A database of its own, and a user whose password can be rotated."""

    system = "postgres"

    @classmethod
    @contextmanager
    def running(cls, root: Path) -> Iterator[Self]:
        yield cls(root)

    def __init__(self, root: Path) -> None:
        super().__init__(root)
        self.server = server()
        self.database = f"contract{next(_numbers)}"
        self.server.database(self.database)
        self.user = f"role_of_tests_{self.database.removeprefix('contract')}"
        self.execute(f"CREATE ROLE {self.user} LOGIN PASSWORD 'first-tests-secret'")
        host, port = self.server.host, self.server.port
        self.connector = {"host": host, "port": port, "database": self.database, "sslMode": "disable"}
        self.auth = {"basic": {"secretRef": {"name": f"login-{self.database}"}}}
        self.secrets = {f"login-{self.database}": {"username": self.user, "password": "first-tests-secret"}}

    @property
    def login(self) -> dict[str, str]:
        """The keys of its Secret."""
        return self.secrets[f"login-{self.database}"]

    @property
    def address(self) -> tuple[str, int]:
        return self.server.host, self.server.port

    def reach_through(self, host: str, port: int) -> None:
        self.connector |= {"host": host, "port": port}

    def rotate(self) -> dict[str, dict[str, str]]:
        self.execute(f"ALTER ROLE {self.user} PASSWORD 'second-tests-secret'")
        return {f"login-{self.database}": {"username": self.user, "password": "second-tests-secret"}}

    def execute(self, *statements: str) -> None:
        """Execute them as the administrator."""
        self.server.execute(*statements, database=self.database)


class Postgres(Database, SourceAdapter):
    write_mode = "replace"
    matrix = tuple(_cells())
    hostile_columns = ('a "b"', "select", "x'y", "ä", "a.b", "line\nbreak", "$1", "%s", "{}")

    def __init__(self, root: Path) -> None:
        super().__init__(root)
        self.execute(f"ALTER DEFAULT PRIVILEGES GRANT SELECT ON TABLES TO {self.user}")

    def fill(self, stream: str, rows: Sequence[Row]) -> None:
        self.execute(f'DROP TABLE IF EXISTS "{stream}"', f'CREATE TABLE "{stream}" (id bigint PRIMARY KEY, word text)')
        self.add(stream, rows)

    def add(self, stream: str, rows: Sequence[Row]) -> None:
        statement = sql.SQL("COPY {} FROM STDIN").format(sql.Identifier(stream))
        with self.server.connect(self.database) as connection, connection.cursor().copy(statement) as copy:
            for row in rows:
                copy.write_row((row["id"], row["word"]))

    def fill_large(self, stream: str, count: int, width: int) -> None:
        self.fill(stream, ())
        rows = f"SELECT i, lpad(i::text, {width}, '0') FROM generate_series(0, {count - 1}) i"
        self.execute(f'INSERT INTO "{stream}" {rows}')

    def fill_matrix(self) -> str:
        columns = ", ".join(f"{name} {kind}" for name, kind in _COLUMNS.items())
        rows = [
            f"INSERT INTO cells (id, {cell.column}) VALUES ({number}, {cell.written})"
            for number, cell in enumerate(self.matrix)
        ]
        self.execute(f"CREATE TABLE cells (id integer PRIMARY KEY, {columns})", *rows)
        return "cells"

    def fill_hostile(self) -> str:
        stream = 'odd "; DROP TABLE orders; --'
        quoted = ['"' + name.replace('"', '""') + '"' for name in (stream, *self.hostile_columns)]
        values = ", ".join(f"'v{number}'" for number in range(len(self.hostile_columns)))
        columns = ", ".join(f"{name} text" for name in quoted[1:])
        self.execute(f"CREATE TABLE {quoted[0]} ({columns})", f"INSERT INTO {quoted[0]} VALUES ({values})")
        return stream


class InSchema(Database):
    """A schema whose name needs quotes."""

    schema = "Stock"

    def __init__(self, root: Path) -> None:
        super().__init__(root)
        self.execute(f'CREATE SCHEMA "{self.schema}"', f'GRANT USAGE, CREATE ON SCHEMA "{self.schema}" TO {self.user}')
        self.connector["schema"] = self.schema

    def read(self, table: str) -> list[Json]:
        """The rows of a table, none where it is missing."""
        with self.server.connect(self.database, row_factory=dict_row) as connection:
            connection.execute("SET TimeZone = 'UTC'")
            with suppress(psycopg.errors.UndefinedTable):
                return connection.execute(f'SELECT * FROM "{self.schema}"."{table}"'.encode()).fetchall()
        return []


class Tables(InSchema, StoreAdapter):
    """Tables of Datasets."""

    def rows(self, table: str) -> list[Json]:
        return self.read(table)

    def drop(self, table: str) -> None:
        self.execute(f'DROP TABLE "{self.schema}"."{table}"')

    def staged(self) -> int:
        listed = "SELECT count(*) FROM pg_tables WHERE tablename LIKE 'penstock\\_staging\\_%'"
        return int(self.server.rows(listed, self.database)[0][0])


class DeliveredTable(InSchema, DeliveredTableAdapter):
    """A table that Subscriptions deliver into."""


def _wrong_password(adapter: Database) -> None:
    adapter.login["password"] = "wrong-tests-secret"


def _no_permission(adapter: Postgres) -> None:
    adapter.execute(f"REVOKE SELECT ON orders FROM {adapter.user}")
    faults.select_two_tables(adapter)


_OF_BOTH = (
    Fault("no such host", "Unreachable", faults.with_settings(host="nowhere.invalid")),
    Fault("nothing listens", "Unreachable", faults.with_settings(port=1)),
    Fault("no such database", "ResourceNotFound", faults.with_settings(database="nothing")),
    Fault("no TLS there", "TlsFailed", faults.with_settings(sslMode="require")),
    Fault("wrong password", "WrongCredentials", _wrong_password),
)
Postgres.faults = (
    *_OF_BOTH,
    Fault("no permission on one table", "WrongCredentials", _no_permission),
    Fault("a table that is not there", "ResourceNotFound", faults.drop_a_table),
    Fault("a query that writes", "WrongSpecification", faults.ask_a_query_that_writes, fails_runs=False),
)


def _no_permission_on_schema(adapter: InSchema) -> None:
    adapter.execute(f'REVOKE CREATE ON SCHEMA "{adapter.schema}" FROM {adapter.user}')


def _other_encoding(adapter: InSchema) -> None:
    name = f"latin_{adapter.database}"
    adapter.server.database(name, options="ENCODING 'LATIN1' TEMPLATE template0")
    adapter.connector |= {"database": name, "schema": "public"}


_OF_SCHEMAS = (
    *_OF_BOTH,
    Fault("no such schema", "ResourceNotFound", faults.with_settings(schema="nothing")),
    Fault("no permission on the schema", "WrongCredentials", _no_permission_on_schema),
    Fault("a database that does not hold every text", "WrongSpecification", _other_encoding),
)
Tables.faults = _OF_SCHEMAS
DeliveredTable.faults = _OF_SCHEMAS

SOURCES = (Postgres,)
STORES = (Tables,)
TARGETS = (DeliveredTable,)
