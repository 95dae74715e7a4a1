"""Unions, also with an empty object as their member: every order of apply, replace and patch, on both servers alike."""

import itertools
import json
from typing import Any

import pytest

from conformance.conftest import Both
from embedded import harness

_EMPTY: dict[str, Any] = {"csv": {}}
_ONE = {"csv": {"delimiter": ";"}}
_ALL = {"csv": {"delimiter": ";", "quote": "'", "escape": "'", "header": False, "nullValues": ["NA"]}}
_JSON: dict[str, Any] = {"json": {}}
_HOW: dict[str, tuple[str, ...]] = {
    "client": ("apply", "-f", "-"),
    "server": ("apply", "--server-side", "-f", "-"),
    "flux": ("apply", "--server-side", "--force-conflicts", "--field-manager=flux", "-f", "-"),
    "other": ("apply", "--server-side", "--field-manager=other", "-f", "-"),
    "force": ("apply", "--server-side", "--force-conflicts", "-f", "-"),
    "replace": ("replace", "-f", "-"),
    "create": ("create", "-f", "-"),
}
_Step = tuple[str, dict[str, Any]]
# Who may change a value after whom. Flux is another field manager, which forces its changes.
_WITHOUT_CONFLICT = {
    "client": ("client", "server", "flux", "replace"),
    "server": ("client", "server", "flux", "replace"),
    "flux": ("client", "flux", "replace"),
}
_CHAINS: list[tuple[_Step, ...]] = [
    *(
        ((first, written), (second, _EMPTY))
        for first, seconds in _WITHOUT_CONFLICT.items()
        for second in seconds
        for written in (_EMPTY, _ONE, _ALL)
    ),
    (("server", _ALL), ("server", _EMPTY), ("patch", _ONE), ("client", _EMPTY)),
    (("server", _ALL), ("server", _EMPTY), ("client", _EMPTY)),
    (("client", _EMPTY), ("replace", _ONE), ("force", _EMPTY)),
    (("server", _EMPTY), ("patch", _ONE), ("flux", _EMPTY)),
    (("server", {"json": {"lines": True}}), ("server", {"json": {}})),
    (("client", {"json": {"lines": True}}), ("server", {"json": {}})),
    (("server", {"parquet": {}}), ("client", {"parquet": {}}), ("server", {"parquet": {}})),
    (("server", _ALL), ("server", {"json": {}})),
    (("client", _ALL), ("client", {"parquet": {}})),
    *((("create", _ONE), ("flux", other)) for other in (_EMPTY, _JSON)),
    *(((first, _ONE), (second, _JSON)) for first in ("client", "server", "flux") for second in ("flux", "replace")),
    (("client", _ONE), ("server", _JSON)),
    (("server", _ONE), ("client", _ONE), ("client", _JSON)),
    (("flux", _ONE), ("refused server", _JSON), ("force", _JSON), ("flux", _ONE)),
    (("create", _ONE), ("refused server", _JSON), ("force", _JSON)),
    (("server", _EMPTY), ("patch", _ONE), ("refused server", _EMPTY), ("force", _EMPTY)),
    (("server", _ONE), ("refused client", _JSON), ("force", _JSON)),
    (("create", _ONE), ("refused client", _JSON), ("replace", _JSON), ("client", _JSON)),
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
    """The format after all steps; each of them must succeed, or fail if it is `refused`."""
    kube.ctl("delete", "source", "empty-members", "--ignore-not-found")
    for how, written in steps:
        if how == "patch":
            merge = json.dumps({"spec": {"connector": {"files": {"format": written}}}})
            kube.ctl("patch", "source", "empty-members", "--type=merge", "-p", merge)
        else:
            refused = how.startswith("refused ")
            kube.ctl(*_HOW[how.removeprefix("refused ")], stdin=json.dumps(_source(written)), ok=not refused)
    stored = json.loads(kube.ctl("get", "source", "empty-members", "-o", "json"))
    return stored["spec"]["connector"]["files"]["format"]


@pytest.mark.parametrize("steps", _CHAINS, ids=lambda steps: " ".join(how for how, _ in steps))
def test_every_order_works_and_ends_alike(both: Both, steps: tuple[_Step, ...]) -> None:
    real, embedded = (_run(harness.Kube(kubeconfig, "default"), steps) for kubeconfig in (both.real, both.embedded))
    assert real == embedded
    assert list(real) == list(steps[-1][1])
    assert steps[-1][0] != "flux" or real == steps[-1][1]


@pytest.mark.parametrize("order", [*itertools.product(("client", "server", "flux"), repeat=3)], ids=" ".join)
def test_an_unchanged_manifest_changes_owner_without_a_conflict(both: Both, order: tuple[str, ...]) -> None:
    unforced = [(how.replace("flux", "other"), _EMPTY) for how in order]
    for kubeconfig in (both.real, both.embedded):
        assert _run(harness.Kube(kubeconfig, "default"), tuple(unforced)) == _EMPTY
