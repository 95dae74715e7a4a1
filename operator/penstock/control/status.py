"""Last station: what there is to tell of an object. Pure: graph, what was seen, what was done, and the time go in."""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any, cast

from penstock.api import conditions, objects, times
from penstock.api.conditions import Condition, ConditionType, Reason, Verdict
from penstock.api.dataset import Column, DatasetStatus
from penstock.api.destination import DestinationStatus
from penstock.api.model import Model
from penstock.api.pipeline import PipelineDatasetStatus, PipelineSpec, PipelineStatus, Run
from penstock.api.scalars import ratio
from penstock.api.source import Inspection, SourceStatus, Stream
from penstock.api.subscription import Delivery, SubscriptionSpec, SubscriptionStatus
from penstock.control import due
from penstock.control.desired import objects as desired_objects
from penstock.control.desired import orders
from penstock.control.observe import Observed, Seen
from penstock.control.resolve import Graph, Problem
from penstock.runs.report import DatasetReport

ABSENT: frozenset[Reason] = frozenset({"ResourceNotFound", "WrongSpecification", "StorageFull", "InvalidSpec"})
"""Failed inspections after which the remote still counts as reachable: it answered."""


@dataclass(frozen=True)
class Outcome:
    """The status to publish, and when to look again though nothing happens."""

    status: Model
    again: datetime | None


def of(graph: Graph, seen: Seen, now: datetime, *, problem: Problem | None = None) -> Outcome:
    """The status of a graph; `problem` is one that only showed when changes were applied."""
    trouble = graph.problem or problem
    status, moments = _BY_KIND[graph.key.kind](graph, seen, now, trouble)
    moments.append(due.next_time(graph, seen, now))
    return Outcome(status, min((moment for moment in moments if moment is not None), default=None))


def patch(before: Mapping[str, Any], after: Mapping[str, Any]) -> dict[str, Any]:
    """The JSON merge patch (RFC 7386) that turns one object into another; empty if they are equal."""
    changed: dict[str, Any] = {key: None for key in before if key not in after}
    for key, value in after.items():
        known = before.get(key)
        if isinstance(value, Mapping) and isinstance(known, Mapping):
            if inner := patch(known, value):
                changed[key] = inner
        elif key not in before or known != value:
            changed[key] = value
    return changed


# ── conditions ──


def _published(graph: Graph, verdicts: list[Verdict], now: datetime) -> list[Condition]:
    """With kstatus' abnormal-true pair: Reconciling while we work, Stalled when only the user can go on."""
    ready = verdicts[0]
    if ready.reason == "Progressing":
        verdicts = [*verdicts, Verdict(type="Reconciling", status="True", reason="Progressing", message=ready.message)]
    elif ready.status == "False":
        verdicts = [*verdicts, Verdict(type="Stalled", status="True", reason=ready.reason, message=ready.message)]
    before = getattr(graph.status, "conditions", [])
    return conditions.merge(before, verdicts, graph.meta.generation, times.text(now))


def _true(kind: ConditionType, message: str = "", reason: Reason = "Succeeded") -> Verdict:
    return Verdict(type=kind, status="True", reason=reason, message=message)


def _false(kind: ConditionType, reason: Reason, message: str) -> Verdict:
    return Verdict(type=kind, status="False", reason=reason, message=message)


def _unknown(kind: ConditionType, reason: Reason, message: str) -> Verdict:
    return Verdict(type=kind, status="Unknown", reason=reason, message=message)


def _as_before(graph: Graph, kind: ConditionType, otherwise: Verdict) -> Verdict:
    known = conditions.find(getattr(graph.status, "conditions", []), kind)
    if known is None:
        return otherwise
    return Verdict(type=kind, status=known.status, reason=cast(Reason, known.reason), message=known.message)


def _accepted(graph: Graph, trouble: Problem | None, message: str) -> Verdict:
    """Ready as it is for kinds that need nothing but a valid spec, resolved references, and their children in place."""
    if trouble is not None:
        return _false("Ready", trouble.reason, trouble.message)
    if (suspended := graph.suspended) is not None:
        return _true("Ready", suspended, "Suspended")
    return _true("Ready", message)


# ── Source, Destination ──


