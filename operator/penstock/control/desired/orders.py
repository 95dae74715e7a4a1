"""The RunOrder of each kind: everything a worker must know, and nothing secret."""

import dataclasses
from typing import cast

from penstock.api import parsedfields
from penstock.api.dataset import DatasetSpec
from penstock.api.destination import DestinationSpec
from penstock.api.pipeline import PipelineDataset, PipelineSpec
from penstock.api.source import SourceSpec
from penstock.api.subscription import SubscriptionSpec
from penstock.control.resolve import Graph, Node, Problem
from penstock.language.errors import InvalidSpec
from penstock.language.scalars import seconds
from penstock.runs.order import (
    DatasetOrder,
    DeliveryOrder,
    DestinationOrder,
    PreviewOrder,
    RunOrder,
    SourceOrder,
    Subject,
)

INSPECTION_SECONDS = 120
MIGRATION_SECONDS = 300
DELIVERY_SECONDS = 3600


def of(graph: Graph) -> RunOrder | None:
    """The order of a graph's standing work, or None where the graph has a problem."""
    if graph.problem is not None or graph.spec is None:
        return None
    return graph.once("order", lambda: _ORDERS[graph.key.kind](graph))


def checked(graph: Graph) -> Graph:
    """The graph, with a problem where its order does not fit into a ConfigMap."""
    order = of(graph)
    if order is None:
        return graph
    try:
        order.compress()
    except InvalidSpec as invalid:
        return dataclasses.replace(graph, problem=Problem(invalid.reason, invalid.message))
    return graph


def preview(graph: Graph, rows: int, *, quarantined: bool) -> RunOrder:
    """The order that shows the first `rows` rows (at most 100) of a Dataset or its quarantine, or of a Source.

    Of a Subscription: of what it would deliver now.
    """
    bare = RunOrder(
        kind="preview",
        subject=_subject(graph),
        identity=graph.identity,
        deadline_seconds=INSPECTION_SECONDS,
        preview=PreviewOrder(rows=rows, quarantined=quarantined),
    )
    if isinstance(graph.spec, SourceSpec):
        return bare.model_copy(update={"source": _source(graph.key.name, graph.spec)})
    if isinstance(graph.spec, SubscriptionSpec):
        delivered = deliver(graph)
        return bare.model_copy(update={"datasets": delivered.datasets, "delivery": delivered.delivery})
    return bare.model_copy(update={"datasets": [_own_dataset(graph)]})


def inspect(graph: Graph) -> RunOrder:
    """The order that inspects a Source or a Destination."""
    bare = RunOrder(
        kind="inspect-source" if graph.key.kind == "Source" else "inspect-destination",
        subject=_subject(graph),
        identity=graph.identity,
        deadline_seconds=INSPECTION_SECONDS,
    )
    if isinstance(graph.spec, SourceSpec):
        return bare.model_copy(update={"source": _source(graph.key.name, graph.spec)})
    return bare.model_copy(update={"destination": _destination(graph.key.name, cast(DestinationSpec, graph.spec))})


def migrate(graph: Graph) -> RunOrder:
    """The order that makes a Dataset's table."""
    return RunOrder(
        kind="migrate",
        subject=_subject(graph),
        identity=graph.identity,
        deadline_seconds=MIGRATION_SECONDS,
        datasets=[_with_access(_own_dataset(graph), cast(DatasetSpec, graph.spec))],
    )


def ingest(graph: Graph) -> RunOrder:
    """The order that loads all Datasets of a Pipeline."""
    spec = cast(PipelineSpec, graph.spec)
    source = cast("Node[SourceSpec]", graph.source)
    return RunOrder(
        kind="ingest",
        subject=_subject(graph),
        identity=graph.identity,
        deadline_seconds=seconds(spec.deadline),
        source=_source(source.name, source.spec),
        datasets=[_dataset(entry.dataset, entry.destination, entry.entry) for entry in graph.entries],
    )


def deliver(graph: Graph) -> RunOrder:
    """The order that delivers the Dataset of a Subscription."""
    spec = cast(SubscriptionSpec, graph.spec)
    dataset, lake = cast("Node[DatasetSpec]", graph.dataset), cast("Node[DestinationSpec]", graph.lake)
    destination = cast("Node[DestinationSpec]", graph.destination)
    return RunOrder(
        kind="deliver",
        subject=_subject(graph),
        identity=graph.identity,
        deadline_seconds=DELIVERY_SECONDS,
        datasets=[_with_access(_dataset(dataset, lake), dataset.spec)],
        delivery=DeliveryOrder(
            destination=_destination(destination.name, destination.spec),
            suffix=(spec.settings.suffix or "").strip("/"),
            format=spec.settings.format,
            table=spec.settings.table,
            on_refused_row=spec.on_refused_row if spec.on_refused_row != "fail" else None,
            fields=spec.fields,
            filter=spec.filter,
            deduplication=spec.deduplication,
            frequency=spec.frequency,
            budget=spec.budget,
            time_zone=spec.time_zone if spec.budget is not None else None,
        ),
    )


_ORDERS = {"Source": inspect, "Destination": inspect, "Dataset": migrate, "Pipeline": ingest, "Subscription": deliver}


def _subject(graph: Graph) -> Subject:
    return Subject(kind=graph.key.kind, namespace=graph.key.namespace, name=graph.key.name)


def _source(name: str, spec: SourceSpec) -> SourceOrder:
    return SourceOrder(name=name, connector=spec.connector, auth=spec.auth)


def _destination(name: str, spec: DestinationSpec) -> DestinationOrder:
    return DestinationOrder(name=name, connector=spec.connector, auth=spec.auth)


def _own_dataset(graph: Graph) -> DatasetOrder:
    node = Node(graph.key, cast(DatasetSpec, graph.spec), graph.status)
    return _dataset(node, cast("Node[DestinationSpec]", graph.destination))


def _with_access(order: DatasetOrder, spec: DatasetSpec) -> DatasetOrder:
    return order.model_copy(update={"access": spec.access})


def _dataset(
    node: Node[DatasetSpec], destination: Node[DestinationSpec], entry: PipelineDataset | None = None
) -> DatasetOrder:
    spec = node.spec
    return DatasetOrder(
        owner=Subject(kind="Dataset", namespace=node.key.namespace, name=node.name),
        destination=_destination(destination.name, destination.spec),
        table=spec.table,
        description=spec.description,
        schema_=parsedfields.applied(spec.schema_, spec.parsing),
        write_mode=spec.write_mode,
        quality=spec.quality,
        stream=entry.stream if entry is not None else None,
        sync=entry.sync if entry is not None else None,
        cursor=entry.cursor if entry is not None else None,
        lookback=entry.lookback if entry is not None else None,
        delay=entry.delay if entry is not None else None,
    )
