"""PostgreSQL as a Source, against a real server: exact values, one snapshot, and what goes wrong there."""

import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from penstock.connectors.postgres.source import PostgresSource
from penstock.language.errors import InvalidSpec, NotYet, PenstockError
from penstock.runs import places
from penstock.runs.order import SourceOrder
from penstock.runs.report import RunReport
from penstock.worker.pod import Pod
from penstock.worker.ports.source import StreamRequest
from support import postgres
from support.postgres import PASSWORD, Server
from worker.pods import APod, Json, a_pod, field

READER, READERS = "reader", "reader-tests-secret"


@pytest.fixture(scope="module")
def server() -> Iterator[Server]:
    with postgres.serve() as running:
        running.execute(f"CREATE ROLE {READER} LOGIN PASSWORD '{READERS}'")
        yield running


@pytest.fixture
def database(server: Server, request: pytest.FixtureRequest) -> str:
    return server.database(f"d{abs(hash(request.node.nodeid))}")


def source(server: Server, name: str, **more: Any) -> Json:
    """A Source as an order has it."""
    place = {"host": server.host, "port": server.port, "database": name, "sslMode": "disable", **more}
    return {"name": "shop", "connector": {"postgres": place}, "auth": {"basic": {"secretRef": {"name": "login"}}}}


def secret(root: Path, user: str = "postgres", password: str = PASSWORD, name: str = "login") -> None:
    folder = root / places.SECRETS.lstrip("/") / name
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "username").write_text(f"{user}\n")
    (folder / "password").write_text(f"{password}\n")


def a_load(root: Path, place: Json, *fields: Json, stream: str = "things", **dataset: Any) -> APod:
    """A Pod whose order loads one stream into the lake."""
    pod = a_pod(root, *fields)
    pod.dataset = {"stream": stream, "sync": "full", "writeMode": "replace", **dataset}
    pod.more = {"source": place}
    secret(root)
    return pod


def the_source(root: Path, place: Json) -> PostgresSource:
    return PostgresSource(SourceOrder.model_validate(place), Pod(root, "r1", "pod", None, 2))


def refused(report: RunReport) -> tuple[str | None, str]:
    """The reason and the message of a run that failed."""
    assert report.state == "Failed"
    return report.reason, report.message or ""


