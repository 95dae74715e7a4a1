"""What PostgreSQL's errors mean: typed by SQLSTATE, never by the words of a server, which may be in any language.

See https://www.postgresql.org/docs/current/errcodes-appendix.html.
"""

import socket
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager

import psycopg

from penstock.connectors.postgres.spec import Server
from penstock.language.conditions import Reason
from penstock.language.errors import InvalidSpec, NotYet, PenstockError

_LONGEST = 300
_PATIENCE = 5.0
"""Seconds to see whether a server that libpq could not talk to answers at all."""

Failure = Callable[[str, Reason], PenstockError]

_MEANINGS: tuple[tuple[str, Failure, Reason, str], ...] = (
    ("42501", InvalidSpec, "WrongCredentials", "GRANT what is missing to the user, or use another one"),
    ("42P01", InvalidSpec, "ResourceNotFound", "Check the name, and whether the table was dropped meanwhile"),
    ("3F000", InvalidSpec, "ResourceNotFound", "Create the schema, or name another one"),
    ("42703", InvalidSpec, "WrongSpecification", "Check the columns, and whether the table was altered meanwhile"),
    ("25006", InvalidSpec, "WrongSpecification", "The server only allows reading; name the primary server"),
    (
        "23",
        InvalidSpec,
        "WrongSpecification",
        "Somebody has added a constraint to the table; drop it, or correct the data",
    ),
    (
        "54",
        InvalidSpec,
        "WrongSpecification",
        "A row of PostgreSQL holds about 8 kB beside its long texts; use fewer fields",
    ),
    (
        "2BP01",
        InvalidSpec,
        "WrongSpecification",
        "Drop what depends on it, such as a view, or keep the field; a view can be created again afterwards",
    ),
    ("53100", NotYet, "StorageFull", "Free some space at the server; the run is tried again"),
    ("53", NotYet, "Unreachable", "The server lacks memory or connections; the run is tried again"),
    ("57014", NotYet, "Timeout", "The statement was cancelled; raise statement_timeout of the user, if it is set"),
    ("57", NotYet, "Unreachable", "The server is starting, stopping or ended the connection; the run is tried again"),
    ("08", NotYet, "Unreachable", "The connection was cut; the run is tried again"),
    ("40", NotYet, "Unreachable", "Another transaction was in the way; the run is tried again"),
    ("55P03", NotYet, "Unreachable", "A lock is held by another session; the run is tried again"),
    ("58", NotYet, "Unreachable", "The server has trouble with its disk or its files; see its log"),
    ("XX", NotYet, "Unreachable", "The server has an internal error, or damaged data; see its log"),
    ("28", InvalidSpec, "WrongCredentials", "Check the Secret that auth.basic names, and pg_hba.conf"),
    ("3D000", InvalidSpec, "ResourceNotFound", "Check `database`"),
)
"""What SQLSTATEs mean, by their beginning; the first that fits counts."""

_REFUSALS: tuple[tuple[tuple[str, ...], str], ...] = (
    (("password authentication failed", "no pg_hba.conf entry", "no password", "authentication failed"), "28000"),
    (("does not exist",), "3D000"),
    (("permission denied",), "28000"),
    (("starting up", "shutting down", "in recovery mode", "not yet accepting"), "57P03"),
    (("too many", "remaining connection slots"), "53300"),
)
"""What servers say in English when they refuse a connection: libpq keeps the SQLSTATE of that to itself."""


_CUT = (
    "server closed the connection unexpectedly",
    "could not receive data from server",
    "could not send data to server",
    "Connection reset by peer",
    "Broken pipe",
    "SYSCALL error",
)
"""What libpq says, in English, of a connection that ended while it was made."""


@contextmanager
def translated(subject: str) -> Iterator[None]:
    """Raise what the errors of PostgreSQL within the block mean. `subject` says whose they are, and where."""
    try:
        yield
    except psycopg.Error as error:
        raise meaning(error, subject) from None


