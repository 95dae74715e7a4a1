"""Incremental reading of PostgreSQL by a cursor, against a real server with open transactions."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from connectors.contract.increments import read
from connectors.test_postgres import a_load, refused, secret, source, the_source
from penstock.language.errors import InvalidSpec
from penstock.runs.report import RunReport
from support import postgres
from support.postgres import PASSWORD, Server
from worker.pods import APod, Json, field

FIELDS = (field("id", "long"), field("word", "string"))


@pytest.fixture(scope="module")
def server() -> Iterator[Server]:
    with postgres.serve(settings=("max_prepared_transactions=4",)) as running:
        running.execute(f"CREATE ROLE limited LOGIN PASSWORD '{PASSWORD}'")
        yield running


class Shop:
    """A database with the table things (id, word, at), whose rows are loaded by the cursor `at`."""

    def __init__(self, server: Server, root: Path, name: str, **dataset: Any) -> None:
        self.server, self.name, self.runs = server, server.database(name), 0
        self.pod = self.a_pod(root, **dataset)

    def a_pod(self, root: Path, fields: tuple[Json, ...] = FIELDS, **dataset: Any) -> APod:
        mode = {"sync": "incremental", "cursor": "at", "writeMode": "append", **dataset}
        if mode["writeMode"] == "upsert":
            fields = (field("id", "long", required=True), *fields[1:])
        pod = a_load(root, source(self.server, self.name), *fields, **mode)
        if mode["writeMode"] == "upsert":
            pod.dataset |= {"schema": {"fields": pod.fields, "primaryKey": ["id"]}}
        return pod

    def execute(self, *statements: str) -> None:
        self.server.execute(*statements, database=self.name)

    def create(self, kind: str, key: str = "PRIMARY KEY") -> None:
        self.execute(f"CREATE TABLE things (id bigint {key}, word text, at {kind})")

    def add(self, *rows: tuple[int, str]) -> None:
        self.execute(*(f"INSERT INTO things VALUES ({number}, 'w{number}', {at})" for number, at in rows))

    def run(self) -> RunReport:
        self.runs += 1
        return self.pod.work(f"r{self.runs}")

    def load(self) -> tuple[int, list[int]]:
        """Load; how many rows were loaded, and the ids that are there."""
        report = self.run()
        assert report.state == "Succeeded", report.message
        return report.counts.loaded, self.ids()

    def ids(self) -> list[int]:
        return sorted(row["id"] for row in self.pod.rows())


@pytest.fixture
def shop(server: Server, tmp_path: Path, request: pytest.FixtureRequest) -> Shop:
    return Shop(server, tmp_path, f"d{abs(hash(request.node.nodeid))}")


KINDS = [
    ("integer", "3", "3", "4"),
    ("smallint", "3", "3", "4"),
    ("bigint", "9223372036854775806", "9223372036854775806", "9223372036854775807"),
    ("numeric", "3.10", "3.1", "3.11"),
    ("numeric(38,10)", "'9999999999999999999999999999.0123456788'", "9999999999999999999999999999.0123456788",
     "'9999999999999999999999999999.0123456789'"),
    ("date", "'2026-02-28'", "'2026-02-28'", "'2026-03-01'"),
    ("timestamp", "'2026-02-28 23:59:59.123456'", "'2026-02-28 23:59:59.123456'", "'2026-02-28 23:59:59.123457'"),
    ("timestamptz", "'2026-02-28 23:59:59.123456+00'", "'2026-03-01 00:59:59.123456+01'",
     "'2026-02-28 23:59:59.123457+00'"),
    ("text", "'ä''b\\'", "'ä''b\\'", "'ä''c'"),
    ("varchar(20)", "'a'", "'a'", "'b'"),
    ("char(3)", "'a'", "'a  '", "'b'"),
]  # fmt: skip


@pytest.mark.parametrize(("kind", "first", "tie", "later"), KINDS, ids=[kind for kind, *_ in KINDS])
def test_each_type_of_cursor_is_compared_exactly(shop: Shop, kind: str, first: str, tie: str, later: str) -> None:
    shop.create(kind)
    shop.add((1, first), (2, first))
    port = the_source(shop.pod.root, source(shop.server, shop.name))
    begun = read(port, "things", "at")
    assert begun.ids == [1, 2]
    shop.add((3, later), (4, tie))
    rest = read(port, "things", "at", begun.state)
    assert rest.ids == [4, 3]
    assert read(port, "things", "at", rest.state).ids == []


def test_values_that_cannot_be_compared_move_no_mark_and_are_counted(shop: Shop) -> None:
    shop.create("timestamptz")
    shop.add((1, "'infinity'"), (2, "'-infinity'"), (3, "NULL"), (4, "'2026-01-01'"))
    report = shop.run()
    assert (report.counts.read, report.counts.loaded, report.counts.ignored) == (4, 1, 3)
    shop.add((5, "'2026-01-02'"))
    assert shop.load() == (1, [4, 5])


@pytest.mark.parametrize(("kind", "odd", "plain"), [("numeric", "'NaN'", "1"), ("date", "'infinity'", "'2026-01-01'")])
def test_an_upsert_loads_rows_without_a_value_too(
    server: Server, tmp_path: Path, kind: str, odd: str, plain: str
) -> None:
    shop = Shop(server, tmp_path, f"upsert{kind}", writeMode="upsert")
    shop.create(kind)
    shop.add((1, "NULL"), (2, odd), (3, plain))
    assert shop.load() == (3, [1, 2, 3])
    shop.execute("UPDATE things SET word = 'new' WHERE id IN (1, 3)")
    report = shop.run()
    assert (report.counts.loaded, report.counts.unchanged) == (2, 1)


def test_the_mark_does_not_pass_an_open_transaction(shop: Shop) -> None:
    shop.create("timestamptz DEFAULT now()")
    with server_connection(shop) as open_transaction:
        open_transaction.execute("BEGIN")
        open_transaction.execute("INSERT INTO things VALUES (1, 'late')")
        shop.execute("INSERT INTO things VALUES (2, 'committed first')")
        assert shop.run().counts.loaded == 0
        open_transaction.execute("COMMIT")
    assert shop.load() == (2, [1, 2])


def test_a_transaction_that_has_written_nothing_yet_counts_too(shop: Shop) -> None:
    shop.create("timestamp DEFAULT localtimestamp")
    with server_connection(shop) as open_transaction:
        open_transaction.execute("BEGIN")
        open_transaction.execute("SELECT 1")
        shop.execute("INSERT INTO things VALUES (2, 'committed first')")
        assert shop.run().counts.loaded == 0
        open_transaction.execute("INSERT INTO things VALUES (1, 'late')")
        open_transaction.execute("COMMIT")
    assert shop.load() == (2, [1, 2])


def test_an_upsert_reads_beyond_an_open_transaction_and_again(server: Server, tmp_path: Path) -> None:
    shop = Shop(server, tmp_path, "beyond", writeMode="upsert")
    shop.create("timestamptz DEFAULT now()")
    shop.execute("INSERT INTO things VALUES (0, 'before')")
    with server_connection(shop) as open_transaction:
        open_transaction.execute("BEGIN")
        open_transaction.execute("INSERT INTO things VALUES (1, 'late')")
        shop.execute("INSERT INTO things VALUES (2, 'committed first')")
        assert shop.load() == (2, [0, 2])
        open_transaction.execute("COMMIT")
    assert shop.load() == (1, [0, 1, 2])


@pytest.mark.parametrize("mode", ["append", "upsert"])
def test_the_mark_waits_for_a_prepared_transaction(server: Server, tmp_path: Path, mode: str) -> None:
    shop = Shop(server, tmp_path, f"prepared_{mode}", writeMode=mode)
    shop.create("timestamptz DEFAULT now()")
    shop.execute("INSERT INTO things VALUES (0, 'before')")
    shop.load()
    with server_connection(shop) as session:
        session.execute("BEGIN")
        session.execute("INSERT INTO things VALUES (1, 'late')")
        session.execute("PREPARE TRANSACTION 'late'")
    shop.execute("INSERT INTO things VALUES (2, 'committed first')")
    mark = shop.run().datasets[0].cursor
    with server_connection(shop) as session:
        session.execute("COMMIT PREPARED 'late'")
    assert shop.load()[1] == [0, 1, 2]
    assert mark is not None


def test_who_cannot_see_transactions_must_set_a_delay(shop: Shop, tmp_path: Path) -> None:
    shop.create("timestamptz DEFAULT now()")
    shop.execute("GRANT SELECT ON things TO limited", "INSERT INTO things VALUES (1, 'old', now() - interval '1h')")
    shop.execute("INSERT INTO things VALUES (2, 'new')")
    secret(tmp_path, "limited")
    reason, message = refused(shop.run())
    assert reason == "WrongSpecification"
    assert "Set `delay`" in message
    assert "pg_read_all_stats" in message
    shop.pod.dataset["delay"] = "10m"
    assert shop.load() == (1, [1])
    shop.execute("UPDATE things SET at = now() - interval '11m' WHERE id = 2")
    assert shop.load() == (1, [1, 2])
    shop.pod.dataset["delay"] = "0s"
    shop.execute("INSERT INTO things VALUES (3, 'new')")
    assert shop.load() == (1, [1, 2, 3])


def test_rows_that_come_from_elsewhere_need_a_delay(shop: Shop) -> None:
    shop.create("timestamptz")
    shop.execute("CREATE MATERIALIZED VIEW copy AS SELECT * FROM things", "CREATE FOREIGN DATA WRAPPER nothing")
    shop.execute("CREATE SERVER far FOREIGN DATA WRAPPER nothing")
    shop.execute("CREATE FOREIGN TABLE remote (id bigint, at timestamptz) SERVER far")
    port = the_source(shop.pod.root, source(shop.server, shop.name))
    for stream in ("copy", "remote"):
        with pytest.raises(InvalidSpec, match=r"foreign table or a materialized view.*Set `delay`"):
            read(port, stream, "at")


def test_a_standby_needs_a_delay_and_waits_until_it_has_replayed_something(tmp_path: Path) -> None:
    with postgres.serve() as running:
        rows = "INSERT INTO things VALUES (1, '2026-01-01')"
        running.execute("CREATE TABLE things (id bigint PRIMARY KEY, at timestamptz)", rows)
        postgres.stop(running)
        (running.folder / "standby.signal").touch()
        postgres.start(running, postgres.programs(running.folder.parent))
        secret(tmp_path)
        port = the_source(tmp_path, source(running, "postgres"))
        with pytest.raises(InvalidSpec, match="the server is a standby"):
            read(port, "things", "at")
        waiting = read(port, "things", "at", delay="0s")
        assert (waiting.ids, waiting.state) == ([], None)


def test_reading_rows_that_are_there_already_adds_nothing_to_the_ledger(server: Server, tmp_path: Path) -> None:
    shop = Shop(server, tmp_path, "trace", writeMode="upsert")
    shop.create("bigint")
    shop.add((1, "1"))
    shop.load()
    assert shop.run().counts.unchanged == 1
    assert [entry.rows for entry in shop.pod.ledger.inputs("demo/things")] == [1]


def test_rows_of_the_future_wait_for_their_time(shop: Shop) -> None:
    shop.create("timestamptz")
    shop.add((1, "now() + interval '1 day'"), (2, "now()"))
    assert shop.load() == (1, [2])
    shop.add((3, "now()"))
    assert shop.load() == (1, [2, 3])


def test_without_a_key_a_time_is_read_up_to_what_is_complete(shop: Shop) -> None:
    shop.create("timestamptz", key="")
    shop.add((1, "'2026-01-01'"), (1, "'2026-01-01'"))
    assert shop.load() == (2, [1, 1])
    shop.add((2, "'2026-01-02'"))
    assert shop.load() == (1, [1, 1, 2])


def test_without_a_key_a_number_needs_a_delay(shop: Shop) -> None:
    shop.create("bigint", key="")
    shop.add((1, "1"))
    _, message = refused(shop.run())
    assert "has no primary key" in message
    shop.pod.dataset["delay"] = "1s"
    assert shop.run().counts.loaded == 0  # it has only seen the value
    shop.execute("SELECT pg_sleep(2.1)")
    shop.add((2, "2"))
    assert shop.load() == (1, [1])


def test_lookback_finds_rows_that_came_late(server: Server, tmp_path: Path) -> None:
    shop = Shop(server, tmp_path, "lookback", writeMode="upsert", lookback="1h")
    shop.create("timestamptz")
    shop.add((1, "'2026-01-01 12:00+00'"))
    shop.load()
    shop.add((2, "'2026-01-01 11:00+00'"), (3, "'2026-01-01 10:59:59+00'"))
    assert shop.load() == (1, [1, 2])
    shop.pod.dataset["lookback"] = "10"
    assert "must be a duration" in refused(shop.run())[1]


@pytest.mark.parametrize(
    ("kind", "values"),
    [
        ("integer", ("9", "10", "99", "128")),
        ("bigint", ("-10", "-9", "999", "1000")),
        ("numeric(12,2)", ("9.50", "10.00", "99.99", "100.00")),
        ("numeric", ("9.5", "10", "99.99", "100")),
        ("timestamptz", ("'0900-01-01'", "'1000-01-01'", "'2026-10-25 02:30+02'", "'2026-10-25 02:10+01'")),
    ],
)
def test_the_mark_is_the_greatest_value_and_not_the_greatest_text(
    server: Server, tmp_path: Path, kind: str, values: tuple[str, ...]
) -> None:
    shop = Shop(server, tmp_path, "order" + kind.partition("(")[0] + str("(" in kind))
    shop.create(kind)
    shop.add(*enumerate(values[:2], 1))
    assert shop.load() == (2, [1, 2])
    shop.add(*enumerate(values[2:], 3))
    assert shop.load() == (2, [1, 2, 3, 4])
    assert shop.load() == (0, [1, 2, 3, 4])


def test_lookback_of_a_number(server: Server, tmp_path: Path) -> None:
    shop = Shop(server, tmp_path, "numbers", writeMode="upsert", lookback="10")
    shop.create("integer")
    shop.add((1, "100"))
    shop.load()
    shop.add((2, "90"), (3, "89"))
    assert shop.load() == (1, [1, 2])


def test_of_a_query_the_row_with_the_greater_value_wins(server: Server, tmp_path: Path) -> None:
    shop = Shop(server, tmp_path, "events", writeMode="upsert")
    shop.execute("CREATE TABLE events (id bigint, word text, at bigint)")
    shop.execute("INSERT INTO events SELECT i % 10, 'v' || i, i FROM generate_series(99, 0, -1) i")
    sql = "SELECT id, word, at FROM events WHERE word LIKE 'v%' -- all"
    shop.pod.more = {"source": source(server, "events", queries=[{"name": "things", "sql": sql}])}
    shop.load()
    assert sorted(row["word"] for row in shop.pod.rows()) == [f"v{number}" for number in range(90, 100)]


def test_a_mark_of_something_else_is_refused(server: Server, tmp_path: Path) -> None:
    shop = Shop(server, tmp_path, "original")
    shop.create("bigint")
    shop.add((1, "1"))
    shop.load()
    before = shop.pod.more
    copy = server.database("copy", "CREATE TABLE things (id bigint PRIMARY KEY, word text, at bigint, other bigint)")
    server.execute("INSERT INTO things VALUES (7, 'copy', 7, 7)", database=copy)
    shop.pod.more = {"source": source(server, copy)}
    assert "the mark in the ledger belongs to another database" in refused(shop.run())[1]
    shop.pod.more = before
    shop.execute("ALTER TABLE things ADD other bigint")
    shop.pod.dataset["cursor"] = "other"
    assert "another cursor" in refused(shop.run())[1]
    shop.execute("ALTER TABLE things ALTER at TYPE text")
    shop.pod.dataset["cursor"] = "at"
    assert "a cursor of another type" in refused(shop.run())[1]
    shop.execute("ALTER TABLE things ALTER at TYPE integer USING at::integer")
    shop.add((2, "2"))
    assert shop.load() == (1, [1, 2])


@pytest.mark.parametrize(
    ("cursor", "words"),
    [("att", 'no column "att" for the cursor; did you mean "at"?'), ("id", ""), ("data", "because of its type")],
)
def test_what_cannot_be_a_cursor_is_said(shop: Shop, cursor: str, words: str) -> None:
    shop.create("bigint")
    shop.execute("ALTER TABLE things ADD data jsonb")
    shop.pod.dataset["cursor"] = cursor
    report = shop.run()
    assert words in (report.message or "")
    assert (report.state == "Succeeded") is (not words)


def test_a_full_load_is_not_appended_to(shop: Shop) -> None:
    shop.create("bigint")
    shop.add((1, "1"))
    shop.pod.dataset |= {"sync": "full", "writeMode": "replace", "cursor": None}
    shop.load()
    shop.pod.dataset |= {"sync": "incremental", "writeMode": "append", "cursor": "at"}
    reason, _ = refused(shop.run())
    assert reason == "AlreadyLoaded"
    shop.pod.dataset["delay"] = "0s"
    assert refused(shop.run())[0] == "AlreadyLoaded"


def test_a_full_load_ends_the_mark(server: Server, tmp_path: Path) -> None:
    shop = Shop(server, tmp_path, "ended")
    shop.create("bigint")
    shop.add((1, "1"))
    shop.load()
    incremental = {**shop.pod.dataset}
    shop.add((2, "2"))
    shop.pod.dataset |= {"sync": "full", "writeMode": "replace", "cursor": None}
    assert shop.load() == (2, [1, 2])
    shop.pod.dataset |= incremental
    assert refused(shop.run())[0] == "AlreadyLoaded"
    assert shop.ids() == [1, 2]


def test_more_ties_than_a_state_holds_wait_for_a_greater_value(shop: Shop) -> None:
    shop.create("integer")
    shop.execute("INSERT INTO things SELECT i, 'w', CASE WHEN i < 3 THEN 1 ELSE 2 END FROM generate_series(1, 10003) i")
    assert shop.load() == (2, [1, 2])
    shop.add((20000, "3"))
    loaded, ids = shop.load()
    assert (loaded, len(ids)) == (10002, 10004)


def test_the_mark_is_shown_unless_it_is_sensitive(shop: Shop, capfd: pytest.CaptureFixture[str]) -> None:
    shop.create("bigint")
    shop.add((1, "424242"))
    assert shop.run().datasets[0].cursor == "424242"
    shop.pod.dataset["schema"] = {
        "fields": [*FIELDS[:1], field("word", "string", from_="concat(word, at)", sensitive=True)]
    }
    shop.add((2, "434343"))
    assert shop.run().datasets[0].cursor == "***"
    assert "434343" not in capfd.readouterr().out


def server_connection(shop: Shop) -> Any:
    return shop.server.connect(shop.name)
