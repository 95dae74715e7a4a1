"""Which runs must exist now, which may start, which are past keeping."""

from datetime import datetime, timedelta
from typing import Any

import pytest

from penstock.api import objects
from penstock.control import due
from penstock.control.cluster.port import Ref
from penstock.control.desired import orders
from penstock.control.desired import runs as desired_runs
from penstock.control.desired.runs import Start
from penstock.control.observe import Observed, Seen
from penstock.control.resolve import Graph
from penstock.control.settings import Settings
from penstock.language import times
from support import jobs, manifests, scene
from support.scene import Scene

NOW = times.parse("2026-11-22T13:00:00Z")
NOTHING = Seen(())


def _graph(stage: Scene, kind: str = "Pipeline", **status: Any) -> Graph:
    """The graph of an object whose published status is as given."""
    stage.cluster.change(_ref(kind), {"status": {"observedGeneration": 1, **status}})
    return stage.graph(kind, "cities")


def _ref(kind: str) -> Any:
    return Ref(kind, "default", "cities")


def _slots(starts: list[Start]) -> list[str]:
    return [start.slot for start in starts]


def _seen(*runs: Observed) -> Seen:
    return Seen(runs)


def _fingerprint(graph: Graph) -> str:
    order = orders.of(graph)
    assert order is not None
    return desired_runs.fingerprint(graph, order)


# ── what is asked for ──


@pytest.mark.parametrize(
    ("nonce", "requested", "status", "slots"),
    [
        ("", None, {}, []),
        ("a", None, {}, ["nonce/a"]),
        ("a", None, {"handledRunNonce": "a"}, []),
        ("b", None, {"handledRunNonce": "a"}, ["nonce/b"]),
        ("", "today", {}, ["requested/today"]),
        ("", "today", {"handledRequestedAt": "today"}, []),
        ("a", "today", {}, ["nonce/a", "requested/today"]),
    ],
)
def test_a_new_nonce_and_a_new_request_each_ask_for_one_run(
    nonce: str, requested: str | None, status: Any, slots: list[str]
) -> None:
    stage = scene.quickstart()
    asking = manifests.pipeline(runNonce=nonce)
    asking["metadata"]["annotations"] = {objects.REQUESTED_AT: requested} if requested else {}
    stage.apply(asking)
    starts = due.runs(_graph(stage, **status), NOTHING, NOW)
    assert _slots(starts) == slots
    assert all(start.suspended for start in starts), "only the gate lets it start"


def test_a_nonce_that_has_its_job_asks_for_no_other_though_status_has_not_told_it_yet() -> None:
    graph = _graph(scene.quickstart())
    assert due.runs(graph, _seen(jobs.observed(state="Waiting")), NOW) == []


def test_a_nonce_that_status_knows_a_run_of_asks_for_no_other_though_its_job_is_gone() -> None:
    cancelled = {"id": "default/cities/nonce/1", "state": "Running", "job": "gone"}
    assert due.runs(_graph(scene.quickstart(), runs=[cancelled]), NOTHING, NOW) == []


def test_a_request_of_any_length_fits_into_status() -> None:
    stage = scene.quickstart()
    asking = manifests.pipeline(runNonce="")
    asking["metadata"]["annotations"] = {objects.REQUESTED_AT: "x" * 9999}
    stage.apply(asking)
    (start,) = due.runs(_graph(stage), NOTHING, NOW)
    assert len(start.run) <= due.RUN_ID_LENGTH
    assert due.runs(_graph(stage, handledRequestedAt="x" * 256), NOTHING, NOW) == []


def test_long_run_ids_differ_where_what_they_name_differs() -> None:
    graph = _graph(scene.quickstart())
    first, other = (due.run_id(graph, f"nonce/{'x' * 300}{end}") for end in "ab")
    assert first != other
    assert len(first) == due.RUN_ID_LENGTH


