"""What is told of one object."""

from datetime import UTC, datetime
from typing import Any

import pytest

from penstock.cli import glance

NOW = datetime(2026, 11, 22, 12, 0, tzinfo=UTC)


def _object(kind: str = "Pipeline", **status: Any) -> dict[str, Any]:
    spec = {"destinationRef": {"name": "lake"}} if kind == "Dataset" else {}
    return {"kind": kind, "metadata": {"name": "flights"}, "spec": spec, "status": status}


def _condition(kind: str, status: str, reason: str = "Succeeded", message: str = "") -> dict[str, str]:
    return {"type": kind, "status": status, "reason": reason, "message": message}


READY = _condition("Ready", "True")
DISCOVERED_NOTHING = _condition("Discovered", "False", "ResourceNotFound", "no file")


@pytest.mark.parametrize(
    ("status", "state"),
    [
        ({}, "working"),
        ({"observedGeneration": -1}, "working"),
        ({"conditions": [READY]}, "good"),
        ({"conditions": [READY], "runs": [{"state": "Running"}]}, "working"),
        ({"conditions": [READY, _condition("LastRunSucceeded", "False", "TooManyBadRows")]}, "bad"),
        ({"conditions": [_condition("Ready", "False", "InvalidSpec")]}, "bad"),
        ({"conditions": [_condition("Ready", "False", "Progressing")]}, "working"),
        ({"conditions": [READY, _condition("Reachable", "False", "Unreachable")]}, "bad"),
        ({"conditions": [READY, _condition("Reachable", "Unknown", "NeverRan")]}, "good"),
        ({"conditions": [READY, _condition("Reachable", "Unknown", "Waiting")]}, "working"),
        ({"conditions": [READY, _condition("Reachable", "True"), DISCOVERED_NOTHING]}, "bad"),
        ({"conditions": [_condition("Ready", "True", "Suspended", "Source flights is suspended")]}, "off"),
    ],
)
def test_the_state_is_all_conditions_taken_together(status: dict[str, Any], state: str) -> None:
    assert glance.state(_object(**status)) == state


def test_what_is_suspended_is_off() -> None:
    assert glance.state({**_object(conditions=[READY]), "spec": {"suspend": True}}) == "off"


def test_troubles_are_told_with_reason_and_message() -> None:
    (trouble,) = glance.troubles(_object(conditions=[READY, _condition("Reachable", "False", "Timeout", "no answer")]))
    assert (trouble.condition, trouble.reason, trouble.message) == ("Reachable", "Timeout", "no answer")


def test_conditions_that_say_the_same_are_one_trouble() -> None:
    said = [_condition(kind, "False", "Timeout", "no answer") for kind in ("Reachable", "Discovered")]
    assert [trouble.condition for trouble in glance.troubles(_object(conditions=[READY, *said]))] == ["Reachable"]


def test_what_a_pod_waits_for_is_told_once_and_is_no_trouble() -> None:
    said = [_condition(kind, "Unknown", "Waiting", "Pod a-1 waits") for kind in ("Reachable", "Discovered")]
    manifest = _object("Source", conditions=[READY, *said])
    assert [(wait.condition, wait.message) for wait in glance.held_up(manifest)] == [("Reachable", "Pod a-1 waits")]
    assert glance.troubles(manifest) == []


def test_every_time_of_a_schedule_is_told() -> None:
    scheduled = {**_object(conditions=[READY]), "spec": {"schedule": ["0 3 * * *", "0 5 * * 1"]}}
    assert glance.numbers(scheduled, NOW) == ["0 3 * * *", "0 5 * * 1"]
    assert glance.numbers({**scheduled, "spec": {"schedule": 5, "suspend": True}}, NOW) == ["suspended"]


@pytest.mark.parametrize(
    ("kind", "status", "lines"),
    [
        ("Source", {"conditions": [_condition("Reachable", "True")]}, ["reachable"]),
        ("Source", {}, []),
        ("Source", {"conditions": [_condition("Reachable", "True"), DISCOVERED_NOTHING]}, ["ResourceNotFound"]),
        ("Source", {"conditions": [_condition("Ready", "True", "Suspended")]}, ["suspended"]),
        ("Source", {"conditions": [_condition("Reachable", "Unknown", "Waiting")]}, ["waiting for its Pod"]),
        (
            "Pipeline",
            {"lastRun": {"state": "Running", "startedAt": "2026-11-22T11:59:06Z", "message": "Pod a-1 waits: x"}},
            ["waiting for 54s"],
        ),
        ("Destination", {"conditions": [_condition("Reachable", "True")]}, ["reachable"]),
        ("Dataset", {"rows": 336709, "quarantinedRows": 67}, ["336,709 rows", "67 bad", "in lake"]),
        ("Dataset", {}, ["in lake"]),
        (
            "Pipeline",
            {"lastRun": {"state": "Succeeded", "finishedAt": "2026-11-22T11:57:30Z", "rowsLoaded": 1200}},
            ["done 2m ago", "+1,200"],
        ),
        ("Pipeline", {"lastRun": {"state": "Failed", "rowsLoaded": 0}}, ["failed"]),
        ("Pipeline", {"nextRunTime": "2026-11-22T15:30:00Z"}, ["next in 3h"]),
        ("Pipeline", {"lastRun": {"state": "Waiting"}, "runs": [{"state": "Waiting"}]}, ["waiting"]),
        (
            "Pipeline",
            {"lastRun": {"state": "Cancelled"}, "runs": [{"state": "Waiting"}, {"state": "Cancelled"}]},
            ["cancelled", "one more waits"],
        ),
        (
            "Subscription",
            {"lastRun": {"state": "Failed", "startedAt": "2026-11-19T12:00:00Z"}, "deliveries": [{"rows": 5}]},
            ["failed 3d ago", "5 rows"],
        ),
    ],
)
def test_the_numbers_are_a_few_short_lines(kind: str, status: dict[str, Any], lines: list[str]) -> None:
    assert glance.numbers(_object(kind, **status), NOW) == lines
