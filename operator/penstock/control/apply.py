"""Sixth station: changes to the cluster, the only effects of a reconciliation but its status patch.

Standing objects are applied server-side, one call for each that differs; Jobs are events and only ever created. What
the server answers goes into the store at once, so that the next decision sees it.
"""

import contextlib
import logging
from collections.abc import Awaitable, Mapping, Sequence

from penstock.control.cluster import owners
from penstock.control.cluster.owners import Owner
from penstock.control.cluster.port import Cluster, ClusterError, Conflict, Manifest, NotFound, Ref
from penstock.control.cluster.store import Store
from penstock.control.desired import objects as desired_objects
from penstock.control.desired import orders
from penstock.control.desired import runs as desired_runs
from penstock.control.desired.runs import Start
from penstock.control.drift import Change, Changes
from penstock.control.observe import Observed, Seen
from penstock.control.resolve import Graph, Problem
from penstock.language.conditions import Reason
from penstock.language.errors import InvalidSpec
from penstock.runs import places, report

log = logging.getLogger(__name__)

REFUSED: Mapping[int, Reason] = {400: "InvalidSpec", 403: "UnknownError", 422: "InvalidSpec"}
"""Answers of the API server that only a person can change: a bad quantity in `worker`, a quota, a policy."""


async def attempted(work: Awaitable[None]) -> Problem | None:
    """Do it; what only a person can mend comes back as a problem. Raises `port.ClusterError` for all else."""
    try:
        await work
    except InvalidSpec as invalid:
        return Problem(invalid.reason, invalid.message)
    except ClusterError as error:
        if error.status not in REFUSED:
            raise
        return Problem(REFUSED[error.status], f"the API server refuses what this needs: {error.message}")
    return None


async def changes(graph: Graph, wanted: Changes, starts: Sequence[Start], cluster: Cluster, store: Store) -> None:
    """Apply, create, suspend, in this order. Raises `InvalidSpec` (NameConflict) and `port.ClusterError`."""
    for change in wanted.apply:
        await _apply(graph, change, cluster, store)
    for start in starts:
        await create(graph, desired_runs.job(graph, start), cluster, store)
    for job in wanted.relabel:
        await _with_labels(job, owners.labels(job), cluster, store)
    for cronjob in wanted.suspend:
        store.put_child(await cluster.patch(Ref.of(cronjob), {"spec": {"suspend": True}}))


async def prune(wanted: Changes, cluster: Cluster, store: Store) -> None:
    """Delete what is not wanted any more. With a CronJob go its Jobs, so what they reported must be in status."""
    for child in wanted.delete:
        await delete(child, cluster, store)


async def expired(jobs: Sequence[Observed], graph: Graph, cluster: Cluster, store: Store) -> None:
    """Delete Jobs that are past keeping; their Pods and logs go with them."""
    by_uid = {child["metadata"]["uid"]: child for child in graph.children}
    for job in jobs:
        if job.uid in by_uid:
            await delete(by_uid[job.uid], cluster, store)


async def catalog(graph: Graph, seen: Seen, cluster: Cluster, store: Store) -> None:
    """Put what the newest inspection of a Source logged into the ConfigMap `<name>-catalog`, once."""
    newest = next((run for run in seen.of("inspect-source") if run.over), None)
    if newest is None or newest.state != "Succeeded" or newest.report is None or newest.pod is None:
        return
    order = orders.of(graph)
    if order is None or newest.order != desired_runs.fingerprint(graph, order):
        return
    name = desired_objects.catalog_name(graph)
    live = store.child(Ref("ConfigMap", graph.key.namespace, name))
    if live is not None and (live["metadata"].get("annotations") or {}).get(desired_objects.CATALOG_OF) == newest.uid:
        return
    try:
        text = await cluster.log(graph.key.namespace, newest.pod)
    except ClusterError as error:  # the Pod or its node is gone: no reason to hold up the status
        log.info("%s: no catalog: %s", graph.key, error.message)
        return
    line = report.marked(text, places.CATALOG_LINE)
    if line is not None:
        manifest = desired_objects.catalog_map(graph, newest.uid, line)
        await _apply(graph, Change(manifest, () if live is None else ("data",)), cluster, store)


