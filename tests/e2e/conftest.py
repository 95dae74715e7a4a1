"""One cluster for all end-to-end tests, a namespace for each."""

from collections.abc import Iterator

import pytest

from support import clusters, gobuild, node
from support.clusters import Cluster, Session

NOT_ON = {
    ("node", test): "its S3 server listens on the loopback of this machine, where no Pod gets"
    for test in ("test_s3_reads_a_bucket_and_delivers_into_one", "test_wrong_credentials_are_told_and_right_ones_heal")
}


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Give each test its time for itself, however long its cluster takes to build; skip what a cluster cannot have."""
    for item in items:
        item.add_marker(pytest.mark.timeout(func_only=True))
        if reason := NOT_ON.get((config.getoption("--cluster"), item.name)):
            item.add_marker(pytest.mark.skip(reason=reason))


@pytest.fixture(scope="session")
def cluster(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Cluster]:
    """The cluster that `--cluster` names, with the operator running."""
    folder = tmp_path_factory.mktemp("cluster")
    kinds = {"embedded": clusters.embedded, "real": clusters.real, "node": node.cluster}
    start = kinds[request.config.getoption("--cluster")]
    try:
        with start(folder) as running:
            yield running
    except gobuild.Missing as missing:
        pytest.skip(f"no such cluster here: {missing}")


@pytest.fixture
def session(cluster: Cluster) -> Iterator[Session]:
    """A namespace of its own, deleted afterwards without waiting."""
    own = cluster.session()
    yield own
    own.kubectl("delete", "namespace", own.namespace, "--wait=false")
