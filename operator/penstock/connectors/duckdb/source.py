# ruff: noqa: S608 - SQL is built here; every name in it goes through engine.name, and a query has been checked
"""DuckDB as a Source: tables, views and queries, all read in one transaction."""

import time
from collections.abc import Generator, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import replace
from functools import partial
from typing import Any, cast

import duckdb
import pyarrow as pa

from penstock.connectors.duckdb import cells, database, faults
from penstock.connectors.duckdb.cells import Relation
from penstock.connectors.duckdb.cursors import DuckdbCursor
from penstock.connectors.duckdb.database import Worker
from penstock.connectors.duckdb.spec import DuckdbSource as DuckdbSpec
from penstock.language.errors import InvalidSpec
from penstock.runs.order import SourceOrder
from penstock.worker.pod import Pod
from penstock.worker.ports import cursors
from penstock.worker.ports.chunks import Columns
from penstock.worker.ports.cursors import Interval
from penstock.worker.ports.database import Streams
from penstock.worker.ports.source import (
    CursorRequest,
    Input,
    Json,
    OpenReader,
    Plan,
    Reader,
    Stream,
    StreamField,
    StreamRequest,
    Work,
)
from penstock.worker.rows import engine
from penstock.worker.rows.engine import Connection

_VECTOR = 2048
"""Rows of a batch: the fewest that DuckDB makes."""
_ROWS, _BYTES = 65_536, 4 << 20
"""Rows and bytes of a chunk, after which it ends; a batch alone may have more."""
_PATIENCE = 5.0
"""Seconds that a run waits for another process to close the file."""
_MAIN = "main"
_BEGIN = "BEGIN TRANSACTION READ ONLY"


class DuckdbSource:
    """A database file on a claim."""

    def __init__(self, order: SourceOrder, pod: Pod) -> None:
        self._spec = cast(DuckdbSpec, order.connector.spec)
        self._file = database.at(self._spec.path, self._spec.volume, pod, f"Source {order.name}")
        self._streams = Streams(self._file.subject, self._spec.tables, self._spec.queries)

    def check(self) -> None:
        with self._transaction() as worker:
            self._streams.require_included(self._streams.names(self._tables(worker)))

    def discover(self) -> list[Stream]:
        with self._transaction() as worker:
            names = self._streams.names(self._tables(worker))
            self._streams.require_included(names)
            return [self._stream(worker, name) for name in names]

    @contextmanager
    def session(self, requests: Sequence[StreamRequest]) -> Iterator["_Session"]:
        del requests  # `plan` says what is read
        with self._transaction() as worker:
            yield _Session(self, worker)

    @contextmanager
    def _transaction(self) -> Iterator[Worker]:
        with self._file.opened(_PATIENCE) as connection:
            worker = Worker(connection)
            try:
                with self.failures(worker):
                    worker.do(lambda: connection.execute(_BEGIN))
                yield worker
            finally:
                worker.close()

    def _tables(self, worker: Worker) -> dict[str, tuple[str, str]]:
        """The schema and name of each table and view, by the name of its stream."""
        listed = (
            "SELECT schema_name, table_name FROM duckdb_tables() WHERE database_name = current_database() "
            "AND NOT internal UNION ALL SELECT schema_name, view_name FROM duckdb_views() "
            "WHERE database_name = current_database() AND NOT internal ORDER BY ALL"
        )
        with self.failures(worker):
            rows = worker.do(lambda: worker.connection.execute(listed).fetchall())
        return {
            name if schema == _MAIN else f"{schema}.{name}": (schema, name)
            for schema, name in sorted(rows, key=lambda row: row[0] == _MAIN)  # a name of main wins
        }

    def _stream(self, worker: Worker, name: str) -> Stream:
        """The stream, without fields where it is a view that cannot be read: the others are not to suffer from it."""
        try:
            relation = self.relation(worker, name)
        except InvalidSpec:
            if name not in self._tables(worker):
                raise
            return Stream(name, ())
        fields = tuple(StreamField(column.name, column.field_type) for column in relation.columns)
        return Stream(name, fields, tuple(relation.columns[position].name for position in relation.key))

    def relation(self, worker: Worker, stream: str) -> Relation:
        """The table, view or query of that name. Raises InvalidSpec (ResourceNotFound, WrongSpecification)."""
        query = self._streams.query(stream)
        if query is not None:
            with self.failures(worker, f", query {stream}"):
                sql = worker.do(partial(_selecting, worker.connection, query.sql))
                if sql is None:
                    message = f"{self._file.subject}, query {stream}: only one SELECT statement is allowed."
                    raise InvalidSpec(message, "WrongSpecification")
                return Relation(sql, worker.do(partial(_columns, worker.connection, sql)), query=True)
        tables = self._tables(worker)
        self._streams.require(stream, self._streams.names(tables))
        schema, name = tables[stream]
        sql = f"SELECT * FROM {engine.name(schema)}.{engine.name(name)}"
        with self.failures(worker, f", table {stream}"):
            columns = worker.do(partial(_columns, worker.connection, sql))
            key = worker.do(partial(_primary_key, worker.connection, schema, name))
        names = [column.name for column in columns]
        return Relation(sql, columns, tuple(names.index(part) for part in key))

    @property
    def subject(self) -> str:
        """The Source and its file, for messages."""
        return self._file.subject

    @property
    def location(self) -> str:
        """Where the file is."""
        return self._spec.location

    @contextmanager
    def failures(self, worker: Worker, where: str = "") -> Iterator[None]:
        """Translate what DuckDB raises. `where` names the table or query.

        A failure may end the transaction, and the other streams are still to be read. A new one shows the same rows:
        nobody can write the file while this process has it open to read it.
        """
        with faults.translated(f"{self._file.subject}{where}"):
            try:
                yield
            except duckdb.Error:
                worker.do(partial(_begin_again, worker.connection))
                raise


