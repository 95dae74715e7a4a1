"""Wrong fields of Pods: the embedded server refuses what the real one refuses, in its words."""

from typing import Any

import pytest

from conformance.conftest import Both
from embedded import harness

_CONTAINER = {"name": "c", "image": "i:1"}
_VOLUME = {"name": "v", "emptyDir": {}}
_WRONG: list[dict[str, Any]] = [
    {"volumes": [{"name": "Not_A_Name", "emptyDir": {}}]},
    {"volumes": [{"name": "a/b", "emptyDir": {}}]},
    {"volumes": [{"name": "../x", "emptyDir": {}}]},
    {"volumes": [{"name": "", "emptyDir": {}}]},
    {"volumes": [{"emptyDir": {}}]},
    {"volumes": [{"name": "x" * 64, "emptyDir": {}}]},
    {"volumes": [_VOLUME, _VOLUME]},
    {"volumes": [{"name": "a.b", "emptyDir": {}}]},
    {"volumes": [{"name": "v", "emptyDir": {}, "secret": {"secretName": "s"}}]},
    {"volumes": [{"name": "v", "secret": {}}]},
    {"volumes": [{"name": "v", "configMap": {}}]},
    {"volumes": [{"name": "v", "persistentVolumeClaim": {"claimName": ""}}]},
    {"containers": []},
    {"containers": [_CONTAINER | {"name": "A"}]},
    {"containers": [_CONTAINER | {"name": "a.b"}]},
    {"containers": [_CONTAINER | {"name": "x" * 64}]},
    {"containers": [{"name": "c"}]},
    {"containers": [{"image": "i:1"}]},
    {"containers": [_CONTAINER | {"env": [{"name": "", "value": "x"}]}]},
    {"containers": [_CONTAINER | {"volumeMounts": [{"name": "missing", "mountPath": "/x"}]}]},
    {"volumes": [_VOLUME], "containers": [_CONTAINER | {"volumeMounts": [{"name": "v", "mountPath": ""}]}]},
    {"volumes": [_VOLUME], "containers": [_CONTAINER | {"volumeMounts": [{"name": "v", "mountPath": "/x"}] * 2}]},
    {
        "volumes": [_VOLUME],
        "containers": [_CONTAINER | {"volumeMounts": [{"name": "v", "mountPath": "/x", "subPath": "/a"}]}],
    },
    {
        "volumes": [_VOLUME],
        "containers": [_CONTAINER | {"volumeMounts": [{"name": "v", "mountPath": "/x", "subPath": "a/../../b"}]}],
    },
]


@pytest.mark.parametrize("wrong", _WRONG, ids=lambda wrong: str(wrong)[:60])
def test_a_wrong_pod_is_refused_alike(both: Both, wrong: dict[str, Any]) -> None:
    spec = {"restartPolicy": "Never", "containers": [_CONTAINER]} | wrong
    body = {
        "apiVersion": "batch/v1",
        "kind": "Job",
        "metadata": {"name": "pods"},
        "spec": {"template": {"spec": spec}},
    }
    real, embedded = (
        harness.Kube(kubeconfig, "default").http("POST", "/apis/batch/v1/namespaces/default/jobs?dryRun=All", body)
        for kubeconfig in (both.real, both.embedded)
    )
    assert real[0] == 422
    assert (embedded[0], embedded[1]["message"]) == (real[0], real[1]["message"])
