"""One server for all tests here, a fresh namespace for each."""

import itertools
import os
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from embedded import harness
from support import localnode

_numbers = itertools.count(os.getpid())


@pytest.fixture(scope="session")
def kubeconfig(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """The embedded server, or the one under PENSTOCK_TEST_KUBECONFIG with our node beside it."""
    folder = tmp_path_factory.mktemp("cluster")
    if named := os.environ.get("PENSTOCK_TEST_KUBECONFIG"):
        yield from _real(Path(named), folder)
        return
    server = harness.Embedded.start(folder)
    yield server.kubeconfig
    server.stop()


def _real(kubeconfig: Path, folder: Path) -> Iterator[Path]:
    harness.Kube(kubeconfig, "default").ctl("apply", "-f", str(harness.HERE / "crds"))
    node = subprocess.Popen(localnode.command(kubeconfig, folder, harness.IMAGE))
    yield kubeconfig
    node.terminate()
    node.wait(10)


@pytest.fixture
def is_real() -> bool:
    """Whether a real API server is the one under test."""
    return "PENSTOCK_TEST_KUBECONFIG" in os.environ


@pytest.fixture
def kube(kubeconfig: Path) -> Iterator[harness.Kube]:
    """A namespace of one's own."""
    name = f"t{next(_numbers)}"
    everywhere = harness.Kube(kubeconfig, "default")
    everywhere.ctl("create", "namespace", name)
    yield harness.Kube(kubeconfig, name)
    everywhere.ctl("delete", "namespace", name, "--wait=false")
