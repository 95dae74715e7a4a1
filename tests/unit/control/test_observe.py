"""What the Jobs did: states, slots, and whose word on the cause counts."""

from typing import Any

import pytest

from penstock.api import objects
from penstock.control import observe
from penstock.control.cluster.port import Ref
from penstock.control.observe import CRON_TIME
from penstock.runs.report import RunReport
from support import jobs, scene

BAD_ROWS = jobs.report(state="Failed", reason="TooManyBadRows", message="7 of 10 rows are bad", datasets=[])


@pytest.mark.parametrize(
    ("spec", "status", "state", "finished"),
    [
        ({"suspend": True}, {}, "Waiting", None),
        ({"suspend": False}, {}, "Running", None),
        ({}, {"conditions": [{"type": "Suspended", "status": "False"}]}, "Running", None),
        ({}, {"conditions": [{"type": "FailureTarget", "status": "True"}]}, "Running", None),
        ({}, jobs.over(), "Succeeded", jobs.ENDED),
        ({}, jobs.over("Failed"), "Failed", jobs.ENDED),
        ({"suspend": True}, jobs.over("Failed"), "Failed", jobs.ENDED),
    ],
)
def test_the_state_of_a_job(spec: Any, status: Any, state: str, finished: str | None) -> None:
    seen = observe.job(jobs.job(spec=spec, status=status), ())
    assert (seen.state, seen.finished) == (state, finished)


@pytest.mark.parametrize(
    ("annotations", "slot", "end"),
    [
        ({objects.SLOT: "nonce/1", objects.INTERVAL_END: jobs.BEGAN}, "nonce/1", jobs.BEGAN),
        ({CRON_TIME: "2026-11-22T03:15:00Z"}, "schedule/2026-11-22T03:15:00Z", "2026-11-22T03:15:00Z"),
        ({CRON_TIME: "2026-11-21T22:15:00-05:00"}, "schedule/2026-11-22T03:15:00Z", "2026-11-22T03:15:00Z"),
        ({}, "manual/uid-by-hand", None),
    ],
)
def test_the_slot_of_a_run_is_the_same_in_every_time_zone(annotations: Any, slot: str, end: str | None) -> None:
    seen = observe.job(jobs.job("by-hand", annotations=annotations), ())
    assert (seen.slot, seen.interval_end) == (slot, end)


@pytest.mark.parametrize(
    ("ended", "job_reason", "reason", "told"),
    [
        (
            {"exitCode": 2, "message": jobs.message(BAD_ROWS)},
            "PodFailurePolicy",
            "TooManyBadRows",
            "7 of 10 rows are bad",
        ),
        ({"exitCode": 137, "reason": "OOMKilled"}, "BackoffLimitExceeded", "OutOfMemory", "raise worker.resources"),
        ({"exitCode": 137}, "BackoffLimitExceeded", "UnknownError", "was killed (exit code 137)"),
        ({"exitCode": 1, "message": "Traceback …"}, "BackoffLimitExceeded", "UnknownError", "exit code 1"),
        ({"exitCode": 0}, "DeadlineExceeded", "DeadlineExceeded", "longer than its deadline"),
        ({}, "DeadlineExceeded", "DeadlineExceeded", "longer than its deadline"),
        ({}, "BackoffLimitExceeded", "ReportLost", "its Pod is gone"),
    ],
)
def test_the_workers_word_on_a_failure_comes_before_the_pods_and_the_jobs(
    ended: Any, job_reason: str, reason: str, told: str
) -> None:
    failed = jobs.job(status=jobs.over("Failed", reason=job_reason))
    seen = observe.job(failed, [jobs.pod(failed, **ended)] if ended else [])
    assert seen.reason == reason
    assert told in str(seen.message)


def test_the_report_of_the_newest_pod_that_ended_counts() -> None:
    job = jobs.job(status={**jobs.over(), "failed": 1, "succeeded": 1})
    first = jobs.pod(job, 1, exitCode=3, message=jobs.message(BAD_ROWS))
    last = jobs.pod(job, 2, message=jobs.message(jobs.report(loaded=5)))
    seen = observe.job(job, [first, last])
    assert isinstance(seen.report, RunReport)
    assert (seen.report.counts.loaded, seen.pods, seen.pod) == (5, 2, "cities-ingest-1-2")
    assert seen.reason is None


def test_a_success_whose_report_is_gone_says_so() -> None:
    assert observe.job(jobs.job(status=jobs.over()), ()).reason == "ReportLost"


def test_a_report_of_a_failure_is_not_that_of_a_success_whose_last_pod_is_gone() -> None:
    job = jobs.job(status={**jobs.over(), "failed": 1, "succeeded": 1})
    seen = observe.job(job, [jobs.pod(job, 1, exitCode=3, message=jobs.message(BAD_ROWS))])
    assert (seen.report, seen.reason, seen.whole) == (None, "ReportLost", False)


