"""The address of a cluster: what kubectl remembers of another one there does harm."""

import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest

from localkube import addresses


@pytest.fixture
def remembered(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """Where kubectl would remember addresses: nothing yet."""
    monkeypatch.setenv("KUBECACHEDIR", str(tmp_path))
    yield tmp_path / "discovery"
    shutil.rmtree(tmp_path / "discovery")  # many folders, of which pytest would keep three generations


def test_a_new_cluster_does_not_take_an_address_that_kubectl_remembers(remembered: Path) -> None:
    for port in range(32768, 65536):  # what systems give out
        if port % 3:
            (remembered / f"127.0.0.1_{port}").mkdir(parents=True)
    for _ in range(10):
        with addresses.listening_anew() as bound:
            assert bound.getsockname()[1] % 3 == 0


def test_where_kubectl_remembers_every_port_one_of_them_is_taken(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(addresses, "_TRIES", 0)
    with addresses.listening_anew() as bound:
        assert bound.getsockname()[1]


def test_a_port_that_is_taken_is_an_error() -> None:
    with addresses.listening_anew() as bound:
        bound.listen()
        with pytest.raises(OSError, match="in use"):
            addresses.listening(bound.getsockname()[1])
