"""The status of a Pipeline or a Subscription: its runs, their counts, and when the next run is."""

from collections.abc import Mapping
from datetime import datetime
from typing import cast

from penstock.api import objects
from penstock.api.pipeline import PipelineDatasetStatus, PipelineSpec, PipelineStatus, Run
from penstock.api.source import Failure
from penstock.api.subscription import Delivery, SubscriptionSpec, SubscriptionStatus
from penstock.api.trigger import Trigger
from penstock.api.waiting import RunWaits
from penstock.control import due, loads, observe, waiting
from penstock.control.observe import Observed, Seen
from penstock.control.resolve import Graph, Problem
from penstock.control.status import delivered, verdicts
from penstock.control.waiting import Obstacle
from penstock.language import times, words
from penstock.language.conditions import Verdict
from penstock.language.model import Model
from penstock.runs.order import RUNS
from penstock.runs.report import DatasetReport, DeliveryReport

RUNS_LIMIT = 50
"""How many runs status can hold."""


def pipeline(graph: Graph, seen: Seen, now: datetime, trouble: Problem | None) -> tuple[Model, list[datetime | None]]:
    """The status of a Pipeline."""
    before = cast(PipelineStatus, graph.status)
    spec = graph.spec if isinstance(graph.spec, PipelineSpec) else None
    runs = _runs(graph, seen, before.runs)
    handled = _handled(graph, seen, runs)
    following = _next_scheduled(graph, now)
    words = "; ".join([f"runs {_schedule_in_words(spec)}", *repeated(graph, runs).values()])
    ready = verdicts.accepted(graph, trouble, words)
    if ready.holds and (missing := _not_ready(graph)) is not None:
        ready = missing
    status = PipelineStatus(
        observed_generation=graph.meta.generation,
        conditions=verdicts.published(graph, [ready, _last_run_succeeded(graph, seen, runs, handled, now)], now),
        last_run=_newest_begun(runs),
        runs=_kept(runs, graph.request.history),
        datasets=_datasets(graph, seen, _newest_begun(runs), before),
        next_run_time=times.text(following) if following is not None else None,
        handled_run_nonce=handled["nonce"],
        handled_requested_at=handled["requested"],
        handled_loads=loads.handled(graph, seen),
    )
    return status, [following]


def subscription(
    graph: Graph, seen: Seen, now: datetime, trouble: Problem | None
) -> tuple[Model, list[datetime | None]]:
    """The status of a Subscription."""
    before = cast(SubscriptionStatus, graph.status)
    spec = graph.spec if isinstance(graph.spec, SubscriptionSpec) else None
    runs = _runs(graph, seen, before.runs)
    handled = _handled(graph, seen, runs)
    following = _next_scheduled(graph, now)
    words = "; ".join([_cadence_in_words(spec), *repeated(graph, runs).values()])
    succeeded = _last_run_succeeded(graph, seen, runs, handled, now)
    ready, granted = (
        verdicts.accepted(graph, trouble, words),
        delivered.access_granted(graph, trouble, succeeded),
    )
    budget, period_end = delivered.within_budget(graph, runs, succeeded, now)
    status = SubscriptionStatus(
        observed_generation=graph.meta.generation,
        conditions=verdicts.published(
            graph,
            [ready, granted, succeeded, *budget],
            now,
        ),
        phase=delivered.phase(graph, ready, granted),
        spend=delivered.spend(seen, before),
        schema_=delivered.columns(graph) or before.schema_,
        last_run=_newest_begun(runs),
        runs=_kept(runs, 10),
        deliveries=_deliveries(seen, before),
        next_delivery_time=times.text(following) if following is not None else None,
        handled_run_nonce=handled["nonce"],
        handled_requested_at=handled["requested"],
        handled_loads=loads.handled(graph, seen),
    )
    return status, [following, period_end]


