"""docs/embedded.md, claim by claim: what is refused by name, what is accepted without effect, what differs."""

import copy
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from embedded import harness
from embedded.harness import Json, Kube, thing, until

_DOC = (Path(__file__).parent.parent.parent / "docs" / "embedded.md").read_text()
_SUFFIX = "not supported by penstock's embedded Kubernetes"
Answer = tuple[int, Json]


def _pod(**spec: Any) -> Json:
    made = harness.job("x", "true")["spec"]["template"]
    made["metadata"] = {"name": "p"}
    container = made["spec"]["containers"][0] | spec.pop("container", {})
    return {"apiVersion": "v1", "kind": "Pod", **made, "spec": made["spec"] | {"containers": [container]} | spec}


def _tried_pod(**spec: Any) -> Callable[[Kube], Answer]:
    return lambda kube: kube.http("POST", "pods?dryRun=All", _pod(**spec))


def _tried_job(**spec: Any) -> Callable[[Kube], Answer]:
    return lambda kube: kube.http("POST", "jobs?dryRun=All", harness.job("j", "true", **spec))


def _restarting(kube: Kube) -> Answer:
    job = harness.job("j", "true")
    job["spec"]["template"]["spec"]["restartPolicy"] = "OnFailure"
    return kube.http("POST", "jobs?dryRun=All", job)


def _tried_cronjob(**spec: Any) -> Callable[[Kube], Answer]:
    template = {"spec": harness.job("j", "true")["spec"]}
    whole = {"schedule": "0 0 1 1 *", "jobTemplate": template} | spec
    body = {"apiVersion": "batch/v1", "kind": "CronJob", "metadata": {"name": "c"}, "spec": whole}
    return lambda kube: kube.http("POST", "cronjobs?dryRun=All", body)


def _defined(change: Callable[[Json], Any]) -> Callable[[Kube], Answer]:
    """The throw-away kind under another name, changed."""

    def tried(kube: Kube) -> Answer:
        crds = "/apis/apiextensions.k8s.io/v1/customresourcedefinitions"
        definition = copy.deepcopy(kube.get(f"{crds}/things.try.dev"))
        names = {"plural": "others", "singular": "other", "kind": "Other", "listKind": "OtherList"}
        definition["metadata"] = {"name": "others.try.dev"}
        definition["spec"]["names"] = names
        change(definition["spec"])
        return kube.http("POST", f"{crds}?dryRun=All", definition)

    return tried


def _schema(spec: Json) -> Json:
    root: Json = spec["versions"][0]["schema"]["openAPIV3Schema"]
    return root


_CONTAINER = {"name": "worker", "image": harness.IMAGE}
_REFUSED: dict[str, Callable[[Kube], Answer]] = {
    "spec.containers: more than one container": _tried_pod(containers=[_CONTAINER, _CONTAINER | {"name": "other"}]),
    "spec.initContainers": _tried_pod(initContainers=[_CONTAINER]),
    "spec.hostNetwork": _tried_pod(hostNetwork=True),
    "spec.activeDeadlineSeconds": _tried_pod(activeDeadlineSeconds=5),
    "spec.volumes[0].hostPath": _tried_pod(volumes=[{"name": "v", "hostPath": {"path": "/"}}]),
    "spec.containers[0].envFrom": _tried_pod(container={"envFrom": [{"configMapRef": {"name": "c"}}]}),
    "spec.containers[0].livenessProbe": _tried_pod(container={"livenessProbe": {"exec": {"command": ["true"]}}}),
    "spec.containers[0].lifecycle": _tried_pod(container={"lifecycle": {"preStop": {"exec": {"command": ["true"]}}}}),
    "spec.completionMode Indexed": _tried_job(completionMode="Indexed", completions=1),
    "spec.parallelism other than 1": _tried_job(parallelism=2),
    "spec.completions other than 1": _tried_job(completions=2),
    "spec.template.spec.restartPolicy OnFailure": _restarting,
    "spec.ttlSecondsAfterFinished": _tried_job(ttlSecondsAfterFinished=5),
    "spec.successPolicy": _tried_job(successPolicy={"rules": [{"succeededCount": 1}]}),
    "Job spec.selector": _tried_job(manualSelector=True, selector={"matchLabels": {"a": "b"}}),
    "CronJob spec.concurrencyPolicy Replace": _tried_cronjob(concurrencyPolicy="Replace"),
    "CronJob spec.schedule @every": _tried_cronjob(schedule="@every 1h"),
    "pods/exec": lambda kube: kube.http("POST", "pods/p/exec?command=true"),
    "pods/portforward": lambda kube: kube.http("POST", "pods/p/portforward"),
    "pods/attach": lambda kube: kube.http("POST", "pods/p/attach"),
    "serviceaccounts/token": lambda kube: kube.http("POST", "serviceaccounts/default/token", {}),
    "CustomResourceDefinition with conversion, or with other than one version": _defined(
        lambda spec: spec["versions"].append(spec["versions"][0] | {"name": "v2", "storage": False})
    ),
    "CustomResourceDefinition schema keyword": _defined(lambda spec: _schema(spec).update({"$ref": "#/x"})),
    "CustomResourceDefinition additionalPrinterColumns": _defined(
        lambda spec: spec["versions"][0]["additionalPrinterColumns"][0].update(jsonPath=".spec..s")
    ),
    "x-kubernetes-validations rule": _defined(
        lambda spec: _schema(spec).update({"x-kubernetes-validations": [{"rule": "self.spec.s.("}]})
    ),
}
_NO_EFFECT: Json = {
    "securityContext": {"runAsNonRoot": True},
    "nodeSelector": {"a": "b"},
    "tolerations": [{"key": "a", "operator": "Exists"}],
    "affinity": {"nodeAffinity": {}},
    "priorityClassName": "high",
    "serviceAccountName": "nobody",
    "dnsPolicy": "Default",
    "automountServiceAccountToken": False,
    "containers[].resources": {"limits": {"memory": "1Gi"}},
    "containers[].imagePullPolicy": "Always",
}


