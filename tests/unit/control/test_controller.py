"""The loop around the line: it starts knowing everything, outlives its watches, and wakes whom a change concerns."""

import asyncio
import base64
import gzip
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime

import pytest
from pydantic import ValidationError

from penstock.api import objects
from penstock.api.objects import Key
from penstock.control.cluster.port import Event, Listing, Manifest, Ref, Unavailable
from penstock.control.controller import Controller
from penstock.control.settings import Settings
from penstock.language import times
from penstock.runs.order import RunOrder
from penstock.runs.report import RunReport
from support import jobs, manifests, scene
from support.fakecluster import Call, FakeCluster

SETTINGS = Settings(relist_seconds=0, workers=2)
PIPELINE = Key("Pipeline", "default", "cities")


@asynccontextmanager
async def _operating(cluster: FakeCluster, settings: Settings = SETTINGS) -> AsyncIterator[Controller]:
    controller = Controller(cluster, settings)
    task = asyncio.create_task(controller.run())
    try:
        yield controller
        assert not task.done(), task.exception()
    finally:
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)


async def _until(holds: Callable[[], bool], seconds: float = 10) -> None:
    """Let everything run that can until something holds."""
    async with asyncio.timeout(seconds):
        while not holds():  # noqa: ASYNC110 - there is no event for "the store has it"
            await asyncio.sleep(0)


def _story(cluster: FakeCluster, told: Callable[[Controller], Awaitable[None]], settings: Settings = SETTINGS) -> None:
    async def run() -> None:
        async with _operating(cluster, settings) as controller:
            await told(controller)

    asyncio.run(run())


def _jobs(cluster: FakeCluster) -> list[str]:
    return [job["metadata"]["labels"]["penstock.dev/purpose"] for job in cluster.items("Job")]


def _see(controller: Controller, cluster: FakeCluster, *wanted: Manifest) -> None:
    """As kopf's watch tells of the five kinds."""
    for manifest in wanted:
        controller.seen(cluster.put(manifest))


def test_it_starts_knowing_everything_so_a_restart_writes_nothing() -> None:
    stage = scene.ready()
    before = len(stage.cluster.writes)

    async def told(controller: Controller) -> None:
        await _until(lambda: len(controller.store.object_keys()) == 4 and controller.queue.idle)

    _story(stage.cluster, told)
    assert stage.cluster.writes[before:] == []


def test_a_new_object_is_seen_through_to_its_run() -> None:
    # Its Jobs end now: where the end of one is seen before its Pod, its report is looked for again in two seconds only.
    cluster = FakeCluster(now=times.text(datetime.now(UTC)))

    async def told(controller: Controller) -> None:
        _see(controller, cluster, manifests.source(), manifests.lake(), manifests.dataset(), manifests.pipeline())
        await _until(lambda: len(_jobs(cluster)) == 4)
        for job in cluster.items("Job"):
            if job["metadata"]["labels"]["penstock.dev/purpose"] != "ingest":
                scene.Scene(cluster).finish(job)
        await _until(lambda: not next(iter(cluster.items("Job")))["spec"]["suspend"])

    _story(cluster, told)
    assert sorted(_jobs(cluster)) == ["ingest", "inspect-destination", "inspect-source", "migrate"]


def test_a_watch_that_is_too_old_or_breaks_lists_again_and_learns_what_it_missed() -> None:
    stage = scene.ready()
    cluster = stage.cluster
    (run,) = stage.jobs("ingest")

    async def told(controller: Controller) -> None:
        await _until(lambda: controller.store.child(Ref.of(run)) is not None and controller.queue.idle)
        cluster.remove(Ref.of(run))
        cluster.forget()
        await _until(lambda: controller.store.child(Ref.of(run)) is None)
        await _until(lambda: stage.status("Pipeline", "cities")["lastRun"]["state"] == "Cancelled")

    _story(cluster, told)


