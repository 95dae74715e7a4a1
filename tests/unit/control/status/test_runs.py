"""What is told of runs: their order, their counts, what was cancelled, what was delivered."""

from typing import Any

import pytest

from penstock.api import times
from penstock.control.cluster.port import Ref
from penstock.control.observe import Observed, Seen
from penstock.control.status import publish
from penstock.runs.report import DeliveryReport
from support import jobs, manifests, scene
from support.scene import Scene

NOW = times.parse("2026-11-22T13:00:00Z")
FIRST = "default/cities/nonce/1"


def _status(*runs: Observed, before: Any = None, kind: str = "Pipeline", **pipeline: Any) -> dict[str, Any]:
    stage = scene.quickstart(**pipeline)
    stage.apply(manifests.outbox(), manifests.subscription())
    if before:
        stage.cluster.change(Ref(kind, "default", "cities"), {"status": before})
    return _of(stage, kind, *runs)


def _of(stage: Scene, kind: str, *runs: Observed) -> dict[str, Any]:
    return publish.of(stage.graph(kind, "cities"), Seen(runs), NOW).status.to_object()


def _words(status: dict[str, Any]) -> list[tuple[str, str]]:
    return [(run["id"].rpartition("/")[2], run["state"]) for run in status["runs"]]


def _told(identity: str, state: str = "Succeeded", **changes: Any) -> dict[str, Any]:
    return {"id": f"default/cities/{identity}", "state": state, **changes}


def test_a_run_is_told_with_all_its_counts() -> None:
    told = _status(jobs.observed(report=jobs.report(loaded=5, quarantined=2)))["lastRun"]
    counts = {name: told[name] for name in ("rowsRead", "rowsLoaded", "rowsQuarantined", "rowsIgnored", "files")}
    assert counts == {"rowsRead": 7, "rowsLoaded": 5, "rowsQuarantined": 2, "rowsIgnored": 0, "files": 1}


def test_of_several_attempts_the_newest_is_told() -> None:
    failed = jobs.observed("a", state="Failed", reason="Unreachable")
    status = _status(jobs.observed("b", attempt=2, state="Running", finished=None), failed)
    assert [(run["job"], run["attempt"], run["state"]) for run in status["runs"]] == [("b", 2, "Running")]


@pytest.mark.parametrize(
    ("before", "state"),
    [("Waiting", "Cancelled"), ("Running", "Cancelled"), ("Succeeded", "Succeeded"), ("Failed", "Failed")],
)
def test_a_run_whose_job_is_gone_is_remembered_and_cancelled_if_it_was_not_over(before: str, state: str) -> None:
    assert _words(_status(before={"runs": [_told("nonce/1", before, job="gone")]})) == [("1", state)]


def test_a_deleted_later_attempt_is_not_forgotten_for_an_earlier_failure() -> None:
    before = {"runs": [_told("nonce/1", "Running", job="gone", attempt=2)]}
    status = _status(jobs.observed(state="Failed", reason="Unreachable"), before=before)
    assert _words(status) == [("1", "Cancelled")]


def test_what_waits_comes_first_then_the_newest_and_what_never_began_by_when_it_was_to() -> None:
    before = {
        "runs": [
            _told("schedule/c", "Cancelled", scheduledTime="2026-11-22T11:00:00Z"),
            _told("schedule/b", startedAt="2026-11-22T12:00:00Z"),
            _told("schedule/d", startedAt="2026-11-22T10:00:00Z"),
            _told("schedule/z", "Cancelled"),
        ]
    }
    waiting = jobs.observed(run="default/cities/nonce/a", state="Waiting", started=None, finished=None)
    assert [word for word, _ in _words(_status(waiting, before=before))] == ["a", "b", "c", "d", "z"]


def test_status_holds_as_many_runs_as_the_history() -> None:
    before = {"runs": [_told(f"nonce/{hour}", startedAt=f"2026-11-22T{hour}:00:00Z") for hour in (10, 11, 12)]}
    assert [word for word, _ in _words(_status(before=before, history=2))] == ["12", "11"]


def test_a_waiting_run_of_a_bell_is_the_same_run_once_it_is_admitted() -> None:
    stage = scene.ready(runNonce="", schedule=["0 3 * * *"], suspend=True)
    stage.ring("cities-pipeline-0", "2026-11-21T22:00:00-05:00")
    stage.settle()
    assert _words(stage.status("Pipeline", "cities")) == [("2026-11-22T03:00:00Z", "Waiting")]
    stage.apply(manifests.pipeline(runNonce="", schedule=["0 3 * * *"]))
    stage.settle()
    assert _words(stage.status("Pipeline", "cities")) == [("2026-11-22T03:00:00Z", "Running")]


@pytest.mark.parametrize(
    ("run", "status", "reason", "told"),
    [
        ({"report": jobs.report(loaded=1234)}, "True", "Succeeded", "1,234 rows read, 1,234 loaded"),
        ({"state": "Failed", "reason": "Timeout", "message": "too slow"}, "False", "Timeout", "too slow"),
        ({"state": "Running", "finished": None}, "Unknown", "NeverRan", "no run yet"),
    ],
)
def test_the_newest_finished_run_decides(run: Any, status: str, reason: str, told: str) -> None:
    found = next(one for one in _status(jobs.observed(**run))["conditions"] if one["type"] == "LastRunSucceeded")
    assert (found["status"], found["reason"]) == (status, reason)
    assert told in found["message"]


def test_a_repetition_of_a_committed_run_says_so() -> None:
    told = jobs.report()
    again = told.model_copy(update={"datasets": [told.datasets[0].model_copy(update={"earlier": True})]})
    assert "was committed before" in _status(jobs.observed(report=again))["lastRun"]["message"]


def test_what_is_known_of_the_datasets_outlives_a_lost_report() -> None:
    before = {"datasets": [{"name": "cities", "state": "Written", "rows": 3}]}
    lost = jobs.observed(reason="ReportLost")
    assert _status(lost, before=before)["datasets"] == before["datasets"]
    running = jobs.observed(state="Running", finished=None)
    assert _status(running, before=before)["datasets"] == [{"name": "cities", "state": "Running"}]


def test_deliveries_are_told_newest_first_and_remembered() -> None:
    told = DeliveryReport(manifest="s3://out/manifest.json", rows=3, bytes=99, files=1, at=jobs.ENDED)
    report = jobs.report("deliver", delivery=told)
    run = jobs.observed(purpose="deliver", run="subscription:default/cities/first", slot="first", report=report)
    earlier = {"run": "old", "rows": 1, "bytes": 1, "files": 1, "at": jobs.BEGAN}
    status = _status(run, before={"deliveries": [earlier]}, kind="Subscription")
    assert [(entry["run"].rpartition("/")[2], entry["rows"]) for entry in status["deliveries"]] == [
        ("first", 3),
        ("old", 1),
    ]
    assert status["lastRun"]["message"] == "3 rows delivered in 1 file"


def test_a_nonce_is_handled_when_there_is_a_run_for_it() -> None:
    assert "handledRunNonce" not in _status()
    assert _status(jobs.observed(state="Waiting"))["handledRunNonce"] == "1"
    assert _status(before={"handledRunNonce": "0"})["handledRunNonce"] == "0"
