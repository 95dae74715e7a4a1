"""Tables that Subscriptions deliver into: their types, their owners, changes of their columns, and refused rows."""

import sqlite3
import time
from collections.abc import Iterator
from datetime import UTC, date, datetime
from decimal import Decimal
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from connectors.contract.adapters import TARGETS, TargetAdapter
from connectors.contract.deliveries import Deliveries, delivering
from connectors.systems import duckdb as duckdb_system
from connectors.systems import postgres as postgres_system
from penstock.runs import places
from penstock.runs.report import RunReport
from worker.pods import APod, a_pod, field, secret

KINDS: dict[str, tuple[pa.DataType, list[Any]]] = {
    "string": (pa.string(), ["", 'é😀 "quoted", \\N\t\n', "x" * 100_000]),
    "boolean": (pa.bool_(), [True, False]),
    "int": (pa.int32(), [-(2**31), 2**31 - 1]),
    "long": (pa.int64(), [-(2**63), 2**63 - 1]),
    "double": (pa.float64(), [-0.0, 5e-324, float("inf")]),
    "decimal(38, 10)": (pa.decimal128(38, 10), [Decimal("-9999999999999999999999999999.9999999999")]),
    "date": (pa.date32(), [date(1, 1, 1), date(9999, 12, 31)]),
    "timestamp": (pa.timestamp("us"), [datetime(1, 1, 1), datetime(9999, 12, 31, 23, 59, 59, 999_999)]),
    "timestamptz": (pa.timestamp("us", "UTC"), [datetime(2026, 1, 1, 12, 0, 0, 120_000, UTC)]),
}
_TABLES = {"postgres": TARGETS["postgres"], "duckdb": TARGETS["duckdb"]}


