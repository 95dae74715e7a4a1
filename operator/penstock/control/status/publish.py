"""The status of any object: dispatch by kind, and the patch that publishes it."""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from penstock.api.model import Model
from penstock.control import due
from penstock.control.observe import Seen
from penstock.control.resolve import Graph, Problem
from penstock.control.status import dataset, inspected, runs


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


_BY_KIND = {
    "Source": inspected.status,
    "Destination": inspected.status,
    "Dataset": dataset.status,
    "Pipeline": runs.pipeline,
    "Subscription": runs.subscription,
}
