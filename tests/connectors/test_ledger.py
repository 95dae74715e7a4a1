"""The contract of the ledger in SQL, over SQLite and over a real PostgreSQL server."""

import sqlite3
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager, suppress
from dataclasses import replace
from pathlib import Path

import pytest

from connectors.systems import postgres as systems
from penstock.connectors.lake.catalogs.sqlite import SqliteDatabase
from penstock.connectors.postgres.connection import Place
from penstock.connectors.postgres.database import PostgresDatabase
from penstock.connectors.postgres.spec import Server as Spec
from penstock.language.auth import Auth
from penstock.language.errors import NotYet
from penstock.runs.order import Subject
from penstock.worker.ledger import SqlLedger, check
from penstock.worker.pod import here
from penstock.worker.ports.ledger import Attempt, Claim, Database, Delivery, InputEntry, Settlement
from penstock.worker.rows import engine
from worker.pods import a_pod, secret

OWNER = Subject(kind="Dataset", namespace="demo", name="things").marker
SETTLED = Settlement("{}", 1, 0, "2026-11-27T00:00:00Z", "demo/load", "things")
Make = Callable[[Path], Database]


def sqlite(root: Path) -> Database:
    return SqliteDatabase(root, "ledger.db", "Destination lake")


def postgres(root: Path, schema: str = "public") -> PostgresDatabase:
    adapter = systems.Postgres(root)
    quoted = engine.name(schema)
    adapter.execute(f"CREATE SCHEMA IF NOT EXISTS {quoted}", f"GRANT CREATE, USAGE ON SCHEMA {quoted} TO PUBLIC")
    pod = a_pod(root)
    for name, keys in adapter.secrets.items():
        secret(pod, name, **keys)
    place = Place(Spec.model_validate(adapter.connector), Auth.model_validate(adapter.auth), here(pod.environment("r")),
                  "Destination store")  # fmt: skip
    return PostgresDatabase(place, schema)


every = pytest.mark.parametrize("make", [sqlite, postgres])


@contextmanager
def claimed(make: Make, root: Path) -> Iterator[tuple[SqlLedger, Claim]]:
    ledger = SqlLedger(make(root))
    with ledger.claim(OWNER, Attempt("r1", "worker", "basis")) as claim:
        yield ledger, claim


def settle(ledger: SqlLedger, claim: Claim, settlement: Settlement) -> None:
    with ledger.database.transaction() as cursor:
        ledger.settle(cursor, claim, settlement)


@every
def test_what_is_settled_is_read_back(make: Make, tmp_path: Path) -> None:
    with claimed(make, tmp_path) as (ledger, claim):
        plan = '{"inputs": ["what? 100% \\u0000 \'a\' ä"]}'
        assert ledger.record(claim, plan) == plan
        assert ledger.record(claim, "{}") == plan, "the first plan of a basis stays"
        [number] = ledger.new_input_ids(claim, 1)
        entry = InputEntry(number, "demo/load", "things", "file?%s", "v", 1 << 60, 2, 1, "loaded", "schema")
        settle(ledger, claim, replace(SETTLED, inputs=(entry,), state={"at": 1.5}))
        assert ledger.inputs(OWNER) == [entry]
        assert ledger.state(OWNER, "demo/load", "things") == {"at": 1.5}
        assert [(commit.run, commit.loaded) for commit in ledger.tail(OWNER)] == [("r1", 1)]
    with ledger.claim(OWNER, Attempt("r1", "other", "basis")) as again:
        assert (again.report, again.plan, again.attempt) == ("{}", plan, 2)
        assert again.load_id == claim.load_id + 1


@every
def test_a_transaction_that_fails_leaves_nothing(make: Make, tmp_path: Path) -> None:
    with claimed(make, tmp_path) as (ledger, claim):
        with pytest.raises(NotYet), ledger.database.transaction() as cursor:  # noqa: PT012 - one transaction
            ledger.settle(cursor, claim, replace(SETTLED, state=1))
            ledger.settle(cursor, claim, replace(SETTLED, state=1))
        assert (ledger.state(OWNER, "demo/load", "things"), ledger.tail(OWNER)) == (None, [])
        settle(ledger, claim, replace(SETTLED, state=1))
        with pytest.raises(NotYet):
            settle(ledger, claim, replace(SETTLED, state_before=1, state=2))
        assert ledger.state(OWNER, "demo/load", "things") == 1


@every
def test_the_state_is_compared_and_swapped_in_the_commit(make: Make, tmp_path: Path) -> None:
    with claimed(make, tmp_path) as (ledger, claim):
        settle(ledger, claim, replace(SETTLED, state={"at": 1}))
    for before, reason in (({"at": 0}, "LeaseHeld"), (None, "LeaseHeld"), ({"at": 1}, "")):
        with ledger.claim(OWNER, Attempt("r2", "worker")) as claim:
            moved = replace(SETTLED, state_before=before, state={"at": 2})
            if not reason:
                settle(ledger, claim, moved)
                continue
            with pytest.raises(NotYet, match="moved the state of stream things") as refused:
                settle(ledger, claim, moved)
            assert refused.value.reason == reason
            assert not claim.lost.is_set()
    assert ledger.state(OWNER, "demo/load", "things") == {"at": 2}


