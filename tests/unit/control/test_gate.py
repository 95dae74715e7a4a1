"""The gate: what waits is admitted one after the other, with the right order, and nothing holds up all the rest."""

import asyncio
from typing import Any

import pytest

from penstock.api import objects
from penstock.control.cluster.port import ClusterError, Manifest, NotFound, Ref, Unavailable
from penstock.control.gate import Gate
from support import jobs, manifests, scene
from support.fakecluster import Call, FakeCluster
from support.scene import Scene


def _cronjob(**pipeline: Any) -> Scene:
    return scene.ready(runNonce="", schedule=["0 3 * * *"], **pipeline)


def _stamps(job: Manifest) -> Manifest:
    found: Manifest = job["spec"]["template"]["metadata"]["annotations"]
    return found


def _running(stage: Scene) -> list[str]:
    return [
        job["metadata"]["name"] for job in stage.jobs("ingest") if not job["spec"]["suspend"] and "status" not in job
    ]


@pytest.mark.parametrize("at", ["2026-11-22T03:00:00Z", "2026-11-21T22:00:00-05:00"])
def test_a_run_of_a_cronjob_is_stamped_with_the_slot_and_the_end_of_its_interval(at: str) -> None:
    stage = _cronjob()
    stage.ring("cities-pipeline-0", at)
    stage.settle()
    (job,) = stage.jobs("ingest")
    assert job["spec"]["suspend"] is False
    assert job["metadata"]["annotations"][objects.SLOT] == "schedule/2026-11-22T03:00:00Z"
    assert _stamps(job) == {
        objects.RUN_ID: "default/cities/schedule/2026-11-22T03:00:00Z",
        objects.INTERVAL_END: "2026-11-22T03:00:00Z",
        objects.ATTEMPT: "1",
    }
    assert [run["id"] for run in stage.status("Pipeline", "cities")["runs"]] == [_stamps(job)[objects.RUN_ID]]


def test_a_job_that_a_person_made_from_the_cronjob_is_admitted_as_a_run_of_its_own() -> None:
    stage = _cronjob()
    made = stage.create_from("cities-pipeline-0", "by-hand")
    stage.settle()
    (job,) = stage.jobs("ingest")
    assert _stamps(job)[objects.RUN_ID] == f"default/cities/manual/{made['metadata']['uid']}"
    assert _stamps(job)[objects.INTERVAL_END] == stage.cluster.now


def test_two_pipelines_that_write_one_dataset_take_turns() -> None:
    stage = scene.ready()
    stage.apply(manifests.pipeline("twin"))
    stage.settle()
    (first,) = _running(stage)
    assert first.startswith("cities-ingest")
    waiting = stage.status("Pipeline", "twin")["lastRun"]
    assert waiting["message"] == "another run is writing the same Dataset"
    assert waiting["waiting"] == {"cause": "DatasetBusy", "since": jobs.BEGAN}
    stage.finish(stage.jobs("ingest")[0])
    stage.settle()
    (second,) = _running(stage)
    assert second.startswith("twin-ingest")


def test_a_waiting_run_whose_order_has_changed_is_replaced_by_one_for_the_same_slot() -> None:
    stage = _cronjob(suspend=True)
    stage.ring("cities-pipeline-0", "2026-11-22T03:00:00Z")
    stage.settle()
    (waiting,) = stage.jobs("ingest")
    assert waiting["spec"]["suspend"] is True
    stage.apply(manifests.pipeline(runNonce="", schedule=["0 3 * * *"], deadline="2h"))
    stage.settle()
    (ours,) = stage.jobs("ingest")
    assert ours["metadata"]["uid"] != waiting["metadata"]["uid"]
    assert _stamps(ours)[objects.RUN_ID] == "default/cities/schedule/2026-11-22T03:00:00Z"
    mounted = [
        volume["configMap"]["name"] for volume in ours["spec"]["template"]["spec"]["volumes"] if "configMap" in volume
    ]
    orders = {item["metadata"]["name"] for item in stage.cluster.items("ConfigMap")}
    assert set(mounted) <= orders
    assert [run["state"] for run in stage.status("Pipeline", "cities")["runs"]] == ["Running"]


