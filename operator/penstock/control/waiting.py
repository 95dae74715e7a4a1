"""Why a run that waits does not start. Pure."""

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

from penstock.api.waiting import Cause
from penstock.control import limits
from penstock.control.observe import Observed
from penstock.control.resolve import Graph, Node
from penstock.language import words
from penstock.language.conditions import Condition
from penstock.runs.order import OrderKind


@dataclass(frozen=True)
class Obstacle:
    """What keeps a run from starting. It says nothing that changes while it lasts, so that status stays the same."""

    cause: Cause
    message: str
    object: str | None = None
    """The object that it waits for, as `Kind/name`."""


def obstacle(graph: Graph, purpose: OrderKind, rivals: Iterable[Observed]) -> Obstacle | None:
    """What keeps a waiting run from starting; None when it may start.

    `rivals` are the runs under way on the same Datasets: one writer at a time.
    """
    if graph.meta.deleting:
        return Obstacle("Deleted", f"{graph.key.kind} {graph.key.name} is being deleted")
    if graph.problem is not None:
        return Obstacle("Invalid", graph.problem.message)
    if (suspended := graph.suspended) is not None:
        return Obstacle("Suspended", suspended)
    for node in graph.nodes:
        if (missing := _not_usable(node)) is not None:
            return missing
    if purpose == "ingest" and any(rival.purpose in ("ingest", "migrate") for rival in rivals):
        return Obstacle("DatasetBusy", "another run is writing the same Dataset")
    return _full(graph)


def _not_usable(node: Node[Any]) -> Obstacle | None:
    reachable, ready = node.condition("Reachable"), node.condition("Ready")
    name = f"{node.key.kind}/{node.name}"
    if reachable is not None and reachable.status == "False":
        why = words.without_subject(reachable.message, node.title)
        return Obstacle("Unreachable", f"{node.title} is not reachable: {why}", name)
    if node.key.kind == "Dataset" and not loads_go_on(ready):
        return Obstacle("NotReady", f"Dataset {node.name} is not ready yet", name)
    return None


def loads_go_on(ready: Condition | None) -> bool:
    """Whether runs use a Dataset whose condition Ready is this: also while a change of its schema is refused.

    The worker then goes by the schema that was applied last, and fails where the table is not as that one says.
    """
    return ready is not None and (ready.status == "True" or ready.reason == "SchemaChanged")


def _full(graph: Graph) -> Obstacle | None:
    if graph.full is None:
        return None
    system = graph.full
    return Obstacle(
        "MaxConcurrentRuns",
        f"as many runs use {system.kind} {system.name} as its maxConcurrentRuns allows",
        f"{system.kind}/{system.name}",
    )


def systems(graph: Graph) -> limits.Systems:
    """The Source and the Destinations that a run of a graph uses."""
    return tuple(sorted(node.key for node in graph.nodes if node.key.kind in ("Source", "Destination")))