def _newest_begun(runs: list[Run]) -> Run | None:
    """The newest run that began; one that waits only where none has."""
    return next((run for run in runs if run.state != "Waiting"), runs[0] if runs else None)


def _not_ready(graph: Graph) -> Verdict | None:
    for entry in graph.entries:
        ready = entry.dataset.condition("Ready")
        if ready is None or ready.reason == "Progressing":
            return verdicts.false("Ready", "Progressing", f"Dataset {entry.dataset.name} is being made")
        if not waiting.loads_go_on(ready):
            why = words.without_subject(ready.message, entry.dataset.title)
            return verdicts.false("Ready", "DatasetNotReady", f"{entry.dataset.title} is not ready: {why}")
    return None


def _schedule_in_words(spec: PipelineSpec | None) -> str:
    parts = [f"at {', '.join(spec.schedule)} ({spec.time_zone or 'UTC'})"] if spec is not None and spec.schedule else []
    parts += _loads_in_words(spec.trigger) if spec is not None else []
    return " and ".join(parts) or "on request: change spec.runNonce, or annotate penstock.dev/requestedAt"


def _loads_in_words(trigger: Trigger | None) -> list[str]:
    return [f"after each load of {words.choice(trigger.names)}"] if trigger is not None else []


def _cadence_in_words(spec: SubscriptionSpec | None) -> str:
    moments = [f"at {spec.cron} ({spec.time_zone or 'UTC'})"] if spec is not None and spec.cron is not None else []
    moments += _loads_in_words(spec.trigger) if spec is not None else []
    if not moments:
        return "delivers once, when its Dataset has data"
    return f"delivers when its Dataset first has data, then {' and '.join(moments)}"


def _next_scheduled(graph: Graph, now: datetime) -> datetime | None:
    """The next time of the CronJobs that exist, in UTC: what is applied counts, not what is wanted."""
    specs = [
        child["spec"]
        for child in graph.children
        if child["kind"] == "CronJob" and "deletionTimestamp" not in child["metadata"]
    ]
    moments = [
        times.next_scheduled(spec["schedule"], spec.get("timeZone") or "Etc/UTC", now)
        for spec in specs
        if not spec.get("suspend")
    ]
    return min((moment for moment in moments if moment is not None), default=None)


def _runs(graph: Graph, seen: Seen, before: list[Run]) -> list[Run]:
    """Every run we know of, newest first: as its Job tells, and as status remembers it where that is gone."""
    by_id: dict[str, Run] = {}
    newest: dict[str, Observed] = {}
    for observed in seen.of(*RUNS):
        identity = observed.run or due.run_id(graph, observed.slot)
        newest.setdefault(identity, observed)
        run = _with_what_it_waits_for(_run(observed, identity), observed, graph, before)
        by_id.setdefault(identity, _with_last_failure(_with_whole_message(run, observed, before), before))
    for run in before:
        if run.id not in newest or due.superseded(newest[run.id], run):
            by_id[run.id] = _without_job(run)
    return sorted(by_id.values(), key=_recency, reverse=True)


def _with_whole_message(run: Run, observed: Observed, before: list[Run]) -> Run:
    """A run as a short report has it, with the message that status has from the whole one."""
    if not run.over or observed.report is None or observed.report.complete:
        return run
    published = next((one for one in before if (one.id, one.job, one.state) == (run.id, run.job, run.state)), None)
    return run.model_copy(update={"message": published.message}) if published is not None else run


def _with_last_failure(run: Run, before: list[Run]) -> Run:
    """A run that is under way, with how the attempt before failed, as status has it."""
    published = next((one for one in before if one.id == run.id), None)
    if run.over or published is None:
        return run
    failed = published.state == "Failed"
    failure = (
        Failure(reason=published.reason or "UnknownError", message=published.message or published.state)
        if failed
        else None
    )
    return run.model_copy(update={"last_failure": failure or published.last_failure})


