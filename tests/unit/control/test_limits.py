"""maxConcurrentRuns: never more runs than that, the oldest first, nobody held up needlessly, at the same cost for any
number of Jobs that wait."""

import asyncio
import copy
from collections import Counter
from typing import Any

import pytest

from penstock.api import objects
from penstock.api.objects import Key
from penstock.control import resolve
from penstock.control.cluster.port import Manifest, Ref
from penstock.control.gate import Gate
from support import jobs, manifests
from support.scene import Scene

SOURCE = Key("Source", "default", "cities")
LAKE = Key("Destination", "default", "lake")


def _limited(manifest: Manifest, limit: int | None) -> Manifest:
    changed = copy.deepcopy(manifest)
    changed["spec"]["maxConcurrentRuns"] = limit
    if limit is None:
        del changed["spec"]["maxConcurrentRuns"]
    return changed


def _pipeline(name: str, source: str = "cities", dataset: str = "", **spec: Any) -> Manifest:
    entry = {"datasetRef": {"name": dataset or name}, "sync": "incremental"}
    return manifests.pipeline(name, sourceRef={"name": source}, datasets=[entry], **spec)


def _stage(count: int, *, source: int | None = None, lake: int | None = None, **pipeline: Any) -> Scene:
    """Pipelines p0, p1, … of one Source, each into a Dataset of its own; all inspected and migrated, nothing run."""
    stage = Scene()
    stage.apply(_limited(manifests.source(), source), _limited(manifests.lake(), lake))
    stage.apply(*(manifests.dataset(f"p{number}") for number in range(count)))
    for _ in range(2):
        _settle(stage)
    stage.apply(*(_pipeline(f"p{number}", **{"runNonce": "", **pipeline}) for number in range(count)))
    stage.settle()
    return stage


def _settle(stage: Scene) -> None:
    """Settle, and end everything that is no run."""
    stage.settle()
    for job in stage.jobs():
        if "status" not in job and job["metadata"]["labels"][objects.PURPOSE] not in ("ingest", "deliver"):
            stage.finish(job)
    stage.settle()


def _ask(stage: Scene, number: int, nonce: str = "1", **pipeline: Any) -> None:
    """Ask for a run of one Pipeline; a second later than what was asked for before."""
    stage.wait(1)
    stage.apply(_pipeline(f"p{number}", runNonce=nonce, **pipeline))
    stage.settle()


def _running(stage: Scene) -> list[str]:
    live = [job for job in stage.jobs() if job["metadata"]["labels"][objects.PURPOSE] in ("ingest", "deliver")]
    names = [
        job["metadata"]["labels"][objects.OWNER_NAME]
        for job in live
        if not job["spec"]["suspend"] and "status" not in job
    ]
    return sorted(names)


def _finish(stage: Scene, name: str) -> None:
    job = next(
        job
        for job in stage.jobs("ingest")
        if job["metadata"]["labels"][objects.OWNER_NAME] == name and "status" not in job
    )
    report = jobs.report("ingest", run=job["metadata"]["annotations"][objects.RUN_ID])
    stage.finish(job, report)
    stage.settle()


@pytest.mark.parametrize("limits", [{"source": 2}, {"lake": 2}, {"source": 3, "lake": 2}])
def test_no_more_runs_start_than_a_system_allows_and_the_oldest_starts_first(limits: Any) -> None:
    stage = _stage(5, **limits)
    for number in (3, 1, 4, 0, 2):
        _ask(stage, number)
    assert _running(stage) == ["p1", "p3"]
    _finish(stage, "p1")
    assert _running(stage) == ["p3", "p4"]
    _finish(stage, "p3")
    assert _running(stage) == ["p0", "p4"]


def test_status_says_what_a_run_waits_for_and_since_when_and_is_written_once() -> None:
    stage = _stage(3, source=1)
    for number in range(3):
        _ask(stage, number)
    run = stage.status("Pipeline", "p2")["lastRun"]
    (job,) = [job for job in stage.jobs("ingest") if job["metadata"]["labels"][objects.OWNER_NAME] == "p2"]
    since = job["metadata"]["creationTimestamp"]
    assert run["waiting"] == {"cause": "MaxConcurrentRuns", "object": "Source/cities", "since": since}
    assert run["message"] == "as many runs use Source cities as its maxConcurrentRuns allows"
    before = len(stage.cluster.writes)
    _finish(stage, "p0")
    assert _running(stage) == ["p1"]
    written = [call.ref for call in stage.cluster.writes[before:]]
    assert Ref("Pipeline", "default", "p2") not in written, "its place in the queue is nothing that status has"
    _finish(stage, "p1")
    assert "waiting" not in stage.status("Pipeline", "p2")["lastRun"]


def test_a_restart_neither_exceeds_the_limit_nor_forgets_who_waits() -> None:
    stage = _stage(4, source=2)
    for number in (2, 0, 3, 1):
        _ask(stage, number)
    stage = stage.restarted()
    assert stage.settle() == []
    assert _running(stage) == ["p0", "p2"]
    _finish(stage, "p0")
    assert _running(stage) == ["p2", "p3"]


@pytest.mark.parametrize(("limit", "running"), [(None, 4), (3, 3), (1, 2)])
def test_a_changed_limit_counts_at_once_and_ends_no_run(limit: int | None, running: int) -> None:
    stage = _stage(4, source=2)
    for number in range(4):
        _ask(stage, number)
    assert len(_running(stage)) == 2
    stage.apply(_limited(manifests.source(), limit))
    stage.settle()
    assert len(_running(stage)) == running
    if limit == 1:
        _finish(stage, "p0")
        assert _running(stage) == ["p1"], "first there must be fewer"


