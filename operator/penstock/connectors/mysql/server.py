"""A connection to MySQL or MariaDB: one read-only transaction, rows as MySQL prints them, and what its errors mean."""

import re
import socket
import ssl
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from datetime import datetime
from typing import Any

import pymysql
from pymysql import converters
from pymysql.constants import CR, ER

from penstock.connectors.files.stores import addresses
from penstock.connectors.mysql.columns import Row
from penstock.connectors.mysql.spec import MysqlSource as MysqlSpec
from penstock.language.errors import InvalidSpec, NotYet, PenstockError
from penstock.worker import certificates

_CONNECT_SECONDS = 15
_ANSWER_SECONDS = 300
"""How long one answer may take: the first row of a slow query, or the next rows of a table."""
_CHUNK_BYTES = 16 << 20

_ENCODERS: dict[Any, Any] = {**converters.encoders}
"""How our parameters are written. There are no decoders: every value arrives as the text that the server prints."""
_LOST = {CR.CR_SERVER_GONE_ERROR, CR.CR_SERVER_LOST, CR.CR_CONN_HOST_ERROR}
_STATEMENT_TIMEOUTS = {1969, 3024}
"""MariaDB's and MySQL's."""
_READING = re.compile(
    r"(?:\s|\(|--\s[^\n]*\n|#[^\n]*\n|/\*(?!!).*?\*/)*(?:select|with|values|table)\b", re.IGNORECASE | re.DOTALL
)
"""How a statement that reads begins, behind blanks, brackets and comments. The server judges the rest."""
_NO_PASSWORD_ACCEPTED = 1698
"""The user is authenticated by the operating system alone."""
_MEANINGS: tuple[tuple[set[int], Callable[[str, str], PenstockError]], ...] = (
    (
        {ER.ACCESS_DENIED_ERROR, _NO_PASSWORD_ACCEPTED},
        lambda where, _: InvalidSpec(f"{where}: user or password refused. Check the Secret.", "WrongCredentials"),
    ),
    (
        {ER.DBACCESS_DENIED_ERROR},
        lambda where, _: InvalidSpec(
            f"{where}: there is no such database, or the user may not use it. Check the name, or grant SELECT.",
            "WrongCredentials",
        ),
    ),
    (
        {ER.TABLEACCESS_DENIED_ERROR, ER.COLUMNACCESS_DENIED_ERROR, ER.SPECIFIC_ACCESS_DENIED_ERROR},
        lambda where, _: InvalidSpec(f"{where}: the user may not read it. Grant SELECT.", "WrongCredentials"),
    ),
    (
        {ER.BAD_DB_ERROR, ER.NO_SUCH_TABLE},
        lambda where, said: InvalidSpec(f"{where}: {said}. Check the name.", "ResourceNotFound"),
    ),
    (
        {
            ER.CON_COUNT_ERROR,
            ER.LOCK_WAIT_TIMEOUT,
            ER.LOCK_DEADLOCK,
            ER.TABLE_DEF_CHANGED,
            ER.SERVER_SHUTDOWN,
            ER.TOO_MANY_USER_CONNECTIONS,
            ER.USER_LIMIT_REACHED,
            ER.QUERY_INTERRUPTED,
            *_STATEMENT_TIMEOUTS,
        },
        lambda where, said: NotYet(f"{where}: {said}.", "Unreachable"),
    ),
    (
        {ER.DISK_FULL, ER.RECORD_FILE_FULL},
        lambda where, _: NotYet(f"{where}: the server has no space left for temporary files.", "StorageFull"),
    ),
)
"""What the server's error codes mean (https://dev.mysql.com/doc/mysql-errors/8.4/en/server-error-reference.html)."""


