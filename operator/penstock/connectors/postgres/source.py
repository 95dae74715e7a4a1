"""PostgreSQL as a Source: tables, views and queries, all read in one transaction."""

import time
from collections.abc import Generator, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import replace
from functools import partial
from typing import cast

import psycopg
from psycopg import sql

from penstock.connectors.postgres import cells, failures, relations, transactions
from penstock.connectors.postgres import connection as connections
from penstock.connectors.postgres.cells import Block
from penstock.connectors.postgres.connection import Connection, Place
from penstock.connectors.postgres.cursors import PostgresCursor
from penstock.connectors.postgres.relations import Relation
from penstock.connectors.postgres.spec import PostgresSource as PostgresSpec
from penstock.connectors.postgres.transactions import Transactions
from penstock.language.errors import InvalidSpec
from penstock.runs.order import SourceOrder
from penstock.worker.pod import Pod
from penstock.worker.ports import cursors
from penstock.worker.ports.chunks import Columns
from penstock.worker.ports.cursors import Interval
from penstock.worker.ports.source import (
    CursorRequest,
    Input,
    Json,
    OpenReader,
    Plan,
    Reader,
    Stream,
    StreamRequest,
    Work,
)

_NAMES = 20
"""Streams that a message names."""


class PostgresSource:
    """The tables and queries of a database."""

    def __init__(self, order: SourceOrder, pod: Pod) -> None:
        """Raises InvalidSpec (SecretMissing)."""
        self.spec = cast(PostgresSpec, order.connector.spec)
        self.place = Place(self.spec, order.auth, pod, f"Source {order.name}")

    def check(self) -> None:
        """Raises InvalidSpec where a query cannot be read or a table is chosen that is not there."""
        for _ in self.discover():
            pass

    def discover(self) -> list[Stream]:
        """The tables that the user may read, and the queries."""
        with self.session(()) as session:
            connection = session.connection
            with failures.translated(self.place.where):
                chosen = relations.tables(connection, self.spec, self.place)
                self._require_included(chosen)
                streams = [relations.of_table(connection, table).described() for table in chosen if table.readable]
            streams += [session.relation(query.name).described() for query in self.spec.queries]
        if not streams:
            message = f"{self.place.where}: there is no table that the user may read. GRANT SELECT on some, or check "
            raise InvalidSpec(f"{message}`tables`.", "ResourceNotFound")
        return streams

    def _require_included(self, chosen: Sequence[relations.Table]) -> None:
        """Raise InvalidSpec for a table that `include` names, without a pattern, and that cannot be read."""
        there = {table.stream: table for table in chosen}
        for name in self.spec.tables.named:
            self.require(there.get(name), name, there)

    def require(self, table: relations.Table | None, name: str, there: Mapping[str, relations.Table]) -> None:
        """Raise InvalidSpec (ResourceNotFound, WrongCredentials) unless there is such a table and it may be read."""
        if table is None:
            listed = ", ".join([*there, *(query.name for query in self.spec.queries)][:_NAMES]) or "no table"
            message = f'{self.place.where}: there is no table or query "{name}" that is selected; there is {listed}.'
            raise InvalidSpec(message, "ResourceNotFound")
        if not table.readable:
            message = f'{self.place.where}: the user may not read table "{name}". GRANT SELECT on it, or exclude it.'
            raise InvalidSpec(message, "WrongCredentials")

    def _query(self, connection: Connection, name: str, text: str) -> Relation:
        with failures.translated(f"{self.place.where}, query {name}"):
            return relations.of_query(connection, name, text, self.place)

    def relation(self, connection: Connection, stream: str) -> Relation:
        """The table, view or query of that name. Raises InvalidSpec."""
        for query in self.spec.queries:
            if query.name == stream:
                return self._query(connection, stream, query.sql)
        with failures.translated(f"{self.place.where}, table {stream}"):
            there = {table.stream: table for table in relations.tables(connection, self.spec, self.place)}
            self.require(there.get(stream), stream, there)
            return relations.of_table(connection, there[stream])

    @contextmanager
    def session(self, requests: Sequence[StreamRequest]) -> Iterator["PostgresSession"]:
        """One transaction for all streams. It is begun when the tables are locked against being truncated.

        After a TRUNCATE, or an ALTER that rewrites a table, an older snapshot sees the table as empty. So the locks,
        which only DDL waits for, come before the first SELECT, with which the snapshot is taken.
        """
        with self.place.connected() as connection:
            with failures.translated(self.place.where):
                connections.search_catalog_alone(connection)
                by_cursor = any(request.sync == "incremental" for request in requests)
                seen = transactions.look(connection) if by_cursor else None
                there = {table.stream: table for table in relations.tables(connection, self.spec, self.place)}
                connections.begin_reading(connection)
                for request in requests:
                    if (table := there.get(request.stream)) is not None and table.readable:
                        _lock(connection, table)
                connection.execute("SELECT 1 FROM pg_catalog.pg_class LIMIT 1")
            yield PostgresSession(self, connection, seen)


