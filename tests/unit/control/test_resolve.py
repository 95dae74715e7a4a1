"""From an object to the closed graph of what it refers to; what is wrong is a value in it."""

from typing import Any

import pytest

from penstock.api.objects import Key
from penstock.control.cluster.port import Ref
from penstock.control.resolve import Graph
from support import manifests, scene
from support.scene import Scene


def _graph(kind: str, *wanted: manifests.Manifest, name: str = "cities") -> Graph:
    stage = Scene()
    stage.apply(*wanted)
    return stage.graph(kind, name)


def test_a_pipeline_is_closed_over_source_datasets_and_their_destinations() -> None:
    graph = scene.quickstart().graph("Pipeline", "cities")
    assert graph.problem is None
    assert [str(node.key) for node in graph.nodes] == [
        "Source default/cities",
        "Dataset default/cities",
        "Destination default/lake",
    ]


def test_a_subscription_is_closed_over_its_dataset_where_that_lies_and_where_it_delivers() -> None:
    graph = _graph("Subscription", manifests.lake(), manifests.dataset(), manifests.outbox(), manifests.subscription())
    assert graph.problem is None
    assert graph.lake is not None
    assert graph.destination is not None
    assert (graph.lake.name, graph.destination.name) == ("lake", "outbox")


@pytest.mark.parametrize(
    ("there", "reason", "told"),
    [
        ([], "SourceNotFound", "Source cities does not exist in namespace default"),
        ([manifests.source()], "DatasetNotFound", "Dataset cities does not exist"),
        ([manifests.source(), manifests.dataset()], "DestinationNotFound", "Destination lake does not exist"),
    ],
)
def test_a_missing_reference_is_told_with_its_own_reason(there: list[Any], reason: str, told: str) -> None:
    problem = _graph("Pipeline", manifests.pipeline(), *there).problem
    assert problem is not None
    assert problem.reason == reason
    assert told in problem.message


def test_an_object_that_is_being_deleted_counts_as_gone() -> None:
    leaving = manifests.source()
    leaving["metadata"]["deletionTimestamp"] = "2026-11-22T12:00:00Z"
    problem = _graph("Pipeline", manifests.pipeline(), leaving).problem
    assert problem is not None
    assert problem.reason == "SourceNotFound"


def test_an_invalid_reference_is_told_with_its_name_and_its_fault() -> None:
    bad = manifests.source(url="ftp://old.example/")
    problem = _graph("Pipeline", manifests.pipeline(), bad).problem
    assert problem is not None
    assert problem.message.startswith("Source cities is invalid: spec.connector.files")


def test_an_invalid_spec_keeps_its_children_so_that_running_work_is_still_told() -> None:
    stage = scene.ready()
    stage.apply(manifests.pipeline(retries="many"))
    graph = stage.graph("Pipeline", "cities")
    assert graph.spec is None
    assert graph.problem is not None
    assert graph.problem.reason == "InvalidSpec"
    assert any(child["kind"] == "Job" for child in graph.children)


def test_a_name_that_does_not_fit_into_a_label_is_refused() -> None:
    name = "c" * 64
    problem = _graph("Source", manifests.source(name), name=name).problem
    assert problem is not None
    assert "metadata.name: at most 63" in problem.message


def test_a_status_that_cannot_be_read_counts_as_none() -> None:
    stage = Scene()
    stage.apply({**manifests.source(), "status": {"written": "by another version"}})
    assert stage.graph("Source", "cities").status.to_object() == {
        "observedGeneration": -1,
        "conditions": [],
        "streams": [],
    }


def test_the_graph_of_a_pipeline_holds_its_own_jobs_and_nobody_elses() -> None:
    stage = scene.ready()
    stage.apply(manifests.pipeline("twin"), manifests.outbox(), manifests.subscription(runNonce="x"))
    stage.settle()
    assert len(stage.jobs("ingest")) == 2
    owners = {job["metadata"]["labels"]["penstock.dev/owner-name"] for job in stage.graph("Pipeline", "twin").children}
    assert owners == {"twin"}
    assert stage.graph("Pipeline", "twin").dataset_jobs == ()
    purposes = [
        job["metadata"]["labels"]["penstock.dev/purpose"] for job in stage.graph("Dataset", "cities").dataset_jobs
    ]
    assert sorted(purposes) == ["ingest", "migrate"]  # not the delivery, nor the run that waits


