"""Is it there, may we, and what does it look like: Sources are listed and sampled, Destinations are written to."""

import logging

from penstock.language.errors import InvalidSpec
from penstock.runs import places
from penstock.runs.order import RunOrder
from penstock.runs.report import Catalog, CatalogField, CatalogStream, StreamReport
from penstock.worker.connectors import Connectors
from penstock.worker.pod import Pod

log = logging.getLogger(__name__)

_CATALOG_LIMIT = 512 * 1024
"""Bytes of the line that the catalog goes through."""


def inspect_source(order: RunOrder, pod: Pod, connectors: Connectors) -> list[StreamReport]:
    """The Source's streams; their fields and types go into the log as the catalog. Raises InvalidSpec and NotYet."""
    if order.source is None:
        raise InvalidSpec("The order names no Source.")
    source = connectors.source_of(order.source, pod)
    streams = [*source.discover()]
    for stream in streams:
        size = "" if stream.bytes is None else f", {stream.bytes:,} bytes"
        inputs = "" if stream.inputs is None else f"; {stream.inputs} inputs{size}"
        log.info("Source %s: stream %s has %s fields%s", order.source.name, stream.name, len(stream.fields), inputs)
    catalog = [
        CatalogStream(
            name=stream.name, fields=[CatalogField(name=field.name, type=field.type) for field in stream.fields]
        )
        for stream in streams
    ]
    log.info("%s%s", places.CATALOG_LINE, _catalog(catalog))
    return [StreamReport(name=stream.name, fields=len(stream.fields), files=stream.inputs) for stream in streams]


def _catalog(streams: list[CatalogStream]) -> str:
    """The catalog as JSON within its limit; fields beyond it are left out, and `truncated` says so."""
    catalog = Catalog(streams=streams)
    while len(text := catalog.model_dump_json(by_alias=True)) > _CATALOG_LIMIT:
        halved = [
            stream.model_copy(update={"fields": stream.fields[: len(stream.fields) // 2]}) for stream in catalog.streams
        ]
        catalog = Catalog(streams=halved, truncated=True)
    return text


def inspect_destination(order: RunOrder, pod: Pod, connectors: Connectors) -> None:
    """Write something to the Destination and remove it again. Raises InvalidSpec or NotYet when that fails."""
    destination = order.destination
    if destination is None:
        raise InvalidSpec("The order names no Destination.")
    if destination.connector.choice in connectors.stores:
        connectors.store_of(destination, pod).check()
    else:
        connectors.target_of(destination, pod).check()
    log.info("Destination %s can be written to", destination.name)