@pytest.mark.parametrize("what", ["suspended", "problem"])
def test_nothing_is_started_for_what_is_suspended_or_has_a_problem_and_the_nonce_waits(what: str) -> None:
    stage = scene.quickstart()
    stage.apply(
        {"suspended": manifests.pipeline(suspend=True), "problem": manifests.dataset(writeMode="replace")}[what]
    )
    assert due.runs(_graph(stage), NOTHING, NOW) == []


# ── first delivery ──


@pytest.mark.parametrize(
    ("loaded", "status", "there", "slots"),
    [
        (False, {}, (), []),
        (True, {}, (), ["first"]),
        (True, {}, (jobs.observed(purpose="deliver", state="Running"),), []),
        (True, {"runs": [{"id": "subscription:default/cities/first", "state": "Cancelled"}]}, (), []),
    ],
)
def test_a_subscription_delivers_first_when_its_dataset_has_data_and_once(
    loaded: bool, status: Any, there: tuple[Observed, ...], slots: list[str]
) -> None:
    stage = _subscribed(loaded=loaded)
    assert _slots(due.runs(_graph(stage, "Subscription", **status), Seen(there), NOW)) == slots


def test_a_nonce_is_the_first_delivery_where_there_is_one() -> None:
    stage = _subscribed(loaded=True, runNonce="x")
    assert _slots(due.runs(_graph(stage, "Subscription"), NOTHING, NOW)) == ["nonce/x"]


def _subscribed(*, loaded: bool, **subscription: Any) -> Scene:
    stage = scene.quickstart()
    stage.apply(manifests.outbox(), manifests.subscription(**subscription))
    if loaded:
        stage.cluster.change(_ref("Dataset"), {"status": {"lastLoadTime": jobs.ENDED}})
    return stage


# ── again ──


@pytest.mark.parametrize(
    ("attempt", "seconds"), [(1, 15), (2, 30), (3, 60), (4, 120), (5, 240), (6, 480), (7, 600), (70, 600)]
)
def test_a_failure_is_tried_again_after_15_seconds_doubled_up_to_10_minutes(attempt: int, seconds: int) -> None:
    failed = jobs.observed(attempt=attempt, state="Failed")
    assert due.retry_time(failed, Settings()) == times.parse(jobs.ENDED) + timedelta(seconds=seconds)


@pytest.mark.parametrize(
    ("run", "same_order", "now", "again"),
    [
        ({"state": "Failed", "reason": "TooManyBadRows"}, True, NOW, False),
        ({"state": "Failed", "reason": "TooManyBadRows"}, False, NOW, True),
        ({"state": "Failed", "reason": "WrongSpecification"}, True, NOW, False),
        ({"state": "Failed", "reason": "WrongSpecification"}, False, NOW, True),
        ({"state": "Failed", "reason": "Unreachable"}, True, NOW, True),
        ({"state": "Failed", "reason": "Unreachable"}, True, times.parse(jobs.ENDED), False),
        ({"state": "Failed", "reason": "Unreachable"}, False, times.parse(jobs.ENDED), True),
        ({"state": "Failed", "reason": "Unreachable", "run": ""}, True, NOW, False),
        ({"state": "Succeeded"}, False, NOW, False),
        ({"state": "Running"}, False, NOW, False),
        ({"state": "Waiting"}, False, NOW, False),
    ],
)
def test_a_failed_run_is_tried_again_when_its_order_changed_or_its_cause_may_be_gone(
    run: Any, same_order: bool, now: datetime, again: bool
) -> None:
    graph = _graph(scene.quickstart(), handledRunNonce="1")
    order = _fingerprint(graph) if same_order else "an-older-order"
    starts = due.runs(graph, _seen(jobs.observed(order=order, **run)), now)
    assert [(start.run, start.slot, start.attempt, start.interval_end) for start in starts] == (
        [("default/cities/nonce/1", "nonce/1", 2, jobs.BEGAN)] if again else []
    )


def test_a_failed_run_is_left_behind_by_a_newer_one() -> None:
    graph = _graph(scene.quickstart(), handledRunNonce="1")
    failed = jobs.observed("old", state="Failed", reason="Unreachable")
    newer = jobs.observed("new", run="default/cities/nonce/2", created=jobs.ENDED)
    assert due.runs(graph, _seen(newer, failed), NOW) == []