@pytest.fixture(params=_TABLES)
def target(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[TargetAdapter]:
    with _TABLES[request.param].running(tmp_path) as running:
        yield running


@pytest.fixture
def postgres(tmp_path: Path) -> Iterator[postgres_system.DeliveredTable]:
    with postgres_system.DeliveredTable.running(tmp_path) as running:
        yield running


def execute(target: TargetAdapter, *statements: str) -> None:
    """Execute them as another program does; `{}` is the schema."""
    assert isinstance(target, postgres_system.DeliveredTable | duckdb_system.DeliveredTable)
    schema = '"Stock"' if isinstance(target, postgres_system.DeliveredTable) else "main"
    target.execute(*(statement.replace("{}", schema) for statement in statements))


def loaded(root: Path, **columns: tuple[str, pa.DataType, list[Any]]) -> APod:
    """A Pod whose Dataset has a column `n` that counts its rows, and these."""
    pod = a_pod(root, field("n", "int"), *(field(name, kind) for name, (kind, _, _) in columns.items()))
    fill(pod, **columns)
    return pod


def fill(pod: APod, **columns: tuple[str, pa.DataType, list[Any]]) -> None:
    """Load these rows."""
    pod.connector["format"] = {"parquet": {}}
    count = max((len(values) for _, _, values in columns.values()), default=3)
    arrays = {
        name: pa.array([*values, *[None] * (count - len(values))], kind) for name, (_, kind, values) in columns.items()
    }
    pq.write_table(pa.table({"n": pa.array(range(count), pa.int32()), **arrays}), pod.data / "a.parquet")
    pod.more = None
    assert pod.work(f"load {time.time_ns()}", kind="ingest").state == "Succeeded"


def deliver(pod: APod, target: TargetAdapter, run_id: str, identity: str = "daily", **more: Any) -> RunReport:
    """Deliver into the table Order, or another one; the report."""
    place = {"name": "partner", "connector": {target.system: target.connector}}
    place |= {"auth": target.auth} if target.auth else {}
    for name, keys in target.secrets.items():
        secret(pod, name, **keys)
    pod.more = {
        "delivery": {"destination": place, "table": "Order", **more},
        "identity": f"subscription:demo/{identity}",
    }
    return pod.work(run_id, kind="deliver")


def rows(target: TargetAdapter) -> list[dict[str, Any]]:
    """The rows of the table Order, by `n` where there is one."""
    [batch] = target.batches()
    return sorted(batch, key=lambda row: row.get("n", 0))


def test_every_type_is_delivered_as_it_is(target: TargetAdapter, tmp_path: Path) -> None:
    columns = {f"c{number}": (kind, *KINDS[kind]) for number, kind in enumerate(KINDS)}
    pod = loaded(tmp_path, **columns)
    done = deliver(pod, target, "d1").delivery
    count = max(len(values) for _, values in KINDS.values())
    assert done is not None
    assert (done.rows, done.files, done.manifest, done.refused) == (count, None, None, None)
    assert done.table is not None
    assert done.table.endswith(".Order")
    assert done.bytes > 100_000
    for name, (_, _, values) in columns.items():
        delivered = [row[name] for row in rows(target)]
        assert delivered == [*values, *[None] * (count - len(values))]
        assert [str(value) for value in delivered[:1]] == [str(value) for value in values[:1]]  # -0.0 is no 0.0


def test_a_table_follows_the_fields_and_their_types(target: TargetAdapter, tmp_path: Path) -> None:
    pod = loaded(tmp_path, a=("int", pa.int32(), [70, 71, 72]))
    for number, columns in enumerate(
        (
            {"n": "n"},
            {"n": "n", "a": "a"},  # one more
            {"n": "n", "B": "a"},  # renamed
            {"B": "n", "a": "a"},  # a name that another field had
            {"a": "n", "B": "a"},  # swapped
            {"a": "a"},  # fewer
            {"n": "n", "again": "n"},  # others altogether
        )
    ):
        fields = [{"name": source, "as": name} for name, source in columns.items()]
        report = deliver(pod, target, f"d{number}", fields=fields)
        assert report.state == "Succeeded", report.message
        [batch] = target.batches()
        expected = {"n": {0, 1, 2}, "a": {70, 71, 72}}
        assert {name: {row[name] for row in batch} for name in batch[0]} == {
            name: expected[source] for name, source in columns.items()
        }
    retyped: list[tuple[str, pa.DataType, Any]] = [
        ("long", pa.int64(), 2**40),
        ("string", pa.string(), "text"),
        ("date", pa.date32(), date(2026, 1, 1)),
    ]
    for kind, arrow, value in retyped:
        pod.fields = [field("n", "int"), field("a", kind)]
        pod.dataset |= {"table": kind, "owner": {"kind": "Dataset", "namespace": "demo", "name": kind}}
        fill(pod, a=(kind, arrow, [value]))
        report = deliver(pod, target, f"as {kind}")
        assert report.state == "Succeeded", report.message
        assert [row["a"] for row in rows(target)] == [value]


def test_privileges_views_and_indexes_stay_when_columns_change(
    postgres: postgres_system.DeliveredTable, tmp_path: Path
) -> None:
    pod = loaded(tmp_path, a=("int", pa.int32(), [7]))
    deliver(pod, postgres, "d1")
    reader = f"reader_{postgres.database}"
    execute(
        postgres,
        f"CREATE ROLE {reader}",
        f'GRANT SELECT ON {{}}."Order" TO {reader}',
        'CREATE VIEW {}.totals AS SELECT sum(n) AS total, max(a) AS most FROM {}."Order"',
        'CREATE INDEX own_index ON {}."Order" (n)',
    )
    fields = [{"name": "n"}, {"name": "a", "as": "renamed"}, {"name": "n", "as": "again"}]
    assert deliver(pod, postgres, "d2", fields=fields).state == "Succeeded"
    query = f"""SELECT has_table_privilege('{reader}', '"Stock"."Order"', 'SELECT'), (SELECT most FROM "Stock".totals),
      EXISTS (SELECT FROM pg_indexes WHERE indexname = 'own_index')"""
    assert postgres.server.rows(query, postgres.database) == [(True, 7, True)]
    refused = deliver(pod, postgres, "d3", fields=[{"name": "n"}])
    assert (refused.reason, "depend" in (refused.message or "")) == ("WrongSpecification", True), refused.message
    assert {*rows(postgres)[0]} == {"n", "renamed", "again"}


@pytest.mark.parametrize(
    ("there", "why"),
    [
        ('CREATE TABLE {}."Order" (n INTEGER)', "was not created by Penstock"),
        ('CREATE VIEW {}."Order" AS SELECT 1 AS n', "is not a table"),
    ],
)
def test_a_table_of_another_program_is_refused(there: str, why: str, target: TargetAdapter, tmp_path: Path) -> None:
    pod = loaded(tmp_path)
    deliver(pod, target, "d0", table="other")
    execute(target, there)
    report = deliver(pod, target, "d1")
    assert (report.reason, pod.code) == ("TableConflict", places.EXIT_CONFIGURATION)
    assert why in (report.message or "")
    assert len(target.batches()[0]) == (1 if "VIEW" in there else 0)


def test_a_table_of_another_subscription_or_of_a_dataset_is_refused(target: TargetAdapter, tmp_path: Path) -> None:
    pod = loaded(tmp_path)
    deliver(pod, target, "d1")
    report = deliver(pod, target, "d1", identity="other")
    assert report.reason == "TableConflict"
    assert "belongs to Subscription demo/daily" in (report.message or "")
    assert target.delivered() == 1
    pod.dataset["destination"] = {"name": "store", "connector": {target.system: target.connector}}
    pod.dataset["destination"] |= {"auth": target.auth} if target.auth else {}
    pod.dataset["table"] = "Order"
    pod.more = None
    assert pod.work("m", kind="migrate").reason == "TableConflict", "a Dataset does not take it either"
    pod.dataset["table"] = "own"
    fill(pod)
    report = deliver(pod, target, "d2", table="own")
    assert report.reason == "TableConflict"
    assert "belongs to Dataset demo/things" in (report.message or "")


@pytest.mark.parametrize(
    ("altered", "said"),
    [
        ('ALTER TABLE {}."Order" ADD COLUMN note VARCHAR', "note is in the table only"),
        ('ALTER TABLE {}."Order" RENAME COLUMN a TO b', "b is in the table only"),
    ],
)
def test_a_table_that_was_altered_is_named_and_heals_when_it_is_dropped(
    altered: str, said: str, target: TargetAdapter, tmp_path: Path
) -> None:
    pod = loaded(tmp_path, a=("int", pa.int32(), [7]))
    deliver(pod, target, "d1")
    execute(target, altered)
    report = deliver(pod, target, "d2")
    assert (report.reason, pod.code) == ("SchemaChanged", places.EXIT_CONFIGURATION)
    assert said in (report.message or "")
    execute(target, 'DROP TABLE {}."Order"')
    assert deliver(pod, target, "d2").state == "Succeeded"
    assert rows(target) == [{"n": 0, "a": 7}]


def test_a_trigger_that_takes_rows_away_fails_the_delivery(
    postgres: postgres_system.DeliveredTable, tmp_path: Path
) -> None:
    pod = loaded(tmp_path)
    deliver(pod, postgres, "d1")
    execute(
        postgres,
        "CREATE FUNCTION nothing() RETURNS trigger LANGUAGE plpgsql AS 'BEGIN RETURN NULL; END'",
        'CREATE TRIGGER nothing BEFORE INSERT ON {}."Order" FOR EACH ROW EXECUTE FUNCTION nothing()',
    )
    assert deliver(pod, postgres, "d2").reason == "CountMismatch"
    assert len(rows(postgres)) == 3


def test_a_row_that_postgres_cannot_store_is_named_or_left_out(
    postgres: postgres_system.DeliveredTable, tmp_path: Path
) -> None:
    texts = ["a", None, "b\0c", "", "\0", "d"]
    pod = loaded(tmp_path, t=("string", pa.string(), texts), u=("string", pa.string(), [*"uvwxy", "z\0"]))
    report = deliver(pod, postgres, "d1")
    assert (report.reason, pod.code) == ("RowRefused", places.EXIT_CONFIGURATION)
    assert "field t of row 3 of the delivery has the character U+0000" in (report.message or "")
    assert rows(postgres) == []
    done = deliver(pod, postgres, "d2", onRefusedRow="skip").delivery
    assert done is not None
    assert (done.rows, done.refused) == (3, 3)
    assert [row["t"] for row in rows(postgres)] == ["a", None, ""]


def test_duckdb_stores_every_text(tmp_path: Path) -> None:
    with duckdb_system.DeliveredTable.running(tmp_path) as running:
        pod = loaded(tmp_path, t=("string", pa.string(), ["b\0c"]))
        assert deliver(pod, running, "d1").state == "Succeeded"
        assert [row["t"] for row in rows(running)] == ["b\0c"]


def test_a_view_over_a_table_of_duckdb_stays(tmp_path: Path) -> None:
    with duckdb_system.DeliveredTable.running(tmp_path) as running:
        pod = loaded(tmp_path)
        deliver(pod, running, "d1")
        execute(running, 'CREATE VIEW {}.total AS SELECT sum(n) AS total FROM {}."Order"')
        deliver(pod, running, "d2")
        assert running.read("total") == [{"total": 3}]


def _waiting(rig: Deliveries, run_id: str, step: str, folder: Path) -> Any:
    """A worker that waits at a step of its delivery until `go` is in the folder."""
    folder.mkdir()
    started = rig.start(run_id, step, f"wait {folder}")
    while not (folder / "waiting").exists():
        assert started.poll() is None
        time.sleep(0.02)
    return started


def test_readers_see_the_rows_before_until_the_commit(tmp_path: Path) -> None:
    with delivering(_TABLES["postgres"], tmp_path) as rig:
        assert rig.work("d1") == 0
        rig.prepare()
        rig.add(5, 25)
        assert rig.work("more") == 0
        rig.prepare_delivery()
        worker = _waiting(rig, "d2", "rows delivered", tmp_path / "step")
        assert rig.received() == [[*range(25)]]
        (tmp_path / "step/go").touch()
        assert rig.wait(worker) == 0
        assert rig.received() == [[*range(30)]]


@pytest.mark.parametrize("system", _TABLES)
def test_a_worker_that_lost_its_lease_delivers_nothing(system: str, tmp_path: Path) -> None:
    """Else an old batch would take the place of a newer one."""
    with delivering(_TABLES[system], tmp_path) as rig:
        worker = _waiting(rig, "d1", "snapshot recorded", tmp_path / "step")
        with sqlite3.connect(rig.pod.warehouse / "catalog.db") as ledger:
            ledger.execute("UPDATE penstock_leases SET expires = 0")
        assert rig.work("d2") == 0
        (tmp_path / "step/go").touch()
        assert rig.wait(worker) == places.EXIT_AGAIN
        assert rig.report("d1").reason == "LeaseHeld"
        assert rig.target.delivered() == 1