def test_what_was_made_while_a_list_was_under_way_is_not_taken_for_deleted() -> None:
    stage = scene.ready()
    (run,) = stage.jobs("ingest")
    controller = Controller(stage.cluster, SETTINGS)
    older = Listing([], str(int(run["metadata"]["resourceVersion"]) - 1))
    controller.store.put_child(run)
    asyncio.run(controller._sweep_children("Job", None, older))
    assert controller.store.child(Ref.of(run)) == run
    asyncio.run(controller._sweep_children("Job", None, Listing([], run["metadata"]["resourceVersion"])))
    assert controller.store.child(Ref.of(run)) is None


@dataclass
class Busy(FakeCluster):
    """Something is made in `blue` after its list and before that of `green`."""

    async def list(self, kind: str, namespace: str | None, selector: str) -> Listing:
        if (kind, namespace) == ("ConfigMap", "green"):
            self.put(_child("late"), "blue")
        return await super().list(kind, namespace, selector)


def test_each_namespace_is_watched_from_its_own_list_on() -> None:
    cluster = Busy()
    cluster.put(_child("elsewhere"), "grey")

    async def told(controller: Controller) -> None:
        await _until(lambda: controller.store.refs("ConfigMap") == {Ref("ConfigMap", "blue", "late")})

    _story(cluster, told, Settings(relist_seconds=0, namespaces=("blue", "green")))


def _child(name: str) -> Manifest:
    labels = {"app.kubernetes.io/managed-by": "penstock"}
    return {"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": name, "labels": labels}}


def test_an_answer_without_sense_does_not_end_the_operator() -> None:
    stage = scene.ready()
    cluster = stage.cluster

    async def told(controller: Controller) -> None:
        await _until(lambda: controller.queue.idle and bool(controller.store.object_keys()))
        lists = _lists(cluster)
        labels = {"app.kubernetes.io/managed-by": "penstock"}
        cluster.say(Event("MODIFIED", {"kind": "Job", "metadata": {"labels": labels}}))
        await _until(lambda: _lists(cluster) > lists)

    _story(cluster, told)


class Broken(FakeCluster):
    """The first answers to each list of the kinds and children below are without sense."""

    def __init__(self, *kinds: str) -> None:
        super().__init__()
        self.left = dict.fromkeys(kinds, 2)

    async def list(self, kind: str, namespace: str | None, selector: str) -> Listing:
        if self.left.get(kind, 0):
            self.left[kind] -= 1
            return Listing([{"kind": kind, "spec": "an object without metadata"}], "1")
        return await super().list(kind, namespace, selector)


@pytest.mark.parametrize("kinds", [("Source",), ("Pipeline",), ("Job",), ("ConfigMap", "Dataset")])
def test_lists_without_sense_at_the_start_are_logged_and_asked_for_again(
    kinds: tuple[str, ...], caplog: pytest.LogCaptureFixture
) -> None:
    cluster = Broken(*kinds)
    cluster.put(manifests.source())

    async def story(_: Controller) -> None:
        await _until(lambda: "status" in cluster.read(Ref("Source", "default", "cities")))

    _story(cluster, story)
    logged = [record.getMessage() for record in caplog.records]
    assert sum("an error in the operator; continues in" in message for message in logged) == 2 * len(kinds)


def test_an_error_in_the_gate_the_sweep_or_a_refresh_ends_nothing(caplog: pytest.LogCaptureFixture) -> None:
    cluster = Broken("Destination")
    settings = Settings(relist_seconds=0, workers=1, sweep_seconds=0.05)

    async def story(controller: Controller) -> None:
        await controller.synced.wait()

        def fail(_: Key) -> None:
            raise RuntimeError("a fault of ours")

        real, controller.gate.notify = controller.gate.notify, fail  # type: ignore[method-assign,assignment]
        _see(controller, cluster, manifests.source())
        await _until(lambda: any("a fault of ours" in str(record.exc_info) for record in caplog.records))
        controller.gate.notify = real  # type: ignore[method-assign]
        _see(controller, cluster, manifests.source("later"))
        await _until(lambda: "status" in cluster.read(Ref("Source", "default", "later")))

    _story(cluster, story, settings)


