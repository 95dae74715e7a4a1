"""What there is to tell of a Pipeline or a Subscription: its runs, their counts, and when it goes on."""

import dataclasses
from datetime import datetime
from typing import cast

from penstock.api import times, words
from penstock.api.conditions import Reason, Verdict
from penstock.api.model import Model
from penstock.api.pipeline import PipelineDatasetStatus, PipelineSpec, PipelineStatus, Run
from penstock.api.subscription import Delivery, SubscriptionSpec, SubscriptionStatus
from penstock.control import due, observe
from penstock.control.observe import Observed, Seen
from penstock.control.resolve import Graph, Problem
from penstock.control.status import verdicts
from penstock.runs.report import DatasetReport


def pipeline(graph: Graph, seen: Seen, now: datetime, trouble: Problem | None) -> tuple[Model, list[datetime | None]]:
    """The status of a Pipeline."""
    before = cast(PipelineStatus, graph.status)
    spec = graph.spec if isinstance(graph.spec, PipelineSpec) else None
    runs = _runs(graph, seen, before.runs, spec.history if spec is not None else 10)
    firing = _next_firing(
        graph, spec.schedule if spec is not None else [], spec.time_zone if spec is not None else None, now
    )
    ready = verdicts.accepted(graph, trouble, f"runs {_schedule_in_words(spec)}")
    if ready.holds and (missing := _not_ready(graph)) is not None:
        ready = missing
    status = PipelineStatus(
        observed_generation=graph.meta.generation,
        conditions=verdicts.published(graph, [ready, _last_run_succeeded(runs)], now),
        last_run=_newest_begun(runs),
        runs=runs,
        datasets=_datasets(graph, seen, before),
        next_run_time=times.text(firing) if firing is not None else None,
        handled_run_nonce=_handled(runs, graph, "nonce", before.handled_run_nonce),
        handled_requested_at=_handled(runs, graph, "requested", before.handled_requested_at),
    )
    return status, [firing]


def subscription(
    graph: Graph, seen: Seen, now: datetime, trouble: Problem | None
) -> tuple[Model, list[datetime | None]]:
    """The status of a Subscription."""
    before = cast(SubscriptionStatus, graph.status)
    spec = graph.spec if isinstance(graph.spec, SubscriptionSpec) else None
    runs = _runs(graph, seen, before.runs, 10)
    crons = [spec.cron] if spec is not None and spec.cron is not None else []
    firing = _next_firing(graph, crons, spec.time_zone if spec is not None else None, now)
    status = SubscriptionStatus(
        observed_generation=graph.meta.generation,
        conditions=verdicts.published(
            graph,
            [verdicts.accepted(graph, trouble, _cadence_in_words(spec)), _last_run_succeeded(runs)],
            now,
        ),
        last_run=_newest_begun(runs),
        runs=runs,
        deliveries=_deliveries(seen, before),
        next_delivery_time=times.text(firing) if firing is not None else None,
        handled_run_nonce=_handled(runs, graph, "nonce", before.handled_run_nonce),
        handled_requested_at=_handled(runs, graph, "requested", before.handled_requested_at),
    )
    return status, [firing]


def _newest_begun(runs: list[Run]) -> Run | None:
    """The newest run that began; one that waits only where none has."""
    return next((run for run in runs if run.state != "Waiting"), runs[0] if runs else None)


def _not_ready(graph: Graph) -> Verdict | None:
    for entry in graph.entries:
        ready = entry.dataset.condition("Ready")
        if ready is None or ready.reason == "Progressing":
            return verdicts.false("Ready", "Progressing", f"Dataset {entry.dataset.name} is being made")
        if ready.status != "True":
            return verdicts.false("Ready", "DatasetNotReady", f"Dataset {entry.dataset.name}: {ready.message}")
    return None


def _schedule_in_words(spec: PipelineSpec | None) -> str:
    if spec is None or not spec.schedule:
        return "when asked to: change spec.runNonce, or annotate penstock.dev/requestedAt"
    return f"at {', '.join(spec.schedule)} ({spec.time_zone or 'UTC'})"


def _cadence_in_words(spec: SubscriptionSpec | None) -> str:
    if spec is None or spec.cron is None:
        return "delivers once, when its Dataset has data"
    return f"delivers when its Dataset first has data, then at {spec.cron} ({spec.time_zone or 'UTC'})"


def _next_firing(graph: Graph, crons: list[str], time_zone: str | None, now: datetime) -> datetime | None:
    if graph.suspended is not None:
        return None
    return min((times.next_firing(cron, time_zone, now) for cron in crons), default=None)


def _runs(graph: Graph, seen: Seen, before: list[Run], keep: int) -> list[Run]:
    """The newest runs: as their Jobs tell, and as status remembers them where a Job is gone."""
    told: dict[str, Run] = {}
    newest: dict[str, Observed] = {}
    for observed in seen.of(*due.RUNS):
        identity = observed.run or due.run_id(graph, observed.slot)
        newest.setdefault(identity, observed)
        told.setdefault(identity, _run(_with_what_holds_it(observed, graph), identity))
    for run in before:
        if run.id not in newest or due.superseded(newest[run.id], run):
            told[run.id] = _without_job(run)
    return sorted(told.values(), key=_recency, reverse=True)[:keep]