VALUES = [
    ("smallint", "-32768", "int", -32768),
    ("integer", "2147483647", "int", 2147483647),
    ("bigint", "-9223372036854775808", "long", -9223372036854775808),
    ("oid", "4294967295", "long", 4294967295),
    ("real", "0.1", "string", "0.1"),
    ("double precision", "0.1", "double", 0.1),
    ("double precision", "'-Infinity'", "double", float("-inf")),
    ("double precision", "1e-310", "double", 1e-310),
    ("boolean", "true", "boolean", True),
    ("numeric(12,2)", "1234567890.12", "string", "1234567890.12"),
    ("numeric(38,10)", "'9999999999999999999999999999.0123456789'", "string",
     "9999999999999999999999999999.0123456789"),
    ("numeric(12,2)", "'NaN'", "string", "NaN"),
    ("numeric", "'Infinity'", "string", "Infinity"),
    ("numeric", "1.10", "string", "1.10"),
    ("numeric(50,5)", "'123456789012345678901234567890123456789012345.12345'", "string",
     "123456789012345678901234567890123456789012345.12345"),
    ("numeric(3,-2)", "'12345'", "long", 12300),
    ("numeric(2,4)", "'0.0012'", "string", "0.0012"),
    ("date", "'infinity'", "string", "infinity"),
    ("date", "'20000-01-01'", "string", "20000-01-01"),
    ("date", "'0044-03-15 BC'", "string", "0044-03-15 BC"),
    ("date", "'0001-01-01'", "string", "0001-01-01"),
    ("timestamp", "'-infinity'", "string", "-infinity"),
    ("timestamp", "'2026-02-03 04:05:06.789012'", "string", "2026-02-03 04:05:06.789012"),
    ("timestamptz", "'2026-02-03 04:05:06.5+02'", "string", "2026-02-03 02:05:06.5+00"),
    ("timestamptz", "'12026-02-03 04:05:06+02'", "string", "12026-02-03 02:05:06+00"),
    ("text", "''", "string", ""),
    ("text", "E'a\"b,\\n\\r\\t\\\\.\\\\N é 😀'", "string", "a\"b,\n\r\t\\.\\N é 😀"),
    ("text", "'\\.'", "string", "\\."),
    ("text", "NULL", "string", None),
    ("varchar(5)", "'abc'", "string", "abc"),
    ("char(5)", "'ab'", "string", "ab   "),
    ('"char"', "'x'", "string", "x"),
    ("name", "'n'", "string", "n"),
    ("uuid", "'a0eebc99-9c0b-4ef8-bb6d-6bb9bd380a11'", "string", "a0eebc99-9c0b-4ef8-bb6d-6bb9bd380a11"),
    ("bytea", "'\\x00ff'", "string", "\\x00ff"),
    ("json", "'{\"a\":  1.10}'", "string", '{"a":  1.10}'),
    ("jsonb", "'{\"a\":  1.10}'", "string", '{"a": 1.10}'),
    ("time", "'24:00:00'", "string", "24:00:00"),
    ("timetz", "'04:05:06+02'", "string", "04:05:06+02"),
    ("interval", "'1 year 2 days 3.5 seconds'", "string", "P1Y2DT3.5S"),
    ("interval", "'infinity'", "string", "infinity"),
    ("money", "1234.5::float8::numeric::money", "string", "1234.50"),
    ("inet", "'10.0.0.1/8'", "string", "10.0.0.1/8"),
    ("int4range", "'[1,5)'", "string", "[1,5)"),
    ("point", "'(1.5,2)'", "string", "(1.5,2)"),
    ("bit(3)", "B'101'", "string", "101"),
    ("tsvector", "'a b'", "string", "'a' 'b'"),
    ("int[]", "'{1,NULL,3}'", "string", "[1,null,3]"),
    ("text[]", "ARRAY['a,b', NULL]", "string", '["a,b",null]'),
    ("numeric[]", "ARRAY[1.10, 'NaN'::numeric]", "string", '[1.10,"NaN"]'),
    ("mood", "'so so'", "string", "so so"),
    ("rating", "4.50", "string", "4.50"),
    ("deep", "'{1,2}'", "string", "[1,2]"),
    ("pair", "ROW(1, 'x')", "string", '{"a":1,"b":"x"}'),
]  # fmt: skip
"""A type, a value of it in SQL, and what a field of that type gets."""
TYPES = (
    "CREATE TYPE mood AS ENUM ('so so', 'good')",
    "CREATE DOMAIN rating AS numeric(3,2)",
    "CREATE DOMAIN deep AS int[]",
    "CREATE TYPE pair AS (a int, b text)",
)


def test_every_value_arrives_as_it_is(server: Server, database: str, tmp_path: Path) -> None:
    columns = ", ".join(f"v{number} {kind}" for number, (kind, _, _, _) in enumerate(VALUES))
    values = ", ".join(value for _, value, _, _ in VALUES)
    nothing = ", ".join("NULL" for _ in VALUES)
    server.execute(*TYPES, f"CREATE TABLE things ({columns})", database=database)
    server.execute(f"INSERT INTO things VALUES ({values}), ({nothing})", database=database)
    fields = [field(f"v{number}", kind) for number, (_, _, kind, _) in enumerate(VALUES)]
    pod = a_load(tmp_path, source(server, database), *fields)
    report = pod.work()
    assert (report.state, report.datasets[0].counts.loaded) == ("Succeeded", 2), report.message
    first, second = sorted(pod.rows(), key=lambda row: row["v0"] is None)
    assert [first[f"v{number}"] for number in range(len(VALUES))] == [value for *_, value in VALUES]
    assert set(second.values()) == {None}


