"""The status of any object: dispatch by kind, and the patch that publishes it."""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from pydantic import ValidationError

from penstock.control import due
from penstock.control.observe import Seen
from penstock.control.resolve import Graph, Problem
from penstock.control.status import dataset, inspected, runs, verdicts
from penstock.language.conditions import Condition
from penstock.language.model import Model

_READINESS = ("Ready", "Reconciling", "Stalled")


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


def unforeseen(graph: Graph, error: Exception, now: datetime) -> Outcome:
    """The status of an object whose reconciliation raised an error: as published, but not ready, and why."""
    message = f"{type(error).__name__}: {_in_short(error)}; it is tried again. See the operator's log"
    before: list[Condition] = getattr(graph.status, "conditions", [])
    ready = verdicts.false("Ready", "UnknownError", message)
    kept = [verdicts.again(condition) for condition in before if condition.type not in _READINESS]
    others = [verdicts.of_then(graph, verdict) for verdict in kept]
    conditions = verdicts.published(graph, [ready, *others], now)
    update = {"observed_generation": graph.meta.generation, "conditions": conditions}
    return Outcome(graph.status.model_copy(update=update), None)


def _in_short(error: Exception) -> str:
    """What an error says in a line, without the value that it was about: nobody knows what that was."""
    if isinstance(error, ValidationError):
        first = error.errors(include_url=False, include_context=False, include_input=False)[0]
        return f"{error.title}.{'.'.join(str(part) for part in first['loc'])}: {first['msg']}"
    return next(iter(str(error).splitlines()), "")[:200]


def changes(live: Mapping[str, Any], wanted: Model) -> dict[str, Any]:
    """The merge patch that makes a live status say what `wanted` says; members of other versions stay as they are."""
    names = {field.alias or name for name, field in type(wanted).model_fields.items()}
    return patch({name: value for name, value in live.items() if name in names}, wanted.to_object())


def patch(before: Mapping[str, Any], after: Mapping[str, Any]) -> dict[str, Any]:
    """The JSON merge patch (RFC 7386) that turns one object into another; empty if they are equal."""
    changed: dict[str, Any] = {key: None for key in before if key not in after}
    for key, value in after.items():
        live = before.get(key)
        if isinstance(value, Mapping) and isinstance(live, Mapping):
            if inner := patch(live, value):
                changed[key] = inner
        elif key not in before or live != value:
            changed[key] = value
    return changed


_BY_KIND = {
    "Source": inspected.status,
    "Destination": inspected.status,
    "Dataset": dataset.status,
    "Pipeline": runs.pipeline,
    "Subscription": runs.subscription,
}
