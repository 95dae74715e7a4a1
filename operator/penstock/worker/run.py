"""The worker's process: one order in, one job carried out, one report out. It knows no system, only ports.

What a job alone needs is imported where it begins: a store may take half a second, and inspections go without.
"""

import errno
import gc
import logging
import os
import sys
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from functools import partial
from typing import Any, NoReturn

import duckdb

from penstock.language import visible
from penstock.language.errors import InvalidSpec, NotYet, PenstockError
from penstock.runs import places, summary
from penstock.runs.order import DatasetOrder, OrderKind, RunOrder
from penstock.runs.report import DatasetReport, RunReport, StreamReport, details
from penstock.worker import pod, report
from penstock.worker.connectors import Connectors
from penstock.worker.pod import Pod
from penstock.worker.watch import Ended, Watch

log = logging.getLogger("penstock.worker")

ALL = Connectors()
_FULL = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)
"""What a system says when no space is left, for the disk, the quota, or one file."""


@dataclass
class Outcome:
    """What has been done so far; what a run that is ended early has still to report."""

    attempt: int = 1
    datasets: list[DatasetReport] = field(default_factory=list)
    errors: list[PenstockError] = field(default_factory=list)
    more: dict[str, Any] = field(default_factory=dict)


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


def main(environment: Mapping[str, str] = os.environ, connectors: Connectors = ALL) -> int:
    """Carry out the order of this Pod with these connectors; the process's exit code, one of `places.EXIT_*`."""
    gc.set_threshold(100_000)  # data lies in Arrow, not in cycles: looking for them took 8 % of loading a million rows
    handler = logging.StreamHandler(sys.stdout)
    handler.setFormatter(visible.Formatter("%(asctime)s %(message)s", "%H:%M:%S"))
    logging.basicConfig(level=logging.INFO, handlers=[handler])
    for noisy in ("pyiceberg", "botocore", "aiobotocore", "s3fs", "fsspec"):
        logging.getLogger(noisy).setLevel(logging.ERROR)
    here, began = pod.here(environment), report.timestamp()
    try:
        order = here.order()
    except PenstockError as error:
        log.error("%s", error.message)
        return places.EXIT_CONFIGURATION
    outcome = Outcome()
    watch = Watch(order.deadline_seconds, partial(_leave, order, here, outcome, began))
    try:
        with watch.over(), _foreseen():
            JOBS[order.kind](order, here, connectors, outcome)
    except PenstockError as error:
        outcome.errors.append(error)
    except Ended as ended:
        outcome.errors.append(ended.error)
    return _leave(order, here, outcome, began)


def ingest(order: RunOrder, here: Pod, connectors: Connectors, outcome: Outcome) -> None:
    """Load every Dataset of the order. Each commits alone; one that fails does not keep the others from it."""
    from penstock.worker.jobs import ingest as job

    def guard(dataset: DatasetOrder, load: Callable[[], DatasetReport]) -> DatasetReport | None:
        try:
            with _foreseen():
                entry = load()
        except PenstockError as error:
            outcome.errors.append(error)
            outcome.datasets.append(report.failed(dataset.owner.name, error))
            return None
        job.log_result(entry)
        outcome.datasets.append(entry)
        return entry

    def attempted(number: int) -> None:
        outcome.attempt = max(outcome.attempt, number)

    def listed(stream: str, inputs: int) -> None:
        streams = outcome.more.setdefault("streams", [])
        if all(each.name != stream for each in streams):
            streams.append(StreamReport(name=stream, files=inputs))

    job.ingest(order, here, connectors, guard, job.Progress(attempted, listed))


def migrate(order: RunOrder, here: Pod, connectors: Connectors, outcome: Outcome) -> None:
    """Create the Dataset's table and quarantine, or see that they are as its schema says."""
    from penstock.worker.jobs import migrate as job

    outcome.datasets.extend(job.migrate(order, here, connectors))


def inspect_source(order: RunOrder, here: Pod, connectors: Connectors, outcome: Outcome) -> None:
    """List the Source's streams and their columns."""
    from penstock.worker.jobs import inspection as job

    outcome.more["streams"] = job.inspect_source(order, here, connectors)


def inspect_destination(order: RunOrder, here: Pod, connectors: Connectors, _: Outcome) -> None:
    """See whether the Destination can be written to."""
    from penstock.worker.jobs import inspection as job

    job.inspect_destination(order, here, connectors)


def deliver(order: RunOrder, here: Pod, connectors: Connectors, outcome: Outcome) -> None:
    """Deliver the Dataset's current snapshot."""
    from penstock.worker.jobs import deliver as job

    outcome.more["delivery"], outcome.attempt = job.deliver(order, here, connectors)


def preview(order: RunOrder, here: Pod, connectors: Connectors, outcome: Outcome) -> None:
    """Print the first rows of the Dataset or of the Source."""
    from penstock.worker.jobs import preview as job

    if order.delivery is not None:
        job.subscription(order, here, connectors)
    elif order.source is not None:
        job.source(order, here, connectors)
    else:
        outcome.datasets.append(job.dataset(order, here, connectors))


Job = Callable[[RunOrder, Pod, Connectors, Outcome], None]
JOBS: Mapping[OrderKind, Job] = {
    "inspect-source": inspect_source,
    "inspect-destination": inspect_destination,
    "migrate": migrate,
    "ingest": ingest,
    "deliver": deliver,
    "preview": preview,
}


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
    """Whether it says that no space is left: an error of the system, or the words of a database or an engine."""
    if isinstance(error, OSError) and error.errno in _FULL:
        return True
    said = str(error).lower()
    phrases = ("no space left on device", "disk is full", "disk full", "file too large", f"[errno {errno.ENOSPC}]")
    return any(phrase in said for phrase in phrases)


def _leave(order: RunOrder, here: Pod, outcome: Outcome, began: str, error: PenstockError | None = None) -> int:
    """Leave the report, with `error` beside those of the outcome; the exit code that goes with it."""
    every = replace(outcome, errors=[*outcome.errors, *([error] if error else [])])
    done = _report(order, here, every, began)
    here.leave(summary.encode(done, [dataset.owner.name for dataset in order.datasets]))
    print(details(done), flush=True)  # the last line of the log
    return _exit_code(every.errors)


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
        finished_at=report.timestamp(),
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
