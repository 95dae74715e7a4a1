"""deploy/ as kubectl's own kustomize makes it: images are named in one place."""

import shutil
import subprocess
from pathlib import Path
from typing import Any

import yaml

from support.clusters import KUBECTL, ROOT

MINE = """
images:
  - {name: penstock-operator, newName: registry.example/ops/operator, newTag: 0.1.0}
  - {name: penstock-worker, newName: registry.example/data/worker, digest: "sha256:0123456789abcdef"}
"""


def _images(folder: Path) -> tuple[str, str]:
    """The operator's image, and the one that it is told for workers."""
    built = subprocess.run([str(KUBECTL), "kustomize", str(folder)], capture_output=True, text=True, check=True).stdout
    [deployment] = [one for one in yaml.safe_load_all(built) if one["kind"] == "Deployment"]
    [container] = deployment["spec"]["template"]["spec"]["containers"]
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
