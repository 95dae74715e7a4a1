"""One cluster for all end-to-end tests, a namespace for each."""

from collections.abc import Iterator
from functools import partial

import pytest

from support import clusters, context, gobuild, node
from support.clusters import Cluster, Session

_S3 = "no S3 server of ours is within reach of that cluster"
_SHARED = "the operator there is not ours to stop"
_ELSEWHERE = "its processes and files are out of reach"
NOT_ON_A_CONTEXT = {
    "test_s3_reads_a_bucket_and_delivers_into_one": _S3,
    "test_wrong_credentials_are_told_and_right_ones_heal": _S3,
    "test_nothing_is_written_when_nothing_changed_nor_after_a_restart": _SHARED,
    "test_an_operator_killed_again_and_again_starts_each_run_once": _SHARED,
    "test_two_operators_that_act_at_once_start_each_run_once": _SHARED,
    "test_two_replicas_and_a_rolling_update_have_one_operator_act_at_any_time": _SHARED,
    "test_the_operator_is_confined_and_has_no_right_to_secrets": _SHARED,
    "test_the_operator_was_never_restarted_by_its_kubelet": _SHARED,
    "test_a_worker_killed_twice_in_its_load_loads_every_row_once": _ELSEWHERE,
    "test_what_a_worker_writes_belongs_to_its_group": _ELSEWHERE,
}


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Give each test its time for itself, however long its cluster takes to build; skip what a cluster cannot have."""
    for item in items:
        item.add_marker(pytest.mark.timeout(func_only=True))
        if config.getoption("--cluster").startswith("context:") and (reason := NOT_ON_A_CONTEXT.get(item.name)):
            item.add_marker(pytest.mark.skip(reason=reason))


@pytest.fixture(scope="session")
def cluster(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Cluster]:
    """The cluster that `--cluster` names, with the operator running."""
    folder = tmp_path_factory.mktemp("cluster")
    kind, _, name = request.config.getoption("--cluster").partition(":")
    kinds = {"embedded": clusters.embedded, "real": clusters.real, "node": node.cluster}
    start = kinds.get(kind) or partial(context.cluster, name)
    try:
        with start(folder) as running:
            yield running
    except gobuild.Missing as missing:
        pytest.skip(f"no such cluster here: {missing}")
    except context.Unfit as unfit:
        pytest.exit(str(unfit), returncode=pytest.ExitCode.USAGE_ERROR)


@pytest.fixture
def session(cluster: Cluster) -> Iterator[Session]:
    """A namespace of its own, deleted afterwards without waiting."""
    own = cluster.session()
    yield own
    own.delete()
