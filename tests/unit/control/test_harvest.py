"""Sixteen Datasets of the longest names: decisions need the termination message alone; the log adds what is shown."""

import asyncio
from typing import Any

import pytest

from penstock.control import harvest, observe
from penstock.control.cluster.port import ClusterError, Manifest, Ref
from penstock.control.cluster.port import NotFound as Gone
from penstock.runs import report, summary
from penstock.runs.report import Commit, Counts, DatasetReport, RunReport
from support import jobs, manifests, scene
from support.fakecluster import Call, FakeCluster
from support.scene import Scene

NAMES = [f"{number:02}-{'d' * 60}" for number in range(16)]
FIRST, LAST = NAMES[0], NAMES[-1]
PIPELINE = "p" * 63


def _sixteen() -> Scene:
    """A Pipeline of 16 Datasets whose tables are there, and whose run has begun."""
    stage = Scene()
    entries = [{"datasetRef": {"name": name}, "sync": "incremental"} for name in NAMES]
    datasets = [manifests.dataset(name, table=f"t{number}") for number, name in enumerate(NAMES)]
    stage.apply(
        manifests.source(),
        manifests.lake(),
        manifests.outbox(),
        *datasets,
        manifests.pipeline(PIPELINE, datasets=entries),
        manifests.subscription("s" * 63, datasetRef={"name": LAST}),
    )
    for _ in range(2):
        stage.settle()
        for job in stage.jobs():
            if "status" not in job and job["metadata"]["labels"]["penstock.dev/purpose"] != "ingest":
                stage.finish(job)
    stage.settle()
    assert len(stage.jobs("ingest")) == 1
    return stage


def _entry(name: str, **changes: Any) -> DatasetReport:
    fields: dict[str, Any] = {
        "state": "Written",
        "counts": Counts(read=10**11, loaded=10**11 - 1, quarantined=1, files=7, bytes=10**12),
        "rows": 10**11,
        "bytes": 10**12,
        "quarantined": 5,
        "columns": [{"name": "c" * 100, "type": "timestamptz"} for _ in range(64)],
        "tail": [Commit(run="r" * 253, at=jobs.ENDED, loaded=10**11, quarantined=1)],
    }
    return DatasetReport.model_validate({"name": name, **fields, **changes})


def _finish(stage: Scene, told: RunReport, *, log: bool = False) -> Manifest:
    (job,) = stage.jobs("ingest")
    text = summary.encode(told, NAMES)
    assert len(text.encode()) <= 2048
    stage.cluster.put(jobs.pod(job, exitCode=0 if told.state == "Succeeded" else 2, message=text))
    if log:
        stage.cluster.logs[f"{job['metadata']['name']}-1"] = f"12:00:00 a line\n{report.details(told)}\n"
    reason = "PodFailurePolicy" if told.state == "Failed" else ""
    over = jobs.over("Failed" if told.state == "Failed" else "Complete", stage.cluster.now, reason)
    stage.cluster.change(Ref.of(job), {"status": over})
    stage.settle()
    return job


def test_without_the_log_every_decision_is_right_and_the_first_delivery_starts() -> None:
    stage = _sixteen()
    _finish(stage, jobs.report(datasets=[_entry(name) for name in NAMES]))
    assert len(stage.jobs("deliver")) == 1
    run = stage.status("Pipeline", PIPELINE)["lastRun"]
    assert (run["state"], run["rowsRead"], run["files"], run["bytes"]) == ("Succeeded", 16 * 10**11, 112, 16 * 10**12)
    assert stage.status("Pipeline", PIPELINE)["handledRunNonce"] == "1"
    for name in NAMES:
        status = stage.status("Dataset", name)
        assert (status["rows"], status["lastLoadTime"]) == (10**11, jobs.ENDED)
        assert stage.condition("Dataset", name, "QualityOK")["status"] == "True"
    assert stage.settle() == []
    assert stage.restarted().settle() == []


