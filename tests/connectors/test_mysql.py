"""MySQL as a Source, against a real MariaDB: what it is and only it is."""

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, date, datetime
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest

from connectors.contract.increments import read
from penstock.connectors.mysql.source import MysqlSource
from penstock.language.errors import InvalidSpec, NotYet, PenstockError
from penstock.runs import places
from penstock.runs.order import SourceOrder
from penstock.worker.pod import Pod
from penstock.worker.rows import engine
from support import mysql

LONGEST = "1234567890123456789012345678.0123456789"


@dataclass
class Shop:
    """A server, and a Pod with the Secret of its user."""

    server: mysql.Server
    root: Path

    def secret(self, **keys: str) -> None:
        folder = self.root / places.SECRETS.lstrip("/") / "shop"
        folder.mkdir(parents=True, exist_ok=True)
        for key, value in keys.items():
            (folder / key).write_text(value, encoding="utf-8")

    def source(self, database: str, **settings: Any) -> MysqlSource:
        connector = {"host": self.server.host, "port": self.server.port, "database": database, "sslMode": "disable"}
        order = {
            "name": "shop",
            "connector": {"mysql": {**connector, **settings}},
            "auth": {"basic": {"secretRef": {"name": "shop"}}},
        }
        return MysqlSource(SourceOrder.model_validate(order), Pod(self.root, "run", "pod", None, 2))


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[mysql.Server]:
    with mysql.serve(tmp_path_factory.mktemp("mariadb")) as running:
        yield running


@pytest.fixture
def shop(server: mysql.Server, tmp_path: Path) -> Shop:
    made = Shop(server, tmp_path)
    made.secret(username=mysql.USER, password=mysql.PASSWORD)
    return made


def rows(source: MysqlSource, stream: str) -> list[tuple[dict[str, Any], dict[str, str]]]:
    """Each row of a stream by column, and its cells that do not fit by column."""
    read = []
    with source.session([]) as session, engine.small() as connection:
        for opening in session.readers(stream, session.plan(stream).inputs[0].parts):
            with opening() as reader:
                names = reader.columns.names
                for work in reader.works(names):
                    chunk = work(connection)
                    for number, row in enumerate(chunk.table.to_pylist()):
                        misfits = {names[int(c.column[1:])]: c.text for c in chunk.exact if c.row == number}
                        read.append((dict(zip(names, row.values(), strict=True)), misfits))
    return read


@pytest.mark.parametrize(
    ("declared", "literal", "value"),
    [
        ("TINYINT", "-128", -128),
        ("INT UNSIGNED", "4294967295", 2**32 - 1),
        ("BIGINT", "-9223372036854775808", -(2**63)),
        ("BIGINT UNSIGNED", "18446744073709551615", 2**64 - 1),
        (
            "DECIMAL(38,10)",
            "1234567890123456789012345678.0123456789",
            Decimal("1234567890123456789012345678.0123456789"),
        ),
        ("DECIMAL(65,30)", "1.10", "1.100000000000000000000000000000"),
        ("FLOAT", "16777217", 16777216.0),
        ("FLOAT", "0.1", 0.10000000149011612),
        ("DOUBLE", "0.1", 0.1),
        ("DOUBLE", "1.7976931348623157e308", 1.7976931348623157e308),
        ("DATE", "'9999-12-31'", date(9999, 12, 31)),
        ("DATETIME(6)", "'2024-02-29 23:59:59.999999'", datetime(2024, 2, 29, 23, 59, 59, 999999)),
        ("TIMESTAMP(3) NULL", "'2024-01-02 03:04:05.5'", datetime(2024, 1, 2, 3, 4, 5, 500000, UTC)),
        ("TIME(6)", "'-838:59:59.000000'", "-838:59:59.000000"),
        ("YEAR", "1999", 1999),
        ("BIT(5)", "b'10101'", 21),
        ("VARCHAR(20) CHARACTER SET latin1", "'café €'", "café €"),
        ("VARCHAR(20) CHARACTER SET utf8mb4", "'日本 😀'", "日本 😀"),
        ("BLOB", "x'636166C3A9'", "café"),
        ("ENUM('a','b')", "'b'", "b"),
        ("SET('a','b')", "'a,b'", "a,b"),
        ("JSON", """'{"a": 1.10}'""", '{"a": 1.10}'),
        ("CHAR(5)", "''", ""),
        ("INT", "NULL", None),
    ],
)
def test_every_type_arrives_as_it_is(shop: Shop, declared: str, literal: str, value: Any) -> None:
    name = shop.server.database(
        f"types_{abs(hash((declared, literal)))}",
        "SET time_zone = '+00:00'",
        f"CREATE TABLE t (v {declared})",
        f"INSERT INTO t VALUES ({literal})",
    )
    [(row, misfits)] = rows(shop.source(name), "t")
    assert (row["v"], misfits) == (value, {})