def _recency(run: Run) -> tuple[bool, str]:
    """What waits comes first; then by when it began or, if it never did, was to."""
    return run.state == "Waiting", run.started_at or run.scheduled_time or ""


def _with_what_holds_it(observed: Observed, graph: Graph) -> Observed:
    if observed.state != "Waiting":
        return observed
    others = observe.runs(graph.rivals, {}).runs
    rivals = [other for other in others if other.state == "Running" and other.uid != observed.uid]
    held = "its Job is suspended" if observed.admitted else due.held(graph, observed.purpose, rivals)
    return dataclasses.replace(observed, reason="Waiting", message=held)


def _without_job(run: Run) -> Run:
    if run.state not in ("Waiting", "Running"):
        return run
    return run.model_copy(
        update={"state": "Cancelled", "reason": "Cancelled", "message": "its Job was deleted before it finished"}
    )


def _run(observed: Observed, identity: str) -> Run:
    counts = observed.report.counts if observed.report is not None and observed.report.datasets else None
    message = observed.message
    if observed.report is not None and observed.state == "Succeeded" and _told_before(observed):
        message = "this run id was committed before; its counts are those of that commit"
    elif observed.report is not None and observed.report.delivery is not None:
        delivery = observed.report.delivery
        message = f"{words.count(delivery.rows, 'row')} delivered in {words.count(delivery.files, 'file')}"
    return Run(
        id=identity,
        state=observed.state,
        job=observed.job,
        attempt=observed.attempt,
        pods=observed.pods or None,
        scheduled_time=observed.interval_end,
        started_at=observed.started,
        finished_at=observed.finished,
        reason=observed.reason,
        message=message[:1024] if message else None,
        rows_read=counts.read if counts is not None else None,
        rows_loaded=counts.loaded if counts is not None else None,
        rows_quarantined=counts.quarantined if counts is not None else None,
        rows_ignored=counts.ignored if counts is not None else None,
        rows_replaced=counts.replaced if counts is not None else None,
        bytes=counts.bytes if counts is not None else None,
        files=counts.files if counts is not None else None,
    )


def _told_before(observed: Observed) -> bool:
    told = observed.report
    if told is None:
        return False
    entries = [entry.earlier for entry in told.datasets] + ([told.delivery.earlier] if told.delivery else [])
    return bool(entries) and all(entries)


def _last_run_succeeded(runs: list[Run]) -> Verdict:
    over = next((run for run in runs if run.state in ("Succeeded", "Failed", "Cancelled")), None)
    if over is None:
        return verdicts.unknown("LastRunSucceeded", "NeverRan", "there has been no run yet")
    if over.state != "Succeeded":
        return verdicts.false(
            "LastRunSucceeded", cast(Reason, over.reason or "UnknownError"), over.message or over.state
        )
    return verdicts.true("LastRunSucceeded", _counts_in_words(over))


def _counts_in_words(run: Run) -> str:
    if run.rows_read is None:
        return run.message or "succeeded"
    parts = [f"{words.count(run.rows_read, 'row')} read", f"{run.rows_loaded:,} loaded"]
    parts += [f"{run.rows_quarantined:,} quarantined"] if run.rows_quarantined else []
    parts += [f"{run.rows_ignored:,} ignored"] if run.rows_ignored else []
    return ", ".join(parts)


def _datasets(graph: Graph, seen: Seen, before: PipelineStatus) -> list[PipelineDatasetStatus]:
    newest = next(iter(seen.of("ingest")), None)
    lost = newest is not None and newest.state == "Succeeded" and newest.report is None
    if newest is None or lost or not graph.entries:
        return before.datasets
    told = {entry.name: entry for entry in newest.report.datasets} if newest.report is not None else {}
    return [_dataset_state(entry.dataset.name, told.get(entry.dataset.name), newest) for entry in graph.entries]


def _dataset_state(name: str, told: DatasetReport | None, run: Observed) -> PipelineDatasetStatus:
    if told is None:
        state = {"Waiting": "Waiting", "Running": "Running", "Failed": "Failed"}.get(run.state, "Waiting")
        return PipelineDatasetStatus.model_validate({"name": name, "state": state})
    state = "Written" if told.state == "Ready" else told.state
    return PipelineDatasetStatus(name=name, state=state, rows=told.counts.loaded, quarantined=told.counts.quarantined)


def _deliveries(seen: Seen, before: SubscriptionStatus) -> list[Delivery]:
    told = {
        run.run: Delivery(run=run.run, **run.report.delivery.model_dump(exclude={"earlier"}))
        for run in seen.of("deliver")
        if run.report is not None and run.report.delivery is not None
    }
    for delivery in before.deliveries:
        told.setdefault(delivery.run, delivery)
    return sorted(told.values(), key=lambda delivery: delivery.at, reverse=True)[:20]


def _handled(runs: list[Run], graph: Graph, event: str, before: str | None) -> str | None:
    """The newest nonce or request for which there is a run."""
    asked = due.asked(graph)[event]
    wanted = due.run_id(graph, f"{event}/{asked}")
    return asked if asked and any(run.id == wanted for run in runs) else before