def _kept(runs: list[Run], keep: int) -> list[Run]:
    """What status holds of runs, newest first: all that are not over, and the newest `keep` that are."""
    past = [run for run in runs if run.over][keep:]
    return [run for run in runs if run not in past][:RUNS_LIMIT]


def _recency(run: Run) -> tuple[bool, str]:
    """What waits comes first; then by when it began or, if it never did, was to."""
    return run.state == "Waiting", run.started_at or run.scheduled_time or ""


def _with_what_it_waits_for(run: Run, observed: Observed, graph: Graph, before: list[Run]) -> Run:
    """A run that waits, with what for. Its position in a queue is not in status: that changes with every run that ends.

    Where nothing keeps it from starting any more, that stays until it starts: it may be another one's turn.
    """
    if observed.state != "Waiting":
        return run
    others = observe.runs(graph.rivals, {}).runs
    rivals = [other for other in others if other.state == "Running" and other.uid != observed.uid]
    obstacle = (
        Obstacle("JobSuspended", "its Job is suspended")
        if observed.admitted
        else waiting.obstacle(graph, observed.purpose, rivals)
    )
    update: dict[str, object] = {"reason": "Waiting", "message": None}
    published = next((one for one in before if (one.job, one.state) == (run.job, run.state)), None)
    if obstacle is not None:
        waits = RunWaits(cause=obstacle.cause, object=obstacle.object, since=observed.created)
        update |= {"message": obstacle.message[:1024], "waiting": waits}
    elif published is not None:
        update |= {"message": published.message, "waiting": published.waiting}
    return run.model_copy(update=update)


def _without_job(run: Run) -> Run:
    """A run whose Job is gone; one that was not over is cancelled, and waits for nothing any more."""
    if run.over:
        return run
    nothing = {"waiting": None, "pod_waits": None, "last_failure": None}
    return run.model_copy(
        update={
            "state": "Cancelled",
            "reason": "Cancelled",
            "message": "its Job was deleted before it finished",
            **nothing,
        }
    )


def _run(observed: Observed, identity: str) -> Run:
    if observed.harvested is not None:
        return observed.harvested
    counts = observed.report.counts if observed.report is not None and observed.report.datasets else None
    before = _carried_out_before(observed)
    message = _outcome_in_words(observed, before)
    return Run(
        id=identity,
        state=observed.state,
        job=observed.job,
        attempt=observed.attempt,
        pods=observed.pods or None,
        scheduled_time=observed.interval_end,
        started_at=observed.started if before is None else None,
        finished_at=before or observed.finished,
        reason=observed.reason,
        message=message[:1024] if message else None,
        trigger=observed.trigger or None,
        pod_waits=observed.waits if observed.state == "Running" else None,
        rows_read=counts.read if counts is not None else None,
        rows_loaded=counts.loaded if counts is not None else None,
        rows_quarantined=counts.quarantined if counts is not None else None,
        rows_ignored=counts.ignored if counts is not None else None,
        rows_unchanged=(counts.unchanged or None) if counts is not None else None,
        rows_superseded=(counts.superseded or None) if counts is not None else None,
        rows_replaced=counts.replaced if counts is not None else None,
        bytes=counts.bytes if counts is not None else None,
        files=counts.files if counts is not None else None,
        inputs_refused=(counts.refused or None) if counts is not None else None,
    )


def _outcome_in_words(observed: Observed, before: str | None) -> str | None:
    delivery = observed.report.delivery if observed.report is not None else None
    message = observed.message
    if delivery is not None:
        message = _delivered_in_words(delivery)
    if before is None:
        return message
    return f"already carried out at {before}" + (f": {message}" if message else "; the counts are those of that run")


def _delivered_in_words(delivery: DeliveryReport) -> str:
    rows = words.count(delivery.rows, "row")
    if delivery.files is not None:
        return f"{rows} delivered in {words.count(delivery.files, 'file')}"
    place = f"table {delivery.table}" if delivery.table is not None else "a table"
    left_out = f"; {words.count(delivery.refused, 'row')} left out" if delivery.refused else ""
    return f"{rows} delivered into {place}{left_out}"


