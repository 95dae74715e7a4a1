"""A lake in a bucket, with its catalog in PostgreSQL: what the contract of every store does not say."""

import os
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import duckdb
import pyarrow as pa
import pytest
from pyiceberg.catalog.sql import SqlCatalog
from pyiceberg.schema import Schema
from pyiceberg.types import LongType, NestedField

from connectors.contract.adapters import SOURCES
from connectors.contract.rig import Rig
from connectors.systems.lake import LakeOnS3
from connectors.test_stores import Bench, bench, entry, publication, rows, stage
from penstock.language.errors import InvalidSpec, PenstockError
from penstock.runs import places
from penstock.worker import steps
from penstock.worker.ports.ledger import Attempt
from support import s3
from support.relay import relay
from worker.pods import a_pod

ROUND_TRIP = 0.03
MOST_REQUESTS = 30


@pytest.fixture
def there(tmp_path: Path) -> Iterator[Bench]:
    with bench(LakeOnS3, tmp_path) as running:
        yield running


def lake_of(there: Bench) -> LakeOnS3:
    assert isinstance(there.adapter, LakeOnS3)
    return there.adapter


@contextmanager
def loading(root: Path, server: s3.Server | None = None, count: int = 25) -> Iterator[tuple[Rig, LakeOnS3]]:
    """A worker that loads two streams into a lake on this server."""
    pod = a_pod(root)
    with SOURCES["read-once"].running(root) as source:
        store = LakeOnS3(root, server)
        rig = Rig(pod, source, store)
        rig.fill(count)
        rig.prepare()
        yield rig, store


def test_credentials_of_the_warehouse_and_of_the_catalog_are_rotated_by_themselves(tmp_path: Path) -> None:
    buckets = tmp_path / "buckets"
    with s3.serve(buckets) as server, loading(tmp_path / "pod", server) as (rig, _):
        assert rig.work("r1") == 0
        port = int(server.endpoint.rpartition(":")[2])
    with s3.serve(buckets, secret="second-tests-secret", port=port) as server:
        rig.add(1, 25)
        assert rig.work("r2") == places.EXIT_CONFIGURATION
        assert rig.report("r2").reason == "WrongCredentials"
        assert "Check access_key_id and secret_access_key in Secret warehouse" in rig.output
        store = rig.store
        assert isinstance(store, LakeOnS3)
        store.secrets["warehouse"]["secret_access_key"] = "second-tests-secret"
        rig.prepare()
        assert rig.work("r2") == 0
        assert rig.loaded() == rig.expected(26)

        store.database_server.execute(f"ALTER ROLE {store.user} PASSWORD 'third-tests-secret'")
        rig.add(1, 26)
        assert rig.work("r3") == places.EXIT_CONFIGURATION
        assert rig.report("r3").reason == "WrongCredentials"
        assert "its catalog" in rig.output
        store.secrets["catalog"]["password"] = "third-tests-secret"
        rig.prepare()
        assert rig.work("r3") == 0
        assert rig.loaded() == rig.expected(27)


@pytest.mark.parametrize("fault", LakeOnS3.faults, ids=lambda fault: fault.name.replace(" ", "-"))
def test_a_run_heals_when_the_cause_is_gone(fault: Any, tmp_path: Path) -> None:
    with loading(tmp_path) as (rig, store):
        connector = {**store.connector, "catalog": {"postgres": {**store.connector["catalog"]["postgres"]}}}
        secrets, auth = {name: dict(keys) for name, keys in store.secrets.items()}, store.auth
        fault.bring_about(store)
        rig.prepare()
        assert rig.work("r1") != 0
        assert rig.report("r1").reason == fault.reason
        store.connector, store.secrets, store.auth = connector, secrets, auth
        store.database_server.execute(f"GRANT CREATE ON SCHEMA public TO {store.user}", database=store.database)
        rig.prepare()
        assert rig.work("r1") == 0
        assert (rig.loaded(), store.staged()) == (rig.expected(25), 0)


