"""The Job of one run: its name, what is mounted, and how little its Pod may do."""

from typing import Any

import pytest

from penstock.control.cluster.port import Manifest
from penstock.control.desired import orders, runs
from penstock.control.desired.runs import Start
from penstock.control.resolve import Graph
from support import manifests, scene
from support.scene import Scene


def _job(graph: Graph, **changes: Any) -> Manifest:
    order = orders.of(graph)
    assert order is not None
    start = {"order": order, "slot": "nonce/1", "run": "default/cities/nonce/1", "interval_end": "2026-11-22T12:00:00Z"}
    return runs.job(graph, Start(**{**start, **changes}))


def _pipeline_job(**pipeline: Any) -> Manifest:
    return _job(scene.quickstart(**pipeline).graph("Pipeline", "cities"))


def test_the_name_of_a_job_follows_from_owner_run_and_attempt() -> None:
    stage = scene.quickstart()
    graph = stage.graph("Pipeline", "cities")
    first = _job(graph)["metadata"]["name"]
    assert first.startswith("cities-ingest-")
    assert first == _job(graph, slot="another", interval_end="2027-01-01T00:00:00Z")["metadata"]["name"]
    assert first != _job(graph, attempt=2)["metadata"]["name"]
    assert first != _job(graph, run="default/cities/nonce/2")["metadata"]["name"]


@pytest.mark.parametrize(
    ("name", "length", "short"),
    [
        ("cities", 40, "cities"),
        ("c" * 40, 40, "c" * 40),
        ("c" * 41, 40, "c" * 33 + "-2d5590"),
        ("a.b", 40, "a-b-2e7336"),
        ("a-b", 40, "a-b"),
        ("cities-and-towns", 13, "cities-276c2f"),
    ],
)
def test_a_name_that_is_cut_or_changed_ends_in_a_hash(name: str, length: int, short: str) -> None:
    assert runs.short(name, length) == short


@pytest.mark.parametrize("kind", ["Source", "Destination", "Dataset", "Pipeline", "Subscription"])
def test_names_stay_within_63_characters(kind: str) -> None:
    name = "n" * 63
    stage = Scene()
    entry = {"datasetRef": {"name": name}, "sync": "incremental"}
    stage.apply(
        manifests.source(name),
        manifests.lake(name),
        manifests.outbox("outbox"),
        manifests.dataset(name, table="t", destinationRef={"name": name}),
        manifests.pipeline(name, sourceRef={"name": name}, datasets=[entry]),
        manifests.subscription(name, datasetRef={"name": name}),
    )
    assert len(_job(stage.graph(kind, name))["metadata"]["name"]) <= 63


def test_the_worker_is_told_run_interval_and_attempt_by_the_annotations_of_its_pod() -> None:
    template = _pipeline_job()["spec"]["template"]
    assert template["metadata"]["annotations"] == {
        "penstock.dev/run-id": "default/cities/nonce/1",
        "penstock.dev/interval-end": "2026-11-22T12:00:00Z",
        "penstock.dev/attempt": "1",
    }
    told = {entry["name"]: entry["valueFrom"]["fieldRef"]["fieldPath"] for entry in _container(template)["env"]}
    assert told["PENSTOCK_RUN_ID"] == "metadata.annotations['penstock.dev/run-id']"
    assert set(told) == {"PENSTOCK_RUN_ID", "PENSTOCK_ATTEMPT", "PENSTOCK_POD_NAME"}


def test_each_claim_and_each_secret_is_mounted_once_where_the_worker_looks() -> None:
    stage = Scene()
    bucket = manifests.source(url="s3://in/", volume=None)
    del bucket["spec"]["connector"]["files"]["volume"]
    bucket["spec"]["auth"] = {"aws": {"secretRef": {"name": "keys"}}}
    stage.apply(bucket, manifests.lake(), manifests.dataset(), manifests.pipeline())
    spec = _job(stage.graph("Pipeline", "cities"))["spec"]["template"]["spec"]
    paths = {mount["mountPath"]: mount.get("readOnly", False) for mount in spec["containers"][0]["volumeMounts"]}
    assert paths == {
        "/etc/penstock/order": True,
        "/scratch": False,
        "/etc/penstock/secrets/keys": True,
        "/volumes/lake": False,
    }
    (secret,) = [volume["secret"] for volume in spec["volumes"] if "secret" in volume]
    assert secret == {"secretName": "keys", "optional": True}


