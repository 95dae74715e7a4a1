"""SQLite as a Source: tables, views and queries, all read in one transaction."""

import os
import sqlite3
import time
from collections.abc import Callable, Generator, Iterator, Mapping, Sequence
from contextlib import contextmanager
from functools import partial
from typing import cast

from penstock.connectors.files.stores import beneath
from penstock.connectors.sqlite import cells
from penstock.connectors.sqlite import database as sqlite_database
from penstock.connectors.sqlite.cursors import SqliteCursor
from penstock.connectors.sqlite.database import Database, statement
from penstock.connectors.sqlite.spec import SqliteSource as SqliteSpec
from penstock.language.errors import InvalidSpec, NotYet, PenstockError
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

_CHUNK_CELLS = 200_000
"""Cells of one chunk: a list of Python values takes about 60 bytes a cell."""


_MEANINGS: tuple[tuple[tuple[str, ...], Callable[[str], PenstockError]], ...] = (
    (
        ("SQLITE_BUSY", "SQLITE_LOCKED"),
        lambda subject: NotYet(f"{subject} is locked by another process.", "Unreachable"),
    ),
    (
        ("SQLITE_NOTADB",),
        lambda subject: InvalidSpec(f"{subject} is not a SQLite database, or it is encrypted.", "WrongSpecification"),
    ),
    (
        ("SQLITE_CORRUPT",),
        lambda subject: InvalidSpec(
            f"{subject} is damaged. Check it with PRAGMA integrity_check, and restore a copy.", "WrongSpecification"
        ),
    ),
    (
        ("SQLITE_READONLY", "SQLITE_PERM"),
        lambda subject: InvalidSpec(
            f"{subject} cannot be read: in WAL mode, SQLite must write a -shm file beside it.", "WrongCredentials"
        ),
    ),
    (
        ("SQLITE_AUTH",),
        lambda subject: InvalidSpec(f"{subject}: only SELECT over this database is allowed.", "WrongSpecification"),
    ),
    (
        ("SQLITE_TOOBIG", "SQLITE_NOMEM"),
        lambda subject: InvalidSpec(f"{subject} holds a value that is too large.", "WrongSpecification"),
    ),
    (
        ("SQLITE_FULL",),
        lambda subject: NotYet(f"{subject}: no space is left for temporary files.", "StorageFull"),
    ),
    (
        ("SQLITE_IOERR",),
        lambda subject: NotYet(f"{subject} could not be read from its volume.", "Unreachable"),
    ),
)
"""What SQLite's result codes mean, by the beginning of their names (https://www.sqlite.org/rescode.html)."""


class SqliteSource:
    """A database file on a claim."""

    def __init__(self, order: SourceOrder, pod: Pod) -> None:
        self._spec = cast(SqliteSpec, order.connector.spec)
        self._subject = f"Source {order.name}"
        self._streams = Streams(f"{self._subject}: {self._spec.path}", self._spec.tables, self._spec.queries)
        mount = pod.path(self._spec.volume.mount_path)
        if not mount.is_dir():
            message = f"{self._subject}: claim {self._spec.volume.claim_name} is not mounted. Create it."
            raise InvalidSpec(message, "ResourceNotFound")
        self._scratch = pod.scratch
        self._mount, self._name = mount, self._spec.path.removeprefix(f"{self._spec.volume.mount_path}/")
        self._file = mount / self._name

    def check(self) -> None:
        with self._connected() as database:
            self._streams.require_included(self._names(database))

    def discover(self) -> list[Stream]:
        with self._connected() as database:
            names = self._names(database)
            self._streams.require_included(names)
            return [self._stream(database, name) for name in names]

    @contextmanager
    def session(self, requests: Sequence[StreamRequest]) -> Iterator["_Session"]:
        del requests  # `plan` says what is read
        with self._connected() as database:
            yield _Session(self, database)

    @contextmanager
    def _connected(self) -> Iterator[Database]:
        with self.failures():
            database = Database(self._mount, self._name, self._scratch)
        try:
            with self.failures():
                database.execute("BEGIN")
                database.execute("SELECT count(*) FROM sqlite_master")  # takes the lock: one moment for all streams
            yield database
        finally:
            database.close()

    def _names(self, database: Database) -> list[str]:
        """The names of all streams: the tables and views that are selected, then the queries."""
        with self.failures():
            rows = database.execute(
                "SELECT name FROM sqlite_master WHERE type IN ('table', 'view') AND name NOT LIKE 'sqlite\\_%' "
                "ESCAPE '\\' ORDER BY name"
            )
        return self._streams.names(str(name) for (name,) in rows)

    def _stream(self, database: Database, name: str) -> Stream:
        relation = self.relation(database, name)
        types = [cells.FIELD_TYPES[name] for name in relation.affinities]
        fields = tuple(StreamField(*pair) for pair in zip(relation.names, types, strict=True))
        return Stream(name, fields, tuple(relation.names[position] for position in relation.key))

    def relation(self, database: Database, stream: str) -> cells.Relation:
        """The table, view or query of that name. Raises InvalidSpec (ResourceNotFound, WrongSpecification)."""
        query = self._streams.query(stream)
        if query is not None:
            with self.failures(f"query {stream}"):
                names = database.columns(query.sql)
            return self._checked(stream, cells.Relation(query.sql, names, (cells.NUMERIC,) * len(names), query=True))
        self._streams.require(stream, self._names(database))
        with self.failures(f"table {stream}"):
            rows = database.execute("SELECT name, type, pk FROM pragma_table_xinfo(?) WHERE hidden <> 1", (stream,))
        names = tuple(str(name) for name, _, _ in rows)
        keyed = sorted((pk, position) for position, (_, _, pk) in enumerate(rows) if pk)
        listed = ", ".join(sqlite_database.name(name) for name in names)
        sql = f"SELECT {listed} FROM {sqlite_database.name(stream)}"  # noqa: S608 - quoted names only
        affinities = tuple(cells.affinity(declared) for _, declared, _ in rows)
        return self._checked(stream, cells.Relation(sql, names, affinities, tuple(position for _, position in keyed)))

    @property
    def subject(self) -> str:
        """The Source and its file, for messages."""
        return f"{self._subject}: {self._spec.path}"

    @property
    def location(self) -> str:
        """Where the file is."""
        return self._spec.location

    def input_name(self, stream: str) -> str:
        """The name of a stream's input, which no other Source of the namespace has."""
        return f"{self._spec.location}/{stream}"

    def _checked(self, stream: str, relation: cells.Relation) -> cells.Relation:
        if not relation.names:
            raise InvalidSpec(f"{self._subject}: stream {stream} has no columns.", "WrongSpecification")
        return relation

    @contextmanager
    def failures(self, where: str = "") -> Iterator[None]:
        """Translate what SQLite raises, and the refusals of `beneath`. `where` names the table or query."""
        try:
            yield
        except PenstockError:
            raise
        except (sqlite3.Error, OSError, UnicodeDecodeError) as error:
            raise self._meaning(error, f"{self._spec.path}{where and f', {where}'}") from None

    def _meaning(self, error: Exception, where: str) -> PenstockError:
        subject = f"{self._subject}: {where}"
        code = getattr(error, "sqlite_errorname", "")
        for codes, meaning in _MEANINGS:
            if code.startswith(codes):
                return meaning(subject)
        return self._file_fault(error, subject) or InvalidSpec(f"{subject}: {_one_line(error)}.", "WrongSpecification")

    def _file_fault(self, error: Exception, subject: str) -> PenstockError | None:
        """What is wrong with the file itself, None where it can be read."""
        if isinstance(error, IsADirectoryError) or (self._file.is_dir() and not self._file.is_symlink()):
            return InvalidSpec(f"{subject} is a folder.", "WrongSpecification")
        if isinstance(error, beneath.Refused):
            message = f"{subject}: {error.path} in claim {self._spec.volume.claim_name} {error.what}."
            return InvalidSpec(message, "WrongSpecification")
        if isinstance(error, FileNotFoundError) or not self._file.exists():
            return InvalidSpec(f"{subject} does not exist. Check the path.", "ResourceNotFound")
        if isinstance(error, PermissionError) or not os.access(self._file, os.R_OK):
            return InvalidSpec(f"{subject} may not be read. Check the permissions.", "WrongCredentials")
        return None