def test_nothing_starts_before_its_order_is_there_to_be_mounted() -> None:
    stage = scene.ready(suspend=True)
    stage.apply(manifests.pipeline())
    stage.settle()
    (job,) = stage.jobs("ingest")
    assert job["spec"]["suspend"] is False
    stage = scene.ready(suspend=True)
    stage.apply(manifests.pipeline(), manifests.dataset(description="changed"))
    stage.see()
    stage.admit()
    assert stage.jobs("ingest") == []


def test_a_suspended_pipeline_keeps_its_runs_waiting_until_it_is_resumed() -> None:
    stage = _cronjob(suspend=True)
    stage.ring("cities-pipeline-0", "2026-11-22T03:00:00Z")
    stage.settle()
    assert _running(stage) == []
    stage.apply(manifests.pipeline(runNonce="", schedule=["0 3 * * *"]))
    stage.settle()
    assert len(_running(stage)) == 1


@pytest.mark.parametrize(
    ("error", "complete"),
    [
        (Unavailable(503, "", "try later"), False),
        (ClusterError(422, "Invalid", "field is immutable"), True),
        (NotFound(404, "NotFound", "it is gone"), True),
    ],
)
def test_what_is_wrong_with_one_job_holds_up_no_other(error: ClusterError, complete: bool) -> None:
    stage = _cronjob()
    entry = {"datasetRef": {"name": "towns"}, "sync": "incremental"}
    stage.apply(
        manifests.dataset("towns"), manifests.pipeline("towns", runNonce="", schedule=["0 3 * * *"], datasets=[entry])
    )
    stage.settle()
    stage.finish(stage.jobs("migrate")[-1])
    stage.settle()
    bad = stage.ring("cities-pipeline-0", "2026-11-22T03:00:00Z")
    good = stage.ring("towns-pipeline-0", "2026-11-22T03:00:00Z")
    stage.cluster.refuse[Call("patch", Ref.of(bad))] = error
    stage.see()
    assert stage.admit() is complete
    assert _running(stage) == [good["metadata"]["name"]]


def test_a_job_with_labels_like_ours_and_nothing_in_it_harms_nobody() -> None:
    stage = _cronjob()
    stray = stage.create_from("cities-pipeline-0", "stray")
    del stray["metadata"]["labels"][objects.PURPOSE]
    stray["metadata"]["annotations"] = {}
    stage.apply(stray)
    rung = stage.ring("cities-pipeline-0", "2026-11-22T03:00:00Z")
    stage.see()
    assert stage.admit()
    assert _running(stage) == [rung["metadata"]["name"]]


def test_a_run_that_was_cancelled_while_the_gate_looked_elsewhere_stays_cancelled() -> None:
    stage = _cronjob()
    rung = stage.ring("cities-pipeline-0", "2026-11-22T03:00:00Z")
    stage.see()
    stage.cluster.remove(Ref.of(rung))
    assert stage.admit()
    assert stage.jobs("ingest") == []
    assert stage.store.waiting_jobs() == []


def test_a_restart_admits_nothing_twice() -> None:
    stage = scene.ready()
    stage.apply(manifests.pipeline("twin"))
    stage.settle()
    assert stage.restarted().settle() == []
    assert len(_running(stage)) == 1


def test_a_job_that_a_person_suspends_stays_so() -> None:
    stage = scene.ready()
    stage.settle()
    (job,) = stage.jobs("ingest")
    assert job["spec"]["suspend"] is False
    asyncio.run(stage.cluster.patch(Ref.of(job), {"spec": {"suspend": True}}))
    stage.see()
    stage.settle()
    (job,) = stage.jobs("ingest")
    assert job["spec"]["suspend"] is True
    assert stage.status("Pipeline", "cities")["lastRun"]["waiting"]["cause"] == "JobSuspended"


def test_a_closed_gate_has_finished_what_it_was_admitting_and_admits_nothing_more() -> None:
    stage = _cronjob()
    stage.ring("cities-pipeline-0", "2026-11-22T03:00:00Z")
    stage.see()

    async def told() -> None:
        begun, let_go = asyncio.Event(), asyncio.Event()

        class Slow(FakeCluster):
            async def patch(self, ref: Ref, patch: Manifest) -> Manifest:
                begun.set()
                await let_go.wait()
                return await stage.cluster.patch(ref, patch)

        gate = Gate(Slow(), stage.store, stage.settings, lambda: stage.now)
        admitting = asyncio.create_task(gate.admit())
        await asyncio.wait_for(begun.wait(), 1)
        closing = asyncio.create_task(gate.close())
        await asyncio.sleep(0.01)
        assert not closing.done()
        let_go.set()
        await asyncio.wait_for(closing, 1)
        assert len(_running(stage)) == 1
        await asyncio.wait({admitting}, timeout=1)

        begun.clear()
        stage.ring("cities-pipeline-0", "2026-11-22T04:00:00Z")
        stage.see()
        more = asyncio.create_task(gate.admit())
        await asyncio.sleep(0.01)
        assert not begun.is_set()
        more.cancel()

    asyncio.run(told())