def test_news_that_refers_to_thousands_leaves_the_loop_free() -> None:
    stage = scene.ready()
    for number in range(2000):
        stage.apply(manifests.pipeline(f"p{number}", runNonce=""))

    async def story(controller: Controller) -> None:
        await controller.synced.wait()
        await _until(lambda: controller.queue.idle, seconds=60)
        turns = 0

        async def count() -> None:
            nonlocal turns
            while True:
                await asyncio.sleep(0)
                turns += 1

        calls = len(stage.cluster.calls)
        counting = asyncio.create_task(count())
        _see(controller, stage.cluster, manifests.source(glob="*.tsv"))
        await _until(lambda: len(stage.cluster.calls) > calls + 2000 and controller.queue.idle, seconds=60)
        assert turns > 100, "2,000 referrers take many turns of the loop"
        counting.cancel()

    _story(stage.cluster, story)


def test_a_status_that_no_referrer_reads_wakes_none() -> None:
    stage = scene.ready()

    async def story(controller: Controller) -> None:
        await _until(lambda: controller.queue.idle and bool(controller.store.object_keys()))
        ref, pipelines = Ref("Dataset", "default", "cities"), _count_of(controller, PIPELINE)
        controller.seen(stage.cluster.change(ref, {"status": {"rows": 7, "lastReportTime": stage.cluster.now}}))
        controller.seen(stage.cluster.change(ref, {"metadata": {"annotations": {"touched": "yes"}}}))
        await _settled(controller)
        assert pipelines() == 0
        controller.seen(stage.cluster.change(ref, {"status": {"conditions": []}}))
        await _until(lambda: pipelines() > 0)

    _story(stage.cluster, story)


def _count_of(controller: Controller, key: Key) -> Callable[[], int]:
    """How often an object was given out to be reconciled, from now on."""
    count, get = 0, controller.queue.done

    def done(other: Key) -> None:
        nonlocal count
        count += other == key
        get(other)

    controller.queue.done = done  # type: ignore[method-assign,assignment]
    return lambda: count


async def _settled(controller: Controller) -> None:
    """Let everything run until nothing has been left to do for a while."""
    idle = 0
    while idle < 20:
        await asyncio.sleep(0)
        idle = idle + 1 if controller.queue.idle else 0


def test_a_run_that_waits_for_the_destination_of_its_dataset_starts_when_that_can_be_reached() -> None:
    """The table was made before an inspection failed, so the Dataset changes no more when a later one succeeds."""
    stage = scene.quickstart()
    cluster, lake = stage.cluster, Ref("Destination", "default", "lake")

    async def story(controller: Controller) -> None:
        await _until(lambda: len(stage.jobs()) == 4)
        cluster.now = times.text(datetime.now(UTC))  # a failure of now: it is not repeated at once
        (inspection,) = stage.jobs("inspect-destination")
        stage.finish(inspection, _failure("inspect-destination", "Unreachable", "no route to the warehouse"))
        await _until(lambda: stage.condition("Destination", "lake", "Reachable")["status"] == "False")
        for purpose in ("inspect-source", "migrate"):
            stage.finish(stage.jobs(purpose)[0])
        await _until(lambda: stage.condition("Dataset", "cities", "Ready")["status"] == "True")
        await _settled(controller)
        assert stage.jobs("ingest")[0]["spec"]["suspend"]
        words = stage.status("Pipeline", "cities")["lastRun"]["message"]
        assert words == "Destination lake is not reachable: no route to the warehouse"

        controller.seen(cluster.change(lake, {"metadata": {"annotations": {objects.REQUESTED_AT: "now"}}}))
        await _until(lambda: len(stage.jobs("inspect-destination")) == 2)
        await _settled(controller)
        stage.finish(stage.jobs("inspect-destination")[1])
        await _until(lambda: not stage.jobs("ingest")[0]["spec"]["suspend"])

    _story(cluster, story)


def _failure(kind: str, reason: str, message: str) -> RunReport:
    return jobs.report(kind, state="Failed", reason=reason, message=message)


