"""The little of a Kubernetes API client that a node needs: requests, errors, and a watch that never tires."""

import asyncio
import ssl
from collections.abc import AsyncIterator, Mapping
from dataclasses import dataclass
from typing import Self

import aiohttp
import orjson

from localkube.objects import Json

MERGE = "application/merge-patch+json"


@dataclass(frozen=True)
class Access:
    """Where an API server is and how to enter: `server` an https URL, `ca` PEM text (None: do not verify)."""

    server: str
    token: str
    ca: str | None = None

    def tls(self) -> ssl.SSLContext:
        """A client context that trusts exactly `ca`, or anything when there is none."""
        context = ssl.create_default_context(cadata=self.ca) if self.ca else ssl.create_default_context()
        if self.ca is None:
            context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
        return context


class ApiError(Exception):
    """An answer of 400 or above: `code`, and the message of its Status."""

    def __init__(self, code: int, message: str) -> None:
        super().__init__(f"{code}: {message}")
        self.code = code


class Client:
    """An open connection; use it as `async with Client(access) as api`."""

    def __init__(self, access: Access) -> None:
        self._access = access

    async def __aenter__(self) -> Self:
        self._session = aiohttp.ClientSession(
            self._access.server,
            connector=aiohttp.TCPConnector(ssl=self._access.tls()),
            headers={"Authorization": f"Bearer {self._access.token}"},
        )
        return self

    async def __aexit__(self, *_: object) -> None:
        await self._session.close()

    async def call(self, method: str, path: str, body: Json | None = None, content: str = "application/json") -> Json:
        """One request; the object that came back. Raises ApiError, or aiohttp.ClientError when nobody answers."""
        data = None if body is None else orjson.dumps(body)
        async with self._session.request(method, path, data=data, headers={"Content-Type": content}) as answer:
            text = await answer.read()
            if answer.status >= 400:
                raise ApiError(answer.status, _message(text))
            decoded: Json = orjson.loads(text)
            return decoded

    async def changes(self, path: str) -> AsyncIterator[tuple[str, Json]]:
        """List and watch `path` for ever: ("LISTED", list) first and after each loss of history, then the events."""
        version, pause = "", 0.1
        while True:
            try:
                if not version:
                    listed = await self.call("GET", path)
                    version = listed["metadata"]["resourceVersion"]
                    yield "LISTED", listed
                async for kind, item in self._events(path, version):
                    version, pause = item["metadata"]["resourceVersion"], 0.1
                    if kind != "BOOKMARK":
                        yield kind, item
            except ApiError as error:
                version = "" if error.code == 410 else version
            except (aiohttp.ClientError, TimeoutError, OSError):
                pause = min(pause * 2, 5.0)
            await asyncio.sleep(pause)

    async def _events(self, path: str, version: str) -> AsyncIterator[tuple[str, Json]]:
        query: Mapping[str, str] = {"watch": "true", "allowWatchBookmarks": "true", "resourceVersion": version}
        limit = aiohttp.ClientTimeout(total=None, sock_read=300)  # bookmarks come every minute: silence means broken
        async with self._session.get(path, params=query, timeout=limit) as answer:
            if answer.status >= 400:
                raise ApiError(answer.status, _message(await answer.read()))
            async for line in _lines(answer.content):
                event = orjson.loads(line)
                if event["type"] == "ERROR":
                    raise ApiError(event["object"].get("code", 500), event["object"].get("message", ""))
                yield event["type"], event["object"]


async def _lines(stream: aiohttp.StreamReader) -> AsyncIterator[bytes]:
    """Whole lines of any length: aiohttp's own readline stops at 128 KB, an object may have 1.5 MB."""
    rest = b""
    async for chunk in stream.iter_any():
        *whole, rest = (rest + chunk).split(b"\n")
        for line in whole:
            yield line


def _message(text: bytes) -> str:
    try:
        return str(orjson.loads(text).get("message", ""))
    except (orjson.JSONDecodeError, AttributeError):
        return text[:256].decode(errors="replace")
