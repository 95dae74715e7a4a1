"""Parts of inputs: where their rows go, and judging them with those of others."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property
from itertools import groupby
from threading import Lock

import pyarrow as pa
import pyarrow.compute as pc

from penstock.worker.planning import PlannedInput
from penstock.worker.ports.chunks import Chunk, Columns
from penstock.worker.ports.source import Work
from penstock.worker.ports.tablestore import Writer
from penstock.worker.rows import portions, quality, recording, shape
from penstock.worker.rows.pool import Asked, Pool
from penstock.worker.rows.recording import Judged, Recorder

Parsed = tuple["InputPart", Chunk]
"""A chunk, and where its rows go."""


@dataclass(frozen=True)
class InputPart:
    """Where the rows of a part of an input go."""

    pool: Pool
    recorder: Recorder
    planned: PlannedInput
    there: Columns
    writer: Writer
    names: "Names"

    @cached_property
    def _asked(self) -> Asked:
        return self.pool.asked(self.there, self.planned.name)

    @property
    def ask(self) -> quality.Questions:
        """What the rows are asked."""
        return self._asked[1]

    @property
    def columns(self) -> tuple[str, ...]:
        """The columns that its chunks are to have; an input without columns has no rows, and needs none."""
        return self._asked[0].columns if self.there.names or self.there.open else ()

    def parsed(self, parse: Work) -> Chunk:
        """The chunk of one block. Rows that say that others were deleted are counted as ignored, and left out."""
        chunk = parse(self.pool.judge.connection)
        self.names.add(chunk)
        if chunk.deleted is None:
            return chunk
        kept = pc.indices_nonzero(pc.invert(chunk.deleted))
        self.recorder.accounts[self.planned.id].add(0, 0, 0, chunk.table.num_rows - len(kept))
        keys = None if chunk.keys is None else chunk.keys.take(kept)
        lines = _Subset(chunk, kept.to_pylist())
        return replace(chunk, table=chunk.table.take(kept), lines=lines, missing=(), keys=keys, deleted=None)

    def require_names(self) -> None:
        """Raise InvalidSpec (WrongSpecification) where none of the rows so far has a key that a field needs."""
        if self.names.absent:
            shape.require_names(self._asked[0], self.names.absent, self.names.seen, self.planned.name)

    def settle(self, chunk: Chunk) -> None:
        """Judge, write and count a chunk's rows; in parts, where expressions may make much text of them.

        The first part has as few rows as surely fit. A part that went well is followed by a larger one; one that took
        too much memory is judged again as smaller ones.
        """
        judge, total = self.pool.judge, chunk.table.num_rows
        fewest = self.ask.rows_at_once
        start, rows = 0, fewest or total
        while True:
            rows = max(1, min(rows, total - start))
            while rows > 1 and chunk.table.slice(start, rows).nbytes * self.ask.share > portions.MOST_BYTES:
                rows //= 2
            part = chunk.part(start, rows)
            try:
                [split] = judge.split(self.ask, [part])
            except quality.TooMuchText:
                rows = max(1, fewest or 1, rows // 8)
                continue
            self.recorder.take([Judged(self.planned, self.writer, part, split)])
            start += rows
            if start >= total:
                return
            self.pool.require()
            rows = rows * 2 if split.good.nbytes < portions.MOST_BYTES // 4 else rows


def judge(pool: Pool, recorder: Recorder, parsed: Sequence[Parsed]) -> None:
    """Judge and write chunks, those that are alike together."""
    for _, alike in groupby(enumerate(parsed), key=_likeness):
        entries = [entry for _, entry in alike]
        if entries[0][0].ask.rows_at_once is not None:
            for part, chunk in entries:
                part.settle(chunk)
            continue
        splits = pool.judge.split(entries[0][0].ask, [chunk for _, chunk in entries])
        judged = [
            Judged(part.planned, part.writer, chunk, split)
            for (part, chunk), split in zip(entries, splits, strict=True)
        ]
        for taken in recording.batches(judged):
            recorder.take(taken)


def _likeness(entry: tuple[int, Parsed]) -> tuple[quality.Questions, pa.Schema, int | None]:
    """What chunks have in common that are judged together. Dictionaries may not fit together: they stay alone."""
    place, (part, chunk) = entry
    alone = not chunk.table.num_columns or any("dictionary<" in str(column.type) for column in chunk.table.schema)
    return part.ask, chunk.table.schema, place if alone else None


@dataclass
class Names:
    """The keys of an open input's rows: those that no row has, and those of the first rows."""

    absent: frozenset[str] | None = None
    seen: tuple[str, ...] = ()
    _lock: Lock = field(default_factory=Lock)

    def add(self, chunk: Chunk) -> None:
        """Take a chunk's keys into account; any thread may."""
        if not chunk.table.num_rows:
            return
        with self._lock:
            self.absent = chunk.absent if self.absent is None else self.absent & chunk.absent
            self.seen = self.seen or chunk.names


@dataclass(frozen=True)
class _Subset:
    """The positions of some of a chunk's rows."""

    chunk: Chunk
    rows: list[int]

    def of(self, records: Iterable[int]) -> list[int]:
        """The positions of those of the rows that have these indices."""
        return self.chunk.lines_of(self.rows[record] for record in records)
