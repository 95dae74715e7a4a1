# ruff: noqa: S608 - SQL is built here; every name and literal in it goes through engine.name and engine.text
"""The first rows of a Dataset, or of its quarantine, for people to look at: as texts, sensitive ones masked."""

import logging

import pyarrow as pa
import pyarrow.parquet as pq
from pyiceberg.table import Table

from penstock.connectors.lake import tables as lake
from penstock.language.errors import InvalidSpec
from penstock.runs import places
from penstock.runs.order import RunOrder
from penstock.runs.report import DatasetReport, Preview
from penstock.worker import report
from penstock.worker.pod import Pod
from penstock.worker.rows import engine, quality

log = logging.getLogger(__name__)

_LONGEST = 1000
"""Characters shown of one value."""
_MEMORY = 256 << 20


def show(order: RunOrder, pod: Pod) -> DatasetReport:
    """Print the rows in one line of the log. Raises NotYet (DatasetNotReady) when there is no table."""
    if order.preview is None or len(order.datasets) != 1:
        raise InvalidSpec("The order to preview names one Dataset and what to show.")
    dataset, asked = order.datasets[0], order.preview
    home = lake.open(dataset.destination, pod)
    tables = lake.existing(home, dataset)
    table = tables.quarantine if asked.quarantined else tables.data
    hidden = set() if asked.quarantined else {field.name for field in dataset.schema_.fields if field.sensitive}
    with engine.connect(_MEMORY, 1, pod.scratch) as connection:
        rows = _texts(_first(table, asked.rows), hidden, connection)
    shown = Preview(columns=[field.name for field in table.schema().fields], rows=rows, total=lake.rows(table))
    log.info("%s%s", places.PREVIEW_LINE, shown.model_dump_json(by_alias=True))
    return report.standing(home, dataset.table, DatasetReport(name=dataset.owner.name, state="Ready"))


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


def _texts(table: pa.Table, hidden: set[str], connection: engine.Connection) -> list[list[str | None]]:
    connection.register("shown", table)
    columns = [
        f"CASE WHEN {engine.name(name)} IS NOT NULL THEN {engine.text(quality.MASK)} END"
        if name in hidden
        else f"left(CAST({engine.name(name)} AS VARCHAR), {_LONGEST})"
        for name in table.column_names
    ]
    return [list(row) for row in connection.execute(f"SELECT {', '.join(columns)} FROM shown").fetchall()]
