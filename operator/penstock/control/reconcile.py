"""THE LINE of control: one object from its manifest to its status, station by station."""

import contextlib
from dataclasses import dataclass, field
from datetime import datetime, timedelta

from penstock.api.objects import Key
from penstock.control import apply, drift, due, encoding, harvest, observe, resolve
from penstock.control.cluster.port import Cluster, ClusterError, NotFound, Ref
from penstock.control.cluster.store import Store
from penstock.control.desired import objects as desired
from penstock.control.desired import orders
from penstock.control.metrics import Metrics
from penstock.control.resolve import Graph
from penstock.control.settings import Settings
from penstock.control.status import events
from penstock.control.status import publish as status

REFUSED_DELAY = timedelta(seconds=60)
"""When to try again what was refused or whose name was taken: nothing tells us that the cause is gone."""


@dataclass(frozen=True)
class World:
    """What a reconciliation works with."""

    cluster: Cluster
    store: Store
    settings: Settings
    logs: harvest.Logs = field(default_factory=harvest.Logs)
    metrics: Metrics = field(default_factory=Metrics)


async def reconcile(key: Key, world: World, now: datetime) -> datetime | None:
    """Make the cluster agree with one object, and write its status; returns when to look again though nothing happens.

    Raises `port.ClusterError` where the API refuses; everything else that is wrong becomes a condition.
    """
    graph = resolve.references(key, world.store, world.settings)  # manifest -> typed model -> closed graph
    if graph is None:
        world.metrics.forget(key)
        return None
    await encoding.prepare(orders.of(graph))  # beside the work loop, where there are many fields
    graph = orders.checked(graph)
    if graph.meta.deleting:  # our objects for it are deleted by their owner references, when its finalizers are gone
        await apply.changes(graph, drift.going(graph.children), [], world.cluster, world.store)
        return None
    seen = observe.of(graph)  # what Jobs did: reports, failures, causes
    if await apply.recover(graph, world.cluster, world.store):
        graph, seen = _now(graph, seen, world)
    wanted = desired.objects(graph)  # standing objects: orders, CronJobs
    starts = due.runs(graph, seen, now)  # events: Jobs that must exist now
    changes = drift.between(wanted, graph.children, now)  # owned fields only
    cluster, store = world.cluster, world.store
    problem = await apply.attempted(apply.changes(graph, changes, starts, cluster, store))  # Jobs are create-only
    problem = problem or await apply.attempted(apply.catalog(graph, seen, cluster, store))
    graph, seen = _now(graph, seen, world)
    seen = await harvest.details(graph, seen, world.logs, cluster)  # what is only shown; nothing is decided by it
    outcome = status.of(graph, seen, now, problem=problem)
    await publish(graph, outcome, now, world)  # one status patch, if anything changed; events on transitions
    await apply.prune(changes, cluster, store)  # harvest before prune: only now
    await apply.expired(due.expired(graph, seen, now), graph, cluster, store)
    moments = [outcome.again, now + REFUSED_DELAY if problem is not None else None]
    return min((moment for moment in moments if moment is not None), default=None)


def _now(graph: Graph, seen: observe.Seen, world: World) -> tuple[Graph, observe.Seen]:
    """The graph with what we have just made, which is in the store already."""
    fresh = resolve.with_children(graph, world.store)
    return fresh, seen if fresh is graph else observe.of(fresh)


async def publish(graph: Graph, outcome: status.Outcome, now: datetime, world: World) -> None:
    """Write the status and its events, if anything changed. Raises `port.ClusterError`."""
    live = world.store.get(graph.key)
    if live is None:
        return
    world.metrics.note(graph.key, graph.spec, outcome.status)
    patch = status.changes(live.get("status") or {}, outcome.status)
    if not patch:
        return
    body = {"metadata": {"resourceVersion": live["metadata"]["resourceVersion"]}, "status": patch}
    try:
        world.store.put(
            await world.cluster.patch_status(Ref(graph.key.kind, graph.key.namespace, graph.key.name), body)
        )
    except NotFound:
        world.store.remove(live)
        return
    world.metrics.published(graph.key, graph.status, outcome.status)
    for event in events.of(graph, outcome.status, now):
        with contextlib.suppress(ClusterError):  # an Event is a courtesy; what it tells is in status
            await world.cluster.create(event)
