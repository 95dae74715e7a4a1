"""What a reconciliation and an admission cost does not depend on how many objects there are beside it.

Work is counted, not timed: the lines of our own Python that are executed, the parses, and the calls of the API.
"""

import asyncio
import dataclasses
import sys
from collections.abc import Callable
from pathlib import Path
from types import FrameType
from typing import Any

import pytest

import penstock
from penstock.api.objects import Key, KindName
from penstock.control.cluster.port import Manifest, Ref
from penstock.control.controller import Controller
from penstock.control.gate import Gate
from penstock.control.reconcile import World, reconcile
from penstock.control.settings import Settings
from penstock.runs import places
from support import jobs, manifests, scene
from support.scene import Scene

FEW, MANY = 100, 5000
OURS = str(Path(penstock.__file__).parent)
KINDS: tuple[KindName, ...] = ("Source", "Destination", "Dataset", "Pipeline", "Subscription")


@dataclasses.dataclass(frozen=True)
class Work:
    """What something took."""

    lines: int
    parses: int
    calls: int


def _counted(work: Callable[[], object], stage: Scene) -> Work:
    lines = [0]

    def trace(frame: FrameType, event: str, _: Any) -> Any:
        if not frame.f_code.co_filename.startswith(OURS):
            return None
        lines[0] += event == "line"
        return trace

    parses, calls = stage.store.parses, len(stage.cluster.calls)
    before = sys.gettrace()
    sys.settrace(trace)
    try:
        work()
    finally:
        sys.settrace(before)
    return Work(lines[0], stage.store.parses - parses, len(stage.cluster.calls) - calls)


def _sources(number: int) -> list[Manifest]:
    return [manifests.source(f"s{number}")]


def _destinations(number: int) -> list[Manifest]:
    return [manifests.outbox(f"o{number}", suffix=f"{number}/"), manifests.lake(f"l{number}")]


def _datasets(number: int) -> list[Manifest]:
    return [manifests.dataset(f"d{number}")]


def _pipelines(number: int) -> list[Manifest]:
    return [manifests.pipeline(f"p{number}", runNonce="")]


def _subscriptions(number: int) -> list[Manifest]:
    return [manifests.subscription(f"u{number}", settings={"suffix": f"{number}"})]


def _rivals_for_a_folder(number: int) -> list[Manifest]:
    return [manifests.subscription(f"u{number}")]


MANIFESTS: dict[str, Callable[[int], list[Manifest]]] = {
    "Sources": _sources,
    "Destinations": _destinations,
    "Datasets": _datasets,
    "Pipelines": _pipelines,
    "Subscriptions": _subscriptions,
    "Subscriptions into one folder": _rivals_for_a_folder,
}


def _beside(others: Callable[[int], list[Manifest]], count: int) -> Scene:
    """The quickstart with a Subscription, all inspected, beside `count` others that are only in the store."""
    stage = scene.ready(runNonce="")
    stage.apply(manifests.outbox(), manifests.subscription())
    stage.settle()
    for job in stage.jobs():
        if "status" not in job:
            stage.finish(job)
    stage.cluster.logs = {pod["metadata"]["name"]: f"{places.CATALOG_LINE}{{}}" for pod in stage.cluster.items("Pod")}
    stage.settle()
    for number in range(count):
        for version, manifest in enumerate(others(number)):
            uid = f"other-{number}-{version}"
            metadata = {"namespace": "default", "uid": uid, "resourceVersion": "1", "generation": 1}
            created = {"creationTimestamp": "2026-12-01T00:00:00Z"}
            stage.store.put({**manifest, "metadata": {**manifest["metadata"], **metadata, **created}})
    return stage


@pytest.mark.parametrize("others", MANIFESTS)
def test_a_reconciliation_costs_the_same_whatever_there_is_beside_it(others: str) -> None:
    few, many = _beside(MANIFESTS[others], FEW), _beside(MANIFESTS[others], MANY)
    for kind in KINDS:
        key = Key(kind, "default", {"Destination": "outbox"}.get(kind, "cities"))
        first, second = _unchanged(few, key), _unchanged(many, key)
        assert first.calls == second.calls == 0
        assert first.parses == second.parses == 0, "each version of an object is parsed once, and was"
        assert second.lines == first.lines, f"{key} beside {MANY} {others}"


def _unchanged(stage: Scene, key: Key) -> Work:
    world = World(stage.cluster, stage.store, stage.settings)
    asyncio.run(reconcile(key, world, stage.now))
    return _counted(lambda: asyncio.run(reconcile(key, world, stage.now)), stage)


@pytest.mark.parametrize("others", MANIFESTS)
def test_an_object_that_is_new_costs_the_same_whatever_there_is_beside_it(others: str) -> None:
    few, many = _beside(MANIFESTS[others], FEW), _beside(MANIFESTS[others], MANY)
    for kind, make in NEW.items():
        first, second = _new(few, kind, make), _new(many, kind, make)
        assert first == second, f"a new {kind} beside {MANY} {others}"
        assert first.parses <= 3, "its spec once, and its status before and after"


