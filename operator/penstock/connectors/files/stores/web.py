"""One file on a web server."""

import io
from collections.abc import Mapping
from pathlib import Path
from typing import Any, BinaryIO, cast

import aiohttp
import fsspec
from fsspec.asyn import sync

from penstock.connectors.files.stores.port import BLOCK, Found, gone, status, trouble, unreachable
from penstock.language.errors import InvalidSpec, NotYet

_HEADERS = {"Accept-Encoding": "identity"}  # what a server would compress on the way has no size to check against


class Web:
    """One file on a web server; read only."""

    def __init__(self, url: str, subject: str) -> None:
        self.url, self._subject = url, subject
        timeout = aiohttp.ClientTimeout(total=None, sock_connect=15, sock_read=60)
        self._files: Any = fsspec.filesystem("http", skip_instance_cache=True, client_kwargs={"timeout": timeout})

    def find(self, pattern: str | None) -> list[Found]:
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
        return [_found(self.url, response.headers)]

    def open(self, found: Found) -> BinaryIO:
        """The content as one stream, or InvalidSpec when it is no longer what was found."""
        condition = {"If-Match": found.etag} if found.etag.startswith('"') else {}  # not for weak or missing tags
        with trouble(self._subject, self.url, self._translate):
            response = self._request("GET", condition)
            if _found(self.url, response.headers) != found:
                response.close()
                raise gone(self._subject, self.url)
        return io.BufferedReader(_Download(self._files.loop, response, found, self._subject), BLOCK)

    def _translate(self, error: Exception) -> InvalidSpec | NotYet | None:
        return _meaning(self._subject, self.url, error)

    def _request(self, method: str, headers: Mapping[str, str]) -> Any:
        async def request() -> Any:
            session = await self._files.set_session()
            response = await session.request(method, self.url, headers={**_HEADERS, **headers})
            response.raise_for_status()
            return response

        return sync(self._files.loop, request)

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


def _meaning(subject: str, url: str, error: Exception) -> InvalidSpec | NotYet | None:
    if isinstance(error, aiohttp.ClientResponseError):
        return status(subject, url, error.status)
    if isinstance(error, aiohttp.ClientError) and not isinstance(error, TimeoutError):
        return unreachable(subject, url, url, error)
    return None


def _found(url: str, headers: Mapping[str, str]) -> Found:
    mark = headers.get("ETag") or headers.get("Last-Modified") or "unmarked"
    return Found(url, mark, int(headers.get("Content-Length", -1)))


class _Download(io.RawIOBase):
    """The body of one response, in order. A body that ends early raises NotYet."""

    def __init__(self, loop: Any, response: Any, found: Found, subject: str) -> None:
        self._loop, self._response, self._found, self._subject = loop, response, found, subject
        self._received = 0

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: Any) -> int:
        view = memoryview(buffer)
        with trouble(self._subject, self._found.url, self._translate):
            block = cast(bytes, sync(self._loop, self._fill, len(view)))
        self._received += len(block)
        if not block and 0 <= self._received < self._found.size:
            message = (
                f"{self._subject}: {self._found.url} broke off after {self._received} of {self._found.size} bytes."
            )
            raise NotYet(message, "Unreachable")
        view[: len(block)] = block
        return len(block)

    def _translate(self, error: Exception) -> InvalidSpec | NotYet | None:
        return _meaning(self._subject, self._found.url, error)

    async def _fill(self, wanted: int) -> bytes:
        parts, missing = [], wanted
        while missing and (part := await self._response.content.read(missing)):
            parts.append(part)
            missing -= len(part)
        return b"".join(parts)

    def close(self) -> None:
        self._response.close()
        super().close()
