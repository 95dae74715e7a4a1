"""Two clusters side by side: the real control plane and the embedded one, both with our node and our kinds."""

import contextlib
import subprocess
import uuid
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from embedded import harness
from support import controlplane, gobuild, localnode

ROOT = Path(__file__).parent.parent.parent


@dataclass(frozen=True)
class Both:
    """The kubeconfigs of two clusters that should answer alike."""

    embedded: Path
    real: Path


def _wait_for_collector(kube: harness.Kube) -> None:
    """Until the garbage collector has learnt of our kinds: a real one looks for new ones every half minute."""
    owner = {"apiVersion": "v1", "kind": "ConfigMap", "name": "nobody", "uid": str(uuid.uuid4())}
    item = harness.thing("owned")
    item["metadata"]["ownerReferences"] = [owner]
    assert kube.http("POST", "things", item)[0] == 201
    harness.until(lambda: kube.http("GET", "things/owned")[0] == 404, 90)


@contextlib.contextmanager
def _node(kubeconfig: Path, folder: Path) -> Iterator[None]:
    """The embedded cluster's node for the real one: Pods that cannot run there cannot run here, for the same reason."""
    node = subprocess.Popen(localnode.command(kubeconfig, folder, "none"))
    try:
        yield
    finally:
        node.terminate()
        node.wait(10)


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
        stack.enter_context(_node(real, folder / "node"))
        embedded = harness.Embedded.start(folder / "embedded", "--image", "none")  # a node that runs no image of ours
        stack.callback(embedded.stop)
        clusters = Both(embedded.kubeconfig, real)
        for kubeconfig in (clusters.embedded, clusters.real):
            kube = harness.Kube(kubeconfig, "default")
            kube.ctl("apply", "-f", str(ROOT / "crds"), "-f", str(harness.HERE / "crds"))
            kube.ctl("wait", "--for=condition=Established", "crd", "--all", "--timeout=30s")
            _wait_for_collector(kube)
        yield clusters
