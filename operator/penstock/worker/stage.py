"""Staging: a shard's files become data files and quarantine files beside the tables, and counts; nothing is visible.

One thread reads and cuts; as many as there are processors parse, shape, judge and write. Each input file ends up in
data files of its own, so that a changed one can leave by dropping files.
"""

import hashlib
import logging
import re
import time
from collections import Counter, deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor, wait
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from queue import SimpleQueue
from threading import Lock, local

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from penstock.runs.order import DatasetOrder
from penstock.worker import engine, lake, quality, read, shape
from penstock.worker.ledger import Claim
from penstock.worker.planning import Input, PlannedFile, Shard
from penstock.worker.pod import Pod

log = logging.getLogger(__name__)

_MEMORY_OF_ENGINE = 0.4
"""Share of the Pod's memory that DuckDB may use; the rest is for Arrow, Parquet writers and Python."""
_NO_LIMIT = 4 << 30
_FORGOTTEN = 24 * 3600.0
"""Seconds after which what another run has staged, and not committed, is waste."""
_STAGED = re.compile(r"[0-9a-f]{16}-\d+-\d{5}-\d{3}\.parquet$")
"""The names that staging gives."""
_SAMPLE = 50_000
"""Rows that tell which columns repeat themselves."""
_PROGRESS = 2.0
"""Seconds between two lines of progress."""


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
    """A staged shard. `kinds` counts bad rows by what is wrong with them, `examples` has one of each."""

    files: tuple[StagedFile, ...]
    kinds: Counter[str] = field(default_factory=Counter)
    examples: dict[str, str] = field(default_factory=dict)


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
    with _pool(work) as pool:
        files = tuple(_file(work, pool, number, planned) for number, planned in enumerate(part.files))
    return Staged(files, work.progress.kinds, work.progress.examples)


@dataclass
class Progress:
    """Rows so far over all files, told every few seconds; and what was wrong with bad ones."""

    rows: int = 0
    bad: int = 0
    kinds: Counter[str] = field(default_factory=Counter)
    examples: dict[str, str] = field(default_factory=dict)
    _begun: float = field(default_factory=time.monotonic)
    _told: float = field(default_factory=time.monotonic)
    _lock: Lock = field(default_factory=Lock)

    def add(self, rows: int, bad: pa.Table | None) -> None:
        """Count a chunk's rows and its bad ones."""
        with self._lock:
            self.rows += rows
            for kind, error in zip(bad["kind"].to_pylist(), bad["error"].to_pylist(), strict=True) if bad else ():
                self.bad += 1
                self.kinds[kind] += 1
                self.examples.setdefault(kind, error)
            now = time.monotonic()
            if now - self._told < _PROGRESS:
                return
            self._told = now
            rate = self.rows / (now - self._begun)
        log.info("%s rows read, %s bad, %s rows/s", f"{self.rows:,}", f"{self.bad:,}", f"{rate:,.0f}")


@dataclass(frozen=True)
class Work:
    """All that staging a Dataset needs to know."""

    claim: Claim
    dataset: DatasetOrder
    input: Input
    tables: lake.Tables
    pod: Pod
    progress: Progress = field(default_factory=Progress)


class _Pool:
    """Threads with a DuckDB each, and no more chunks under way than they can chew."""

    def __init__(self, work: Work) -> None:
        self._threads = work.pod.processors
        self._memory = int((work.pod.memory or _NO_LIMIT) * _MEMORY_OF_ENGINE) // self._threads
        self._scratch = work.pod.scratch
        self._own = local()
        self.executor = ThreadPoolExecutor(self._threads, thread_name_prefix="stage")

    @property
    def judge(self) -> quality.Judge:
        """This thread's DuckDB."""
        if not hasattr(self._own, "judge"):
            self._own.judge = quality.Judge(engine.connect(self._memory, 1, self._scratch))
        return self._own.judge  # type: ignore[no-any-return]  # threading.local has no types

    def each(self, tasks: Iterable[Callable[[], None]]) -> None:
        """Run every task, taking the next one only when there is room, so that memory stays bounded.

        The first failure ends it; what is under way then is waited for.
        """
        running: deque[Future[None]] = deque()
        try:
            for task in tasks:
                running.append(self.executor.submit(task))
                if len(running) > self._threads:
                    running.popleft().result()
            while running:
                running.popleft().result()
        finally:
            wait(running)


@contextmanager
def _pool(work: Work) -> Iterator[_Pool]:
    pool = _Pool(work)
    try:
        yield pool
    finally:
        pool.executor.shutdown(wait=True, cancel_futures=True)


