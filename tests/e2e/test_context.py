"""`--cluster=context:NAME`: only what was named, and only where Penstock is."""

import argparse
from pathlib import Path

import pytest
import yaml

from embedded import harness
from support import context
from support.clusters import Cluster

pytestmark = pytest.mark.skipif("config.getoption('--cluster') != 'embedded'", reason="about the option itself")


@pytest.fixture
def two(cluster: Cluster, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A kubeconfig of two contexts, the other of which is the current one."""
    content = yaml.safe_load(cluster.kubeconfig.read_text())
    content["contexts"] = [{**content["contexts"][0], "name": name} for name in ("mine", "production")]
    content["current-context"] = "production"
    path = tmp_path / "config"
    path.write_text(yaml.safe_dump(content))
    monkeypatch.setenv("KUBECONFIG", str(path))
    return path


@pytest.mark.parametrize("named", ["context:", "context", "mine", "", "real:mine"])
def test_a_cluster_that_is_not_named_is_refused(named: str) -> None:
    with pytest.raises(argparse.ArgumentTypeError, match="context:NAME"):
        context.option(named)


@pytest.mark.usefixtures("two")
def test_an_unknown_context_is_refused_with_those_that_there_are(tmp_path: Path) -> None:
    with pytest.raises(context.Unfit, match="mine, production"), context.cluster("their", tmp_path):
        pass


@pytest.mark.usefixtures("two")
def test_nothing_but_the_named_context_can_be_reached(tmp_path: Path) -> None:
    with context.cluster("mine", tmp_path) as named:
        kubeconfig = yaml.safe_load(named.kubeconfig.read_text())
    assert [entry["name"] for entry in kubeconfig["contexts"]] == ["mine"]
    assert kubeconfig["current-context"] == "mine"
    assert named.kubeconfig.stat().st_mode & 0o077 == 0


def test_a_cluster_without_our_kinds_is_refused_with_the_remedy(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    bare = harness.Embedded.start(tmp_path / "bare")
    monkeypatch.setenv("KUBECONFIG", str(bare.kubeconfig))
    name = yaml.safe_load(bare.kubeconfig.read_text())["current-context"]
    try:
        with pytest.raises(context.Unfit, match="kubectl apply -f crds"), context.cluster(name, tmp_path):
            pass
    finally:
        bare.stop()
