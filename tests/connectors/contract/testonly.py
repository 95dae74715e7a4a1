"""Sources for tests alone, which hold the ports honest: each reads a file of JSON that stands for a server.

They take the place of `files` in a worker's connectors: an order names `files`, and the URL names the server's folder.

- `ReadOnce`: rows that can be read once and in order; only the end of reading tells the state.
- `ChangeStream`: one log of changes of several tables, one slot, which moves when all Datasets have committed.
- `PushSpool`: what was pushed lies in a spool; each push is an input, and leaves the spool when it is acknowledged.
"""

import json
import os
from collections.abc import Generator, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pyarrow as pa

from penstock.runs.order import SourceOrder
from penstock.worker.pod import Pod
from penstock.worker.ports.chunks import Chunk, Columns, Lines
from penstock.worker.ports.source import (
    CursorRequest,
    Input,
    Json,
    OpenReader,
    Plan,
    Reader,
    Stream,
    StreamField,
    StreamRequest,
    Work,
)

COLUMNS = ("id", "word")
SERVER = "server.json"


class TestOnlySource:
    """What the three have in common: a server whose state is one JSON object."""

    __test__ = False
    ordered = True

    def __init__(self, order: SourceOrder, pod: Pod) -> None:
        path = pod.path(order.connector.spec.location.removeprefix("file://"))
        self.file: Path = path / SERVER
        self.requests: Mapping[str, StreamRequest] = {}

    @property
    def server(self) -> dict[str, Any]:
        """What the server has now."""
        content: dict[str, Any] = json.loads(self.file.read_text(encoding="utf-8"))
        return content

    def save(self, content: dict[str, Any]) -> None:
        """Change the server's state as a whole: a worker that is killed meanwhile must not leave half of it."""
        new = self.file.with_suffix(f".{os.getpid()}")
        new.write_text(json.dumps(content), encoding="utf-8")
        new.replace(self.file)

    def check(self) -> None:
        """The server is always there."""

    def discover(self) -> Iterable[Stream]:
        """The streams, whose columns are always the same."""
        fields = tuple(StreamField(name, "string") for name in COLUMNS)
        return [Stream(name, fields) for name in self.server["streams"]]

    @contextmanager
    def session(self, requests: Sequence[StreamRequest]) -> Iterator["TestOnlySource"]:
        """Itself: there is nothing to open."""
        self.requests = {request.stream: request for request in requests}
        yield self

    def acknowledge(self, states: Mapping[str, Json]) -> None:
        """Nothing to forget."""


def chunk(rows: Sequence[Mapping[str, Any]], names: Sequence[str], first: int) -> Chunk:
    """Rows as a chunk; those with `deleted` say that a row has gone."""
    columns = {f"c{index}": pa.array([row.get(name) for row in rows], pa.string()) for index, name in enumerate(names)}
    deleted = pa.array([bool(row.get("deleted")) for row in rows], pa.bool_())
    keys = pa.array([str(row.get("id")) for row in rows], pa.string())
    return Chunk(pa.table(columns), len(rows), Lines(first), keys=keys, deleted=deleted)


def reader(batches: Iterable[Sequence[Mapping[str, Any]]], **more: Any) -> Reader:
    """A reader of these batches."""

    def works(names: Sequence[str]) -> Iterator[Work]:
        first = 1
        for rows in batches:
            yield lambda _, rows=rows, first=first: chunk(rows, names, first)  # type: ignore[misc]
            first += len(rows)

    return Reader(Columns(COLUMNS, ("VARCHAR",) * len(COLUMNS)), works, **more)


class ReadOnce(TestOnlySource):
    """Rows after the state's position; the new position is known when all have been read."""

    def plan(self, stream: str, cursor: CursorRequest | None = None) -> Plan:
        """One input without a version: it is never the same as another."""
        del cursor
        return Plan((Input(f"once/{stream}", "", ({},)),))

    def readers(self, stream: str, parts: Sequence[Json]) -> Generator[OpenReader, None, None]:
        """The one part, from the position of the state on."""
        for _ in parts:
            begin = self.requests[stream].state or 0
            rest = _Rest(self.server["streams"][stream][begin:], begin)
            yield lambda rest=rest: reader(rest.batches(), state=lambda: rest.position)  # type: ignore[misc]


@dataclass
class _Rest:
    """Rows that are read once; `position` is that after the newest batch."""

    rows: list[dict[str, Any]]
    position: int

    def batches(self) -> Iterator[list[dict[str, Any]]]:
        """The rows, ten at a time."""
        for start in range(0, len(self.rows), 10):
            batch = self.rows[start : start + 10]
            self.position += len(batch)
            yield batch


class ChangeStream(TestOnlySource):
    """One log of (stream, row) for all tables; the state is a position in it."""

    def plan(self, stream: str, cursor: CursorRequest | None = None) -> Plan:
        """Everything up to the end of the log as it is now, which is the next state."""
        del cursor
        end = len(self.server["log"])
        begin = self.requests[stream].state or 0
        inputs = (Input(f"changes/{stream}", "", ({"from": begin, "to": end},)),) if end > begin else ()
        return Plan(inputs, end)

    def readers(self, stream: str, parts: Sequence[Json]) -> Generator[OpenReader, None, None]:
        """The changes of one table. Raises ValueError for what the slot has passed."""
        for part in parts:
            content = self.server
            if part["from"] < content["slot"]:
                raise ValueError("the slot has passed what was asked for")
            rows = [row for name, row in content["log"][part["from"] : part["to"]] if name == stream]
            yield lambda rows=rows: reader([rows])  # type: ignore[misc]

    def acknowledge(self, states: Mapping[str, Json]) -> None:
        """Move the slot to what all have committed."""
        content = self.server
        content["slot"] = max(content["slot"], min(states.values(), default=0))
        content["acknowledged"] = content.get("acknowledged", 0) + 1
        self.save(content)


class PushSpool(TestOnlySource):
    """Pushes by their ids; the state is the newest id that has been committed."""

    def plan(self, stream: str, cursor: CursorRequest | None = None) -> Plan:
        """A push is an input, and its id is its version."""
        del cursor
        pushes = self.server["spool"][stream]
        newest = max((int(number) for number in pushes), default=self.requests[stream].state or 0)
        return Plan(tuple(Input(f"push/{stream}/{number}", number, (number,)) for number in pushes), newest)

    def readers(self, stream: str, parts: Sequence[Json]) -> Generator[OpenReader, None, None]:
        """The rows of each push."""
        for number in parts:
            rows = self.server["spool"][stream][number]
            yield lambda rows=rows: reader([rows])  # type: ignore[misc]

    def acknowledge(self, states: Mapping[str, Json]) -> None:
        """Remove what is committed from the spool."""
        content = self.server
        for stream, state in states.items():
            pushes = content["spool"][stream]
            content["spool"][stream] = {number: rows for number, rows in pushes.items() if int(number) > state}
        self.save(content)