def test_who_reads_a_status_is_woken_though_what_came_after_its_writing_failed() -> None:
    stage = scene.ready()
    cluster = stage.cluster
    (inspection,) = stage.jobs("inspect-source")
    cluster.remove(Ref.of(inspection))
    for order in cluster.items("ConfigMap", "default", "penstock.dev/owner-kind=Source"):
        cluster.refuse[Call("delete", Ref.of(order))] = Unavailable(503, "", "not now")

    async def story(controller: Controller) -> None:
        await _until(lambda: controller.queue.idle and bool(controller.store.object_keys()))
        _see(controller, cluster, manifests.source(glob="*.tsv"))  # the order from before goes, after the status
        await _until(lambda: Call("delete", Ref.of(order)) in cluster.calls and bool(stage.jobs("inspect-source")))
        await _settled(controller)
        pipelines, tried = _count_of(controller, PIPELINE), cluster.calls.count(Call("delete", Ref.of(order)))
        cluster.now = times.text(datetime.now(UTC))  # a failure of now: it is not repeated at once
        stage.finish(stage.jobs("inspect-source")[-1], _failure("inspect-source", "Unreachable", "no route"))
        await _until(lambda: stage.condition("Source", "cities", "Reachable")["status"] == "False")
        await _until(lambda: cluster.calls.count(Call("delete", Ref.of(order))) > tried)
        await _until(lambda: pipelines() > 0)

    _story(cluster, story)


def _lists(cluster: FakeCluster) -> int:
    return cluster.calls.count(Call("list", Ref("Job", "", "")))


def test_who_refers_to_a_changed_object_is_looked_at_again_at_one_and_two_removes() -> None:
    stage = scene.ready()

    async def told(controller: Controller) -> None:
        await _until(lambda: controller.queue.idle and bool(controller.store.object_keys()))
        moved = manifests.lake(claim="other")
        orders = len(stage.cluster.items("ConfigMap"))
        _see(controller, stage.cluster, moved)
        await _until(lambda: len(stage.cluster.items("ConfigMap")) == orders + 3)

    _story(stage.cluster, told)


def test_a_subscription_takes_its_folder_as_soon_as_another_has_left_it() -> None:
    stage = scene.ready()
    stage.apply(manifests.outbox(), manifests.subscription("old"))
    stage.wait(1)
    stage.apply(manifests.subscription("young"))

    def reason() -> str:
        found: str = stage.condition("Subscription", "young", "Ready")["reason"]
        return found

    async def told(controller: Controller) -> None:
        await _until(lambda: controller.queue.idle and "conditions" in stage.status("Subscription", "young"))
        assert reason() == "DeliveryConflict"
        old = stage.cluster.read(Ref("Subscription", "default", "old"))
        stage.cluster.remove(Ref("Subscription", "default", "old"))
        controller.seen(old, deleted=True)
        await _until(lambda: reason() != "DeliveryConflict")

    _story(stage.cluster, told)


def test_a_change_that_only_showed_as_a_conflict_is_taken_up_at_once() -> None:
    stage = scene.ready()
    cluster = stage.cluster
    cluster.put(manifests.pipeline("towns", sourceRef={"name": "towns"}, runNonce=""))

    async def told(controller: Controller) -> None:
        await _until(lambda: controller.queue.idle and bool(controller.store.object_keys()))
        first = cluster.put(manifests.source("towns"))
        cluster.put(manifests.source("towns", glob="*.tsv"))  # and the watch has not told it yet
        controller.seen(first)
        await _until(lambda: any("*.tsv" in _text(item) for item in _orders(cluster)))

    _story(cluster, told)


def _text(order: Manifest) -> str:
    return gzip.decompress(base64.b64decode(order["binaryData"]["order.json.gz"])).decode()


def _orders(cluster: FakeCluster) -> list[Manifest]:
    return cluster.items("ConfigMap", "default", "penstock.dev/owner-kind=Pipeline,penstock.dev/owner-name=towns")


