"""Connections to a database: settings, deadline, and statements that a signal can end."""

import hashlib
import select
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any, cast

import psycopg
from psycopg import sql
from psycopg.pq import ExecStatus, TransactionStatus
from psycopg.pq.abc import PGresult

from penstock.connectors.files.stores import addresses
from penstock.connectors.postgres import failures
from penstock.connectors.postgres.spec import Server
from penstock.language.auth import Auth
from penstock.language.errors import InvalidSpec
from penstock.worker import certificates
from penstock.worker.pod import Pod

_TIMEOUT = 15
"""Seconds to connect."""
_PATIENCE = 5.0
"""Seconds for a server to end a statement."""
_READ_ONLY = (
    "BEGIN TRANSACTION ISOLATION LEVEL REPEATABLE READ READ ONLY",
    "SET LOCAL datestyle = 'ISO'",
    "SET LOCAL intervalstyle = 'iso_8601'",
    "SET LOCAL bytea_output = 'hex'",
    "SET LOCAL extra_float_digits = 1",
    "SET LOCAL TimeZone = 'UTC'",
    "SET LOCAL idle_in_transaction_session_timeout = 0",
)
"""A transaction that only reads, and how it prints values whatever the server's own settings; no snapshot yet."""
_ANY_BYTES = "SQL_ASCII"
"""The encoding of databases that do not know theirs."""
WATCHES_CLIENTS = 140_000
"""The version of the server from which a statement ends soon after its client was killed."""
_BLOCK = 8 << 20
"""Bytes of rows that are handed on together."""

Connection = psycopg.Connection[Any]


class Place:
    """A database, and the credentials for it. `subject` says whose it is, for messages."""

    def __init__(
        self, spec: Server, auth: Auth | None, pod: Pod, subject: str, look_up: addresses.LookUp = addresses.system
    ) -> None:
        """Raises InvalidSpec (SecretMissing)."""
        self.spec, self.subject, self._pod, self._look_up = spec, subject, pod, look_up
        basic = auth.basic if auth is not None else None
        if basic is None:
            raise InvalidSpec(f"{subject}: auth.basic is missing; it names the Secret with `username` and `password`.")
        name = basic.secret_ref.name
        self._user, self._password = _key(pod, name, "username"), _key(pod, name, "password")
        trust = certificates.trusted(spec.ca_bundle, pod, subject)
        self._authority = pod.secret(name, "ca.crt") if trust is None else trust.pem()
        if self._authority is None and spec.ssl_mode == "verify-ca":  # libpq refuses this too, in other words
            message = (
                f"{subject}: sslMode verify-ca needs the certificate authority: set caBundle, or add the key ca.crt "
            )
            message += f"to Secret {name}, or use verify-full, which takes those of the system."
            raise InvalidSpec(message, "SecretMissing")

    @property
    def where(self) -> str:
        """The subject and the place, for messages."""
        return f"{self.subject}: {self.spec.location}"

    @contextmanager
    def connected(self) -> Iterator[Connection]:
        """A connection whose statements commit by themselves; closed, and its statement ended, after the block."""
        connection = self.connect()
        try:
            yield connection
        finally:
            close(connection)

    def connect(self) -> Connection:
        """A connection whose statements commit by themselves, to be ended with `close`."""
        spec = self.spec
        try:
            places = addresses.checked(spec.host, spec.port, self.subject, self._look_up)
        except OSError:
            raise failures.unknown_host(spec, self.subject) from None
        settings: dict[str, Any] = {
            "host": ",".join([spec.host] * len(places)),  # that of the certificate; what is connected to is hostaddr
            "hostaddr": ",".join(places),
            "port": spec.port,
            "dbname": spec.database,
            "user": self._user,
            "password": self._password,
            "sslmode": spec.ssl_mode,
            "connect_timeout": _TIMEOUT,
            "application_name": "penstock",
            "client_encoding": "UTF8",
            "gssencmode": "disable",
            "passfile": "/nonexistent",
            "keepalives_idle": 30,
            "tcp_user_timeout": 60_000,
        }
        if spec.ssl_mode.startswith("verify"):
            settings["sslrootcert"] = str(self._certificates()) if self._authority else "system"
        try:
            return psycopg.connect(autocommit=True, prepare_threshold=None, **settings)
        except psycopg.Error as error:
            raise failures.refusal(error, spec, places, self.subject, self._user) from None

    def _certificates(self) -> Path:
        text = f"{self._authority}\n".encode()
        file = self._pod.scratch / f"postgres-{hashlib.sha256(text).hexdigest()[:16]}.crt"  # a catalog has its own
        file.write_bytes(text)
        return file


def _key(pod: Pod, secret: str, key: str) -> str:
    value = pod.secret(secret, key)
    if not value:
        raise InvalidSpec(f"Secret {secret} has no key {key}. Add it.", "SecretMissing")
    return value


def close(connection: Connection) -> None:
    """End what the connection does, and close it."""
    with suppress(psycopg.Error, OSError):
        if connection.pgconn.transaction_status == TransactionStatus.ACTIVE:
            connection.cancel_safe(timeout=_PATIENCE)
    connection.close()


def begin_reading(connection: Connection) -> None:
    """Begin a transaction that only reads. Its snapshot is taken by the first statement that needs one."""
    settings = [*_READ_ONLY]
    if connection.info.server_version >= WATCHES_CLIENTS:
        settings.append("SET LOCAL client_connection_check_interval = '10s'")
    connection.execute("; ".join(settings).encode())


