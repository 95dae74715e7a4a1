"""A thread with an event loop of its own: for what must continue while the work loop is busy or blocked."""

import asyncio
import concurrent.futures
import threading
from collections.abc import Callable, Coroutine, Iterator
from contextlib import contextmanager
from typing import Any, TypeVar

T = TypeVar("T")
END_SECONDS = 10.0
"""How long the end of such a thread is waited for; then it is left to the end of the process."""


class LoopThread:
    """An event loop that runs in its own thread."""

    def __init__(self, loop: asyncio.AbstractEventLoop) -> None:
        self._loop = loop

    def submit(self, work: Coroutine[Any, Any, T]) -> "concurrent.futures.Future[T]":
        """Run `work` in the thread; the future has its result or its error."""
        return asyncio.run_coroutine_threadsafe(work, self._loop)

    def call_soon(self, act: Callable[[], object]) -> None:
        """Call `act` in the thread."""
        self._loop.call_soon_threadsafe(act)


@contextmanager
def running(name: str) -> Iterator[LoopThread]:
    """Start the thread `name` and end it with the context; what still runs in it then is cancelled."""
    loop = asyncio.new_event_loop()
    thread = threading.Thread(target=_run, args=(loop,), name=name, daemon=True)
    thread.start()
    try:
        yield LoopThread(loop)
    finally:
        loop.call_soon_threadsafe(loop.stop)
        thread.join(END_SECONDS)


def _run(loop: asyncio.AbstractEventLoop) -> None:
    asyncio.set_event_loop(loop)
    try:
        loop.run_forever()
        unfinished = asyncio.all_tasks(loop)
        for task in unfinished:
            task.cancel()
        if unfinished:
            loop.run_until_complete(asyncio.wait(unfinished, timeout=END_SECONDS))
        loop.run_until_complete(loop.shutdown_asyncgens())
    finally:
        loop.close()
