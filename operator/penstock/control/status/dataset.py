"""The status of a Dataset: its table, its schema, and how good its rows are."""

from dataclasses import dataclass
from datetime import datetime
from typing import Any, cast

from penstock.api.dataset import Column, DatasetStatus
from penstock.api.source import Inspection
from penstock.control import due
from penstock.control.desired import orders
from penstock.control.observe import Seen
from penstock.control.resolve import Graph, Problem
from penstock.control.status import freshness, inspected, verdicts
from penstock.language import words
from penstock.language.conditions import Verdict
from penstock.language.model import Model
from penstock.language.scalars import ratio
from penstock.runs.order import OrderKind
from penstock.runs.report import Commit, Counts, DatasetReport

_TOO_MANY = "more rows were bad than quality.maxBadRatio allows; the run's message and its log say more"

_WARNINGS = 3
"""Rules that the message of QualityOK names."""

_FACTS = {
    *("table", "columns", "rows", "bytes", "quarantined_rows", "snapshot"),
    *("last_load_time", "last_run", "last_report_time", "last_confirmed_time"),
}
"""What status tells of the table, from reports."""


def status(graph: Graph, seen: Seen, now: datetime, trouble: Problem | None) -> tuple[Model, list[datetime | None]]:
    """The status of a Dataset."""
    before = cast(DatasetStatus, graph.status)
    run = due.upkeep_job(graph, seen)
    migration = inspected.inspection(graph, run, before.migration)
    wanted = orders.of(graph)
    current = migration is not None and wanted is not None and migration.order == due.target(graph, wanted)
    news = _news(graph, seen)
    conditions = [
        _table_ready(graph, trouble, migration if current else None, exists=before.table is not None),
        _schema_current(graph, migration if current else None),
        _quality(graph, news),
    ]
    facts = _facts(before, news)
    confirmed = facts.get("last_confirmed_time") or facts.get("last_load_time")
    end = freshness.end(graph, confirmed)
    if end is not None:
        conditions.append(freshness.verdict(graph, confirmed, end, now))
    status = DatasetStatus(
        observed_generation=graph.meta.generation,
        conditions=verdicts.published(graph, conditions, now),
        migration=migration,
        **facts,
    )
    return status, [end if end is not None and end > now else None]


def _table_ready(graph: Graph, trouble: Problem | None, migration: Inspection | None, *, exists: bool) -> Verdict:
    if trouble is not None:
        return verdicts.false("Ready", trouble.reason, trouble.message)
    if migration is not None and migration.state == "Succeeded":
        return verdicts.true(
            "Ready", graph.suspended or "the table is there", "Suspended" if graph.suspended else "Succeeded"
        )
    if migration is not None and migration.state == "Failed":
        return verdicts.false("Ready", migration.reason or "UnknownError", migration.message or "")
    if graph.suspended is not None:
        return verdicts.false("Ready", "Suspended", graph.suspended)
    reachable = graph.destination.condition("Reachable") if graph.destination is not None else None
    if graph.destination is not None and reachable is not None and reachable.status == "False":
        why = words.without_subject(reachable.message, graph.destination.title)
        return verdicts.false("Ready", "Unreachable", f"{graph.destination.title} is not reachable: {why}")
    held_up = f": {migration.message}" if migration is not None and migration.message else ""
    doing = "compared with the schema" if exists else "created"
    return verdicts.false("Ready", "Progressing", f"its table is being {doing}{held_up}")


def _schema_current(graph: Graph, migration: Inspection | None) -> Verdict:
    if migration is None or migration.state == "Running":
        waiting = verdicts.unknown("SchemaCurrent", "Progressing", "not compared yet")
        before = verdicts.as_before(graph, "SchemaCurrent", waiting)
        if migration is None:
            return before
        return verdicts.delayed(before, migration.message, migration.last_failure)
    if migration.state == "Succeeded":
        return verdicts.true("SchemaCurrent", "the table has the columns of the spec")
    return verdicts.false("SchemaCurrent", migration.reason or "UnknownError", migration.message or "")


@dataclass(frozen=True)
class _News:
    """What a report says of this Dataset, and when (RFC 3339) that was so."""

    at: str
    purpose: OrderKind
    entry: DatasetReport
    complete: bool
    """Whether what is only shown is there, too."""

    @property
    def load(self) -> Commit | None:
        """The newest commit that loaded rows, as the ledger had it."""
        return next((commit for commit in self.entry.tail if commit.loaded), None)


def _news(graph: Graph, seen: Seen) -> list[_News]:
    """What reports say that is not in status yet, oldest first: status never goes back to an older report.

    A report goes with its Job, and older ones may outlive it.
    """
    before = cast(DatasetStatus, graph.status)
    news = [
        _News(run.report.finished_at, run.purpose, entry, run.report.complete)
        for run in seen.of("ingest", "migrate")
        if run.report is not None
        for entry in run.report.datasets
        if entry.name == graph.key.name
    ]
    return sorted(
        (news for news in news if not _stale(news, before)), key=lambda news: (news.at, news.purpose == "ingest")
    )


