# ruff: noqa: S608 - SQL is built here; every name and literal in it goes through engine.name and engine.text
"""Is it there, may we, and what does it look like: Sources are listed and sniffed, Destinations are written to."""

import json
import logging
from collections.abc import Mapping

import pyarrow as pa

from penstock.connectors.files import formats as read
from penstock.connectors.files import stores as storage
from penstock.connectors.files.stores import Found
from penstock.connectors.lake import ledger
from penstock.language.errors import InvalidSpec
from penstock.runs import places
from penstock.runs.order import DestinationOrder, RunOrder
from penstock.runs.report import Catalog, CatalogField, CatalogStream, StreamReport
from penstock.worker import planning
from penstock.worker.pod import Pod
from penstock.worker.rows import engine, lossless

log = logging.getLogger(__name__)

_CATALOG_LIMIT = 512 * 1024
_SAMPLE = 20_000
"""Rows whose values suggest a type."""
_MEMORY = 256 << 20
_CANDIDATES = ("long", "double", "date", "timestamp", "timestamptz", "boolean")
"""Types that text may suggest, the narrower first; what fits none is a string."""
_NAMES: Mapping[str, str] = {
    "VARCHAR": "string",
    "BOOLEAN": "boolean",
    "INTEGER": "int",
    "SMALLINT": "int",
    "TINYINT": "int",
    "BIGINT": "long",
    "FLOAT": "double",
    "DOUBLE": "double",
    "DATE": "date",
    "TIMESTAMP": "timestamp",
    "TIMESTAMP WITH TIME ZONE": "timestamptz",
}


def source(order: RunOrder, pod: Pod) -> list[StreamReport]:
    """The Source's one stream, named like it; its fields and their types go into the log as the catalog.

    Raises InvalidSpec (ResourceNotFound) when there is no file, so that a misspelt glob is seen at once.
    """
    if order.source is None:
        raise InvalidSpec("The order names no Source.")
    given = planning.source(order.source, pod)
    found = given.store.find(given.glob)
    if not found:
        raise InvalidSpec(f"{given.where} matches no file. Check url and glob.", "ResourceNotFound")
    fields = _sniff(given, found[0], pod)
    log.info("%s: %s files, %s bytes; %s fields in the first", given.where, len(found), _bytes(found), len(fields))
    name = order.source.name
    log.info("%s%s", places.CATALOG_LINE, _catalog(CatalogStream(name=name, fields=fields)))
    return [StreamReport(name=name, fields=len(fields), files=len(found))]


def _bytes(found: list[Found]) -> str:
    return f"{sum(max(file.size, 0) for file in found):,}"


def _catalog(stream: CatalogStream) -> str:
    """The catalog as JSON within its limit; fields beyond it are left out, and that is told."""
    catalog = Catalog(streams=[stream])
    while len(text := catalog.model_dump_json(by_alias=True)) > _CATALOG_LIMIT:
        kept = catalog.streams[0].fields[: len(catalog.streams[0].fields) // 2]
        catalog = Catalog(streams=[stream.model_copy(update={"fields": kept})], truncated=True)
    return text


def _sniff(given: planning.Input, found: Found, pod: Pod) -> list[CatalogField]:
    with read.reader(given.store.open, found, given.format, given.compression, pod.scratch) as reader:
        if given.format.parquet is not None:
            pairs = zip(reader.columns.names, reader.columns.types, strict=True)
            return [CatalogField(name=name, type=_NAMES.get(kind, kind.lower())) for name, kind in pairs]
        work = next(iter(reader.works), None)
    if work is None:
        return [CatalogField(name=name, type="string") for name in reader.columns.names]
    with engine.connect(_MEMORY, 1, pod.scratch) as connection:
        names = reader.columns.names
        if reader.columns.open:
            chunk = work((), connection)
            if chunk.broken and not chunk.table.num_rows:
                message = f"{found.url}: none of the first {chunk.read:,} lines is a JSON object. Check format: "
                message += "JSON is read as JSON lines, one object a line, with no array around them."
                raise InvalidSpec(message, "WrongSpecification")
            names = keys(chunk.table)
        sample = work(names, connection).table.slice(0, _SAMPLE)
        return [
            CatalogField(name=name, type=_suggested(sample, f"c{index}", connection))
            for index, name in enumerate(names)
        ]


def keys(table: pa.Table) -> tuple[str, ...]:
    """The keys of the first JSON objects, in the order of their first appearance."""
    lines = table["line"].slice(0, 1000).to_pylist()
    return tuple(dict.fromkeys(key for line in lines for key in json.loads(line)))


def _suggested(sample: pa.Table, column: str, connection: engine.Connection) -> str:
    """The narrowest type that every value of the sample is, by the rules of loading."""
    connection.register("sample", sample)
    for kind in _CANDIDATES:
        cast = lossless.from_text(kind, "x", "t")
        ((values, fitting),) = connection.execute(
            f"SELECT count(x), count(v) FROM (SELECT x, {cast.accept} AS v FROM "
            f"(SELECT x, {cast.attempt} AS t FROM (SELECT {column} AS x FROM sample)))"
        ).fetchall()
        if 0 < values == fitting:
            return kind
    return "string"


def destination(order: DestinationOrder, pod: Pod) -> None:
    """Write something to the Destination and remove it again. Raises InvalidSpec or NotYet when that fails."""
    subject = f"Destination {order.name}"
    probe = f"penstock-probe-{pod.name}"
    local = pod.scratch / probe
    local.write_text("Penstock was here, to see whether it may write. This file can be deleted.\n", encoding="utf-8")
    if order.connector.lake is not None:
        from penstock.connectors.lake import tables as lake  # takes half a second: Sources and folders go without

        home = lake.open(order, pod)
        ledger.create(home.database)
        with storage.trouble(subject, order.connector.lake.warehouse):
            (home.root / probe).write_bytes(local.read_bytes())
            (home.root / probe).unlink()
    elif order.connector.files is not None:
        store = storage.at(order.connector.files, order.auth, pod, subject)
        store.put(probe, local)
        store.remove(probe)
    local.unlink()
    log.info("%s can be written to", subject)
