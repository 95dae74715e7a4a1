"""What is told of runs: their order, their counts, what was cancelled, what was delivered."""

from typing import Any

import pytest

from penstock.api import objects
from penstock.control.cluster.port import Ref
from penstock.control.observe import Observed, Seen
from penstock.control.status import publish
from penstock.language import times
from penstock.runs.report import DeliveryReport, RunReport
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


def _condition(status: dict[str, Any], kind: str) -> dict[str, Any]:
    found: dict[str, Any] = next(one for one in status["conditions"] if one["type"] == kind)
    return found


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


def test_a_cancelled_run_waits_for_nothing_any_more() -> None:
    waiting = {"cause": "MaxConcurrentRuns", "object": "Source/cities", "since": "2026-11-22T12:00:00Z"}
    pod = {"pod": "x-1", "reason": "Unschedulable", "message": "no disk"}
    failure = {"reason": "Unreachable", "message": "no answer"}
    run = _told("nonce/1", "Waiting", job="gone", waiting=waiting, podWaits=pod, lastFailure=failure)
    (told,) = _status(before={"runs": [run]})["runs"]
    assert told["state"] == "Cancelled"
    assert not {"waiting", "podWaits", "lastFailure"} & {*told}


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


def test_a_waiting_run_of_a_cronjob_is_the_same_run_once_it_is_admitted() -> None:
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


def _again(committed_at: str) -> RunReport:
    told = jobs.report()
    entry = told.datasets[0].model_copy(update={"earlier": True, "committed_at": committed_at})
    return told.model_copy(update={"datasets": [entry]})


def test_a_repetition_of_a_committed_run_says_so_and_when_that_was() -> None:
    then = "2026-11-20T09:00:00Z"
    status = _status(jobs.observed(report=_again(then)))
    run = status["lastRun"]
    assert run["message"] == f"already carried out at {then}; the counts are those of that run"
    assert (run["finishedAt"], run["rowsLoaded"], "startedAt" in run) == (then, 3, False)
    told = _condition(status, "LastRunSucceeded")
    assert told["message"] == f"already carried out at {then}; the counts are those of that run: 3 rows read, 3 loaded"


def test_what_an_earlier_pod_of_the_same_job_committed_is_the_jobs_own() -> None:
    run = _status(jobs.observed(report=_again("2026-11-22T12:00:30Z")))["lastRun"]
    assert (run["startedAt"], run["finishedAt"], "message" in run) == (jobs.BEGAN, jobs.ENDED, False)


def test_a_repeated_delivery_says_so() -> None:
    then = "2026-11-20T09:00:00Z"
    told = DeliveryReport(manifest="s3://out/manifest.json", rows=3, bytes=99, files=1, at=then, earlier=True)
    run = jobs.observed(purpose="deliver", slot="first", report=jobs.report("deliver", delivery=told))
    status = _status(run, kind="Subscription")
    assert status["lastRun"]["message"] == f"already carried out at {then}: 3 rows delivered in 1 file"


def test_what_is_known_of_the_datasets_outlives_a_lost_report() -> None:
    before = {"datasets": [{"name": "cities", "state": "Written", "rows": 3}]}
    lost = jobs.observed(reason="ReportLost")
    assert _status(lost, before=before)["datasets"] == before["datasets"]
    running = jobs.observed(state="Running", finished=None)
    assert _status(running, before=before)["datasets"] == [{"name": "cities", "state": "Running"}]


def test_a_delivery_into_a_table_has_its_name_and_what_was_left_out() -> None:
    done = DeliveryReport(table="public.cities", rows=3, refused=1, bytes=90, at="2026-11-22T11:00:00Z")
    run = jobs.observed(purpose="deliver", slot="first", report=jobs.report("deliver", delivery=done))
    status = _status(run, kind="Subscription")
    assert status["lastRun"]["message"] == "3 rows delivered into table public.cities; 1 row left out"
    [delivery] = status["deliveries"]
    assert (delivery["table"], delivery["refused"], "files" in delivery) == ("public.cities", 1, False)


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


