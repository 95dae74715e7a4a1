"""trigger.after: a load starts one run, also across restarts; none is missed, none is repeated, and no run itself."""

from typing import Any

import pytest

from penstock.api import objects
from penstock.control.cluster.port import Manifest, Ref
from support import jobs, manifests, scene
from support.scene import Scene

UPSTREAM = Ref("Dataset", "default", "upstream")


def _after(*names: str) -> Manifest:
    return {"after": [{"datasetRef": {"name": name}} for name in names or ("upstream",)]}


def _stage(**pipeline: Any) -> Scene:
    """The Pipeline `cities` runs after loads of the Datasets `upstream` and `second`, which have no data yet."""
    stage = scene.ready(runNonce="")
    stage.apply(manifests.dataset("upstream"), manifests.dataset("second"))
    stage.settle()
    for job in stage.jobs("migrate"):
        if "status" not in job:
            stage.finish(job)
    stage.apply(manifests.pipeline(**{"runNonce": "", "trigger": _after("upstream", "second"), **pipeline}))
    stage.settle()
    return stage


def _load(stage: Scene, name: str = "upstream", seconds: int = 60) -> str:
    """A run of somebody else's loads a Dataset; returns when."""
    stage.wait(seconds)
    at = stage.cluster.now
    stage.cluster.change(Ref("Dataset", "default", name), {"status": {"lastLoadTime": at}})
    return at


def _runs(stage: Scene) -> list[str]:
    return [job["metadata"]["annotations"][objects.SLOT] for job in stage.jobs("ingest")]


def _finish(stage: Scene, **report: Any) -> None:
    job = next(job for job in stage.jobs("ingest") if "status" not in job)
    run = job["metadata"]["annotations"][objects.RUN_ID]
    stage.finish(job, jobs.report(run=run, **report))
    stage.settle()


def test_nothing_runs_before_there_is_a_load() -> None:
    stage = _stage()
    assert stage.jobs("ingest") == []
    assert "handledLoads" not in stage.status("Pipeline", "cities")


def test_each_load_starts_one_run_and_status_says_which_it_counts_for() -> None:
    stage = _stage()
    first = _load(stage)
    stage.settle()
    assert _runs(stage) == [f"after/upstream/{first}"]
    status = stage.status("Pipeline", "cities")
    assert status["handledLoads"] == [{"dataset": "upstream", "load": first}]
    assert status["lastRun"]["trigger"] == "after"
    assert status["conditions"][0]["message"] == "runs after each load of upstream or second"
    _finish(stage)
    stage.settle()
    second = _load(stage, "second")
    stage.settle()
    assert _runs(stage)[1:] == [f"after/second/{second}"]


def test_loads_during_a_run_start_one_run_after_it() -> None:
    stage = _stage()
    first = _load(stage)
    stage.settle()
    for name in ("upstream", "second", "upstream"):
        last = _load(stage, name)
        stage.settle()
    assert _runs(stage) == [f"after/upstream/{first}"]
    _finish(stage)
    assert _runs(stage)[1:] == [f"after/upstream/{last}"]
    _finish(stage)
    stage.wait(3600)
    stage.settle()
    assert len(_runs(stage)) == 2


def test_a_load_while_a_run_waits_is_that_runs_own() -> None:
    """It reads what is there when it starts."""
    stage = _stage()
    stage.apply(manifests.pipeline("twin", runNonce="1"))  # writes the same Dataset
    stage.settle()
    first = _load(stage)
    stage.settle()
    second = _load(stage)
    stage.settle()
    _finish(stage)
    assert _runs(stage) == ["nonce/1", f"after/upstream/{first}"]
    assert stage.status("Pipeline", "cities")["handledLoads"] == [{"dataset": "upstream", "load": second}]
    _finish(stage)
    assert len(_runs(stage)) == 2


def test_a_run_that_something_else_started_after_a_load_counts_for_it() -> None:
    stage = _stage(suspend=True)
    _load(stage)
    stage.settle()
    stage.apply(manifests.pipeline(runNonce="now", trigger=_after()))
    stage.settle()
    assert _runs(stage) == ["nonce/now"]
    _finish(stage)
    assert _runs(stage) == ["nonce/now"]


@pytest.mark.parametrize("when", ["before", "during", "after"])
def test_a_restart_misses_no_load_and_repeats_none(when: str) -> None:
    stage = _stage()
    at = _load(stage)
    if when != "before":
        stage.settle()
    if when == "after":
        _finish(stage)
        for job in stage.jobs("ingest"):  # also where its Job is gone
            stage.cluster.remove(Ref.of(job))
    stage = stage.restarted()
    stage.settle()
    assert _runs(stage) == ([] if when == "after" else [f"after/upstream/{at}"])
    assert stage.restarted().settle() == []


def test_suspended_it_keeps_the_loads_and_runs_once_for_all_of_them() -> None:
    stage = _stage(suspend=True)
    for _ in range(3):
        last = _load(stage)
        stage.settle()
    assert _runs(stage) == []
    stage.apply(manifests.pipeline(runNonce="", trigger=_after()))
    stage.settle()
    assert _runs(stage) == [f"after/upstream/{last}"]


