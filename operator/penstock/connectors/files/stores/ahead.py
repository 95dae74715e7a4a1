"""Small files, read ahead: each costs a round trip or two, so many are asked for at once."""

import io
from collections import deque
from collections.abc import Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager

from penstock.connectors.files.stores.port import Open, Store, StoredFile

SMALL = 1 << 20
"""Bytes up to which a file is small."""
_AT_ONCE = 16
"""Files that are asked for and not yet taken."""


@contextmanager
def ahead(store: Store, files: Iterable[StoredFile]) -> Iterator[Iterator[Open]]:
    """What opens each of the files, in their order, when its content is here. Raises what `Store.open` does.

    The thread that asks is the one that waits. When it ends the block early, nobody waits for the others.
    """
    executor = ThreadPoolExecutor(_AT_ONCE, thread_name_prefix="ahead")
    try:
        yield _opened(executor, store, files)
    finally:
        executor.shutdown(wait=False, cancel_futures=True)


def _opened(executor: ThreadPoolExecutor, store: Store, files: Iterable[StoredFile]) -> Iterator[Open]:
    asked: deque[Future[bytes]] = deque()
    for stored in files:
        asked.append(executor.submit(_content, store, stored))
        if len(asked) == _AT_ONCE:
            yield _held(asked.popleft().result())
    while asked:
        yield _held(asked.popleft().result())


def _held(content: bytes) -> Open:
    return lambda _: io.BytesIO(content)


def _content(store: Store, stored: StoredFile) -> bytes:
    with store.open(stored) as stream:
        return stream.read()