def _inspected(graph: Graph, seen: Seen, now: datetime, trouble: Problem | None) -> tuple[Model, list[datetime | None]]:
    run = _upkeep_run(graph, seen)
    known = due.upkeep_status(graph)
    inspection = _inspection(graph, run, known)
    verdicts = [_accepted(graph, trouble, "accepted"), _reachable(graph, run)]
    fields: dict[str, Any] = {"observed_generation": graph.meta.generation, "inspection": inspection}
    fields["last_check_time"] = run.finished if run is not None and run.over else _last_check(graph)
    if graph.key.kind == "Destination":
        return DestinationStatus(conditions=_published(graph, verdicts, now), **fields), []
    verdicts.append(_discovered(graph, run))
    before = cast(SourceStatus, graph.status)
    told = run.report if run is not None and run.state == "Succeeded" else None
    streams = before.streams if told is None else [Stream(**entry.model_dump()) for entry in told.streams]
    catalog = before.catalog if told is None else desired_objects.catalog_name(graph)
    return SourceStatus(conditions=_published(graph, verdicts, now), streams=streams, catalog=catalog, **fields), []


def _last_check(graph: Graph) -> str | None:
    return cast("SourceStatus | DestinationStatus", graph.status).last_check_time


def _upkeep_run(graph: Graph, seen: Seen) -> Observed | None:
    """The newest attempt at what the spec now asks for."""
    order = orders.of(graph)
    if order is None:
        return None
    wanted = due.target(graph, order)
    return next((run for run in seen.of(*due.UPKEEP) if run.slot.startswith(f"{wanted}/")), None)


def _inspection(graph: Graph, run: Observed | None, known: Inspection | None) -> Inspection | None:
    if run is None:
        return known
    failed = run.state == "Failed"
    retry = due.retry_time(run, graph.settings) if failed else None
    return Inspection(
        order=run.slot.partition("/")[0],
        attempt=run.attempt,
        state="Succeeded" if run.state == "Succeeded" else "Failed" if failed else "Running",
        retry_time=times.text(retry) if retry is not None else None,
        reason=run.reason if failed else None,
        message=run.message[:1024] if run.message else None,
    )


def _reachable(graph: Graph, run: Observed | None) -> Verdict:
    waiting = _unknown("Reachable", "Progressing", "not inspected yet")
    if run is None or not run.over:
        return _as_before(graph, "Reachable", waiting)
    if run.state == "Succeeded":
        return _true("Reachable", "answered the inspection")
    reason = run.reason or "UnknownError"
    if graph.key.kind == "Source" and reason in ABSENT:
        return _true("Reachable", "answered the inspection")
    return _false("Reachable", reason, run.message or "the inspection failed")


def _discovered(graph: Graph, run: Observed | None) -> Verdict:
    waiting = _unknown("Discovered", "Progressing", "not inspected yet")
    if run is None or not run.over:
        return _as_before(graph, "Discovered", waiting)
    if run.state == "Failed" or run.report is None:
        return _false("Discovered", run.reason or "UnknownError", run.message or "the inspection failed")
    streams = run.report.streams
    told = ", ".join(_stream_in_words(entry.name, entry.fields, entry.files) for entry in streams[:3])
    return _true("Discovered", told or "no streams")


def _stream_in_words(name: str, fields: int, files: int | None) -> str:
    return f"{name}: {fields} fields" + (f" in {files} file{'s' * (files != 1)}" if files is not None else "")


# ── Dataset ──


def _dataset(graph: Graph, seen: Seen, now: datetime, trouble: Problem | None) -> tuple[Model, list[datetime | None]]:
    before = cast(DatasetStatus, graph.status)
    run = _upkeep_run(graph, seen)
    migration = _inspection(graph, run, before.migration)
    wanted = orders.of(graph)
    current = migration is not None and wanted is not None and migration.order == due.target(graph, wanted)
    facts = _newest_facts(graph, seen)
    verdicts = [
        _table_ready(graph, trouble, migration if current else None),
        _schema_current(graph, migration if current else None),
        _quality(graph, seen),
    ]
    status = DatasetStatus(
        observed_generation=graph.meta.generation,
        conditions=_published(graph, verdicts, now),
        migration=migration,
        **facts,
    )
    return status, []


def _table_ready(graph: Graph, trouble: Problem | None, migration: Inspection | None) -> Verdict:
    if trouble is not None:
        return _false("Ready", trouble.reason, trouble.message)
    if migration is not None and migration.state == "Succeeded":
        return _true("Ready", graph.suspended or "the table is there", "Suspended" if graph.suspended else "Succeeded")
    if migration is not None and migration.state == "Failed":
        return _false("Ready", cast(Reason, migration.reason or "UnknownError"), migration.message or "")
    if graph.suspended is not None:
        return _false("Ready", "Suspended", graph.suspended)
    reachable = graph.destination.condition("Reachable") if graph.destination is not None else None
    if graph.destination is not None and reachable is not None and reachable.status == "False":
        return _false("Ready", "Unreachable", f"Destination {graph.destination.name}: {reachable.message}")
    return _false("Ready", "Progressing", "its table is being made")


