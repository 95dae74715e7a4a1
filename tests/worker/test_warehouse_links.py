"""A warehouse on a shared claim: links planted in it, and a catalog that names files outside, lead nowhere."""

import json
import os
import shutil
import sqlite3
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest
from pyiceberg.table import StaticTable

from penstock.connectors.lake.store import LakeStore
from penstock.language.errors import InvalidSpec
from penstock.runs.order import RunOrder
from penstock.worker.pod import Pod
from penstock.worker.ports.ledger import Attempt
from support import sqlitejournal
from worker.pods import APod, a_pod, field
from worker.test_delivery import delivered

CANARY = "canary-5f20"
LINK = "in the warehouse is a link"
OUTSIDE = "names a file outside of the warehouse"


def a_table(root: Path, value: str) -> APod:
    """A Pod with one table of two files."""
    pod = a_pod(root, field("a", "string"))
    for number in (1, 2):
        (pod.data / f"{number}.csv").write_text(f"a\n{value}\n")
    assert pod.work("r1").message is None
    return pod


@pytest.fixture(scope="module")
def others(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of the same tables with another's values."""
    return a_table(tmp_path_factory.mktemp("others"), CANARY).warehouse / "main"


@pytest.fixture
def pod(tmp_path: Path) -> APod:
    return a_table(tmp_path / "own", "x")


@pytest.fixture
def outside(tmp_path: Path, others: Path) -> Path:
    """Another's tables, outside of the claims of the Pod."""
    return Path(shutil.copytree(others, tmp_path / "outside"))


def one(folder: Path, pattern: str) -> Path:
    return sorted(folder.glob(pattern))[-1]


def content(folder: Path) -> dict[str, bytes]:
    return {str(path.relative_to(folder)): path.read_bytes() for path in sorted(folder.rglob("*")) if path.is_file()}


def store(pod: APod) -> LakeStore:
    order = RunOrder.model_validate(pod.order())
    destination = order.datasets[0].destination
    assert destination is not None
    return LakeStore(destination, Pod(pod.root, "r2", "pod", None, 2))


@pytest.mark.parametrize("what", ["*.metadata.json", "snap-*.avro", "[!s]*-m0.avro"])
@pytest.mark.parametrize("act", ["load", "deliver"])
def test_metadata_that_is_a_link_is_not_read(what: str, act: str, pod: APod, outside: Path) -> None:
    metadata = pod.warehouse / "main/things/metadata"
    target = one(outside / "things/metadata", what)
    planted = one(metadata, what)
    planted.unlink()
    planted.symlink_to(target)
    (pod.data / "1.csv").write_text("a\nchanged\n")
    before = content(outside)
    report = pod.work("r2") if act == "load" else delivered(pod, "d1", {"csv": {}})
    assert (report.reason, LINK in (report.message or "")) == ("WrongSpecification", True), report.message
    assert CANARY not in str(report)
    assert content(outside) == before


@pytest.mark.parametrize("whole", [False, True])
def test_data_that_is_a_link_is_neither_delivered_nor_rewritten(
    whole: bool, pod: APod, outside: Path, tmp_path: Path
) -> None:
    data = pod.warehouse / "main/things/data"
    if whole:
        shutil.rmtree(data)
        data.symlink_to(outside / "things/data")
    else:
        planted = one(data, "*.parquet")
        planted.unlink()
        planted.symlink_to(one(outside / "things/data", "*.parquet"))
    before = content(outside)
    report = delivered(pod, "d1", {"csv": {}})
    assert (report.reason, LINK in (report.message or "")) == ("WrongSpecification", True), report.message
    pod = a_pod(tmp_path / "own", field("a", "string"))
    (pod.data / "1.csv").write_text("a\nchanged\n")
    report = pod.work("r2")
    assert (report.reason, LINK in (report.message or "")) == ("WrongSpecification", True), report.message
    assert content(outside) == before
    assert CANARY not in "".join(file.read_text() for file in pod.out.rglob("*.csv"))


@pytest.mark.parametrize("part", ["", "main", "main/things", "main/things/data"])
def test_a_folder_replaced_by_a_link_after_it_was_opened_is_not_written_to(
    part: str, pod: APod, outside: Path, tmp_path: Path
) -> None:
    dataset = RunOrder.model_validate(pod.order()).datasets[0]
    opened = store(pod)
    opened.ensure(dataset)
    target = outside / "empty"
    target.mkdir()
    with opened.claim(dataset, Attempt("r2", "pod", "")) as claim:
        folder = pod.warehouse / part
        folder.rename(tmp_path / "moved")
        folder.symlink_to(target)
        writer = opened.writer(claim, dataset, "0")
        row = pa.Table.from_pylist([dict.fromkeys(writer.schema.names)], schema=writer.schema)
        writer.write(row)  # it is gathered, and no file opened yet
        with pytest.raises(InvalidSpec, match="is a link"):
            writer.close()
        writer.discard()
        with pytest.raises(InvalidSpec, match="is a link"):
            opened.sweep(claim, dataset)
    assert [*target.rglob("*")] == []


def test_removing_what_killed_runs_have_staged_removes_a_link_and_not_its_target(pod: APod, outside: Path) -> None:
    dataset = RunOrder.model_validate(pod.order()).datasets[0]
    opened = store(pod)
    opened.ensure(dataset)
    before = content(outside)
    with opened.claim(dataset, Attempt("r9", "pod", "")) as claim:
        writer = opened.writer(claim, dataset, "0")
        prefix = Path(writer._good._location).name.partition("-")[0]  # how the run's files are called
        planted = pod.warehouse / f"main/things/data/{prefix}-0-0-000.parquet"
        planted.symlink_to(one(outside / "things/data", "*.parquet"))
        assert opened.sweep(claim, dataset) == 1
    assert not planted.is_symlink()
    assert content(outside) == before


def _relocated(pod: APod, change: Callable[[dict[str, Any]], None]) -> None:
    """Change the current metadata of the table, as whoever can write to the claim can."""
    file = one(pod.warehouse / "main/things/metadata", "*.metadata.json")
    document = json.loads(file.read_text())
    change(document)
    file.write_text(json.dumps(document))


@pytest.mark.parametrize("key", ["location", "write.data.path", "write.metadata.path", "py-io-impl"])
def test_metadata_that_names_another_place_writes_nothing_there(key: str, pod: APod, outside: Path) -> None:
    target = outside / "empty"
    target.mkdir()

    def change(document: dict[str, Any]) -> None:
        if key == "location":
            document["location"] = f"file://{target}"
        else:
            named = "antigravity.Anything" if key == "py-io-impl" else f"file://{target}"
            document["properties"][key] = named

    _relocated(pod, change)
    (pod.data / "3.csv").write_text("a\ny\n")
    report = pod.work("r2")
    assert [*target.rglob("*")] == []
    if key in ("location", "write.metadata.path"):
        assert (report.reason, OUTSIDE in (report.message or "")) == ("WrongSpecification", True), report.message
    else:
        assert report.message is None


def test_metadata_that_names_code_is_refused(pod: APod) -> None:
    _relocated(pod, lambda document: document["properties"].update({"write.py-location-provider.impl": "a.B"}))
    report = pod.work("r2")
    assert (report.reason, "names code to execute" in (report.message or "")) == ("WrongSpecification", True)


@pytest.mark.parametrize("how", ["{outside}", "{warehouse}/../../../../outside", "/proc/self/cwd/..{outside}"])
def test_a_catalog_that_names_metadata_outside_is_not_followed(how: str, pod: APod, outside: Path) -> None:
    place = how.format(outside=outside, warehouse=pod.warehouse)
    named = f"file://{place}/things/metadata/{one(outside / 'things/metadata', '*.metadata.json').name}"
    with sqlite3.connect(pod.warehouse / "catalog.db") as connection:
        connection.execute("UPDATE iceberg_tables SET metadata_location = ? WHERE table_name = 'things'", (named,))
    connection.close()
    report = delivered(pod, "d1", {"csv": {}})
    assert (report.reason, OUTSIDE in (report.message or "")) == ("WrongSpecification", True), report.message
    assert CANARY not in str(report)


@pytest.mark.parametrize("kind", ["link", "hard link", "journal", "fifo"])
def test_a_catalog_replaced_during_a_run_is_not_opened(kind: str, pod: APod, outside: Path) -> None:
    opened = store(pod)
    other = outside / "catalog.db"
    shutil.copy(pod.warehouse / "catalog.db", other)
    before = other.read_bytes()
    database = pod.warehouse / "catalog.db"
    match kind:
        case "link":
            database.unlink()
            database.symlink_to(other)
        case "hard link":
            database.unlink()
            os.link(other, database)
        case "journal":
            (pod.warehouse / "catalog.db-journal").symlink_to(outside / "journal")
        case "fifo":
            database.unlink()
            os.mkfifo(database)
    with pytest.raises(InvalidSpec, match="in the warehouse"):
        opened.lake.table("things")
    with pytest.raises(InvalidSpec, match="in the warehouse"), opened.lake.database.transaction():
        pass
    assert (other.read_bytes(), (outside / "journal").exists()) == (before, False)


def test_a_journal_that_names_another_file_does_not_remove_it(pod: APod, outside: Path) -> None:
    victim = outside / "victim"
    victim.write_text("whole")
    hot = sqlitejournal.cut(pod.warehouse / "catalog.db", victim)
    (pod.warehouse / "catalog.db-journal").write_bytes(hot)
    report = pod.work("r2")
    assert "belongs to a transaction over several databases" in (report.message or "")
    assert victim.read_text() == "whole"


def test_what_the_worker_writes_is_read_by_others(pod: APod) -> None:
    table = StaticTable.from_metadata(str(one(pod.warehouse / "main/things/metadata", "*.metadata.json")))
    assert sorted(table.scan().to_arrow()["a"].to_pylist()) == ["x", "x"]
