"""What has happened to an object, in lines."""

from typing import Any

import pytest

from penstock.cli import feed


def _object(**status: Any) -> dict[str, Any]:
    return {"kind": "Pipeline", "metadata": {"name": "flights", "namespace": "default"}, "status": status}


def _told(before: dict[str, Any] | None, after: dict[str, Any] | None) -> list[str]:
    return [line.what for line in feed.lines(before, after)]


def _condition(status: str, reason: str, message: str) -> dict[str, str]:
    return {"type": "Ready", "status": status, "reason": reason, "message": message}


def _run(state: str, **more: Any) -> dict[str, Any]:
    return {"id": "default/flights/nonce/first", "state": state, **more}


def test_a_new_and_a_gone_object_are_told() -> None:
    assert _told(None, _object()) == ["created"]
    assert _told(_object(), None) == ["deleted"]


def test_an_unchanged_object_is_silent() -> None:
    same = _object(conditions=[_condition("True", "Succeeded", "fine")], runs=[_run("Running")])
    assert _told(same, same) == []


def test_a_condition_is_told_when_it_changes() -> None:
    before = _object(conditions=[_condition("False", "Progressing", "being made")])
    assert _told(None, before) == ["created", "Progressing: being made"]
    assert _told(before, _object(conditions=[_condition("True", "Succeeded", "there")])) == ["Ready: there"]


def test_a_run_is_told_with_its_arithmetic() -> None:
    before = _object(runs=[_run("Running")])
    done = _run("Succeeded", rowsRead=1010, rowsLoaded=1000, rowsQuarantined=10, pods=2)
    assert _told(before, _object(runs=[done])) == [
        "run first: succeeded: 1,010 rows read = 1,000 loaded + 10 in quarantine, in 2 attempts"
    ]


def test_every_row_that_was_read_is_in_the_sum_and_refused_inputs_are_named() -> None:
    counts = {"rowsRead": 20, "rowsLoaded": 10, "rowsUnchanged": 4, "rowsSuperseded": 3, "rowsQuarantined": 2}
    assert feed.outcome(_run("Succeeded", **counts, rowsIgnored=1, inputsRefused=2)) == (
        "succeeded: 20 rows read = 10 loaded + 4 unchanged + 3 superseded + 2 in quarantine + 1 ignored; "
        "2 inputs refused, see the quarantine"
    )
    refused = _run("Succeeded", rowsRead=0, inputsRefused=1)
    assert feed.outcome(refused) == "succeeded: 1 input refused, see the quarantine"


def test_a_run_that_only_waits_to_begin_is_not_told() -> None:
    assert _told(_object(), _object(runs=[_run("Waiting")])) == []
    held = _run("Waiting", message="Pipeline other is writing the same Dataset")
    assert _told(_object(), _object(runs=[held])) == ["run first: waiting: Pipeline other is writing the same Dataset"]


@pytest.mark.parametrize(
    ("slot", "name"),
    [
        ("nonce/first", "run first"),
        ("requested/2026-11-22T02:36:43.882Z", "requested run"),
        ("schedule/2026-11-22T03:15:00Z", "run of 2026-11-22T03:15:00Z"),
        ("manual/4b6d", "manual run"),
        ("first", "run first"),
    ],
)
def test_a_run_is_called_by_what_asked_for_it(slot: str, name: str) -> None:
    assert feed.named(f"default/flights/{slot}") == name


def test_a_run_without_anything_new_says_so() -> None:
    assert feed.outcome(_run("Succeeded", rowsRead=0)) == "succeeded: nothing new"
    assert feed.outcome(_run("Running", message="Pod a-1 waits: no claim")) == "waiting: Pod a-1 waits: no claim"


def test_a_failed_run_is_told_with_its_reason() -> None:
    failed = _run("Failed", reason="TooManyBadRows", message="5% are bad.")
    assert _told(_object(), _object(runs=[failed])) == ["run first: failed, TooManyBadRows. 5% are bad"]


def test_a_delivery_is_told_with_its_manifest() -> None:
    delivery = {"run": "r", "rows": 5000, "manifest": "file:///volumes/outbox/m.json"}
    assert _told(_object(), _object(deliveries=[delivery])) == ["delivered 5,000 rows: file:///volumes/outbox/m.json"]


def test_a_line_names_its_subject_and_its_namespace() -> None:
    elsewhere = {"kind": "Source", "metadata": {"name": "a", "namespace": "team"}}
    (line,) = feed.lines(None, elsewhere)
    assert line.text("12:00:00").plain.startswith("12:00:00  Source a (team)")


def test_a_cancelled_run_says_so_once() -> None:
    cancelled = _run("Cancelled", reason="Cancelled", message="its Job was deleted before it finished")
    assert feed.outcome(cancelled) == "cancelled: its Job was deleted before it finished"


def test_a_run_that_was_carried_out_before_says_so() -> None:
    then = "already carried out at 2026-11-20T09:00:00Z; the counts are those of that run"
    assert feed.outcome(_run("Succeeded", rowsRead=5, message=then)) == f"succeeded: {then}"