def test_a_cancelled_run_stays_so_until_the_next_load() -> None:
    stage = _stage()
    _load(stage)
    stage.settle()
    stage.cluster.remove(Ref.of(stage.jobs("ingest")[0]))
    stage.settle()
    assert _runs(stage) == []
    assert stage.status("Pipeline", "cities")["lastRun"]["state"] == "Cancelled"
    at = _load(stage)
    stage.settle()
    assert _runs(stage) == [f"after/upstream/{at}"]


def test_a_run_that_failed_for_an_outside_cause_is_tried_again_and_counts_for_newer_loads() -> None:
    stage = _stage()
    _load(stage)
    stage.settle()
    _finish(stage, state="Failed", reason="Unreachable", message="no route", datasets=[])
    stage.wait(3600)
    stage.settle()
    assert len(_runs(stage)) == 2
    assert len({job["metadata"]["annotations"][objects.RUN_ID] for job in stage.jobs("ingest")}) == 1


def test_a_suspended_or_broken_upstream_dataset_holds_no_run_up() -> None:
    stage = _stage()
    stage.apply(manifests.dataset("upstream", suspend=True))
    at = _load(stage)
    stage.settle()
    assert _runs(stage) == [f"after/upstream/{at}"]


def test_a_subscription_delivers_after_each_load() -> None:
    stage = _stage(suspend=True)
    stage.apply(manifests.outbox(), manifests.subscription(trigger=_after("cities")))
    stage.settle()
    stage.finish(stage.jobs("inspect-destination")[-1])
    first = _load(stage, "cities")
    stage.settle()
    (job,) = stage.jobs("deliver")
    assert job["metadata"]["annotations"][objects.SLOT] == "first"
    assert stage.status("Subscription", "cities")["handledLoads"] == [{"dataset": "cities", "load": first}]
    stage.finish(job)
    stage.settle()
    assert len(stage.jobs("deliver")) == 1
    second = _load(stage, "cities")
    stage.settle()
    assert stage.jobs("deliver")[1]["metadata"]["annotations"][objects.SLOT] == f"after/cities/{second}"


# ── Pipelines that start each other ──


def _chain(*links: tuple[str, str, str]) -> list[Manifest]:
    """Pipelines as (name, the Dataset it runs after, the Dataset it loads)."""
    return [
        manifests.pipeline(
            name,
            runNonce="",
            trigger=_after(after),
            datasets=[{"datasetRef": {"name": loads}, "sync": "incremental"}],
        )
        for name, after, loads in links
    ]


def test_a_pipeline_that_runs_after_its_own_dataset_is_invalid() -> None:
    stage = _stage()
    stage.apply(*_chain(("own", "upstream", "upstream")))
    _load(stage)
    stage.settle()
    ready = stage.condition("Pipeline", "own", "Ready")
    assert (ready["status"], ready["reason"]) == ("False", "InvalidSpec")
    assert "each run would start another" in ready["message"]
    assert not [job for job in stage.jobs("ingest") if job["metadata"]["labels"][objects.OWNER_NAME] == "own"]


def test_each_pipeline_of_a_cycle_is_invalid_and_valid_again_when_it_is_opened() -> None:
    stage = _stage(trigger=_after("second"))
    stage.apply(manifests.dataset("third"))
    stage.apply(*_chain(("a", "upstream", "second"), ("b", "second", "third"), ("aside", "upstream", "cities")))
    stage.settle()
    assert stage.condition("Pipeline", "b", "Ready")["reason"] != "InvalidSpec"
    stage.store.triggers.take_concerned()
    (closing,) = _chain(("c", "third", "upstream"))
    stage.apply(closing)
    stage.see()
    concerned = {key.name for key in stage.store.triggers.take_concerned()}
    assert {"a", "b"} <= concerned, "the others of a cycle are looked at when one closes it"
    stage.settle()
    for name in ("a", "b", "c"):
        ready = stage.condition("Pipeline", name, "Ready")
        assert ready["reason"] == "InvalidSpec"
        assert "start each other without end" in ready["message"]
    assert stage.condition("Pipeline", "aside", "Ready")["reason"] != "InvalidSpec"
    stage.apply(manifests.pipeline("c", runNonce="", datasets=closing["spec"]["datasets"]))
    stage.see()
    assert {"a", "b"} <= {key.name for key in stage.store.triggers.take_concerned()}
    stage.settle()
    assert stage.condition("Pipeline", "a", "Ready")["reason"] != "InvalidSpec"


def test_a_load_has_only_those_looked_at_that_run_after_it() -> None:
    stage = _stage()
    stage.store.triggers.take_concerned()
    stage.store.take_changed()
    _load(stage)
    stage.see()
    assert {key.name for key in stage.store.triggers.take_concerned()} == {"cities"}


def test_a_missing_dataset_is_named_and_its_creation_is_seen() -> None:
    stage = _stage(trigger=_after("later"))
    ready = stage.condition("Pipeline", "cities", "Ready")
    assert (ready["reason"], "later" in ready["message"]) == ("DatasetNotFound", True)
    key = objects.key_of(manifests.dataset("later") | {"metadata": {"namespace": "default", "name": "later"}})
    assert {one.name for one in stage.store.referrers(key)} == {"cities"}
