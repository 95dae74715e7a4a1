"""Staging: rows go by binary COPY into unlogged tables of the claim, which the commit reads and drops.

A claim has two staging tables, of good rows and of quarantine entries; all its Writers share them, distinguished by the
column `penstock_part`. Rows of a COPY that was not ended are never seen; rows of a part that no commit names are not
published.
"""

import hashlib
import threading
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import psycopg
import pyarrow as pa
from pgpq import ArrowToPostgresBinaryEncoder
from psycopg import sql

from penstock.connectors.postgres import columns, failures
from penstock.connectors.postgres import connection as connections
from penstock.connectors.postgres.connection import Connection
from penstock.connectors.postgres.database import PostgresDatabase
from penstock.runs.order import DatasetOrder
from penstock.worker import sqltables
from penstock.worker.ports.ledger import Claim
from penstock.worker.ports.tablestore import Staged
from penstock.worker.sqltables import Column

PREFIX = "penstock_staging_"
"""How the names of staging tables begin."""
PART = Column("penstock_part", "string", required=True)
_STREAMS = 4
"""Connections over which one Writer stages rows at once, at most: a server has few."""
_SESSION = (
    "SET statement_timeout = 0",  # a COPY takes as long as the run reads
    "SET synchronous_commit = off",  # what is staged need not survive a crash
    "SET tcp_keepalives_idle = 30",  # the server notices within a minute when the worker's machine is gone
    "SET tcp_keepalives_interval = 10",
    "SET tcp_keepalives_count = 3",
)
_END = b"\xff\xff"
"""The trailer of a binary COPY."""


@dataclass(frozen=True)
class StagingTable:
    """One staging table of a claim."""

    schema: str
    name: str
    columns: tuple[Column, ...]
    """Those of the table that the rows are for."""

    @property
    def identifier(self) -> sql.Identifier:
        """Its name in SQL."""
        return sql.Identifier(self.schema, self.name)

    @property
    def create(self) -> sql.Composed:
        """The statement that creates it where it is missing."""
        definitions = sql.SQL(", ").join(map(columns.definition, (PART, *self.columns)))
        statement = "CREATE UNLOGGED TABLE IF NOT EXISTS {} ({}) WITH (autovacuum_enabled = off)"
        return sql.SQL(statement).format(self.identifier, definitions)

    @property
    def copy(self) -> sql.Composed:
        """The statement that takes rows in."""
        names = columns.names((PART, *self.columns))
        return sql.SQL("COPY {} ({}) FROM STDIN (FORMAT binary)").format(self.identifier, names)

    @cached_property
    def arrow(self) -> pa.Schema:
        """The rows that are for it, without the part."""
        return sqltables.arrow(self.columns)


def names(subject: str, load_id: int) -> tuple[str, str]:
    """The names of a claim's staging tables: of rows, of quarantine entries."""
    name = f"{PREFIX}{hashlib.sha256(subject.encode()).hexdigest()[:16]}_{load_id}"
    return name, f"{name}_bad"


def tables(database: PostgresDatabase, claim: Claim, dataset: DatasetOrder) -> tuple[StagingTable, StagingTable]:
    """The claim's staging tables."""
    good, bad = names(claim.subject, claim.load_id)
    return (
        StagingTable(database.schema, good, tuple(columns.of_staging(dataset))),
        StagingTable(database.schema, bad, tuple(sqltables.columns_of_quarantine())),
    )


