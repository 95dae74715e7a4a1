"""Helm, built from its Go module: what the tests of the chart use."""

from pathlib import Path

from support import gobuild

MODULE = Path(__file__).parent.parent / "helm"


def program() -> Path:
    """The program, built once into the cache. Raises `gobuild.Missing`."""
    return gobuild.binary(MODULE, "helm.sh/helm/v3/cmd/helm", "helm", "-ldflags=-s -w")


if __name__ == "__main__":
    print(program())