def test_what_no_field_can_hold_is_a_bad_row_with_its_key_and_text(
    server: Server, database: str, tmp_path: Path
) -> None:
    server.execute(
        'CREATE TABLE things (id int, part text, amount numeric(8,2), day date, "at" timestamptz, more date, '
        "PRIMARY KEY (part, id))",
        "INSERT INTO things VALUES (1, 'a', 1.5, '2026-01-01', '2026-01-01 00:00+00', 'infinity'), "
        "(2, 'b', 'NaN', '2026-01-01', '2026-01-01 00:00+00', 'infinity'), "
        "(3, 'c', 3, '-infinity', '2026-01-01 00:00+00', NULL), "
        "(4, 'd', 4, '2026-01-04', '10000-01-01 00:00+00', NULL)",
        database=database,
    )
    fields = [field("id", "int"), field("amount", "decimal(10,2)"), field("day", "date"), field("at", "timestamptz")]
    pod = a_load(tmp_path, source(server, database), *fields)
    counts = pod.work().datasets[0].counts
    assert (counts.read, counts.loaded, counts.quarantined) == (4, 1, 3)
    assert [(row["key"], row["field"], row["message"]) for row in sorted(pod.bad(), key=lambda row: row["key"])] == [
        ("b, 2", "amount", 'amount: "NaN" is not a decimal(10,2)'),
        ("c, 3", "day", 'day: "-infinity" is not a date'),
        ("d, 4", "at", 'at: "10000-01-01 00:00:00+00" is not a timestamptz'),
    ]


def test_bytes_that_are_no_text_are_a_bad_row(server: Server, tmp_path: Path) -> None:
    name = "bytes"
    server.database(name, options="ENCODING 'SQL_ASCII' TEMPLATE template0")
    with server.connect(name, client_encoding="SQL_ASCII") as connection:
        connection.execute("CREATE TABLE things (id int PRIMARY KEY, word text)")
        connection.execute(b"INSERT INTO things VALUES (1, 'caf\xe9'), (2, 'caf\xc3\xa9')")
    pod = a_load(tmp_path, source(server, name), field("id", "int"), field("word", "string"))
    counts = pod.work().datasets[0].counts
    assert (counts.loaded, counts.quarantined) == (1, 1)
    assert pod.rows() == [{"id": 2, "word": "café"}]
    assert [row["key"] for row in pod.bad()] == ["1"]


def test_names_may_be_anything(server: Server, database: str, tmp_path: Path) -> None:
    odd = 'o"dd; DROP TABLE x --'
    quoted = '"' + odd.replace('"', '""') + '"'
    server.execute(
        f"CREATE SCHEMA {quoted}",
        f'CREATE TABLE {quoted}.{quoted} ({quoted} int, "two words" text, "%s" int, "{{}}" int)',
        f"INSERT INTO {quoted}.{quoted} VALUES (1, 'x', 2, 3)",
        database=database,
    )
    fields = [field("a", "int", from_=quoted), field("b", "string", from_="two words"),
              field("c", "int", from_='"%s"'), field("d", "int", from_='"{}"')]  # fmt: skip
    pod = a_load(tmp_path, source(server, database), *fields, stream=f"{odd}.{odd}")
    assert pod.work().state == "Succeeded"
    assert pod.rows() == [{"a": 1, "b": "x", "c": 2, "d": 3}]


def test_queries_are_read_like_tables(server: Server, database: str, tmp_path: Path) -> None:
    server.execute("CREATE TABLE t AS SELECT i, i * 1.5 AS x FROM generate_series(1, 10) i", database=database)
    text = "SELECT i AS a, i AS a, x::numeric(5,1) AS x, 'it''s', '\\' AS \"b\" FROM t -- all of it\n;  "
    place = source(server, database, queries=[{"name": "mine", "sql": text}])
    pod = a_load(tmp_path, place, field("x", "decimal(5,1)"), field("b", "string"), stream="mine")
    report = pod.work()
    assert (report.state, report.message) == ("Succeeded", None)
    assert sorted(str(row["x"]) for row in pod.rows())[:2] == ["1.5", "10.5"]
    assert {row["b"] for row in pod.rows()} == {"\\"}


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("DELETE FROM t RETURNING i", "WrongSpecification"),
        ("SELECT 1) AS s; DELETE FROM t; SELECT (1", "WrongSpecification"),
        ("SELECT 1) TO STDOUT; COMMIT; DELETE FROM t --", "WrongSpecification"),
        ("WITH gone AS (DELETE FROM t RETURNING i) SELECT i FROM gone", "WrongSpecification"),
        ("SELECT i, grow() FROM t", "WrongSpecification"),
        ("SELECT nothing FROM t", "WrongSpecification"),
        ("SELECT 1 FROM nowhere", "ResourceNotFound"),
        ("SELECT 1 / (i - i) AS i FROM t", "WrongSpecification"),
        ("SELEC 1", "WrongSpecification"),
        ("VACUUM t", "WrongSpecification"),
        ("/*", "WrongSpecification"),
    ],
)
def test_a_query_only_reads(text: str, reason: str, server: Server, database: str, tmp_path: Path) -> None:
    server.execute(
        "CREATE TABLE t AS SELECT 1 AS i",
        "CREATE FUNCTION grow() RETURNS int LANGUAGE sql AS 'INSERT INTO t VALUES (2) RETURNING i'",
        database=database,
    )
    place = source(server, database, queries=[{"name": "mine", "sql": text}])
    pod = a_load(tmp_path, place, field("i", "int"), stream="mine")
    found, message = refused(pod.work())
    assert found == reason
    assert "query mine" in message
    assert server.rows("SELECT * FROM t", database) == [(1,)]