@every
def test_workers_that_race_exclude_each_other(make: Make, tmp_path: Path) -> None:
    """Eight threads claim one run id over and over, take ids and try to settle: one settles, and no id comes twice."""
    database = make(tmp_path)
    settled: list[int] = []
    ids: list[int] = []
    loads: list[int] = []
    barrier = threading.Barrier(8)

    def work(number: int) -> None:
        ledger = SqlLedger(database)
        barrier.wait()
        for _ in range(3):
            with suppress(NotYet), ledger.claim(OWNER, Attempt("r1", f"w{number}")) as claim:
                loads.append(claim.load_id)
                ids.extend(ledger.new_input_ids(claim, 5))
                settle(ledger, claim, SETTLED)
                settled.append(number)

    with ThreadPoolExecutor(8) as threads:
        for done in [threads.submit(work, number) for number in range(8)]:
            done.result()
    assert len(settled) == 1
    assert len({*loads}) == len(loads) == 24
    assert len({*ids}) == len(ids)


@every
def test_a_lease_is_renewed_and_ends_with_its_holder(make: Make, tmp_path: Path) -> None:
    ledger = SqlLedger(make(tmp_path))
    with ledger.claim(OWNER, Attempt("r1", "one"), lease=2.0):
        begun = time.monotonic()
        with pytest.raises(NotYet, match="r1"), ledger.claim(OWNER, Attempt("r2", "two"), lease=2.0):
            pass
        assert time.monotonic() - begun >= 2.0
    with ledger.claim(OWNER, Attempt("r2", "two"), lease=2.0) as claim:
        assert claim.run == "r2"


@every
def test_a_delivery_is_entered_once(make: Make, tmp_path: Path) -> None:
    done = Settlement("{}", 3, 0, "2026-11-27T00:00:00Z")
    with claimed(make, tmp_path) as (ledger, claim):
        ledger.delivered(claim, done, Delivery("m", "s", 3, 9, 1, done.committed_at))
        with pytest.raises(NotYet):
            ledger.delivered(claim, done, Delivery("m", "s", 3, 9, 1, done.committed_at))


def test_a_statement_that_fails_in_sqlite_is_a_failure_of_the_database(tmp_path: Path) -> None:
    database = sqlite(tmp_path)
    with pytest.raises(sqlite3.Error) as failed, database.transaction() as cursor:
        cursor.execute("SELECT * FROM nothing")
    assert database.is_failure(failed.value)


def test_a_cut_connection_is_no_lost_claim_and_the_next_transaction_has_a_new_one(tmp_path: Path) -> None:
    database = postgres(tmp_path)
    ledger = SqlLedger(database)
    with ledger.claim(OWNER, Attempt("r1", "worker")) as claim:
        terminate(database)
        assert ledger.new_input_ids(claim, 1) == range(1, 2), "a connection that was idle is replaced"
        with pytest.raises(NotYet) as cut, database.transaction() as cursor:  # noqa: PT012 - one transaction
            terminate(database)
            check(cursor, claim)
        assert cut.value.reason == "Unreachable"
        assert not claim.lost.is_set()
        settle(ledger, claim, SETTLED)
    with pytest.raises(NotYet) as failed, ledger.claim(OWNER, Attempt("r2", "worker")):  # noqa: PT012 - one claim
        terminate(database)
        raise NotYet("the first failure", "Timeout")
    assert failed.value.reason == "Timeout"


@every
def test_replaced_inputs_are_kept_while_rows_name_them(make: Make, tmp_path: Path) -> None:
    ledger = SqlLedger(make(tmp_path))
    entries = [InputEntry(each, "demo/load", "things", f"{each}", "v", 1, 2, 0, "loaded", "schema") for each in (1, 2)]
    changes = [
        replace(SETTLED, inputs=tuple(entries)),
        replace(SETTLED, leaving=(1, 2), keep=True, displaced={1: 2, 2: 1}),
        replace(SETTLED, displaced={2: 1}),
        replace(SETTLED, inputs=(replace(entries[0], id=3), replace(entries[0], id=4))),
        replace(SETTLED, leaving=(3, 4), keep=True),
        replace(SETTLED, emptied=True),
    ]
    kept = []
    for number, change in enumerate(changes):
        with ledger.claim(OWNER, Attempt(f"r{number}", "worker")) as claim:
            settle(ledger, claim, change)
        with ledger.database.transaction() as cursor:
            cursor.execute("SELECT input_id, loaded FROM penstock_inputs ORDER BY input_id")
            kept.append([tuple(row) for row in cursor.fetchall()])
    assert kept == [[(1, 2), (2, 2)], [(2, 1)], [], [(3, 2), (4, 2)], [(3, 2), (4, 2)], []]


def terminate(database: PostgresDatabase) -> None:
    """End every session of the database's user, as a restart of the server does."""
    systems.terminate(database.place.spec.database)


def test_the_ledger_lies_in_its_schema_whatever_the_users_settings_are(tmp_path: Path) -> None:
    database = postgres(tmp_path, 'odd "name"; --')
    settings = ("default_transaction_isolation = 'serializable'", "default_transaction_read_only = on",
                "search_path = nowhere", "statement_timeout = '1ms'", "lock_timeout = '1ms'")  # fmt: skip
    server, name = systems.server(), database.place.spec.database
    server.execute(*(f'ALTER DATABASE "{name}" SET {setting}' for setting in settings))
    ledger = SqlLedger(database)
    with ledger.claim(OWNER, Attempt("r1", "worker")) as claim:
        settle(ledger, claim, SETTLED)
    assert [commit.run for commit in ledger.tail(OWNER)] == ["r1"]
    server.execute(f'ALTER DATABASE "{name}" RESET ALL')
    query = "SELECT nspname FROM pg_class c JOIN pg_namespace n ON n.oid = relnamespace WHERE relname = 'penstock_runs'"
    assert server.rows(query, name) == [('odd "name"; --',)]
