"""The contract that a Source keeps with a TableStore: each row is loaded once, and the state moves with the rows.

Workers are processes of their own, which are killed at each named step and at random instants.
"""

import json
import os
import random
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from penstock.worker import steps
from worker.pods import APod, a_pod, field

KILLS = int(os.environ.get("PENSTOCK_KILLS", "3"))
"""How many workers of each source are killed at random instants; 50 for the closing note."""
TESTS = Path(__file__).parents[1]
STREAMS = ("orders", "people")


def rows(stream: str, count: int, start: int = 0) -> list[dict[str, str]]:
    return [{"id": str(number), "word": f"{stream} {number}"} for number in range(start, start + count)]


def server_of(source: str, count: int) -> dict[str, Any]:
    """What the server has, with so many rows in each stream."""
    streams = {stream: rows(stream, count) for stream in STREAMS}
    match source:
        case "ReadOnce":
            return {"streams": streams}
        case "ChangeStream":
            log = [(stream, streams[stream][number]) for number in range(count) for stream in STREAMS]
            return {"streams": streams, "log": log, "slot": 0}
        case _:
            return {"streams": streams, "spool": {stream: {"1": each} for stream, each in streams.items()}}


def grow(pod: APod, source: str, count: int, start: int) -> None:
    """Add rows to each stream of the server."""
    file = pod.data / "server.json"
    content = json.loads(file.read_text())
    for stream in STREAMS:
        more = rows(stream, count, start)
        if source == "ReadOnce":
            content["streams"][stream] += more
        elif source == "ChangeStream":
            content["log"] += [(stream, row) for row in more]
        else:
            content["spool"][stream][str(start)] = more
    file.write_text(json.dumps(content))


def a_server(root: Path, source: str, count: int = 25) -> APod:
    """A Pod whose order loads both streams into a table each."""
    pod = a_pod(root, field("id", "long", required=True), field("word", "string"))
    (pod.data / "server.json").write_text(json.dumps(server_of(source, count)))
    first = pod.order()["datasets"][0]
    pod.more = {
        "datasets": [
            {**first, "owner": {**first["owner"], "name": stream}, "table": stream, "stream": stream}
            for stream in STREAMS
        ]
    }
    pod.prepare()
    return pod


def work(pod: APod, source: str, run_id: str, step: str = "", timeout: float = 120) -> int:
    """Run a worker; its exit code, -9 if it was killed."""
    worker = subprocess.Popen(
        [sys.executable, "-m", "connectors.worker", source, *([step] if step else [])],
        env=pod.environment(run_id, PYTHONPATH=str(TESTS)),
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
    )
    try:
        output, _ = worker.communicate(timeout=timeout)
    except subprocess.TimeoutExpired:
        worker.kill()
        output, _ = worker.communicate()
    print(output.decode())
    return worker.returncode


def loaded(pod: APod, stream: str) -> list[int]:
    return sorted(row["id"] for row in pod.rows(stream))


SOURCES = ["ReadOnce", "ChangeStream", "PushSpool"]


@pytest.mark.parametrize("source", SOURCES)
def test_what_has_come_since_is_loaded_once(source: str, tmp_path: Path) -> None:
    pod = a_server(tmp_path, source)
    assert work(pod, source, "r1") == 0
    assert work(pod, source, "r2") == 0
    assert [loaded(pod, stream) for stream in STREAMS] == [[*range(25)]] * 2
    grow(pod, source, 7, 25)
    assert work(pod, source, "r3") == 0
    assert [loaded(pod, stream) for stream in STREAMS] == [[*range(32)]] * 2
    server = json.loads((pod.data / "server.json").read_text())
    if source == "ChangeStream":
        assert server["slot"] == len(server["log"]) == 64
    if source == "PushSpool":
        assert server["spool"] == {stream: {} for stream in STREAMS}


@pytest.mark.parametrize("step", steps.STEPS)
@pytest.mark.parametrize("source", SOURCES)
def test_killed_at_any_step_each_row_is_there_once(source: str, step: str, tmp_path: Path) -> None:
    pod = a_server(tmp_path, source)
    assert work(pod, source, "r1", step) == -9
    assert work(pod, source, "r1") == 0
    assert [loaded(pod, stream) for stream in STREAMS] == [[*range(25)]] * 2
    grow(pod, source, 3, 25)
    assert work(pod, source, "r2") == 0
    assert [loaded(pod, stream) for stream in STREAMS] == [[*range(28)]] * 2


@pytest.mark.parametrize("source", SOURCES)
def test_killed_at_random_instants_each_row_is_there_once(source: str, tmp_path: Path) -> None:
    pod = a_server(tmp_path, source, 400)
    chance, killed = random.Random(source), 0
    while killed < KILLS:
        code = work(pod, source, "r1", timeout=chance.uniform(0.3, 2.5))
        killed += 1
        if code == 0:
            break
    assert work(pod, source, "r1") == 0
    assert [loaded(pod, stream) for stream in STREAMS] == [[*range(400)]] * 2


@pytest.mark.parametrize("source", SOURCES)
def test_two_workers_of_one_run_load_each_row_once(source: str, tmp_path: Path) -> None:
    pod = a_server(tmp_path, source, 400)
    command = [sys.executable, "-m", "connectors.worker", source]
    environment = pod.environment("r1", PYTHONPATH=str(TESTS))
    workers = [subprocess.Popen(command, env=environment, stdout=subprocess.DEVNULL) for _ in range(2)]
    codes = [worker.wait(120) for worker in workers]
    assert 0 in codes
    assert set(codes) <= {0, 3}
    assert [loaded(pod, stream) for stream in STREAMS] == [[*range(400)]] * 2


def test_the_slot_waits_for_the_dataset_that_failed(tmp_path: Path) -> None:
    pod = a_server(tmp_path, "ChangeStream")
    orders, people = pod.order()["datasets"]
    strict = {**people, "schema": {"fields": [field("id", "long", required=True, maximum="3")]}}
    pod.more = {"datasets": [orders, {**strict, "quality": {"maxBadRatio": "0%"}}]}
    pod.prepare()
    assert work(pod, "ChangeStream", "r1") == 2
    assert json.loads((pod.data / "server.json").read_text())["slot"] == 0
    pod.more = {"datasets": [orders, people]}
    pod.prepare()
    assert work(pod, "ChangeStream", "r2") != 0, "the table of people was made for another schema"
    pod.more = {"datasets": [orders, {**strict, "quality": {"maxBadRatio": "100%"}}]}
    pod.prepare()
    assert work(pod, "ChangeStream", "r3") == 0
    assert (loaded(pod, "orders"), loaded(pod, "people")) == ([*range(25)], [0, 1, 2, 3])
    assert len(pod.rows("people_quarantine")) == 21
    assert {row["locator"] for row in pod.rows("people_quarantine")} >= {
        "changes/people key 4",
        "changes/people key 24",
    }


def test_deletes_are_counted_as_ignored(tmp_path: Path) -> None:
    pod = a_server(tmp_path, "ChangeStream", 4)
    file = pod.data / "server.json"
    content = json.loads(file.read_text())
    content["log"].insert(3, ("orders", {"id": "1", "deleted": True}))
    file.write_text(json.dumps(content))
    assert work(pod, "ChangeStream", "r1") == 0
    orders, people = pod.report().datasets
    assert (orders.counts.read, orders.counts.loaded, people.counts.read) == (5, 4, 4)
    assert loaded(pod, "orders") == [0, 1, 2, 3]