def meaning(error: psycopg.Error, subject: str) -> PenstockError:
    """The error of a statement, as one of ours."""
    code = error.sqlstate
    if code is None:
        if isinstance(error, psycopg.OperationalError):
            return NotYet(f"{subject}: the connection was cut. The run is tried again.", "Unreachable")
        return InvalidSpec(f"{subject}: {_said(error)}.", "WrongSpecification")
    for beginning, failure, reason, remedy in _MEANINGS:
        if code.startswith(beginning):
            return failure(f"{subject}: {_said(error)}. {remedy}.", reason)
    return InvalidSpec(f"{subject}: {_said(error)}.", "WrongSpecification")


def unknown_host(spec: Server, subject: str) -> NotYet:
    """What to say of a host whose name has no address."""
    message = f"{subject}: {spec.location}: there is no host {spec.host}. Check `host`. The run is tried again."
    return NotYet(message, "Unreachable")


def refusal(error: psycopg.Error, spec: Server, places: Sequence[str], subject: str, user: str) -> PenstockError:
    """Why no connection to one of the addresses `places` came about.

    Whether the host is there is looked at apart; what libpq says for itself is in English. `user` comes from a Secret
    and is not shown.
    """
    where = f"{subject}: {spec.location}"
    if (unreachable := _unreachable(spec.port, places)) is not None:
        return NotYet(f"{where}: {unreachable} The run is tried again.", "Unreachable")
    said = _said(error)
    if (fault := _tls_fault(said, where) or _broken(said, where)) is not None:
        return fault
    said = said.rpartition("FATAL:")[2].strip().replace(f'"{user}"', "of the Secret")
    code = next((code for words, code in _REFUSALS if any(word in said for word in words)), None)
    if code is None:
        pgconn = error.pgconn
        failure, reason = (InvalidSpec, "WrongCredentials") if pgconn and pgconn.used_password else (NotYet, None)
        message = f"{where}: the server refused the connection: {said}."
        return failure(message, reason or "Unreachable")  # type: ignore[arg-type]
    meaning = next(entry for entry in _MEANINGS if code.startswith(entry[0]))
    return meaning[1](f"{where}: {said}. {meaning[3]}.", meaning[2])


def _broken(said: str, where: str) -> NotYet | None:
    """What libpq says of a connection that was not refused, and did not come about either; None for another text."""
    if "timeout expired" in said:
        return NotYet(f"{where}: the server does not answer in time. The run is tried again.", "Timeout")
    if any(words in said for words in _CUT):
        return NotYet(f"{where}: the connection was cut while it was made. The run is tried again.", "Unreachable")
    return None


def _tls_fault(said: str, where: str) -> InvalidSpec | None:
    """What is wrong with the server's TLS or certificate; None where it is something else."""
    if "does not support SSL" in said:
        message = f"{where}: the server does not speak TLS. Turn on ssl there, or set `sslMode: disable`."
        return InvalidSpec(message, "TlsFailed")
    if "does not match host name" in said:
        message = f"{where}: {said}. Name the host as its certificate does, or give it a certificate for this name."
        return InvalidSpec(message, "TlsFailed")
    if any(word in said for word in ("certificate", "SSL error", "root.crt")):
        message = f"{where}: its certificate was refused: {said}. Name the authority "
        message += "that has signed it in caBundle, or in `ca.crt` in the Secret of auth.basic."
        return InvalidSpec(message, "TlsFailed")
    return None


def _unreachable(port: int, places: Sequence[str]) -> str | None:
    """Why nothing listens at any of the addresses, as a sentence; None where something does."""
    why = "the name of the host has no address. Check `host`."
    for place in places:
        try:
            socket.create_connection((place, port), timeout=_PATIENCE).close()
        except ConnectionRefusedError:
            why = f"nothing listens on port {port}. Check `port`, and whether the server runs."
        except OSError:
            why = "the server does not answer. Check `host` and the network."
        else:
            return None
    return why


def _said(error: psycopg.Error) -> str:
    """The first sentence of the server's message, and its detail's; without the statement, which may be long."""
    diagnosis = error.diag.message_primary
    said = diagnosis or str(error)
    return " ".join(said.split())[:_LONGEST].rstrip(".")
