"""What the worker asks of a system that data comes from.

One Session reads several streams of one Source together: one snapshot, one replication slot, one process. The worker
calls, in this order: `Source.session`, then for each Dataset `Session.plan` (unless a plan is recorded) and
`Session.readers`, and after the commits `Session.acknowledge`.
"""

from collections.abc import Callable, Generator, Iterable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass, field
from typing import Any, Literal, Protocol, Self

import duckdb

from penstock.runs.order import SourceOrder
from penstock.worker.pod import Pod
from penstock.worker.ports.chunks import Chunk, Columns

Json = Any
"""What `json.dumps` takes. Parts and states are opaque to the worker: it records them and hands them back."""
Connection = duckdb.DuckDBPyConnection

Sync = Literal["full", "incremental"]


@dataclass(frozen=True)
class StreamField:
    """A column of a stream; `type` is a type of a Dataset's schema, or the system's own word where none fits."""

    name: str
    type: str


@dataclass(frozen=True)
class Stream:
    """What can be read of a Source under one name."""

    name: str
    fields: tuple[StreamField, ...]
    key: tuple[str, ...] = ()
    """The primary key, where the system knows one."""
    inputs: int | None = None
    """How many inputs it has now, such as files."""
    bytes: int | None = None


@dataclass(frozen=True)
class StreamRequest:
    """A stream that a session is to read."""

    stream: str
    sync: Sync = "full"
    state: Json = None
    """The state that the last commit left; None before the first."""


@dataclass(frozen=True)
class CursorRequest:
    """How a stream is to be read by a cursor: a column whose values grow.

    `append` says that a row that is read twice would be in the table twice. `lookback` is a duration or a whole number,
    `delay` a duration. `state` is what the last commit left, None before the first.
    """

    column: str
    append: bool
    lookback: str | None = None
    delay: str | None = None
    state: Json = None


@dataclass(frozen=True)
class Input:
    """A version of something that is read as a whole: a file, a table, a slice of a change stream.

    `name` stays the same over versions: a later version replaces the rows of an earlier one, and an unchanged version
    is not read again (incremental). An input with `version` "" is always read and replaces nothing.
    """

    name: str
    version: str
    parts: tuple[Json, ...]
    """What `Session.readers` takes: one part for what is read at once, several for what processes may share."""
    size: int = -1
    """Bytes at the source; -1 where they are not known."""


@dataclass(frozen=True)
class Plan:
    """What a stream has to be read."""

    inputs: tuple[Input, ...]
    state: Json = None
    """The state after this run, where it is known before reading; else the last Reader tells it."""


Work = Callable[[Connection], Chunk]
"""Yields one chunk. Any thread may do it, once; the DuckDB connection belongs to that thread."""


@dataclass
class Reader:
    """A part being read.

    First `columns` are known. Then `works` is called once, with the names of the columns that are needed, in the order
    that the chunk's columns c0, c1, … are to have. The works are taken in order by one thread, and may be done in any
    order by several.
    """

    columns: Columns
    works: Callable[[Sequence[str]], Iterator[Work]]
    close: Callable[[], None] = lambda: None
    most_rows: Callable[[], int | None] = lambda: None
    """How many rows it has at most, by what has been read of it so far; None where that is not known.

    Rows to come that are surely bad need not be among them: a run ends early when those that may be good are too few.
    It is called from several threads, also after the end of reading.
    """
    bytes_read: Callable[[], int] = lambda: 0
    """How many bytes of the part have been read at the source so far; for progress."""
    state: Callable[[], Json] = field(default=lambda: None)
    """The state after the last work was done, where only reading tells it; else None."""
    ignored: Callable[[], int] = lambda: 0
    """How many rows are left out and count as ignored, such as those without a cursor value. Called after reading."""

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


OpenReader = Callable[[], Reader]
"""Opens one part; the thread that calls it reads its columns. Raises what `Session.readers` says."""


class Session(Protocol):
    """Streams being read together. Every method raises InvalidSpec or NotYet."""

    ordered: bool
    """Whether parts must be read one after the other, each to its end: a connection or pipe of which there is one."""

    def plan(self, stream: str, cursor: CursorRequest | None = None) -> Plan:
        """What there is to read of the stream now. Raises InvalidSpec (ResourceNotFound) where there is no such stream.

        With a cursor, what is new since its state; only Sources whose traits say `cursors` are given one.

        The worker leaves out what has not changed and records the rest before anything is read.
        """

    def readers(self, stream: str, parts: Sequence[Json]) -> Generator[OpenReader, None, None]:
        """What opens each part, in order. A Source may fetch ahead what is small; closing the generator ends that.

        Opening or reading raises InvalidSpec (WrongSpecification) for an input that cannot be read: it alone is set
        aside, and the others are loaded. Any other error fails the Dataset's run.
        """

    def acknowledge(self, states: Mapping[str, Json]) -> None:
        """All Datasets have committed these states, by stream: what lies before them may go. Must bear repetition."""


class Source(Protocol):
    """A system that data comes from. Made as `Implementation(order, pod)`; raises InvalidSpec (SecretMissing) then."""

    def __init__(self, order: SourceOrder, pod: Pod) -> None: ...

    def check(self) -> None:
        """Raise InvalidSpec or NotYet with a typed reason unless the Source can be read."""

    def discover(self) -> Iterable[Stream]:
        """The streams there are, with their columns."""

    def session(self, requests: Sequence[StreamRequest]) -> AbstractContextManager[Session]:
        """Read these streams together until the block ends."""