class _Session:
    """Streams of one database in one transaction."""

    ordered = True  # one connection reads

    def __init__(self, source: DuckdbSource, worker: Worker) -> None:
        self._source, self._worker = source, worker

    def plan(self, stream: str, cursor: CursorRequest | None = None) -> Plan:
        relation = self._source.relation(self._worker, stream)
        whole = Input(stream, "", ({"stream": stream},))
        if cursor is None:
            return Plan((whole,))
        whole = replace(whole, name=f"{self._source.location}/{stream}")
        with self._source.failures(self._worker, _where(stream, relation)):
            return cursors.plan(self._cursor(stream, relation, cursor.column), cursor, whole, time.time())

    def _cursor(self, stream: str, relation: Relation, column: str) -> DuckdbCursor:
        fingerprint = (self._source.location, stream, column)
        return DuckdbCursor(self._ask, relation, fingerprint, f"{self._source.subject}{_where(stream, relation)}")

    def _ask(self, sql: str) -> list[tuple[Any, ...]]:
        return self._worker.do(lambda: self._worker.connection.execute(sql).fetchall())

    def readers(self, stream: str, parts: Sequence[Json]) -> Generator[OpenReader, None, None]:
        for part in parts:
            yield partial(self._open, str(part["stream"]), cursors.interval_of(part))
        del stream

    def _open(self, stream: str, interval: Interval | None) -> Reader:
        relation = self._source.relation(self._worker, stream)
        names = tuple(column.name for column in relation.columns)
        types = tuple(column.source_type for column in relation.columns)
        clauses, end = "", cursors.WHOLE
        if interval is not None:
            with self._source.failures(self._worker, _where(stream, relation)):
                cursor = self._cursor(stream, relation, interval.state.fingerprint.column)
                clauses, end = cursors.clauses(cursor.sql, interval), cursors.end(cursor, interval)
        works = partial(self._works, stream, relation, clauses)
        columns = Columns(names, types, partial=True)
        return Reader(columns, works, state=lambda: end.state, ignored=lambda: end.ignored)

    def _works(self, stream: str, relation: Relation, clauses: str, columns: Sequence[str]) -> Iterator[Work]:
        names = [column.name for column in relation.columns]
        reading = relation.reading([names.index(name) for name in columns], clauses)
        first = 1
        with self._source.failures(self._worker, _where(stream, relation)):
            reader = self._worker.do(partial(_begin, self._worker.connection, reading.sql))
            while batches := self._worker.do(partial(_next, reader)):
                yield partial(reading.chunk, batches, first)
                first += sum(batch.num_rows for batch in batches)

    def acknowledge(self, states: Mapping[str, Json]) -> None:
        del states  # nothing is kept at the source


def _where(stream: str, relation: Relation) -> str:
    return f", {'query' if relation.query else 'table'} {stream}"


def _selecting(connection: Connection, sql: str) -> str | None:
    """The query up to its semicolon; None where it is anything else than one SELECT statement."""
    statements = connection.extract_statements(sql)
    if len(statements) != 1 or statements[0].type != duckdb.StatementType.SELECT:
        return None
    written = sql.encode()
    for position, kind in duckdb.tokenize(sql):  # positions are those of bytes
        if kind == duckdb.token_type.operator and written[position : position + 1] == b";":
            return written[:position].decode()
    return sql


def _columns(connection: Connection, sql: str) -> tuple[cells.Column, ...]:
    connection.execute(f"EXPLAIN {sql}")  # by itself, before it stands in brackets
    relation = connection.sql(f"SELECT * FROM (\n{sql}\n)")
    described = connection.execute(f"DESCRIBE {sql}").fetchall()
    return cells.columns([str(row[0]) for row in described], relation.types)


def _primary_key(connection: Connection, schema: str, table: str) -> list[str]:
    rows = connection.execute(
        "SELECT constraint_column_names FROM duckdb_constraints() WHERE database_name = current_database() "
        "AND schema_name = ? AND table_name = ? AND constraint_type = 'PRIMARY KEY'",
        (schema, table),
    ).fetchall()
    return [str(name) for (names,) in rows for name in names]


def _begin_again(connection: Connection) -> None:
    with suppress(duckdb.Error):  # there may be no transaction any more
        connection.execute("ROLLBACK")
    connection.execute(_BEGIN)


def _begin(connection: Connection, sql: str) -> pa.RecordBatchReader:
    return connection.sql(sql).to_arrow_reader(_VECTOR)


def _next(reader: pa.RecordBatchReader) -> list[pa.RecordBatch]:
    """The batches of the next chunk; none at the end."""
    batches: list[pa.RecordBatch] = []
    rows = size = 0
    try:
        while rows < _ROWS and size < _BYTES:
            batch = reader.read_next_batch()
            if batch.num_rows:
                batches.append(batch)
                rows, size = rows + batch.num_rows, size + batch.nbytes
    except StopIteration:
        pass
    except pa.ArrowException as error:  # DuckDB's own failure in the middle of reading comes through Arrow
        raise duckdb.Error(str(error)) from None
    return batches