def _schema_current(graph: Graph, migration: Inspection | None) -> Verdict:
    if migration is None or migration.state == "Running":
        return _as_before(graph, "SchemaCurrent", _unknown("SchemaCurrent", "Progressing", "not compared yet"))
    if migration.state == "Succeeded":
        return _true("SchemaCurrent", "the table has the columns of the spec")
    return _false("SchemaCurrent", cast(Reason, migration.reason or "UnknownError"), migration.message or "")


def _quality(graph: Graph, seen: Seen) -> Verdict:
    name = graph.key.name
    for run in seen.of("ingest"):
        for entry in run.report.datasets if run.report is not None else []:
            if entry.name == name and entry.reason == "TooManyBadRows":
                return _false("QualityOK", "TooManyBadRows", entry.message or "")
            if entry.name == name and entry.state == "Written":
                bad, read = entry.counts.quarantined, entry.counts.read
                limit = getattr(graph.spec, "quality", None)
                share = f"{bad / read:.2%}" if read else "0%"
                allowed = (
                    f"; up to {limit.max_bad_ratio} are allowed" if limit and ratio(limit.max_bad_ratio) < 1 else ""
                )
                return _true("QualityOK", f"{bad:,} of {read:,} rows ({share}) are in quarantine{allowed}")
    return _as_before(graph, "QualityOK", _unknown("QualityOK", "NeverRan", "nothing was loaded yet"))


def _newest_facts(graph: Graph, seen: Seen) -> dict[str, Any]:
    """What the newest report says of the table; the previous status where reports are gone."""
    before = cast(DatasetStatus, graph.status)
    facts = before.model_dump(
        include={"table", "columns", "rows", "bytes", "quarantined_rows", "snapshot", "last_load_time", "last_run"}
    )
    told = [
        (run.report.finished_at, entry)
        for run in seen.of("ingest", "migrate")
        if run.report is not None
        for entry in run.report.datasets
        if entry.name == graph.key.name and entry.state != "Failed"
    ]
    for _, entry in sorted(told, key=lambda pair: pair[0]):
        facts.update(_facts(entry, facts))
    return facts


def _facts(entry: DatasetReport, known: Mapping[str, Any]) -> dict[str, Any]:
    newest = entry.tail[0] if entry.tail else None
    stale = newest is not None and known["last_load_time"] is not None and newest.at < known["last_load_time"]
    if stale:
        return {}
    update: dict[str, Any] = {
        "rows": entry.rows,
        "bytes": entry.bytes,
        "quarantined_rows": entry.quarantined,
        "snapshot": entry.snapshot,
        "table": entry.table,
        "last_load_time": newest.at if newest is not None else None,
        "last_run": newest.run if newest is not None else None,
    }
    if entry.columns:
        update["columns"] = [Column(**column.model_dump()) for column in entry.columns[:64]]
    return {key: value for key, value in update.items() if value is not None}


# ── Pipeline, Subscription ──


def _pipeline(graph: Graph, seen: Seen, now: datetime, trouble: Problem | None) -> tuple[Model, list[datetime | None]]:
    before = cast(PipelineStatus, graph.status)
    spec = graph.spec if isinstance(graph.spec, PipelineSpec) else None
    runs = _runs(graph, seen, before.runs, spec.history if spec is not None else 10)
    firing = _next_firing(
        graph, spec.schedule if spec is not None else [], spec.time_zone if spec is not None else None, now
    )
    ready = _accepted(graph, trouble, f"runs {_schedule_in_words(spec)}")
    if ready.holds and (missing := _not_ready(graph)) is not None:
        ready = missing
    status = PipelineStatus(
        observed_generation=graph.meta.generation,
        conditions=_published(graph, [ready, _last_run_succeeded(runs)], now),
        last_run=runs[0] if runs else None,
        runs=runs,
        datasets=_datasets(graph, seen, before),
        next_run_time=times.text(firing) if firing is not None else None,
        handled_run_nonce=_handled(runs, graph, "nonce", before.handled_run_nonce),
        handled_requested_at=_handled(runs, graph, "requested", before.handled_requested_at),
    )
    return status, [firing]


