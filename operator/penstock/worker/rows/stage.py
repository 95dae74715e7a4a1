"""Staging: inputs become staged rows and quarantine entries, each with its lineage, and counts; nothing is visible.

One thread reads and cuts; as many as there are processors parse, shape, judge and write. Small inputs are fetched
ahead, and a group of them is the work of one thread; they share data files. An input that cannot be read is set aside
as a whole: a large one has a Writer of its own, which is discarded then; of a small one nothing is written before all
of it is parsed.
"""

import itertools
import logging
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import closing
from dataclasses import dataclass, field, replace
from functools import cached_property, partial
from itertools import groupby
from threading import Lock

import pyarrow as pa
import pyarrow.compute as pc

from penstock.language.errors import InvalidSpec
from penstock.runs.order import DatasetOrder
from penstock.worker import steps
from penstock.worker.planning import Plan, PlannedInput
from penstock.worker.pod import Pod
from penstock.worker.ports.chunks import Chunk, Columns
from penstock.worker.ports.ledger import Claim
from penstock.worker.ports.source import Json, OpenReader, Reader, Session, Work
from penstock.worker.ports.tablestore import Staged, TableStore, Writer
from penstock.worker.rows import accounts, engine, portions, quality, quarantine, shape
from penstock.worker.rows.accounts import Faults, InputAccount
from penstock.worker.rows.lineage import Good, Lineage
from penstock.worker.rows.pool import Asked, Pool
from penstock.worker.rows.progress import Meter
from penstock.worker.rows.shape import Limits

log = logging.getLogger(__name__)

SMALL = 1 << 20
"""Bytes at the source up to which an input is small."""
_TOGETHER = 64
"""Small inputs that are judged together."""
_HELD = 8 << 20
"""Bytes of parsed rows that a group of small inputs, or one of them, keeps before they are written."""

_ENTRIES = 8192
"""Quarantine entries that are made and written at once."""


@dataclass(frozen=True)
class Job:
    """All that staging a Dataset needs to know."""

    claim: Claim
    dataset: DatasetOrder
    stream: str
    session: Session
    store: TableStore
    pod: Pod


@dataclass(frozen=True)
class StagedRun:
    """All that was staged, and what became of each input. `state` is the stream's, where reading returned it."""

    staged: tuple[Staged, ...]
    inputs: tuple[InputAccount, ...]
    faults: Faults
    state: Json


def stage(job: Job, plan: Plan) -> StagedRun:
    """Stage every input of the plan.

    Raises InvalidSpec: TooManyBadRows as soon as no rows to come can help; the refusal of an input, where the Dataset
    does not set refused inputs aside. Any other failure of the Source fails the run.
    """
    pool = Pool(job.dataset.schema_.fields, job.claim, job.pod, _limits(job, plan))
    staging = _Staging(job, plan, pool)
    try:
        with pool:
            return staging.run()
    except BaseException:  # no thread writes any more
        staging.discard()
        raise