def _carried_out_before(observed: Observed) -> str | None:
    """When all of the run had been committed, where that was before this Job began: it repeated nothing then.

    What an earlier Pod of the same Job committed is the Job's own.
    """
    report = observed.report
    if report is None or observed.state != "Succeeded":
        return None
    ends = [entry.committed_at if entry.earlier else None for entry in report.datasets]
    ends += [report.delivery.at if report.delivery.earlier else None] if report.delivery is not None else []
    committed = [end for end in ends if end is not None]
    last = max(committed, default=None)
    return last if last is not None and len(committed) == len(ends) and last < (observed.started or "") else None


def _last_run_succeeded(
    graph: Graph, seen: Seen, runs: list[Run], handled: Mapping[str, str | None], now: datetime
) -> Verdict:
    over = next((run for run in runs if run.over), None)
    ended = _how_it_ended(graph, seen, over, now)
    newer = runs if over is None else runs[: runs.index(over)]
    failure = next((run.last_failure for run in newer if run.last_failure is not None), None)
    if failure is not None:  # a failed run is tried again: its failure counts until then
        ended = verdicts.false("LastRunSucceeded", failure.reason, failure.message)
    elif any((run.attempt or 1) > 1 for run in newer):
        ended = verdicts.as_before(graph, "LastRunSucceeded", ended)
    elif ended.status == "False":
        failure = Failure(reason=ended.reason, message=ended.message[:1024])
    verdict = verdicts.delayed(ended, next((run.message for run in newer if run.state == "Running"), None), failure)
    return verdicts.of_then(graph, verdict) if _awaited(graph, runs, handled) else verdict


def _awaited(graph: Graph, runs: list[Run], handled: Mapping[str, str | None]) -> bool:
    """Whether a run has yet to end before the result for this spec is known: who waits for it must not continue."""
    unread = graph.spec is None  # it is unknown what it asks for
    asked = any(value and value != handled[event] for event, value in due.asked(graph).items())
    return unread or asked or any(not run.over for run in runs)


def _how_it_ended(graph: Graph, seen: Seen, over: Run | None, now: datetime) -> Verdict:
    if over is None:
        return verdicts.unknown("LastRunSucceeded", "NeverRan", "there has been no run yet")
    if over.state == "Succeeded":
        return verdicts.true("LastRunSucceeded", _counts_in_words(over))
    again, failed = due.next_attempt(graph, seen), due.retried(graph, seen)
    message = over.message or over.state
    if again is not None and again > now and failed is not None and failed.run == over.id:
        message = f"{message.rstrip('.')[:900]}; tried again at {times.text(again)}"
    return verdicts.false("LastRunSucceeded", over.reason or "UnknownError", message)


def _counts_in_words(run: Run) -> str:
    if run.rows_read is None:
        return run.message or "succeeded"
    parts = [f"{words.count(run.rows_read, 'row')} read", f"{run.rows_loaded:,} loaded"]
    parts += [f"{run.rows_unchanged:,} unchanged"] if run.rows_unchanged else []
    parts += [f"{run.rows_superseded:,} superseded"] if run.rows_superseded else []
    parts += [f"{run.rows_quarantined:,} quarantined"] if run.rows_quarantined else []
    parts += [f"{run.rows_ignored:,} ignored"] if run.rows_ignored else []
    parts += [f"{words.count(run.inputs_refused, 'input')} refused, see the quarantine"] if run.inputs_refused else []
    counts = ", ".join(parts)
    return f"{run.message}: {counts}" if run.message else counts