NEW: dict[KindName, Callable[[str], Manifest]] = {
    "Source": manifests.source,
    "Destination": manifests.lake,
    "Dataset": manifests.dataset,
    "Pipeline": manifests.pipeline,
    "Subscription": lambda name: manifests.subscription(name, settings={"suffix": "new"}),
}


def _new(stage: Scene, kind: KindName, make: Callable[[str], Manifest]) -> Work:
    stage.apply(make("new"))
    manifest = stage.cluster.read(Ref(kind, "default", "new"))
    world = World(stage.cluster, stage.store, stage.settings)

    def see() -> None:
        stage.store.put(manifest)
        asyncio.run(reconcile(Key(kind, "default", "new"), world, stage.now))

    return _counted(see, stage)


def _finished_runs(stage: Scene, count: int) -> Scene:
    """`count` runs of other Pipelines that loaded the Dataset `cities`, long ago."""
    for number in range(count):
        job = jobs.job(f"j{number}", annotations={"penstock.dev/datasets": "cities"}, status=jobs.over())
        job["metadata"]["ownerReferences"] = [jobs.owner(name=f"p{number}", uid=f"uid-p{number}")]
        job["status"] = jobs.over(at="2026-01-01T00:00:00Z")
        stage.store.put_child(job)
    return stage


def _loaded() -> Scene:
    stage = scene.ready()
    (job,) = stage.jobs("ingest")
    stage.finish(job)
    stage.settle()
    return stage


@pytest.mark.parametrize("kind", ["Dataset", "Pipeline"])
def test_old_runs_of_others_on_its_dataset_cost_nothing(kind: KindName) -> None:
    key = Key(kind, "default", "cities")
    few, many = (_unchanged(_finished_runs(_loaded(), count), key) for count in (FEW, MANY))
    assert few == many


def _waiting(count: int) -> Scene:
    """One Job of the Pipeline `cities` that may start, and `count` younger ones of others that wait on its Dataset."""
    stage = scene.ready(runNonce="", schedule=["0 3 * * *"])
    for number in range(count):
        pipeline = manifests.pipeline(f"p{number}", runNonce="")
        metadata = {"namespace": "default", "uid": f"uid-p{number}", "resourceVersion": "1", "generation": 1}
        stage.store.put({**pipeline, "metadata": {**pipeline["metadata"], **metadata}})
        owners = [jobs.owner(name=f"p{number}", uid=f"uid-p{number}")]
        about = {"penstock.dev/datasets": "cities"}
        spec = {"suspend": True, "template": {}}
        created = "2026-12-01T00:00:00Z"
        stage.store.put_child(jobs.job(f"j{number}", owners=owners, annotations=about, spec=spec, created=created))
    return stage


def _admission(count: int) -> tuple[Work, list[str]]:
    stage = _waiting(count)
    gate = Gate(stage.cluster, stage.store, stage.settings, lambda: stage.now)
    gate.keys.clear()  # as after the first pass over everything
    stage.ring("cities-pipeline-0", "2026-11-22T03:00:00Z")
    for job in stage.cluster.items("Job"):
        stage.store.put_child(job)
    gate.notify(Key("Pipeline", "default", "cities"))
    work = _counted(lambda: asyncio.run(gate.admit()), stage)
    running = [job["metadata"]["name"] for job in stage.jobs("ingest") if not job["spec"]["suspend"]]
    return work, running


def test_an_admission_costs_the_same_however_many_wait() -> None:
    (first, started), (second, _) = _admission(FEW), _admission(MANY)
    assert len(started) == 1
    assert first == second
    assert first.calls == 1


def _next(count: int) -> Work:
    """What it costs to let the next one write after a run has ended."""
    stage = _waiting(count)
    writer = jobs.job("writer", annotations={"penstock.dev/datasets": "cities"})
    stage.store.put_child(writer)
    gate = Gate(stage.cluster, stage.store, stage.settings, lambda: stage.now)
    gate.keys.clear()
    stage.ring("cities-pipeline-0", "2026-11-22T03:00:00Z")
    for job in stage.cluster.items("Job"):
        stage.store.put_child(job)
    stage.store.put_child({**writer, "metadata": {**writer["metadata"], "resourceVersion": "2"}, "status": jobs.over()})
    return _counted(lambda: asyncio.run(gate.admit()), stage)


def test_the_next_run_starts_at_the_same_cost_however_many_wait() -> None:
    assert _next(FEW) == _next(MANY)


def test_news_of_one_object_costs_the_same_whatever_there_is_beside_it() -> None:
    def seen(count: int) -> int:
        stage = _beside(_subscriptions, count)
        controller = Controller(stage.cluster, Settings())
        controller.store = stage.store
        controller.store.take_changed()  # the objects beside it are no news
        controller.store.take_reordered()
        stage.apply(manifests.subscription("u-new", settings={"suffix": "new"}))
        manifest = stage.cluster.read(Ref("Subscription", "default", "u-new"))
        return _counted(lambda: controller.seen(manifest), stage).lines

    assert seen(FEW) == seen(MANY)
