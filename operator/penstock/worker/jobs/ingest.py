"""Loading: streams of a Source into Datasets, exactly once for a run id. The line that one row goes is `load`."""

import logging
from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import partial

from penstock.language.errors import InvalidSpec
from penstock.runs.order import DatasetOrder, RunOrder, SourceOrder
from penstock.runs.report import DatasetReport
from penstock.worker import planning, report, steps
from penstock.worker.connectors import Connectors
from penstock.worker.jobs import applied
from penstock.worker.planning import Plan
from penstock.worker.pod import Pod
from penstock.worker.ports import cursors
from penstock.worker.ports.chunks import MASK
from penstock.worker.ports.ledger import Attempt, Claim, InputEntry, TakenOver, state_moved
from penstock.worker.ports.source import CursorRequest, Json, Session, StreamRequest
from penstock.worker.ports.tablestore import Publication, TableStore
from penstock.worker.rows import accounts, shape, stage
from penstock.worker.rows.stage import StagedRun

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Load:
    """One stream into one Dataset."""

    order: RunOrder
    source: SourceOrder
    dataset: DatasetOrder
    store: TableStore
    session: Session
    pod: Pod
    state: Json
    """The stream's state when the session began."""

    @property
    def stream(self) -> str:
        """The stream's name."""
        return self.dataset.stream or self.source.name

    @property
    def cursor(self) -> CursorRequest | None:
        """How the stream is read by a cursor; None where it is not."""
        column, append = self.dataset.cursor, self.dataset.write_mode == "append"
        if column is None:
            return None
        return CursorRequest(column, append, self.dataset.lookback, self.dataset.delay, self.state)

    @property
    def schema(self) -> str:
        """The hash of the Dataset's schema."""
        return shape.digest(self.dataset.schema_.fields)


Listed = Callable[[str, int], None]
"""Called with a stream and how many inputs its Source lists for it."""
Guard = Callable[[DatasetOrder, Callable[[], DatasetReport]], DatasetReport | None]
"""Carries out the loading of one Dataset, and enters its report or its failure; None for a failure."""


@dataclass(frozen=True)
class Progress:
    """What is called while a load is under way."""

    attempted: Callable[[int], None] = lambda _: None
    """How often this run id has been claimed."""
    listed: Listed = lambda _stream, _inputs: None


def ingest(order: RunOrder, pod: Pod, connectors: Connectors, guard: Guard, progress: Progress) -> None:
    """Load every Dataset of the order. Each commits alone; one that fails does not keep the others from it.

    The Source may forget what it has delivered only when all of them have committed. When another worker has taken the
    run over, the rest is left to it: two workers that take each other's claims would both fail.
    """
    source = order.source
    if source is None:
        raise InvalidSpec("The order names no Source.")
    stores = [connectors.store_of(dataset.destination, pod) for dataset in order.datasets]
    states = [_first_state(order, dataset, store) for dataset, store in zip(order.datasets, stores, strict=True)]
    requests = [
        StreamRequest(dataset.stream or source.name, dataset.sync or "full", state)
        for dataset, state in zip(order.datasets, states, strict=True)
    ]
    committed = 0
    with connectors.source_of(source, pod).session(requests) as session:
        for dataset, store, state in zip(order.datasets, stores, states, strict=True):
            job = Load(order, source, dataset, store, session, pod, state)
            ended: list[TakenOver] = []
            committed += guard(dataset, partial(_load, job, progress, ended)) is not None
            if ended:
                break
        if committed == len(order.datasets):
            _acknowledge(order, source, stores, session)


def _load(job: Load, progress: Progress, ended: list[TakenOver]) -> DatasetReport:
    """`load`; that another worker has taken the run over is put into `ended`, too."""
    try:
        return load(job, progress)
    except TakenOver as error:
        ended.append(error)
        raise


