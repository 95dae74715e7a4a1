"""What is told of a Dataset: its table, and how good its rows are."""

from typing import Any

import pytest

from penstock.control.cluster.port import Ref
from penstock.control.observe import Observed, Seen
from penstock.control.status import publish
from penstock.language import times
from penstock.runs import summary
from penstock.runs.report import ColumnReport, Commit, Counts, DatasetReport, RuleWarning, RunReport
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
    target = stage.jobs("migrate")[0]["metadata"]["annotations"]["penstock.dev/target"]
    return jobs.observed("m", **{"purpose": "migrate", "target": target, **changes})


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


def test_a_table_that_exists_is_compared_and_not_created() -> None:
    stage = scene.quickstart()
    running = _migrated(stage, state="Running")
    assert _condition(stage, "Ready", running)[2] == "its table is being created"
    stage.cluster.change(Ref("Dataset", "default", "cities"), {"status": {"table": "main.cities"}})
    assert _condition(stage, "Ready", running)[2] == "its table is being compared with the schema"


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
    assert _condition(stage, "Ready") == ("False", "Unreachable", "Destination lake is not reachable: it hangs")


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


def _emptied() -> RunReport:
    """What the migration said that made the table, an hour ago."""
    entry = DatasetReport(name="cities", state="Ready", rows=0, quarantined=0)
    return jobs.report("migrate", finished_at="2026-11-22T11:00:00Z", datasets=[entry])


def test_what_a_newer_report_told_stays_when_that_is_gone_and_older_ones_are_there() -> None:
    stage = scene.quickstart()
    tail = [Commit(run="r", at=jobs.ENDED, loaded=9, quarantined=1)]
    older = jobs.observed("m", purpose="migrate", report=_emptied())
    loaded = _status(stage, jobs.observed(report=_loaded(tail=tail, quarantined=1)), older)
    assert (loaded["rows"], loaded["lastReportTime"]) == (9, jobs.ENDED)
    stage.cluster.change(Ref("Dataset", "default", "cities"), {"status": loaded})
    assert _status(stage, older) == loaded
    assert _status(stage) == loaded


def test_what_status_knows_of_a_load_outweighs_an_older_report_though_nothing_says_when_it_was_told() -> None:
    stage = scene.quickstart()
    known = {"rows": 336710, "lastLoadTime": "2026-11-22T12:30:00Z"}
    stage.cluster.change(Ref("Dataset", "default", "cities"), {"status": known})
    assert _status(stage, jobs.observed("m", purpose="migrate", report=_emptied()))["rows"] == 336710


def test_of_two_reports_in_one_second_the_one_that_knows_of_the_load_counts() -> None:
    stage = scene.quickstart()
    tail = [Commit(run="r", at=jobs.ENDED, loaded=9, quarantined=1)]
    migrated = _emptied().model_copy(update={"finished_at": jobs.ENDED})
    older = jobs.observed("m", purpose="migrate", report=migrated)
    loaded = _status(stage, older, jobs.observed(report=_loaded(tail=tail)))
    assert loaded["rows"] == 9
    stage.cluster.change(Ref("Dataset", "default", "cities"), {"status": loaded})
    assert _status(stage, older)["rows"] == 9


def test_a_table_that_is_found_empty_later_is_told() -> None:
    stage = scene.quickstart()
    known = {"rows": 9, "lastLoadTime": jobs.ENDED, "lastReportTime": jobs.ENDED}
    stage.cluster.change(Ref("Dataset", "default", "cities"), {"status": known})
    later = _emptied().model_copy(update={"finished_at": "2026-11-22T12:30:00Z"})
    assert _status(stage, jobs.observed("m", purpose="migrate", report=later))["rows"] == 0


def test_a_run_that_loads_nothing_does_not_move_the_time_of_the_last_load() -> None:
    tail = [
        Commit(run="idle", at="2026-11-22T12:30:00Z", loaded=0, quarantined=0),
        Commit(run="r", at=jobs.ENDED, loaded=9, quarantined=1),
    ]
    told = _loaded("2026-11-22T12:30:00Z", state="Unchanged", tail=tail)
    status = _status(scene.quickstart(), jobs.observed(report=told))
    assert (status["lastLoadTime"], status["lastRun"]) == (jobs.ENDED, "r")


def test_the_counts_of_a_run_that_was_committed_before_say_nothing_new_of_the_quality() -> None:
    stage = scene.quickstart()
    bad = _loaded(state="Failed", reason="TooManyBadRows", message="3 of 10 rows are bad")
    stage.cluster.change(Ref("Dataset", "default", "cities"), {"status": _status(stage, jobs.observed(report=bad))})
    again = _loaded("2026-11-22T12:30:00Z", earlier=True, committed_at="2026-11-22T11:00:00Z")
    assert _condition(stage, "QualityOK", jobs.observed("b", report=again))[1] == "TooManyBadRows"
    retry = _loaded("2026-11-22T12:30:00Z", earlier=True, committed_at="2026-11-22T12:29:00Z")
    assert _condition(stage, "QualityOK", jobs.observed("b", report=retry))[0] == "True"


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


def test_rules_that_loaded_rows_break_are_named_with_the_place_of_the_first_row() -> None:
    stage = scene.quickstart()
    warnings = [RuleWarning(rule=f"r{number}", rows=9 - number, places=[f"a.csv:{number}", "z"]) for number in range(5)]
    status, _, message = _condition(stage, "QualityOK", jobs.observed(report=_loaded(warnings=warnings)))
    assert status == "True"
    assert message.partition("allowed")[2] == (
        "; 9 loaded rows break the rule r0, first in a.csv:0; 8 loaded rows break the rule r1, first in a.csv:1; "
        "7 loaded rows break the rule r2, first in a.csv:2; and 2 other rules are broken"
    )


@pytest.mark.parametrize(
    ("counts", "status", "words"),
    [
        (Counts(refused=1), "False", "the new input could not be read"),
        (Counts(refused=3), "False", "none of the 3 new inputs could be read"),
        (Counts(read=10, loaded=10, refused=1), "True", "1 input could not be read"),
        (Counts(read=10, loaded=10), "True", "0 of 10 rows (0.00%) are in quarantine"),
    ],
)
@pytest.mark.parametrize("short", [False, True])
def test_inputs_that_could_not_be_read_are_said(short: bool, counts: Counts, status: str, words: str) -> None:
    stage = scene.quickstart()
    report = _loaded(counts=counts)
    if short:
        decoded = summary.decode(summary.encode(report, ["cities"]), report.run, ["cities"])
        assert decoded is not None
        report = decoded
    run = jobs.observed("1", report=report)
    said = _condition(stage, "QualityOK", _migrated(stage), run)
    assert said[0] == status
    if status == "False" or not short:  # beside rows that were read, it is only shown
        assert words in said[2]
    assert said[1] == ("WrongSpecification" if status == "False" else "Succeeded")
