"""Whose a child is: the owner reference decides. What lost labels gets them back; what is foreign is left alone."""

import copy
from typing import Any

import pytest

from penstock.api import objects
from penstock.control.cluster.port import Manifest, Ref
from support import jobs, manifests, scene
from support.scene import Scene

OURS = (objects.MANAGED_BY, objects.OWNER_KIND, objects.OWNER_NAME, objects.PURPOSE)


def _stripped(stage: Scene, ref: Ref, *names: str) -> Manifest:
    before = copy.deepcopy(stage.cluster.read(ref))
    stage.cluster.change(ref, {"metadata": {"labels": dict.fromkeys(names)}})
    return before


@pytest.mark.parametrize("restart", [False, True])
@pytest.mark.parametrize("names", [(name,) for name in OURS] + [OURS])
@pytest.mark.parametrize("kind", ["CronJob", "ConfigMap"])
def test_a_standing_object_that_lost_labels_gets_them_back(kind: str, names: tuple[str, ...], restart: bool) -> None:
    stage = scene.ready(runNonce="", schedule=["0 3 * * *"])
    ref = next(Ref.of(item) for item in stage.cluster.items(kind) if item["metadata"]["name"].startswith("cities-"))
    before = _stripped(stage, ref, *names)
    stage = stage.restarted() if restart else stage
    stage.settle()
    after = stage.cluster.read(ref)
    assert after["metadata"]["labels"] == before["metadata"]["labels"]
    assert after["metadata"]["uid"] == before["metadata"]["uid"], "it is the same object"
    assert stage.condition("Pipeline", "cities", "Ready")["status"] == "True"


@pytest.mark.parametrize("restart", [False, True])
@pytest.mark.parametrize("names", [(name,) for name in OURS] + [OURS])
@pytest.mark.parametrize("cronjob", [False, True])
def test_a_running_job_that_lost_labels_is_not_cancelled_and_its_report_counts(
    names: tuple[str, ...], cronjob: bool, restart: bool
) -> None:
    stage = scene.ready(runNonce="" if cronjob else "1", schedule=["0 3 * * *"])
    if cronjob:
        stage.ring("cities-pipeline-0", "2026-11-22T03:00:00Z")
        stage.settle()
    (job,) = stage.jobs("ingest")
    before = _stripped(stage, Ref.of(job), *names)
    stage = stage.restarted() if restart else stage
    stage.settle()
    assert stage.status("Pipeline", "cities")["lastRun"]["state"] == "Running"
    assert stage.cluster.read(Ref.of(job))["metadata"]["labels"] == before["metadata"]["labels"]
    stage.finish(stage.cluster.read(Ref.of(job)), jobs.report(loaded=7))
    stage.settle()
    run = stage.status("Pipeline", "cities")["lastRun"]
    assert (run["state"], run["rowsLoaded"]) == ("Succeeded", 7)
    assert len(stage.jobs("ingest")) == 1


def _copy(manifest: Manifest, name: str, **metadata: Any) -> Manifest:
    kept = copy.deepcopy({key: manifest[key] for key in manifest if key not in ("status", "metadata")})
    labels, annotations = copy.deepcopy([manifest["metadata"][name] for name in ("labels", "annotations")])
    return {**kept, "metadata": {"name": name, "labels": labels, "annotations": annotations, **metadata}}


@pytest.mark.parametrize("kind", ["CronJob", "ConfigMap", "Job"])
@pytest.mark.parametrize(
    "owners",
    [[], [{"apiVersion": "apps/v1", "kind": "Deployment", "name": "cities", "uid": "uid-of-theirs"}]],
)
def test_an_object_with_our_labels_and_no_owner_of_ours_is_left_alone(kind: str, owners: list[Any]) -> None:
    stage = scene.ready(schedule=["0 3 * * *"])
    (ours, *_) = [one for one in stage.cluster.items(kind) if one["metadata"]["labels"][objects.PURPOSE] == "ingest"]
    foreign = stage.cluster.put(_copy(ours, "theirs", ownerReferences=owners))
    stage.wait(3600)  # an order without a Job goes after a while
    stage.settle()
    for job in stage.jobs("ingest"):
        if job["metadata"]["name"] != "theirs":
            stage.finish(job)
    stage.settle()
    assert stage.cluster.read(Ref(kind, "default", "theirs")) == foreign
    runs = stage.status("Pipeline", "cities")["runs"]
    assert [(run["id"], run["state"]) for run in runs] == [("default/cities/nonce/1", "Succeeded")]


def test_a_foreign_job_that_names_our_dataset_holds_up_no_run() -> None:
    stage = scene.ready(runNonce="")
    annotations = {objects.DATASETS: "cities"}
    foreign = jobs.job("theirs", owners=[], annotations=annotations, spec={"suspend": False})
    del foreign["status"]
    stage.cluster.put(foreign)
    stage.apply(manifests.pipeline(runNonce="2"))
    stage.settle()
    assert stage.status("Pipeline", "cities")["lastRun"]["state"] == "Running"


@pytest.mark.parametrize("purpose", [None, "", "conquer"])
def test_a_job_of_ours_without_a_purpose_is_no_run_and_stops_nothing(purpose: str | None) -> None:
    stage = scene.ready(schedule=["0 3 * * *"])
    (job,) = stage.jobs("ingest")
    odd = _copy(job, "odd", ownerReferences=job["metadata"]["ownerReferences"])
    for labels in (odd["metadata"]["labels"], odd["spec"]["template"]["metadata"]["labels"]):
        labels.pop(objects.PURPOSE)
        labels.update({objects.PURPOSE: purpose} if purpose is not None else {})
    odd["spec"]["suspend"] = True
    stage.cluster.put(odd)
    stage.finish(job)
    stage.settle()
    assert stage.status("Pipeline", "cities")["lastRun"]["state"] == "Succeeded"
    assert stage.cluster.read(Ref("Job", "default", "odd"))["spec"]["suspend"] is True


def test_a_reference_without_the_controller_flag_is_an_owner_all_the_same() -> None:
    stage = scene.ready()
    (job,) = stage.jobs("ingest")
    (reference,) = job["metadata"]["ownerReferences"]
    plain = {name: reference[name] for name in ("apiVersion", "kind", "name", "uid")}
    stage.cluster.change(Ref.of(job), {"metadata": {"ownerReferences": [plain]}})
    stage.finish(stage.jobs("ingest")[0])
    stage.settle()
    assert stage.status("Pipeline", "cities")["lastRun"]["state"] == "Succeeded"
