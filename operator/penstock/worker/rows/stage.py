"""Staging: a shard's files become data files and quarantine files beside the tables, and counts; nothing is visible.

One thread reads and cuts; as many as there are processors parse, shape, judge and write. Small files are read ahead,
many at once, and a group of them is the work of one thread. Each input file ends up in data files of its own, so that a
changed one can leave by dropping files.
"""

import hashlib
import re
import time
from collections import Counter, deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import CancelledError, Future, ThreadPoolExecutor, wait
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime
from functools import cached_property, partial
from itertools import groupby
from pathlib import Path
from threading import Event, Lock, local

import pyarrow as pa

from penstock.connectors.files import formats as read
from penstock.connectors.files import stores as storage
from penstock.connectors.lake import tables as lake
from penstock.connectors.lake.datafiles import DataFiles
from penstock.connectors.lake.ledger import Claim
from penstock.runs.order import DatasetOrder
from penstock.worker.planning import Input, PlannedFile, Shard
from penstock.worker.pod import Pod
from penstock.worker.rows import engine, quality, shape
from penstock.worker.rows.progress import Meter

_MEMORY_OF_ENGINE = 0.4
"""Share of the Pod's memory that DuckDB may use; the rest is for Arrow, Parquet writers and Python."""
_NO_LIMIT = 4 << 30
_FORGOTTEN = 24 * 3600.0
"""Seconds after which what another run has staged, and not committed, is waste."""
_STAGED = re.compile(r"[0-9a-f]{16}-\d+-\d{5}-\d{3}\.parquet$")
"""The names that staging gives."""
_TOGETHER = 64
"""Small files that are judged together."""
_WIDE = 500
"""Fields from which one thread works alone: what threads and writers keep in memory grows with the columns."""
_SHAPES = 64
"""How many sets of columns are kept compiled: files may all be different."""


@dataclass(frozen=True)
class StagedFile:
    """An input file, counted, and where its rows lie."""

    planned: PlannedFile
    read: int
    loaded: int
    quarantined: int
    data: tuple[Path, ...]
    quarantine: tuple[Path, ...]


@dataclass(frozen=True)
class Staged:
    """A staged shard. `kinds` counts bad rows by what is wrong with them; `first` is where each occurs first."""

    files: tuple[StagedFile, ...]
    kinds: Counter[str] = field(default_factory=Counter)
    first: dict[str, str] = field(default_factory=dict)


def prefix(run: str, fence: int | None = None) -> str:
    """How the names of a run's staged files begin: of one attempt, or of all."""
    name = f"{hashlib.sha256(run.encode()).hexdigest()[:16]}-"
    return name if fence is None else f"{name}{fence}-"


def sweep(claim: Claim, tables: lake.Tables) -> int:
    """Remove what killed attempts have staged; how many files it was.

    That is everything of this uncommitted run, and of runs that were never tried again what is older than a day and
    of no snapshot. Nobody else is writing: the claim is held.
    """
    own, mine = prefix(claim.run), prefix(claim.run, claim.fence)
    swept = 0
    for table in (tables.data, tables.quarantine):
        there = [path for path in lake.folder(table).glob("*.parquet") if not path.name.startswith(mine)]
        doubtful = [path for path in there if not path.name.startswith(own) and _STAGED.match(path.name)]
        old = {path for path in doubtful if _age(path) > _FORGOTTEN}
        gone = {path for path in there if path.name.startswith(own)}
        gone |= old - lake.known(table) if old else set()
        for path in gone:
            path.unlink(missing_ok=True)
        swept += len(gone)
    return swept


def _age(path: Path) -> float:
    try:
        return time.time() - path.stat().st_mtime
    except FileNotFoundError:  # a worker that was taken over is sweeping too
        return 0.0


def shard(work: "Work", part: Shard) -> Staged:
    """Stage every file of the shard."""
    files = [*enumerate(part.files)]
    small = [(number, planned) for number, planned in files if _is_small(planned)]
    large = [(number, planned) for number, planned in files if not _is_small(planned)]
    staged: dict[int, StagedFile] = {}

    def stage(group: Sequence[_Given]) -> None:
        staged.update(_together(pool, group))
        meter.passed([planned.found for _, planned, _ in group])

    sizes = [planned.size for planned in part.files]
    meter = Meter(work.dataset.owner.name, sum(sizes) if min(sizes, default=0) >= 0 else None)
    with _pool(work, meter) as pool, storage.ahead(work.input.store, (planned.found for _, planned in small)) as opened:
        for number, planned in large:
            staged[number] = _file(pool, number, planned)
        given = ((*entry, content) for entry, content in zip(small, opened, strict=True))
        pool.each(partial(stage, group) for group in _groups(given))
    return Staged(tuple(staged[number] for number, _ in files), work.faults.kinds, work.faults.first)


def _is_small(planned: PlannedFile) -> bool:
    return 0 <= planned.size <= storage.SMALL