def test_columns_that_no_field_uses_never_matter(server: Server, database: str, tmp_path: Path) -> None:
    server.execute(
        "CREATE FUNCTION broken(int) RETURNS int STABLE LANGUAGE plpgsql AS 'BEGIN RAISE EXCEPTION ''no''; END'",
        "CREATE VIEW things AS SELECT 1 AS id, broken(1) AS bad, NULL AS nothing, 'x'::unknown AS odd",
        database=database,
    )
    pod = a_load(tmp_path, source(server, database), field("id", "int"))
    assert pod.work().state == "Succeeded"
    assert pod.rows() == [{"id": 1}]
    pod = a_load(tmp_path / "other", source(server, database), field("id", "int"), field("bad", "int"))
    reason, message = refused(pod.work())
    assert reason == "WrongSpecification"
    assert "table things: no" in message


def test_rows_without_a_column_that_is_used_are_counted(server: Server, database: str, tmp_path: Path) -> None:
    server.execute("CREATE TABLE things AS SELECT i FROM generate_series(1, 3) i", database=database)
    pod = a_load(tmp_path, source(server, database), field("one", "int", from_="1 + 0"))
    report = pod.work()
    assert report.datasets[0].counts.loaded == 3, report.message


def test_a_nullable_column_by_itself_keeps_its_nulls(server: Server, database: str, tmp_path: Path) -> None:
    server.execute("CREATE TABLE things (a text)", "INSERT INTO things VALUES (NULL), (''), ('x')", database=database)
    pod = a_load(tmp_path, source(server, database), field("a", "string"))
    assert pod.work().datasets[0].counts.loaded == 3
    assert sorted((row["a"] for row in pod.rows()), key=str) == ["", None, "x"]


def test_streams_are_what_the_user_may_read(server: Server, database: str, tmp_path: Path) -> None:
    server.execute(
        "CREATE SCHEMA sales",
        "CREATE TABLE sales.orders (id bigint PRIMARY KEY, total numeric(10,2))",
        "CREATE TABLE hidden (id int)",
        "CREATE TABLE partly (id int, secret text)",
        "CREATE TABLE parts (day date, n int) PARTITION BY RANGE (day)",
        "CREATE TABLE parts_2026 PARTITION OF parts FOR VALUES FROM ('2026-01-01') TO ('2027-01-01')",
        "CREATE VIEW seen AS SELECT 1 AS one",
        "CREATE MATERIALIZED VIEW kept AS SELECT 1 AS one",
        f"GRANT USAGE ON SCHEMA sales TO {READER}",
        f"GRANT SELECT ON sales.orders, parts, seen, kept TO {READER}",
        f"GRANT SELECT (id) ON partly TO {READER}",
        database=database,
    )
    secret(tmp_path, READER, READERS)
    place = source(server, database, queries=[{"name": "all orders", "sql": "TABLE sales.orders"}])
    streams = {stream.name: stream for stream in the_source(tmp_path, place).discover()}
    assert [*streams] == ["kept", "partly", "parts", "seen", "sales.orders", "all orders"]
    orders = streams["sales.orders"]
    assert [(column.name, column.type) for column in orders.fields] == [("id", "long"), ("total", "decimal(10,2)")]
    assert orders.key == ("id",)
    assert orders.bytes is not None
    named = source(server, database, tables={"include": ["hidden"]})
    with pytest.raises(InvalidSpec, match='may not read table "hidden"') as error:
        the_source(tmp_path, named).check()
    assert error.value.reason == "WrongCredentials"
    chosen = source(server, database, tables={"include": ["s*", "kept"], "exclude": ["sales.*"]})
    assert [stream.name for stream in the_source(tmp_path, chosen).discover()] == ["kept", "seen"]


