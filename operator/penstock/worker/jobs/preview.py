# ruff: noqa: S608 - SQL is built here; every name and literal in it goes through engine.name and engine.text
"""The first rows of a Dataset, of its quarantine or of a Source, for people to look at: as texts."""

import logging
from collections.abc import Collection, Mapping
from itertools import chain

import pyarrow as pa
import pyarrow.parquet as pq
from pyiceberg.table import Table

from penstock.connectors.files import formats
from penstock.connectors.files.stores import Found
from penstock.connectors.lake import tables as lake
from penstock.language.errors import InvalidSpec
from penstock.runs import places
from penstock.runs.order import RunOrder
from penstock.runs.report import BadRows, DatasetReport, Preview
from penstock.worker import planning, report
from penstock.worker.pod import Pod
from penstock.worker.ports import chunks
from penstock.worker.rows import engine

log = logging.getLogger(__name__)

_LONGEST = 1000
"""Characters shown of one value."""
_MEMORY = 256 << 20
_RULES = 20
"""How many rules are shown that rows have broken."""
_NUMBERS = (pa.types.is_integer, pa.types.is_floating, pa.types.is_decimal)


def dataset(order: RunOrder, pod: Pod) -> DatasetReport:
    """Print rows of the order's Dataset in one line of the log. Raises NotYet (DatasetNotReady) without a table."""
    if order.preview is None or len(order.datasets) != 1:
        raise InvalidSpec("The order to preview names one Dataset and what to show.")
    dataset, asked = order.datasets[0], order.preview
    opened = lake.open(dataset.destination, pod)
    tables = lake.existing(opened, dataset)
    table = tables.quarantine if asked.quarantined else tables.data
    hidden = set() if asked.quarantined else {field.name for field in dataset.schema_.fields if field.sensitive}
    with engine.connect(_MEMORY, 1, pod.scratch) as connection:
        first = _first(table, asked.rows)
        shown = Preview(
            columns=first.column_names,
            numeric=_numeric(first, hidden),
            rows=_texts(first, hidden, connection),
            total=lake.rows(table),
            bad=_by_rule(table, connection) if asked.quarantined else [],
        )
    _print(shown)
    return report.standing(opened, dataset.table, DatasetReport(name=dataset.owner.name, state="Ready"))


def source(order: RunOrder, pod: Pod) -> None:
    """Print the first rows of the Source's first file that has any, in one line of the log.

    Raises InvalidSpec (ResourceNotFound) where there is no file.
    """
    if order.source is None or order.preview is None:
        raise InvalidSpec("The order to preview names a Source and what to show.")
    given = planning.source(order.source, pod)
    found = given.store.find(given.glob)
    if not found:
        raise InvalidSpec(f"{given.where} matches no file. Check url and glob.", "ResourceNotFound")
    with engine.connect(_MEMORY, 1, pod.scratch) as connection:
        shown = Preview(columns=[], rows=[], where=found[0].url)
        for file in found:
            shown = _of_file(given, file, order.preview.rows, pod, connection)
            if shown.rows or shown.bad:
                break
    _print(shown)


def _print(shown: Preview) -> None:
    log.info("%s%s", places.PREVIEW_LINE, shown.model_dump_json(by_alias=True))


def _first(table: Table, rows: int) -> pa.Table:
    """The first rows of the table's files, by their names."""
    parts: list[pa.RecordBatch] = []
    for path in lake.paths(table):
        for batch in pq.ParquetFile(path).iter_batches(rows):
            parts.append(batch.slice(0, rows))
            rows -= parts[-1].num_rows
            if rows <= 0:
                return pa.Table.from_batches(parts)
    return pa.Table.from_batches(parts, lake.arrow_schema(table))


def _of_file(given: planning.Input, file: Found, wanted: int, pod: Pod, connection: engine.Connection) -> Preview:
    """The first rows of one file, and the lines among them that are no rows."""
    rows: list[list[str | None]] = []
    bad: list[BadRows] = []
    numeric: list[str] = []
    with formats.reader(given.store.open, file, given.format, given.compression, pod.scratch) as reader:
        names = reader.columns.names
        for work in reader.works_for(names):
            chunk = work(names, connection)
            if reader.columns.open and not names:  # those of the first objects
                names = chunk.names
                chunk = work(names, connection)
            if chunk.broken is not None:
                lines = chunk.broken.slice(0, _RULES).to_pylist()
                bad += [BadRows(rows=1, why=row["error"], where=f"{file.url}:{row['line']}") for row in lines]
            if chunk.table.num_rows:
                table = chunk.table.slice(0, wanted - len(rows)).select([f"c{index}" for index in range(len(names))])
                table = table.rename_columns(list(names))
                rows += _texts(table, (), connection)
                numeric = numeric or _numeric(table, ())
            if len(rows) >= wanted or len(bad) >= _RULES:
                break
    return Preview(columns=list(names), numeric=numeric, rows=rows, bad=bad[:_RULES], where=file.url)


def _by_rule(table: Table, connection: engine.Connection) -> list[BadRows]:
    """All rows of a quarantine by the field and the rule that they break, the most frequent first."""
    paths, columns = lake.paths(table), ["file", "line", "field", "error"]
    batches = (batch for path in paths for batch in pq.ParquetFile(path).iter_batches(columns=columns))
    if (first := next(batches, None)) is None:
        return []
    connection.register("bad", pa.RecordBatchReader.from_batches(first.schema, chain([first], batches)))
    found = connection.execute(
        "SELECT count(*), field, first(error ORDER BY file, line), first(file || ':' || line ORDER BY file, line) "
        # A message quotes the value that breaks the rule: without it, the message is the rule.
        """FROM bad GROUP BY field, regexp_replace(error, '"[^"]*"', '', 'g') """
        f"ORDER BY 1 DESC, 2, 4 LIMIT {_RULES}"
    ).fetchall()
    return [BadRows(rows=rows, field=field, why=why[:_LONGEST], where=where) for rows, field, why, where in found]


def _numeric(table: pa.Table, hidden: Collection[str]) -> list[str]:
    return [
        column.name
        for column in table.schema
        if column.name not in hidden and any(is_number(column.type) for is_number in _NUMBERS)
    ]


def _texts(table: pa.Table, hidden: Collection[str], connection: engine.Connection) -> list[list[str | None]]:
    if not table.num_columns:
        return []
    # Names of a file may differ in case alone, which SQL does not tell apart.
    numbered: Mapping[str, str] = {f"c{index}": name for index, name in enumerate(table.column_names)}
    connection.register("shown", table.rename_columns(list(numbered)))
    columns = [
        f"CASE WHEN {column} IS NOT NULL THEN {engine.text(chunks.MASK)} END"
        if name in hidden
        else f"left(CAST({column} AS VARCHAR), {_LONGEST})"
        for column, name in numbered.items()
    ]
    return [list(row) for row in connection.execute(f"SELECT {', '.join(columns)} FROM shown").fetchall()]
