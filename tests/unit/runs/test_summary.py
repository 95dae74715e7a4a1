"""The termination message: what decisions need, for 16 Datasets of the longest names and numbers, in 2,048 bytes."""

import json
from typing import Any

import pytest

from penstock.language.conditions import REASONS
from penstock.runs import summary
from penstock.runs.report import Commit, Counts, DatasetReport, DeliveryReport, RunReport, StreamReport

NAMES = [f"{'d' * 60}-{number:02}" for number in range(16)]
BEGAN, ENDED, BEFORE = "2026-11-22T12:00:00Z", "2026-11-22T13:00:00Z", "2026-11-21T09:00:01Z"
RUN = "r" * 253
MANY = 999_999_999_999
COUNTS = Counts(**dict.fromkeys(Counts.model_fields, MANY // 16))


def _entry(name: str, **changes: Any) -> DatasetReport:
    whole = {
        "name": name,
        "state": "Written",
        "counts": COUNTS,
        "rows": MANY,
        "bytes": MANY,
        "quarantined": MANY,
        "message": "m" * 400,
        "columns": [{"name": f"column_{number}", "type": "timestamptz"} for number in range(64)],
        "tail": [
            Commit(run=RUN, at=ENDED, loaded=5, quarantined=1),
            Commit(run="x", at=BEFORE, loaded=2, quarantined=0),
        ],
    }
    return DatasetReport.model_validate({**whole, **changes})


def _report(entries: list[DatasetReport], **changes: Any) -> RunReport:
    fields: dict[str, Any] = {"kind": "ingest", "run": RUN, "state": "Succeeded", "attempt": 99}
    return RunReport(**{**fields, "started_at": BEGAN, "finished_at": ENDED, "datasets": entries, **changes})


def _read_back(report: RunReport) -> RunReport:
    text = summary.encode(report, NAMES)
    assert len(text.encode()) <= summary.LIMIT == 2048
    found = summary.decode(text, RUN, NAMES)
    assert found is not None
    return found


@pytest.mark.parametrize("earlier", [False, True])
def test_sixteen_datasets_keep_all_that_decisions_need(earlier: bool) -> None:
    entries = [_entry(name, earlier=earlier, committed_at=BEFORE if earlier else None) for name in NAMES]
    found = _read_back(_report(entries))
    assert [entry.name for entry in found.datasets] == NAMES
    for entry in found.datasets:
        assert (entry.state, entry.rows, entry.tail[0].at, entry.tail[0].loaded > 0) == ("Written", MANY, ENDED, True)
        assert (entry.counts.read, entry.counts.loaded, entry.counts.quarantined) == (MANY // 16,) * 3
        assert entry.quarantined == (None if earlier else MANY)  # there is no room for more of the longest numbers
        assert (entry.earlier, entry.committed_at) == (earlier, BEFORE if earlier else None)
    assert found.counts == _report(entries).counts
    assert (found.run, found.attempt, found.started_at, found.finished_at) == (RUN, 99, BEGAN, ENDED)


@pytest.mark.parametrize("reason", REASONS)
def test_sixteen_failures_keep_their_reasons_and_the_first_its_message(reason: str) -> None:
    entries = [_entry(name, state="Failed", reason=reason, counts={}, rows=None) for name in NAMES]
    found = _read_back(_report(entries, state="Failed", reason=reason, message="ü" * 3000))
    assert {entry.reason for entry in found.datasets} == {found.reason} == {reason}
    assert found.message is not None
    assert found.message.endswith("…")
    assert len(found.message) > 60
    assert [entry.message for entry in found.datasets] == [found.message] + [None] * 15


def test_a_run_that_ended_early_tells_what_it_did_by_position() -> None:
    found = _read_back(_report([_entry(NAMES[0]), _entry(NAMES[7], state="Unchanged")]))
    assert [(entry.name, entry.state) for entry in found.datasets] == [(NAMES[0], "Written"), (NAMES[7], "Unchanged")]


def test_a_load_is_of_this_run_only_where_that_is_certain() -> None:
    written, unchanged = _entry(NAMES[0]), _entry(NAMES[1], state="Unchanged", counts={})
    found = _read_back(_report([written, unchanged]))
    assert [entry.tail[0].run for entry in found.datasets] == [RUN, ""]


@pytest.mark.parametrize("message", ["", "short", "x" * 1000, '"\\\n\x00' * 900, "😀" * 900, "\udc80" * 900])
def test_a_message_is_cut_to_fit_and_never_breaks_the_rest(message: str) -> None:
    found = _read_back(_report([_entry(name) for name in NAMES], state="Failed", reason="Timeout", message=message))
    assert len(found.datasets) == 16
    if message in ("", "short"):
        assert (found.message or "") == message


def test_a_delivery_keeps_its_counts_whatever_the_length_of_its_url() -> None:
    done = DeliveryReport(manifest="s3://" + "x" * 2000, rows=MANY, bytes=MANY, files=9999, at=ENDED, earlier=True)
    found = _read_back(_report([], kind="deliver", delivery=done))
    assert found.delivery == done.model_copy(update={"manifest": None})


def test_as_many_streams_are_told_as_fit() -> None:
    streams = [StreamReport(name=f"{'s' * 120}{number}", fields=200, files=MANY) for number in range(64)]
    found = _read_back(_report([], kind="inspect-source", streams=streams))
    assert 0 < len(found.streams) < 64
    assert found.streams == streams[: len(found.streams)]


def test_a_report_of_the_version_before_is_read() -> None:
    text = json.dumps(
        {
            "version": "penstock.dev/report-v1",
            "kind": "ingest",
            "run": "a/b/nonce/1",
            "state": "Succeeded",
            "startedAt": BEGAN,
            "finishedAt": ENDED,
            "datasets": [{"name": "cities", "state": "Written", "counts": {"read": 1, "loaded": 1}, "rows": 1}],
        }
    )
    found = summary.decode(text, "a/b/nonce/1", ["cities"])
    assert found is not None
    assert (found.run, found.datasets[0].name, found.counts.loaded) == ("a/b/nonce/1", "cities", 1)


@pytest.mark.parametrize("number", [-1, 10**30, "x", None, 1.5])
def test_odd_numbers_of_another_version_are_left_out(number: Any) -> None:
    told = json.loads(summary.encode(_report([_entry(NAMES[0])]), NAMES[:1]))
    told["datasets"][0] |= {"l": number, "e": number, "t": number}
    found = summary.decode(json.dumps(told), RUN, NAMES[:1])
    assert found is not None
    assert found.datasets[0].state == "Written"
