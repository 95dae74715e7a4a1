"""MySQL as a Source: one MariaDB for all tests of a process, and a database and a user for each."""

import atexit
import itertools
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from datetime import UTC, date, datetime
from decimal import Decimal
from functools import cache
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Self

from connectors.contract import faults
from connectors.contract.adapters import BAD, Cell, Fault, Row, SourceAdapter
from support import mysql

_COLUMNS = {
    "tiny": "TINYINT", "i": "INT UNSIGNED", "l": "BIGINT", "u": "BIGINT UNSIGNED", "bits": "BIT(5)", "y": "YEAR",
    "n": "DECIMAL(10,2)", "wide": "DECIMAL(65,30)", "r": "FLOAT", "f": "DOUBLE", "d": "DATE", "ts": "DATETIME(6)",
    "tz": "TIMESTAMP(6) NULL", "c": "TIME(6)", "t": "VARCHAR(40)", "latin": "VARCHAR(20) CHARACTER SET latin1",
    "x": "BLOB", "e": "ENUM('red','blue')", "s": "SET('a','b')", "j": "JSON",
}  # fmt: skip
_ROWS_OF_ONE_INSERT = 1000


def _cells() -> list[Cell]:
    """What is written is SQL."""
    return [
        Cell("tiny", "long", "-128", -128),
        Cell("i", "long", "4294967295", 2**32 - 1),
        Cell("l", "long", "-9223372036854775808", -(2**63)),
        Cell("u", "decimal(20,0)", "18446744073709551615", Decimal(2**64 - 1)),
        Cell("bits", "decimal(20,0)", "b'10101'", Decimal(21)),
        Cell("y", "long", "1999", 1999),
        Cell("n", "decimal(10,2)", "-12345678.90", Decimal("-12345678.90")),
        Cell("wide", "decimal(10,2)", "1.1", Decimal("1.10"), "string"),
        Cell("wide", "decimal(10,2)", "1.001", BAD, "string"),
        Cell("r", "double", "0.5", 0.5),
        Cell("r", "double", "16777217", 16777216.0),
        Cell("f", "double", "0.1", 0.1),
        Cell("f", "double", "1.7976931348623157e308", 1.7976931348623157e308),
        Cell("d", "date", "'9999-12-31'", date(9999, 12, 31)),
        Cell("d", "date", "'0001-01-01'", date(1, 1, 1)),
        Cell("d", "date", "'0000-00-00'", BAD),
        Cell("d", "date", "'2024-00-15'", BAD),
        Cell("d", "date", "'2024-02-31'", BAD),
        Cell("ts", "timestamp", "'2024-02-29 23:59:59.999999'", datetime(2024, 2, 29, 23, 59, 59, 999999)),
        Cell("ts", "timestamp", "'0000-00-00 00:00:00'", BAD),
        Cell("tz", "timestamptz", "'2024-01-02 03:04:05.5'", datetime(2024, 1, 2, 3, 4, 5, 500000, UTC)),
        Cell("tz", "timestamptz", "0", BAD),
        Cell("c", "string", "'-838:59:59'", "-838:59:59.000000"),
        Cell("t", "string", "'日本 😀'", "日本 😀"),
        Cell("t", "string", "''", ""),
        Cell("t", "string", r"'a,\"b\"\r\n\\N'", 'a,"b"\r\n\\N'),
        Cell("latin", "string", "'café €'", "café €"),
        Cell("x", "string", "x'636166C3A9'", "café"),
        Cell("x", "string", "x'00FF'", BAD),
        Cell("e", "string", "'blue'", "blue"),
        Cell("s", "string", "'a,b'", "a,b"),
        Cell("j", "string", """'{"a": 1.10}'""", '{"a": 1.10}'),
    ]


@cache
def _server() -> mysql.Server:
    """The server, which ends with the process. Skips the test where there is none."""
    stack = ExitStack()
    atexit.register(stack.close)
    folder = stack.enter_context(TemporaryDirectory(prefix="penstock-mariadb-", ignore_cleanup_errors=True))
    return stack.enter_context(mysql.serve(Path(folder)))


_numbers = itertools.count()