async def create(graph: Graph, manifest: Manifest, cluster: Cluster, store: Store) -> None:
    """Create what must not be made twice; if it is there already and ours, that is as good.

    Raises `InvalidSpec` (NameConflict) where it is foreign.
    """
    try:
        store.put_child(await cluster.create(manifest))
    except Conflict:
        live = await cluster.get(Ref.of(manifest))
        _must_be_ours(graph, live)
        await _with_labels(live, manifest["metadata"]["labels"], cluster, store)


async def _with_labels(live: Manifest, wanted: Mapping[str, str], cluster: Cluster, store: Store) -> None:
    """Give a child of ours back the labels that it lost: the watch does not see it without them."""
    labels = live["metadata"].get("labels") or {}
    lost = {name: value for name, value in wanted.items() if labels.get(name) != value}
    if lost:
        log.info("%s %s had lost labels; they are restored", live["kind"], live["metadata"]["name"])
        live = await cluster.patch(Ref.of(live), {"metadata": {"labels": lost}})
    store.put_child(live)


async def recover(graph: Graph, cluster: Cluster, store: Store) -> bool:
    """Find the Jobs of unfinished runs that are there and are not seen, because they lost the label that we watch.

    One call for each such run; there is none but when a Job was deleted or lost its labels. Returns whether one was
    found.
    """
    restored = False
    seen = {child["metadata"]["name"] for child in graph.children if child["kind"] == "Job"}
    missing = [run.job for run in getattr(graph.status, "runs", []) if not run.over and run.job not in (None, *seen)]
    for name in missing:
        with contextlib.suppress(NotFound):
            live = await cluster.get(Ref("Job", graph.key.namespace, str(name)))
            if store.owner_of(live) == graph.key:
                await _with_labels(live, owners.labels(live), cluster, store)
                restored = True
    return restored


async def delete(child: Manifest, cluster: Cluster, store: Store) -> None:
    """Delete that very object; gone already is fine."""
    await cluster.delete(Ref.of(child), child["metadata"]["uid"])
    store.remove_child(child)


async def _apply(graph: Graph, change: Change, cluster: Cluster, store: Store) -> None:
    ref = Ref.of(change.manifest)
    if change.manifest.get("immutable"):
        await _keep(graph, change, cluster, store)
        return
    if change.new:
        # Server-side apply cannot say "only if it is not there", and we never adopt what is not ours.
        with contextlib.suppress(NotFound):
            _must_be_ours(graph, await cluster.get(ref))
    else:
        where = f", which somebody changed: {', '.join(change.paths()[:5])}" if change.foreign else ""
        log.info("%s: applying %s %s%s", graph.key, ref.kind, ref.name, where)
    store.put_child(await cluster.apply(change.manifest))


async def _keep(graph: Graph, change: Change, cluster: Cluster, store: Store) -> None:
    """An order: its content decides its name, so it is created once, and afterwards only whose it is can differ."""
    if change.new:
        await create(graph, change.manifest, cluster, store)
        return
    # Not by server-side apply: it would leave a former owner's reference beside ours, and only one may control.
    metadata = {name: change.manifest["metadata"][name] for name in ("labels", "annotations", "ownerReferences")}
    store.put_child(await cluster.patch(Ref.of(change.manifest), {"metadata": metadata}))


def _must_be_ours(graph: Graph, live: Manifest) -> None:
    if owners.direct(live) == Owner(graph.key, graph.meta.uid):
        return
    kind, name = live["kind"], live["metadata"]["name"]
    raise InvalidSpec(
        f"{kind} {name} exists in namespace {graph.key.namespace} and is not ours. Delete or rename it, or rename "
        f"this {graph.key.kind}.",
        "NameConflict",
    )
