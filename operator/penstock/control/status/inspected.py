"""The status of a Source or a Destination: whether it answers, and what it has."""

from datetime import datetime
from typing import Any, cast

from penstock.api.destination import DestinationSpec, DestinationStatus
from penstock.api.source import Failure, Inspection, SourceSpec, SourceStatus, Stream
from penstock.control import due
from penstock.control.desired import objects as desired_objects
from penstock.control.observe import Observed, Seen
from penstock.control.resolve import Graph, Problem
from penstock.control.status import verdicts
from penstock.language import times, visible, words
from penstock.language.conditions import Reason, Verdict
from penstock.language.model import Model
from penstock.runs.report import StreamReport

ANSWERED: frozenset[Reason] = frozenset({"ResourceNotFound", "WrongSpecification", "InvalidSpec"})
"""Failed inspections after which a Source still counts as reachable."""


def status(graph: Graph, seen: Seen, now: datetime, trouble: Problem | None) -> tuple[Model, list[datetime | None]]:
    """The status of a Source or a Destination."""
    run = due.upkeep_job(graph, seen)
    newest = inspection(graph, run, due.upkeep_status(graph))
    conditions = [verdicts.accepted(graph, trouble, "accepted"), _reachable(graph, run)]
    fields: dict[str, Any] = {"observed_generation": graph.meta.generation, "inspection": newest}
    fields["location"] = _location(graph)
    fields["last_check_time"] = run.finished if run is not None and run.over else _last_check(graph)
    if graph.key.kind == "Destination":
        return DestinationStatus(conditions=verdicts.published(graph, conditions, now), **fields), []
    streams = _streams(graph, run)
    conditions.append(_discovered(graph, run, streams))
    before = cast(SourceStatus, graph.status)
    catalog = before.catalog if _newly_inspected(graph, run) is None else desired_objects.catalog_name(graph)
    return SourceStatus(
        conditions=verdicts.published(graph, conditions, now), streams=streams, catalog=catalog, **fields
    ), []


def _newly_inspected(graph: Graph, run: Observed | None) -> list[StreamReport] | None:
    """The streams of an inspection that status does not have yet; None where there is none."""
    if run is None or run.state != "Succeeded" or run.report is None or not run.report.streams:
        return None  # no streams: too many for a short report
    before = cast(SourceStatus, graph.status)
    is_published = before.last_check_time == run.finished and bool(before.streams)
    return None if is_published else run.report.streams


def _streams(graph: Graph, run: Observed | None) -> list[Stream]:
    """The streams as last inspected, with the number of files that a load has listed since then."""
    inspected = _newly_inspected(graph, run)
    streams = cast(SourceStatus, graph.status).streams
    if inspected is not None:
        streams = [Stream(name=entry.name, fields=entry.fields or 0, files=entry.files) for entry in inspected]
    checked = run.finished if run is not None and run.over else _last_check(graph)
    use = due.newest_use(graph)
    if use is None or use.report is None or (use.finished or "") < (checked or ""):
        return streams
    listed = {entry.name: entry.files for entry in use.report.streams if entry.files is not None}
    return [stream.model_copy(update={"files": listed.get(stream.name, stream.files)}) for stream in streams]


def _location(graph: Graph) -> str | None:
    """Where the system is; as it was published while the spec is invalid."""
    if isinstance(graph.spec, SourceSpec | DestinationSpec):
        return graph.spec.connector.spec.location
    return cast("SourceStatus | DestinationStatus", graph.status).location


def _last_check(graph: Graph) -> str | None:
    return cast("SourceStatus | DestinationStatus", graph.status).last_check_time


def inspection(graph: Graph, run: Observed | None, published: Inspection | None) -> Inspection | None:
    """The state of the newest attempt, by its Job or, where there is none, as `published`."""
    if run is None:
        return published
    failed = run.state == "Failed"
    startable = graph.problem is None and graph.suspended is None
    retry = due.retry_time(run, graph.settings) if due.repeated(run) and startable else None
    return Inspection(
        order=run.target,
        attempt=run.attempt,
        state="Succeeded" if run.state == "Succeeded" else "Failed" if failed else "Running",
        retry_time=times.text(retry) if retry is not None else None,
        reason=run.reason if failed or run.reason == "ReportLost" else None,
        message=run.message[:1024] if run.message else None,
        pod_waits=run.waits if not run.over else None,
        last_failure=_last_failure(run, published),
    )


def _last_failure(run: Observed, published: Inspection | None) -> Failure | None:
    """How the attempt before `run` failed, while that is under way; `published` is what status has."""
    if run.over or published is None:
        return None
    if published.state == "Failed":
        return Failure(reason=published.reason or "UnknownError", message=published.message or "the inspection failed")
    return published.last_failure


def _before_it_ends(graph: Graph, kind: str, run: Observed | None) -> Verdict:
    """The condition while there is no new result: as before, of the spec that was inspected then."""
    published = verdicts.as_before(graph, kind, verdicts.unknown(kind, "Progressing", "not inspected yet"))
    if run is None:
        return published
    failure = _last_failure(run, due.upkeep_status(graph))
    return verdicts.of_then(graph, verdicts.delayed(published, run.message, failure))


def _reachable(graph: Graph, run: Observed | None) -> Verdict:
    if run is None or not run.over:
        return _before_it_ends(graph, "Reachable", run)
    if run.state == "Succeeded":
        return verdicts.true("Reachable", "answered the inspection")
    reason, message = run.reason or "UnknownError", run.message or "the inspection failed"
    if reason in ANSWERED and graph.key.kind == "Source":
        return verdicts.true("Reachable", "answered the inspection")
    if reason in due.UNANSWERED or graph.key.kind == "Destination":
        return verdicts.false("Reachable", reason, message)
    return verdicts.unknown("Reachable", reason, message)


def _discovered(graph: Graph, run: Observed | None, streams: list[Stream]) -> Verdict:
    if run is None or not run.over:
        return _before_it_ends(graph, "Discovered", run)
    if run.reason == "ReportLost":
        return verdicts.unknown("Discovered", run.reason, run.message or "")
    if run.state == "Failed" or run.report is None:
        return verdicts.false("Discovered", run.reason or "UnknownError", run.message or "the inspection failed")
    if not run.report.streams:
        return verdicts.true("Discovered", "the log that names the streams could not be read")
    return verdicts.true("Discovered", ", ".join(_stream_in_words(stream) for stream in streams[:3]))


def _stream_in_words(stream: Stream) -> str:
    where = f" in {words.count(stream.files, 'file')}" if stream.files is not None else ""
    return f"{visible.line(stream.name)}: {words.count(stream.fields, 'field')}{where}"