class _Session:
    """Streams of one database in one transaction."""

    ordered = True  # one connection reads

    def __init__(self, source: SqliteSource, database: Database) -> None:
        self._source, self._database = source, database

    def plan(self, stream: str, cursor: CursorRequest | None = None) -> Plan:
        relation = self._source.relation(self._database, stream)
        whole = Input(self._source.input_name(stream), "", ({"stream": stream},))
        if cursor is None:
            return Plan((whole,))
        with self._source.failures(_where(stream, relation)):
            return cursors.plan(self._cursor(stream, relation, cursor.column), cursor, whole, time.time())

    def _cursor(self, stream: str, relation: cells.Relation, column: str) -> SqliteCursor:
        where = f"{self._source.subject}, {_where(stream, relation)}"
        return SqliteCursor(self._database, relation, (self._source.location, stream, column), where)

    def readers(self, stream: str, parts: Sequence[Json]) -> Generator[OpenReader, None, None]:
        for part in parts:
            yield partial(self._open, str(part["stream"]), cursors.interval_of(part))
        del stream

    def _open(self, stream: str, interval: Interval | None) -> Reader:
        relation = self._source.relation(self._database, stream)
        types = tuple(cells.DUCKDB_TYPES[name] for name in relation.affinities)
        sql, end = relation.sql, cursors.WHOLE
        if interval is not None:
            with self._source.failures(_where(stream, relation)):
                cursor = self._cursor(stream, relation, interval.state.fingerprint.column)
                end = cursors.end(cursor, interval)
            sql = f"SELECT * FROM (\n{statement(sql)}\n) {cursors.clauses(cursor.sql, interval)}"  # noqa: S608
        works = partial(self._works, stream, relation, sql)
        columns = Columns(relation.names, types, partial=True)
        return Reader(columns, works, state=lambda: end.state, ignored=lambda: end.ignored)

    def _works(self, stream: str, relation: cells.Relation, sql: str, columns: Sequence[str]) -> Iterator[Work]:
        wanted = [relation.names.index(name) for name in columns]
        first = 1
        with self._source.failures(_where(stream, relation)):
            for rows in self._database.batches(sql, max(1, _CHUNK_CELLS // len(relation.names))):
                yield partial(cells.chunk, rows, relation, wanted, first)
                first += len(rows)

    def acknowledge(self, states: Mapping[str, Json]) -> None:
        del states  # nothing is kept at the source


def _where(stream: str, relation: cells.Relation) -> str:
    return f"{'query' if relation.query else 'table'} {stream}"


def _one_line(error: Exception) -> str:
    return " ".join(str(error).split())[:300]
