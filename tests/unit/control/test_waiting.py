"""Why a run that waits does not start: each cause, its object, and words that stay the same while it lasts."""

from typing import Any

import pytest

from penstock.control import waiting
from penstock.control.cluster.port import Ref
from penstock.control.resolve import Graph
from penstock.control.waiting import Obstacle
from support import jobs, manifests, scene
from support.scene import Scene


def _graph(stage: Scene) -> Graph:
    return stage.graph("Pipeline", "cities")


def _set_condition(stage: Scene, kind: str, name: str, condition: str, status: str, message: str = "") -> None:
    entry = {"type": condition, "status": status, "reason": "X", "message": message, "lastTransitionTime": jobs.BEGAN}
    stage.cluster.change(Ref(kind, "default", name), {"status": {"conditions": [entry]}})


def _startable() -> Scene:
    stage = scene.quickstart()
    _set_condition(stage, "Dataset", "cities", "Ready", "True")
    return stage


def test_a_run_may_start_when_all_it_needs_is_ready() -> None:
    assert waiting.obstacle(_graph(_startable()), "ingest", []) is None


@pytest.mark.parametrize("purpose", ["ingest", "deliver"])
@pytest.mark.parametrize(
    ("reason", "waits"), [("SchemaChanged", False), ("TableConflict", True), ("Progressing", True)]
)
def test_a_refused_change_of_a_schema_keeps_no_run_from_starting(purpose: Any, reason: str, waits: bool) -> None:
    stage = scene.quickstart()
    ready = {"type": "Ready", "status": "False", "reason": reason, "message": "x", "lastTransitionTime": jobs.BEGAN}
    stage.cluster.change(Ref("Dataset", "default", "cities"), {"status": {"conditions": [ready]}})
    assert (waiting.obstacle(_graph(stage), purpose, []) is not None) == waits


def test_each_obstacle_has_its_cause_and_its_object() -> None:
    stage = scene.quickstart()
    not_ready = Obstacle("NotReady", "Dataset cities is not ready yet", "Dataset/cities")
    assert waiting.obstacle(_graph(stage), "ingest", []) == not_ready
    stage = _startable()
    for message in ("no route to host", "Destination lake: no route to host"):
        _set_condition(stage, "Destination", "lake", "Reachable", "False", message)
        unreachable = Obstacle("Unreachable", "Destination lake is not reachable: no route to host", "Destination/lake")
        assert waiting.obstacle(_graph(stage), "ingest", []) == unreachable
    stage.apply(manifests.pipeline(suspend=True))
    suspended = Obstacle("Suspended", "Pipeline cities is suspended")
    assert waiting.obstacle(_graph(stage), "ingest", []) == suspended
    stage.apply(manifests.dataset(writeMode="replace"))
    invalid = waiting.obstacle(_graph(stage), "ingest", [])
    assert invalid is not None
    assert invalid.cause == "Invalid"
    assert "goes with writeMode append" in invalid.message


@pytest.mark.parametrize(
    ("purpose", "rival", "waits"),
    [
        ("ingest", "ingest", True),
        ("ingest", "migrate", True),
        ("ingest", "deliver", False),
        ("deliver", "ingest", False),
    ],
)
def test_a_dataset_has_one_writer_at_a_time_and_any_number_of_readers(purpose: Any, rival: Any, waits: bool) -> None:
    obstacle = waiting.obstacle(_graph(_startable()), purpose, [jobs.observed("other", purpose=rival, state="Running")])
    busy = Obstacle("DatasetBusy", "another run is writing the same Dataset")
    assert obstacle == (busy if waits else None)