def _file(work: Work, pool: _Pool, number: int, planned: PlannedFile) -> StagedFile:
    source = work.input
    with read.reader(source.store, planned.found, source.format, source.compression, work.pod.scratch) as reader:
        if not reader.columns.open and not reader.columns.names:
            return StagedFile(planned, 0, 0, 0, (), ())  # an empty file
        shaped = shape.compile(work.dataset.schema_.fields, reader.columns, planned.url)
        target = _Target(work, pool, number, planned, shaped)
        pool.each(target.task(parse) for parse in _while_held(work.claim, reader.works))
        return target.close()


def _while_held(claim: Claim, works: Iterator[read.Work]) -> Iterator[read.Work]:
    for parse in works:
        claim.still_held()
        yield parse


class _Target:
    """Where one input file's rows go."""

    def __init__(self, work: Work, pool: _Pool, number: int, planned: PlannedFile, shaped: shape.Shape) -> None:
        self._work, self._pool, self._planned, self._shape = work, pool, planned, shaped
        self._ask = quality.questions(shaped)
        name = f"{prefix(work.claim.run, work.claim.fence)}{number:05d}"
        self._good = _Writers(lake.folder(work.tables.data) / name, work.tables.data_schema)
        self._bad = _Writers(lake.folder(work.tables.quarantine) / name, work.tables.quarantine_schema)
        self._read = 0
        self._lock = Lock()
        self._schema = shape.digest(work.dataset.schema_.fields)

    def task(self, parse: read.Work) -> Callable[[], None]:
        """The work of one thread on one block."""

        def done() -> None:
            judge = self._pool.judge
            chunk = parse(self._shape.columns, judge.connection)
            good, bad = judge.split(self._ask, chunk)
            self._good.write(good)
            if bad is not None:
                self._bad.write(self._entry(bad))
            with self._lock:
                self._read += chunk.read
            self._work.progress.add(chunk.read, bad)

        return done

    def _entry(self, bad: pa.Table) -> pa.Table:
        count, now = bad.num_rows, datetime.now(UTC)
        same = {"file": self._planned.url, "run": self._work.claim.run, "schema": self._schema}
        columns = {name: pa.repeat(value, count) for name, value in same.items()}
        columns["at"] = pa.repeat(pa.scalar(now, pa.timestamp("us", "UTC")), count)
        order = self._bad.schema.names
        return pa.table([columns.get(name) if name in columns else bad[name] for name in order], names=order)

    def close(self) -> StagedFile:
        """End the files and count."""
        data, loaded = self._good.close()
        quarantine, quarantined = self._bad.close()
        return StagedFile(self._planned, self._read, loaded, quarantined, data, quarantine)


class _Writers:
    """Parquet files with one name and a running number; one thread at a time writes to each."""

    def __init__(self, path: Path, schema: pa.Schema) -> None:
        self.schema = schema
        self._path = path
        self._idle: SimpleQueue[pq.ParquetWriter] = SimpleQueue()
        self._all: list[tuple[Path, pq.ParquetWriter]] = []
        self._lock = Lock()

    def write(self, table: pa.Table) -> None:
        """Write the table's columns, in order, as the schema's."""
        if not table.num_rows:
            return
        columns = [column.cast(wanted.type) for column, wanted in zip(table.columns, self.schema, strict=True)]
        rows = pa.Table.from_arrays(columns, schema=self.schema)
        writer = self._borrow(rows)
        writer.write_table(rows)
        self._idle.put(writer)

    def _borrow(self, first: pa.Table) -> pq.ParquetWriter:
        with self._lock:
            if not self._idle.empty():
                return self._idle.get()
            path = self._path.with_name(f"{self._path.name}-{len(self._all):03d}.parquet")
            path.parent.mkdir(parents=True, exist_ok=True)
            writer = pq.ParquetWriter(
                path, self.schema, compression="zstd", compression_level=1, use_dictionary=_repeating(first)
            )
            self._all.append((path, writer))
            return writer

    def close(self) -> tuple[tuple[Path, ...], int]:
        """The files and the rows in them, as their own footers say."""
        for _, writer in self._all:
            writer.close()
        paths = tuple(path for path, _ in self._all)
        return paths, sum(lake.footer_rows(path) for path in paths)


def _repeating(rows: pa.Table) -> list[str]:
    """The columns in which a value stands four times on average: a dictionary of others costs time, and saves nothing.

    Without it for ids and times, writing takes about half the time, and files are a sixth smaller.
    """
    sample = rows.slice(0, _SAMPLE)
    return [name for name in rows.column_names if pc.count_distinct(sample[name]).as_py() * 4 <= sample.num_rows]