# ── an object that is being deleted, for as long as a finalizer keeps it: it starts nothing more ──

GOING = {"metadata": {"deletionTimestamp": jobs.BEGAN, "deletionGracePeriodSeconds": 0, "finalizers": ["a.dev/x"]}}


def _going(stage: Scene, kind: str, name: str = "cities") -> None:
    stage.cluster.change(Ref(kind, "default", name), GOING)


def _started(stage: Scene) -> list[str]:
    return [job["metadata"]["name"] for job in stage.jobs() if not job["spec"]["suspend"]]


def test_a_waiting_run_of_a_pipeline_that_is_deleted_is_not_admitted() -> None:
    stage = scene.ready(suspend=True, runNonce="", schedule=["0 3 * * *"])
    stage.ring("cities-pipeline-0", "2026-11-22T03:00:00Z")
    stage.apply(manifests.pipeline(runNonce="", schedule=["0 3 * * *"]))
    _going(stage, "Pipeline")
    before = _started(stage)
    stage.see()
    stage.admit()
    stage.settle()
    assert _started(stage) == before


def test_its_schedule_makes_no_more_jobs() -> None:
    stage = scene.ready(runNonce="", schedule=["0 3 * * *", "0 4 * * *"])
    _going(stage, "Pipeline")
    stage.settle()
    assert [cronjob["spec"]["suspend"] for cronjob in stage.cluster.items("CronJob")] == [True, True]
    assert stage.settle() == []


@pytest.mark.parametrize("ask", ["nonce", "annotation"])
def test_it_takes_no_request(ask: str) -> None:
    stage = scene.ready(runNonce="")
    if ask == "nonce":
        stage.apply(manifests.pipeline(runNonce="2"))
    else:
        stage.cluster.change(
            Ref("Pipeline", "default", "cities"), {"metadata": {"annotations": {"penstock.dev/requestedAt": "now"}}}
        )
    _going(stage, "Pipeline")
    stage.settle()
    assert stage.jobs("ingest") == []


@pytest.mark.parametrize(
    ("kind", "purpose"), [("Source", "inspect-source"), ("Dataset", "migrate"), ("Pipeline", "ingest")]
)
def test_what_failed_is_not_tried_again(kind: str, purpose: str) -> None:
    stage = scene.ready()
    job = stage.jobs(purpose)[0]
    stage.cluster.change(Ref.of(job), {"status": None})
    for pod in [
        pod for pod in stage.cluster.items("Pod") if pod["metadata"]["name"].startswith(job["metadata"]["name"])
    ]:
        stage.cluster.remove(Ref.of(pod))
    stage.finish(stage.jobs(purpose)[0], jobs.report(purpose, state="Failed", reason="Unreachable"))
    _going(stage, kind)
    count = len(stage.jobs(purpose))
    for _ in range(3):
        stage.wait(3600)
        stage.settle()
    assert len(stage.jobs(purpose)) == count


@pytest.mark.parametrize("kind", ["Source", "Destination", "Dataset"])
def test_what_refers_to_it_starts_nothing(kind: str) -> None:
    stage = scene.ready(runNonce="")
    _going(stage, kind, "lake" if kind == "Destination" else "cities")
    stage.apply(manifests.pipeline(runNonce="2"))
    stage.settle()
    assert stage.jobs("ingest") == []


def test_a_subscription_that_is_deleted_delivers_nothing_first() -> None:
    stage = scene.ready(runNonce="")
    stage.cluster.change(Ref("Dataset", "default", "cities"), {"status": {"lastLoadTime": jobs.ENDED}})
    stage.apply(manifests.outbox(), manifests.subscription())
    _going(stage, "Subscription")
    stage.settle()
    assert stage.jobs("deliver") == []