def execute_all(connection: Connection, statements: Sequence[sql.Composable]) -> None:
    """Execute statements without parameters, in one message to the server."""
    connection.execute(sql.SQL("; ").join(statements))


def search_catalog_alone(connection: Connection) -> None:
    """Let names in statements mean those of PostgreSQL's catalog alone, until `searching_as_the_user`.

    Whoever may create functions in a schema of the user's search path could else make one that fits the types of a
    statement of ours better than the catalog's own, and this connection would execute it (CVE-2018-1058).
    """
    (own,) = connection.execute("SHOW search_path").fetchone() or ("",)
    connection.execute("SELECT pg_catalog.set_config('penstock.search_path', %s, false)", [own])
    connection.execute("SET search_path = pg_catalog")


@contextmanager
def searching_as_the_user(connection: Connection) -> Iterator[None]:
    """Let names in the block mean what they mean to the user: in a query of a manifest, and within views."""
    connection.execute(
        "SELECT pg_catalog.set_config('search_path', pg_catalog.current_setting('penstock.search_path'), false)"
    )
    try:
        yield
    finally:
        interrupt(connection)
        if connection.info.transaction_status == TransactionStatus.INTRANS:  # else it is rolled back
            connection.execute("SET search_path = pg_catalog")


@contextmanager
def attempted(connection: Connection) -> Iterator[None]:
    """Statements of a transaction whose failure does not end the transaction; what they are doing is ended."""
    connection.execute("SAVEPOINT attempt")
    try:
        yield
    finally:
        interrupt(connection)
        if connection.info.transaction_status == TransactionStatus.INERROR:
            connection.execute("ROLLBACK TO SAVEPOINT attempt")


def interrupt(connection: Connection) -> None:
    """End the statement that the connection is executing, and leave out what it would still have said."""
    pgconn = connection.pgconn
    if pgconn.transaction_status != TransactionStatus.ACTIVE:
        return
    with suppress(psycopg.Error, OSError):  # a connection that is broken has ended already
        connection.cancel_safe(timeout=_PATIENCE)
        while True:
            while pgconn.is_busy():
                _await(connection, _PATIENCE)
            result = pgconn.get_result()
            if result is None:
                return
            while result.status == ExecStatus.COPY_OUT and (length := pgconn.get_copy_data(1)[0]) >= 0:
                if length == 0:
                    _await(connection, _PATIENCE)


def described(connection: Connection, statement: bytes) -> PGresult:
    """The columns of a statement, which is parsed and not executed.

    The waiting is left to `select`: within libpq, it would keep a signal, and every other thread, from being heard.
    """
    connection.pgconn.send_prepare(b"", statement)
    _answer(connection)
    connection.pgconn.send_describe_prepared(b"")
    return _answer(connection)


def _answer(connection: Connection) -> PGresult:
    """The one result of what was sent. Raises psycopg.Error where it is an error."""
    pgconn = connection.pgconn
    result = None
    while True:
        while pgconn.is_busy():
            _await(connection)
        following = pgconn.get_result()
        if following is None:
            break
        result = result or following
    if result is None or result.status != ExecStatus.COMMAND_OK:
        fail(connection, result)
    return cast(PGresult, result)


def copy_out(connection: Connection, statement: sql.Composed) -> Iterator[tuple[bytes, int]]:
    """The rows of a COPY … TO STDOUT, in blocks of about 8 MiB, each with the number of rows by the server's messages.

    psycopg's own reader takes three times as long for each row. Waiting is left to `select`, which a signal interrupts.
    """
    pgconn = connection.pgconn
    _begin_copy(connection, statement.as_bytes(connection))
    rows: list[bytes | memoryview] = []
    size = 0
    while True:
        length, row = pgconn.get_copy_data(1)
        if length > 0:
            rows.append(bytes(row))
            size += length
            if size >= _BLOCK:
                yield b"".join(rows), len(rows)
                rows, size = [], 0
        elif length == 0:
            _await(connection)
        else:
            break
    while (result := pgconn.get_result()) is not None:
        if result.status != ExecStatus.COMMAND_OK:
            fail(connection, result)
    if rows:
        yield b"".join(rows), len(rows)
    connection.execute(b"SET LOCAL client_encoding = 'UTF8'")


def _begin_copy(connection: Connection, command: bytes) -> None:
    """Send a COPY … TO STDOUT, and return when its rows are about to come."""
    pgconn = connection.pgconn
    if connection.info.parameter_status("server_encoding") == _ANY_BYTES:  # else the server refuses what is no UTF-8
        connection.execute(b"SET LOCAL client_encoding = 'SQL_ASCII'")
    pgconn.send_query(command)
    while pgconn.is_busy():
        _await(connection)
    result = pgconn.get_result()
    if result is None or result.status != ExecStatus.COPY_OUT:
        fail(connection, result)


def _await(connection: Connection, timeout: float | None = None) -> None:
    """Wait for the server. Raises psycopg.OperationalError when it is gone, or says nothing for `timeout` seconds."""
    ready, _, _ = select.select([connection.fileno()], [], [], timeout)
    if not ready:
        raise psycopg.OperationalError("the server does not answer")
    connection.pgconn.consume_input()


def fail(connection: Connection, result: Any) -> None:
    while connection.pgconn.get_result() is not None:
        pass
    if result is None:
        raise psycopg.OperationalError("the connection was cut")
    raise psycopg.errors.error_from_result(result, connection.info.encoding)
