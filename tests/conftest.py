"""Options of the whole suite."""

import pytest


def pytest_addoption(parser: pytest.Parser) -> None:
    """On which cluster the end-to-end tests run."""
    parser.addoption(
        "--cluster",
        default="embedded",
        choices=["embedded", "real", "node"],
        help="embedded: what `penstock up` starts. real: kube-apiserver and controller-manager, built where absent. "
        "node: scheduler, kubelet and containerd too, with our images as containers (root).",
    )