def test_the_config_map_of_a_ca_bundle_is_mounted_and_may_be_missing() -> None:
    stage = Scene()
    web = manifests.source(url="https://h/a.csv", caBundle={"configMapRef": {"name": "company"}}, glob=None)
    web["spec"]["connector"]["files"] = {
        key: value for key, value in web["spec"]["connector"]["files"].items() if key not in ("volume", "glob")
    }
    stage.apply(web, manifests.lake(), manifests.dataset(), manifests.pipeline())
    spec = _job(stage.graph("Pipeline", "cities"))["spec"]["template"]["spec"]
    [volume] = [volume for volume in spec["volumes"] if volume.get("configMap", {}).get("name") == "company"]
    assert volume["configMap"] == {"name": "company", "optional": True}  # the worker says that it is missing
    mounts = {mount["name"]: mount for mount in spec["containers"][0]["volumeMounts"]}
    assert mounts[volume["name"]] == {
        "name": volume["name"],
        "mountPath": "/etc/penstock/configmaps/company",
        "readOnly": True,
    }


def test_a_claim_that_is_source_and_target_is_mounted_once() -> None:
    stage = Scene()
    stage.apply(manifests.source(), manifests.lake(claim="in"), manifests.dataset(), manifests.pipeline())
    spec = _job(stage.graph("Pipeline", "cities"))["spec"]["template"]["spec"]
    claims = [
        volume["persistentVolumeClaim"]["claimName"] for volume in spec["volumes"] if "persistentVolumeClaim" in volume
    ]
    assert claims == ["in"]


def test_a_pod_may_do_as_little_as_possible() -> None:
    spec = _pipeline_job()["spec"]["template"]["spec"]
    assert spec["automountServiceAccountToken"] is False
    assert spec["restartPolicy"] == "Never"
    assert spec["securityContext"]["runAsNonRoot"] is True
    assert spec["securityContext"]["seccompProfile"] == {"type": "RuntimeDefault"}
    assert spec["containers"][0]["securityContext"] == {
        "readOnlyRootFilesystem": True,
        "allowPrivilegeEscalation": False,
        "capabilities": {"drop": ["ALL"]},
    }


def test_a_job_ends_behind_the_workers_own_deadline_and_does_not_repeat_what_the_user_must_mend() -> None:
    spec = _pipeline_job(deadline="15m", retries=5)["spec"]
    assert (spec["activeDeadlineSeconds"], spec["backoffLimit"]) == (15 * 60 + 60, 5)
    assert spec["podReplacementPolicy"] == "Failed"
    assert spec["podFailurePolicy"]["rules"] == [
        {"action": "FailJob", "onExitCodes": {"containerName": "worker", "operator": "In", "values": [2]}}
    ]


def test_a_run_runs_where_its_dataset_wishes() -> None:
    stage = scene.quickstart()
    limits = {"limits": {"memory": "4Gi"}}
    wishes = {"resources": limits, "nodeSelector": {"disk": "fast"}, "serviceAccountName": "loader"}
    stage.apply(manifests.dataset(worker=wishes))
    spec = _job(stage.graph("Pipeline", "cities"))["spec"]["template"]["spec"]
    assert (spec["nodeSelector"], spec["serviceAccountName"]) == ({"disk": "fast"}, "loader")
    assert spec["containers"][0]["resources"] == limits


def test_values_cannot_break_out_of_the_template() -> None:
    stage = scene.quickstart()
    odd = "\"}}\n- {{ 7 * 7 }} <&> 'x': !!python/object"
    stage.apply(manifests.dataset(worker={"nodeSelector": {"disk": odd}}))
    assert _job(stage.graph("Pipeline", "cities"))["spec"]["template"]["spec"]["nodeSelector"] == {"disk": odd}


def _container(template: Manifest) -> Manifest:
    container: Manifest = template["spec"]["containers"][0]
    return container


@pytest.mark.parametrize(
    ("resources", "size"),
    [
        ({}, "20Gi"),
        ({"resources": {"limits": {"memory": "1Gi"}}}, "20Gi"),
        ({"resources": {"limits": {"ephemeral-storage": "3Gi"}}}, "3Gi"),
    ],
)
def test_scratch_has_a_size_limit(resources: dict[str, Any], size: str) -> None:
    stage = scene.quickstart()
    stage.apply(manifests.dataset(worker=resources))
    volumes = _job(stage.graph("Pipeline", "cities"))["spec"]["template"]["spec"]["volumes"]
    assert [volume["emptyDir"] for volume in volumes if "emptyDir" in volume] == [{"sizeLimit": size}]
