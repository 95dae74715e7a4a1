"""What another version wrote: kept where this one does not know it, and never a reason to stop."""

import copy
import json
from typing import Any

import pytest

from penstock.api import objects
from penstock.control.cluster.port import Manifest, Ref
from penstock.runs import summary
from support import jobs, scene
from support.scene import Scene

MOMENT = "2026-11-22T12:00:00Z"
NEWER: Manifest = {
    "observedGeneration": 1,
    "conditions": [
        {"type": kind, "status": "False", "reason": "QuotaOfTheMoon", "message": "?", "lastTransitionTime": MOMENT}
        for kind in ("Ready", "Reachable", "Discovered", "SchemaCurrent", "LastRunSucceeded", "QualityOK", "Fresh")
    ],
    "paused": {"since": MOMENT},
}
RUN: Manifest = {
    "id": "default/cities/nonce/0",
    "state": "Postponed",
    "reason": "QuotaOfTheMoon",
    "message": "the moon is full",
    "rowsInvented": 3,
    "startedAt": MOMENT,
}


def _inspection(**changes: Any) -> Manifest:
    return {"order": "of-a-newer-version", "attempt": 3, "state": "Postponed", "phase": 2, **changes}


STATUS: dict[str, Manifest] = {
    "Source": {**NEWER, "inspection": _inspection(), "streams": [{"name": "s", "fields": 1, "shards": 4}]},
    "Destination": {**NEWER, "inspection": _inspection(reason="QuotaOfTheMoon")},
    "Dataset": {**NEWER, "migration": _inspection(), "rows": 5, "columns": [{"name": "a", "type": "geo", "unit": "m"}]},
    "Pipeline": {**NEWER, "runs": [RUN, {"state": "Failed"}], "lastRun": RUN, "handledRunNonce": "0"},
    "Subscription": {**NEWER, "runs": [RUN], "deliveries": [{"run": "x", "rows": 1}], "handledRunNonce": "0"},
}


@pytest.mark.parametrize("kind", objects.KINDS)
def test_after_a_rollback_every_kind_is_worked_on_and_comes_to_rest(kind: str) -> None:
    stage = scene.whole()
    (manifest, *_) = stage.cluster.items(kind)
    ref = Ref.of(manifest)
    stage.cluster.change(ref, {"status": {**STATUS[kind], "lastRun": STATUS[kind].get("lastRun")}})
    fresh = stage.restarted()
    fresh.settle()
    assert fresh.settle() == []
    status = fresh.status(kind, ref.name)
    assert status["paused"] == {"since": MOMENT}, "what a newer version keeps there is not ours to remove"
    ready = fresh.condition(kind, ref.name, "Ready")
    assert ready["reason"] != "UnknownError", ready


def test_a_run_with_an_unknown_word_is_kept_and_not_repeated() -> None:
    stage = scene.ready(runNonce="0")
    for job in stage.jobs("ingest"):
        stage.cluster.remove(Ref.of(job))
    stage.cluster.change(Ref("Pipeline", "default", "cities"), {"status": {"runs": [RUN], "handledRunNonce": None}})
    fresh = stage.restarted()
    fresh.settle()
    (run,) = fresh.status("Pipeline", "cities")["runs"]
    assert {name: run[name] for name in ("id", "state", "reason", "message")} == {
        name: RUN[name] for name in ("id", "state", "reason", "message")
    }
    assert fresh.jobs("ingest") == []


@pytest.mark.parametrize("purpose", ["inspect-source", "migrate", "ingest"])
def test_a_report_with_an_unknown_reason_is_told_as_it_is(purpose: str) -> None:
    stage = scene.ready()
    (job,) = stage.jobs(purpose)
    told = json.loads(
        jobs.message(jobs.report(purpose, state="Failed", reason="UnknownError", message="the moon is full"))
    )
    told |= {"reason": "QuotaOfTheMoon", "phase": "full"}
    state: dict[str, Any] = {"exitCode": 2, "message": json.dumps(told)}
    again = _made_anew(stage, job)
    stage.cluster.put(jobs.pod(again, **state))
    stage.cluster.change(Ref.of(again), {"status": jobs.over("Failed", stage.cluster.now, "PodFailurePolicy")})
    stage.settle()
    kind, name = {"inspect-source": ("Source", "Reachable"), "migrate": ("Dataset", "Ready")}.get(
        purpose, ("Pipeline", "LastRunSucceeded")
    )
    condition = stage.condition(kind, "cities", name)
    assert (condition["status"] != "True", condition["reason"]) == (True, "QuotaOfTheMoon")
    assert condition["message"].startswith("the moon is full")


def _made_anew(stage: Scene, job: Manifest) -> Manifest:
    """The same Job once more, not over yet."""
    stage.cluster.remove(Ref.of(job))
    again = copy.deepcopy({name: job[name] for name in ("apiVersion", "kind", "metadata", "spec")})
    for name in ("uid", "resourceVersion", "creationTimestamp", "generation"):
        del again["metadata"][name]
    return stage.cluster.put(again)


@pytest.mark.parametrize("text", ["", "null", "[]", "{}", '{"kind":', '{"kind": "conquer"}', "[" * 100_000])
def test_what_is_no_report_counts_as_none(text: str) -> None:
    assert summary.decode(text) is None


@pytest.mark.parametrize(
    ("name", "value"),
    [(objects.ATTEMPT, "many"), (objects.ATTEMPT, ""), (objects.ATTEMPT, "9" * 5000), (objects.INTERVAL_END, "soon")],
)
def test_an_annotation_of_another_version_stops_nothing(name: str, value: str) -> None:
    stage = scene.ready()
    (job,) = stage.jobs("ingest")
    stage.cluster.change(Ref.of(job), {"metadata": {"annotations": {name: value}}})
    stage.finish(stage.jobs("ingest")[0])
    stage.settle()
    assert stage.status("Pipeline", "cities")["lastRun"]["state"] == "Succeeded"