@pytest.mark.parametrize(
    ("known", "again"),
    [
        ({"state": "Running", "job": "deleted", "attempt": 2}, False),
        ({"state": "Cancelled", "job": "deleted", "attempt": 2}, False),
        ({"state": "Running", "job": "cities-ingest-1", "attempt": 1}, True),
        ({"state": "Failed", "job": "cities-ingest-1", "attempt": 1}, True),
        ({"id": "default/cities/nonce/2", "state": "Running", "job": "deleted", "startedAt": jobs.ENDED}, False),
        ({"id": "default/cities/nonce/2", "state": "Cancelled", "job": "deleted", "scheduledTime": jobs.ENDED}, False),
        (
            {
                "id": "default/cities/nonce/0",
                "state": "Cancelled",
                "job": "deleted",
                "startedAt": "2026-01-01T00:00:00Z",
            },
            True,
        ),
    ],
)
def test_a_cancelled_run_stays_so_and_wakes_no_older_one(known: Any, again: bool) -> None:
    run = {"id": "default/cities/nonce/1", **known}
    graph = _graph(scene.quickstart(), handledRunNonce="1", runs=[run])
    failed = jobs.observed(state="Failed", reason="Unreachable", order=_fingerprint(graph))
    assert bool(due.runs(graph, _seen(failed), NOW)) is again
    before_retry = times.parse(jobs.ENDED)
    assert (due.next_time(graph, _seen(failed), before_retry) is not None) is again


# ── inspections and migrations ──


def _inspected(graph: Graph, **changes: Any) -> Observed:
    order = orders.of(graph)
    assert order is not None
    target = due.target(graph, order)
    return jobs.observed(**{"purpose": "inspect-source", "target": target, "order": order.digest, **changes})


def test_a_new_spec_is_inspected_at_once() -> None:
    graph = _graph(scene.quickstart(), "Source")
    (start,) = due.runs(graph, NOTHING, NOW)
    assert (start.attempt, start.suspended) == (1, False)


@pytest.mark.parametrize(
    ("run", "now", "attempt"),
    [
        ({"state": "Running"}, NOW, None),
        ({"state": "Succeeded"}, NOW, None),
        ({"state": "Failed"}, NOW, 2),
        ({"state": "Failed"}, times.parse(jobs.ENDED), None),
        ({"state": "Failed", "attempt": 3}, times.parse(jobs.ENDED) + timedelta(seconds=59), None),
        ({"state": "Failed", "attempt": 3}, times.parse(jobs.ENDED) + timedelta(seconds=60), 4),
    ],
)
def test_a_failed_inspection_is_repeated_until_it_succeeds(run: Any, now: datetime, attempt: int | None) -> None:
    graph = _graph(scene.quickstart(), "Source")
    starts = due.runs(graph, _seen(_inspected(graph, **run)), now)
    assert [start.attempt for start in starts] == ([] if attempt is None else [attempt])


def test_an_inspection_of_an_earlier_spec_counts_for_nothing() -> None:
    stage = scene.quickstart()
    earlier = _inspected(_graph(stage, "Source"))
    stage.apply(manifests.source(glob="*.csv.gz"))
    assert len(due.runs(_graph(stage, "Source"), _seen(earlier), NOW)) == 1


def test_status_remembers_an_inspection_whose_job_is_gone() -> None:
    stage = scene.quickstart()
    graph = _graph(stage, "Source")
    order = orders.of(graph)
    assert order is not None
    known = {"order": due.target(graph, order), "attempt": 4, "state": "Failed", "retryTime": "2026-11-22T13:05:00Z"}
    remembering = _graph(stage, "Source", inspection=known)
    assert due.runs(remembering, NOTHING, NOW) == []
    assert due.next_time(remembering, NOTHING, NOW) == times.parse("2026-11-22T13:05:00Z")
    (start,) = due.runs(remembering, NOTHING, times.parse("2026-11-22T13:05:00Z"))
    assert start.attempt == 5
    assert due.runs(_graph(stage, "Source", inspection={**known, "state": "Succeeded"}), NOTHING, NOW) == []