def test_dates_that_are_none_keep_their_text(shop: Shop) -> None:
    shop.server.database("zeros", "CREATE TABLE t (id INT PRIMARY KEY, d DATE, m DATETIME(3), b BLOB)")
    shop.server.execute("SET GLOBAL sql_mode = 'ALLOW_INVALID_DATES'")
    for values in (
        "1, '0000-00-00', '0000-00-00', x'FF'",
        "2, '2024-00-15', '2024-02-31 10:00', x''",
        "3, '2024-02-28', NULL, NULL",
    ):
        shop.server.execute(f"INSERT INTO t VALUES ({values})", database="zeros")
    read = rows(shop.source("zeros"), "t")
    assert [misfits for _, misfits in read] == [
        {"d": "0000-00-00", "m": "0000-00-00 00:00:00.000", "b": "X'FF'"},
        {"d": "2024-00-15", "m": "2024-02-31 10:00:00.000"},
        {},
    ]
    assert [row["d"] for row, _ in read] == [None, None, date(2024, 2, 28)]


def test_names_are_whatever_they_are(shop: Shop) -> None:
    shop.server.database("names", "CREATE TABLE `a ``b``, %s*` (`x ``y %d` INT, `SELECT` INT)")
    shop.server.execute("INSERT INTO `a ``b``, %s*` VALUES (1, 2)", database="names")
    source = shop.source("names")
    assert [stream.name for stream in source.discover()] == ["a `b`, %s*"]
    assert rows(source, "a `b`, %s*") == [({"x `y %d": 1, "SELECT": 2}, {})]


def test_all_streams_show_the_database_at_one_moment(shop: Shop) -> None:
    shop.server.database("moment", "CREATE TABLE a (n INT)", "CREATE TABLE b (n INT)", "INSERT INTO a VALUES (1)")
    source = shop.source("moment")
    with source.session([]) as session, engine.small() as connection:
        shop.server.execute("INSERT INTO a VALUES (2)", "INSERT INTO b VALUES (2)", database="moment")
        counts = {}
        for stream in ("a", "b"):
            [opening] = session.readers(stream, session.plan(stream).inputs[0].parts)
            with opening() as reader:
                counts[stream] = sum(work(connection).read for work in reader.works(("n",)))
    assert counts == {"a": 1, "b": 0}


@pytest.mark.parametrize(
    "sql",
    [
        "DELETE FROM t", "SELECT 1 AS n; DROP TABLE t", "SELECT 1 AS n) AS penstock INTO OUTFILE '/tmp/penstock-x' -- ",
        "SELECT * FROM t INTO OUTFILE '/tmp/penstock-y'", "SELECT missing FROM t", " ", "CREATE TABLE u (n INT)",
        "SELECT * FROM mysql.user", "SET GLOBAL max_connections = 1",
    ],
)  # fmt: skip
def test_a_query_reads_and_does_nothing_else(shop: Shop, sql: str) -> None:
    name = shop.server.database(f"query_{abs(hash(sql))}", "CREATE TABLE t (n INT)", "INSERT INTO t VALUES (7)")
    with pytest.raises(InvalidSpec) as refused:
        shop.source(name, queries=[{"name": "q", "sql": sql}]).discover()
    assert refused.value.reason in ("WrongSpecification", "WrongCredentials")
    assert shop.server.rows("SELECT n FROM t", name) == [(7,)]


def test_what_is_wrong_is_named_and_no_secret_is_in_it(shop: Shop) -> None:
    shop.server.database("known", "CREATE TABLE t (n INT)")
    wrong: list[tuple[MysqlSource, type[PenstockError], str, str]] = [
        (shop.source("known", host="nowhere.invalid"), NotYet, "Unreachable", "the name of the host is not known"),
        (shop.source("known", port=1), NotYet, "Unreachable", "the connection was refused"),
        (shop.source("unknown"), InvalidSpec, "WrongCredentials", "there is no such database"),
        (shop.source("known", sslMode="verify-full"), InvalidSpec, "TlsFailed", "does not speak TLS"),
    ]
    shop.secret(password="wrong-secret")
    wrong.append((shop.source("known"), InvalidSpec, "WrongCredentials", "user or password refused"))
    for source, kind, reason, message in wrong:
        with pytest.raises(kind, match=message) as failed:
            source.check()
        assert failed.value.reason == reason
        assert "secret" not in failed.value.message.replace("the Secret", "")
    shop.secret(password=mysql.PASSWORD)
    shop.source("known").check()


def test_a_table_that_the_user_may_not_read_is_not_there(shop: Shop) -> None:
    shop.server.database("partly", "CREATE TABLE t (n INT)")
    with pytest.raises(InvalidSpec, match='has no table "u" that is selected'):
        rows(shop.source("partly"), "u")