def load(job: Load, progress: Progress = Progress()) -> DatasetReport:
    """THE LINE: one stream into one Dataset, exactly once for this run id."""
    attempt = Attempt(job.pod.run, job.pod.name, f"{job.order.digest}/{job.pod.attempt}")
    with job.store.claim(job.dataset, attempt) as claim:  # a lease with a fencing token
        progress.attempted(claim.attempt)
        steps.reached("claimed")
        if claim.report is not None:  # committed before: the same report, marked as earlier
            return report.complete(claim, job.store, job.dataset, report.earlier(claim))
        job = replace(job, dataset=applied.ensured(job.store, claim, job.dataset))
        job.store.describe(job.dataset, claim)
        job.store.sweep(claim, job.dataset)  # what killed attempts of this run left behind
        entries = job.store.ledger.inputs(claim.subject)
        plan = _plan(job, claim, entries, progress.listed)  # immutable: inputs and their versions
        steps.reached("planned")
        staged = stage.stage(stage.Job(claim, job.dataset, job.stream, job.session, job.store, job.pod), plan)
        steps.reached("staged")
        own = job.store.publish(claim, _publication(job, plan, entries, staged))  # one transaction
        return report.complete(claim, job.store, job.dataset, own)


def _state(order: RunOrder, dataset: DatasetOrder, store: TableStore) -> Json:
    store.ledger.create()
    stream = dataset.stream or (order.source.name if order.source else "")
    return store.ledger.state(dataset.owner.marker, order.identity, stream)


def _first_state(order: RunOrder, dataset: DatasetOrder, store: TableStore) -> Json:
    """The state that a run begins with; None where the table was dropped, for the ledger forgets the state then."""
    state = _state(order, dataset, store)
    return None if state is None or store.standing(dataset) is None else state


def _acknowledge(order: RunOrder, source: SourceOrder, stores: list[TableStore], session: Session) -> None:
    """Tell the Source what all Datasets have committed; an earlier attempt may have done so before."""
    states = {
        dataset.stream or source.name: _state(order, dataset, store)
        for dataset, store in zip(order.datasets, stores, strict=True)
    }
    steps.reached("before the acknowledgement")
    session.acknowledge({stream: state for stream, state in states.items() if state is not None})
    steps.reached("acknowledged")


def _plan(job: Load, claim: Claim, entries: list[InputEntry], listed: Listed) -> Plan:
    """The plan of this run: the one an earlier Pod recorded, or a new one, recorded before anything is read."""
    ledger, identity = job.store.ledger, job.order.identity
    if ledger.state(claim.subject, identity, job.stream) != job.state:
        raise state_moved(claim.subject, job.stream)
    recorded = claim.plan
    if recorded is None:
        planning.check(job.dataset)
        if job.cursor is None and job.dataset.sync == "incremental" and job.source.connector.traits.cursors:
            raise InvalidSpec(f"{job.dataset.owner.name}: sync incremental of a database needs `cursor`.")
        offered = job.session.plan(job.stream, job.cursor)
        listed(job.stream, len(offered.inputs))
        own = [entry for entry in entries if (entry.identity, entry.stream) == (identity, job.stream)]
        where = f"Source {job.source.name}: stream {job.stream}"
        chosen = planning.choose(job.dataset, offered, own, job.schema, where)
        ids = ledger.new_input_ids(claim, len(chosen))
        made = planning.make(job.dataset, chosen, ids, offered.state)
        gone = [] if job.cursor is not None else planning.vanished(offered, own)
        recorded = ledger.record(claim, made.model_copy(update={"vanished": gone}).model_dump_json())
    plan = Plan.model_validate_json(recorded)
    planning.check_not_doubled(job.dataset, plan, entries, identity)
    if job.cursor is not None and cursors.mark(job.state) is None:
        planning.check_first_by_cursor(job.dataset, plan, entries, (identity, job.stream))
    return plan


