"""The standing objects of a graph: the ConfigMap of its order and a CronJob for each schedule entry."""

import base64

from penstock.api import objects as names
from penstock.api.pipeline import PipelineSpec
from penstock.api.subscription import SubscriptionSpec
from penstock.control.cluster.port import Manifest
from penstock.control.desired import orders, render, runs
from penstock.control.resolve import Graph
from penstock.runs import places
from penstock.runs.order import RunOrder

CATALOG_OF = f"{names.GROUP}/catalog-of"
"""Annotation on a catalog: the UID of the Job that found it."""

KEEP_BEYOND_HISTORY = 10
"""How far CronJob history limits lie above `history`: the operator harvests a Job before it deletes it."""


def objects(graph: Graph) -> list[Manifest] | None:
    """What should stand for a graph; None where its problem leaves that open, so that nothing is torn down."""
    order = orders.of(graph)
    if order is None:
        return None
    cronjobs = [_cronjob(graph, order, position, schedule) for position, schedule in enumerate(_schedules(graph))]
    return [order_map(graph, order), *cronjobs]


def order_map(graph: Graph, order: RunOrder) -> Manifest:
    """The immutable ConfigMap that carries an order to the workers. Raises `InvalidSpec` (OrderTooLarge)."""
    return render.manifest(
        "configmap",
        metadata=runs.owned(graph, runs.order_name(graph, order), order.kind),
        immutable=True,
        data={},
        binary_data={places.ORDER.rpartition("/")[2]: base64.b64encode(order.compress()).decode()},
    )


def catalog_name(graph: Graph) -> str:
    """The ConfigMap that holds the catalog of a Source."""
    return f"{graph.key.name}-catalog"


def catalog_map(graph: Graph, inspection: str, catalog: str) -> Manifest:
    """The ConfigMap with the catalog that an inspection found; `inspection` is the UID of its Job."""
    metadata = runs.owned(graph, catalog_name(graph), "inspect-source", {CATALOG_OF: inspection})
    return render.manifest(
        "configmap", metadata=metadata, immutable=False, data={"catalog.json": catalog}, binary_data={}
    )


def _schedules(graph: Graph) -> list[tuple[str, str | None]]:
    if isinstance(graph.spec, PipelineSpec):
        return [(schedule, graph.spec.time_zone) for schedule in graph.spec.schedule]
    if isinstance(graph.spec, SubscriptionSpec) and graph.spec.cron is not None:
        return [(graph.spec.cron, graph.spec.time_zone)]
    return []


def _cronjob(graph: Graph, order: RunOrder, position: int, schedule: tuple[str, str | None]) -> Manifest:
    history = graph.spec.history if isinstance(graph.spec, PipelineSpec) else 10
    # The position names it, not the cron text: a changed time is a change, not another CronJob.
    name = f"{runs.short(graph.key.name, 36)}-{graph.key.kind.lower()}-{position}"
    return render.manifest(
        "cronjob",
        metadata=runs.owned(graph, name, order.kind),
        schedule=schedule[0],
        time_zone=schedule[1] or "Etc/UTC",
        suspend=graph.suspended is not None,
        keep=history + KEEP_BEYOND_HISTORY,
        labels=runs.labels(graph, order.kind),
        annotations=runs.template_annotations(graph, order),
        spec=runs.job_spec(graph, order, {}, suspend=True),
    )
