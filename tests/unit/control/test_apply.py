"""Changes to the cluster: what is never adopted, never made twice, never deleted by mistake."""

import asyncio
from typing import Any

import pytest

from penstock.control import apply, observe
from penstock.control.cluster.port import ClusterError, Manifest, Ref, Unavailable
from penstock.control.desired import objects as desired
from penstock.control.desired import orders, runs
from penstock.control.drift import Change, Changes
from penstock.language.errors import InvalidSpec
from penstock.runs import places
from support import jobs, scene
from support.fakecluster import Call
from support.scene import Scene


def _wanted(stage: Scene) -> Manifest:
    (order,) = desired.objects(stage.graph("Pipeline", "cities")) or []
    return order


def _apply(stage: Scene, *changes: Change) -> None:
    graph = stage.graph("Pipeline", "cities")
    asyncio.run(apply.changes(graph, Changes(apply=changes), [], stage.cluster, stage.store))


def _job(stage: Scene) -> Manifest:
    graph = stage.graph("Pipeline", "cities")
    order = orders.of(graph)
    assert order is not None
    return runs.job(graph, runs.Start(order, "nonce/1", "default/cities/nonce/1", jobs.BEGAN, suspended=True))


def _create(stage: Scene, manifest: Manifest) -> None:
    asyncio.run(apply.create(stage.graph("Pipeline", "cities"), manifest, stage.cluster, stage.store))


def test_what_was_applied_is_in_the_store_at_once() -> None:
    stage = scene.quickstart()
    order = _wanted(stage)
    _apply(stage, Change(order))
    assert stage.store.child(Ref.of(order)) == stage.cluster.read(Ref.of(order))


def test_a_foreign_object_of_the_name_we_need_is_never_adopted() -> None:
    stage = scene.quickstart()
    order = _wanted(stage)
    stage.apply({"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": order["metadata"]["name"]}, "data": {}})
    with pytest.raises(InvalidSpec) as refused:
        _apply(stage, Change(order))
    assert refused.value.reason == "NameConflict"
    assert "is not ours. Delete or rename it, or rename this Pipeline." in refused.value.message
    assert stage.cluster.read(Ref.of(order))["data"] == {}


def test_a_job_is_only_ever_created_and_being_there_already_is_as_good() -> None:
    stage = scene.quickstart()
    job = _job(stage)
    _create(stage, job)
    before = stage.cluster.read(Ref.of(job))
    forgetful = stage.restarted()
    _create(forgetful, job)
    assert stage.cluster.read(Ref.of(job)) == before
    assert forgetful.store.child(Ref.of(job)) == before
    assert [call.verb for call in stage.cluster.calls] == ["create", "create", "get"]


@pytest.mark.parametrize("owners", [[], [{"kind": "Pipeline", "name": "cities", "uid": "of-a-former-one"}]])
def test_a_job_of_that_name_that_is_not_ours_is_a_name_conflict(owners: list[Any]) -> None:
    stage = scene.quickstart()
    job = _job(stage)
    stage.apply({**job, "metadata": {**job["metadata"], "ownerReferences": owners}})
    with pytest.raises(InvalidSpec, match="is not ours"):
        _create(stage, job)


def test_a_deletion_means_that_very_object() -> None:
    stage = scene.quickstart()
    _create(stage, _job(stage))
    (job,) = stage.jobs()
    stage.cluster.remove(Ref.of(job))
    successor = stage.cluster.put(job)
    asyncio.run(apply.delete(job, stage.cluster, stage.store))
    assert stage.cluster.read(Ref.of(job)) == successor
    assert stage.store.child(Ref.of(job)) is None


def test_cronjobs_are_suspended_before_anything_is_pruned_and_pruning_is_a_step_of_its_own() -> None:
    stage = scene.ready(runNonce="", schedule=["0 3 * * *"])
    (cronjob,) = stage.cluster.items("CronJob")
    graph = stage.graph("Pipeline", "cities")
    changes = Changes(suspend=(cronjob,), delete=(cronjob,))
    asyncio.run(apply.changes(graph, changes, [], stage.cluster, stage.store))
    assert stage.cluster.read(Ref.of(cronjob))["spec"]["suspend"] is True
    asyncio.run(apply.prune(changes, stage.cluster, stage.store))
    assert stage.cluster.items("CronJob") == []


def _cataloguing(stage: Scene) -> None:
    graph = stage.graph("Source", "cities")
    seen = observe.runs(graph.children, graph.pods)
    asyncio.run(apply.catalog(graph, seen, stage.cluster, stage.store))


def test_the_catalog_is_read_once_from_the_log_of_the_inspection() -> None:
    stage = scene.quickstart()
    stage.settle()
    (inspection,) = stage.jobs("inspect-source")
    found = '{"streams": [{"name": "a\u2028b", "fields": []}]}'  # JSON leaves U+2028 as it is
    stage.cluster.logs[f"{inspection['metadata']['name']}-1"] = f"noise\n{places.CATALOG_LINE}{found}\nmore"
    stage.finish(inspection)
    _cataloguing(stage)
    _cataloguing(stage)
    catalog = stage.cluster.read(Ref("ConfigMap", "default", "cities-catalog"))
    assert catalog["data"] == {"catalog.json": found}
    assert sum(call.verb == "log" for call in stage.cluster.calls) == 1


@pytest.mark.parametrize(
    "error", [Unavailable(502, "", "the kubelet is away"), ClusterError(400, "", "no such container")]
)
def test_a_log_that_cannot_be_read_holds_nothing_up(error: ClusterError) -> None:
    stage = scene.quickstart()
    stage.settle()
    (inspection,) = stage.jobs("inspect-source")
    stage.cluster.refuse[Call("log", Ref("Pod", "default", f"{inspection['metadata']['name']}-1"))] = error
    stage.finish(inspection)
    _cataloguing(stage)
    assert Ref("ConfigMap", "default", "cities-catalog") not in stage.store.refs("ConfigMap")