class Server:
    """An open transaction. Every method raises InvalidSpec and NotYet alone."""

    def __init__(
        self,
        spec: MysqlSpec,
        credentials: tuple[str, str, str | None],
        subject: str,
        look_up: addresses.LookUp = addresses.system,
    ) -> None:
        user, password, authority = credentials
        self._where = f"{subject}: {spec.location}"
        with self.failures():
            self._connection = pymysql.connect(
                host=spec.host,
                port=spec.port,
                user=user,
                password=password.encode(),  # PyMySQL would take latin-1
                auth_plugin_map=_refused_logins(spec.ssl_mode),
                database=spec.database,
                charset="utf8mb4",
                conv=_ENCODERS,
                ssl=_tls(spec.ssl_mode, authority, self._where),
                ssl_disabled=spec.ssl_mode == "disable",
                read_timeout=_ANSWER_SECONDS,
                local_infile=False,
                defer_connect=True,
            )
            place = addresses.connected(spec.host, spec.port, subject, _CONNECT_SECONDS, look_up)
            self._connection.connect(place)
            self._begin()

    def _begin(self) -> None:
        [times] = self.rows("SELECT UTC_TIMESTAMP(6), NOW(6)")
        universal, local = (datetime.fromisoformat(str(each)) for each in times)
        self.clock = universal, local
        """When the transaction began, by the server's clock: in UTC, and in the time zone of the user's sessions."""
        for statement in (
            "SET SESSION time_zone = '+00:00'",
            "SET SESSION TRANSACTION ISOLATION LEVEL REPEATABLE READ",
            "START TRANSACTION WITH CONSISTENT SNAPSHOT, READ ONLY",
        ):
            self.rows(statement)

    def rows(self, sql: str, parameters: Sequence[Any] = ()) -> list[Row]:
        """All rows of a statement of ours."""
        with self.failures(), self._connection.cursor() as cursor:
            cursor.execute(sql, tuple(parameters) or None)
            return list(cursor.fetchall())

    def described(self, sql: str, where: str) -> Sequence[Any]:
        """The columns of a statement, each with `name`, `type_code`, `flags` and `charsetnr`, as the server says."""
        with self.failures(where):
            cursor: Any = self._connection.cursor()
            cursor.execute(sql)
            return list(cursor._result.fields)

    def quoted(self, text: str) -> str:
        """A text as a literal."""
        return str(self._connection.escape(text))

    def columns(self, sql: str, where: str) -> tuple[str, ...]:
        """The names of a query's columns. Raises InvalidSpec unless it is one SELECT."""
        if _READING.match(sql) is None:
            message = f"{self._where}, {where}: only one SELECT statement is allowed."
            raise InvalidSpec(message, "WrongSpecification")
        with self.failures(where), self._connection.cursor() as cursor:
            cursor.execute(f"EXPLAIN {statement(sql)}")  # by itself, before it stands in brackets
            cursor.execute(f"SELECT * FROM ({statement(sql)}) AS penstock LIMIT 0")  # noqa: S608 - it was explained
            return tuple(str(column[0]) for column in cursor.description or ())

    def batches(self, sql: str, count: int, where: str) -> Iterator[list[Row]]:
        """The rows of a statement as they come, at most so many at once, and about _CHUNK_BYTES of text."""
        with self.failures(where):
            cursor = self._connection.cursor(pymysql.cursors.SSCursor)
            try:
                cursor.execute(sql)
                while batch := _fetch(cursor, count):
                    yield batch
            finally:
                _abandon(cursor)

    def close(self) -> None:
        """Close the connection. What is still to be read of it is not read."""
        try:
            self._connection.close()
        except pymysql.Error:
            return  # it was closed by the server

    @contextmanager
    def failures(self, where: str = "") -> Iterator[None]:
        """Translate what the client raises. `where` names the table or query."""
        try:
            yield
        except PenstockError:
            raise
        except (pymysql.Error, OSError, UnicodeDecodeError) as error:
            raise self._meaning(error, f"{self._where}{where and f', {where}'}") from None

    def _meaning(self, error: Exception, where: str) -> PenstockError:
        code = error.args[0] if error.args and isinstance(error.args[0], int) else 0
        said = " ".join(str(error.args[1] if len(error.args) > 1 else error).split())[:300]
        for codes, meaning in _MEANINGS:
            if code in codes:
                return meaning(where, said)
        if (refused := _certificate_fault(error)) is not None:
            return InvalidSpec(f"{where}: {refused}", "TlsFailed")
        if code == CR.CR_SSL_CONNECTION_ERROR:
            message = f"{where}: the server does not speak TLS. Turn on ssl there, or set `sslMode: disable`."
            return InvalidSpec(message, "TlsFailed")
        if code in _LOST or isinstance(error, OSError):
            return NotYet(f"{where} cannot be reached: {_cause(error)}", "Unreachable")
        return InvalidSpec(f"{where}: {said}.", "WrongSpecification")


def statement(sql: str) -> str:
    """A query of a manifest without the semicolon at its end."""
    return re.sub(r";\s*$", "", sql.strip())


class _Refusal:
    """A login that sends the password itself, which a server that was not verified does not get."""

    def __init__(self, _: Any) -> None:
        return

    def authenticate(self, _: Any) -> None:
        """Raises InvalidSpec."""
        message = "the server asks for the password in clear text, and gets it only with sslMode verify-full or "
        raise InvalidSpec(f"{message}verify-ca. Set one of them, or give the user another authentication plugin.")


def _refused_logins(mode: str) -> dict[Any, Any]:
    """The login methods that are refused, by the names that servers give them."""
    return {} if mode.startswith("verify") else dict.fromkeys((b"mysql_clear_password", b"dialog"), _Refusal)


def _tls(mode: str, authority: str | None, where: str) -> ssl.SSLContext | None:
    if mode == "disable":
        return None
    try:
        context = ssl.create_default_context(cadata=authority)
    except (ssl.SSLError, ValueError):
        message = f"{where}: ca.crt in the Secret of auth.basic is no certificate in PEM. Replace it."
        raise InvalidSpec(message, "TlsFailed") from None
    context.check_hostname = mode == "verify-full"
    if mode == "require":
        context.verify_mode = ssl.CERT_NONE
    return context


def _certificate_fault(error: BaseException) -> str | None:
    """Why the server's certificate was refused, and what to do; None for another error."""
    inner = getattr(error, "original_exception", None) or error
    if not isinstance(inner, ssl.SSLCertVerificationError):
        return None
    said = inner.verify_message.rstrip(".")
    return f"its certificate was refused: {said}. {certificates.remedy(inner.verify_code)}"


def _cause(error: BaseException) -> str:
    inner = getattr(error, "original_exception", None) or error
    match inner:
        case ConnectionRefusedError():
            return "the connection was refused; nothing listens there."
        case socket.gaierror():
            return "the name of the host is not known. Check it."
        case ssl.SSLError():
            return "no TLS with the server. Perhaps it offers none: check sslMode."
        case TimeoutError():
            return "the server did not answer in time."
    return "the server broke off the connection."


def _abandon(cursor: Any) -> None:
    """Forget what is still to come: when it is closed or collected, PyMySQL would read all of it, or fail to."""
    result = cursor._result
    if result is not None:
        result.unbuffered_active = False
        result.connection = None
    cursor._result = None
    cursor.connection = None


def _fetch(cursor: Any, count: int) -> list[Row]:
    batch: list[Row] = []
    size = 0
    while len(batch) < count and size < _CHUNK_BYTES:
        more = cursor.fetchmany(min(256, count - len(batch)))
        if not more:
            break
        batch += more
        size += sum(len(value) for row in more for value in row if value is not None)
    return batch
