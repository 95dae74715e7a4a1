"""What a run meets at a Source or a Destination corrects what their last inspection found."""

from dataclasses import replace
from typing import Any

import pytest

from penstock.api import objects
from penstock.control.cluster.port import Manifest, Ref
from penstock.runs.report import StreamReport
from support import jobs, manifests, scene
from support.scene import Scene


def _inspect(stage: Scene, name: str, **changes: Any) -> None:
    """The newest inspection of an object ends."""
    kind = "inspect-destination" if name == "lake" else "inspect-source"
    newest = _inspections(stage, name)[-1]
    failed = {} if not changes else {"told": jobs.report(kind, finished_at=stage.cluster.now, **changes)}
    stage.finish(newest, **failed)


def _inspections(stage: Scene, name: str) -> list[Manifest]:
    every = [*stage.jobs("inspect-source"), *stage.jobs("inspect-destination")]
    return [job for job in every if job["metadata"]["labels"][objects.OWNER_NAME] == name]


def _fail(stage: Scene, reason: str) -> None:
    """The newest ingest fails, one minute after everything else."""
    stage.wait(60)
    told = jobs.report(state="Failed", reason=reason, message="no route", datasets=[], finished_at=stage.cluster.now)
    stage.finish(stage.jobs("ingest")[-1], told)
    stage.settle()


@pytest.mark.parametrize("reason", ["Unreachable", "Timeout", "WrongCredentials", "SecretMissing"])
def test_a_run_that_cannot_reach_its_systems_has_them_inspected_again(reason: str) -> None:
    stage = scene.ready()
    counts = {name: len(_inspections(stage, name)) for name in ("cities", "lake")}
    _fail(stage, reason)
    assert {name: len(_inspections(stage, name)) for name in counts} == {name: n + 1 for name, n in counts.items()}
    assert stage.restarted().settle() == []
    stage.wait(5)
    _inspect(stage, "cities", state="Failed", reason=reason, message="no route")
    _inspect(stage, "lake")
    stage.settle()
    reachable = stage.condition("Source", "cities", "Reachable")
    assert (reachable["status"], reachable["reason"]) == ("False", reason)
    assert stage.condition("Destination", "lake", "Reachable")["status"] == "True"
    assert len(_inspections(stage, "lake")) == counts["lake"] + 1, "it has been inspected since that run"


def test_the_first_repetition_of_a_failed_inspection_comes_as_soon_after_many_as_after_none() -> None:
    stage = scene.ready()
    for _ in range(4):
        _fail(stage, "Unreachable")
        stage.wait(20)
        for name in ("cities", "lake"):
            _inspect(stage, name)
        stage.settle()
        stage.wait(600)
        stage.settle()
    assert _inspections(stage, "cities")[-1]["metadata"]["annotations"][objects.ATTEMPT] == "5"
    _fail(stage, "Unreachable")
    _inspect(stage, "cities", state="Failed", reason="Unreachable", message="no route")
    stage.settle()
    ended = stage.status("Source", "cities")["lastCheckTime"]
    retry = stage.status("Source", "cities")["inspection"]["retryTime"]
    stage.cluster.now = ended
    stage.wait(stage.settings.retry_seconds)
    assert retry == stage.cluster.now
    stage.settle()
    _inspect(stage, "cities", state="Failed", reason="Unreachable", message="no route")
    ended = stage.cluster.now
    stage.settle()
    stage.cluster.now = ended
    stage.wait(2 * stage.settings.retry_seconds)
    assert stage.status("Source", "cities")["inspection"]["retryTime"] == stage.cluster.now


@pytest.mark.parametrize("reason", ["TooManyBadRows", "StorageFull", "OutOfMemory", "UnknownError"])
def test_a_run_that_fails_otherwise_inspects_nothing(reason: str) -> None:
    stage = scene.ready()
    before = len(_inspections(stage, "cities")), len(_inspections(stage, "lake"))
    _fail(stage, reason)
    assert (len(_inspections(stage, "cities")), len(_inspections(stage, "lake"))) == before


def test_a_run_that_ended_before_the_inspection_says_nothing_about_it() -> None:
    stage = scene.ready()
    told = jobs.report(state="Failed", reason="Unreachable", message="no route", datasets=[])
    stage.finish(stage.jobs("ingest")[-1], told)
    stage.cluster.change(Ref.of(stage.jobs("ingest")[-1]), {"status": jobs.over("Failed", "2020-01-01T00:00:00Z")})
    before = len(_inspections(stage, "cities"))
    stage.settle()
    assert len(_inspections(stage, "cities")) == before


def test_what_a_load_lists_is_the_number_of_files() -> None:
    stage = scene.quickstart()
    stage.settle()
    inspected = jobs.report("inspect-source", streams=[StreamReport(name="cities", fields=3, files=2)])
    stage.finish(_inspections(stage, "cities")[-1], inspected)
    _inspect(stage, "lake")
    stage.settle()
    stage.finish(stage.jobs("migrate")[-1])
    stage.settle()
    assert stage.status("Source", "cities")["streams"] == [{"name": "cities", "fields": 3, "files": 2}]
    stage.wait(60)
    listed = [StreamReport(name="cities", files=7), StreamReport(name="another", files=1)]
    stage.finish(stage.jobs("ingest")[-1], jobs.report(streams=listed, finished_at=stage.cluster.now))
    for state in (stage, stage.restarted()):
        state.settle()
        assert stage.status("Source", "cities")["streams"] == [{"name": "cities", "fields": 3, "files": 7}]
        assert stage.condition("Source", "cities", "Discovered")["message"] == "cities: 3 fields in 7 files"
    stage.cluster.remove(Ref.of(stage.jobs("ingest")[-1]))
    stage.settle()
    assert stage.status("Source", "cities")["streams"][0]["files"] == 7, "the Job is gone, status has it"


def test_another_worker_image_retries_nothing_and_is_used_by_the_next_run() -> None:
    stage = scene.ready()
    _fail(stage, "TooManyBadRows")
    jobs_before = {job["metadata"]["name"] for job in stage.jobs()}
    upgraded = stage.restarted()
    upgraded.settings = replace(upgraded.settings, worker_image="penstock:next")
    upgraded.settle()
    assert {job["metadata"]["name"] for job in stage.jobs()} == jobs_before
    stage.apply(manifests.pipeline(runNonce="2"))
    upgraded.settle()
    (job,) = [job for job in stage.jobs() if job["metadata"]["name"] not in jobs_before]
    assert job["spec"]["template"]["spec"]["containers"][0]["image"] == "penstock:next"


def test_a_run_that_waits_during_an_upgrade_starts_with_the_new_image() -> None:
    stage = scene.ready()
    stage.finish(stage.jobs("ingest")[-1])
    stage.settle()
    stage.apply(manifests.pipeline("other", runNonce="1"))
    stage.apply(manifests.pipeline(runNonce="2"))
    stage.settle()
    waiting = {job["metadata"]["name"] for job in stage.jobs("ingest") if job["spec"].get("suspend")}
    assert len(waiting) == 1, "one writes the Dataset, the other waits"
    upgraded = stage.restarted()
    upgraded.settings = replace(upgraded.settings, worker_image="penstock:next")
    upgraded.settle()
    (running,) = [job for job in stage.jobs("ingest") if not job["spec"].get("suspend") and "status" not in job]
    stage.finish(running)
    upgraded.settle()
    (running,) = [job for job in stage.jobs("ingest") if not job["spec"].get("suspend") and "status" not in job]
    assert running["spec"]["template"]["spec"]["containers"][0]["image"] == "penstock:next"
