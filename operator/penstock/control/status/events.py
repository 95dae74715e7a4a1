"""Events for `kubectl describe`: on transitions only, so that an unchanged object writes none."""

from collections.abc import Iterator
from datetime import datetime

from penstock.api import objects
from penstock.api.pipeline import Run
from penstock.control import due
from penstock.control.cluster.port import Manifest
from penstock.control.resolve import Graph
from penstock.control.status import runs
from penstock.language import conditions, times, visible
from penstock.language.conditions import Condition
from penstock.language.model import Model

_WITH_EVENTS = ("Ready", "Reachable", "SchemaCurrent", "QualityOK", "Fresh")


def of(graph: Graph, after: Model, now: datetime) -> list[Manifest]:
    """The events that turn the status as published into `after`."""
    transitions = [*_conditions(graph, after), *_repetitions(graph, after), *_runs(graph, after)]
    return [_event(graph, reason, message, now, warning=warning) for reason, message, warning in transitions]


def _conditions(graph: Graph, after: Model) -> Iterator[tuple[str, str, bool]]:
    before: list[Condition] = getattr(graph.status, "conditions", [])
    for condition in getattr(after, "conditions", []):
        published = conditions.find(before, condition.type)
        moved = published is None or published.status != condition.status or published.reason != condition.reason
        if condition.type not in _WITH_EVENTS or not moved or condition.reason in ("Progressing", "NeverRan"):
            continue
        if condition.status == "True":
            yield condition.type, condition.message, False
        elif condition.status == "False":
            yield condition.reason, f"{condition.type} is False: {condition.message}", True


def _repetitions(graph: Graph, after: Model) -> Iterator[tuple[str, str, bool]]:
    """What was asked for again after it had been carried out: details when it is taken up, as `handled…` shows."""
    for event, words in runs.repeated(graph, getattr(after, "runs", [])).items():
        if due.handled(after)[event] != due.handled(graph.status)[event]:
            yield "AlreadyCarriedOut", words, True


def _runs(graph: Graph, after: Model) -> Iterator[tuple[str, str, bool]]:
    before: list[Run] = getattr(graph.status, "runs", [])
    published = {(run.id, run.job): run.state for run in before}
    for run in getattr(after, "runs", []):
        words = {"Running": "RunStarted", "Succeeded": "RunSucceeded", "Failed": "RunFailed", "Cancelled": "Cancelled"}
        if run.state not in words or run.state == published.get((run.id, run.job)):
            continue
        counts = (
            "" if run.rows_loaded is None else f": {run.rows_loaded:,} loaded, {run.rows_quarantined:,} quarantined"
        )
        details = f": {run.message}" if run.message else counts
        yield words[run.state], f"run {run.id}{details}", run.state in ("Failed", "Cancelled")


def _event(graph: Graph, reason: str, message: str, now: datetime, *, warning: bool) -> Manifest:
    moment = times.text(now)
    return {
        "apiVersion": "v1",
        "kind": "Event",
        "metadata": {"generateName": f"{graph.key.name}.", "namespace": graph.key.namespace},
        "involvedObject": {
            "apiVersion": objects.API_VERSION,
            "kind": graph.key.kind,
            "namespace": graph.key.namespace,
            "name": graph.key.name,
            "uid": graph.meta.uid,
        },
        "type": "Warning" if warning else "Normal",
        "reason": reason,
        "message": visible.text(message)[:1024],
        "source": {"component": "penstock"},
        "firstTimestamp": moment,
        "lastTimestamp": moment,
        "count": 1,
    }
