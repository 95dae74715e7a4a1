"""What there is to tell of a Dataset: its table, its schema, and how good its rows are."""

from collections.abc import Mapping
from datetime import datetime
from typing import Any, cast

from penstock.api.conditions import Reason, Verdict
from penstock.api.dataset import Column, DatasetStatus
from penstock.api.model import Model
from penstock.api.scalars import ratio
from penstock.api.source import Inspection
from penstock.control import due
from penstock.control.desired import orders
from penstock.control.observe import Seen
from penstock.control.resolve import Graph, Problem
from penstock.control.status import inspected, verdicts
from penstock.runs.report import DatasetReport


def status(graph: Graph, seen: Seen, now: datetime, trouble: Problem | None) -> tuple[Model, list[datetime | None]]:
    """The status of a Dataset."""
    before = cast(DatasetStatus, graph.status)
    run = inspected.upkeep_run(graph, seen)
    migration = inspected.inspection(graph, run, before.migration)
    wanted = orders.of(graph)
    current = migration is not None and wanted is not None and migration.order == due.target(graph, wanted)
    facts = _newest_facts(graph, seen)
    found = [
        _table_ready(graph, trouble, migration if current else None),
        _schema_current(graph, migration if current else None),
        _quality(graph, seen),
    ]
    status = DatasetStatus(
        observed_generation=graph.meta.generation,
        conditions=verdicts.published(graph, found, now),
        migration=migration,
        **facts,
    )
    return status, []


def _table_ready(graph: Graph, trouble: Problem | None, migration: Inspection | None) -> Verdict:
    if trouble is not None:
        return verdicts.false("Ready", trouble.reason, trouble.message)
    if migration is not None and migration.state == "Succeeded":
        return verdicts.true(
            "Ready", graph.suspended or "the table is there", "Suspended" if graph.suspended else "Succeeded"
        )
    if migration is not None and migration.state == "Failed":
        return verdicts.false("Ready", cast(Reason, migration.reason or "UnknownError"), migration.message or "")
    if graph.suspended is not None:
        return verdicts.false("Ready", "Suspended", graph.suspended)
    reachable = graph.destination.condition("Reachable") if graph.destination is not None else None
    if graph.destination is not None and reachable is not None and reachable.status == "False":
        return verdicts.false("Ready", "Unreachable", f"Destination {graph.destination.name}: {reachable.message}")
    return verdicts.false("Ready", "Progressing", "its table is being made")


def _schema_current(graph: Graph, migration: Inspection | None) -> Verdict:
    if migration is None or migration.state == "Running":
        return verdicts.as_before(
            graph, "SchemaCurrent", verdicts.unknown("SchemaCurrent", "Progressing", "not compared yet")
        )
    if migration.state == "Succeeded":
        return verdicts.true("SchemaCurrent", "the table has the columns of the spec")
    return verdicts.false("SchemaCurrent", cast(Reason, migration.reason or "UnknownError"), migration.message or "")


def _quality(graph: Graph, seen: Seen) -> Verdict:
    name = graph.key.name
    for run in seen.of("ingest"):
        for entry in run.report.datasets if run.report is not None else []:
            if entry.name == name and entry.reason == "TooManyBadRows":
                return verdicts.false("QualityOK", "TooManyBadRows", entry.message or "")
            if entry.name == name and entry.state == "Written":
                bad, read = entry.counts.quarantined, entry.counts.read
                limit = getattr(graph.spec, "quality", None)
                share = f"{bad / read:.2%}" if read else "0%"
                allowed = (
                    f"; up to {limit.max_bad_ratio} are allowed" if limit and ratio(limit.max_bad_ratio) < 1 else ""
                )
                return verdicts.true("QualityOK", f"{bad:,} of {read:,} rows ({share}) are in quarantine{allowed}")
    return verdicts.as_before(graph, "QualityOK", verdicts.unknown("QualityOK", "NeverRan", "nothing was loaded yet"))


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
