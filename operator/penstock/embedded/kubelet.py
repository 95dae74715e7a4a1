"""What `kubectl logs` reads: a Pod's log file, and the kubelet's HTTPS endpoint for API servers that proxy to it."""

import asyncio
import ssl
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import asynccontextmanager
from pathlib import Path

import trustme
from aiohttp import web

from penstock.embedded import podprocess

_SUPPORTED = {"follow", "tailLines", "limitBytes", "insecureSkipTLSVerifyBackend", "container", "pretty"}
_POLL = 0.1  # seconds between two looks at a growing log
_CHUNK = 1 << 16

Find = Callable[[str, str], Path | None]
"""(namespace, Pod name) -> the folder of a Pod that has started."""


def unsupported(query: Mapping[str, str]) -> str | None:
    """The first log option that cannot be served, else None."""
    asked = sorted(key for key in query.keys() - _SUPPORTED if query[key] not in ("", "false"))
    return f"log option {asked[0]} is not supported by penstock's local node" if asked else None


async def read_log(folder: Path, query: Mapping[str, str]) -> AsyncIterator[bytes]:
    """The log's bytes; with follow=true until the process has ended."""
    follow, limit = query.get("follow") == "true", int(query.get("limitBytes", 1 << 62))
    with (folder / "log").open("rb") as log:
        if "tailLines" in query:
            log.seek(_start_of_tail(folder / "log", int(query["tailLines"])))
        while limit > 0:
            over = not podprocess.is_running(folder)  # looked at first: nothing is written after it
            if chunk := log.read(min(_CHUNK, limit)):
                limit -= len(chunk)
                yield chunk
            elif over or not follow:
                return
            else:
                await asyncio.sleep(_POLL)


def _start_of_tail(path: Path, lines: int) -> int:
    text = path.read_bytes()
    position = len(text) - text.endswith(b"\n")
    for _ in range(lines):
        if position < 0:
            return 0
        position = text.rfind(b"\n", 0, position) if position else -1
    return len(text) if lines == 0 else position + 1


@asynccontextmanager
async def serving(find: Find) -> AsyncIterator[int]:
    """Serve /containerLogs/ on a free loopback port, self-signed and to anyone there; yields the port."""

    async def logs(request: web.Request) -> web.StreamResponse:
        folder = find(request.match_info["namespace"], request.match_info["pod"])
        if folder is None:
            raise web.HTTPBadRequest(text=f'container in pod "{request.match_info["pod"]}" is waiting to start')
        if refused := unsupported(request.query):
            raise web.HTTPBadRequest(text=refused)
        answer = web.StreamResponse(headers={"Content-Type": "text/plain"})
        await answer.prepare(request)
        async for chunk in read_log(folder, request.query):
            await answer.write(chunk)
        return answer

    app = web.Application()
    app.router.add_get("/containerLogs/{namespace}/{pod}/{container}", logs)
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    trustme.CA().issue_cert("127.0.0.1").configure_cert(context)
    runner = web.AppRunner(app, handler_cancellation=True)
    await runner.setup()
    site = web.TCPSite(runner, "127.0.0.1", 0, ssl_context=context, shutdown_timeout=0.5)
    await site.start()
    try:
        yield runner.addresses[0][1]
    finally:
        await runner.cleanup()
