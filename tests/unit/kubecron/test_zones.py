"""Time zones: exactly those that Kubernetes accepts, in their own spelling."""

import re

import pytest

from kubecron import zones
from support import crontable

_KUBERNETES = re.compile(r"[A-Za-z.\-_0-9+]{1,14}")
"""What Kubernetes lets a part of a name be, before it looks the name up."""


def test_names_are_those_that_go_has() -> None:
    accepted = {name for name, known in crontable.zones() if known}
    assert len(accepted) > 500
    assert zones.names() == accepted


def test_each_name_has_the_shape_that_kubernetes_asks_for() -> None:
    assert all(_KUBERNETES.fullmatch(part) for name in zones.names() for part in name.split("/"))


@pytest.mark.parametrize("name", [name for name, known in crontable.zones() if not known])
def test_what_go_does_not_accept_is_unknown(name: str) -> None:
    with pytest.raises(zones.UnknownZone):
        zones.load(name)


def test_every_zone_can_be_read() -> None:
    assert all(zones.load(name).key == name for name in zones.names())


@pytest.mark.parametrize(
    ("name", "meant"),
    [("europe/berlin", "Europe/Berlin"), ("utc", "UTC"), ("new york", "America/New_York"), ("Mars", None), ("", None)],
)
def test_a_name_that_is_nearly_right(name: str, meant: str | None) -> None:
    assert zones.similar(name) == meant