def test_without_the_log_one_of_sixteen_that_failed_is_told_from_the_others() -> None:
    stage = _sixteen()
    bad = _entry(FIRST, state="Failed", reason="TooManyBadRows", message="7 of 10 rows are bad", counts={}, tail=[])
    entries = [bad, *(_entry(name) for name in NAMES[1:])]
    _finish(stage, jobs.report(state="Failed", reason="TooManyBadRows", message=bad.message, datasets=entries))
    quality = {name: stage.condition("Dataset", name, "QualityOK")["reason"] for name in NAMES}
    assert quality == {FIRST: "TooManyBadRows", **dict.fromkeys(NAMES[1:], "Succeeded")}
    assert stage.condition("Dataset", FIRST, "QualityOK")["message"] == "7 of 10 rows are bad"
    assert len(stage.jobs("deliver")) == 1, "the Subscription is of another Dataset"
    states = [entry["state"] for entry in stage.status("Pipeline", PIPELINE)["datasets"]]
    assert states == ["Failed"] + ["Written"] * 15


def test_the_log_adds_what_is_shown_and_is_read_once() -> None:
    stage = _sixteen()
    tail = [Commit(run=f"default/{PIPELINE}/nonce/1", at=jobs.ENDED, loaded=10**11, quarantined=1)]
    job = _finish(stage, jobs.report(datasets=[_entry(name, tail=tail) for name in NAMES]), log=True)
    status = stage.status("Dataset", LAST)
    assert (len(status["columns"]), status["quarantinedRows"]) == (64, 5)
    assert stage.status("Pipeline", PIPELINE)["lastRun"]["rowsRead"] == 16 * 10**11
    log = Call("log", Ref("Pod", "default", f"{job['metadata']['name']}-1"))
    assert stage.settle() == []
    assert stage.cluster.calls.count(log) == 1, "one Pipeline and 16 Datasets show what is in it"
    assert stage.restarted().settle() == []
    assert stage.cluster.calls.count(log) == 1, "status has it"


def test_the_log_is_read_when_the_pod_has_ended_and_its_job_is_not_over_yet() -> None:
    stage = Scene()
    stage.apply(manifests.lake(), manifests.dataset())
    stage.settle()
    for inspection in stage.jobs("inspect-destination"):
        stage.finish(inspection)
    stage.settle()
    (job,) = stage.jobs("migrate")
    ready = DatasetReport.model_validate({**_entry("cities").model_dump(), "state": "Ready", "counts": {}, "tail": []})
    told = jobs.report(kind="migrate", datasets=[ready])
    stage.cluster.put(jobs.pod(job, exitCode=0, message=summary.encode(told, ["cities"])))
    stage.cluster.logs[f"{job['metadata']['name']}-1"] = f"{report.details(told)}\n"
    stage.settle()
    stage.cluster.change(Ref.of(job), {"status": jobs.over("Complete", stage.cluster.now, "")})
    stage.settle()
    assert len(stage.status("Dataset", "cities")["columns"]) == 64


@pytest.mark.parametrize("error", [Gone(404, "NotFound", "no Pod"), ClusterError(500, "", "kubelet is away")])
def test_a_log_that_cannot_be_read_delays_nothing(error: ClusterError) -> None:
    stage = _sixteen()
    (job,) = stage.jobs("ingest")
    stage.cluster.refuse[Call("log", Ref("Pod", "default", f"{job['metadata']['name']}-1"))] = error
    _finish(stage, jobs.report(datasets=[_entry(name) for name in NAMES]), log=True)
    assert stage.status("Pipeline", PIPELINE)["lastRun"]["state"] == "Succeeded"
    assert len(stage.jobs("deliver")) == 1


class _Silent(FakeCluster):
    """A cluster whose logs never come."""

    async def log(self, namespace: str, pod: str, tail: int | None = None) -> str:
        await asyncio.Event().wait()
        raise AssertionError((namespace, pod, tail))


def test_a_log_that_never_comes_is_given_up() -> None:
    stage = scene.ready()
    (job,) = stage.jobs("ingest")
    stage.finish(job)
    graph = stage.graph("Pipeline", "cities")
    seen = observe.of(graph)
    assert asyncio.run(harvest.details(graph, seen, harvest.Logs(), _Silent(), seconds=0.05)) == seen