def test_jobs_of_a_former_object_of_that_name_are_not_its_own() -> None:
    stage = scene.ready()
    stage.cluster.remove(Ref("Pipeline", "default", "cities"), dependents=False)
    assert [child["kind"] for child in stage.store.children(Key("Pipeline", "default", "cities"))] == [
        "ConfigMap",
        "Job",
    ]
    stage.apply(manifests.pipeline())
    assert [child["kind"] for child in stage.graph("Pipeline", "cities").children] == ["ConfigMap"]


@pytest.mark.parametrize(
    ("kind", "spec", "identity"),
    [
        ("Pipeline", {}, "default/cities"),
        ("Pipeline", {"identity": "old/name"}, "old/name"),
        ("Subscription", {}, "subscription:default/cities"),
    ],
)
def test_runs_carry_the_identity_of_their_object(kind: str, spec: Any, identity: str) -> None:
    made = {"Pipeline": manifests.pipeline, "Subscription": manifests.subscription}[kind](**spec)
    graph = _graph(kind, manifests.source(), manifests.lake(), manifests.outbox(), manifests.dataset(), made)
    assert graph.identity == identity


def _two_subscriptions(**younger: Any) -> Scene:
    stage = Scene()
    stage.apply(manifests.lake(), manifests.dataset(), manifests.outbox(), manifests.subscription("old"))
    stage.wait(1)
    stage.apply(manifests.subscription("a-younger-one", **younger))
    return stage


def test_of_two_subscriptions_into_one_folder_the_younger_one_is_refused() -> None:
    stage = _two_subscriptions()
    assert stage.graph("Subscription", "old").problem is None
    problem = stage.graph("Subscription", "a-younger-one").problem
    assert problem is not None
    assert problem.reason == "DeliveryConflict"
    assert problem.message.startswith("Subscription old delivers into the same folder")


def test_a_folder_of_its_own_is_no_conflict_nor_is_one_that_is_vacated() -> None:
    assert _two_subscriptions(settings={"suffix": "mine"}).graph("Subscription", "a-younger-one").problem is None
    stage = _two_subscriptions()
    leaving = manifests.subscription("old")
    leaving["metadata"]["deletionTimestamp"] = "2026-11-22T12:00:00Z"
    stage.apply(leaving)
    assert stage.graph("Subscription", "a-younger-one").problem is None


def _into_a_database(name: str, **settings: str) -> Scene:
    stage = Scene()
    stage.apply(manifests.lake(), manifests.dataset(), manifests.receiving("outbox"))
    stage.apply(manifests.subscription("old", settings={"table": "cities"}))
    stage.wait(1)
    stage.apply(manifests.subscription(name, settings=settings))
    return stage


def test_of_two_subscriptions_into_one_table_the_younger_one_is_refused() -> None:
    stage = _into_a_database("young", table="cities")
    assert stage.graph("Subscription", "old").problem is None
    problem = stage.graph("Subscription", "young").problem
    assert problem is not None
    assert problem.reason == "DeliveryConflict"
    assert problem.message.startswith("Subscription old delivers into the same table")
    assert "Choose another settings.table" in problem.message
    assert _into_a_database("young", table="towns").graph("Subscription", "young").problem is None


@pytest.mark.parametrize(
    ("settings", "message"),
    [({}, "name the table in settings.table"), ({"table": "t", "suffix": "a"}, "settings.suffix is not possible with")],
)
def test_settings_that_do_not_go_with_what_is_received_are_refused(settings: dict[str, str], message: str) -> None:
    problem = _into_a_database("young", **settings).graph("Subscription", "young").problem
    assert problem is not None
    assert (problem.reason, message in problem.message) == ("InvalidSpec", True)


@pytest.mark.parametrize("kind", ["Source", "Dataset", "Destination", "Pipeline"])
def test_what_is_suspended_anywhere_in_the_graph_suspends_it(kind: str) -> None:
    stage = scene.quickstart()
    name = "lake" if kind == "Destination" else "cities"
    made = next(item for item in stage.cluster.items(kind))
    stage.apply({**made, "spec": {**made["spec"], "suspend": True}})
    assert stage.graph("Pipeline", "cities").suspended == f"{kind} {name} is suspended"
