"""A run ends at its deadline, and when it is stopped, whatever it is doing."""

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from worker.pods import APod, csv, field

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


def test_the_deadline_holds_while_much_is_parsed(tmp_path: Path) -> None:
    pod = _pod(tmp_path, 8_000_000)
    pod.deadline = 2
    begun = time.monotonic()
    process = pod.start("r1")
    process.communicate(timeout=60)
    assert (process.returncode, pod.report().reason) == (2, "DeadlineExceeded")
    assert time.monotonic() - begun < 30