def test_a_commit_takes_few_requests(there: Bench) -> None:
    """A commit of rows and bad rows, at each of 12 loads; the last one also removes rows."""
    adapter = lake_of(there)
    port = int(adapter.server.endpoint.rpartition(":")[2])
    with relay(port) as between:
        adapter.connector["endpointUrl"] = f"http://127.0.0.1:{between.port}"
        between.round_trip = ROUND_TRIP
        for number in range(12):
            begun, before = time.monotonic(), len(between.requests)
            store, dataset = there.store(), there.dataset()
            with store.claim(dataset, Attempt(f"r{number}", "worker")) as claim:
                store.ensure(dataset)
                store.sweep(claim, dataset)
                [new] = store.ledger.new_input_ids(claim, 1)
                staged = stage(store, claim, dataset, {new: [number]})
                leaving = [there.inputs()["0"]] if number == 11 else []
                commits, at = len(between.requests), time.monotonic()
                store.publish(claim, publication(dataset, staged, [entry(new, str(number), 1)], leaving))
            took, requests = time.monotonic() - at, between.requests[commits:]
            whole = len(between.requests) - before
            print(
                f"load {number}: commit {len(requests)} requests, {took:.2f} s; all {whole}, {at - begun:.2f} s before"
            )
            assert len(requests) <= MOST_REQUESTS, requests
            assert whole <= 2 * MOST_REQUESTS
    assert there.ids() == [*range(1, 12)]


def test_plain_readers_read_the_table(there: Bench) -> None:
    """DuckDB over the objects that pyiceberg names, as `rows` does with pyiceberg alone."""
    there.load("r1", {"a": [*range(1000)], "b": [5000]})
    there.load("r2", {"a": [7000]}, leaving=[there.inputs()["a"]])
    adapter = lake_of(there)
    table = adapter.table("things")
    assert table is not None
    with duckdb.connect() as database:
        database.register_filesystem(adapter.files)
        paths = [task.file.file_path for task in table.scan().plan_files()]
        assert database.execute("SELECT sum(id), count(*) FROM read_parquet(?)", [paths]).fetchone() == (12_000, 2)
        scan = table.scan().to_arrow()
        assert database.execute("SELECT sum(id), count(*) FROM scan").fetchone() == (12_000, 2)
        assert scan.num_rows == 2


def test_what_dead_runs_have_left_is_swept(there: Bench) -> None:
    """Data, metadata and uploads of another attempt of this run at once; of other runs when they are a day old."""
    adapter = lake_of(there)
    there.load("r1", {"a": [1]})
    table = adapter.table("things")
    assert table is not None
    dead, dataset = there.store(), there.dataset()
    with dead.claim(dataset, Attempt("r2", "killed")) as claim:
        dead.ensure(dataset)
        writer = dead.writer(claim, dataset, "00000")
        writer.write(rows(claim, 1, [*range(20)]))
        writer.close()
        name = f"{table.location()}/data/{_prefix(adapter, table.location())}-{claim.load_id}-00001-000.parquet"
        with adapter.files.open(name, "wb", block_size=5 << 20) as file:
            file.write(os.urandom(11 << 20))
            file.flush()
            file.closed = True  # dropped, as by a kill
        assert adapter.uploads()
        orphan = f"{table.location()}/metadata/{_commit(table)}-m9.avro"
        adapter.files.pipe_file(orphan, b"x")
    young = adapter.objects() - adapter.needed()
    assert orphan in young
    assert len(young) == 2
    again = there.store()
    with again.claim(dataset, Attempt("r3", "other")) as claim:
        again.ensure(dataset)
        assert again.sweep(claim, dataset) == 0, "another run's may still be staged, by a worker that is alive"
    with again.claim(dataset, Attempt("r2", "next")) as claim:
        again.ensure(dataset)
        assert again.sweep(claim, dataset) == 2
    assert (adapter.objects() - adapter.needed(), adapter.uploads()) == ({orphan}, [])
    day_ago = time.time() - 25 * 3600
    file_of = adapter.server.folder / orphan.removeprefix("s3://")
    os.utime(file_of, (day_ago, day_ago))
    with again.claim(dataset, Attempt("r3", "other")) as claim:
        again.ensure(dataset)
        assert again.sweep(claim, dataset) == 1
    assert (adapter.staged(), there.ids()) == (0, [1])


def _prefix(adapter: LakeOnS3, location: str) -> str:
    """How the names of the data files of the run that has staged begin."""
    [staged] = {path for path in adapter.objects() - adapter.needed() if path.startswith(f"{location}/data/")}
    return staged.rpartition("/")[2].partition("-")[0]


def _commit(table: Any) -> str:
    """The id in the names of the table's newest commit, in another run's form."""
    name = table.metadata_location.rpartition("/")[2].removesuffix(".metadata.json").partition("-")[2]
    return f"00000000{name[8:]}"


