"""PostgreSQL as the database of a ledger: transactions that exclude each other, over connections that are kept.

The ledger's tables lie in one schema. A transaction takes an advisory lock of that schema's ledger first, so it must be
short; `unlocked` is for long work, which takes the lock at its end, with `lock`.
"""

import threading
import weakref
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import psycopg
from psycopg import sql
from psycopg.pq import TransactionStatus

from penstock.connectors.postgres import connection as connections
from penstock.connectors.postgres import failures
from penstock.connectors.postgres.connection import Connection, Place
from penstock.language.errors import InvalidSpec, PenstockError
from penstock.worker.ports.ledger import Cursor

_BEGIN = "BEGIN TRANSACTION ISOLATION LEVEL READ COMMITTED READ WRITE"
"""Each statement sees what was committed before it, whatever the user's own default is: the lock comes first."""
_SETTINGS = (
    "SET LOCAL search_path = {schema}, pg_temp",  # temporary tables would be found first otherwise
    "SET LOCAL synchronous_commit = on",  # what is committed survives a crash of the server
    "SET LOCAL lock_timeout = '60s'",
    "SET LOCAL statement_timeout = 0",  # the worker has a deadline of its own
    "SET LOCAL idle_in_transaction_session_timeout = '60s'",  # a worker that hangs must not keep its locks
)
_WATCHES_CLIENTS = "SET LOCAL client_connection_check_interval = '10s'"
_LEDGER = "penstock ledger"


class PostgresDatabase:
    """A schema of a database. Its transactions raise InvalidSpec and NotYet, as `failures` says."""

    def __init__(self, place: Place, schema: str) -> None:
        self.place, self.schema = place, schema
        self._idle: list[Connection] = []
        self._lock = threading.Lock()
        weakref.finalize(self, _close, self._idle)

    @contextmanager
    def transaction(self) -> Iterator["PostgresCursor"]:
        """One transaction that excludes the others from its beginning. See `ports.ledger.Database`."""
        with self.unlocked() as cursor:
            self.lock(cursor, _LEDGER)
            yield cursor

    @contextmanager
    def unlocked(self) -> Iterator["PostgresCursor"]:
        """One transaction, committed at the end of the block, rolled back on any exception."""
        with failures.translated(self.place.where):
            connection = self._begun()
            try:
                yield PostgresCursor(connection.cursor())
                connection.execute("COMMIT")
            except BaseException:
                _end(connection)
                raise
            finally:
                self._give_back(connection)

    def lock(self, cursor: Cursor, name: str) -> None:
        """Wait for the lock of that name in this schema, and have it until the transaction ends."""
        key = f"{self.schema} {name}"
        cursor.execute("SELECT pg_advisory_xact_lock(hashtextextended(?, 0))", (key,))

    def lock_ledger(self, cursor: Cursor) -> None:
        """The lock that `transaction` takes first."""
        self.lock(cursor, _LEDGER)

    def is_failure(self, error: Exception) -> bool:
        """Whether it is an error of the database, translated or not."""
        return isinstance(error, PenstockError | psycopg.Error)

    def _begun(self) -> Connection:
        """A connection with a transaction begun. One that the server has ended meanwhile is replaced."""
        while True:
            with self._lock:
                kept = self._idle.pop() if self._idle else None
            connection = kept or self.place.connect()
            try:
                connections.execute_all(connection, self._opening(connection))
                if kept is None:
                    self._require_schema(connection)
            except psycopg.OperationalError:
                connections.close(connection)
                if kept is None:
                    raise
            except BaseException:
                connections.close(connection)
                raise
            else:
                return connection

    def _require_schema(self, connection: Connection) -> None:
        """Raise InvalidSpec unless tables would be made in the schema: else PostgreSQL makes temporary ones."""
        query = "SELECT current_schema(), EXISTS (SELECT FROM pg_namespace WHERE nspname = %s)"
        row = connection.execute(query.encode(), (self.schema,)).fetchone()
        if row is None or row[0] == self.schema:
            return
        if row[1]:
            message = f"{self.place.where}: the user may not use schema {self.schema}. GRANT USAGE on it to the user."
            raise InvalidSpec(message, "WrongCredentials")
        message = f"{self.place.where}: schema {self.schema} does not exist. Create it, or name another one."
        raise InvalidSpec(message, "ResourceNotFound")

    def _opening(self, connection: Connection) -> list[sql.Composable]:
        schema = sql.Identifier(self.schema)
        statements: list[sql.Composable] = [sql.SQL(_BEGIN)]
        statements += [sql.SQL(setting).format(schema=schema) for setting in _SETTINGS]
        if connection.info.server_version >= connections.WATCHES_CLIENTS:
            statements.append(sql.SQL(_WATCHES_CLIENTS))
        return statements

    def _give_back(self, connection: Connection) -> None:
        if connection.closed or connection.info.transaction_status != TransactionStatus.IDLE:
            connections.close(connection)
            return
        with self._lock:
            self._idle.append(connection)


class PostgresCursor:
    """A cursor of a transaction that takes parameters as `?`, and psycopg's own for what only PostgreSQL can do."""

    def __init__(self, cursor: "psycopg.Cursor[Any]") -> None:
        self.own = cursor

    @property
    def rowcount(self) -> int:
        """How many rows the newest statement changed."""
        return self.own.rowcount

    def execute(self, statement: str, parameters: Sequence[Any] = (), /) -> Any:
        """Execute one statement."""
        self.own.execute(statement.replace("?", "%s").encode(), parameters or None)

    def fetchone(self) -> Any:
        """The next row of the result, None at its end."""
        return self.own.fetchone()

    def fetchall(self) -> list[Any]:
        """The rest of the result."""
        return self.own.fetchall()


def _end(connection: Connection) -> None:
    """Roll back, or close what cannot be rolled back: a statement is under way, or the connection is broken."""
    if connection.info.transaction_status in (TransactionStatus.INTRANS, TransactionStatus.INERROR):
        try:
            connection.execute("ROLLBACK")
        except psycopg.Error:
            connections.close(connection)
    else:
        connections.close(connection)


def _close(idle: list[Connection]) -> None:
    while idle:
        connections.close(idle.pop())
