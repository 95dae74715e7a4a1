"""What stands for a graph: its order, and a CronJob for each schedule entry."""

import pytest

from penstock.api import objects as names
from penstock.control.cluster.port import Manifest
from penstock.control.desired import objects as desired
from support import manifests, scene


def _wanted(**pipeline: object) -> list[Manifest]:
    return desired.objects(scene.quickstart(**pipeline).graph("Pipeline", "cities")) or []


def test_a_pipeline_without_a_schedule_has_only_its_order() -> None:
    (order,) = _wanted()
    assert (order["kind"], order["immutable"], list(order["binaryData"])) == ("ConfigMap", True, ["order.json.gz"])


def test_the_name_of_an_order_follows_from_its_content() -> None:
    first, again, other = _wanted()[0], _wanted()[0], _wanted(deadline="2h")[0]
    assert first["metadata"]["name"] == again["metadata"]["name"]
    assert first["metadata"]["name"] != other["metadata"]["name"]


def test_a_cronjob_is_named_by_its_position_so_that_a_changed_time_is_a_change() -> None:
    _, *before = _wanted(schedule=["0 3 * * *", "0 9 * * *"])
    _, *after = _wanted(schedule=["0 4 * * *", "0 9 * * *"])
    assert [cronjob["metadata"]["name"] for cronjob in before] == ["cities-pipeline-0", "cities-pipeline-1"]
    assert [cronjob["metadata"]["name"] for cronjob in after] == ["cities-pipeline-0", "cities-pipeline-1"]


def test_a_cronjob_makes_jobs_that_wait_and_does_not_make_two() -> None:
    _, cronjob = _wanted(schedule=["0 3 * * *"], timeZone="Europe/Oslo", history=7)
    spec = cronjob["spec"]
    assert (spec["timeZone"], spec["concurrencyPolicy"], spec["suspend"]) == ("Europe/Oslo", "Forbid", False)
    assert spec["jobTemplate"]["spec"]["suspend"] is True
    assert spec["successfulJobsHistoryLimit"] == spec["failedJobsHistoryLimit"] == 17, "the operator prunes first"


def test_a_suspended_pipeline_has_suspended_cronjobs() -> None:
    _, cronjob = _wanted(schedule=["0 3 * * *"], suspend=True)
    assert cronjob["spec"]["suspend"] is True


def test_a_problem_leaves_open_what_should_stand() -> None:
    stage = scene.Scene()
    stage.apply(manifests.pipeline())
    assert desired.objects(stage.graph("Pipeline", "cities")) is None


def test_the_labels_and_annotations_of_the_owner_are_never_copied() -> None:
    stage = scene.quickstart()
    owner = manifests.pipeline(schedule=["0 3 * * *"])
    owner["metadata"] |= {"labels": {"argocd.argoproj.io/instance": "x"}, "annotations": {"team": "ops"}}
    stage.apply(owner)
    for manifest in desired.objects(stage.graph("Pipeline", "cities")) or []:
        assert manifest["metadata"]["labels"] == {
            names.MANAGED_BY: "penstock",
            names.OWNER_KIND: "Pipeline",
            names.OWNER_NAME: "cities",
            names.PURPOSE: "ingest",
        }
        assert "team" not in str(manifest["metadata"]["annotations"])


def test_everything_goes_with_its_owner_and_holds_up_nobodys_deletion() -> None:
    stage = scene.quickstart(schedule=["0 3 * * *"])
    graph = stage.graph("Pipeline", "cities")
    for manifest in desired.objects(graph) or []:
        (reference,) = manifest["metadata"]["ownerReferences"]
        assert (reference["uid"], reference["controller"]) == (graph.meta.uid, True)
        assert reference["blockOwnerDeletion"] is False


@pytest.mark.parametrize(("cadence", "cron"), [("daily", "0 0 * * *"), ("monthly", "0 0 1 * *"), ("once", None)])
def test_a_subscription_rings_by_its_cadence(cadence: str, cron: str | None) -> None:
    stage = scene.quickstart()
    stage.apply(manifests.outbox(), manifests.subscription(cadence=cadence))
    _, *cronjobs = desired.objects(stage.graph("Subscription", "cities")) or []
    assert [cronjob["spec"]["schedule"] for cronjob in cronjobs] == ([cron] if cron else [])


def test_a_catalog_is_no_order() -> None:
    stage = scene.quickstart()
    catalog = desired.catalog_map(stage.graph("Source", "cities"), "uid-of-job", '{"streams": []}')
    assert (catalog["metadata"]["name"], catalog["immutable"]) == ("cities-catalog", False)
