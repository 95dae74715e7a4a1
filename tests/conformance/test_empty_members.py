"""A member of a union that is an empty object: every order of apply, replace and patch, on both servers alike."""

import itertools
import json
from typing import Any

import pytest

from conformance.conftest import Both
from embedded import harness

_EMPTY: dict[str, Any] = {"csv": {}}
_ONE = {"csv": {"delimiter": ";"}}
_ALL = {"csv": {"delimiter": ";", "quote": "'", "escape": "'", "header": False, "nullValues": ["NA"]}}
_HOW: dict[str, tuple[str, ...]] = {
    "client": ("apply", "-f", "-"),
    "server": ("apply", "--server-side", "-f", "-"),
    "flux": ("apply", "--server-side", "--force-conflicts", "--field-manager=flux", "-f", "-"),
    "replace": ("replace", "-f", "-"),
}
_Step = tuple[str, dict[str, Any]]
_CHAINS: list[tuple[_Step, ...]] = [
    *(
        ((first, written), (second, _EMPTY))
        for first, second in itertools.product(("client", "server", "flux"), _HOW)
        for written in (_EMPTY, _ONE, _ALL)
    ),
    (("server", _ALL), ("server", _EMPTY), ("patch", _ONE), ("client", _EMPTY)),
    (("server", _ALL), ("server", _EMPTY), ("client", _EMPTY)),
    (("client", _EMPTY), ("replace", _ONE), ("server", _EMPTY)),
    (("server", _EMPTY), ("patch", _ONE), ("server", _EMPTY)),
    (("server", {"json": {"lines": True}}), ("server", {"json": {}})),
    (("client", {"json": {"lines": True}}), ("server", {"json": {}})),
    (("server", {"parquet": {}}), ("client", {"parquet": {}}), ("server", {"parquet": {}})),
    (("server", _ALL), ("server", {"json": {}})),
    (("client", _ALL), ("client", {"parquet": {}})),
]


def _source(written: dict[str, Any]) -> harness.Json:
    files = {"url": "file:///volumes/data/in/", "volume": {"claimName": "data"}, "format": written}
    return {
        "apiVersion": "penstock.dev/v1alpha1",
        "kind": "Source",
        "metadata": {"name": "empty-members"},
        "spec": {"connector": {"files": files}},
    }


def _run(kube: harness.Kube, steps: tuple[_Step, ...]) -> Any:
    """The format after all steps; each of them must succeed."""
    kube.ctl("delete", "source", "empty-members", "--ignore-not-found")
    for how, written in steps:
        if how == "patch":
            merge = json.dumps({"spec": {"connector": {"files": {"format": written}}}})
            kube.ctl("patch", "source", "empty-members", "--type=merge", "-p", merge)
        else:
            kube.ctl(*_HOW[how], stdin=json.dumps(_source(written)))
    stored = json.loads(kube.ctl("get", "source", "empty-members", "-o", "json"))
    return stored["spec"]["connector"]["files"]["format"]


@pytest.mark.parametrize("steps", _CHAINS, ids=lambda steps: " ".join(how for how, _ in steps))
def test_every_order_works_and_ends_alike(both: Both, steps: tuple[_Step, ...]) -> None:
    real, embedded = (_run(harness.Kube(kubeconfig, "default"), steps) for kubeconfig in (both.real, both.embedded))
    assert real == embedded
    assert list(real) == list(steps[-1][1])
