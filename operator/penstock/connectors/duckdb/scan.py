# ruff: noqa: S608 - SQL is built here; every name in it goes through engine.name, and a load id is a number
"""Reading a Dataset's tables back: one snapshot of the file, in the order in which the rows lie.

DuckDB keeps no snapshots. What a load left can be read as long as no later load has removed rows: the rows of the
later ones have greater load ids.
"""

from collections.abc import Iterator, Sequence
from contextlib import ExitStack
from functools import partial

import duckdb
import pyarrow as pa

from penstock.connectors.duckdb import columns, faults, tables
from penstock.connectors.duckdb.database import Worker
from penstock.connectors.duckdb.writing import PATIENCE, DuckdbDatabase
from penstock.runs.order import DatasetOrder
from penstock.worker import sqltables
from penstock.worker.ports.tablestore import LOAD_ID, Scan
from penstock.worker.rows import engine
from penstock.worker.rows.engine import Connection
from penstock.worker.sqltables import Column

_VECTOR = 2048
"""Rows of a batch: the fewest that DuckDB makes, since a row may be long."""


def scan(database: DuckdbDatabase, dataset: DatasetOrder, names: Sequence[str], at: str | None) -> Scan:
    """The rows of a load, by default the newest. Raises NotYet (DatasetNotReady) where they are there no more."""
    by_name = {column.name: column for column in sqltables.columns_of_table(dataset)}
    with ExitStack() as stack:
        worker = _begun(stack, database, dataset)
        newest = worker.do(partial(sqltables.commits, worker.connection, dataset.table))
        newest.require_readable(at, dataset.table, "DuckDB")
        rest = "" if at is None else f" WHERE {engine.name(LOAD_ID)} <= {int(at)}"
        relation = f"{tables.qualified(dataset.table)}{rest}"
        return _read(database, worker, relation, [by_name[name] for name in names], at or newest.snapshot, stack)


def scan_all(database: DuckdbDatabase, dataset: DatasetOrder, table: str, every: Sequence[Column]) -> Scan:
    """All rows of one of the Dataset's tables as they are now."""
    with ExitStack() as stack:
        return _read(database, _begun(stack, database, dataset), tables.qualified(table), every, None, stack)


def _begun(stack: ExitStack, database: DuckdbDatabase, dataset: DatasetOrder) -> Worker:
    """A connection with a transaction that only reads. Raises NotYet where there is no table."""
    connection = stack.enter_context(database.file.opened(PATIENCE))
    stack.enter_context(faults.translated(database.file.subject))
    worker = Worker(connection)
    stack.callback(worker.close)
    worker.do(partial(_begin, connection, dataset))
    return worker


def _begin(connection: Connection, dataset: DatasetOrder) -> None:
    connection.execute("BEGIN TRANSACTION READ ONLY")
    tables.readable(connection, dataset)


def _read(
    database: DuckdbDatabase,
    worker: Worker,
    relation: str,
    chosen: Sequence[Column],
    snapshot: str | None,
    stack: ExitStack,
) -> Scan:
    """The rows, read as they are asked for. The file is closed after the last row, or when the reader stops."""
    [(total,)] = worker.do(lambda: worker.connection.execute(f"SELECT count(*) FROM {relation}").fetchall())
    schema = sqltables.arrow(chosen)
    statement = f"SELECT {columns.names(chosen)} FROM {relation}"
    rows = _batches(database, worker, statement, schema, stack.pop_all())
    next(rows)  # from here on the file is closed with the rows, also where none of them is read
    return Scan(pa.RecordBatchReader.from_batches(schema, rows), int(total), snapshot)


def _batches(
    database: DuckdbDatabase, worker: Worker, statement: str, schema: pa.Schema, stack: ExitStack
) -> Iterator[pa.RecordBatch]:
    with stack, faults.translated(database.file.subject):
        yield pa.RecordBatch.from_pylist([], schema)
        reader = worker.do(lambda: worker.connection.sql(statement).to_arrow_reader(_VECTOR))
        while (batch := worker.do(partial(_next, reader))) is not None:
            yield batch.cast(schema)


def _next(reader: pa.RecordBatchReader) -> pa.RecordBatch | None:
    """The next batch, None at the end."""
    try:
        return reader.read_next_batch()
    except StopIteration:
        return None
    except pa.ArrowException as error:  # DuckDB's own failure in the middle of reading comes through Arrow
        raise duckdb.Error(str(error)) from None