def test_a_connection_that_is_cut_is_tried_again(shop: Shop) -> None:
    shop.server.database("cut", "CREATE TABLE t (n INT, s CHAR(200) DEFAULT REPEAT('x', 200))")
    shop.server.execute("INSERT INTO t (n) SELECT seq FROM seq_1_to_200000", database="cut")
    with shop.source("cut").session([]) as session, engine.small() as connection:
        [opening] = session.readers("t", session.plan("t").inputs[0].parts)
        with opening() as reader:
            works = reader.works(("n", "s"))
            next(works)(connection)
            [(ours,)] = shop.server.rows(
                f"SELECT id FROM information_schema.processlist WHERE user = '{mysql.USER}'", "cut"
            )
            shop.server.execute(f"KILL {ours}")
            with pytest.raises(NotYet) as failed:
                list(works)
    assert failed.value.reason == "Unreachable"


@pytest.mark.parametrize(
    ("declared", "first", "later", "delay"),
    [
        ("BIGINT UNSIGNED", "18446744073709551614", "18446744073709551615", None),
        ("DECIMAL(65,30)", "'1.000000000000000000000000000001'", "'1.000000000000000000000000000002'", None),
        ("DATE", "'2026-01-31'", "'2026-02-01'", "0s"),
        ("DATETIME(6)", "'2026-01-31 10:00:00.000001'", "'2026-01-31 10:00:00.000002'", "0s"),
        ("TIMESTAMP(3) NULL", "'2026-01-31 10:00:00.001'", "'2026-01-31 10:00:00.002'", "0s"),
        ("VARCHAR(20) CHARACTER SET latin1", "'it''s'", "'it''t'", None),
    ],
)
def test_each_type_of_cursor_is_compared_exactly(
    shop: Shop, declared: str, first: str, later: str, delay: str | None
) -> None:
    name = shop.server.database(f"cursor_{abs(hash(declared))}", f"CREATE TABLE t (id INT PRIMARY KEY, at {declared})")
    source, insert = shop.source(name), "INSERT INTO t VALUES"
    shop.server.execute(f"{insert} (1, {first}), (2, NULL)", database=name)
    begun = read(source, "t", "at", delay=delay)
    assert (begun.ids, begun.ignored) == ([1], 1)
    shop.server.execute(f"{insert} (3, {later}), (4, {first})", database=name)
    assert read(source, "t", "at", begun.state, delay=delay).ids == [4, 3]
    assert sorted(read(source, "t", "at", begun.state, append=False, delay=delay).ids) == [1, 2, 3, 4]


def test_days_that_do_not_exist_move_no_mark(shop: Shop) -> None:
    table, lax = "CREATE TABLE t (id INT PRIMARY KEY, at DATE)", "SET sql_mode = 'ALLOW_INVALID_DATES'"
    rows_ = "INSERT INTO t VALUES (1, '2026-01-31'), (2, '0000-00-00'), (3, '2026-01-00'), (4, '2025-02-31')"
    name = shop.server.database("odd_days", table, lax, rows_)
    begun = read(shop.source(name), "t", "at", delay="0s")
    assert (begun.ids, begun.ignored) == ([1], 3)


def test_dates_and_times_need_a_delay_and_keep_to_it(shop: Shop) -> None:
    table = "CREATE TABLE t (id INT PRIMARY KEY, at DATETIME(6), utc TIMESTAMP(6) NULL)"
    rows_ = "INSERT INTO t VALUES (1, NOW(6) - INTERVAL 11 MINUTE, NOW(6) - INTERVAL 11 MINUTE), (2, NOW(6), NOW(6))"
    name = shop.server.database("late", table, "SET time_zone = DEFAULT", rows_)
    for column in ("at", "utc"):
        with pytest.raises(InvalidSpec, match="Set `delay`"):
            read(shop.source(name), "t", column)
        assert read(shop.source(name), "t", column, delay="10m").ids == [1]
        assert read(shop.source(name), "t", column, delay="10m", append=False).ids == [1]
        assert read(shop.source(name), "t", column, delay="0s").ids == [1, 2]


@pytest.mark.parametrize("declared", ["DOUBLE", "ENUM('b','a')", "SET('a')", "BLOB", "VARBINARY(9)", "TIME"])
def test_what_cannot_be_compared_is_no_cursor(shop: Shop, declared: str) -> None:
    table = f"CREATE TABLE t (id INT PRIMARY KEY, at {declared})"
    name = shop.server.database(f"odd_cursor_{abs(hash(declared))}", table)
    with pytest.raises(InvalidSpec, match="cannot be a cursor"):
        read(shop.source(name), "t", "at")
