# ruff: noqa: S608 - SQL is built here; every name and literal in it goes through engine.name and engine.text
"""Is it there, may we, and what does it look like: Sources are listed and sniffed, Destinations are written to."""

import logging
from collections.abc import Iterator, Mapping, Sequence

import pyarrow as pa

from penstock.connectors.files import formats as read
from penstock.connectors.files import stores as storage
from penstock.connectors.files.stores import Found, beneath
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
_CELLS = 500_000
"""Cells whose values suggest types, in wide files."""
_FIRST = 50
"""Values of a column that are looked at before the others."""
_TOGETHER = 50_000
"""Values that one question is about."""
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
            if chunk.broken is not None and not chunk.table.num_rows:
                message = f"{found.url}: none of the first {chunk.read:,} lines is a JSON object. Check format: "
                message += "JSON is read as JSON lines, one object a line, with no array around them."
                raise InvalidSpec(message, "WrongSpecification")
            names = chunk.names
        sample = work(names, connection).table
        sample = sample.slice(0, min(_SAMPLE, max(_CELLS // max(len(names), 1), _FIRST)))
        types = _suggested([sample[f"c{index}"] for index in range(len(names))], connection)
        return [CatalogField(name=name, type=kind) for name, kind in zip(names, types, strict=True)]


def _suggested(columns: Sequence[pa.ChunkedArray], connection: engine.Connection) -> list[str]:
    """For each column the narrowest type that every value is, by the rules of loading; `string` for one without values.

    All columns are asked about together: a question costs as much as some thousand values.
    """
    values = [column.drop_null().unique() for column in columns]
    fitting = {index: frozenset(_CANDIDATES) for index, column in enumerate(values) if len(column)}
    for most in (_FIRST, _SAMPLE):  # the first few values rule most types out
        asked = {index: values[index].slice(0, most) for index, kinds in fitting.items() if kinds}
        fitting |= _fitting(asked, connection)
    narrowest = [[kind for kind in _CANDIDATES if kind in fitting.get(index, ())] for index in range(len(values))]
    return [kinds[0] if kinds else "string" for kinds in narrowest]


def _fitting(values: Mapping[int, pa.Array], connection: engine.Connection) -> dict[int, frozenset[str]]:
    """The types that all of these values are, by the index of their column."""
    casts = [lossless.from_text(kind, "x", f"t{number}") for number, kind in enumerate(_CANDIDATES)]
    attempts = ", ".join(f"{cast.attempt} AS t{number}" for number, cast in enumerate(casts))
    accepted = ", ".join(f"count({cast.accept}) = count(*)" for cast in casts)
    fitting = dict[int, frozenset[str]]()
    for part in _parts(values):
        connection.register("sample", part)
        answers = connection.execute(
            f"SELECT n, {accepted} FROM (SELECT n, x, {attempts} FROM sample) GROUP BY n"
        ).fetchall()
        for index, *fits in answers:
            fitting[index] = frozenset(kind for kind, fit in zip(_CANDIDATES, fits, strict=True) if fit)
    return fitting


def _parts(values: Mapping[int, pa.Array]) -> Iterator[pa.Table]:
    """The values of whole columns as tables of about _TOGETHER rows: the column's index, and the value."""
    numbers, arrays = list[pa.Array](), list[pa.Array]()
    for index, column in values.items():
        numbers.append(pa.repeat(index, len(column)))
        arrays.append(column)
        if sum(len(array) for array in arrays) >= _TOGETHER:
            yield pa.table({"n": pa.chunked_array(numbers), "x": pa.chunked_array(arrays)})
            numbers, arrays = [], []
    if arrays:
        yield pa.table({"n": pa.chunked_array(numbers), "x": pa.chunked_array(arrays)})


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
        warehouse = order.connector.lake.warehouse
        with storage.trouble(subject, warehouse), beneath.written(home.root, probe) as (file, _):
            file.write(local.read_bytes())
    elif order.connector.files is not None:
        store = storage.at(order.connector.files, order.auth, pod, subject)
        store.put(probe, local)
        store.remove(probe)
    local.unlink()
    log.info("%s can be written to", subject)