def _publication(job: Load, plan: Plan, entries: list[InputEntry], staged: StagedRun) -> Publication:
    """What is to be committed. Raises InvalidSpec (TooManyBadRows, a refusal) and NotYet (CountMismatch)."""
    dataset, identity = job.dataset, job.order.identity
    _require_something_readable(job, entries, staged)
    rows, rejected = (sum(getattr(part, name) for part in staged.staged) for name in ("rows", "rejected"))
    accounts.check_balance(dataset, staged.inputs, (rows, rejected))
    counts = accounts.counts(staged.inputs)
    if accounts.too_many(dataset, counts.quarantined, counts.read):
        raise accounts.too_many_bad_rows(dataset, staged.faults, counts.read, counts.quarantined, whole=True)
    refused = {account.planned.id for account in staged.inputs if account.refusal is not None}
    loader, whole = (identity, job.stream), dataset.sync == "full"
    leaving = planning.leaving(plan, entries, loader, refused, whole=whole)
    return Publication(
        dataset=dataset,
        identity=identity,
        stream=job.stream,
        mode=plan.mode,
        staged=staged.staged,
        inputs=tuple(_entry(job, account) for account in staged.inputs),
        leaving=tuple(leaving),
        state_before=job.state,
        state=_state_after(job, staged),
        report=DatasetReport(
            name=dataset.owner.name,
            state="Written" if plan.inputs else "Unchanged",
            counts=counts,
            cursor=_shown_mark(dataset, job.state if staged.state is None else staged.state),
            warnings=accounts.rule_warnings(staged.inputs),
        ),
    )


def _state_after(job: Load, staged: StagedRun) -> Json:
    """The stream's state after the run. A load of the whole stream removes a mark: it has loaded rows beyond it."""
    if job.cursor is None and cursors.mark(job.state) is not None:
        return cursors.without_mark(job.state)
    return staged.state


def _shown_mark(dataset: DatasetOrder, state: Json) -> str | None:
    """The mark of a cursor, for people; hidden where a sensitive field may be made of the column."""
    if dataset.cursor is None or (mark := cursors.mark(state)) is None:
        return None
    sensitive = [field.from_ or field.name for field in dataset.schema_.fields if field.sensitive]
    return MASK if any(dataset.cursor.lower() in written.lower() for written in sensitive) else mark


def _require_something_readable(job: Load, entries: list[InputEntry], staged: StagedRun) -> None:
    """Where nothing has ever been read and nothing can be, the manifest is wrong rather than all of the inputs."""
    refusals = [account.refusal for account in staged.inputs if account.refusal is not None]
    loaded = any(entry.state == "loaded" and entry.identity == job.order.identity for entry in entries)
    if refusals and len(refusals) == len(staged.inputs) and not loaded:
        raise InvalidSpec(refusals[0], "WrongSpecification")


def _entry(job: Load, account: accounts.InputAccount) -> InputEntry:
    planned = account.planned
    return InputEntry(
        id=planned.id,
        identity=job.order.identity,
        stream=job.stream,
        name=planned.name,
        version=planned.version,
        size=planned.size,
        rows=account.loaded,
        quarantined=account.quarantined,
        state="loaded" if account.refusal is None else "refused",
        schema=job.schema,
    )


def log_result(entry: DatasetReport) -> None:
    """Say in the log what became of a Dataset."""
    for warning in entry.warnings:
        places = ", ".join(warning.places)
        log.warning("%s: %s rows break the rule %s, such as %s", entry.name, f"{warning.rows:,}", warning.rule, places)
    counts, earlier = entry.counts, " (by an earlier attempt)" if entry.earlier else ""
    merged = f"{counts.unchanged:,} unchanged + {counts.superseded:,} superseded + "
    log.info(
        "%s: %s%s: %s rows read = %s loaded + %s%s quarantined + %s ignored; %s rows in the table",
        *(entry.name, entry.state, earlier),
        *(f"{number:,}" for number in (counts.read, counts.loaded)),
        merged if counts.unchanged or counts.superseded else "",
        *(f"{number:,}" for number in (counts.quarantined, counts.ignored, entry.rows or 0)),
    )
