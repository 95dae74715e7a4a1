"""Exactly once: which files a run takes, what leaves with it, and what is left when a worker is killed anywhere."""

import os
import random
import sqlite3
import subprocess
import time
from pathlib import Path
from typing import Any

import pytest

from penstock.connectors.lake import commit, tables
from penstock.connectors.lake.catalogs.sql import Pointer
from penstock.connectors.lake.catalogs.sqlite import SqliteDatabase
from penstock.connectors.lake.snapshots import Swap
from penstock.language.errors import NotYet
from penstock.runs.order import DatasetOrder
from penstock.worker.jobs import migrate
from penstock.worker.ledger import SqlLedger, check
from penstock.worker.pod import here
from penstock.worker.ports.ledger import Attempt
from penstock.worker.ports.tablestore import LINEAGE
from worker.pods import APod, a_pod, field

KILLS = int(os.environ.get("PENSTOCK_KILLS", "4"))
"""How many workers the kill test kills; 50 for the closing note."""


def things(root: Path, **dataset: Any) -> APod:
    return a_pod(root, field("a", "long"), field("b", "string"), **dataset)


def test_a_run_takes_what_is_new_and_replaces_what_has_changed(tmp_path: Path) -> None:
    pod = things(tmp_path)
    (pod.data / "1.csv").write_text("a,b\n1,x\n2,x\nbad,x\n")
    (pod.data / "2.csv").write_text("a,b\n3,y\n")
    assert pod.work("r1").datasets[0].counts.loaded == 3
    assert pod.work("r2").datasets[0].state == "Unchanged"
    assert len(pod.table().snapshots()) == 1
    (pod.data / "1.csv").write_text("a,b\n7,z\nworse,z\n")
    (pod.data / "3.csv").write_text("a,b\n9,z\n")
    counts = pod.work("r3").datasets[0].counts
    assert (counts.read, counts.loaded, counts.quarantined, counts.replaced, counts.files) == (3, 2, 1, 2, 2)
    assert sorted(row["a"] for row in pod.rows()) == [3, 7, 9]
    assert [row["payload"] for row in pod.bad()] == ["worse,z"]


def test_a_replace_reads_everything_and_an_empty_one_leaves_the_table(tmp_path: Path) -> None:
    pod = things(tmp_path, writeMode="replace", sync="full")
    (pod.data / "1.csv").write_text("a,b\n1,x\n2,x\nbad,x\n")
    pod.work("r1")
    (pod.data / "2.csv").write_text("a,b\n3,y\n")
    counts = pod.work("r2").datasets[0].counts
    assert (counts.loaded, counts.replaced, len(pod.rows()), len(pod.bad())) == (3, 2, 3, 1)
    for file in pod.data.iterdir():
        file.unlink()
    report = pod.work("r3")
    assert (pod.code, report.reason, len(pod.rows())) == (2, "ResourceNotFound", 3)


def test_a_file_that_another_identity_has_loaded_is_not_loaded_twice(tmp_path: Path) -> None:
    pod = things(tmp_path)
    (pod.data / "0.csv").write_text("a,b\n")
    (pod.data / "1.csv").write_text("a,b\n1,x\n2,x\n")
    pod.work("r1")
    (pod.data / "1.csv").write_text("a,b\n1,x\n2,new\n")  # it is the same file in another version
    report = pod.work("r2", more={"identity": "demo/renamed"})
    assert (pod.code, report.reason, len(pod.rows())) == (2, "AlreadyLoaded", 2)
    assert report.message == (
        "Dataset things: identity demo/load has loaded file:///volumes/data/1.csv already, and its rows would be "
        "loaded twice. Nothing was committed to things. If this Pipeline takes that one's place, set `identity: "
        "demo/load`; else "
        "choose a glob or a Source without that file, or load another Dataset."
    )
    assert pod.work("r3", more={"identity": "demo/load"}).datasets[0].counts.loaded == 2
    (pod.data / "1.csv").unlink()
    (pod.data / "2.csv").write_text("a,b\n3,y\n")
    assert pod.work("r4", more={"identity": "demo/other"}).datasets[0].counts.loaded == 1, "of 0.csv it has no rows"
    (pod.data / "1.csv").write_text("a,b\n8,z\n")
    for number, identity in enumerate(("demo/load", "demo/other")):  # neither takes the other's place
        report = pod.work(f"r{number + 5}", more={"identity": identity})
        assert report.reason == "AlreadyLoaded"
        assert "identity:" not in (report.message or "")
    assert sorted((row["a"], row["b"]) for row in pod.rows()) == [(1, "x"), (2, "new"), (3, "y")]


