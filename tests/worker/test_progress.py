"""A load says how far it is: in its log, one line of JSON every few seconds."""

import json
from pathlib import Path
from typing import Any

import pytest

from penstock.runs import places
from penstock.worker.rows import progress
from worker.pods import a_pod, csv, field


def test_rows_and_bytes_of_a_load_are_counted_to_its_end(
    tmp_path: Path, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(progress, "SECONDS", 0.0)
    caplog.set_level("INFO")
    pod = a_pod(tmp_path, field("a", "long"), form=csv())
    (pod.data / "large.csv").write_text("a\n" + "12345\n" * 1_000_000 + "bad\n")
    (pod.data / "small.csv").write_text("a\n1\n")
    size = sum(path.stat().st_size for path in pod.data.iterdir())
    assert pod.work("r1").state == "Succeeded"
    states = [_state(line) for line in caplog.messages if line.startswith(places.PROGRESS_LINE)]
    assert len(states) > 3
    last = states[-1]
    assert (last["dataset"], last["rows"], last["bad"], last["totalBytes"]) == ("things", 1_000_002, 1, size)
    assert last["bytes"] == size
    assert [state["rows"] for state in states] == sorted(state["rows"] for state in states)


def _state(line: str) -> dict[str, Any]:
    found: dict[str, Any] = json.loads(line.removeprefix(places.PROGRESS_LINE))
    return found