@dataclass
class Faults:
    """What was wrong with bad rows: how often each rule was broken, and where first, as file:line."""

    kinds: Counter[str] = field(default_factory=Counter)
    _first: dict[str, tuple[str, int]] = field(default_factory=dict)
    _lock: Lock = field(default_factory=Lock)

    def add(self, url: str, bad: pa.Table) -> None:
        """Count the bad rows of a chunk of a file; any thread may."""
        with self._lock:
            for kind, line in zip(bad["kind"].to_pylist(), bad["line"].to_pylist(), strict=True):
                self.kinds[kind] += 1
                self._first[kind] = min(self._first.get(kind, (url, line)), (url, line))

    @property
    def first(self) -> dict[str, str]:
        """Where each rule was broken first."""
        return {kind: f"{url}:{line}" for kind, (url, line) in self._first.items()}


@dataclass(frozen=True)
class Work:
    """All that staging a Dataset needs to know."""

    claim: Claim
    dataset: DatasetOrder
    input: Input
    tables: lake.Tables
    pod: Pod
    faults: Faults = field(default_factory=Faults)


class _Pool:
    """Threads with a DuckDB each, and no more chunks under way than they can chew."""

    def __init__(self, work: Work, meter: Meter) -> None:
        self.work = work
        self.meter = meter
        self.schema = shape.digest(work.dataset.schema_.fields)
        self._threads = 1 if len(work.dataset.schema_.fields) > _WIDE else work.pod.processors
        self._memory = int((work.pod.memory or _NO_LIMIT) * _MEMORY_OF_ENGINE) // self._threads
        self._own = local()
        self._asked: dict[read.Columns, tuple[shape.Shape, quality.Questions]] = {}
        self._lock = Lock()
        self.over = Event()
        self.executor = ThreadPoolExecutor(self._threads, thread_name_prefix="stage")

    def asked(self, columns: read.Columns, where: str) -> tuple[shape.Shape, quality.Questions]:
        """What rows of these columns are asked, compiled once: it takes longer than a small file."""
        with self._lock:
            if columns not in self._asked:
                if len(self._asked) == _SHAPES:
                    del self._asked[next(iter(self._asked))]
                shaped = shape.compiled(self.work.dataset.schema_.fields, columns, where)
                self._asked[columns] = shaped, quality.questions(shaped)
            return self._asked[columns]

    @property
    def judge(self) -> quality.Judge:
        """This thread's DuckDB."""
        if not hasattr(self._own, "judge"):
            self._own.judge = quality.Judge(engine.connect(self._memory, 1, self.work.pod.scratch))
        return self._own.judge  # type: ignore[no-any-return]  # threading.local has no types

    def each(self, tasks: Iterable[Callable[[], None]]) -> None:
        """Run every task, taking the next one only when there is room, so that memory stays bounded.

        The first failure ends it, in the order of the tasks; what is under way then is waited for.
        """
        running: deque[Future[None]] = deque()
        try:
            for task in tasks:
                running.append(self.executor.submit(task))
                if len(running) > self._threads:
                    running.popleft().result()
            while running:
                running.popleft().result()
        except Exception:  # of a task, or of what gives the next one
            wait(running)
            for future in running:
                future.result()
            raise

    def held(self, works: Iterable[read.Work]) -> Iterator[read.Work]:
        """The works, as long as they are of use: the claim is held, and nobody has ended the run."""
        for parse in works:
            self.work.claim.still_held()
            if self.over.is_set():
                raise CancelledError
            yield parse


@contextmanager
def _pool(work: Work, meter: Meter) -> Iterator[_Pool]:
    pool = _Pool(work, meter)
    try:
        yield pool
    except BaseException:
        pool.over.set()  # what is under way ends at its next block
        raise
    finally:
        pool.executor.shutdown(wait=True, cancel_futures=True)


def _file(pool: _Pool, number: int, planned: PlannedFile) -> StagedFile:
    """Stage a large file: this thread cuts it, and the others do what is cut."""
    with _reader(pool, planned, pool.meter.metered(pool.work.input.store.open)) as reader:
        target = _Target(pool, number, planned, reader.columns)
        pool.each(partial(_block, pool, target, parse) for parse in pool.held(reader.works_for(target.needed)))
        return target.close()


def _block(pool: _Pool, target: "_Target", parse: read.Work) -> None:
    chunk = target.parsed(parse)
    [split] = pool.judge.split(target.ask, [chunk])
    target.take(chunk, split)


_Given = tuple[int, PlannedFile, storage.Open]
"""A small file's number, and what opens it."""


def _groups(given: Iterable[_Given]) -> Iterator[list[_Given]]:
    """Small files in their order, in groups of at most _TOGETHER files and SMALL bytes."""
    group: list[_Given] = []
    for entry in given:
        if group and sum(planned.size for _, planned, _ in [*group, entry]) > storage.SMALL:
            yield group
            group = []
        group.append(entry)
        if len(group) == _TOGETHER:
            yield group
            group = []
    if group:
        yield group