def test_a_request_by_annotation_inspects_again() -> None:
    stage = scene.quickstart()
    done = _inspected(_graph(stage, "Source"))
    asking = manifests.source()
    asking["metadata"]["annotations"] = {objects.REQUESTED_AT: "now"}
    stage.apply(asking)
    assert len(due.runs(_graph(stage, "Source"), _seen(done), NOW)) == 1


def test_a_table_is_not_made_in_a_lake_that_does_not_answer() -> None:
    stage = scene.quickstart()
    _unreachable(stage, "lake")
    assert due.runs(_graph(stage, "Dataset"), NOTHING, NOW) == []


def _condition(kind: str, status: str, message: str = "") -> dict[str, Any]:
    return {"type": kind, "status": status, "reason": "X", "message": message, "lastTransitionTime": jobs.BEGAN}


def _unreachable(stage: Scene, destination: str, message: str = "no route to host") -> None:
    down = [_condition("Reachable", "False", message)]
    stage.cluster.change(Ref("Destination", "default", destination), {"status": {"conditions": down}})


# ── past keeping ──


def _history(states: str) -> Seen:
    """One run a letter, newest first: s(ucceeded), f(ailed), r(unning)."""
    words = {"s": "Succeeded", "f": "Failed", "r": "Running"}
    return Seen(
        tuple(jobs.observed(f"{number}", run=f"r{number}", state=words[letter]) for number, letter in enumerate(states))
    )


@pytest.mark.parametrize(
    ("states", "gone"),
    [
        ("ss", []),
        ("sss", ["2"]),
        ("rsss", ["3"]),
        ("ssf", []),
        ("ssff", ["3"]),
        ("ffsss", ["3", "4"]),
        ("rrr", []),
    ],
)
def test_of_finished_runs_the_history_stays_and_the_latest_success_and_failure(states: str, gone: list[str]) -> None:
    graph = _graph(scene.quickstart(history=2))
    assert [run.job for run in due.expired(graph, _history(states), NOW)] == gone


def test_runs_expire_though_status_holds_no_more_of_them_than_the_history() -> None:
    kept = [{"id": f"r{number}", "state": "Succeeded"} for number in range(2)]
    graph = _graph(scene.quickstart(history=2), runs=kept)
    assert [run.job for run in due.expired(graph, _history("ssss"), NOW)] == ["2", "3"]


def test_a_preview_is_kept_for_ten_minutes() -> None:
    graph = _graph(scene.quickstart(), "Dataset")
    seen = _seen(jobs.observed(purpose="preview"))
    end = times.parse(jobs.ENDED) + timedelta(minutes=10)
    assert due.next_time(graph, seen, end - timedelta(seconds=1)) == end
    assert due.expired(graph, seen, end - timedelta(seconds=1)) == []
    assert len(due.expired(graph, seen, end)) == 1


def test_a_schema_that_is_put_back_is_migrated_to_again() -> None:
    stage = Scene()
    stage.apply(manifests.lake(), manifests.dataset())
    stage.settle()
    for inspection in stage.jobs("inspect-destination"):
        stage.finish(inspection)
    more = [*manifests.FIELDS, {"name": "more", "type": "date"}]
    attempts = []
    for fields in (manifests.FIELDS, more, manifests.FIELDS, more):
        stage.apply(manifests.dataset(schema={"fields": fields}))
        stage.wait(60)
        stage.settle()
        (begun,) = [job for job in stage.jobs("migrate") if "status" not in job]
        attempts.append(begun["metadata"]["annotations"][objects.ATTEMPT])
        stage.finish(begun)
        stage.settle()
        assert stage.condition("Dataset", "cities", "SchemaCurrent")["status"] == "True"
    assert attempts == ["1", "1", "2", "2"]
    assert stage.settle() == []
    assert stage.restarted().settle() == []
