"""Fourth station: which runs must exist now, which may start, which are past keeping. Pure; time is passed in."""

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import cast

from penstock.api import objects
from penstock.api.dataset import DatasetStatus
from penstock.api.destination import DestinationStatus
from penstock.api.pipeline import PipelineSpec, PipelineStatus, Run
from penstock.api.source import Inspection, SourceStatus
from penstock.api.subscription import SubscriptionStatus
from penstock.control import loads, observe
from penstock.control.desired import orders
from penstock.control.desired import runs as runs_of
from penstock.control.desired.runs import Start
from penstock.control.observe import Observed, Seen
from penstock.control.resolve import Graph
from penstock.control.settings import Settings
from penstock.language import times
from penstock.language.conditions import Reason
from penstock.language.model import Model
from penstock.runs.order import RUNS, OrderKind, RunOrder

UPKEEP: tuple[OrderKind, ...] = ("inspect-source", "inspect-destination", "migrate")
"""What is done once for a spec, and again until it succeeds."""

OUTSIDE: frozenset[Reason] = frozenset(
    {
        "SecretMissing",
        "WrongCredentials",
        "ResourceNotFound",
        "Unreachable",
        "TlsFailed",
        "Timeout",
        "StorageFull",
        "LeaseHeld",
        "DatasetNotReady",
        "ReportLost",
        "UnknownError",
    }
)
"""Failures whose cause lies outside, and can go without our seeing it: such a run is tried again by itself, ever more
rarely. What the data is to blame for (WrongSpecification, TooManyBadRows) or a limit that we were given
(DeadlineExceeded, OutOfMemory) comes out the same again, until somebody changes the data or the manifest.
"""

PERMANENT: frozenset[Reason] = frozenset({"InvalidSpec"})
"""Failed inspections and migrations that come out the same until the spec changes: they are not tried again."""

QUICK: frozenset[Reason] = frozenset({"SecretMissing", "ReportLost"})
"""Failures that often end within seconds: a Secret is applied together with what names it, and a report that was lost
is read from the ledger. Their first repetitions come quickly."""

QUICK_SECONDS = (2, 4, 8)
"""The delays of those first repetitions."""

UNANSWERED: frozenset[Reason] = frozenset({"Unreachable", "TlsFailed", "Timeout", "WrongCredentials", "SecretMissing"})
"""Failures that mean that a Source or a Destination did not let us in."""

UPKEEP_HISTORY = 2
PREVIEW_SECONDS = 600

FIRST = "first"
AFTER = "after"

REQUEST_LENGTH = 256
"""How much of the annotation `penstock.dev/requestedAt` counts, as status holds it."""

RUN_ID_LENGTH = 253
"""Longest run id, as status holds it."""


def runs(graph: Graph, seen: Seen, now: datetime) -> list[Start]:
    """The runs that must exist now and do not. Nothing for a graph with a problem or that is suspended."""
    order = orders.of(graph)
    if order is None or graph.suspended is not None or graph.meta.deleting:
        return []
    if order.kind in UPKEEP:
        return _upkeep(graph, order, seen, now)
    events = _asked_for(graph) or _first_delivery(graph, seen) or _after_a_load(graph, seen)
    begun = {run.id for run in getattr(graph.status, "runs", [])}  # one whose Job is gone was cancelled, and stays so
    starts = [
        Start(order, slot, identity, times.text(now), suspended=True, trigger=trigger)
        for slot, trigger in events.items()
        if (identity := run_id(graph, slot)) not in begun and seen.by_id(identity) is None
    ]
    return starts or _again(graph, order, seen, now)


def run_id(graph: Graph, slot: str) -> str:
    """The id under which the ledger knows a run: identity and slot; one that is too long ends in its hash."""
    whole = f"{graph.identity}/{slot}"
    if len(whole) <= RUN_ID_LENGTH:
        return whole
    return f"{whole[: RUN_ID_LENGTH - 17]}-{hashlib.sha256(whole.encode()).hexdigest()[:16]}"