def _lock(connection: Connection, table: relations.Table) -> None:
    """Lock a table against DDL; what cannot be locked, such as a foreign table, is left."""
    unlockable = (psycopg.errors.WrongObjectType, psycopg.errors.InsufficientPrivilege, psycopg.errors.UndefinedTable)
    with suppress(*unlockable), connections.attempted(connection):
        connection.execute(sql.SQL("LOCK TABLE {} IN ACCESS SHARE MODE").format(table.identifier))


class PostgresSession:
    """Streams of one database in one transaction."""

    ordered = True  # one connection reads

    def __init__(self, source: PostgresSource, connection: Connection, seen: Transactions | None) -> None:
        """`seen` is what was open before the transaction began; needed where a stream is read by a cursor."""
        self.connection = connection
        self._source, self._seen = source, seen
        self._relations: dict[str, Relation] = {}

    def plan(self, stream: str, cursor: CursorRequest | None = None) -> Plan:
        """The whole stream, as one input that is always read; with a cursor, what is new."""
        relation = self.relation(stream)
        size = -1 if relation.bytes is None or cursor is not None else relation.bytes
        whole = Input(stream, "", ({"stream": stream},), size)
        if cursor is None:
            return Plan((whole,))
        whole = replace(whole, name=f"{self._source.place.spec.location}/{stream}")
        return cursors.plan(self._cursor(relation, cursor.column), cursor, whole, time.time())

    def _cursor(self, relation: Relation, column: str) -> PostgresCursor:
        with failures.translated(self._source.place.where):
            return PostgresCursor(self.connection, relation, column, self._source.place.where, self._seen)

    def readers(self, stream: str, parts: Sequence[Json]) -> Generator[OpenReader, None, None]:
        """What opens the stream."""
        for part in parts:
            yield partial(self._open, str(part["stream"]), cursors.interval_of(part))
        del stream

    def relation(self, stream: str) -> Relation:
        """The stream's columns. Raises InvalidSpec; the other streams of the transaction can be read all the same."""
        if stream not in self._relations:
            with failures.translated(self._source.place.where), connections.attempted(self.connection):
                self._relations[stream] = self._source.relation(self.connection, stream)
        return self._relations[stream]

    def _open(self, stream: str, interval: Interval | None) -> Reader:
        relation = self.relation(stream)
        names = tuple(column.name for column in relation.columns)
        types = tuple(column.source for column in relation.columns)
        read = _Read()
        clauses, end = "", cursors.WHOLE
        if interval is not None:
            cursor = self._cursor(relation, interval.state.fingerprint.column)
            clauses, end = cursors.clauses(cursor.sql, interval), cursors.end(cursor, interval)
        works = partial(self._works, relation, read, clauses)
        close = partial(connections.interrupt, self.connection)
        return Reader(
            Columns(names, types, partial=True),
            works,
            close,
            bytes_read=lambda: read.bytes,
            state=lambda: end.state,
            ignored=lambda: end.ignored,
        )

    def _works(self, relation: Relation, read: "_Read", clauses: str, columns: Sequence[str]) -> Iterator[Work]:
        names = [column.name for column in relation.columns]
        wanted = tuple(names.index(name) for name in columns)
        statement = relation.copy(cells.printed(relation, wanted), clauses)
        first = 1
        where = f"{self._source.place.where}, {relation.where}"
        with (
            failures.translated(where),
            connections.attempted(self.connection),
            connections.searching_as_the_user(self.connection),
        ):
            for content, rows in connections.copy_out(self.connection, statement):
                read.bytes += len(content)
                yield partial(cells.chunk, Block(relation, wanted, content, rows, first))
                first += rows

    def acknowledge(self, states: Mapping[str, Json]) -> None:
        """Nothing is kept at the source."""


class _Read:
    """How much has been read so far."""

    bytes: int = 0
