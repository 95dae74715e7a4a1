"""Runs that a load of another Dataset starts (`trigger.after`). Pure.

A load is identified by the `status.lastLoadTime` of its Dataset. When the gate lets a run start, it notes on the Job
the loads until then: the run reads what they wrote, whatever started it. The newest loads that were noted, on Jobs and
in status, are handled; what is loaded later starts one more run. So a restart misses nothing and repeats nothing, and
any number of loads during a run start one run after it.
"""

from typing import cast

from penstock.api.dataset import DatasetStatus
from penstock.api.trigger import HandledLoad
from penstock.control.observe import Seen
from penstock.control.resolve import Graph
from penstock.runs.order import RUNS


def current(graph: Graph) -> dict[str, str]:
    """The newest load of each Dataset that a Pipeline or Subscription runs after, by name, if it was ever loaded."""
    loads = {node.name: cast(DatasetStatus, node.status).last_load_time for node in graph.after}
    return {name: load for name, load in loads.items() if load is not None}


def note(graph: Graph) -> str:
    """The newest loads as the annotation of a Job has them: `name=time`, separated by commas."""
    return ",".join(f"{name}={load}" for name, load in current(graph).items())


def handled(graph: Graph, seen: Seen) -> list[HandledLoad] | None:
    """The loads that runs have handled, for status: as published, and as the Jobs say."""
    published: list[HandledLoad] | None = getattr(graph.status, "handled_loads", None)
    newest = {entry.dataset: entry.load for entry in published or []}
    if graph.problem is not None and not graph.after:
        return published  # the manifest is not valid, so its `after` is unknown
    names = {node.name for node in graph.after}
    for run in seen.runs:
        for name, load in run.loads:
            newest[name] = max(load, newest.get(name, ""))
    return [HandledLoad(dataset=name, load=load) for name, load in sorted(newest.items()) if name in names] or None


def slot(graph: Graph, seen: Seen) -> str | None:
    """The slot of the run that loads ask for now; None if there is none, or a run waits or is under way."""
    if any(not run.over and not run.suspended_by_hand for run in seen.runs if run.purpose in RUNS):
        return None
    done = {entry.dataset: entry.load for entry in handled(graph, seen) or []}
    pending = [(load, name) for name, load in current(graph).items() if load > done.get(name, "")]
    if not pending:
        return None
    load, name = max(pending)
    return f"after/{name}/{load}"