def _limits(job: Job, plan: Plan) -> Limits:
    """What the store cannot hold. In an upsert the key is in an index, which limits the length of its texts."""
    traits, schema = job.store.traits, job.dataset.schema_
    keys = [field.name for field in schema.fields if field.name in schema.key and field.type == "string"]
    if plan.mode != "upsert" or traits.longest_key is None or not keys:
        return Limits(traits.forbidden_characters)
    return Limits(traits.forbidden_characters, tuple((name, traits.longest_key // len(keys)) for name in keys))


def _is_small(session: Session, planned: PlannedInput) -> bool:
    return not session.ordered and len(planned.parts) == 1 and 0 <= planned.size <= SMALL


class _Staging:
    """The staging of one plan."""

    def __init__(self, job: Job, plan: Plan, pool: Pool) -> None:
        self.job, self.plan, self.pool = job, plan, pool
        self.faults = Faults()
        sizes = [planned.size for planned in plan.inputs]
        self.meter = Meter(job.dataset.owner.name, sum(sizes) if min(sizes, default=0) >= 0 else None)
        forbidden = job.store.traits.forbidden_characters
        self.context = quarantine.Context(job.claim, job.stream, shape.digest(job.dataset.schema_.fields), forbidden)
        self.lineage = Lineage.begin(job.claim, plan.mode)
        self.accounts = {planned.id: InputAccount(planned) for planned in plan.inputs}
        self._chunks: Counter[int] = Counter()
        """Chunks of each input so far, by its id; one thread cuts an input."""
        self.counting = Lock()
        """Held while rows are counted here and there, so that the counts fit together."""
        self._bound = _Bound(sum(len(planned.parts) for planned in plan.inputs))
        self._staged: list[Staged] = []
        self._numbers = itertools.count()
        self._writers: list[Writer] = []
        self._state: Json = None
        self._lock = Lock()

    def run(self) -> StagedRun:
        """Stage large inputs one after the other, then small ones in groups."""
        small = [planned for planned in self.plan.inputs if _is_small(self.job.session, planned)]
        for planned in self.plan.inputs:
            if not _is_small(self.job.session, planned):
                self._large(planned)
        shared = self._writer()
        parts = [planned.parts[0] for planned in small]
        with closing(self.job.session.readers(self.job.stream, parts)) as openings:
            groups = _groups(zip(small, openings, strict=True))
            self.pool.each(partial(self._together, group, shared) for group in groups)
        for account in self.accounts.values():
            if account.refusal is not None:
                shared.reject(self.context.entry_of_input(account.planned, account.refusal))
        self._staged.append(shared.close())
        state = self.plan.state if self._state is None else self._state
        return StagedRun(tuple(self._staged), tuple(self.accounts.values()), self.faults, state)

    def _writer(self) -> Writer:
        with self._lock:
            writer = self.job.store.writer(self.job.claim, self.job.dataset, f"{next(self._numbers):05d}")
            self._writers.append(writer)
            return writer

    def discard(self) -> None:
        """Remove all that was staged, closed or not: the run has failed."""
        for writer in self._writers:
            writer.discard()

    def _large(self, planned: PlannedInput) -> None:
        """Stage an input by itself: this thread cuts it, and the others do what is cut."""
        writer = self._writer()
        with closing(self.job.session.readers(self.job.stream, planned.parts)) as openings:
            try:
                for opening in openings:
                    with opening() as reader:
                        target = self._target(planned, reader, writer)
                        self.pool.each(partial(self._block, target, parse) for parse in self._works(target, reader))
                        target.require_names()
                        self._remember(reader)
            except InvalidSpec as error:
                writer.discard()
                self._refuse(planned, error)
                return
        with self._lock:
            self._staged.append(writer.close())

    def _remember(self, reader: Reader) -> None:
        state = reader.state()
        if state is not None:
            self._state = state

    def _target(self, planned: PlannedInput, reader: Reader, writer: Writer) -> "_Target":
        self._bound.opened(reader.most_rows)
        return _Target(self, planned, reader.columns, writer, _Names())

    def _works(self, target: "_Target", reader: Reader) -> Iterator[Work]:
        """The reader's works, its bytes counted as they are read."""
        counted = 0
        for work in self.pool.wanted(reader.works(target.columns)):
            self.meter.count(read=reader.bytes_read() - counted)
            counted = reader.bytes_read()
            yield partial(_numbered, work, self._chunks[target.planned.id])
            self._chunks[target.planned.id] += 1

    def _block(self, target: "_Target", parse: Work) -> None:
        chunk = target.parsed(parse)
        target.settle(chunk)

    def _refuse(self, planned: PlannedInput, error: InvalidSpec) -> None:
        """Set the input aside. Raises the error where it does not say that the input cannot be read, or may not."""
        dataset = self.job.dataset
        if error.reason != "WrongSpecification" or self.plan.mode in ("replace", "snapshot"):
            raise error
        if dataset.quality.refused_inputs == "fail":
            raise error
        log.warning("%s is set aside: %s", planned.name, error.message)
        self.accounts[planned.id].refuse(error.message)

    def _together(self, group: Sequence["_Given"], shared: Writer) -> None:
        """Stage small inputs, in this thread. Their rows are judged together."""
        parsed, size = list[tuple[_Target, Chunk]](), 0
        for planned, opening in group:
            try:
                with opening() as reader:
                    own = self._small(planned, reader, shared)
                    self._remember(reader)
            except InvalidSpec as error:
                self._refuse(planned, error)
                continue
            parsed += own
            size += sum(chunk.table.nbytes for _, chunk in own)
            if size > _HELD:
                self._judge(parsed)
                parsed, size = [], 0
        self._judge(parsed)

    def _small(self, planned: PlannedInput, reader: Reader, shared: Writer) -> list[tuple["_Target", Chunk]]:
        """A small input's chunks, to be judged; none where it unpacked to a large one, which is written then."""
        target = self._target(planned, reader, shared)
        works, chunks, size = self._works(target, reader), list[tuple[_Target, Chunk]](), 0
        for parse in works:
            chunks.append((target, target.parsed(parse)))
            size += chunks[-1][1].table.nbytes
            if size > _HELD:
                break
        else:
            target.require_names()
            return chunks
        own = self._writer()
        target = replace(target, writer=own)
        try:
            for _, chunk in chunks:
                self._judge([(target, chunk)])
            for parse in works:
                self._block(target, parse)
            target.require_names()
        except InvalidSpec:
            own.discard()
            raise
        with self._lock:
            self._staged.append(own.close())
        return []

    def _judge(self, parsed: Sequence[tuple["_Target", Chunk]]) -> None:
        """Judge and write chunks, those that are alike together."""
        for _, alike in groupby(enumerate(parsed), key=_likeness):
            entries = [entry for _, entry in alike]
            if entries[0][0].ask.rows_at_once is not None:
                for target, chunk in entries:
                    target.settle(chunk)
                continue
            splits = self.pool.judge.split(entries[0][0].ask, [chunk for _, chunk in entries])
            for taken in _batches([(*entry, split) for entry, split in zip(entries, splits, strict=True)]):
                self.take(taken)

    def take(self, taken: Sequence["_Taken"]) -> None:
        """Write and count the rows of chunks, whose targets have the same writer; any thread may."""
        writer = taken[0][0].writer
        good = [
            Good(target.planned.id, split.good, chunk.number, chunk.first)
            for target, chunk, split in taken
            if split.good.num_rows
        ]
        if good:
            writer.write(self.lineage.beside(good))
            steps.reached("first bytes staged")
        faults, entries = Faults(), list[_Entries]()
        for made in self._entries(taken):
            entries.append(made)
            if sum(rows.num_rows for _, rows in entries) >= _ENTRIES:
                _reject(writer, entries, faults)
                entries = []
        _reject(writer, entries, faults)
        bad_rows = 0
        with self.counting:
            self.faults.include(faults)
            for target, chunk, split in taken:
                bad = 0 if split.bad is None else split.bad.num_rows
                self.accounts[target.planned.id].add(chunk.read, split.good.num_rows, bad, 0)
                bad_rows += bad
        self.meter.count(rows=sum(chunk.read for _, chunk, _ in taken), bad=bad_rows)
        if bad_rows:
            self.end_early()

    def _entries(self, taken: Sequence["_Taken"]) -> Iterator["_Entries"]:
        """Quarantine entries of the bad rows, with the kinds of these, at most _ENTRIES together."""
        for target, chunk, split in taken:
            if split.bad is None:
                continue
            for start in range(0, split.bad.num_rows, _ENTRIES):
                some = split.bad.slice(start, _ENTRIES)
                yield some["kind"], self.context.entries_of_rows(some, target.planned, chunk)

    def end_early(self) -> None:
        """Raise InvalidSpec (TooManyBadRows) when the rows to come cannot bring the share of bad ones down again."""
        most = self._bound.rows
        if most is None:
            return
        with self.counting:
            read, bad = accounts.read_and_bad(self.accounts.values())
            if not accounts.too_many(self.job.dataset, bad, max(most, read)):
                return
            raise accounts.too_many_bad_rows(self.job.dataset, self.faults, read, bad, whole=read >= most)


class _Bound:
    """How many rows a plan can have at most, once all of its parts have said so."""

    def __init__(self, parts: int) -> None:
        self._unopened = parts
        self._opened: list[Callable[[], int | None]] = []
        self._lock = Lock()

    def opened(self, most_rows: Callable[[], int | None]) -> None:
        """A part was opened, which has so many rows at most."""
        with self._lock:
            self._unopened -= 1
            self._opened.append(most_rows)

    @property
    def rows(self) -> int | None:
        """None while it is not known."""
        if self._unopened:
            return None
        total = 0
        for most_rows in self._opened:
            rows = most_rows()
            if rows is None:
                return None
            total += rows
        return total


def _numbered(work: Work, number: int, connection: engine.Connection) -> Chunk:
    """The work's chunk, with its number in its input."""
    return replace(work(connection), number=number)


_Given = tuple[PlannedInput, OpenReader]
"""A small input, and what opens it."""
_Taken = tuple["_Target", Chunk, quality.Split]
"""A chunk, where its rows go, and which of them are good and bad."""
_Entries = tuple[pa.ChunkedArray, pa.Table]
"""What is wrong with rows in general, and their quarantine entries."""


def _groups(given: Iterable[_Given]) -> Iterator[list[_Given]]:
    """Small inputs in their order, in groups of at most _TOGETHER inputs and SMALL bytes."""
    group: list[_Given] = []
    for entry in given:
        if group and sum(planned.size for planned, _ in [*group, entry]) > SMALL:
            yield group
            group = []
        group.append(entry)
        if len(group) == _TOGETHER:
            yield group
            group = []
    if group:
        yield group


def _reject(writer: Writer, entries: Sequence[_Entries], faults: Faults) -> None:
    """Write quarantine entries, and add what is wrong with their rows to `faults`."""
    if entries:
        together = pa.concat_tables([rows for _, rows in entries])
        writer.reject(together)
        faults.add(pa.chunked_array([chunk for kinds, _ in entries for chunk in kinds.chunks]), together)


def _batches(taken: Iterable[_Taken]) -> Iterator[list[_Taken]]:
    """Chunks that are written together: a run that has too many bad rows is to end before it counts all of them."""
    batch, bad = list[_Taken](), 0
    for each in taken:
        more = 0 if each[2].bad is None else each[2].bad.num_rows
        if batch and bad + more > _ENTRIES:
            yield batch
            batch, bad = [], 0
        batch.append(each)
        bad += more
    if batch:
        yield batch


def _likeness(entry: tuple[int, tuple["_Target", Chunk]]) -> tuple[quality.Questions, pa.Schema, int | None]:
    """What chunks have in common that are judged together. Dictionaries may not fit together: they stay alone."""
    place, (target, chunk) = entry
    alone = not chunk.table.num_columns or any("dictionary<" in str(column.type) for column in chunk.table.schema)
    return target.ask, chunk.table.schema, place if alone else None


@dataclass(frozen=True)
class _Target:
    """Where the rows of a part of an input go."""

    staging: _Staging
    planned: PlannedInput
    there: Columns
    writer: Writer
    names: "_Names"

    @cached_property
    def _asked(self) -> Asked:
        return self.staging.pool.asked(self.there, self.planned.name)

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
        chunk = parse(self.staging.pool.judge.connection)
        self.names.add(chunk)
        if chunk.deleted is None:
            return chunk
        kept = pc.indices_nonzero(pc.invert(chunk.deleted))
        self.staging.accounts[self.planned.id].add(0, 0, 0, chunk.table.num_rows - len(kept))
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
        judge, total = self.staging.pool.judge, chunk.table.num_rows
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
            self.staging.take([(self, part, split)])
            start += rows
            if start >= total:
                return
            self.staging.pool.require()
            rows = rows * 2 if split.good.nbytes < portions.MOST_BYTES // 4 else rows


@dataclass
class _Names:
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
