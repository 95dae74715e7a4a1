"""Objects, their versions and their history: in memory for reading, in SQLite before anybody hears of a change.

One write is one SQLite transaction (WAL), finished before the change is visible or answered: after kill -9 the next
process goes on from exactly what was answered. (A power failure may lose the last moments, never consistency.)
The history for watches lives in memory only; who asks for an older version gets 410 and lists again.
"""

import asyncio
import sqlite3
from collections import defaultdict, deque
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import orjson

from localkube import errors
from localkube.objects import Json

_HISTORY = 2000  # events kept per resource

Key = tuple[str, str, str]
"""(resource such as jobs.batch, namespace or "", name)"""


@dataclass(frozen=True)
class Event:
    """One change: ADDED, MODIFIED or DELETED; `old` what was there before. Objects are shared: never change them."""

    version: int
    kind: str
    key: Key
    item: Json
    old: Json | None


class Store:
    """All objects of one embedded cluster; `version` is the newest resourceVersion."""

    def __init__(self, path: Path) -> None:
        self._database = sqlite3.connect(path, isolation_level=None, check_same_thread=False)
        self._database.execute("PRAGMA journal_mode=WAL")
        self._database.execute("PRAGMA synchronous=NORMAL")
        self._database.execute(
            "CREATE TABLE IF NOT EXISTS objects (resource TEXT, namespace TEXT, name TEXT, body BLOB, "
            "PRIMARY KEY (resource, namespace, name)) WITHOUT ROWID"
        )
        self._database.execute("CREATE TABLE IF NOT EXISTS counter (version INTEGER)")
        self._objects: dict[str, dict[tuple[str, str], Json]] = defaultdict(dict)
        for resource, namespace, name, body in self._database.execute("SELECT * FROM objects"):
            self._objects[resource][namespace, name] = orjson.loads(body)
        row = self._database.execute("SELECT version FROM counter").fetchone()
        if row is None:
            self._database.execute("INSERT INTO counter VALUES (1)")
        self.version: int = row[0] if row else 1
        self._oldest = self.version  # history before this is not known
        self._history: dict[str, deque[Event]] = defaultdict(lambda: deque(maxlen=_HISTORY))
        self._forgotten: dict[str, int] = {}
        self._waiting: dict[str, set[asyncio.Event]] = defaultdict(set)
        self.listeners: list[Callable[[Event], None]] = []

    def close(self) -> None:
        """No writes after this."""
        self._database.close()

    def get(self, key: Key) -> Json | None:
        """The object, shared: copy it before changing it."""
        return self._objects[key[0]].get(key[1:])

    def select(self, resource: str, namespace: str = "", version: int | None = None) -> list[Json]:
        """All of a resource, or of its one namespace, sorted by namespace and name; now, or as it was at a version.

        Refused with 410 when that version's history is not known (any more).
        """
        objects = self._objects[resource]
        if version is not None:
            objects = dict(objects)
            for event in reversed(self.since(resource, version)):
                objects.pop(event.key[1:], None)
                objects |= {} if event.old is None else {event.key[1:]: event.old}
        return [objects[key] for key in sorted(objects) if not namespace or key[0] == namespace]

    def everything(self) -> Iterator[tuple[Key, Json]]:
        """Every object there is."""
        for resource, objects in list(self._objects.items()):
            for (namespace, name), item in list(objects.items()):
                yield (resource, namespace, name), item

    def put(self, key: Key, item: Json) -> Json:
        """Store `item` under the next version, which is written into its metadata."""
        old = self.get(key)
        item["metadata"]["resourceVersion"] = str(self.version + 1)
        with self._next_version():
            self._database.execute("INSERT OR REPLACE INTO objects VALUES (?, ?, ?, ?)", (*key, orjson.dumps(item)))
        self._objects[key[0]][key[1:]] = item
        self._publish(Event(self.version, "ADDED" if old is None else "MODIFIED", key, item, old))
        return item

    def remove(self, key: Key) -> Json:
        """Delete it; the last state carries the version of the deletion. KeyError when it is not there."""
        old = self._objects[key[0]][key[1:]]
        item = old | {"metadata": old["metadata"] | {"resourceVersion": str(self.version + 1)}}
        with self._next_version():
            self._database.execute("DELETE FROM objects WHERE (resource, namespace, name) = (?, ?, ?)", key)
        del self._objects[key[0]][key[1:]]
        self._publish(Event(self.version, "DELETED", key, item, old))
        return item

    def since(self, resource: str, version: int) -> list[Event]:
        """What happened to a resource after `version`. Refused with 410 when that is not known (any more)."""
        known_from = max(self._oldest, self._forgotten.get(resource, 0))
        if not known_from <= version <= self.version:
            raise errors.gone(f"too old resource version: {version} ({known_from})")
        return [event for event in self._history[resource] if event.version > version]

    async def changed(self, resource: str, version: int, seconds: float) -> bool:
        """Wait until the resource has something newer than `version`; False when `seconds` have passed."""
        history = self._history[resource]
        if history and history[-1].version > version:
            return True
        signal = asyncio.Event()
        self._waiting[resource].add(signal)
        try:
            await asyncio.wait_for(signal.wait(), seconds)
        except TimeoutError:
            return False
        finally:
            self._waiting[resource].discard(signal)
        return True

    @contextmanager
    def _next_version(self) -> Iterator[None]:
        """The counter moves with the object, in memory only once it has moved on disk."""
        self._database.execute("BEGIN IMMEDIATE")
        try:
            self._database.execute("UPDATE counter SET version = ?", (self.version + 1,))
            yield
        except BaseException:
            self._database.execute("ROLLBACK")
            raise
        self._database.execute("COMMIT")
        self.version += 1

    def _publish(self, event: Event) -> None:
        history = self._history[event.key[0]]
        if len(history) == _HISTORY:
            self._forgotten[event.key[0]] = history[0].version
        history.append(event)
        for signal in self._waiting[event.key[0]]:
            signal.set()
        for listener in self.listeners:
            listener(event)