@pytest.mark.parametrize(
    ("run", "handled"),
    [
        ({"state": "Waiting"}, "0"),
        ({"state": "Running"}, "0"),
        ({"state": "Succeeded"}, "1"),
        ({"state": "Failed", "reason": "Unreachable"}, "0"),
        ({"state": "Failed", "reason": "WrongSpecification"}, "1"),
    ],
)
def test_a_nonce_is_handled_when_its_run_has_come_to_its_end(run: Any, handled: str) -> None:
    stage = scene.ready()
    (job,) = stage.jobs("ingest")
    order = job["metadata"]["annotations"][objects.ORDER]
    stage.cluster.change(Ref("Pipeline", "default", "cities"), {"status": {"handledRunNonce": "0", "runs": []}})
    assert _of(stage, "Pipeline", jobs.observed(order=order, **run))["handledRunNonce"] == handled


def test_a_nonce_whose_run_was_cancelled_is_handled_and_so_is_one_that_a_newer_run_left_behind() -> None:
    assert "handledRunNonce" not in _status()
    assert _status(before={"runs": [_told("nonce/1", "Running", job="gone")]})["handledRunNonce"] == "1"
    failed = jobs.observed("old", state="Failed", reason="Unreachable")
    newer = jobs.observed("new", run="default/cities/schedule/x", created=jobs.ENDED, state="Running", finished=None)
    assert _status(newer, failed)["handledRunNonce"] == "1"


# ── of which generation it is told ──


def test_the_last_run_is_not_told_of_a_generation_whose_run_has_not_ended() -> None:
    stage = scene.ready()
    stage.finish(stage.jobs("ingest")[-1])
    stage.settle()
    assert _generation(stage) == ("True", 1)
    stage.apply(manifests.pipeline(runNonce="2"))
    stage.reconcile("Pipeline", "cities")
    assert _generation(stage) == ("True", 1)
    stage.settle()
    assert _generation(stage) == ("True", 1)
    stage.finish(stage.jobs("ingest")[-1])
    stage.settle()
    assert _generation(stage) == ("True", 2)


def test_what_asks_for_no_run_is_told_of_at_once_and_what_is_suspended_when_it_has_run() -> None:
    stage = scene.ready()
    stage.finish(stage.jobs("ingest")[-1])
    stage.settle()
    stage.apply(manifests.pipeline(history=3))
    stage.settle()
    assert _generation(stage) == ("True", 2)
    stage.apply(manifests.pipeline(history=3, runNonce="2", suspend=True))
    stage.settle()
    assert _generation(stage) == ("True", 2)
    stage.apply(manifests.pipeline(history=3, runNonce="1"))
    stage.settle()
    assert _generation(stage) == ("True", 4)


def test_a_run_that_is_tried_again_has_not_ended_and_a_spec_that_cannot_be_read_is_told_nothing_of() -> None:
    stage = scene.ready()
    stage.finish(stage.jobs("ingest")[-1])
    stage.settle()
    stage.apply(manifests.pipeline(runNonce="2"))
    stage.settle()
    failure = jobs.report(state="Failed", reason="Unreachable", message="no route", datasets=[])
    stage.finish(stage.jobs("ingest")[-1], failure)
    stage.settle()
    assert _generation(stage) == ("False", 1)
    stage.wait(60)
    stage.settle()
    stage.finish(stage.jobs("ingest")[-1])
    stage.settle()
    assert _generation(stage) == ("True", 2)
    stage.apply(manifests.pipeline(runNonce="3", schedule=["0 3 * * *"], timeZone="Mars/X"))
    stage.settle()
    assert _generation(stage) == ("True", 2)


def _generation(stage: Scene) -> tuple[str, int]:
    told = stage.condition("Pipeline", "cities", "LastRunSucceeded")
    return told["status"], told["observedGeneration"]


# ── held up ──

NO_CLAIM = 'Pod x waits: Unschedulable: persistentvolumeclaim "nope" not found'