def test_a_plan_of_a_killed_worker_does_not_double_what_another_identity_has_loaded_since(tmp_path: Path) -> None:
    pod = things(tmp_path)
    (pod.data / "1.csv").write_text("a,b\n1,x\n")
    pod.prepare()
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("penstock.worker.rows.stage.stage", _killed)
        with pytest.raises(KeyboardInterrupt):
            pod.work("r1", more={"identity": "demo/first"})
    assert pod.work("r2", more={"identity": "demo/second"}).datasets[0].counts.loaded == 1
    report = pod.work("r1", more={"identity": "demo/first"})
    assert (report.reason, len(pod.rows())) == ("AlreadyLoaded", 1)


def _killed(*_: object) -> None:
    raise KeyboardInterrupt


@pytest.mark.parametrize(("sync", "mode"), [("incremental", "replace"), ("full", "append")])
def test_other_pairs_are_refused(sync: str, mode: str, tmp_path: Path) -> None:
    pod = things(tmp_path, sync=sync, writeMode=mode)
    assert (pod.work().reason, pod.code) == ("InvalidSpec", 2)


def test_a_committed_run_answers_with_its_old_report(tmp_path: Path) -> None:
    pod = things(tmp_path)
    (pod.data / "1.csv").write_text("a,b\n1,x\n")
    pod.work("r1")
    (pod.data / "2.csv").write_text("a,b\n2,x\n")
    report = pod.work("r1")
    assert (report.attempt, report.datasets[0].earlier, report.datasets[0].counts.loaded) == (2, True, 1)
    assert report.datasets[0].committed_at == report.datasets[0].tail[0].at
    assert len(pod.rows()) == 1
    assert [commit.run for commit in report.datasets[0].tail] == ["r1"]


def test_the_tail_of_the_ledger_reaches_back_to_what_was_loaded(tmp_path: Path) -> None:
    pod = things(tmp_path)
    (pod.data / "1.csv").write_text("a,b\n1,x\n")
    loaded = pod.work("r1").datasets[0].tail
    for idle in ("r2", "r3", "r4", "r5"):
        assert pod.work(idle).datasets[0].tail == loaded


def test_a_plan_does_not_change_when_its_file_does(tmp_path: Path) -> None:
    pod = things(tmp_path, quality={"maxBadRatio": "0%"})
    (pod.data / "1.csv").write_text("a,b\nx,x\n")
    assert pod.work("r1").reason == "TooManyBadRows"
    (pod.data / "1.csv").write_text("a,b\n1,x\n")
    report = pod.work("r1")
    assert (report.attempt, report.reason, pod.rows()) == (2, "ResourceNotFound", [])
    assert "has changed since this run was planned" in (report.message or "")
    assert pod.work("r2").datasets[0].counts.loaded == 1


def test_metadata_that_is_in_use_is_never_discarded(tmp_path: Path) -> None:
    pod = things(tmp_path)
    (pod.data / "1.csv").write_text("a,b\n1,x\n")
    pod.work("r1")
    table = pod.table()
    after = Path(table.metadata_location.removeprefix("file://"))
    unused = after.with_name("99999-unused.metadata.json")
    unused.touch()
    order = DatasetOrder.model_validate(pod.order()["datasets"][0])
    assert order.destination is not None
    lake = tables.connect(order.destination, here(pod.environment("r2")))
    commit._discard(lake, [Swap(Pointer("things", "", table.metadata_location), (str(after),))])
    assert after.exists()
    commit._discard(lake, [Swap(Pointer("things", "", unused.as_uri()), (str(unused),))])
    assert not unused.exists()


def test_one_dataset_that_fails_does_not_keep_another_from_its_commit(tmp_path: Path) -> None:
    pod = things(tmp_path)
    (pod.data / "1.csv").write_text("a,b\n1,x\n")
    good = pod.order()["datasets"][0]
    bad = {
        **good,
        "table": "others",
        "owner": {**good["owner"], "name": "others"},
        "schema": {"fields": [field("z", "int")]},
    }
    report = pod.work(more={"datasets": [bad, good]})
    assert [(entry.name, entry.state) for entry in report.datasets] == [("others", "Failed"), ("things", "Written")]
    assert (report.state, report.reason, pod.code) == ("Failed", "WrongSpecification", 2)
    assert len(pod.rows()) == 1


def test_a_table_of_another_owner_and_another_schema_are_refused(tmp_path: Path) -> None:
    pod = things(tmp_path, owner={"kind": "Dataset", "namespace": "demo", "name": "first"})
    assert pod.work(kind="migrate").datasets[0].state == "Ready"
    pod.dataset["owner"] = {"kind": "Dataset", "namespace": "demo", "name": "second"}
    report = pod.work("r2")
    assert (report.reason, pod.code) == ("TableConflict", 2)
    assert "belongs to demo/first" in (report.message or "")
    pod.dataset["owner"] = {"kind": "Dataset", "namespace": "demo", "name": "first"}
    (pod.data / "1.csv").write_text("a,b\n1,x\n")
    pod.work("l1", kind="ingest")
    pod.fields = [field("a", "int"), field("c", "string")]
    report = pod.work("r3", kind="migrate")
    assert report.reason == "SchemaChanged"
    assert "a is long there and int here" in (report.message or "")