def _datasets(graph: Graph, seen: Seen, begun: Run | None, before: PipelineStatus) -> list[PipelineDatasetStatus]:
    """What the newest run did to each Dataset; as status remembers where its Job or its report is gone."""
    newest = next((run for run in seen.of("ingest") if begun is None or run.job == begun.job), None)
    if begun is not None and begun.state == "Cancelled":
        return [_cancelled(entry) for entry in before.datasets]
    lost = newest is not None and (
        newest.harvested is not None or (newest.state == "Succeeded" and newest.report is None)
    )
    if newest is None or lost or not graph.entries:
        return before.datasets
    reports = {entry.name: entry for entry in newest.report.datasets} if newest.report is not None else {}
    marks = {entry.name: entry.cursor for entry in before.datasets}
    states = []
    for entry in graph.entries:
        state = _dataset_state(entry.dataset.name, reports.get(entry.dataset.name), newest)
        if state.cursor is None and entry.entry.cursor is not None:  # the run tells only when it has ended
            state = state.model_copy(update={"cursor": marks.get(state.name)})
        states.append(state)
    return states


def _cancelled(entry: PipelineDatasetStatus) -> PipelineDatasetStatus:
    return entry if entry.state not in ("Waiting", "Running") else entry.model_copy(update={"state": "Cancelled"})


def _dataset_state(name: str, report: DatasetReport | None, run: Observed) -> PipelineDatasetStatus:
    if report is None:
        state = {"Waiting": "Waiting", "Running": "Running", "Failed": "Failed"}.get(run.state, "Waiting")
        return PipelineDatasetStatus.model_validate({"name": name, "state": state})
    state = "Written" if report.state == "Ready" else report.state
    return PipelineDatasetStatus(
        name=name,
        state=state,
        rows=report.counts.loaded,
        quarantined=report.counts.quarantined,
        cursor=report.cursor[:256] if report.cursor is not None else None,
    )


def _deliveries(seen: Seen, before: SubscriptionStatus) -> list[Delivery]:
    by_run = {
        run.run: delivered.delivery(run.run, run.report.delivery)
        for run in seen.of("deliver")
        if run.report is not None and run.report.delivery is not None
    }
    for delivery in before.deliveries:
        newer = by_run.get(delivery.run)
        if newer is None or (newer.manifest is None and newer.table is None):
            by_run[delivery.run] = delivery
    return sorted(by_run.values(), key=lambda delivery: delivery.at, reverse=True)[:20]


def _handled(graph: Graph, seen: Seen, runs: list[Run]) -> dict[str, str | None]:
    """What was asked for and has come to its end, by event: as seen now or, where that tells nothing, as published."""
    before = due.handled(graph.status)
    return {event: _ended(graph, seen, runs, event) or published for event, published in before.items()}


def _ended(graph: Graph, seen: Seen, runs: list[Run], event: str) -> str | None:
    """The nonce or request asked for, if its run has come to its end: one that is tried again has not."""
    asked = due.asked(graph)[event]
    again = due.retried(graph, seen)
    wanted = due.run_id(graph, f"{event}/{asked}")
    ended = any(run.id == wanted and run.over for run in runs)
    return asked if asked and ended and (again is None or again.run != wanted) else None


def repeated(graph: Graph, runs: list[Run]) -> dict[str, str]:
    """What is asked for again though it was carried out before the last thing that was asked for: words, by event."""
    words = {}
    for event, what in (("nonce", "runNonce"), ("requested", objects.REQUESTED_AT)):
        asked = due.asked(graph)[event]
        wanted = due.run_id(graph, f"{event}/{asked}")
        newest = next((run for run in runs if run.trigger == event), None)
        then = next((run for run in runs if run.id == wanted and run.over), None)
        if not asked or then is None or newest is None or newest.id == wanted:
            continue
        at = then.finished_at or then.started_at or then.scheduled_time
        how = "" if then.state == "Succeeded" else f", and {then.state.lower()}"
        words[event] = f'{what} "{asked}" was already carried out{f" at {at}" if at else ""}{how}: choose another'
    return words
