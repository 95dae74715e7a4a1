"""What every kind of store can do, and what its failures mean to a user."""

import errno
import socket
import ssl
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any, BinaryIO, Protocol
from urllib.parse import urlsplit

from penstock.connectors.files.stores import addresses
from penstock.language.errors import InvalidSpec, NotYet, PenstockError
from penstock.worker import certificates

BLOCK = 8 << 20
"""Bytes of one ranged read."""
FULL = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)
"""What a system says when no space is left, for the disk, the quota, or one file."""


@dataclass(frozen=True)
class StoredFile:
    """A file as it was listed. `etag` changes whenever the content does, as far as the protocol can tell."""

    url: str
    etag: str
    size: int


Open = Callable[[StoredFile], BinaryIO]
"""`Store.open`, or what opens content that is here already."""


class Store(Protocol):
    """Where files lie. Every method raises InvalidSpec or NotYet, naming the place and what to do."""

    url: str

    def list_files(self, pattern: str | None) -> list[StoredFile]:
        """The files beneath the URL that match the glob, sorted by URL; or the one file that the URL names."""

    def open(self, stored: StoredFile) -> BinaryIO:
        """The content of the very version that was listed, to be read in order by one thread."""

    def put(self, name: str, source: Path, *, exclusive: bool = False) -> str:
        """Store a local file under `name` beneath the URL, whole or not at all; its URL.

        `exclusive` raises FileExistsError when the name is taken.
        """

    def read(self, name: str) -> bytes | None:
        """The small file of that name beneath the URL, None where there is none."""

    def remove(self, name: str) -> None:
        """Remove the file of that name, if it is there."""


@dataclass(frozen=True)
class Upload:
    """An upload that was begun and not finished, of which the store keeps the parts."""

    url: str
    id: str
    begun: datetime


class ObjectStore(Store, Protocol):
    """A store of objects, for who keeps more than whole files there: `files` is its file system of fsspec."""

    files: Any

    def translate(self, error: Exception) -> InvalidSpec | NotYet | None:
        """What an exception of `files` means, for `trouble`."""

    def log_in(self) -> None:
        """Get a token where one is needed: clients would try a refused key again and again."""

    def unfinished(self, prefix: str) -> list[Upload]:
        """Uploads beneath the prefix, a URL, that were not finished; none where the store ends them by itself."""

    def abort(self, url: str, upload: str) -> None:
        """End an upload, if it is still there."""

    def remove_all(self, paths: Sequence[str]) -> None:
        """Remove objects by their bucket and key, as far as they are there."""


Translate = Callable[[Exception], InvalidSpec | NotYet | None]
"""What a server's own exception means; None leaves it to what every kind of place has in common."""


@contextmanager
def trouble(subject: str, url: str, translate: Translate = lambda _: None) -> Iterator[None]:
    """Translate what file systems and servers raise into our two words."""
    try:
        yield
    except (PenstockError, FileExistsError):  # the latter is what `put` says of a name that is taken
        raise
    except Exception as error:
        meaning = _refused(subject, url, error) or translate(error)
        if meaning is None and isinstance(error, OSError):
            meaning = _system(subject, url, error)
        if meaning is None:
            raise
        raise meaning from None


def _refused(subject: str, url: str, error: Exception) -> InvalidSpec | NotYet | None:
    """What a connection or redirect that was refused here means, however a client wraps it."""
    match addresses.refused(error):
        case addresses.Redirected() as redirected:
            return status(subject, url, redirected.code)
        case addresses.LocalAddress() as local if addresses.is_metadata(local.address):
            return addresses.never(subject, local.host, local.address)
    return None


def _system(subject: str, url: str, error: OSError) -> InvalidSpec | NotYet:
    if isinstance(error, FileNotFoundError):
        return InvalidSpec(f"{subject}: {url} does not exist. Check the URL.", "ResourceNotFound")
    if isinstance(error, PermissionError):
        return InvalidSpec(f"{subject}: access to {url} was refused. Check the credentials.", "WrongCredentials")
    if isinstance(error, TimeoutError):
        return NotYet(f"{subject}: {url} did not answer in time.", "Timeout")
    if error.errno in FULL:
        return NotYet(f"{subject}: no space is left at {url}. Free some space.", "StorageFull")
    if error.errno == errno.EROFS:
        return InvalidSpec(f"{subject}: {url} is read only. Check the volume.", "WrongCredentials")
    return NotYet(f"{subject}: {url}: {error.strerror or 'the system does not say why'}.", "Unreachable")


def unreachable(subject: str, url: str, server: str, error: BaseException) -> NotYet:
    """No connection to `server`, the URL of who was to answer; clients bury the system's own word beneath theirs."""
    address = urlsplit(server)
    origin = f"{address.scheme}://{address.netloc}"
    match _innermost(error):
        case ConnectionRefusedError():
            cause = f"connection refused by {origin}; nothing listens there."
        case socket.gaierror() as unknown if unknown.errno in (socket.EAI_NONAME, socket.EAI_NODATA):
            cause = f"the name {address.hostname} is not known. Check the URL."
        case socket.gaierror() as failed:
            cause = f"the name {address.hostname} could not be looked up: {failed.strerror}."
        case ssl.SSLCertVerificationError() as refused:
            remedy = certificates.remedy(refused.verify_code)
            cause = f"the certificate of {origin} is not accepted: {refused.verify_message.rstrip('.')}. {remedy}"
            return NotYet(f"{subject}: {url} cannot be reached: {cause}", "TlsFailed")
        case ssl.SSLError():
            cause = f"no TLS with {origin}. Perhaps it speaks plain http: check the URL."
            return NotYet(f"{subject}: {url} cannot be reached: {cause}", "TlsFailed")
        case ConnectionError():
            cause = f"{origin} closed the connection."
        case OSError() as other if other.strerror:
            cause = f"{origin}: {other.strerror}."
        case _:
            cause = f"{origin} closed the connection before its answer was complete, or does not speak the protocol."
    return NotYet(f"{subject}: {url} cannot be reached: {cause}", "Unreachable")


def _innermost(error: BaseException) -> BaseException:
    while inner := error.__cause__ or error.__context__:
        error = inner
    return error


def status(subject: str, url: str, code: int, remedy: str = "") -> InvalidSpec | NotYet:
    """What an HTTP status means; `remedy` is what to do when it lets us not in."""
    match code:
        case 401 | 403 | 407:
            message = f"{subject}: credentials rejected by {url} ({code}). {remedy}"
            return InvalidSpec(message.rstrip(), "WrongCredentials")
        case 404 | 410:
            return InvalidSpec(f"{subject}: {url} does not exist ({code}). Check the URL.", "ResourceNotFound")
        case 412:
            return gone(subject, url)
        case 301 | 302 | 303 | 307 | 308:
            message = f"{subject}: the server of {url} redirects ({code}), and redirects of it are not followed. "
            return InvalidSpec(f"{message}Name the server that has the files.", "WrongSpecification")
        case 408 | 425 | 429 | 500 | 502 | 503 | 504:
            return NotYet(f"{subject}: {url} answered {code}.", "Unreachable")
    return InvalidSpec(f"{subject}: {url} answered {code}.", "WrongSpecification")


def gone(subject: str, url: str) -> InvalidSpec:
    """The version that was planned exists no longer. Trying the same run again cannot help."""
    return InvalidSpec(
        f"{subject}: {url} has changed since this run was planned, and the plan of a run does not change. "
        "The next run loads the new version.",
        "ResourceNotFound",
    )
