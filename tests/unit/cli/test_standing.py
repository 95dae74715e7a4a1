"""How what was asked for stands, by the object before and after."""

from typing import Any

import pytest

from penstock.cli import feed, standing
from penstock.cli.standing import Standing

ASKED = "2026-11-22T12:00:00.000Z"


def _object(kind: str = "Pipeline", /, *, suspend: bool = False, observed: int = 2, **status: Any) -> dict[str, Any]:
    return {
        "kind": kind,
        "metadata": {"name": "a", "namespace": "default", "generation": 2},
        "spec": {"suspend": suspend},
        "status": {"observedGeneration": observed, **status},
    }


def _ready(status: str, reason: str = "Succeeded", message: str = "fine") -> list[dict[str, str]]:
    return [{"type": "Ready", "status": status, "reason": reason, "message": message}]


def _run(state: str, **more: Any) -> list[dict[str, Any]]:
    return [{"id": f"default/a/requested/{ASKED}", "state": state, **more}]


@pytest.mark.parametrize(
    ("status", "stands"),
    [
        ({}, Standing("")),
        ({"conditions": _ready("True"), "runs": []}, Standing("")),
        ({"runs": [{"id": "default/a/nonce/1", "state": "Failed"}]}, Standing("")),
        ({"conditions": _ready("False", "Progressing", "being made")}, Standing("waiting: being made")),
        ({"runs": _run("Waiting")}, Standing("")),
        ({"runs": _run("Waiting", message="Source a: no answer")}, Standing("waiting: Source a: no answer")),
        ({"runs": _run("Running")}, Standing(standing.RUNNING)),
        ({"runs": _run("Running", message="Pod a-1 waits: no disk")}, Standing("waiting: Pod a-1 waits: no disk")),
        ({"runs": _run("Succeeded", rowsRead=0)}, Standing("succeeded: nothing new", succeeded=True)),
        (
            {"runs": _run("Failed", reason="TooManyBadRows", message="5% are bad")},
            Standing("failed, TooManyBadRows. 5% are bad", succeeded=False),
        ),
        ({"runs": _run("Cancelled")}, Standing(feed.outcome(_run("Cancelled")[0]), succeeded=False)),
        (
            {"conditions": _ready("False", "InvalidSpec", "spec.x: unknown")},
            Standing("InvalidSpec. spec.x: unknown", succeeded=False),
        ),
        (
            {"conditions": _ready("True", "Suspended", "Source b is suspended"), "runs": _run("Waiting")},
            Standing("Source b is suspended", succeeded=False),
        ),
    ],
)
def test_a_run_stands_as_its_object_tells(status: dict[str, Any], stands: Standing) -> None:
    assert standing.of(_object(), _object(**status), ASKED) == stands


@pytest.mark.parametrize("reason", ["InvalidSpec", "Suspended"])
def test_what_was_told_of_an_older_spec_does_not_count(reason: str) -> None:
    older = _object(observed=1, conditions=_ready("True" if reason == "Suspended" else "False", reason))
    assert standing.of(_object(), older, ASKED).succeeded is None
    assert standing.suspended(older) is None


def test_what_a_delivery_brought_is_told() -> None:
    (run,) = runs = _run("Succeeded")
    delivery = {"run": run["id"], "rows": 5000, "manifest": "file:///m.json"}
    told = standing.of(_object(), _object("Subscription", runs=runs, deliveries=[delivery]), ASKED)
    assert told == Standing("succeeded, delivered 5,000 rows: file:///m.json", succeeded=True)


def test_own_and_referred_suspension_is_told() -> None:
    assert standing.suspended(_object()) is None
    assert standing.suspended(_object(suspend=True)) == "Pipeline a is suspended"
    assert standing.suspended(_object(conditions=_ready("True", "Suspended", "Source b is suspended"))) == (
        "Source b is suspended"
    )


def _inspected(order: str, state: str, **more: Any) -> dict[str, Any]:
    return {"order": order, "state": state, **more}


ANSWERED = [
    *_ready("True", message="accepted"),
    {"type": "Reachable", "status": "True", "reason": "Succeeded", "message": "answered the inspection"},
    {"type": "Discovered", "status": "True", "reason": "Succeeded", "message": "a: 3 fields"},
]


@pytest.mark.parametrize(
    ("before", "now", "stands"),
    [
        (None, None, Standing("")),
        (_inspected("1", "Succeeded"), _inspected("1", "Succeeded"), Standing("")),
        (None, _inspected("2", "Running"), Standing(standing.RUNNING)),
        (None, _inspected("2", "Running", message="Pod a-1 waits: x"), Standing("waiting: Pod a-1 waits: x")),
        (
            _inspected("1", "Failed"),
            _inspected("2", "Succeeded"),
            Standing("answered the inspection, a: 3 fields", succeeded=True),
        ),
        (
            _inspected("1", "Succeeded"),
            _inspected("2", "Failed", reason="Unreachable", message="Source a: no answer."),
            Standing("Unreachable. Source a: no answer.", succeeded=False),
        ),
    ],
)
def test_an_inspection_is_over_when_one_of_another_order_is(before: Any, now: Any, stands: Standing) -> None:
    known, seen = (_object("Source", inspection=entry, conditions=ANSWERED) for entry in (before, now))
    assert standing.of(known, seen, ASKED) == stands


def test_how_the_migration_before_failed_does_not_count_and_what_keeps_the_next_one_does() -> None:
    failed = _inspected("1", "Failed", reason="SchemaChanged", message="another type")
    before = _object("Dataset", migration=failed, conditions=_ready("False", "SchemaChanged", "another type"))
    assert standing.of(before, before, ASKED) == Standing("")
    held = _object("Dataset", migration=failed, conditions=_ready("False", "Unreachable", "Destination b: no answer"))
    assert standing.of(before, held, ASKED) == Standing("Unreachable. Destination b: no answer", succeeded=False)
