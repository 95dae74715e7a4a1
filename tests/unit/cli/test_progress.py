"""What `run --wait` and `logs` say of a load that is under way."""

import asyncio
import io
from typing import Any

import pytest

from penstock.cli import progress, terminal
from penstock.runs import places, summary
from penstock.runs.report import Progress, RunReport
from support.fakecluster import FakeCluster


def _state(**more: Any) -> Progress:
    return Progress.model_validate({"dataset": "flights", "rows": 200_000, "seconds": 4.0, **more})


@pytest.mark.parametrize(
    ("state", "words"),
    [
        (_state(), "flights: 200,000 rows read, 50,000 rows/s"),
        (_state(bad=3), "flights: 200,000 rows read (3 bad), 50,000 rows/s"),
        (
            _state(bytes=250_000_000, totalBytes=1_000_000_000),
            "flights: 200,000 rows read, 50,000 rows/s, 25% of 1.0 GB, about 13s left",
        ),
        (_state(bytes=10, totalBytes=10), "flights: 200,000 rows read, 50,000 rows/s, 100% of 10 bytes"),
        (_state(rows=1, seconds=0.0, totalBytes=0), "flights: 1 row read, 0 rows/s"),
    ],
)
def test_progress_in_words(state: Progress, words: str) -> None:
    assert progress.in_words(state) == words


def _pod(name: str, phase: str, **more: Any) -> dict[str, Any]:
    labels = {"batch.kubernetes.io/job-name": "j"}
    metadata = {
        "name": name,
        "namespace": "default",
        "labels": labels,
        "creationTimestamp": f"2026-11-22T12:00:0{name}Z",
    }
    return {"apiVersion": "v1", "kind": "Pod", "metadata": metadata, "status": {"phase": phase, **more}}


def _words(*pods: dict[str, Any], **logs: str) -> str:
    cluster = FakeCluster()
    for pod in pods:
        cluster.put(pod)
    cluster.logs.update({name.removeprefix("p"): log for name, log in logs.items()})
    return asyncio.run(progress.of_job(cluster, "default", "j"))


def test_the_newest_pod_says_how_far_it_is() -> None:
    lines = [f"12:00:0{n} {places.PROGRESS_LINE}{_state(rows=n).model_dump_json(by_alias=True)}" for n in (1, 2)]
    assert _words(_pod("1", "Failed"), _pod("2", "Running"), p2="\n".join(lines)) == "flights: 2 rows read, 0 rows/s"
    assert _words(_pod("1", "Running"), p1="starts\n") == ""
    assert _words(_pod("1", "Running")) == "", "its log is not there yet"
    assert _words(_pod("1", "Pending")) == _words() == "", "status says what it waits for"


def test_between_two_attempts_the_cause_is_told() -> None:
    told = RunReport(
        kind="ingest", run="r", state="Failed", reason="Unreachable", message="no answer from s3://b.",
        started_at="2026-11-22T12:00:00Z", finished_at="2026-11-22T12:00:00Z",
    )  # fmt: skip
    ended = [{"name": "worker", "state": {"terminated": {"exitCode": 3, "message": summary.encode(told, [])}}}]
    assert _words(_pod("1", "Failed", containerStatuses=ended)) == (
        "attempt 1 failed: Unreachable. no answer from s3://b. Another attempt follows"
    )
    ended[0]["state"]["terminated"]["exitCode"] = places.EXIT_CONFIGURATION  # type: ignore[index]
    assert _words(_pod("1", "Failed", containerStatuses=ended)) == (
        "attempt 1 failed: Unreachable. no answer from s3://b"
    ), "the Job fails at once"
    assert (
        _words(_pod("1", "Failed"), _pod("2", "Failed")) == "attempt 2 ended without a report. Another attempt follows"
    )


def test_without_a_terminal_progress_is_a_line_now_and_then() -> None:
    file = io.StringIO()
    display = progress.Display(terminal.VisibleConsole(file=file, width=100))
    for told in ("1 row", "1 row", "", "2 rows"):
        display.show(told)
    display.end()
    assert file.getvalue() == "1 row\n"


def test_on_a_terminal_progress_is_one_line_that_is_removed() -> None:
    file = io.StringIO()
    display = progress.Display(terminal.VisibleConsole(file=file, width=100, force_terminal=True))
    display.show("1 row \x1b[31m")
    display.end()
    assert r"1 row \u001b[31m" in file.getvalue()
    assert file.getvalue().endswith("\x1b[?25h\r\x1b[1A\x1b[2K") or "\x1b[2K" in file.getvalue()