def test_all_streams_are_read_in_one_snapshot(server: Server, database: str, tmp_path: Path) -> None:
    server.execute("CREATE TABLE a AS SELECT 1 AS n", "CREATE TABLE b AS SELECT 1 AS n", database=database)
    secret(tmp_path)
    reading = the_source(tmp_path, source(server, database))
    with reading.session([StreamRequest("a"), StreamRequest("b")]) as session:
        truncating = threading.Thread(target=lambda: server.execute("TRUNCATE b", database=database))
        server.execute("INSERT INTO a VALUES (2)", "INSERT INTO b VALUES (2)", database=database)
        truncating.start()
        time.sleep(0.2)
        rows = {}
        for stream in ("a", "b"):
            (opening,) = session.readers(stream, session.plan(stream).inputs[0].parts)
            with opening() as reader:
                chunks = [work(None) for work in reader.works(["n"])]  # type: ignore[arg-type]
            rows[stream] = [chunk.table["c0"].to_pylist() for chunk in chunks]
    truncating.join(10)
    assert rows == {"a": [[1]], "b": [[1]]}
    assert server.rows("SELECT count(*) FROM b", database) == [(0,)]


def test_a_stream_that_fails_does_not_keep_the_next_from_being_read(
    server: Server, database: str, tmp_path: Path
) -> None:
    server.execute(
        "CREATE TABLE things AS SELECT i FROM generate_series(1, 300000) i",
        "CREATE VIEW failing AS SELECT 1 / (250000 - i) AS i FROM things",
        database=database,
    )
    pod = a_load(tmp_path, source(server, database), field("i", "int"))
    first = pod.order()["datasets"][0]

    def dataset(name: str, stream: str, **more: Any) -> Json:
        return {**first, "owner": {**first["owner"], "name": name}, "table": name, "stream": stream, **more}

    strict = {"schema": {"fields": [field("i", "int", maximum="5")]}, "quality": {"maxBadRatio": "0%"}}
    datasets = [
        dataset("failing", "failing"),
        dataset("nowhere", "nowhere"),
        dataset("strict", "things", **strict),
        dataset("good", "things"),
    ]
    report = pod.work(more={"source": source(server, database), "datasets": datasets})
    assert [(entry.name, entry.state, entry.reason) for entry in report.datasets] == [
        ("failing", "Failed", "WrongSpecification"),
        ("nowhere", "Failed", "ResourceNotFound"),
        ("strict", "Failed", "TooManyBadRows"),
        ("good", "Written", None),
    ]
    assert report.datasets[3].counts.loaded == 300_000


def test_a_table_that_was_dropped_or_altered_is_named(server: Server, database: str, tmp_path: Path) -> None:
    server.execute("CREATE TABLE things (a int, b int)", "INSERT INTO things VALUES (1, 2)", database=database)
    place = source(server, database)
    pod = a_load(tmp_path, place, field("a", "int"))
    assert pod.work("r1").state == "Succeeded"
    server.execute("ALTER TABLE things RENAME a TO renamed", database=database)
    reason, message = refused(pod.work("r2"))
    assert reason == "WrongSpecification"
    assert 'field a needs the column "a"' in message
    server.execute("DROP TABLE things", database=database)
    reason, message = refused(pod.work("r3"))
    assert reason == "ResourceNotFound"
    assert '"things"' in message
    assert pod.rows() == [{"a": 1}], "what was loaded stays"
    server.execute("CREATE TABLE things (a int)", "INSERT INTO things VALUES (5)", database=database)
    assert pod.work("r4").state == "Succeeded"
    assert pod.rows() == [{"a": 5}]