class Mysql(SourceAdapter):
    system = "mysql"
    write_mode = "replace"
    matrix = tuple(_cells())
    hostile_columns = ("a `b`", "select", "x'y", "ä", "a.b", "line\nbreak", "$1", "%s", "{}", 'a "b"')

    @classmethod
    @contextmanager
    def running(cls, root: Path) -> Iterator[Self]:
        yield cls(root)

    def __init__(self, root: Path) -> None:
        super().__init__(root)
        self.server = _server()
        number = next(_numbers)
        self.database, self.user = f"contract{number}", f"role_of_tests_{number}"
        self.server.execute(
            f"CREATE DATABASE {self.database} CHARACTER SET utf8mb4",
            f"CREATE USER '{self.user}'@'%' IDENTIFIED BY 'first-tests-secret'",
            f"GRANT SELECT ON {self.database}.* TO '{self.user}'@'%'",
        )
        host, port = self.server.host, self.server.port
        self.connector = {"host": host, "port": port, "database": self.database, "sslMode": "disable"}
        self.auth = {"basic": {"secretRef": {"name": "login"}}}
        self.secrets = {"login": {"username": self.user, "password": "first-tests-secret"}}

    @property
    def address(self) -> tuple[str, int]:
        return self.server.host, self.server.port

    def reach_through(self, host: str, port: int) -> None:
        self.connector |= {"host": host, "port": port}

    def rotate(self) -> dict[str, dict[str, str]]:
        self.server.execute(f"ALTER USER '{self.user}'@'%' IDENTIFIED BY 'second-tests-secret'")
        return {"login": {"username": self.user, "password": "second-tests-secret"}}

    def execute(self, *statements: str) -> None:
        """Execute them as the administrator."""
        self.server.execute(*statements, database=self.database)

    def fill(self, stream: str, rows: Sequence[Row]) -> None:
        self.execute(
            f"DROP TABLE IF EXISTS {_name(stream)}",
            f"CREATE TABLE {_name(stream)} (id BIGINT PRIMARY KEY, word LONGTEXT)",
        )
        self.add(stream, rows)

    def add(self, stream: str, rows: Sequence[Row]) -> None:
        for start in range(0, len(rows), _ROWS_OF_ONE_INSERT):
            values = ", ".join(f"({row['id']}, '{row['word']}')" for row in rows[start : start + _ROWS_OF_ONE_INSERT])
            self.execute(f"INSERT INTO {_name(stream)} VALUES {values}")

    def fill_large(self, stream: str, count: int, width: int) -> None:
        self.fill(stream, ())
        self.execute(f"INSERT INTO {_name(stream)} SELECT seq, LPAD(seq, {width}, '0') FROM seq_0_to_{count - 1}")

    def fill_matrix(self) -> str:
        columns = ", ".join(f"{name} {kind}" for name, kind in _COLUMNS.items())
        rows = [
            f"INSERT INTO cells (id, {cell.column}) VALUES ({number}, {cell.written})"
            for number, cell in enumerate(self.matrix)
        ]
        lax = ("SET NAMES utf8mb4", "SET time_zone = '+00:00'", "SET sql_mode = 'ALLOW_INVALID_DATES'")
        self.execute(*lax, f"CREATE TABLE cells (id BIGINT PRIMARY KEY, {columns})", *rows)
        return "cells"

    def fill_hostile(self) -> str:
        stream = "odd `; DROP TABLE orders; --"
        columns = ", ".join(f"{_name(name)} TEXT" for name in self.hostile_columns)
        values = ", ".join(f"'v{number}'" for number in range(len(self.hostile_columns)))
        self.execute(f"CREATE TABLE {_name(stream)} ({columns})", f"INSERT INTO {_name(stream)} VALUES ({values})")
        return stream


def _name(identifier: str) -> str:
    return "`" + identifier.replace("`", "``") + "`"


def _wrong_password(adapter: Mysql) -> None:
    adapter.secrets["login"]["password"] = "wrong-tests-secret"


def _no_permission(adapter: Mysql) -> None:
    """The user may read one of the two tables."""
    adapter.execute(
        f"REVOKE SELECT ON {adapter.database}.* FROM '{adapter.user}'@'%'",
        f"GRANT SELECT ON {adapter.database}.people TO '{adapter.user}'@'%'",
    )
    faults.select_two_tables(adapter)


Mysql.faults = (
    Fault("no such host", "Unreachable", faults.with_settings(host="nowhere.invalid")),
    Fault("nothing listens", "Unreachable", faults.with_settings(port=1)),
    # MySQL does not say whether the database is missing or may not be used
    Fault("no such database", "WrongCredentials", faults.with_settings(database="nothing")),
    Fault("no TLS there", "TlsFailed", faults.with_settings(sslMode="verify-full")),
    Fault("wrong password", "WrongCredentials", _wrong_password),
    Fault("no permission on one table", "ResourceNotFound", _no_permission),  # MySQL hides what may not be read
    Fault("a table that is not there", "ResourceNotFound", faults.drop_a_table),
    Fault("a query that writes", "WrongSpecification", faults.ask_a_query_that_writes, fails_runs=False),
)

SOURCES = (Mysql,)
