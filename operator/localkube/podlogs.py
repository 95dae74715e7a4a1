"""What `kubectl logs` reads: the log file in a Pod's folder."""

import asyncio
from collections.abc import AsyncIterator, Mapping
from pathlib import Path

from localkube import podprocess

_SUPPORTED = {"follow", "tailLines", "limitBytes", "insecureSkipTLSVerifyBackend", "container", "pretty"}
_POLL = 0.1  # seconds between two looks at a growing log
_CHUNK = 1 << 16


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
