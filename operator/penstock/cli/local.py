"""A cluster on this machine: the embedded API and the operator in one process, workers as processes beside it."""

import asyncio
import logging
import os
import signal
import tempfile
from collections.abc import AsyncIterator, Callable, Coroutine, Iterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from penstock.api import crds
from penstock.language import visible
from penstock.language.errors import InvalidSpec, PenstockError

WORKER_IMAGE = "penstock-worker:dev"
"""The one image that the local node runs: our own program."""


@dataclass(frozen=True)
class Local:
    """A running one. `folder` holds all its state; claims are folders in `volumes`."""

    folder: Path
    url: str
    kubeconfig: Path

    @property
    def volumes(self) -> Path:
        """Where claims lie, as <namespace>/<claim>."""
        return self.folder / "node" / "volumes"

    @property
    def pods(self) -> Path:
        """Where Pods lie, as <namespace>_<name>_<uid>."""
        return self.folder / "node" / "pods"


def run(folder: Path, play: Callable[[Local], Coroutine[Any, Any, None]], *, backoff: float = 10.0) -> bool:
    """Run the cluster of `folder` until `play` has ended, or Ctrl-C; everything that was started has ended then.

    Returns whether `play` came to its own end.

    `backoff` is how long a Job waits before its second attempt, in seconds. Raises `InvalidSpec` if the cluster of the
    folder is running already, its path cannot be
    used, or the folder cannot be made or written.
    """
    folder = folder.resolve()
    _require_usable(folder)
    try:
        folder.mkdir(parents=True, exist_ok=True, mode=0o700)
        folder.chmod(0o700)
        log = folder / "operator.log"
        log.touch(mode=0o600)
        log.chmod(0o600)
        handler = logging.FileHandler(log, encoding="utf-8")
        handler.setFormatter(visible.Formatter("%(asctime)s %(levelname)s %(name)s: %(message)s"))
        logging.basicConfig(level=logging.INFO, handlers=[handler])
        with tempfile.TemporaryFile(dir=folder):  # the log may be ours in a folder that is not
            pass
    except OSError as error:
        raise InvalidSpec(f"{folder} cannot be written: {error.strerror}. Choose another --folder.") from error
    try:
        return asyncio.run(_until_over(folder, play, backoff))
    except KeyboardInterrupt:
        return False
    except BaseExceptionGroup as group:
        raise _first(group) from group
    except RuntimeError as error:
        if "already running" not in str(error):
            raise
        raise InvalidSpec(f"{error}. Stop it, or choose another --folder.") from error


def _require_usable(folder: Path) -> None:
    """Raise `InvalidSpec` for a path that KUBECONFIG or a file of text cannot hold."""
    written = str(folder)
    if os.pathsep in written:
        raise InvalidSpec(
            f'{written} has a "{os.pathsep}", which separates paths in KUBECONFIG. Choose another --folder.'
        )
    if visible.line(written) != written:
        raise InvalidSpec(f"{visible.line(written)} has characters that cannot be printed. Choose another --folder.")


def _first(group: BaseExceptionGroup) -> BaseException:
    """What went wrong first in tasks that ran side by side: an error for the user before any other."""
    errors = [*_leaves(group)]
    return next((error for error in errors if isinstance(error, PenstockError)), errors[0])


def _leaves(group: BaseExceptionGroup) -> Iterator[BaseException]:
    for error in group.exceptions:
        if isinstance(error, BaseExceptionGroup):
            yield from _leaves(error)
        else:
            yield error


async def _until_over(folder: Path, play: Callable[[Local], Coroutine[Any, Any, None]], backoff: float) -> bool:
    async with _running(folder, backoff) as (local, operator):
        playing = asyncio.create_task(play(local))
        # kopf has taken the signals, and would wait 5 s for tasks that are not its own. So: what is played ends first.
        for signum in (signal.SIGINT, signal.SIGTERM):
            asyncio.get_running_loop().add_signal_handler(signum, playing.cancel)
        await asyncio.wait({playing, operator}, return_when=asyncio.FIRST_COMPLETED)
        if not playing.done():
            playing.cancel()
            await asyncio.wait({playing})
        if operator.done() and not operator.cancelled() and operator.exception() is not None:
            operator.result()
        if playing.cancelled():
            return False
        playing.result()
        return True


@asynccontextmanager
async def _running(folder: Path, backoff: float) -> AsyncIterator[tuple[Local, asyncio.Task[None]]]:
    from localkube import cluster
    from penstock.control import handlers
    from penstock.control.settings import Settings

    crds.write(folder / "crds")
    async with cluster.running(folder, worker_image=WORKER_IMAGE, crds=folder / "crds", backoff=backoff) as started:
        ready = asyncio.Event()
        settings = Settings(worker_image=WORKER_IMAGE)
        connection = handlers.Connection(started.kubeconfig)
        operator = asyncio.create_task(handlers.operate(settings, connection, ready))
        watching = asyncio.create_task(ready.wait())
        await asyncio.wait({operator, watching}, return_when=asyncio.FIRST_COMPLETED)
        watching.cancel()
        try:
            yield Local(folder, started.url, started.kubeconfig), operator
        finally:
            operator.cancel()
            await asyncio.wait({operator})