class Streams:
    """Rows of one part on their way into one staging table, over a few connections, each with one COPY."""

    def __init__(self, database: PostgresDatabase, table: StagingTable, part: str, most: int) -> None:
        self.table = table
        self._database, self._part = database, part
        self._room = threading.Semaphore(most)
        self._idle: list[_Stream] = []
        self._streams: list[_Stream] = []
        self._lock = threading.Lock()
        self._schema = table.arrow.insert(0, pa.field(PART.name, pa.string()))

    def write(self, rows: pa.Table) -> None:
        """Stage rows that have the table's schema, or columns that can be cast to it, in its order; any thread may."""
        if not rows.num_rows:
            return
        encoded = [piece for batch in self._batches(rows) for piece in self._encoded(batch)]
        with self._room, failures.translated(self._database.place.where):
            stream = self._borrowed()
            for data in encoded:
                stream.send(data)
            with self._lock:
                self._idle.append(stream)

    def close(self) -> int:
        """End the COPYs; the rows that the server has taken, by its own count."""
        with failures.translated(self._database.place.where):
            return sum(stream.end() for stream in self._streams)

    def abort(self) -> None:
        """Cut the connections: what was sent and not ended is gone."""
        for stream in self._streams:
            stream.abort()

    def _borrowed(self) -> "_Stream":
        with self._lock:
            if self._idle:
                return self._idle.pop()
        stream = _Stream(self._database.place.connect(), self.table, self._header)
        with self._lock:
            self._streams.append(stream)
        return stream

    def _batches(self, rows: pa.Table) -> list[pa.RecordBatch]:
        arrays = [column.cast(field.type) for column, field in zip(rows.columns, self.table.arrow, strict=True)]
        part = pa.chunked_array([pa.repeat(self._part, rows.num_rows)])
        table = pa.Table.from_arrays([part, *arrays], schema=self._schema)
        batches: list[pa.RecordBatch] = table.combine_chunks().to_batches()
        return batches

    def _encoded(self, batch: pa.RecordBatch) -> list[bytes]:
        """The batch in pieces, without header and trailer, which the encoder adds once."""
        encoder = ArrowToPostgresBinaryEncoder(self._schema)
        encoder.write_header()
        return [encoder.write_batch(batch), encoder.finish()[: -len(_END)]]

    @cached_property
    def _header(self) -> bytes:
        return bytes(ArrowToPostgresBinaryEncoder(self._schema).write_header())


class _Stream:
    """One COPY, used by one thread at a time."""

    def __init__(self, connection: Connection, table: StagingTable, header: bytes) -> None:
        self._connection = connection
        self._cursor: psycopg.Cursor[Any] = connection.cursor()
        try:
            connections.execute_all(connection, [sql.SQL(setting) for setting in _SESSION])
            self._context = self._cursor.copy(table.copy)
            self._copy = self._context.__enter__()
            self._copy.write(header)
        except BaseException:
            connections.close(connection)
            raise

    def send(self, data: bytes) -> None:
        self._copy.write(data)

    def end(self) -> int:
        """Commit, and close the connection; the number of rows."""
        try:
            self._copy.write(_END)
            self._context.__exit__(None, None, None)
            return self._cursor.rowcount
        finally:
            connections.close(self._connection)

    def abort(self) -> None:
        connections.close(self._connection)


class PostgresWriter:
    """Stages rows and quarantine entries of one part."""

    def __init__(
        self,
        database: PostgresDatabase,
        tables: tuple[StagingTable, StagingTable],
        part: str,
        connections: int,
        discarded: Callable[[], None],
    ) -> None:
        """`connections` is how many could be of use at once; `discarded` is called when the part is discarded."""
        good, bad = tables
        self._part, self._discarded = part, discarded
        self._good = Streams(database, good, part, min(connections, _STREAMS))
        self._bad = Streams(database, bad, part, 1)
        self.schema: pa.Schema = good.arrow

    def write(self, rows: pa.Table) -> None:
        """Stage rows; any thread may."""
        self._good.write(rows)

    def reject(self, rows: pa.Table) -> None:
        """Stage entries of the quarantine; any thread may."""
        self._bad.write(rows)

    def close(self) -> Staged:
        """End staging; the counts are the server's."""
        rows, rejected = self._good.close(), self._bad.close()
        content = {"data": self._good.table.name, "quarantine": self._bad.table.name, "part": self._part}
        return Staged(content, rows, rejected)

    def discard(self) -> None:
        """Cut off what is not ended. What is ended is in no commit, and is dropped with the claim's tables."""
        with suppress(psycopg.Error, OSError):
            self._good.abort()
            self._bad.abort()
        self._discarded()