def _stale(news: _News, before: DatasetStatus) -> bool:
    last_load, load = before.last_load_time or "", news.load.at if news.load is not None else ""
    last = before.last_report_time or last_load
    if news.at == last:  # times have whole seconds: of two reports in one, the ledger's tail tells which is older
        return load < last_load
    # A migration may have looked at the table before a run that it overlapped had committed.
    return news.at < last or (news.purpose == "migrate" and "" < load < last_load)


def _quality(graph: Graph, news: list[_News]) -> Verdict:
    """By the newest run that wrote, or had too many bad rows; a run that was committed before says nothing new."""
    last = cast(DatasetStatus, graph.status).last_report_time or ""
    for one in [one for one in reversed(news) if one.purpose == "ingest"]:
        entry = one.entry
        if one.at == last and not one.complete:
            break  # status has it from the whole report
        if entry.reason == "TooManyBadRows":
            return verdicts.false("QualityOK", "TooManyBadRows", entry.message or _TOO_MANY)
        if entry.state == "Written" and not (entry.earlier and (entry.committed_at or "") < last):
            if entry.counts.refused and not entry.counts.read:
                return verdicts.false("QualityOK", "WrongSpecification", _nothing_readable(entry.counts.refused))
            return verdicts.true("QualityOK", _share_in_words(graph, entry.counts) + _warnings_in_words(entry))
    return verdicts.as_before(graph, "QualityOK", verdicts.unknown("QualityOK", "NeverRan", "nothing was loaded yet"))


def _share_in_words(graph: Graph, counts: Counts) -> str:
    bad, read = counts.quarantined, counts.read
    limit = getattr(graph.spec, "quality", None)
    share = f"{bad / read:.2%}" if read else "0%"
    allowed = f"; up to {limit.max_bad_ratio} are allowed" if limit and ratio(limit.max_bad_ratio) < 1 else ""
    refused = f"; {words.count(counts.refused, 'input')} could not be read" if counts.refused else ""
    return f"{bad:,} of {read:,} rows ({share}) are in quarantine{allowed}{refused}"


def _warnings_in_words(entry: DatasetReport) -> str:
    """The rules of the severity warn that loaded rows break, with the place of the first row of each."""
    said = [
        f"; {words.count(warning.rows, 'loaded row')} {'breaks' if warning.rows == 1 else 'break'} the rule "
        f"{warning.rule}" + (f", first in {warning.places[0]}" if warning.places else "")
        for warning in entry.warnings[:_WARNINGS]
    ]
    more = len(entry.warnings) - len(said)
    if more > 0:
        said.append(f"; and {words.count(more, 'other rule')} {'is' if more == 1 else 'are'} broken")
    return "".join(said)


def _nothing_readable(refused: int) -> str:
    """What is said of a run that loaded nothing because no new input could be read."""
    each = "the new input" if refused == 1 else f"none of the {refused:,} new inputs"
    negated = "could not be read" if refused == 1 else "could be read"
    return f"{each} {negated}; the quarantine says why. What was loaded before is still there"


def _facts(before: DatasetStatus, news: list[_News]) -> dict[str, Any]:
    """The facts about the table: as published, and what the news add to it."""
    facts = before.model_dump(include=_FACTS)
    for one in news:
        facts["last_report_time"] = one.at
        if one.purpose == "ingest" and one.entry.state != "Failed":
            # A run that only repeats what was committed before says nothing about the Source as it is now.
            confirmed = (one.entry.committed_at or one.at) if one.entry.earlier else one.at
            facts["last_confirmed_time"] = max(confirmed, facts.get("last_confirmed_time") or "")
        if one.entry.state != "Failed":
            facts.update(_standing(one, again=one.at == before.last_report_time))
    return facts


def _standing(news: _News, *, again: bool) -> dict[str, Any]:
    """What a report says of the table; `again`: status has it already, maybe from a longer form of it.

    What a short report lacks of a table that has changed is left out: what was published before is not so any more.
    """
    entry, load = news.entry, news.load
    update: dict[str, Any] = {
        "rows": entry.rows,
        "bytes": entry.bytes,
        "quarantined_rows": entry.quarantined,
        "snapshot": entry.snapshot,
        "table": entry.table,
        "last_load_time": load.at if load is not None else None,
        "last_run": (load.run or None) if load is not None else None,
    }
    outdated = {"bytes", "quarantined_rows", "snapshot", "last_run"} if entry.state == "Written" and not again else ()
    if entry.columns:
        update["columns"] = [Column(**column.model_dump()) for column in entry.columns[:64]]
    return {key: value for key, value in update.items() if value is not None or key in outdated}