def _published(status: str, reason: str, message: str) -> dict[str, Any]:
    told = {"status": status, "reason": reason, "message": message}
    return {"conditions": [{"type": "LastRunSucceeded", "lastTransitionTime": jobs.BEGAN, **told}]}


def _held_up(message: str | None = NO_CLAIM, **changes: Any) -> Observed:
    known = {"run": "default/cities/nonce/2", "state": "Running", "finished": None, "created": jobs.ENDED}
    return jobs.observed("new", message=message, **{**known, "started": jobs.ENDED, **changes})


@pytest.mark.parametrize(
    ("earlier", "status", "reason", "message"),
    [
        ([], "Unknown", "Waiting", NO_CLAIM),
        ([jobs.observed()], "Unknown", "Waiting", NO_CLAIM),
        (
            [jobs.observed(state="Failed", reason="Timeout", message="too slow.")],
            "False",
            "Timeout",
            f"too slow; now {NO_CLAIM}",
        ),
    ],
)
def test_what_a_pod_waits_for_is_in_the_condition_and_hides_no_failure(
    earlier: list[Observed], status: str, reason: str, message: str
) -> None:
    told = _condition(_status(_held_up(), *earlier), "LastRunSucceeded")
    assert (told["status"], told["reason"], told["message"]) == (status, reason, message)


@pytest.mark.parametrize(
    ("before", "now", "after"),
    [
        (("Unknown", "Waiting", NO_CLAIM), None, ("Unknown", "NeverRan", "there has been no run yet")),
        (("False", "Unreachable", f"no route; now {NO_CLAIM}"), None, ("False", "Unreachable", "no route")),
        (
            ("False", "Unreachable", f"no route; now {NO_CLAIM}"),
            NO_CLAIM,
            ("False", "Unreachable", f"no route; now {NO_CLAIM}"),
        ),
    ],
)
def test_what_held_up_another_attempt_is_told_as_long_as_it_does(before: Any, now: str | None, after: Any) -> None:
    published = _published(*before)
    if before[0] == "False":  # the failed attempt, as status has it: the message is made anew from it
        failure = {"reason": before[1], "message": "no route"}
        published["runs"] = [
            {"id": "default/cities/nonce/2", "job": "new", "state": "Running", "attempt": 2, "lastFailure": failure}
        ]
    told = _condition(_status(_held_up(now, attempt=2), before=published), "LastRunSucceeded")
    assert (told["status"], told["reason"], told["message"]) == after


@pytest.mark.parametrize("ends", [True, False])
def test_a_run_whose_pod_never_started_keeps_the_cause_beyond_its_deadline(ends: bool) -> None:
    stage = scene.ready()
    (job,) = stage.jobs("ingest")
    pod = jobs.pod(job)
    why = {"reason": "Unschedulable", "message": 'persistentvolumeclaim "nope" not found'}
    pod["status"] = {"phase": "Pending", "conditions": [{"type": "PodScheduled", "status": "False", **why}]}
    stage.cluster.put(pod)
    stage.settle()
    assert stage.condition("Pipeline", "cities", "LastRunSucceeded")["reason"] == "Waiting"
    if ends:
        stage.cluster.put(jobs.pod(job, exitCode=128, reason="StartError"))
    else:
        stage.cluster.remove(Ref.of(pod))
    stage.settle()
    stage.cluster.change(Ref.of(job), {"status": jobs.over("Failed", stage.cluster.now, "DeadlineExceeded")})
    stage.settle()
    assert stage.restarted().settle() == []
    told = stage.condition("Pipeline", "cities", "LastRunSucceeded")
    assert told["reason"] == "DeadlineExceeded"
    assert told["message"].endswith(f"and was ended; its Pod never started: {why['message']}")


# ── asked for again ──


