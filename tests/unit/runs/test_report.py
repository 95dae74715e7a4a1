"""The whole report in the last line of a log: it adds what is only shown, and changes nothing else."""

import json
from typing import Any

import pytest

from penstock.runs import places, report, summary
from penstock.runs.report import Commit, Counts, DatasetReport, RunReport

NAMES = ["cities", "towns"]
BEGAN, ENDED = "2026-11-22T12:00:00Z", "2026-11-22T13:00:00Z"


def _whole(**changes: Any) -> RunReport:
    entries = [
        DatasetReport.model_validate(
            {
                "name": name,
                "state": "Written",
                "counts": Counts(read=5, loaded=4, quarantined=1),
                "rows": 9,
                "bytes": 1000,
                "columns": [{"name": "a", "type": "long"}],
                "message": "a message",
                "tail": [Commit(run="r", at=ENDED, loaded=4, quarantined=1)],
            }
        )
        for name in NAMES
    ]
    fields: dict[str, Any] = {"kind": "ingest", "run": "r", "state": "Succeeded", "datasets": entries}
    return RunReport(**{**fields, "started_at": BEGAN, "finished_at": ENDED, **changes})


def _short(whole: RunReport) -> RunReport:
    found = summary.decode(summary.encode(whole, NAMES), whole.run, NAMES)
    assert found is not None
    return found


def test_a_short_report_and_its_line_make_the_whole_one() -> None:
    whole = _whole()
    found = report.with_details(_short(whole), f"12:00:00 a line\n{report.details(whole)}\n")
    assert found.complete
    assert found.datasets == whole.datasets


@pytest.mark.parametrize(
    "log", ["", "no report", places.REPORT_LINE, places.REPORT_LINE + "[1]", places.REPORT_LINE + '{"kind": "ing']
)
def test_a_log_without_it_changes_nothing(log: str) -> None:
    assert report.with_details(_short(_whole()), log) == _short(_whole())


def test_a_line_that_says_otherwise_changes_nothing_that_is_decided_by() -> None:
    false = json.loads(report.details(_whole()).removeprefix(places.REPORT_LINE))
    for entry in false["datasets"]:
        entry |= {"state": "Failed", "reason": "Timeout", "counts": {"read": 1}, "tail": [], "rows": 0, "earlier": True}
    found = report.with_details(_short(_whole()), places.REPORT_LINE + json.dumps(false))
    for entry, short in zip(found.datasets, _short(_whole()).datasets, strict=True):
        for name in ("name", "state", "reason", "rows", "earlier", "committed_at"):
            assert getattr(entry, name) == getattr(short, name)
        assert (entry.counts.read, entry.counts.loaded, entry.counts.quarantined) == (5, 4, 1)
        assert [commit.at for commit in entry.tail] == [commit.at for commit in short.tail]


def test_the_line_of_another_pod_is_not_taken() -> None:
    other = _whole(finished_at="2026-11-22T12:30:00Z")
    assert report.with_details(_short(_whole()), report.details(other)) == _short(_whole())


def test_the_line_is_bounded() -> None:
    columns = [{"name": f"{'c' * 120}{number}", "type": "long"} for number in range(2000)]
    entries = [entry.model_copy(update={"columns": columns}) for entry in _whole().datasets]
    whole = RunReport.model_validate({**_whole().model_dump(), "datasets": [vars(entry) for entry in entries]})
    line = report.details(whole)
    assert len(line.encode()) <= report.DETAILS_LIMIT
    assert "\n" not in line
    assert report.with_details(_short(whole), line).datasets[0].bytes == 1000