@dataclass
class Slow(FakeCluster):
    """Its writes of status, the last of each reconciliation, take until they are let go."""

    begun: int = 0
    ended: int = 0
    let_go: asyncio.Event = field(default_factory=asyncio.Event)

    async def patch_status(self, ref: Ref, patch: Manifest) -> Manifest:
        self.begun += 1
        await self.let_go.wait()
        self.ended += 1
        return await super().patch_status(ref, patch)


def test_what_is_under_way_comes_to_its_end_before_it_ends_and_nothing_new_begins() -> None:
    cluster = Slow()

    async def told(controller: Controller) -> None:
        _see(controller, cluster, *(manifests.source(f"s{n}") for n in range(5)))
        await _until(lambda: cluster.begun == 2)  # as many as there are workers
        ending = asyncio.create_task(controller.end())
        await asyncio.sleep(0.05)
        assert not ending.done()
        cluster.let_go.set()
        await asyncio.wait_for(ending, 2)
        assert (cluster.begun, cluster.ended) == (2, 2)
        written = len(cluster.writes)
        _see(controller, cluster, manifests.source("late"))
        await asyncio.sleep(0.05)
        assert len(cluster.writes) == written

    _story(cluster, told)


@dataclass
class Faulty(FakeCluster):
    """Whose answers we do not understand, while it is at fault."""

    fault: Exception | None = None

    async def create(self, manifest: Manifest) -> Manifest:
        if manifest["kind"] == "ConfigMap" and self.fault is not None:
            raise self.fault
        return await super().create(manifest)


def test_what_nobody_foresaw_is_a_condition_until_it_is_gone() -> None:
    cluster = Faulty(fault=RuntimeError("the first line\nand what it was about"))

    def ready() -> Manifest:
        status = cluster.read(Ref("Source", "default", "cities")).get("status", {})
        found: Manifest = next((one for one in status.get("conditions", []) if one["type"] == "Ready"), {})
        return found

    async def told(controller: Controller) -> None:
        _see(controller, cluster, manifests.source())
        await _until(lambda: ready().get("status") == "False")
        words = "RuntimeError: the first line; it is tried again. See the operator's log"
        assert (ready()["reason"], ready()["message"]) == ("UnknownError", words)
        assert cluster.read(Ref("Source", "default", "cities"))["status"]["observedGeneration"] == 1
        cluster.fault = None
        await _until(lambda: ready().get("status") == "True")

    _story(cluster, told)


def test_what_nobody_foresaw_leaves_what_else_is_known_and_names_no_value() -> None:
    stage = scene.ready()
    controller = Controller(stage.cluster, SETTINGS)
    stage.see()
    for manifest in stage.cluster.everything():
        controller._seen_child(manifest) if manifest["kind"] not in objects.KINDS else controller.seen(manifest)
    before = stage.status("Pipeline", "cities")
    with pytest.raises(ValidationError) as caught:
        RunOrder.model_validate({"kind": "ingest", "deadline_seconds": "hush"})
    asyncio.run(controller._report(PIPELINE, caught.value, stage.now))
    after = stage.status("Pipeline", "cities")
    assert after["runs"] == before["runs"]
    ready = stage.condition("Pipeline", "cities", "Ready")
    assert ready["reason"] == "UnknownError"
    assert "RunOrder.subject" in ready["message"]
    assert "hush" not in str(after)
    kept = [entry["type"] for entry in after["conditions"]]
    assert kept == ["Ready", "LastRunSucceeded", "Stalled"]


def test_an_error_that_cannot_even_be_published_does_not_end_the_operator() -> None:
    stage = scene.ready()
    controller = Controller(stage.cluster, SETTINGS)
    controller.seen(stage.cluster.read(Ref("Pipeline", "default", "cities")))
    refused = Call("patch_status", Ref("Pipeline", "default", "cities"))
    stage.cluster.refuse[refused] = RuntimeError("and this fails, too")
    before = stage.status("Pipeline", "cities")
    asyncio.run(controller._report(PIPELINE, RuntimeError("it fails"), stage.now))
    assert stage.status("Pipeline", "cities") == before
