"""DuckDB as a TableStore: what only a file that one process at a time can write makes go wrong."""

import resource
import subprocess
import sys
import threading
import time
from pathlib import Path

import duckdb

from penstock.runs import report as reports
from penstock.runs.report import RunReport
from worker.pods import APod, a_pod, field

FILE = "/volumes/lake/of a shop/it's.duckdb"


def a_load(root: Path) -> APod:
    """A Pod that loads CSV files into a table of a DuckDB file."""
    pod = a_pod(root, field("id", "long", required=True), field("word", "string"))
    pod.dataset["destination"] = {
        "name": "store",
        "connector": {"duckdb": {"path": FILE, "volume": {"claimName": "lake"}}},
    }
    return pod


def path(pod: APod) -> Path:
    return pod.root / FILE.removeprefix("/")


def ids(pod: APod) -> list[int]:
    with duckdb.connect(path(pod), read_only=True) as database:
        return [number for (number,) in database.sql("SELECT id FROM things ORDER BY id").fetchall()]


def execute(pod: APod, statement: str) -> None:
    with duckdb.connect(path(pod)) as database:
        database.execute(statement)


def refused(report: RunReport) -> tuple[str | None, str]:
    assert report.state == "Failed"
    return report.reason, report.message or ""


def staged(pod: APod) -> list[Path]:
    return [*path(pod).parent.glob("*.penstock")]


def test_a_table_that_another_program_has_made_or_altered_is_named_and_heals(tmp_path: Path) -> None:
    pod = a_load(tmp_path)
    path(pod).parent.mkdir()
    execute(pod, "CREATE TABLE Things (id BIGINT)")
    (pod.data / "1.csv").write_text("id,word\n1,a\n")
    reason, message = refused(pod.work("r1"))
    assert (reason, "table Things belongs to no Dataset" in message) == ("TableConflict", True), message
    execute(pod, "DROP TABLE Things")
    assert pod.work("r1").state == "Succeeded"
    (pod.data / "2.csv").write_text("id,word\n2,b\n")
    alterations = {
        "ALTER TABLE things ALTER id TYPE INTEGER": "ALTER TABLE things ALTER id TYPE BIGINT",
        "ALTER TABLE things ADD COLUMN extra INTEGER": "ALTER TABLE things DROP COLUMN extra",
    }
    for number, (alter, restore) in enumerate(alterations.items()):
        execute(pod, alter)
        reason, message = refused(pod.work("r2"))
        expected = ("DatasetNotReady", "SchemaChanged")[number]
        assert (reason, "things" in message) == (expected, True), message
        execute(pod, restore)
    execute(pod, "CREATE UNIQUE INDEX odd ON things (word)")
    (pod.data / "3.csv").write_text("id,word\n3,a\n")
    reason, message = refused(pod.work("r2"))
    assert (reason, "constraint that another program has added" in message) == ("WrongSpecification", True), message
    assert (ids(pod), staged(pod)) == ([1], [])
    execute(pod, "DROP INDEX odd")
    assert pod.work("r2").state == "Succeeded"
    assert (ids(pod), staged(pod)) == ([1, 2, 3], [])
    execute(pod, "DROP TABLE things")
    assert pod.work("r3").state == "Succeeded"
    assert (ids(pod), staged(pod)) == ([1, 2, 3], []), "a table that was dropped is loaded again"


def test_a_run_waits_for_a_program_that_reads_the_file(tmp_path: Path) -> None:
    pod = a_load(tmp_path)
    (pod.data / "1.csv").write_text("id,word\n1,a\n")
    assert pod.work("r1").state == "Succeeded"
    (pod.data / "2.csv").write_text("id,word\n2,b\n")
    script = (
        f"import duckdb; c = duckdb.connect({str(path(pod))!r}, read_only=True); print('open', flush=True); input()"
    )
    with subprocess.Popen([sys.executable, "-c", script], stdin=subprocess.PIPE, stdout=subprocess.PIPE) as reader:
        assert reader.stdout is not None
        assert reader.stdout.readline() == b"open\n"
        reports_of_run: list[RunReport] = []
        run = threading.Thread(target=lambda: reports_of_run.append(pod_in_process(pod, "r2")))
        run.start()
        time.sleep(1)
        assert run.is_alive()
        reader.communicate(b"\n")
        run.join(60)
    assert reports_of_run[0].state == "Succeeded", reports_of_run[0].message
    assert ids(pod) == [1, 2]


def pod_in_process(pod: APod, run_id: str, file_size: int | None = None) -> RunReport:
    """Carry the order out in a process of its own, which may write files of this size at most."""
    pod.prepare()

    def limit() -> None:
        if file_size is not None:
            resource.setrlimit(resource.RLIMIT_FSIZE, (file_size, file_size))

    command = [sys.executable, "-m", "penstock.worker"]
    done = subprocess.run(
        command, env=pod.environment(run_id), capture_output=True, check=False, timeout=120, preexec_fn=limit
    )
    return reports.with_details(pod.report(run_id), done.stdout.decode())


def test_a_full_disk_commits_nothing_and_heals(tmp_path: Path) -> None:
    pod = a_load(tmp_path)
    (pod.data / "1.csv").write_text("id,word\n1,a\n")
    assert pod.work("r1").state == "Succeeded"
    lines = "".join(f"{number},{hash((number, 'a')):020d}{hash((number, 'b')):020d}\n" for number in range(2, 100_000))
    (pod.data / "2.csv").write_text(f"id,word\n{lines}")
    for limit in (1 << 20, 3 << 20):  # for what is staged; for the database
        reason, message = refused(pod_in_process(pod, "r2", limit))
        assert reason == "StorageFull", message
        assert (ids(pod), staged(pod)) == ([1], []), message
    assert pod.work("r2").state == "Succeeded"
    assert len(ids(pod)) == 99_999


def test_nothing_is_staged_through_a_link(tmp_path: Path) -> None:
    pod = a_load(tmp_path)
    (pod.data / "1.csv").write_text("id,word\n1,a\n")
    outside = tmp_path / "outside"
    outside.mkdir()
    path(pod).parent.mkdir()
    path(pod).with_name(f"{path(pod).name}.penstock").symlink_to(outside)
    reason, message = refused(pod.work("r1"))
    assert (reason, "is a link" in message) == ("WrongSpecification", True), message
    assert [*outside.iterdir()] == []


def test_a_file_that_is_read_and_written_by_one_run_is_refused(tmp_path: Path) -> None:
    pod = a_load(tmp_path)
    path(pod).parent.mkdir()
    execute(pod, "CREATE TABLE orders AS SELECT 1 AS id, 'a' AS word")
    source = {"name": "shop", "connector": {"duckdb": {"path": FILE, "volume": {"claimName": "lake"}}}}
    dataset = {"stream": "orders", "sync": "full", "writeMode": "replace"}
    pod.dataset |= dataset
    reason, message = refused(pod.work("r1", more={"source": source}))
    assert (reason, "Load into another file than is read" in message) == ("WrongSpecification", True), message
