"""Two clusters side by side: the real control plane and the embedded one, both without a node, both with our kinds."""

import contextlib
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from embedded import harness
from support import controlplane, gobuild

ROOT = Path(__file__).parent.parent.parent


@dataclass(frozen=True)
class Both:
    """The kubeconfigs of two clusters that should answer alike."""

    embedded: Path
    real: Path


@pytest.fixture(scope="session")
def both(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Both]:
    """Both clusters; skips where the real one was not asked for or cannot be had."""
    if request.config.getoption("cluster") != "real":
        pytest.skip("compares with a real control plane: pytest --cluster=real tests/conformance, or make conformance")
    folder = tmp_path_factory.mktemp("both")
    with contextlib.ExitStack() as stack:
        try:
            real = stack.enter_context(controlplane.running(folder / "real"))
        except gobuild.Missing as missing:
            pytest.skip(str(missing))
        embedded = harness.Embedded.start(folder / "embedded", "--image", "none")  # a node that runs no image of ours
        stack.callback(embedded.stop)
        clusters = Both(embedded.kubeconfig, real)
        for kubeconfig in (clusters.embedded, clusters.real):
            kube = harness.Kube(kubeconfig, "default")
            kube.ctl("apply", "-f", str(ROOT / "crds"), "-f", str(harness.HERE / "crds"))
            kube.ctl("wait", "--for=condition=Established", "crd", "--all", "--timeout=30s")
        yield clusters