def asked(graph: Graph) -> dict[str, str]:
    """What a person asks a run of: the nonce and the request by annotation, as far as status can echo them."""
    nonce = graph.request.run_nonce
    requested = graph.meta.annotations.get(objects.REQUESTED_AT, "")[:REQUEST_LENGTH]
    return {"nonce": nonce, "requested": requested}


def handled(status: Model) -> dict[str, str | None]:
    """What was asked for and has come to its end, as a status echoes it."""
    published = cast("PipelineStatus | SubscriptionStatus", status)
    return {"nonce": published.handled_run_nonce, "requested": published.handled_requested_at}


def target(graph: Graph, order: RunOrder) -> str:
    """What an inspection or migration is for: the order, and the newest request to do it again."""
    requested = graph.meta.annotations.get(objects.REQUESTED_AT)
    if requested is None:
        return order.digest
    return hashlib.sha256(f"{order.digest}\n{requested}".encode()).hexdigest()[:16]


def next_time(graph: Graph, seen: Seen, now: datetime) -> datetime | None:
    """When to look at the graph again though nothing happens: the next retry, or the end of a preview's keep."""
    order = orders.of(graph)
    if order is None or graph.suspended is not None or graph.meta.deleting:
        return None
    if order.kind in UPKEEP:
        last = _last_upkeep(graph, order, seen)
        moments = [last.retry] if last is not None and last.again else []
    else:
        moments = [next_attempt(graph, seen)]
    moments += [_preview_end(preview) for preview in seen.of("preview")]
    ahead = [moment for moment in moments if moment is not None and moment > now]
    return min(ahead, default=None)


def retried(graph: Graph, seen: Seen) -> Observed | None:
    """The newest run, if it will be tried again by itself: it failed, and its cause lies outside or its order changed.

    One that succeeded and whose report was lost is repeated, too: the ledger has what it did, so it does nothing twice.
    """
    newest = _newest(seen)
    if newest is None or not (newest.state == "Failed" or _lost(newest)):
        return None
    if not newest.run or _cancelled_since(graph, seen, newest):
        return None
    order = orders.of(graph)
    changed = order is not None and newest.order != runs_of.fingerprint(graph, order)
    return newest if newest.reason in OUTSIDE or changed else None


def _lost(run: Observed) -> bool:
    """Whether it did what it was to do, and nobody could read what that was."""
    return run.state == "Succeeded" and run.reason == "ReportLost"


def next_attempt(graph: Graph, seen: Seen) -> datetime | None:
    """When a failed run is tried again, if nothing else happens; None where none is, or nothing may start."""
    failed = retried(graph, seen)
    startable = graph.problem is None and graph.suspended is None and not graph.meta.deleting
    return retry_time(failed, graph.settings) if failed is not None and startable else None


def expired(graph: Graph, seen: Seen, now: datetime) -> list[Observed]:
    """Jobs to delete: over, beyond the history, and neither the latest success nor the latest failure.

    Ask only after what was `seen` has been published: what a Job reported goes with it.
    """
    keep = graph.spec.history if isinstance(graph.spec, PipelineSpec) else 10
    gone = _beyond([run for run in seen.of(*RUNS) if run.over], keep)
    gone += _beyond([run for run in seen.of(*UPKEEP) if run.over], UPKEEP_HISTORY)
    gone += [run for run in seen.of("preview") if (end := _preview_end(run)) is not None and end <= now]
    return gone


# ── inspections and migrations ──


@dataclass(frozen=True)
class _Last:
    """How the newest attempt at an inspection or migration ended, from its Job or else from status."""

    attempt: int
    again: bool
    """Whether it is done once more, at `retry` or (None) now."""
    retry: datetime | None
    failures: int | None = None
    """How many attempts in a row have failed, where that is not all of them."""


