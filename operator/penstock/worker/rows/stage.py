"""Staging: inputs become staged rows and quarantine entries, each with its lineage, and counts; nothing is visible.

One thread reads and cuts; as many as there are processors parse, shape, judge and write. Small inputs are fetched
ahead, and a group of them is the work of one thread; they share data files. An input that cannot be read is set aside
as a whole: a large one has a Writer of its own, which is discarded then; of a small one nothing is written before all
of it is parsed.
"""

import itertools
import logging
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from contextlib import closing
from dataclasses import dataclass, replace
from functools import partial
from threading import Lock

from penstock.language.errors import InvalidSpec
from penstock.runs.order import DatasetOrder
from penstock.worker.planning import Plan, PlannedInput
from penstock.worker.pod import Pod
from penstock.worker.ports.chunks import Chunk
from penstock.worker.ports.ledger import Claim
from penstock.worker.ports.source import Json, OpenReader, Reader, Session, Work
from penstock.worker.ports.tablestore import Staged, TableStore, Writer
from penstock.worker.rows import engine, inputparts, quarantine, rowrules, shape
from penstock.worker.rows.accounts import Faults, InputAccount
from penstock.worker.rows.inputparts import InputPart, Names
from penstock.worker.rows.lineage import Lineage
from penstock.worker.rows.pool import Pool
from penstock.worker.rows.progress import Meter
from penstock.worker.rows.recording import Recorder
from penstock.worker.rows.shape import Limits

log = logging.getLogger(__name__)

SMALL = 1 << 20
"""Bytes at the source up to which an input is small."""
_TOGETHER = 64
"""Small inputs that are judged together."""
_HELD = 8 << 20
"""Bytes of parsed rows that a group of small inputs, or one of them, keeps before they are written."""


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
    fields = job.dataset.schema_.fields
    row_rules = rowrules.question(fields, job.dataset.quality.rules or [])
    pool = Pool(fields, job.claim, job.pod, _limits(job, plan), row_rules)
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
    limits = Limits(traits.forbidden_characters, null_on_mismatch=schema.on_type_mismatch == "null")
    if plan.mode != "upsert" or traits.longest_key is None or not keys:
        return limits
    return replace(limits, longest=tuple((name, traits.longest_key // len(keys)) for name in keys))


def _is_small(session: Session, planned: PlannedInput) -> bool:
    return not session.ordered and len(planned.parts) == 1 and 0 <= planned.size <= SMALL


class _Staging:
    """The staging of one plan."""

    def __init__(self, job: Job, plan: Plan, pool: Pool) -> None:
        self.job, self.plan, self.pool = job, plan, pool
        sizes = [planned.size for planned in plan.inputs]
        self.meter = Meter(job.dataset.owner.name, sum(sizes) if min(sizes, default=0) >= 0 else None)
        forbidden = job.store.traits.forbidden_characters
        self.context = quarantine.Context(job.claim, job.stream, shape.digest(job.dataset.schema_.fields), forbidden)
        lineage = Lineage.begin(job.claim, plan.mode)
        self.recorder = Recorder(job.dataset, self.context, lineage, self.meter, plan.inputs)
        self._chunks: Counter[int] = Counter()
        """Chunks of each input so far, by its id; one thread cuts an input."""
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
        for account in self.recorder.accounts.values():
            if account.refusal is not None:
                shared.reject(self.context.entry_of_input(account.planned, account.refusal))
        self._staged.append(shared.close())
        state = self.plan.state if self._state is None else self._state
        return StagedRun(tuple(self._staged), tuple(self.recorder.accounts.values()), self.recorder.faults, state)

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
                        part = self._part(planned, reader, writer)
                        self.pool.each(partial(self._block, part, parse) for parse in self._works(part, reader))
                        part.require_names()
                        self._remember(planned, reader)
            except InvalidSpec as error:
                writer.discard()
                self._refuse(planned, error)
                return
        with self._lock:
            self._staged.append(writer.close())

    def _remember(self, planned: PlannedInput, reader: Reader) -> None:
        """What a reader says at its end."""
        ignored = reader.ignored()
        self.recorder.accounts[planned.id].add(ignored, 0, 0, ignored)
        state = reader.state()
        if state is not None:
            self._state = state

    def _part(self, planned: PlannedInput, reader: Reader, writer: Writer) -> InputPart:
        self.recorder.bound.opened(reader.most_rows)
        return InputPart(self.pool, self.recorder, planned, reader.columns, writer, Names())

    def _works(self, part: InputPart, reader: Reader) -> Iterator[Work]:
        """The reader's works, its bytes counted as they are read."""
        counted = 0
        for work in self.pool.wanted(reader.works(part.columns)):
            self.meter.count(read=reader.bytes_read() - counted)
            counted = reader.bytes_read()
            yield partial(_numbered, work, self._chunks[part.planned.id])
            self._chunks[part.planned.id] += 1

    def _block(self, part: InputPart, parse: Work) -> None:
        chunk = part.parsed(parse)
        part.settle(chunk)

    def _refuse(self, planned: PlannedInput, error: InvalidSpec) -> None:
        """Set the input aside. Raises the error where it does not say that the input cannot be read, or may not."""
        dataset = self.job.dataset
        if error.reason != "WrongSpecification" or self.plan.mode in ("replace", "snapshot"):
            raise error
        if dataset.quality.refused_inputs == "fail":
            raise error
        log.warning("%s is set aside: %s", planned.name, error.message)
        self.recorder.accounts[planned.id].refuse(error.message)

    def _together(self, group: Sequence["_Given"], shared: Writer) -> None:
        """Stage small inputs, in this thread. Their rows are judged together."""
        parsed, size = list[inputparts.Parsed](), 0
        for planned, opening in group:
            try:
                with opening() as reader:
                    own = self._small(planned, reader, shared)
                    self._remember(planned, reader)
            except InvalidSpec as error:
                self._refuse(planned, error)
                continue
            parsed += own
            size += sum(chunk.table.nbytes for _, chunk in own)
            if size > _HELD:
                inputparts.judge(self.pool, self.recorder, parsed)
                parsed, size = [], 0
        inputparts.judge(self.pool, self.recorder, parsed)

    def _small(self, planned: PlannedInput, reader: Reader, shared: Writer) -> list[inputparts.Parsed]:
        """A small input's chunks, to be judged; none where it unpacked to a large one, which is written then."""
        part = self._part(planned, reader, shared)
        works, chunks, size = self._works(part, reader), list[inputparts.Parsed](), 0
        for parse in works:
            chunks.append((part, part.parsed(parse)))
            size += chunks[-1][1].table.nbytes
            if size > _HELD:
                break
        else:
            part.require_names()
            return chunks
        own = self._writer()
        part = replace(part, writer=own)
        try:
            for _, chunk in chunks:
                inputparts.judge(self.pool, self.recorder, [(part, chunk)])
            for parse in works:
                self._block(part, parse)
            part.require_names()
        except InvalidSpec:
            own.discard()
            raise
        with self._lock:
            self._staged.append(own.close())
        return []


def _numbered(work: Work, number: int, connection: engine.Connection) -> Chunk:
    """The work's chunk, with its number in its input."""
    return replace(work(connection), number=number)


_Given = tuple[PlannedInput, OpenReader]
"""A small input, and what opens it."""


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
