"""Options of the whole suite."""

import pytest

from support import context


def pytest_addoption(parser: pytest.Parser) -> None:
    """On which cluster the end-to-end tests run."""
    parser.addoption(
        "--cluster",
        default="embedded",
        type=context.option,
        help="embedded: what `penstock up` starts. real: kube-apiserver and controller-manager, built where absent. "
        "node: scheduler, kubelet and containerd too, with our images as containers (root). "
        "context:NAME: a cluster of yours with Penstock in it, by its kubeconfig context; in namespaces of its own.",
    )
