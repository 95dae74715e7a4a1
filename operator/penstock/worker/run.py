"""The worker's line: claim, plan, stage, commit, report. One order in, one report out.

What a job alone needs is imported where it begins: the lake takes half a second, and inspections go without.
"""

import errno
import gc
import logging
import os
import signal
import sqlite3
import sys
import threading
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, NoReturn

import duckdb

from penstock.connectors.files import stores as storage
from penstock.connectors.lake import ledger
from penstock.language import visible
from penstock.language.errors import InvalidSpec, NotYet, PenstockError
from penstock.runs import places, summary
from penstock.runs.order import DatasetOrder, OrderKind, RunOrder, SourceOrder
from penstock.runs.report import DatasetReport, RunReport, details
from penstock.worker import planning, pod, report
from penstock.worker.pod import Pod

if TYPE_CHECKING:
    from penstock.connectors.lake import tables as lake

log = logging.getLogger("penstock.worker")

_PATIENCE = 5.0
"""Seconds that a migration waits for the lease when only descriptions have changed."""


@dataclass
class Outcome:
    """What has been done so far; what a run that is ended early has still to report."""

    attempt: int = 1
    datasets: list[DatasetReport] = field(default_factory=list)
    errors: list[PenstockError] = field(default_factory=list)
    more: dict[str, Any] = field(default_factory=dict)


class Ended(BaseException):
    """The run is ended from outside; not an Exception, so that nothing on the way takes it for a failure of its own."""

    def __init__(self, error: PenstockError) -> None:
        super().__init__(error.message)
        self.error = error


def program() -> NoReturn:
    """`main` as a whole process, which ends at once: a thread whose server does not answer must not hold it up."""
    code = places.EXIT_UNKNOWN
    try:
        code = main()
    except Exception:
        log.exception("no report could be left")
    logging.shutdown()
    sys.stdout.flush()
    os._exit(code)


def main(environment: Mapping[str, str] = os.environ) -> int:
    """Carry out the order of this Pod; the process's exit code, one of `places.EXIT_*`."""
    gc.set_threshold(100_000)  # data lies in Arrow, not in cycles: looking for them took 8 % of loading a million rows
    handler = logging.StreamHandler(sys.stdout)
    handler.setFormatter(visible.Formatter("%(asctime)s %(message)s", "%H:%M:%S"))
    logging.basicConfig(level=logging.INFO, handlers=[handler])
    for noisy in ("pyiceberg", "botocore", "aiobotocore", "s3fs", "fsspec"):
        logging.getLogger(noisy).setLevel(logging.ERROR)
    here, began = pod.here(environment), report.now()
    try:
        order = here.order()
    except PenstockError as error:
        log.error("%s", error.message)
        return places.EXIT_CONFIGURATION
    outcome = Outcome()
    try:
        with _bounds(order.deadline_seconds), _foreseen():
            JOBS[order.kind](order, here, outcome)
    except PenstockError as error:
        outcome.errors.append(error)
    except Ended as ended:
        outcome.errors.append(ended.error)
    done = _report(order, here, outcome, began)
    here.leave(summary.encode(done, [dataset.owner.name for dataset in order.datasets]))
    print(details(done), flush=True)  # the last line of the log
    return _exit_code(outcome.errors)


def ingest(order: RunOrder, here: Pod, outcome: Outcome) -> None:
    """Load every Dataset of the order. Each commits alone; one that fails does not keep the others from it."""
    source = order.source
    if source is None:
        raise InvalidSpec("The order names no Source.")
    for dataset in order.datasets:
        try:
            with _foreseen():
                outcome.datasets.append(load(order, source, dataset, here, outcome))
        except PenstockError as error:
            outcome.errors.append(error)
            outcome.datasets.append(report.failed(dataset.owner.name, error))


def load(order: RunOrder, source: SourceOrder, dataset: DatasetOrder, here: Pod, outcome: Outcome) -> DatasetReport:
    """THE LINE: one stream into one Dataset, exactly once for this run id."""
    from penstock.connectors.lake import commit
    from penstock.connectors.lake import tables as lake
    from penstock.worker.rows import stage

    home = lake.open(dataset.destination, here)
    with ledger.claim(home.database, dataset.owner.marker, _bid(order, here)) as claim:  # fenced lease
        outcome.attempt = max(outcome.attempt, claim.attempt)
        if claim.report is not None:  # committed before: the same answer, told as earlier
            return _told(report.of(claim, home, dataset.table))
        tables = lake.describe(home, lake.ensure(home, dataset), dataset)
        stage.sweep(claim, tables)  # what killed attempts of this run left behind
        given = planning.source(source, here)
        plan = planning.recorded(claim, order.identity, dataset, given)  # immutable: files and etags
        work = stage.Work(claim, dataset, given, tables, here)
        staged = [stage.shard(work, shard) for shard in plan.shards]  # read -> shape -> quality -> files in staging
        own = commit.all(claim, tables, (dataset, order.identity), plan, staged)  # one transaction
        return _told(report.of(claim, home, dataset.table, own))


def _bid(order: RunOrder, here: Pod) -> ledger.Bid:
    return ledger.Bid(here.run, here.name, f"{order.digest}/{here.attempt}")


def migrate(order: RunOrder, here: Pod, outcome: Outcome) -> None:
    """Create the Dataset's table and quarantine, or see that they are as its schema says."""
    from penstock.connectors.lake import tables as lake
    from penstock.worker.rows import shape

    for dataset in order.datasets:
        for column in dataset.schema_.fields:
            if column.from_ is not None:
                shape.check_expression(column.from_, f"field {column.name}")
        home = lake.open(dataset.destination, here)
        ledger.create(home.database)
        _describe(home, lake.ensure(home, dataset), dataset, _bid(order, here))
        entry = DatasetReport(name=dataset.owner.name, state="Ready")
        tail = ledger.tail(home.database, dataset.owner.marker)
        outcome.datasets.append(report.standing(home, dataset.table, entry).model_copy(update={"tail": tail}))
        log.info("%s: table %s.%s is ready", dataset.owner.name, lake.NAMESPACE, dataset.table)