def _upkeep(graph: Graph, order: RunOrder, seen: Seen, now: datetime) -> list[Start]:
    if any(_is_false(node.condition("Reachable")) for node in graph.nodes if node.key.kind == "Destination"):
        return []
    last = _last_upkeep(graph, order, seen)
    if last is not None and not (last.again and (last.retry is None or last.retry <= now)):
        return []
    wanted = target(graph, order)
    attempt = (last.attempt if last is not None else _earlier_attempts(seen, order, wanted)) + 1
    slot = f"{wanted}/{attempt}"
    failures = last.failures if last is not None else 0 if attempt > 1 else None
    start = Start(order, slot, f"{graph.identity}/{slot}", times.text(now), attempt, target=wanted, failures=failures)
    return [start]


def _last_upkeep(graph: Graph, order: RunOrder, seen: Seen) -> _Last | None:
    job = upkeep_job(graph, seen)
    if job is not None:
        if (doubt := _recheck_time(graph, job.state, job.finished)) is not None:
            return _Last(job.attempt, again=True, retry=doubt, failures=0)
        failures = job.failures + 1 if job.failures != job.attempt - 1 else None
        return _Last(job.attempt, again=repeated(job), retry=retry_time(job, graph.settings), failures=failures)
    published, wanted = upkeep_status(graph), target(graph, order)
    newest = seen.newest(order.kind)
    if published is None or published.order != wanted or (newest is not None and newest.target != wanted):
        return None
    if (doubt := _recheck_time(graph, published.state, checked_at(graph.status))) is not None:
        return _Last(published.attempt, again=True, retry=doubt, failures=0)
    retry = times.parse(published.retry_time) if published.retry_time else None
    done = published.reason in PERMANENT or (published.state == "Succeeded" and published.reason != "ReportLost")
    return _Last(published.attempt, again=not done, retry=retry)


def _earlier_attempts(seen: Seen, order: RunOrder, wanted: str) -> int:
    """The last attempt at this before something else was wanted: a spec that is put back is looked at once more."""
    return max((run.attempt for run in seen.of(order.kind) if run.target == wanted), default=0)


def _recheck_time(graph: Graph, state: str, checked: str | None) -> datetime | None:
    """When to inspect again what succeeded when it was last inspected, because a run has failed to use it since.

    `state` and `checked` are how and when (RFC 3339) that inspection ended. None: no run contradicts it.
    """
    use = newest_use(graph)
    if state != "Succeeded" or use is None or use.state != "Failed" or checked is None:
        return None
    contradicts = use.reason in UNANSWERED or (graph.key.kind == "Source" and use.reason == "ResourceNotFound")
    if not contradicts or (use.finished or "") <= checked:
        return None
    return times.parse(checked) + timedelta(seconds=graph.settings.retry_seconds)


def newest_use(graph: Graph) -> Observed | None:
    """The run that used this Source or Destination and ended last."""
    return next(iter(observe.runs(graph.last_use, graph.pods).runs), None)


def checked_at(status: Model) -> str | None:
    """When a Source or a Destination was last inspected, RFC 3339, as status has it."""
    return (
        cast("SourceStatus | DestinationStatus", status).last_check_time if hasattr(status, "last_check_time") else None
    )


def repeated(job: Observed) -> bool:
    """Whether an inspection or migration that is over is done once more, though nothing changes."""
    return (job.state == "Failed" and job.reason not in PERMANENT) or _lost(job)


def upkeep_job(graph: Graph, seen: Seen) -> Observed | None:
    """The newest attempt at what the spec now asks for, by its Job; None where status has more than Jobs still do."""
    order = orders.of(graph)
    if order is None:
        return None
    wanted = target(graph, order)
    newest = seen.newest(order.kind)
    job = newest if newest is not None and newest.target == wanted else None
    published = upkeep_status(graph)
    if job is None or published is None or published.order != wanted or published.state == "Running":
        return job
    harvested = published.attempt == job.attempt and not job.whole and published.reason != "ReportLost"
    return None if published.attempt > job.attempt or harvested else job


