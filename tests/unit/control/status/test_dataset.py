"""What is told of a Dataset: its table, and how good its rows are."""

from typing import Any

import pytest

from penstock.api import times
from penstock.control.cluster.port import Ref
from penstock.control.observe import Observed, Seen
from penstock.control.status import publish
from penstock.runs.report import ColumnReport, Commit, Counts, DatasetReport, RunReport
from support import jobs, manifests, scene
from support.scene import Scene

NOW = times.parse("2026-11-22T13:00:00Z")


def _status(stage: Scene, *runs: Observed) -> dict[str, Any]:
    return publish.of(stage.graph("Dataset", "cities"), Seen(runs), NOW).status.to_object()


def _condition(stage: Scene, which: str, *runs: Observed) -> tuple[str, str, str]:
    found = next(one for one in _status(stage, *runs)["conditions"] if one["type"] == which)
    return found["status"], found["reason"], found["message"]


def _migrated(stage: Scene, **changes: Any) -> Observed:
    stage.settle()
    slot = stage.jobs("migrate")[0]["metadata"]["annotations"]["penstock.dev/slot"]
    return jobs.observed("m", **{"purpose": "migrate", "slot": slot, **changes})


def _loaded(finished: str = jobs.ENDED, **entry: Any) -> RunReport:
    known = {"name": "cities", "state": "Written", "counts": Counts(read=10, loaded=9, quarantined=1), "rows": 9}
    return jobs.report(finished_at=finished, datasets=[DatasetReport(**{**known, **entry})])


@pytest.mark.parametrize(
    ("run", "ready"),
    [
        ({"state": "Running"}, ("False", "Progressing")),
        ({"state": "Succeeded"}, ("True", "Succeeded")),
        ({"state": "Failed", "reason": "TableConflict", "message": "it is another's"}, ("False", "TableConflict")),
    ],
)
def test_a_dataset_is_ready_when_its_table_is_there(run: Any, ready: tuple[str, str]) -> None:
    stage = scene.quickstart()
    assert _condition(stage, "Ready", _migrated(stage, **run))[:2] == ready


def test_a_dataset_waits_for_a_lake_that_does_not_answer() -> None:
    stage = scene.quickstart()
    down = {
        "type": "Reachable",
        "status": "False",
        "reason": "Timeout",
        "message": "it hangs",
        "lastTransitionTime": jobs.BEGAN,
    }
    stage.cluster.change(Ref("Destination", "default", "lake"), {"status": {"conditions": [down]}})
    assert _condition(stage, "Ready") == ("False", "Unreachable", "Destination lake: it hangs")


def test_the_newest_report_tells_of_the_table_in_whatever_order_they_come() -> None:
    stage = scene.quickstart()
    newer = jobs.observed("b", report=_loaded("2026-11-22T12:05:00Z", rows=20, snapshot="s2"))
    older = jobs.observed(
        "a", report=_loaded("2026-11-22T12:01:00Z", rows=9, columns=[ColumnReport(name="id", type="long")])
    )
    for runs in ((newer, older), (older, newer)):
        status = _status(stage, *runs)
        assert (status["rows"], status["snapshot"]) == (20, "s2")
        assert status["columns"] == [{"name": "id", "type": "long"}]


def test_a_report_of_before_the_last_load_we_know_of_changes_nothing() -> None:
    stage = scene.quickstart()
    stage.cluster.change(
        Ref("Dataset", "default", "cities"), {"status": {"rows": 50, "lastLoadTime": "2026-11-22T12:30:00Z"}}
    )
    stale = _loaded(tail=[Commit(run="old", at="2026-11-22T12:01:00Z", loaded=9, quarantined=1)])
    assert _status(stage, jobs.observed(report=stale))["rows"] == 50


def test_the_ledgers_tail_says_when_rows_were_last_committed() -> None:
    tail = [Commit(run="default/cities/nonce/1", at=jobs.ENDED, loaded=9, quarantined=1)]
    status = _status(scene.quickstart(), jobs.observed(report=_loaded(tail=tail)))
    assert (status["lastLoadTime"], status["lastRun"]) == (jobs.ENDED, "default/cities/nonce/1")


def test_quality_is_told_with_the_share_of_bad_rows_and_what_is_allowed() -> None:
    stage = scene.quickstart()
    stage.apply(manifests.dataset(quality={"maxBadRatio": "20%"}))
    good = _condition(stage, "QualityOK", jobs.observed(report=_loaded()))
    assert good == ("True", "Succeeded", "1 of 10 rows (10.00%) are in quarantine; up to 20% are allowed")
    over = _loaded(state="Failed", reason="TooManyBadRows", message="3 of 10 rows are bad")
    assert _condition(stage, "QualityOK", jobs.observed(report=over)) == (
        "False",
        "TooManyBadRows",
        "3 of 10 rows are bad",
    )
    assert _condition(scene.quickstart(), "QualityOK")[:2] == ("Unknown", "NeverRan")