def _subscription(
    graph: Graph, seen: Seen, now: datetime, trouble: Problem | None
) -> tuple[Model, list[datetime | None]]:
    before = cast(SubscriptionStatus, graph.status)
    spec = graph.spec if isinstance(graph.spec, SubscriptionSpec) else None
    runs = _runs(graph, seen, before.runs, 10)
    crons = [spec.cron] if spec is not None and spec.cron is not None else []
    firing = _next_firing(graph, crons, spec.time_zone if spec is not None else None, now)
    status = SubscriptionStatus(
        observed_generation=graph.meta.generation,
        conditions=_published(
            graph, [_accepted(graph, trouble, "delivers when its Dataset has data"), _last_run_succeeded(runs)], now
        ),
        last_run=runs[0] if runs else None,
        runs=runs,
        deliveries=_deliveries(seen, before),
        next_delivery_time=times.text(firing) if firing is not None else None,
        handled_run_nonce=_handled(runs, graph, "nonce", before.handled_run_nonce),
        handled_requested_at=_handled(runs, graph, "requested", before.handled_requested_at),
    )
    return status, [firing]


def _not_ready(graph: Graph) -> Verdict | None:
    for entry in graph.entries:
        ready = entry.dataset.condition("Ready")
        if ready is None or ready.reason == "Progressing":
            return _false("Ready", "Progressing", f"Dataset {entry.dataset.name} is being made")
        if ready.status != "True":
            return _false("Ready", "DatasetNotReady", f"Dataset {entry.dataset.name}: {ready.message}")
    return None


def _schedule_in_words(spec: PipelineSpec | None) -> str:
    if spec is None or not spec.schedule:
        return "when asked to: change spec.runNonce, or annotate penstock.dev/requestedAt"
    return f"at {', '.join(spec.schedule)} ({spec.time_zone or 'UTC'})"


def _next_firing(graph: Graph, crons: list[str], time_zone: str | None, now: datetime) -> datetime | None:
    if graph.suspended is not None:
        return None
    return min((times.next_firing(cron, time_zone, now) for cron in crons), default=None)


def _runs(graph: Graph, seen: Seen, before: list[Run], keep: int) -> list[Run]:
    """The newest runs: as their Jobs tell, and as status remembers them where a Job is gone."""
    told: dict[str, Run] = {}
    for observed in seen.of(*due.RUNS):
        identity = observed.run or due.run_id(graph, observed.slot)
        told.setdefault(identity, _run(observed, identity))
    for run in before:
        told.setdefault(run.id, _without_job(run))
    ordered = sorted(told.values(), key=lambda run: (run.started_at or "9999", run.scheduled_time or ""), reverse=True)
    return ordered[:keep]


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
        message = f"{delivery.rows:,} rows delivered in {delivery.files} file{'s' * (delivery.files != 1)}"
    return Run(
        id=identity,
        state=observed.state,
        job=observed.job,
        attempt=observed.report.attempt if observed.report is not None else None,
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
        return _unknown("LastRunSucceeded", "NeverRan", "there has been no run yet")
    if over.state != "Succeeded":
        return _false("LastRunSucceeded", cast(Reason, over.reason or "UnknownError"), over.message or over.state)
    return _true("LastRunSucceeded", _counts_in_words(over))


def _counts_in_words(run: Run) -> str:
    if run.rows_read is None:
        return run.message or "succeeded"
    parts = [f"{run.rows_read:,} rows read", f"{run.rows_loaded:,} loaded"]
    parts += [f"{run.rows_quarantined:,} quarantined"] if run.rows_quarantined else []
    parts += [f"{run.rows_ignored:,} ignored"] if run.rows_ignored else []
    return ", ".join(parts)


def _datasets(graph: Graph, seen: Seen, before: PipelineStatus) -> list[PipelineDatasetStatus]:
    newest = next(iter(seen.of("ingest")), None)
    if newest is None:
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
    asked = {
        "nonce": getattr(graph.spec, "run_nonce", ""),
        "requested": graph.meta.annotations.get(objects.REQUESTED_AT, ""),
    }[event]
    wanted = due.run_id(graph, f"{event}/{asked}")
    return asked if asked and any(run.id == wanted for run in runs) else before


_BY_KIND = {
    "Source": _inspected,
    "Destination": _inspected,
    "Dataset": _dataset,
    "Pipeline": _pipeline,
    "Subscription": _subscription,
}