def upkeep_status(graph: Graph) -> Inspection | None:
    """The inspection or migration as status has it."""
    status = graph.status
    if isinstance(status, DatasetStatus):
        return status.migration
    return status.inspection if isinstance(status, SourceStatus | DestinationStatus) else None


def _is_false(condition: object) -> bool:
    return getattr(condition, "status", None) == "False"


# ── runs ──


def _asked_for(graph: Graph) -> dict[str, str]:
    """The slots of a new nonce and of a new request by annotation, each with its trigger."""
    done = handled(graph.status)
    return {f"{event}/{value}": event for event, value in asked(graph).items() if value and value != done[event]}


def _first_delivery(graph: Graph, seen: Seen) -> dict[str, str]:
    """A Subscription delivers first when its Dataset has data."""
    status, dataset = graph.status, graph.dataset
    if not isinstance(status, SubscriptionStatus) or dataset is None:
        return {}
    loaded = cast(DatasetStatus, dataset.status).last_load_time is not None
    begun = bool(status.deliveries or status.runs or seen.of("deliver"))
    return {FIRST: FIRST} if loaded and not begun else {}


def _after_a_load(graph: Graph, seen: Seen) -> dict[str, str]:
    """The slot of the run that a load of another Dataset asks for."""
    slot = loads.slot(graph, seen)
    return {slot: AFTER} if slot is not None else {}


def _again(graph: Graph, order: RunOrder, seen: Seen, now: datetime) -> list[Start]:
    """A new attempt at the newest run, if it failed and there is a reason to hope."""
    newest = retried(graph, seen)
    if newest is None:
        return []
    retry = retry_time(newest, graph.settings)
    unchanged = newest.order == runs_of.fingerprint(graph, order)
    if unchanged and retry is not None and retry > now:
        return []
    end = newest.interval_end or times.text(now)
    return [Start(order, newest.slot, newest.run, end, newest.attempt + 1, suspended=True, trigger=newest.trigger)]


def _newest(seen: Seen) -> Observed | None:
    """The newest run, if none is under way."""
    ours = seen.of(*RUNS)
    return ours[0] if ours and all(run.over for run in ours) else None


def _cancelled_since(graph: Graph, seen: Seen, newest: Observed) -> bool:
    """Whether somebody deleted the Job of a later attempt or run: a cancelled run stays so, and wakes no older one."""
    jobs = {run.job for run in seen.runs}
    for run in getattr(graph.status, "runs", []):
        later = (run.started_at or run.scheduled_time or "") > newest.created
        unfinished = run.state in ("Waiting", "Running", "Cancelled") and run.job not in jobs
        if unfinished and (superseded(newest, run) if run.id == newest.run else later):
            return True
    return False


def superseded(observed: Observed, run: Run) -> bool:
    """Whether status knows of a later attempt at a run than its newest Job."""
    return (run.attempt or 1) > observed.attempt


def retry_time(run: Observed, settings: Settings) -> datetime | None:
    """When to try again what failed: after 15 s, doubled with each attempt, up to 10 minutes, by default.

    For the reasons in `QUICK` the delays in `QUICK_SECONDS` come first.
    """
    if run.finished is None:
        return None
    quick = QUICK_SECONDS if run.reason in QUICK else ()
    if run.failures < len(quick):
        delay = min(float(quick[run.failures]), settings.retry_seconds)
    else:
        doubled = settings.retry_seconds * 2 ** min(run.failures - len(quick), 16)
        delay = min(doubled, settings.retry_limit_seconds)
    return times.parse(run.finished) + timedelta(seconds=delay)


def _beyond(over: Sequence[Observed], keep: int) -> list[Observed]:
    """Of finished runs, newest first, those past `keep` that are neither the newest success nor the newest failure."""
    newest = {next((run.uid for run in over if run.state == state), None) for state in ("Succeeded", "Failed")}
    return [run for run in over[keep:] if run.uid not in newest]


def _preview_end(run: Observed) -> datetime | None:
    return times.parse(run.finished) + timedelta(seconds=PREVIEW_SECONDS) if run.finished is not None else None