def test_the_report_of_a_success_is_its_last_word_though_earlier_pods_are_gone() -> None:
    job = jobs.job(status={**jobs.over(), "failed": 1, "succeeded": 1})
    seen = observe.job(job, [jobs.pod(job, 2, message=jobs.message(jobs.report(loaded=5)))])
    assert (seen.whole, seen.reason) == (True, None)


def test_an_inspection_without_its_report_has_failed() -> None:
    lost = observe.job(jobs.job(purpose="inspect-source", status=jobs.over()), ())
    assert (lost.state, lost.reason) == ("Failed", "ReportLost")


def test_a_pod_that_does_not_start_is_told_in_the_kubelets_words() -> None:
    running = jobs.job()
    stuck = jobs.pod(running)
    stuck["status"]["containerStatuses"][0]["state"] = {
        "waiting": {"reason": "ImagePullBackOff", "message": "no such image"}
    }
    seen = observe.job(running, [stuck])
    assert seen.message == "Pod cities-ingest-1-1 waits: ImagePullBackOff: no such image"


def test_a_pod_that_finds_no_place_is_told_in_the_schedulers_words() -> None:
    running = jobs.job()
    stuck = jobs.pod(running)
    why = {"reason": "Unschedulable", "message": 'persistentvolumeclaim "lake" not found'}
    stuck["status"] = {"phase": "Pending", "conditions": [{"type": "PodScheduled", "status": "False", **why}]}
    seen = observe.job(running, [stuck])
    assert seen.message == 'Pod cities-ingest-1-1 waits: Unschedulable: persistentvolumeclaim "lake" not found'


NO_CLAIM = {"reason": "Unschedulable", "message": 'persistentvolumeclaim "nope" not found'}
TOO_LONG = "the run took longer than its deadline and was ended"


@pytest.mark.parametrize(
    ("status", "pods", "message"),
    [
        ({}, 0, TOO_LONG),
        ({}, 1, f"{TOO_LONG}; its Pod never started: {NO_CLAIM['message']}"),
        (
            {
                "runs": [
                    {"state": "Running", "podWaits": {"pod": "x-1", "reason": "Unschedulable", "message": "no disk"}}
                ]
            },
            0,
            f"{TOO_LONG}; its Pod never started: no disk",
        ),
        (
            {
                "runs": [
                    {
                        "state": "Running",
                        "podWaits": {"pod": "x-1", "reason": "ImagePullBackOff", "message": "no such image"},
                    }
                ]
            },
            0,
            f"{TOO_LONG}; its Pod never started: ImagePullBackOff: no such image",
        ),
        ({"runs": [{"state": "Running"}]}, 0, TOO_LONG),
        ({"runs": [{"state": "Failed", "message": "as it was told"}]}, 0, "as it was told"),
    ],
)
def test_a_run_that_ends_by_its_deadline_keeps_what_its_pod_waited_for(status: Any, pods: int, message: str) -> None:
    stage = scene.ready()
    (job,) = stage.jobs("ingest")
    ref = Ref.of(job)
    stage.cluster.change(ref, {"status": jobs.over("Failed", reason="DeadlineExceeded")})
    waiting = jobs.pod(job)
    waiting["status"] = {"phase": "Pending", "conditions": [{"type": "PodScheduled", "status": "False", **NO_CLAIM}]}
    if pods:
        stage.cluster.put(waiting)
    for run in status.get("runs", []):
        run.update(id="default/cities/nonce/1", job=ref.name)
    stage.cluster.change(Ref("Pipeline", "default", "cities"), {"status": status})
    (run,) = [run for run in observe.of(stage.graph("Pipeline", "cities")).runs if run.job == ref.name]
    assert run.message == message


def test_each_job_is_seen_once_and_what_is_no_run_not_at_all() -> None:
    job, stray = jobs.job(), jobs.job("stray")
    del stray["metadata"]["labels"][objects.PURPOSE]
    seen = observe.runs([job, job, stray, {"kind": "ConfigMap", "metadata": {"uid": "1"}}], {})
    assert [run.job for run in seen.runs] == ["cities-ingest-1"]


def test_runs_come_newest_first_and_are_found_by_id_and_purpose() -> None:
    first = jobs.job("a", created=jobs.BEGAN, annotations={objects.RUN_ID: "run", objects.ATTEMPT: "1"})
    second = jobs.job("b", created=jobs.BEGAN, annotations={objects.RUN_ID: "run", objects.ATTEMPT: "2"})
    other = jobs.job("c", created=jobs.ENDED, purpose="migrate")
    seen = observe.runs([first, second, other], {})
    assert [run.job for run in seen.runs] == ["c", "b", "a"]
    newest = seen.by_id("run")
    assert newest is not None
    assert newest.attempt == 2
    assert [run.job for run in seen.of("migrate")] == ["c"]