def test_who_cannot_start_anyway_holds_nobody_up() -> None:
    stage = _stage(4, source=1)
    for number in range(4):
        _ask(stage, number)
    stage.apply(_pipeline("p1", runNonce="1", suspend=True))
    stage.cluster.remove(Ref("Pipeline", "default", "p2"))
    _finish(stage, "p0")
    assert _running(stage) == ["p3"]
    stage.apply(_pipeline("p1", runNonce="1"))
    stage.settle()
    assert _running(stage) == ["p3"]
    _finish(stage, "p3")
    assert _running(stage) == ["p1"]


def test_a_run_that_needs_two_full_systems_waits_for_both_and_those_behind_it_pass() -> None:
    stage = _stage(4, source=1, lake=2)
    stage.apply(manifests.source("towns"))
    _settle(stage)
    _ask(stage, 0)
    _ask(stage, 1)  # waits for the Source
    stage.apply(_pipeline("p2", "towns", runNonce="1"))
    stage.settle()
    assert _running(stage) == ["p0", "p2"]
    _finish(stage, "p0")
    assert _running(stage) == ["p1", "p2"]


def test_a_pipeline_that_changes_its_source_waits_for_the_new_one_only() -> None:
    stage = _stage(2, source=1)
    stage.apply(manifests.source("towns"))
    _settle(stage)
    _ask(stage, 0)
    _ask(stage, 1)
    assert _running(stage) == ["p0"]
    stage.apply(_pipeline("p1", "towns", runNonce="1"))
    stage.settle()
    assert _running(stage) == ["p0", "p1"]


def test_runs_that_were_outdated_by_another_image_keep_their_places() -> None:
    stage = _stage(4, source=1)
    for number in (2, 0, 3, 1):
        _ask(stage, number)
    stage = stage.restarted()
    stage.settings = type(stage.settings)(worker_image="another:1")
    stage.settle()
    for name in ("p2", "p0", "p3", "p1"):
        assert _running(stage) == [name]
        _finish(stage, name)


def test_two_pipelines_of_one_dataset_take_turns_also_where_the_source_has_a_limit() -> None:
    stage = _stage(2, source=1)
    stage.apply(_pipeline("twin", dataset="p0", runNonce=""))
    stage.settle()
    _ask(stage, 0)
    stage.wait(1)
    stage.apply(_pipeline("twin", dataset="p0", runNonce="1"))
    stage.settle()
    _ask(stage, 1)
    assert _running(stage) == ["p0"]
    _finish(stage, "p0")
    assert _running(stage) == ["twin"]
    stage.finish(next(job for job in stage.jobs("ingest") if "status" not in job and not job["spec"]["suspend"]))
    stage.settle()
    assert _running(stage) == ["p1"]


# ── the cost ──


class _Counting(Gate):
    considered: Counter[str]

    async def _consider(self, ref: Ref) -> None:
        self.considered[ref.name] += 1
        await super()._consider(ref)


def _job(number: int, dataset: str, owner: Manifest, **spec: Any) -> Manifest:
    """The Job of a run of the Pipeline `owner`; `number` says how old it is, the lowest the oldest."""
    metadata = owner["metadata"]
    job = jobs.job(
        f"job-{number:05}",
        annotations={objects.DATASETS: dataset, objects.USES: "Source/cities,Destination/lake"},
        owners=[jobs.owner(name=metadata["name"], uid=metadata["uid"])],
        spec={"template": {"spec": {}}, **spec},
    )
    job["metadata"]["creationTimestamp"] = f"2026-11-22T12:{number // 60 % 60:02}:{number % 60:02}Z"
    return job


@pytest.mark.parametrize("shared_dataset", [False, True])
def test_an_admission_costs_the_same_however_many_wait(shared_dataset: bool) -> None:
    """What is counted are the Jobs that are looked at when one run ends: one or two, of 400."""
    stage = _stage(1, source=1, lake=1)
    dataset = stage.cluster.read(Ref("Dataset", "default", "p0"))
    running: Manifest = {}
    for number in range(400):
        name = "p0" if shared_dataset else f"p{number}"
        pipeline = stage.cluster.put(_pipeline(f"p{number}", dataset=name, runNonce=""))
        named = {**dataset, "metadata": {**dataset["metadata"], "name": name, "uid": f"uid-{name}"}}
        stage.store.put(pipeline)
        stage.store.put(named)
        stage.store.put_child(_job(number, name, pipeline, suspend=True))
        running = running or _job(9999, name, pipeline, suspend=False)
    stage.store.put_child(running)
    gate = _Counting(stage.cluster, stage.store, stage.settings, lambda: stage.now)
    gate.considered = Counter()
    asyncio.run(gate.admit())
    assert gate.considered.total() == 400
    gate.considered.clear()
    metadata = {**running["metadata"], "resourceVersion": "2"}
    stage.store.put_child({**running, "metadata": metadata, "status": jobs.over()})
    asyncio.run(gate.admit())
    assert 1 <= gate.considered.total() <= 2
    assert "job-00000" in gate.considered
    assert stage.store.count_using(SOURCE) == 1


def test_a_limit_is_nothing_that_an_invalid_or_missing_source_has() -> None:
    stage = _stage(1, source=1)
    graph = resolve.references(Key("Pipeline", "default", "p0"), stage.store, stage.settings)
    assert graph is not None
    assert graph.full is None
    assert stage.store.count_using(SOURCE) == 0
    assert stage.store.count_using(LAKE) == 0
