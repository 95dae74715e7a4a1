"""Fresh: by the newest run that confirmed a table, changed exactly when its time is over, and written once."""

from typing import Any

from penstock.control.cluster.port import Ref
from penstock.language import times
from penstock.runs.report import Counts, DatasetReport
from support import jobs, manifests, scene
from support.scene import Scene

CITIES = Ref("Dataset", "default", "cities")


def _stage(**dataset: Any) -> Scene:
    stage = scene.ready()
    stage.apply(manifests.dataset(**{"freshness": "2h", **dataset}))
    stage.settle()
    return stage


def _run(stage: Scene, nonce: str, state: str = "Unchanged", **entry: Any) -> None:
    stage.apply(manifests.pipeline(runNonce=nonce))
    stage.settle()
    job = next(job for job in stage.jobs("ingest") if "status" not in job)
    report = DatasetReport(**{"name": "cities", "state": state, "counts": Counts(), "rows": 3, **entry})
    failed: dict[str, Any] = {"state": "Failed", "reason": "WrongSpecification"} if state == "Failed" else {}
    run = f"default/cities/nonce/{nonce}"
    stage.finish(job, jobs.report(run=run, finished_at=stage.cluster.now, datasets=[report], **failed))
    stage.settle()


def _fresh(stage: Scene) -> tuple[str, str]:
    condition = stage.condition("Dataset", "cities", "Fresh")
    return condition["status"], condition["reason"]


def test_without_freshness_there_is_no_such_condition() -> None:
    stage = scene.ready()
    assert "Fresh" not in [one["type"] for one in stage.status("Dataset", "cities")["conditions"]]


def test_before_any_run_it_is_unknown_and_then_false() -> None:
    stage = _stage()
    assert _fresh(stage) == ("Unknown", "NeverRan")
    stage.wait(7200)
    stage.settle()
    assert _fresh(stage) == ("False", "Stale")


def test_a_run_that_finds_nothing_new_confirms_the_table_and_one_that_fails_does_not() -> None:
    stage = _stage()
    _run(stage, "1", "Written")
    assert _fresh(stage) == ("True", "Succeeded")
    for nonce in ("2", "3"):
        stage.wait(7000)
        _run(stage, nonce)
        assert _fresh(stage) == ("True", "Succeeded")
    stage.wait(7000)
    _run(stage, "4", "Failed")
    stage.wait(201)
    stage.settle()
    assert _fresh(stage) == ("False", "Stale")


def test_a_run_that_was_carried_out_before_confirms_only_that_time() -> None:
    stage = _stage()
    committed = stage.cluster.now
    stage.wait(7201)
    _run(stage, "1", "Written", earlier=True, committed_at=committed)
    assert _fresh(stage) == ("False", "Stale")


def test_it_is_looked_at_exactly_when_its_time_is_over_and_written_once() -> None:
    stage = _stage()
    _run(stage, "1", "Written")
    confirmed = times.parse(stage.status("Dataset", "cities")["lastConfirmedTime"])
    again = stage.reconcile("Dataset", "cities")
    assert again is not None
    assert (again - confirmed).total_seconds() == 7200
    stage.wait((again - stage.now).total_seconds() - 1)
    assert stage.restarted().settle() == []
    stage.wait(1)
    written = [call.ref for call in stage.settle() if call.verb == "patch_status"]
    assert written == [CITIES]
    stage.wait(86400)
    assert stage.restarted().settle() == []


def test_a_dataset_of_the_version_before_is_fresh_by_its_newest_load() -> None:
    stage = _stage()
    stage.cluster.change(CITIES, {"status": {"lastLoadTime": stage.cluster.now}})
    stage.settle()
    assert _fresh(stage) == ("True", "Succeeded")


def test_a_suspended_dataset_ages_too() -> None:
    stage = _stage(suspend=True)
    stage.wait(7200)
    stage.settle()
    assert _fresh(stage) == ("False", "Stale")
