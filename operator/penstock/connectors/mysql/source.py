"""MySQL and MariaDB as a Source: tables, views and queries, all read in one transaction."""

import time
from collections.abc import Generator, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from typing import cast

from penstock.connectors.mysql import columns
from penstock.connectors.mysql.columns import Column
from penstock.connectors.mysql.cursors import MysqlCursor
from penstock.connectors.mysql.server import Server, statement
from penstock.connectors.mysql.spec import MysqlSource as MysqlSpec
from penstock.language.errors import InvalidSpec
from penstock.runs.order import SourceOrder
from penstock.worker import certificates
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

_CHUNK_CELLS = 200_000
"""Cells of one chunk: a list of Python values takes about 60 bytes a cell."""

_COLUMNS = """
SELECT column_name, column_type, column_key = 'PRI' FROM information_schema.columns
WHERE table_schema = DATABASE() AND table_name = %s ORDER BY ordinal_position"""
_TABLES = """
SELECT table_name FROM information_schema.tables
WHERE table_schema = DATABASE() AND table_type IN ('BASE TABLE', 'VIEW') ORDER BY table_name"""


@dataclass(frozen=True)
class _Relation:
    """A table, view or query: what stands after FROM, its columns, its primary key."""

    where: str
    sql: str
    columns: tuple[Column, ...]
    key: tuple[str, ...] = ()

    def select(self, wanted: Sequence[Column], clauses: str = "") -> str:
        """The statement that reads these columns and then those of the key; `clauses` follow what is after FROM."""
        listed = [column.sql for column in wanted] + [columns.name(each) for each in self.key]
        return f"SELECT {', '.join(listed) or '1'} FROM {self.sql} {clauses}"  # noqa: S608 - quoted names, a checked query


class MysqlSource:
    """A database of a server."""

    def __init__(self, order: SourceOrder, pod: Pod) -> None:
        self.spec = cast(MysqlSpec, order.connector.spec)
        self._subject = f"Source {order.name}"
        where = f"{self._subject}: {self.spec.location}"
        self.streams = Streams(where, self.spec.tables, self.spec.queries, " and that the user may read")
        auth = order.auth.basic if order.auth is not None else None
        if auth is None:
            raise InvalidSpec(f"{self._subject}: auth.basic is missing.", "SecretMissing")
        self._credentials = self._read(pod, auth.secret_ref.name)

    def _read(self, pod: Pod, secret: str) -> tuple[str, str, str | None]:
        user, password = (pod.secret(secret, key) for key in ("username", "password"))
        if user is None or password is None:
            missing = "username" if user is None else "password"
            message = f"{self._subject}: Secret {secret} has no key {missing}. Add it."
            raise InvalidSpec(message, "SecretMissing")
        trust = certificates.trusted(self.spec.ca_bundle, pod, self._subject)
        return user, password, pod.secret(secret, "ca.crt") if trust is None else trust.pem()

    def check(self) -> None:
        with self._connected() as server:
            self._required(server)

    def discover(self) -> list[Stream]:
        with self._connected() as server:
            return [self._stream(server, stream) for stream in self._required(server)]

    def _required(self, server: Server) -> list[str]:
        """The names of all streams. Raises InvalidSpec for a table that is named and missing."""
        there = self._names(server)
        self.streams.require_included(there)
        return there

    @contextmanager
    def session(self, requests: Sequence[StreamRequest]) -> Iterator["_Session"]:
        del requests  # `plan` says what is read
        with self._connected() as server:
            yield _Session(self, server)

    @contextmanager
    def _connected(self) -> Iterator[Server]:
        server = Server(self.spec, self._credentials, self._subject)
        try:
            yield server
        finally:
            server.close()

    def _names(self, server: Server) -> list[str]:
        return self.streams.names(str(name) for (name,) in server.rows(_TABLES))

    def _stream(self, server: Server, name: str) -> Stream:
        relation = self.relation(server, name)
        fields = tuple(StreamField(column.name, column.field_type) for column in relation.columns)
        return Stream(name, fields, relation.key)

    def relation(self, server: Server, stream: str) -> _Relation:
        """The table, view or query of that name. Raises InvalidSpec (ResourceNotFound, WrongSpecification)."""
        query = self.streams.query(stream)
        if query is not None:
            named = server.columns(query.sql, f"query {stream}")
            sql = f"({statement(query.sql)}) AS penstock"
            return _Relation(f"query {stream}", sql, tuple(columns.text(name) for name in named))
        self.streams.require(stream, self._names(server))
        rows = server.rows(_COLUMNS, (stream,))
        key = tuple(str(name) for name, _, keyed in rows if keyed == "1")
        named_columns = tuple(columns.column(str(name), str(declared)) for name, declared, _ in rows)
        return _Relation(f"table {stream}", columns.name(stream), named_columns, key)

    @property
    def location(self) -> str:
        """The server and the database."""
        return self.spec.location

    def input_name(self, stream: str) -> str:
        """The name of a stream's input, which no other Source has."""
        return f"{self.spec.location}/{stream}"


class _Session:
    """Streams of one database in one transaction."""

    ordered = True  # one connection reads

    def __init__(self, source: MysqlSource, server: Server) -> None:
        self._source, self._server = source, server

    def plan(self, stream: str, cursor: CursorRequest | None = None) -> Plan:
        relation = self._source.relation(self._server, stream)
        whole = Input(self._source.input_name(stream), "", ({"stream": stream},))
        if cursor is None:
            return Plan((whole,))
        return cursors.plan(self._cursor(stream, relation, cursor.column), cursor, whole, time.time())

    def _cursor(self, stream: str, relation: _Relation, column: str) -> MysqlCursor:
        where, fingerprint = f"{self._source.streams.where}, {relation.where}", (self._source.location, stream, column)
        return MysqlCursor(self._server, relation.sql, relation.key, fingerprint, where)

    def readers(self, stream: str, parts: Sequence[Json]) -> Generator[OpenReader, None, None]:
        del stream
        for part in parts:
            yield partial(self._open, str(part["stream"]), cursors.interval_of(part))

    def _open(self, stream: str, interval: Interval | None) -> Reader:
        relation = self._source.relation(self._server, stream)
        names = tuple(column.name for column in relation.columns)
        types = tuple(column.duckdb_type for column in relation.columns)
        clauses, end = "", cursors.WHOLE
        if interval is not None:
            cursor = self._cursor(stream, relation, interval.state.fingerprint.column)
            clauses, end = cursors.clauses(cursor.sql, interval), cursors.end(cursor, interval)
        there, works = Columns(names, types, partial=True), partial(self._works, relation, clauses)
        return Reader(there, works, state=lambda: end.state, ignored=lambda: end.ignored)

    def _works(self, relation: _Relation, clauses: str, names: Sequence[str]) -> Iterator[Work]:
        by_name = {column.name: column for column in relation.columns}
        wanted = [by_name[name] for name in names]
        key = range(len(wanted), len(wanted) + len(relation.key))
        first = 1
        count = max(1, _CHUNK_CELLS // max(1, len(wanted)))
        for rows in self._server.batches(relation.select(wanted, clauses), count, relation.where):
            yield partial(columns.chunk, rows, wanted, key, first)
            first += len(rows)

    def acknowledge(self, states: Mapping[str, Json]) -> None:
        del states  # nothing is kept at the source