def _describe(home: "lake.Lake", tables: "lake.Tables", dataset: DatasetOrder, bid: ledger.Bid) -> None:
    """Update the table's descriptions, unless a run is writing: it is not worth waiting for, and the next run will."""
    from penstock.connectors.lake import tables as lake

    if lake.described(tables, dataset):
        return
    try:
        with ledger.claim(home.database, dataset.owner.marker, bid, _PATIENCE):
            lake.describe(home, lake.ensure(home, dataset), dataset)
    except NotYet as held:
        log.info("%s The table's descriptions are left to the next run.", held.message)


def inspect_source(order: RunOrder, here: Pod, outcome: Outcome) -> None:
    """List the Source's files and sniff their columns."""
    from penstock.worker.jobs import inspection

    outcome.more["streams"] = inspection.source(order, here)


def inspect_destination(order: RunOrder, here: Pod, _: Outcome) -> None:
    """See whether the Destination can be written to."""
    from penstock.worker.jobs import inspection

    if order.destination is None:
        raise InvalidSpec("The order names no Destination.")
    inspection.destination(order.destination, here)


def deliver(order: RunOrder, here: Pod, outcome: Outcome) -> None:
    """Deliver the Dataset's current snapshot as files."""
    from penstock.worker.jobs import delivery

    outcome.more["delivery"], outcome.attempt = delivery.deliver(order, here)


def show(order: RunOrder, here: Pod, outcome: Outcome) -> None:
    """Print the first rows of the Dataset or of the Source."""
    from penstock.worker.jobs import preview

    if order.source is not None:
        preview.source(order, here)
    else:
        outcome.datasets.append(preview.dataset(order, here))


def _told(entry: DatasetReport) -> DatasetReport:
    counts, earlier = entry.counts, " (by an earlier attempt)" if entry.earlier else ""
    log.info(
        "%s: %s%s: %s rows read = %s loaded + %s quarantined; %s rows in the table",
        *(entry.name, entry.state, earlier),
        *(f"{number:,}" for number in (counts.read, counts.loaded, counts.quarantined, entry.rows or 0)),
    )
    return entry


Job = Callable[[RunOrder, Pod, Outcome], None]
JOBS: Mapping[OrderKind, Job] = {
    "inspect-source": inspect_source,
    "inspect-destination": inspect_destination,
    "migrate": migrate,
    "ingest": ingest,
    "deliver": deliver,
    "preview": show,
}


@contextmanager
def _bounds(deadline: float) -> Iterator[None]:
    """End the block with Ended on SIGTERM, and when it takes longer than `deadline` seconds."""

    def cancelled(*_: object) -> None:
        raise Ended(
            NotYet("The run was stopped before it had finished. Nothing was committed after that.", "Cancelled")
        )

    def late(*_: object) -> None:
        message = f"The run took longer than its deadline, {deadline:.0f} s. Raise deadline, or load less at once."
        raise Ended(InvalidSpec(message, "DeadlineExceeded"))

    before = signal.signal(signal.SIGTERM, cancelled), signal.signal(signal.SIGUSR1, late)
    watch = threading.Timer(deadline, os.kill, (os.getpid(), signal.SIGUSR1))
    watch.daemon = True
    watch.start()
    try:
        yield
    finally:
        watch.cancel()
        signal.signal(signal.SIGTERM, before[0])
        signal.signal(signal.SIGUSR1, before[1])


@contextmanager
def _foreseen() -> Iterator[None]:
    """Translate what engines and disks raise into our two words; the unforeseen keeps its message."""
    try:
        yield
    except PenstockError as error:
        log.error("%s: %s", error.reason, error.message)
        raise
    except (MemoryError, duckdb.OutOfMemoryException):
        message = "The worker needs more memory than its limit. Raise worker.resources.limits.memory of the Dataset."
        raise NotYet(message, "OutOfMemory") from None
    except Exception as error:
        if _disk_full(error):
            message = "No space is left where data is written. Free some space; the run is tried again."
            raise NotYet(message, "StorageFull") from None
        log.exception("unforeseen")
        raise PenstockError(f"{type(error).__name__}: {error}"[:500], "UnknownError") from error


def _disk_full(error: Exception) -> bool:
    if isinstance(error, OSError) and error.errno in storage.FULL:
        return True
    words = str(error).lower()
    said = ("no space left on device", "disk is full", "disk full", "file too large", f"[errno {errno.ENOSPC}]")
    return isinstance(error, OSError | sqlite3.Error | duckdb.Error) and any(phrase in words for phrase in said)


def _report(order: RunOrder, here: Pod, outcome: Outcome, began: str) -> RunReport:
    first = outcome.errors[0] if outcome.errors else None
    return RunReport(
        kind=order.kind,
        run=here.run,
        state="Failed" if first else "Succeeded",
        reason=first.reason if first else None,
        message=first.message if first else None,
        attempt=outcome.attempt,
        started_at=began,
        finished_at=report.now(),
        datasets=outcome.datasets,
        **outcome.more,
    )


def _exit_code(errors: list[PenstockError]) -> int:
    """Trying again is worth it as soon as one failure may heal by itself."""
    if not errors:
        return places.EXIT_DONE
    if any(isinstance(error, NotYet) for error in errors):
        return places.EXIT_AGAIN
    return places.EXIT_CONFIGURATION if all(isinstance(e, InvalidSpec) for e in errors) else places.EXIT_UNKNOWN