def _section(title: str) -> str:
    return _DOC.partition(f"## {title}\n")[2].partition("\n## ")[0]


@pytest.fixture(autouse=True)
def _only_ours(is_real: bool) -> None:
    if is_real:
        pytest.skip("about the embedded server alone")


def test_the_table_of_refusals_is_whole() -> None:
    told = re.findall(r"^\| .* \| `(.*)` \|$", _section("What it refuses"), re.MULTILINE)
    assert sorted(told) == sorted(_REFUSED)


@pytest.mark.parametrize("words", _REFUSED)
def test_what_is_not_done_is_refused_by_name(kube: Kube, words: str) -> None:
    code, status = _REFUSED[words](kube)

    assert code == 422, status
    assert words in status["message"]
    assert status["message"].endswith(_SUFFIX)


@pytest.mark.parametrize("path", ["rbac.authorization.k8s.io/v1/roles", "apps/v1/deployments"])
def test_other_resources_are_not_found_and_told_why(kube: Kube, path: str) -> None:
    code, status = kube.http("GET", f"/apis/{path}")
    assert code == 404
    assert "has only what `kubectl api-resources` lists" in status["message"]


def test_a_foreign_image_waits_and_says_so(kube: Kube) -> None:
    kube.apply(_pod(container={"image": "nginx"}))

    def reason() -> str:
        statuses = kube.get("pods/p").get("status", {}).get("containerStatuses", [{}])
        return str(statuses[0].get("state", {}).get("waiting", {}).get("reason", ""))

    assert until(reason) == "ErrImageNeverPull"


def test_the_list_of_fields_without_effect_is_whole() -> None:
    assert re.findall(r"^- `(.*)`$", _section("Accepted without effect"), re.MULTILINE) == list(_NO_EFFECT)


@pytest.mark.parametrize("field", _NO_EFFECT)
def test_fields_without_effect_are_kept(kube: Kube, field: str) -> None:
    name = field.removeprefix("containers[].")
    given = {name: _NO_EFFECT[field]}

    code, pod = kube.http("POST", "pods?dryRun=All", _pod(**({"container": given} if "[]" in field else given)))

    assert code == 201, pod
    kept = pod["spec"]["containers"][0] if "[]" in field else pod["spec"]
    assert kept[name] == _NO_EFFECT[field]


def test_known_differences(kube: Kube) -> None:
    assert kube.http("POST", "persistentvolumeclaims", harness.claim("c"))[1]["status"]["phase"] == "Bound"
    assert kube.get("serviceaccounts")["items"] == []
    assert "the server does not allow this method" in kube.http("POST", "things/a", thing("a"))[1]["message"]
    assert "not found in OpenAPI schema" in kube.ctl("explain", "cronjob", ok=False)