def test_a_table_of_another_program_is_not_touched(there: Bench) -> None:
    adapter = lake_of(there)
    there.load("r1", {"a": [1]})
    login = "{username}:{password}".format(**adapter.secrets["catalog"])
    address = f"{adapter.database_server.host}:{adapter.database_server.port}"
    outside = adapter.server.bucket(f"{adapter.bucket}-outside").name
    settings = {"s3.endpoint": adapter.server.endpoint, "s3.access-key-id": s3.ACCESS, "s3.region": "us-east-1"}
    settings["s3.secret-access-key"] = s3.SECRET
    catalog = SqlCatalog("penstock", uri=f"postgresql+psycopg://{login}@{address}/{adapter.database}", **settings)
    schema = Schema(NestedField(1, "id", LongType()))
    for name, place in (("within", f"{adapter.bucket}/wh"), ("outside", outside)):
        foreign = catalog.create_table(f"main.{name}", schema, location=f"s3://{place}/main/{name}")
        foreign.append(pa.table({"id": [1]}))
        with pytest.raises(InvalidSpec) as refused:
            there.load("r2", {"a": [2]}, dataset=there.dataset(table=name))
        assert refused.value.reason == "TableConflict"
        assert "another `table`" in refused.value.message
        assert [row["id"] for row in adapter.rows(name)] == [1]
        catalog.load_table(f"main.{name}").append(pa.table({"id": [2]}))
        assert len(adapter.rows(name)) == 2
    catalog.close()


def test_two_catalogs_in_one_warehouse_have_each_their_own_tables(there: Bench, tmp_path: Path) -> None:
    with bench(LakeOnS3, tmp_path / "other") as other:
        other.adapter.connector["warehouse"] = there.adapter.connector["warehouse"]
        there.load("r1", {"a": [1]})
        other.load("r1", {"a": [2]})
        there.load("r2", {"a": [3]}, leaving=[there.inputs()["a"]])
        assert (there.ids(), other.ids()) == ([3], [2])


def test_a_table_that_another_engine_has_changed_meanwhile_is_not_overwritten(there: Bench) -> None:
    there.load("r1", {"a": [1]})
    store, dataset = there.store(), there.dataset()
    with store.claim(dataset, Attempt("r2", "worker")) as claim:
        store.ensure(dataset)
        [number] = store.ledger.new_input_ids(claim, 1)
        staged = stage(store, claim, dataset, {number: [2]})
        table = lake_of(there).table("things")
        assert table is not None
        table.append(table.scan().to_arrow())
        table.catalog.close()
        with pytest.raises(PenstockError) as refused:
            store.publish(claim, publication(dataset, staged, [entry(number, "b", 1)]))
    assert refused.value.reason == "LeaseHeld"
    assert (there.ids(), {*there.inputs()}) == ([1, 1], {"a"})


def test_an_upload_that_fails_leaves_nothing(there: Bench) -> None:
    """The server vanishes while a large file is written: a typed error, and no object of that name."""
    adapter = lake_of(there)
    store, dataset = there.store(), there.dataset()
    with store.claim(dataset, Attempt("r1", "worker")) as claim:
        store.ensure(dataset)
    port = int(adapter.server.endpoint.rpartition(":")[2])
    with relay(port) as between:
        adapter.connector["endpointUrl"] = f"http://127.0.0.1:{between.port}"
        store = there.store()
        with store.claim(dataset, Attempt("r1", "worker")) as claim:
            store.ensure(dataset)
            writer = store.writer(claim, dataset, "00000")
            writer.write(rows(claim, 1, [*range(1000)]))
            between.cut(0)
            with pytest.raises(PenstockError) as failed:
                writer.close()
            writer.discard()
    assert failed.value.reason == "Unreachable"
    assert adapter.staged() == 0


@pytest.mark.parametrize("step", ["metadata written", "before the commit"])
def test_a_lost_database_leaves_rows_that_the_next_attempt_replaces(step: str, tmp_path: Path) -> None:
    """All sessions of the catalog are ended at this step, as when its server starts again."""
    assert step in steps.STEPS
    with loading(tmp_path / "pod") as (rig, store):
        worker = rig.start("r1", step, f"wait {tmp_path}")
        while not (tmp_path / "waiting").exists():
            assert worker.poll() is None
            time.sleep(0.02)
        sessions = f"FROM pg_stat_activity WHERE datname = '{store.database}' AND pid <> pg_backend_pid()"
        store.database_server.rows(f"SELECT pg_terminate_backend(pid, 10000) {sessions}")
        (tmp_path / "go").touch()
        assert rig.wait(worker) in (places.EXIT_DONE, places.EXIT_AGAIN)
        assert rig.work("r1") == 0
        assert (rig.loaded(), store.staged()) == (rig.expected(25), 0)
