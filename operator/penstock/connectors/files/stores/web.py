"""One file on a web server: which redirects are followed, which addresses are connected to, and what a body is."""

import io
import zlib
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, BinaryIO, cast
from urllib.parse import urljoin, urlsplit

import aiohttp
import fsspec
from aiohttp.http_exceptions import HttpProcessingError
from fsspec.asyn import sync

from penstock.connectors.files.stores import addresses
from penstock.connectors.files.stores.port import BLOCK, StoredFile, gone, status, trouble, unreachable
from penstock.connectors.files.stores.resolver import Resolver
from penstock.connectors.files.stores.webcredentials import ANONYMOUS, WebCredentials
from penstock.language.errors import InvalidSpec, NotYet
from penstock.worker import certificates
from penstock.worker.certificates import Authorities

_HEADERS = {"Accept-Encoding": "identity"}  # what a server would compress on the way has no size to check against
_MOST_REDIRECTS = 5
_REDIRECTS = (301, 302, 303, 307, 308)
_UNMARKED = "unmarked"
"""The mark of a file whose server says nothing about its version; it is read again by every run."""
_WITH_GZIP_HEADER = 31


class Web:
    """One file on a web server; read only. `hosts` may be redirected to, beside the URL's own.

    The credentials go to the URL's own origin alone, which is its scheme, host and port.
    """

    def __init__(
        self,
        url: str,
        subject: str,
        hosts: Sequence[str] = (),
        credentials: WebCredentials | None = None,
        trust: Authorities | None = None,
    ) -> None:
        self.url, self._subject, self._credentials, self._trust = url, subject, credentials, trust
        self._own = (urlsplit(url).hostname or "").lower()
        self._hosts = {self._own, *(host.lower() for host in hosts)}
        timeout = aiohttp.ClientTimeout(total=None, sock_connect=15, sock_read=60)
        self._files: Any = fsspec.filesystem(
            "http", skip_instance_cache=True, get_client=self._client, client_kwargs={"timeout": timeout}
        )

    async def _client(self, **given: Any) -> aiohttp.ClientSession:
        """A session that keeps bodies as they come, keeps no cookies, and connects to no local address by a name."""
        given.pop("loop", None)
        connector = aiohttp.TCPConnector(resolver=Resolver(self._own), ssl=certificates.context(self._trust))
        return aiohttp.ClientSession(
            connector=connector, auto_decompress=False, cookie_jar=aiohttp.DummyCookieJar(), **given
        )

    def list_files(self, pattern: str | None) -> list[StoredFile]:
        """The one file. Raises InvalidSpec when asked for a pattern: a web server cannot list."""
        if pattern is not None:
            raise InvalidSpec(f"{self._subject}: {self.url} is a web server, which cannot list files; leave glob out.")
        with trouble(self._subject, self.url, self._translate):
            try:
                response = self._request("HEAD", {})
            except aiohttp.ClientResponseError as error:
                if error.status not in (403, 405, 501):  # servers that do not know HEAD
                    raise
                response = self._request("GET", {})
            response.close()
        return [_stored_file(self.url, response.headers)]

    def open(self, stored: StoredFile) -> BinaryIO:
        """The content as one stream, or InvalidSpec when it is no longer what was listed."""
        # not for weak or missing tags, nor for one that would not be sent as the same bytes
        condition = {"If-Match": stored.etag} if stored.etag.startswith('"') and stored.etag.isascii() else {}
        with trouble(self._subject, self.url, self._translate):
            response = self._request("GET", condition)
            now = _stored_file(self.url, response.headers)
            if not _same(stored, now):
                response.close()
                raise gone(self._subject, self.url)
            download = _Download(self._files.loop, response, now, self._subject)
            return self._decoded(download, response.headers.get("Content-Encoding", ""))

    def _decoded(self, download: "_Download", encoding: str) -> BinaryIO:
        """The stream without the server's encoding of it. Raises InvalidSpec for one that was not asked for."""
        buffered = io.BufferedReader(download, BLOCK)
        match [part.strip().lower() for part in encoding.split(",") if part.strip()]:
            case [] | ["identity"]:
                return buffered
            case ["gzip"] | ["x-gzip"]:
                return io.BufferedReader(_Unpacked(buffered, self.url, self._subject), BLOCK)
        buffered.close()
        message = (
            f"{self._subject}: {self.url} answers with Content-Encoding: {encoding[:40]}, which was not asked for. "
        )
        raise InvalidSpec(message + "Configure the server to send the file as it is, or as gzip.", "WrongSpecification")

    def _translate(self, error: Exception) -> InvalidSpec | NotYet | None:
        remedy = ANONYMOUS if self._credentials is None else self._credentials.remedy
        return _meaning(self._subject, self.url, error, remedy)

    def _login(self, url: str) -> dict[str, str]:
        """The header with the credentials, for the URL's own origin; nothing for another."""
        if self._credentials is None or _origin(url) != _origin(self.url):
            return {}
        return {self._credentials.header: self._credentials.value}

    def _request(self, method: str, headers: Mapping[str, str]) -> Any:
        async def request() -> Any:
            if addresses.is_metadata(self._own):
                raise addresses.never(self._subject, self._own, self._own)
            session = await self._files.set_session()
            url = self.url
            for _ in range(_MOST_REDIRECTS + 1):
                sent = {**_HEADERS, **headers, **self._login(url)}
                response = await session.request(method, url, headers=sent, allow_redirects=False)
                if response.status not in _REDIRECTS:
                    response.raise_for_status()
                    if response.status != 200:  # part of the file, or none of it
                        response.close()
                        raise status(self._subject, self.url, response.status)
                    return response
                response.close()
                url = self._next(url, response.headers.get("Location", ""))
            message = (
                f"{self._subject}: {self.url} redirects more than {_MOST_REDIRECTS} times. Name the last URL in url."
            )
            raise InvalidSpec(message, "WrongSpecification")

        return sync(self._files.loop, request)

    def _next(self, url: str, location: str) -> str:
        """Where a redirect leads. Raises InvalidSpec where it must not be followed; its path and query stay unsaid."""
        target = urljoin(url, location)
        before, after = urlsplit(url), urlsplit(target)
        host = (after.hostname or "").lower()
        why = None
        if not location or after.scheme not in ("http", "https") or not host or "@" in after.netloc:
            why = "to what is no http(s) URL"
        elif before.scheme == "https" and after.scheme == "http":
            why = f"from https to http, at {host}, where the content could be changed on the way"
        elif host not in self._hosts:
            why = f"to another host, {host}. If that is right, add it to redirects.hosts"
        elif addresses.is_metadata(host) or (host != self._own and addresses.is_local(host)):
            why = f"to {host}, an address of this node or its link, which is never followed"
        if why is None:
            return target
        raise InvalidSpec(f"{self._subject}: {self.url} redirects {why}.", "WrongSpecification")

    def put(self, name: str, source: Path, *, exclusive: bool = False) -> str:
        """Not possible."""
        raise InvalidSpec(
            f"{self._subject}: {self.url} is read only; {name} cannot be written ({source}, {exclusive})."
        )

    def read(self, name: str) -> bytes | None:
        """Not possible."""
        raise InvalidSpec(f"{self._subject}: {self.url} is one file; there is no {name} beneath it.")

    def remove(self, name: str) -> None:
        """Not possible."""
        raise InvalidSpec(f"{self._subject}: {self.url} is read only; {name} cannot be removed.")


