"""`penstock cancel` ends what runs, waits or is to be tried again, and nothing else; it is not begun again."""

import asyncio
from typing import Any

import pytest

from penstock.api import objects
from penstock.cli import cancel
from penstock.control.cluster.port import Ref
from support import jobs, manifests, scene
from support.scene import Scene

PIPELINE = Ref("Pipeline", "default", "cities")


def _cancel(stage: Scene) -> list[str]:
    return asyncio.run(cancel.end_runs(stage.cluster, stage.cluster.read(PIPELINE)))


def _later(stage: Scene) -> None:
    for _ in range(3):
        stage.wait(3600)
        stage.settle()


@pytest.mark.parametrize("waits", [False, True])
def test_a_run_that_runs_or_waits_is_cancelled_and_stays_so(waits: bool) -> None:
    stage = scene.ready()
    if waits:
        limited = manifests.source()
        limited["spec"]["maxConcurrentRuns"] = 1
        stage.apply(limited, manifests.pipeline("other"))
        stage.settle()
    (name,) = (job["metadata"]["name"] for job in stage.jobs("ingest") if "cities" in job["metadata"]["name"])
    assert _cancel(stage) == [f"1 run cancelled (Job {name})"]
    _later(stage)
    assert stage.status("Pipeline", "cities")["runs"][0]["state"] == "Cancelled"
    assert [job for job in stage.jobs("ingest") if job["metadata"]["labels"][objects.OWNER_NAME] == "cities"] == []


@pytest.mark.parametrize(
    ("report", "done"),
    [({"reason": "Unreachable"}, True), ({"reason": "WrongSpecification"}, False)],
)
def test_a_failed_run_that_is_to_be_tried_again_is_not(report: Any, done: bool) -> None:
    stage = scene.ready()
    stage.finish(stage.jobs("ingest")[0], jobs.report(state="Failed", datasets=[], message="x", **report))
    stage.settle()
    assert bool(_cancel(stage)) is done
    _later(stage)
    assert len(stage.jobs("ingest")) == (0 if done else 1)


def test_what_has_ended_and_what_is_no_run_stays() -> None:
    stage = scene.ready()
    stage.finish(stage.jobs("ingest")[0])
    stage.settle()
    before = len(stage.jobs())
    assert _cancel(stage) == []
    assert len(stage.jobs()) == before
