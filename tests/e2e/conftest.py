"""One cluster for all end-to-end tests, a namespace for each."""

from collections.abc import Iterator

import pytest

from support import clusters, gobuild
from support.clusters import Cluster, Session


@pytest.fixture(scope="session")
def cluster(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Cluster]:
    """The cluster that `--cluster` names, with the operator running."""
    folder = tmp_path_factory.mktemp("cluster")
    start = {"embedded": clusters.embedded, "real": clusters.real}[request.config.getoption("--cluster")]
    try:
        with start(folder) as running:
            yield running
    except gobuild.Missing as missing:
        pytest.skip(f"no real control plane here: {missing}")


@pytest.fixture
def session(cluster: Cluster) -> Iterator[Session]:
    """A namespace of its own, deleted afterwards without waiting."""
    own = cluster.session()
    yield own
    own.kubectl("delete", "namespace", own.namespace, "--wait=false")
