"""A Pod's process: started in a group of its own, ended whole, and accounted for after a kill -9 of whoever started it.

<folder>/log        standard output and error
<folder>/started    process id, its start time in kernel ticks, and wall time; so that a successor ends the right one
<folder>/ended      exit code and wall time, on disk before the API hears of it
"""

import asyncio
import contextlib
import ctypes
import os
import signal
import sys
from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass
from pathlib import Path

import orjson

from localkube import objects
from localkube.podfolder import Command

_PR_SET_PDEATHSIG = 1  # prctl(2): the kernel kills a child whose parent dies, however it dies
_LIBC = ctypes.CDLL(None) if sys.platform == "linux" else None
_LOST = 137  # what a kubelet reports for a container it cannot find any more


@dataclass(frozen=True)
class Ending:
    """How a process ended; `lost` when nobody saw it."""

    code: int
    started: str
    finished: str
    lost: bool = False


@contextlib.asynccontextmanager
async def running(command: Command, folder: Path) -> AsyncIterator[asyncio.subprocess.Process]:
    """The started process; it and its group have ended on exit, also when the task is cancelled at any point.

    Raises OSError when the program cannot be started.
    """
    # Shielded: a cancellation in the middle of the start would leave us without the process to end.
    starting = asyncio.ensure_future(_start(command, folder))
    try:
        process = await asyncio.shield(starting)
    except asyncio.CancelledError:
        await asyncio.wait({starting})
        if starting.exception() is None:
            await _end(starting.result())
        raise
    try:
        _save(folder / "started", {"pid": process.pid, "ticks": _ticks(process.pid), "at": objects.now()})
        yield process
    finally:
        await _end(process)


async def _start(command: Command, folder: Path) -> asyncio.subprocess.Process:
    parent = os.getpid()

    def die_with_parent() -> None:
        if _LIBC is not None:
            _LIBC.prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)
            if os.getppid() != parent:
                os._exit(_LOST)

    with (folder / "log").open("ab") as log:
        return await asyncio.create_subprocess_exec(
            *command.arguments,
            env=command.environment,
            cwd=command.folder,
            stdin=asyncio.subprocess.DEVNULL,
            stdout=log,
            stderr=log,
            start_new_session=True,
            preexec_fn=die_with_parent,
        )


async def _end(process: asyncio.subprocess.Process) -> int:
    """Kill what is left of the process and its group; its exit code."""
    _kill_group(process.pid)  # as a container ends with its first process
    return await process.wait()


async def wait(
    process: asyncio.subprocess.Process, leaving: asyncio.Event, grace: Callable[[], float], folder: Path
) -> None:
    """Wait for the end; once `leaving` is set: SIGTERM, and SIGKILL after `grace()` seconds."""
    exited, asked = asyncio.ensure_future(process.wait()), asyncio.ensure_future(leaving.wait())
    try:
        await asyncio.wait({exited, asked}, return_when=asyncio.FIRST_COMPLETED)
        if not exited.done():
            with contextlib.suppress(ProcessLookupError):
                process.terminate()
            await asyncio.wait({exited}, timeout=grace())
    finally:
        asked.cancel()
        exited.cancel()
    code = await _end(process)
    _save(folder / "ended", {"code": code if code >= 0 else 128 - code, "at": objects.now()})


def has_started(folder: Path) -> bool:
    """Whether a process of this Pod was ever started."""
    return (folder / "started").exists()


def is_running(folder: Path) -> bool:
    """Whether the process has started and its end was not seen."""
    return has_started(folder) and not (folder / "ended").exists()


def ending(folder: Path) -> Ending:
    """How the Pod's process ended; 137 when its end was not seen because the runner died first."""
    started = orjson.loads((folder / "started").read_bytes())["at"]
    if not (folder / "ended").exists():
        return Ending(_LOST, started, objects.now(), lost=True)
    seen = orjson.loads((folder / "ended").read_bytes())
    return Ending(seen["code"], started, seen["at"])


def kill_leftover(folder: Path) -> None:
    """End what an earlier runner started here, if it is still the same process; also its group."""
    if is_running(folder):
        record = orjson.loads((folder / "started").read_bytes())
        if _ticks(record["pid"]) in (record["ticks"], None):  # None: the leader is gone, its group may not be
            _kill_group(record["pid"])


def _kill_group(leader: int) -> None:
    with contextlib.suppress(ProcessLookupError, PermissionError):
        os.killpg(leader, signal.SIGKILL)


def _ticks(pid: int) -> int | None:
    """Start time of a process since boot, field 22 of /proc/<pid>/stat; None when it is gone (or there is no /proc)."""
    try:
        return int(Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[19])
    except (OSError, IndexError):
        return None


def _save(path: Path, content: dict[str, object]) -> None:
    temporary = path.with_suffix(".new")
    temporary.write_bytes(orjson.dumps(content))
    temporary.replace(path)