def test_the_reason_says_what_is_wrong_with_the_connection(server: Server, database: str, tmp_path: Path) -> None:
    server.execute("CREATE TABLE things (a int)", database=database)

    def checked(**more: Any) -> PenstockError:
        with pytest.raises(PenstockError) as caught:
            the_source(tmp_path, source(server, database, **more)).check()
        assert PASSWORD not in caught.value.message
        return caught.value

    secret(tmp_path)
    assert (checked(host="nowhere.invalid").reason, "no host" in checked(host="nowhere.invalid").message) == (
        "Unreachable",
        True,
    )
    closed = checked(port=1)
    assert (type(closed), closed.reason) == (NotYet, "Unreachable")
    assert "nothing listens on port 1" in closed.message
    plain = checked(sslMode="require")
    assert (type(plain), plain.reason) == (InvalidSpec, "TlsFailed")
    assert "sslMode: disable" in plain.message
    missing = checked(database="nothing")
    assert (type(missing), missing.reason) == (InvalidSpec, "ResourceNotFound")
    secret(tmp_path, password="wrong-secret")
    wrong = checked()
    assert (type(wrong), wrong.reason) == (InvalidSpec, "WrongCredentials")
    assert "wrong-secret" not in wrong.message
    secret(tmp_path, user="nobody")
    assert checked().reason == "WrongCredentials"
    (tmp_path / places.SECRETS.lstrip("/") / "login/password").unlink()
    assert checked().reason == "SecretMissing"


def test_a_connection_that_is_cut_is_tried_again(server: Server, database: str, tmp_path: Path) -> None:
    server.execute("CREATE VIEW things AS SELECT i FROM generate_series(1, 100000000) i", database=database)
    pod = a_load(tmp_path, source(server, database), field("i", "int"))
    cut = threading.Timer(1.5, lambda: server.execute(
        f"SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = '{database}'"
    ))  # fmt: skip
    cut.start()
    report = pod.work()
    cut.join()
    reason, message = refused(report)
    assert reason == "Unreachable"
    assert pod.code == places.EXIT_AGAIN
    assert PASSWORD not in message


def test_the_deadline_ends_the_query_at_the_server(server: Server, database: str, tmp_path: Path) -> None:
    server.execute("CREATE VIEW things AS SELECT pg_sleep(60) IS NULL AS i", database=database)
    pod = a_load(tmp_path, source(server, database), field("i", "boolean"))
    began = time.monotonic()
    report = pod.work(deadline=3)
    assert report.reason == "DeadlineExceeded"
    assert time.monotonic() - began < 20
    active = f"SELECT count(*) FROM pg_stat_activity WHERE datname = '{database}' AND state = 'active'"
    assert server.rows(active) == [(0,)]


HOSTILE = ("pg_table_size(oid)", "has_schema_privilege(oid, text)", "has_table_privilege(oid, text)")


def test_functions_that_others_made_are_not_executed_by_statements_of_ours(
    server: Server, database: str, tmp_path: Path
) -> None:
    made = [
        f"CREATE FUNCTION public.{name} RETURNS bigint LANGUAGE plpgsql AS "
        "$$ BEGIN INSERT INTO public.loot VALUES (current_user); RETURN 1; END $$"
        for name in HOSTILE[:1]
    ] + [
        f"CREATE FUNCTION public.{name} RETURNS boolean LANGUAGE plpgsql AS "
        "$$ BEGIN INSERT INTO public.loot VALUES (current_user); RETURN true; END $$"
        for name in HOSTILE[1:]
    ]
    server.execute("CREATE TABLE loot (who text)", "CREATE TABLE things (n int)", *made, database=database)
    server.execute("INSERT INTO things VALUES (7)", database=database)
    pod = a_load(tmp_path, source(server, database), field("n", "int"))
    assert pod.work().message is None
    assert pod.rows() == [{"n": 7}]
    assert server.rows("SELECT * FROM loot", database) == []


def test_a_query_and_a_view_find_what_the_user_finds(server: Server, database: str, tmp_path: Path) -> None:
    server.execute(
        "CREATE SCHEMA sales", "SET search_path = sales",
        "CREATE TABLE sales.orders (n int)", "INSERT INTO sales.orders VALUES (7)",
        "CREATE FUNCTION sales.total() RETURNS bigint LANGUAGE sql AS 'SELECT sum(n) FROM orders'",
        "CREATE VIEW sales.totals AS SELECT sales.total() AS n", f'ALTER DATABASE "{database}" SET search_path = sales',
        database=database,
    )  # fmt: skip
    place = source(server, database, queries=[{"name": "q", "sql": "SELECT n FROM orders -- of the user"}])
    for stream in ("q", "sales.totals"):
        pod = a_load(tmp_path / stream, place, field("n", "int"), stream=stream)
        assert pod.work().message is None
        assert pod.rows() == [{"n": 7}]
