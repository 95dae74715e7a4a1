"""The Helm chart: by default it makes what kustomize makes of deploy/, and its values are checked.

Helm comes from PATH, or from `make helm`, which builds it from its Go module. Without it these tests are skipped.
"""

import shutil
import subprocess
from pathlib import Path
from typing import Any

import pytest
import yaml

from house import tree
from support import gobuild
from support import helm as helm_module
from support.clusters import KUBECTL
from support.manifests import Manifest

CHART = tree.ROOT / "deploy" / "helm" / "penstock"


@pytest.fixture(scope="module")
def helm() -> Path:
    """The program."""
    found = shutil.which("helm") or gobuild.built(helm_module.MODULE, "helm")
    if found is None:
        pytest.skip("there is no helm here; `make helm` builds it")
    return Path(found)


def _template(helm: Path, *options: str) -> subprocess.CompletedProcess[str]:
    command = [
        str(helm),
        "template",
        "penstock",
        str(CHART),
        "--namespace",
        "penstock-system",
        "--kube-version",
        "1.35.0",
    ]
    return subprocess.run([*command, *options], capture_output=True, text=True, check=False)


def _rendered(helm: Path, *options: str) -> dict[tuple[str, str, str], Manifest]:
    done = _template(helm, *options)
    assert done.returncode == 0, done.stderr
    return _by_name(done.stdout)


def _by_name(text: str) -> dict[tuple[str, str, str], Manifest]:
    objects = [each for each in yaml.safe_load_all(text) if each]
    return {(each["kind"], each["metadata"].get("namespace", ""), each["metadata"]["name"]): each for each in objects}


def test_by_default_it_makes_what_kustomize_makes(helm: Path) -> None:
    built = subprocess.run(
        [str(KUBECTL), "kustomize", str(tree.ROOT / "deploy")], capture_output=True, text=True, check=True
    ).stdout
    expected = {key: each for key, each in _by_name(built).items() if key[0] != "Namespace"}  # Helm creates that
    rendered = _rendered(helm)
    definitions = {key: rendered.pop(key) for key in [*rendered] if key[0] == "CustomResourceDefinition"}
    assert rendered == expected
    for file in sorted((tree.ROOT / "crds").iterdir()):
        (there,) = yaml.safe_load_all(file.read_text())
        chart = definitions.pop(("CustomResourceDefinition", "", there["metadata"]["name"]))
        assert chart["metadata"].pop("annotations") == {"helm.sh/resource-policy": "keep"}
        assert chart == there
    assert definitions == {}


def test_limited_to_namespaces_it_may_do_nothing_elsewhere(helm: Path) -> None:
    rendered = _rendered(helm, "--set", "namespaces={team-a,team-b}")
    arguments = rendered["Deployment", "penstock-system", "penstock-operator"]["spec"]["template"]["spec"][
        "containers"
    ][0]["args"]
    assert {"--namespace=team-a", "--namespace=team-b"} <= {*arguments}
    cluster = [each for (kind, _, name), each in rendered.items() if kind == "ClusterRole" and "operator" in name]
    assert [rule["resources"] for each in cluster for rule in each["rules"]] == [["customresourcedefinitions"]]
    rules = {place: each["rules"] for (kind, place, _), each in rendered.items() if kind == "Role"}
    assert rules["team-a"] == rules["team-b"]
    everywhere = _rendered(helm)["ClusterRole", "", "penstock-operator"]["rules"]
    assert rules["team-a"] == [rule for rule in everywhere if rule["resources"] != ["customresourcedefinitions"]]


def test_options_add_what_they_name(helm: Path) -> None:
    digest = "sha256:" + "0" * 64
    options = ["podDisruptionBudget.enabled=true", "networkPolicy.enabled=true", f"workerImage.digest={digest}",
               "podLabels.team=data", "definitions.install=false"]  # fmt: skip
    rendered = _rendered(helm, *(part for option in options for part in ("--set", option)))
    place = ("penstock-system", "penstock-operator")
    pod: dict[str, Any] = rendered["Deployment", *place]["spec"]["template"]
    for policy, selector in (("PodDisruptionBudget", "selector"), ("NetworkPolicy", "podSelector")):
        labels = rendered[policy, *place]["spec"][selector]["matchLabels"]
        assert labels.items() <= pod["metadata"]["labels"].items()
    assert pod["metadata"]["labels"]["team"] == "data"
    values = [entry.get("value") for entry in pod["spec"]["containers"][0]["env"]]
    assert f"penstock-worker@{digest}" in values
    assert not [key for key in rendered if key[0] == "CustomResourceDefinition"]


@pytest.mark.parametrize("wrong", ["replicas=0", "image.digest=latest", "namespaces={Team}", "unknown=1"])
def test_values_that_cannot_be_are_refused(helm: Path, wrong: str) -> None:
    done = _template(helm, "--set", wrong)
    assert done.returncode != 0
    assert "values don't meet the specifications of the schema" in done.stderr