def _origin(url: str) -> tuple[str, str | None, int | None]:
    """Scheme, host and port (RFC 6454)."""
    parts = urlsplit(url)
    return parts.scheme, parts.hostname, parts.port or {"http": 80, "https": 443}.get(parts.scheme)


def _meaning(subject: str, url: str, error: Exception, remedy: str = "") -> InvalidSpec | NotYet | None:
    if isinstance(error, aiohttp.ClientResponseError) and isinstance(error.__cause__, HttpProcessingError):
        message = f"{subject}: the server of {url} sent an answer that is not valid HTTP."
        return NotYet(f"{message} Check the port and the scheme of the URL.", "Unreachable")
    if isinstance(error, aiohttp.ClientResponseError):
        return status(subject, url, error.status, remedy)
    local = addresses.refused(error)
    if isinstance(local, addresses.LocalAddress):
        message = f"{subject}: {url} leads to {local.host}, whose address {local.address} is of this node or its link. "
        return InvalidSpec(message + "Such addresses are connected to only where the URL itself names them.")
    if isinstance(error, aiohttp.ClientError) and not isinstance(error, TimeoutError):
        return unreachable(subject, url, url, error)
    return None


def _stored_file(url: str, headers: Mapping[str, str]) -> StoredFile:
    """The file that an answer is about. A header is bytes: those that are not UTF-8 are read as Latin-1."""
    mark = headers.get("ETag") or headers.get("Last-Modified") or f"{_UNMARKED} {headers.get('Date', '')}"
    if not mark.isascii():
        mark = mark.encode("utf-8", "surrogateescape").decode("latin-1")
    length = headers.get("Content-Length", "")
    return StoredFile(url, mark, int(length) if length.isascii() and length.isdigit() else -1)


