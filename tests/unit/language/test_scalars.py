"""Schedules and time zones of the five kinds: accepted and refused as by Kubernetes, and how a refusal is worded."""

import re

import pytest
from pydantic import TypeAdapter, ValidationError

from penstock.language import scalars
from support import crontable

_CRON: TypeAdapter[str] = TypeAdapter(scalars.Cron)
_ZONE: TypeAdapter[str] = TypeAdapter(scalars.TimeZone)


def _refusal(adapter: TypeAdapter[str], text: str) -> str:
    with pytest.raises(ValidationError) as refused:
        adapter.validate_python(text)
    return refused.value.errors()[0]["msg"]


def test_every_schedule_that_kubernetes_accepts_is_accepted_and_fits_the_pattern() -> None:
    accepted = crontable.accepted()
    assert [text for text in accepted if _CRON.validate_python(text) != text] == []
    assert [text for text in accepted if re.search(scalars.CRON, text) is None] == []


def test_every_schedule_that_kubernetes_refuses_is_refused() -> None:
    assert all(_refusal(_CRON, text) for text, _ in crontable.refused())


@pytest.mark.parametrize(
    "text", ["0 6 * * 7", "0 6 * * 5-7", "0 6 * * L", "0 6 * * 5#2", "0 6 L * *", "0 6 * *", "@every 1h"]
)
def test_the_pattern_refuses_what_other_crons_accept(text: str) -> None:
    assert re.search(scalars.CRON, text) is None


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("0 6 * * 7", '"0 6 * * 7" is not a schedule: the day of week: "7" is above 6; Sunday is 0'),
        ("@every 15m", 'write "*/15 * * * *"'),
        ("@every 1h", 'write "@hourly"'),
        ("@every 24h", 'write "@daily"'),
        ("@every 90s", "write five fields"),
        ("@every", "write five fields"),
        ("CRON_TZ=Europe/Berlin 0 6 * * *", "set timeZone: Europe/Berlin beside it"),
        ("TZ=UTC 0 6 * * *", "set timeZone: UTC beside it"),
        ("TZ=UTC", "set timeZone: UTC beside it"),
        ("TZ= 0 6 * * *", "set timeZone beside it"),
        ("@reboot", "the names are @yearly"),
    ],
)
def test_the_refusal_of_a_schedule_has_a_remedy(text: str, message: str) -> None:
    assert message in _refusal(_CRON, text)


def test_time_zones_are_those_of_kubernetes() -> None:
    for name, known in crontable.zones():
        if known:
            assert _ZONE.validate_python(name) == name
        else:
            assert _refusal(_ZONE, name)


@pytest.mark.parametrize(
    ("name", "message"),
    [("europe/berlin", 'did you mean "Europe/Berlin"?'), ("Local", "IANA"), ("Mars", 'for instance "Europe/Paris"')],
)
def test_the_refusal_of_a_time_zone_has_a_remedy(name: str, message: str) -> None:
    assert message in _refusal(_ZONE, name)
