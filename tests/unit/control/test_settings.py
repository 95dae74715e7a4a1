"""What is repeated, when and how often: the delays of the settings, and what an invalid spec still asks for."""

from typing import Any

import pytest

from penstock.control.cluster.port import Ref
from penstock.runs.report import Commit
from support import jobs, manifests, scene
from support.scene import Scene


def _failing(reason: str, purpose: str = "inspect-source") -> Scene:
    stage = scene.quickstart() if purpose == "inspect-source" else scene.ready()
    stage.settle()
    for job in stage.jobs(purpose):
        if "status" not in job:
            stage.finish(job, jobs.report(purpose, state="Failed", reason=reason, message="why"))
    stage.settle()
    return stage


def _moments(stage: Scene, purpose: str, reason: str, seconds: int) -> list[int]:
    """When repetitions begin, in seconds from now, if each fails as the one before did."""
    moments = []
    for second in range(1, seconds + 1):
        stage.wait(1)
        before = len(stage.jobs(purpose))
        stage.settle()
        for job in stage.jobs(purpose)[before:]:
            moments.append(second)
            stage.finish(job, jobs.report(purpose, state="Failed", reason=reason, message="why"))
    return moments


def test_a_late_secret_is_noticed_within_seconds_and_one_that_never_comes_costs_ever_less() -> None:
    assert _moments(_failing("SecretMissing"), "inspect-source", "SecretMissing", 60) == [2, 6, 14, 29, 59]


def test_what_is_down_is_asked_with_the_backoff_alone() -> None:
    assert _moments(_failing("Unreachable"), "inspect-source", "Unreachable", 60) == [15, 45]


@pytest.mark.parametrize("purpose", ["inspect-source", "migrate"])
def test_a_spec_that_cannot_work_gets_no_more_pods_until_it_changes(purpose: str) -> None:
    stage = scene.quickstart()
    stage.settle()
    if purpose == "migrate":
        for job in stage.jobs():
            if job["metadata"]["labels"]["penstock.dev/purpose"] != purpose:
                stage.finish(job)
        stage.settle()
    (job,) = stage.jobs(purpose)
    stage.finish(job, jobs.report(purpose, state="Failed", reason="InvalidSpec", message="why"))
    stage.settle()
    for _ in range(20):
        stage.wait(600)
        assert stage.settle() == []
    assert stage.restarted().settle() == []
    stage.cluster.remove(Ref.of(job))  # only status has it now
    stage.wait(600)
    stage.settle()
    assert len(stage.jobs(purpose)) == 0
    if purpose == "migrate":
        stage.apply(manifests.dataset(description="another"))
    else:
        stage.apply(manifests.source(glob="*.tsv"))
    stage.settle()
    assert len(stage.jobs(purpose)) == 1


def test_a_nonce_that_was_asked_for_ends_though_the_spec_is_invalid_by_then() -> None:
    stage = scene.ready(runNonce="7", identity="ours")
    stage.apply(manifests.pipeline(runNonce="7", identity="ours", retries="many"))
    stage.settle()
    assert stage.status("Pipeline", "cities")["lastRun"]["state"] == "Running", "what runs goes on"
    stage.finish(stage.jobs("ingest")[0])
    stage.settle()
    status = stage.status("Pipeline", "cities")
    assert (status["handledRunNonce"], status["lastRun"]["id"]) == ("7", "ours/nonce/7")
    stage.apply(manifests.pipeline(runNonce="7", identity="ours"))
    stage.settle()
    assert len(stage.jobs("ingest")) == 1


def test_a_nonce_in_an_invalid_spec_is_carried_out_when_the_spec_is_mended() -> None:
    stage = scene.ready(runNonce="1")
    stage.finish(stage.jobs("ingest")[0])
    stage.settle()
    stage.apply(manifests.pipeline(runNonce="2", retries="many"))
    stage.settle()
    assert stage.status("Pipeline", "cities")["handledRunNonce"] == "1"
    stage.apply(manifests.pipeline(runNonce="2"))
    stage.settle()
    assert stage.status("Pipeline", "cities")["lastRun"]["id"] == "default/cities/nonce/2"


@pytest.mark.parametrize("spec", [{"runNonce": 7}, {"runNonce": "x" * 500}, {"identity": []}, {"history": "many"}])
def test_an_invalid_request_is_no_request_and_stops_nothing(spec: dict[str, Any]) -> None:
    stage = scene.ready(runNonce="1")
    stage.finish(stage.jobs("ingest")[0])
    stage.settle()
    stage.apply(manifests.pipeline(**spec))
    stage.settle()
    assert stage.condition("Pipeline", "cities", "Ready")["reason"] == "InvalidSpec"


def _without_report(stage: Scene, purpose: str) -> None:
    (job,) = stage.jobs(purpose)
    stage.cluster.change(Ref.of(job), {"status": jobs.over("Complete", stage.cluster.now)})
    stage.settle()


def test_a_run_whose_report_is_lost_is_settled_by_a_repetition() -> None:
    stage = scene.ready()
    _without_report(stage, "ingest")
    assert stage.status("Pipeline", "cities")["lastRun"]["reason"] == "ReportLost"
    stage.wait(2)
    stage.settle()
    _first, again = stage.jobs("ingest")
    assert again["metadata"]["annotations"]["penstock.dev/run-id"] == "default/cities/nonce/1"
    entry = (
        jobs.report()
        .datasets[0]
        .model_copy(
            update={
                "earlier": True,
                "committed_at": jobs.BEGAN,
                "tail": [Commit(run="r", at=jobs.BEGAN, loaded=3, quarantined=0)],
            }
        )
    )
    stage.finish(again, jobs.report(datasets=[entry]))
    stage.settle()
    status = stage.status("Pipeline", "cities")
    assert (status["lastRun"]["state"], status["lastRun"]["rowsLoaded"]) == ("Succeeded", 3)
    assert status["handledRunNonce"] == "1"
    assert stage.status("Dataset", "cities")["lastLoadTime"] == jobs.BEGAN
    stage.wait(3600)
    stage.settle()
    assert len(stage.jobs("ingest")) == 2


def test_a_migration_whose_report_is_lost_is_repeated_because_it_tells_of_loads() -> None:
    stage = scene.quickstart()
    stage.settle()
    for job in stage.jobs():
        if job["metadata"]["labels"]["penstock.dev/purpose"] != "migrate":
            stage.finish(job)
    stage.settle()
    _without_report(stage, "migrate")
    stage.wait(2)
    stage.settle()
    assert len(stage.jobs("migrate")) == 2
    stage.finish(stage.jobs("migrate")[1])
    stage.settle()
    assert stage.condition("Dataset", "cities", "Ready")["status"] == "True"
    stage.wait(3600)
    assert stage.settle() == []
