"""A run ends at its deadline, and when it is stopped, whatever it is doing."""

import gzip
import os
import signal
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from worker.pods import APod, Json, a_pod, csv, field

PATIENCE = 1.0
STUCK = """
import sys, time
from penstock.worker import run, steps, watch

watch.PATIENCE = {patience}

def hang(step):
    if step == "first bytes staged":
        print("stuck", flush=True)
        {call}

steps.observe(hang)
run.program()
"""
FAR = "__import__('penstock.worker.rows.engine', fromlist=['x']).connect(1 << 30, 1, None).execute(" + (
    "'SELECT count(*) FROM range(10000000) a, range(10000000) b WHERE a.range + b.range = -1')"
)
"""A statement of DuckDB that takes days."""


def _pod(folder: Path, rows: int) -> APod:
    connector = {"url": "file:///volumes/data/", "volume": {"claimName": "data"}, "format": csv()}
    pod = APod(folder, [field("a", "long"), field("b", "string")], connector, {})
    for name in ("etc/penstock/order", "volumes/data", "volumes/lake", "dev"):
        (folder / name).mkdir(parents=True)
    (pod.data / "1.csv").write_text("a,b\n" + "1,x\n" * rows)
    return pod


def _stuck(pod: APod, call: str) -> "subprocess.Popen[bytes]":
    """A worker that makes this call in the thread that stages, and does not come back from it."""
    pod.prepare()
    program = STUCK.format(patience=PATIENCE, call=call)
    return subprocess.Popen([sys.executable, "-c", program], env=pod.environment("r1"), stdout=subprocess.PIPE)


@pytest.mark.parametrize("call", ["time.sleep(1000)", FAR], ids=["a call that sleeps", "a statement of DuckDB"])
def test_a_call_that_does_not_return_is_ended_at_the_deadline(tmp_path: Path, call: str) -> None:
    pod = _pod(tmp_path, 10)
    pod.deadline = 6
    process = _stuck(pod, call)
    process.communicate(timeout=60)
    report = pod.report()
    assert (process.returncode, report.state, report.reason) == (2, "Failed", "DeadlineExceeded")


def test_a_worker_that_is_stopped_in_a_call_that_does_not_return_leaves_its_report(tmp_path: Path) -> None:
    pod = _pod(tmp_path, 10)
    process = _stuck(pod, "time.sleep(1000)")
    assert process.stdout is not None
    for line in process.stdout:
        if line == b"stuck\n":
            break
    os.kill(process.pid, signal.SIGTERM)
    process.communicate(timeout=60)
    report = pod.report()
    assert (process.returncode, report.reason) == (3, "Cancelled")


def many_rows_of_csv(folder: Path) -> None:
    member = gzip.compress(b"1,x\n" * (1 << 24))
    (folder / "1.csv").write_bytes(gzip.compress(b"a,b\n") + member * 400)


def many_rows_of_json(folder: Path) -> None:
    member = gzip.compress(b'{"a":1,"b":"x"}\n' * (1 << 22))
    (folder / "1.jsonl").write_bytes(member * 400)


def many_elements(folder: Path) -> None:
    member = gzip.compress(b',{"a":1,"b":"x"}' * (1 << 22))
    (folder / "1.json").write_bytes(gzip.compress(b'[{"a":1}') + member * 400 + gzip.compress(b"]"))


def many_rows_of_parquet(folder: Path) -> None:
    rows = 1 << 20
    some = pa.table({"a": pa.repeat(1, rows), "b": pa.repeat("x", rows)})
    with pq.ParquetWriter(folder / "1.parquet", some.schema) as writer:
        for _ in range(100):
            writer.write_table(some)


MUCH: dict[str, tuple[Callable[[Path], None], Json]] = {
    "CSV": (many_rows_of_csv, {"csv": {}}),
    "JSON lines": (many_rows_of_json, {"json": {}}),
    "a JSON document": (many_elements, {"json": {"lines": False}}),
    "Parquet": (many_rows_of_parquet, {"parquet": {}}),
}
"""Files of a few megabytes that unpack to billions of bytes or hundreds of millions of rows: minutes of work."""


@pytest.mark.parametrize("kind", MUCH)
def test_the_deadline_holds_while_much_is_parsed(kind: str, tmp_path: Path) -> None:
    make, form = MUCH[kind]
    pod = a_pod(tmp_path, field("a", "long"), field("b", "string"), form=form)
    make(pod.data)
    pod.deadline = 3
    process = pod.start("r1")
    process.communicate(timeout=120)
    assert (process.returncode, pod.report().reason) == (2, "DeadlineExceeded")
