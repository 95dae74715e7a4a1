"""Reading a Dataset's tables back: one snapshot of the database, in the order in which the rows lie.

PostgreSQL keeps no snapshots. What a load left can be read as long as no later load has removed rows: the rows of the
later ones have greater load ids.
"""

from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass

import pyarrow as pa
from psycopg import sql

from penstock.connectors.postgres import cells, columns, failures, tables
from penstock.connectors.postgres import connection as connections
from penstock.connectors.postgres.connection import Connection
from penstock.connectors.postgres.database import PostgresCursor, PostgresDatabase
from penstock.language.errors import InvalidSpec
from penstock.runs.order import DatasetOrder
from penstock.worker import sqltables
from penstock.worker.ports.tablestore import LOAD_ID, Scan
from penstock.worker.sqltables import Column

_SAME_ORDER = ("SET LOCAL synchronize_seqscans = off", "SET LOCAL max_parallel_workers_per_gather = 0")
"""Rows come in the order in which they lie, each time."""


@dataclass(frozen=True)
class Reading:
    """What is read: columns of a table, and up to which load; None: all rows, also those of other writers."""

    table: str
    columns: tuple[Column, ...]
    most: int | None = None

    def condition(self) -> sql.Composable:
        """The WHERE of the statements."""
        if self.most is None:
            return sql.SQL("")
        return sql.SQL(" WHERE {} <= {}").format(sql.Identifier(LOAD_ID), sql.Literal(self.most))


@contextmanager
def share(database: PostgresDatabase, dataset: DatasetOrder) -> Iterator[str]:
    """The name of a database snapshot that scans can share until the block ends.

    Until then a lock keeps other programs from rewriting the table, as CLUSTER and VACUUM FULL do.
    """
    with ExitStack() as stack:
        connection = _begun(stack, database, dataset, None)
        connection.execute(
            sql.SQL("LOCK {} IN ACCESS SHARE MODE").format(sql.Identifier(database.schema, dataset.table))
        )
        row = connection.execute("SELECT pg_catalog.pg_export_snapshot()").fetchone()
        yield str(row[0]) if row else ""


def scan(
    database: PostgresDatabase, dataset: DatasetOrder, names: Sequence[str], at: str | None, shared: str | None = None
) -> Scan:
    """The rows of a load, by default the newest. Raises NotYet (DatasetNotReady) where they are there no more.

    `shared` is the name of the database snapshot to read, see `share`; by default a new one.
    """
    by_name = {column.name: column for column in sqltables.columns_of_table(dataset)}
    with ExitStack() as stack:
        connection = _begun(stack, database, dataset, shared)
        newest = sqltables.commits(PostgresCursor(connection.cursor()), dataset.table)
        newest.require_readable(at, dataset.table, "PostgreSQL")
        snapshot = newest.snapshot if at is None else at
        chosen = tuple(by_name[name] for name in names)
        return _read(
            database, connection, Reading(dataset.table, chosen, None if at is None else int(at)), snapshot, stack
        )


def scan_all(database: PostgresDatabase, dataset: DatasetOrder, table: str, every: Sequence[Column]) -> Scan:
    """All rows of one of the Dataset's tables as they are now."""
    with ExitStack() as stack:
        connection = _begun(stack, database, dataset, None)
        return _read(database, connection, Reading(table, tuple(every)), None, stack)


def _begun(stack: ExitStack, database: PostgresDatabase, dataset: DatasetOrder, shared: str | None) -> Connection:
    """A connection with a transaction that only reads, in one snapshot. Raises NotYet where there is no table."""
    connection = stack.enter_context(database.place.connected())
    stack.enter_context(failures.translated(database.place.where))
    connections.begin_reading(connection)
    if shared is not None:
        # A program that is about to rewrite the table waits for the transaction of `share`, and this scan would wait
        # for that program. The limit ends this, and the run is tried again.
        connection.execute("SET LOCAL lock_timeout = '5s'")
        connection.execute(sql.SQL("SET TRANSACTION SNAPSHOT {}").format(sql.Literal(shared)))
    path = sql.SQL("SET LOCAL search_path = {}, pg_temp").format(sql.Identifier(database.schema))
    connections.execute_all(connection, [path, *(sql.SQL(setting) for setting in _SAME_ORDER)])
    tables.readable(PostgresCursor(connection.cursor()), database.schema, dataset)
    return connection


def _read(
    database: PostgresDatabase, connection: Connection, reading: Reading, snapshot: str | None, stack: ExitStack
) -> Scan:
    """The rows, read as they are asked for. The connection is closed after the last row, or when the reader stops."""
    table = sql.Identifier(database.schema, reading.table)
    statement = sql.SQL("SELECT count(*) FROM {}{}").format(table, reading.condition())
    row = connection.execute(statement).fetchone()
    total = int(row[0]) if row else 0
    schema = sqltables.arrow(reading.columns)
    rows = _batches(database, connection, reading, schema, stack.pop_all())
    next(rows)  # from here on the connection is closed with the rows, also where none of them is read
    return Scan(pa.RecordBatchReader.from_batches(schema, rows), total, snapshot)


def _batches(
    database: PostgresDatabase, connection: Connection, reading: Reading, schema: pa.Schema, stack: ExitStack
) -> Iterator[pa.RecordBatch]:
    with stack:
        yield pa.RecordBatch.from_pylist([], schema)
        statement = sql.SQL("COPY (SELECT {} FROM {}{}) TO STDOUT (FORMAT csv)").format(
            columns.names(reading.columns), sql.Identifier(database.schema, reading.table), reading.condition()
        )
        for content, _ in connections.copy_out(connection, statement):
            table, exact = cells.typed(content, [*map(columns.printed, reading.columns)])
            if exact:
                name = reading.columns[int(exact[0].column[1:])].name
                message = (
                    f"{database.place.where}, table {reading.table}: column {name} has a value that no field of its "
                    "type holds, such as infinity. Another program wrote it; remove it."
                )
                raise InvalidSpec(message, "WrongSpecification")
            yield from table.rename_columns(schema.names).cast(schema).to_batches()