def test_a_nonce_that_was_carried_out_before_the_last_one_is_told_and_starts_nothing() -> None:
    stage = scene.ready(runNonce="a")
    for nonce in "ba":
        stage.finish(stage.jobs("ingest")[-1])
        stage.settle()
        stage.wait(60)
        stage.apply(manifests.pipeline(runNonce=nonce))
        stage.settle()
    assert len(stage.jobs("ingest")) == 2
    told = stage.condition("Pipeline", "cities", "Ready")
    ended = stage.status("Pipeline", "cities")["runs"][1]["finishedAt"]
    words = f'runNonce "a" was already carried out at {ended}: choose another'
    assert told["status"] == "True"
    assert told["message"].endswith(f"; {words}")
    assert stage.status("Pipeline", "cities")["handledRunNonce"] == "a"
    told_once = [event for event in stage.cluster.items("Event") if event["reason"] == "AlreadyCarriedOut"]
    assert [(event["type"], event["message"]) for event in told_once] == [("Warning", words)]
    assert stage.restarted().settle() == []
    stage.apply(manifests.pipeline(runNonce="c"))
    stage.settle()
    assert len(stage.jobs("ingest")) == 3
    assert "already" not in stage.condition("Pipeline", "cities", "Ready")["message"]


def test_a_nonce_whose_job_was_deleted_while_it_waited_is_not_started_again() -> None:
    stage = scene.quickstart()
    stage.settle()
    stage.cluster.remove(Ref.of(stage.jobs("ingest")[0]))
    stage.settle()
    assert stage.jobs("ingest") == []
    assert stage.status("Pipeline", "cities")["handledRunNonce"] == "1"


# ── tried again ──


def test_a_failure_says_when_it_is_tried_again_and_counts_until_that_has_ended() -> None:
    stage = scene.ready(runNonce="0")
    stage.finish(stage.jobs("ingest")[-1])
    stage.settle()
    stage.wait(60)
    stage.apply(manifests.pipeline(runNonce="1"))
    stage.settle()
    failure = jobs.report(state="Failed", reason="Unreachable", message="Source cities: no route.", datasets=[])
    stage.finish(stage.jobs("ingest")[-1], failure)
    stage.settle()
    words = "Source cities: no route; tried again at 2026-11-22T12:01:15Z"
    assert stage.condition("Pipeline", "cities", "LastRunSucceeded")["message"] == words
    assert stage.status("Pipeline", "cities")["handledRunNonce"] == "0"
    stage.wait(15)
    stage.settle()
    assert stage.status("Pipeline", "cities")["lastRun"]["attempt"] == 2
    told = stage.condition("Pipeline", "cities", "LastRunSucceeded")
    assert (told["status"], told["message"]) == ("False", "Source cities: no route."), "no time that has passed"
    stage.finish(stage.jobs("ingest")[-1])
    stage.settle()
    assert stage.condition("Pipeline", "cities", "LastRunSucceeded")["status"] == "True"
    assert stage.status("Pipeline", "cities")["handledRunNonce"] == "1"


def test_what_the_data_is_to_blame_for_is_not_tried_again_by_itself() -> None:
    stage = scene.ready()
    failure = jobs.report(state="Failed", reason="WrongSpecification", message="no column city", datasets=[])
    stage.finish(stage.jobs("ingest")[-1], failure)
    stage.settle()
    stage.wait(3600)
    stage.settle()
    assert len(stage.jobs("ingest")) == 1
    assert stage.condition("Pipeline", "cities", "LastRunSucceeded")["message"] == "no column city"


def test_a_run_that_is_under_way_stays_in_status_whatever_the_history() -> None:
    before = {"runs": [_told(f"nonce/{hour}", startedAt=f"2026-11-22T{hour}:00:00Z") for hour in (10, 11)]}
    running = jobs.observed(state="Running", started="2026-11-22T09:00:00Z", finished=None)
    assert [word for word, _ in _words(_status(running, before=before, history=1))] == ["11", "1"]


def test_what_a_cancelled_run_was_doing_is_not_under_way_any_more() -> None:
    before = {
        "runs": [_told("nonce/1", "Running", job="gone")],
        "datasets": [{"name": "cities", "state": "Running"}, {"name": "towns", "state": "Written", "rows": 3}],
    }
    told = _status(before=before)["datasets"]
    assert [(entry["name"], entry["state"]) for entry in told] == [("cities", "Cancelled"), ("towns", "Written")]
