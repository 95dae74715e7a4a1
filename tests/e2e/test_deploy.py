"""deploy/ as kubectl's own kustomize makes it: images are named in one place, and permissions end where they should."""

import shutil
import subprocess
from pathlib import Path
from typing import Any

import yaml

from support.clusters import KUBECTL, ROOT
from support.manifests import Manifest

ROLES = ("Role", "ClusterRole")

MINE = """
images:
  - {name: penstock-operator, newName: registry.example/ops/operator, newTag: 0.1.0}
  - {name: penstock-worker, newName: registry.example/data/worker, digest: "sha256:0123456789abcdef"}
"""


def _built(folder: Path) -> list[Manifest]:
    """All objects of a kustomization."""
    built = subprocess.run([str(KUBECTL), "kustomize", str(folder)], capture_output=True, text=True, check=True).stdout
    return [*yaml.safe_load_all(built)]


def _container(built: list[Manifest]) -> Manifest:
    [deployment] = [one for one in built if one["kind"] == "Deployment"]
    [container] = deployment["spec"]["template"]["spec"]["containers"]
    found: Manifest = container
    return found


def _images(folder: Path) -> tuple[str, str]:
    """The operator's image, and the one that it is given for workers."""
    container = _container(_built(folder))
    environment: dict[str, Any] = {entry["name"]: entry.get("value") for entry in container["env"]}
    assert "--worker-image=$(WORKER_IMAGE)" in container["args"]
    return container["image"], environment["WORKER_IMAGE"]


def test_the_images_are_those_of_the_dockerfile() -> None:
    assert _images(ROOT / "deploy") == ("penstock-operator:dev", "penstock-worker:dev")


def test_images_of_a_private_registry_are_named_in_one_file(tmp_path: Path) -> None:
    copy = tmp_path / "deploy"
    shutil.copytree(ROOT / "deploy", copy)
    kustomization = yaml.safe_load((copy / "kustomization.yaml").read_text())
    (copy / "kustomization.yaml").write_text(yaml.safe_dump(kustomization | yaml.safe_load(MINE)))
    mine = ("registry.example/ops/operator:0.1.0", "registry.example/data/worker@sha256:0123456789abcdef")
    assert _images(copy) == mine


def test_an_overlay_names_them_too(tmp_path: Path) -> None:
    shutil.copytree(ROOT / "deploy", tmp_path / "deploy")
    overlay = tmp_path / "overlay"
    overlay.mkdir()
    shutil.copy(ROOT / "deploy" / "images.yaml", overlay)
    with_names = {"resources": ["../deploy"], "configurations": ["images.yaml"], **yaml.safe_load(MINE)}
    (overlay / "kustomization.yaml").write_text(yaml.safe_dump(with_names))
    mine = ("registry.example/ops/operator:0.1.0", "registry.example/data/worker@sha256:0123456789abcdef")
    assert _images(overlay) == mine


def _granted(built: list[Manifest], account: str = "penstock-operator") -> dict[str, list[Manifest]]:
    """The rules that the operator's account has, by namespace; "" is the whole cluster."""
    roles = {(one["kind"], one["metadata"]["name"], _namespace(one)): one for one in built if one["kind"] in ROLES}
    granted: dict[str, list[Manifest]] = {}
    for binding in (one for one in built if one["kind"].endswith("Binding")):
        assert binding["subjects"] == [{"kind": "ServiceAccount", "name": account, "namespace": "penstock-system"}]
        place, reference = _namespace(binding), binding["roleRef"]
        role = roles[reference["kind"], reference["name"], place if reference["kind"] == "Role" else ""]
        granted.setdefault(place, []).extend(role["rules"])
    return granted


def _namespace(manifest: Manifest) -> str:
    return str(manifest["metadata"].get("namespace", ""))


def _reads_definitions_by_name(rule: Manifest) -> bool:
    return (rule["resources"], rule["verbs"]) == (["customresourcedefinitions"], ["get"]) and len(
        rule["resourceNames"]
    ) == 5


def test_nowhere_is_there_a_permission_on_secrets_or_all_of_anything() -> None:
    for folder in ("deploy", "deploy/namespaced"):
        for rules in _granted(_built(ROOT / folder)).values():
            for rule in rules:
                assert not {"secrets", "*"} & {*rule["resources"], *rule["verbs"], *rule["apiGroups"]}


def test_the_operator_writes_its_own_lease_alone() -> None:
    for folder in ("deploy", "deploy/namespaced"):
        rules = _granted(_built(ROOT / folder))["penstock-system"]
        assert [(rule["verbs"], rule.get("resourceNames")) for rule in rules] == [
            (["get", "patch"], ["penstock-operator"]),
            (["create"], None),
        ]


def test_the_namespaced_overlay_grants_nothing_outside_of_the_namespace_that_it_watches() -> None:
    everywhere, limited = _built(ROOT / "deploy"), _built(ROOT / "deploy" / "namespaced")
    granted = _granted(limited)
    assert set(granted) == {"", "penstock-system", "team-data"}
    assert [*map(_reads_definitions_by_name, granted[""])] == [True]
    assert granted["team-data"] == [
        rule for rule in _granted(everywhere)[""] if not _reads_definitions_by_name(rule)
    ], "what it may do there is what it may do everywhere otherwise"
    assert set(_container(limited)["args"]) - set(_container(everywhere)["args"]) == {"--namespace=team-data"}


def test_both_installations_find_the_worker_s_image_alike() -> None:
    assert _images(ROOT / "deploy" / "namespaced") == _images(ROOT / "deploy")