def _docs(pod: APod) -> tuple[str, list[str | None]]:
    table = pod.table()
    return table.properties["comment"], [each.doc for each in table.schema().fields if each.name not in LINEAGE.names]


def test_descriptions_follow_the_manifest(tmp_path: Path) -> None:
    pod = a_pod(tmp_path, field("a", "long", description="old"), field("b", "string"), description="Old.")
    (pod.data / "1.csv").write_text("a,b\n1,x\n")
    pod.work("m1", kind="migrate")
    assert _docs(pod) == ("Old.", ["old", None])
    pod.work("r1", kind="ingest")
    pod.fields = [field("a", "long", description="new"), field("b", "string", description="more")]
    pod.dataset["description"] = "New."
    assert pod.work("m2", kind="migrate").datasets[0].state == "Ready"
    assert _docs(pod) == ("New.", ["new", "more"])
    versions = len(pod.table().metadata.metadata_log)
    pod.work("m3")
    assert len(pod.table().metadata.metadata_log) == versions, "the same again writes nothing"
    assert pod.rows() == [{"a": 1, "b": "x"}]


def test_descriptions_that_come_while_a_run_writes_are_left_to_the_next(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(migrate, "PATIENCE", 0.2)
    pod = things(tmp_path)
    (pod.data / "1.csv").write_text("a,b\n1,x\n")
    pod.work("m1", kind="migrate")
    pod.dataset["description"] = "New."
    with pod.ledger.claim("demo/things", Attempt("r0", "busy"), 5):
        assert (pod.work("m2").state, _docs(pod)[0]) == ("Succeeded", "")
    assert pod.work("r1", kind="ingest").datasets[0].counts.loaded == 1
    assert _docs(pod)[0] == "New."


def test_a_lease_is_waited_for_and_taken_over(tmp_path: Path) -> None:
    ledger = SqlLedger(SqliteDatabase(tmp_path, "ledger.db", "Destination lake"))
    with ledger.claim("demo/things", Attempt("r1", "first"), 0.6) as first:
        with pytest.raises(NotYet) as busy, ledger.claim("demo/things", Attempt("r2", "second"), 0.6):
            pass
        assert busy.value.reason == "LeaseHeld"
        with ledger.claim("demo/things", Attempt("r1", "third"), 0.6) as again:
            assert (again.load_id, again.attempt) == (first.load_id + 1, 2)
            with pytest.raises(NotYet), ledger.database.transaction() as cursor:
                check(cursor, first)
    with ledger.claim("demo/things", Attempt("r2", "second"), 0.6) as other:
        assert (other.attempt, other.plan) == (1, None)


def test_a_dead_workers_lease_ends(tmp_path: Path) -> None:
    ledger = SqlLedger(SqliteDatabase(tmp_path, "ledger.db", "Destination lake"))
    ledger.create()
    with ledger.database.transaction() as cursor:
        cursor.execute(
            "INSERT INTO penstock_leases (subject, run, load_id, worker, expires) VALUES (?, ?, ?, ?, ?)",
            ("demo/things", "r1", 7, "dead", time.time() + 0.4),
        )
    with ledger.claim("demo/things", Attempt("r2", "alive"), 5) as claim:
        assert claim.load_id == 8


def many(pod: APod, files: int = 3, rows: int = 60_000) -> None:
    """Files of a load that takes a while, with bad rows in them."""
    for number in range(files):
        chance = random.Random(number)
        lines = (f"{'bad' if row % 50 == 0 else row},{chance.randbytes(12).hex()}" for row in range(rows))
        (pod.data / f"{number}.csv").write_text("a,b\n" + "\n".join(lines) + "\n")


def killed_until_done(pod: APod, run_id: str, kills: int, longest: float) -> int:
    """Kill workers of one run at random instants until one finishes; how many were killed while they worked."""
    chance, struck = random.Random(str(pod.root)), 0
    while True:
        worker = pod.start(run_id)
        try:
            output, _ = worker.communicate(timeout=chance.uniform(0.3, longest) if struck < kills else 240)
        except subprocess.TimeoutExpired:
            worker.kill()
            worker.communicate()
            struck += 1
            continue
        assert worker.returncode == 0, output.decode()
        return struck


def test_killed_anywhere_the_counts_and_the_checksum_are_those_of_an_undisturbed_run(tmp_path: Path) -> None:
    calm = things(tmp_path / "calm")
    many(calm)
    begun = time.monotonic()
    calm.start("r1").communicate()
    undisturbed = time.monotonic() - begun
    struck, rounds = 0, 0
    while struck < KILLS:
        rounds += 1
        wild = things(tmp_path / f"wild{rounds}")
        many(wild)
        struck += killed_until_done(wild, "r1", min(8, KILLS - struck), undisturbed)
        for name in ("things", "things_quarantine"):
            assert wild.checksum(name) == calm.checksum(name)
            staged = {path.name for path in (wild.warehouse / "main" / name / "data").iterdir()}
            assert staged == {Path(task.file.file_path).name for task in wild.table(name).scan().plan_files()}
        assert len(wild.table().snapshots()) == 1
    print(f"{struck} workers killed while working, {rounds} runs; an undisturbed one takes {undisturbed:.1f} s")


def test_two_workers_with_one_run_id_commit_once(tmp_path: Path) -> None:
    pod = things(tmp_path)
    many(pod)
    pod.work("r0", kind="migrate")
    pod.kind = "ingest"
    workers = [pod.start("r1") for _ in range(2)]
    codes = sorted(worker.wait(timeout=120) for worker in workers)
    for worker in workers:
        worker.communicate()
    assert codes in ([0, 0], [0, 3])
    assert pod.checksum()[0] == 3 * 60_000 * 49 // 50
    assert len(pod.table().snapshots()) == 1
    with sqlite3.connect(pod.warehouse / "catalog.db") as ledger_file:
        assert ledger_file.execute("SELECT count(*) FROM penstock_runs WHERE report IS NOT NULL").fetchone() == (1,)


def test_sigterm_ends_a_run_and_the_next_heals(tmp_path: Path) -> None:
    pod = things(tmp_path)
    many(pod, files=6)
    worker = pod.start("r1")
    staged = pod.warehouse / "main/things/data"
    while not staged.exists() and worker.poll() is None:
        time.sleep(0.02)
    worker.terminate()
    worker.communicate(timeout=30)
    assert (worker.returncode, pod.report().reason, pod.report().state) == (3, "Cancelled", "Failed")
    assert pod.rows() == []
    report = pod.work("r1")
    assert (report.attempt, report.datasets[0].counts.read) == (2, 360_000)


def test_what_runs_left_that_were_never_tried_again_goes_after_a_day(tmp_path: Path) -> None:
    pod = things(tmp_path)
    (pod.data / "1.csv").write_text("a,b\n1,x\nbad,x\n")
    pod.work("r1")
    folders = [pod.warehouse / "main" / name / "data" for name in ("things", "things_quarantine")]
    committed = [path for folder in folders for path in folder.iterdir()]
    old, young = f"{'0' * 16}-1-00000-000.parquet", f"{'1' * 16}-1-00000-000.parquet"
    for folder in folders:
        for name in (old, young, "not-ours.parquet"):
            (folder / name).write_bytes(b"staged")
    for path in [path for folder in folders for path in folder.iterdir() if path.name != young]:
        os.utime(path, (0, 0))
    (pod.data / "2.csv").write_text("a,b\n2,y\n")
    pod.work("r2")
    assert [(folder / old).exists() for folder in folders] == [False, False]
    assert all((folder / name).exists() for folder in folders for name in (young, "not-ours.parquet"))
    assert all(path.exists() for path in committed)
    assert (sorted(row["a"] for row in pod.rows()), len(pod.bad())) == ([1, 2], 1)


def test_a_deadline_ends_a_run(tmp_path: Path) -> None:
    pod = things(tmp_path)
    (pod.data / "1.csv").write_text("a,b\n1,x\n")
    pod.work("r0", kind="migrate")
    with pod.ledger.claim("demo/things", Attempt("r1", "another worker")):
        report = pod.work("r2", kind="ingest", deadline=1)
    assert (report.reason, pod.code, pod.rows()) == ("DeadlineExceeded", 2, [])


def test_a_full_disk_commits_nothing_and_the_next_run_heals(tmp_path: Path) -> None:
    pod = things(tmp_path)
    many(pod)
    small = tmp_path / "volumes/lake"
    mounted = subprocess.run(
        ["mount", "-t", "tmpfs", "-o", "size=1m", "tmpfs", small], check=False, capture_output=True
    )
    if mounted.returncode:
        pytest.skip("mounting a small tmpfs needs root")
    try:
        report = pod.work("r1")
        assert (report.reason, pod.code) == ("StorageFull", 3)
        assert pod.rows() == []
        subprocess.run(["mount", "-o", "remount,size=64m", small], check=True)
        report = pod.work("r1")
        assert (report.state, report.datasets[0].counts.loaded) == ("Succeeded", 176_400)
        assert pod.checksum()[0] == 176_400
    finally:
        subprocess.run(["umount", "-l", small], check=True)