def _together(pool: _Pool, group: Sequence[_Given]) -> dict[int, StagedFile]:
    """Stage small files, in this thread. Their rows are judged together, and written each to its own."""
    targets: dict[int, _Target] = {}
    parsed: list[tuple[_Target, read.Chunk]] = []
    room = storage.BLOCK  # in bytes: a small file may unpack to a large one
    for number, planned, opened in group:
        with _reader(pool, planned, opened) as reader:
            target = targets[number] = _Target(pool, number, planned, reader.columns)
            for parse in pool.held(reader.works_for(target.needed)):
                chunk = target.parsed(parse)
                if not chunk.table.num_columns:  # counted, and nothing to judge
                    _judge(pool, [(target, chunk)])
                    continue
                parsed.append((target, chunk))
                room -= chunk.table.nbytes
                if room < 0:
                    _judge(pool, parsed)
                    parsed, room = [], storage.BLOCK
        target.whole = True
    _judge(pool, parsed)
    return {number: target.close() for number, target in targets.items()}


def _judge(pool: _Pool, parsed: Sequence[tuple["_Target", read.Chunk]]) -> None:
    """Judge and write chunks, those that are alike together; close what is whole, lest too many files be open."""
    last = {target: place for place, (target, _) in enumerate(parsed)}
    for _, alike in groupby(enumerate(parsed), key=_likeness):
        entries = [*alike]
        ask = entries[0][1][0].ask
        splits = pool.judge.split(ask, [chunk for _, (_, chunk) in entries])
        for (place, (target, chunk)), split in zip(entries, splits, strict=True):
            target.take(chunk, split)
            if target.whole and last[target] == place:
                target.close()


def _likeness(entry: tuple[int, tuple["_Target", read.Chunk]]) -> tuple[quality.Questions, pa.Schema, int | None]:
    """What chunks have in common that are judged together. Dictionaries may not fit together: they stay alone."""
    place, (target, chunk) = entry
    alone = any("dictionary<" in str(column.type) for column in chunk.table.schema)
    return target.ask, chunk.table.schema, place if alone else None


def _reader(pool: _Pool, planned: PlannedFile, opened: storage.Open) -> read.Reader:
    given = pool.work.input
    return read.reader(opened, planned.found, given.format, given.compression, pool.work.pod.scratch)


class _Target:
    """Where one input file's rows go."""

    def __init__(self, pool: _Pool, number: int, planned: PlannedFile, columns: read.Columns) -> None:
        work = pool.work
        self._pool, self._planned, self._columns = pool, planned, columns
        name = f"{prefix(work.claim.run, work.claim.fence)}{number:05d}"
        self._good = DataFiles(lake.folder(work.tables.data) / name, work.tables.data_schema)
        self._bad = DataFiles(lake.folder(work.tables.quarantine) / name, work.tables.quarantine_schema)
        self._read = 0
        self._absent: frozenset[str] | None = None
        self._names: tuple[str, ...] = ()
        self._lock = Lock()
        self._staged: StagedFile | None = None
        self.whole = False
        """Whether all of it has been parsed."""

    @cached_property
    def _asked(self) -> tuple[shape.Shape, quality.Questions]:
        return self._pool.asked(self._columns, self._planned.url)

    @property
    def ask(self) -> quality.Questions:
        """What the rows are asked."""
        return self._asked[1]

    @property
    def needed(self) -> tuple[str, ...]:
        """The columns that the fields are made of, where others can be left out."""
        return self._asked[0].columns if self._columns.partial else ()

    def parsed(self, parse: read.Work) -> read.Chunk:
        """The chunk of one block."""
        return parse(self._asked[0].columns, self._pool.judge.connection)

    def take(self, chunk: read.Chunk, split: quality.Split) -> None:
        """Write and count a chunk's rows; any thread may."""
        self._good.write(split.good)
        if split.bad is not None:
            self._bad.write(self._entry(split.bad))
        with self._lock:
            self._read += chunk.read
            if chunk.table.num_rows:
                self._absent = chunk.absent if self._absent is None else self._absent & chunk.absent
                self._names = self._names or chunk.names
        if split.bad is not None:
            self._pool.work.faults.add(self._planned.url, split.bad)
        self._pool.meter.count(rows=chunk.read, bad=split.bad.num_rows if split.bad is not None else 0)

    def _entry(self, bad: pa.Table) -> pa.Table:
        count, now = bad.num_rows, datetime.now(UTC)
        same = {"file": self._planned.url, "run": self._pool.work.claim.run, "schema": self._pool.schema}
        columns = {name: pa.repeat(value, count) for name, value in same.items()}
        columns["at"] = pa.repeat(pa.scalar(now, pa.timestamp("us", "UTC")), count)
        order = self._bad.schema.names
        return pa.table([columns.get(name) if name in columns else bad[name] for name in order], names=order)

    def close(self) -> StagedFile:
        """End the files and count; the same answer again when asked again.

        Raises InvalidSpec (WrongSpecification) where no row has a key that a field needs.
        """
        if self._staged is None:
            if self._absent:
                shape.require_names(self._asked[0], self._absent, self._names, self._planned.url)
            data, loaded = self._good.close()
            quarantine, quarantined = self._bad.close()
            self._staged = StagedFile(self._planned, self._read, loaded, quarantined, data, quarantine)
        return self._staged