def _same(before: StoredFile, now: StoredFile) -> bool:
    """Whether it may be the same version. An answer to HEAD may lack the size, and say its tag is weak."""
    sizes = before.size == now.size or -1 in (before.size, now.size)
    unmarked = before.etag.startswith(_UNMARKED) and now.etag.startswith(_UNMARKED)
    return sizes and (unmarked or before.etag.removeprefix("W/") == now.etag.removeprefix("W/"))


class _Download(io.RawIOBase):
    """The body of one response, in order. A body that ends early raises NotYet."""

    def __init__(self, loop: Any, response: Any, stored: StoredFile, subject: str) -> None:
        self._loop, self._response, self._file, self._subject = loop, response, stored, subject
        self._received = 0

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: Any) -> int:
        view = memoryview(buffer)
        with trouble(self._subject, self._file.url, self._translate):
            block = cast(bytes, sync(self._loop, self._fill, len(view)))
        self._received += len(block)
        if not block and 0 <= self._received < self._file.size:
            message = f"{self._subject}: {self._file.url} broke off after {self._received} of {self._file.size} bytes."
            raise NotYet(message, "Unreachable")
        view[: len(block)] = block
        return len(block)

    def _translate(self, error: Exception) -> InvalidSpec | NotYet | None:
        return _meaning(self._subject, self._file.url, error)

    async def _fill(self, wanted: int) -> bytes:
        parts, missing = [], wanted
        while missing and (part := await self._response.content.read(missing)):
            parts.append(part)
            missing -= len(part)
        return b"".join(parts)

    def close(self) -> None:
        self._response.close()
        super().close()


class _Unpacked(io.RawIOBase):
    """The content of a body that the server sends as gzip: all of its members.

    Raises InvalidSpec where it is none, is cut, or something else follows.
    """

    def __init__(self, packed: BinaryIO, url: str, subject: str) -> None:
        self._packed, self._url, self._subject = packed, url, subject
        self._member = zlib.decompressobj(_WITH_GZIP_HEADER)
        self._rest = b""

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: Any) -> int:
        view = memoryview(buffer)
        while True:
            block = self._rest or self._packed.read(1 << 16)
            if self._member.eof:
                block = block.lstrip(b"\0")  # padding
                self._rest = b""
                if block:  # another member, which belongs to the same content
                    self._member = zlib.decompressobj(_WITH_GZIP_HEADER)
                elif not (block := self._packed.read(1 << 16)):
                    return 0
                else:
                    self._rest = block
                    continue
            try:
                content = self._member.decompress(block, len(view))
            except zlib.error:
                raise self._wrong("is not gzip") from None
            self._rest = self._member.unused_data if self._member.eof else self._member.unconsumed_tail
            if content:
                view[: len(content)] = content
                return len(content)
            if not block:
                raise self._wrong("ends too early")

    def _wrong(self, what: str) -> InvalidSpec:
        message = f"{self._subject}: {self._url} was sent with Content-Encoding: gzip, and what was sent {what}."
        return InvalidSpec(f"{message} Configure the server to send the file as it is.", "WrongSpecification")

    def close(self) -> None:
        self._packed.close()
        super().close()
