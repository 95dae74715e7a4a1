"""Second station: what the Jobs did. Pure table logic over Jobs, their Pods and the reports that they left.

Pods go, and their reports with them; what was harvested from them is in status, and is remembered from there.
"""

import signal
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, Literal, cast, get_args

from penstock.api import objects
from penstock.api.pipeline import Run
from penstock.api.source import Inspection, PodWaits
from penstock.control.cluster import owners
from penstock.control.cluster.port import Manifest
from penstock.control.resolve import Graph
from penstock.language import times
from penstock.language.conditions import Reason
from penstock.language.model import Model
from penstock.runs import places, summary
from penstock.runs.order import OrderKind
from penstock.runs.report import RunReport

CRON_TIME = "batch.kubernetes.io/cronjob-scheduled-timestamp"
"""Annotation that the CronJob controller puts on its Jobs: when the CronJob was due."""

_TOO_LONG = "the run took longer than its deadline and was ended"

State = Literal["Waiting", "Running", "Succeeded", "Failed"]


@dataclass(frozen=True)
class Observed:
    """One Job: what it was to do, how it stands, and what it reported. Times are RFC 3339."""

    job: str
    uid: str
    purpose: OrderKind
    run: str
    slot: str
    trigger: str
    """What started it: nonce, requested, schedule, manual or first; empty for inspections and migrations."""
    target: str
    """What an inspection or migration is for; empty for all others."""
    interval_end: str | None
    attempt: int
    failures: int
    """How many attempts in a row failed before this one."""
    order: str
    state: State
    created: str
    started: str | None
    finished: str | None
    pods: int
    pod: str | None
    report: RunReport | None
    reason: str | None
    """A `Reason`, or the word of a worker of another version."""
    message: str | None
    waits: PodWaits | None = None
    """What keeps its Pod from starting, or kept it until its time was over."""
    admitted: bool = False
    """Whether the gate has let it start: one that is suspended since then, a person has suspended."""
    whole: bool = True
    """Whether the last word is there: that of a success, or all Pods that ended; else it may be gone with its Pod."""
    loads: tuple[tuple[str, str], ...] = ()
    """The loads of other Datasets that were there when it began: (name of the Dataset, RFC 3339)."""
    podless: bool = False
    """Whether there is no Pod at work: none at all, or the newest one has ended without a word."""
    harvested: Run | None = None
    """How status tells of it, where that is more than its Job and the Pods that are left do."""

    @property
    def over(self) -> bool:
        """Whether it has come to its end."""
        return self.state in ("Succeeded", "Failed")

    @property
    def suspended_by_hand(self) -> bool:
        """Whether a person has suspended it after the gate had let it start."""
        return self.state == "Waiting" and self.admitted


@dataclass(frozen=True)
class Seen:
    """Every Job of a graph, newest first."""

    runs: tuple[Observed, ...]

    def of(self, *purposes: OrderKind) -> list[Observed]:
        """Those with one of these purposes, newest first."""
        return [run for run in self.runs if run.purpose in purposes]

    def newest(self, purpose: OrderKind) -> Observed | None:
        """The newest Job with this purpose."""
        return next((run for run in self.runs if run.purpose == purpose), None)

    def by_id(self, run: str) -> Observed | None:
        """The newest Job of a run id."""
        return next((observed for observed in self.runs if observed.run == run), None)


def of(graph: Graph) -> Seen:
    """What the Jobs of a graph did: as they and their Pods tell and, where Pods are gone, as status remembers."""
    seen = runs((*graph.children, *graph.dataset_jobs), graph.pods)
    return Seen(tuple(_remembered(run, graph.status) for run in seen.runs))


def _remembered(observed: Observed, status: Model) -> Observed:
    if observed.state == "Running" and observed.podless:
        # A Job that its deadline ends loses its Pod first, and is over only then: the cause must outlive the Pod.
        waits = _waited_before(observed, status)
        return replace(observed, waits=waits, message=waits.text if waits is not None else None)
    if not observed.over or observed.whole:
        return observed
    published: list[Run] = getattr(status, "runs", [])
    for run in published:
        if (run.job, run.state) == (observed.job, observed.state) and run.reason != "ReportLost":
            return replace(observed, reason=run.reason, message=run.message, harvested=run)
    if observed.reason == "DeadlineExceeded" and observed.report is None and observed.waits is None:
        waits = _waited_before(observed, status)
        return replace(observed, waits=waits, message=_too_long(waits))
    return observed


def _waited_before(observed: Observed, status: Model) -> PodWaits | None:
    """What kept its newest Pod from starting, as status has it of the time when the Job was not over yet."""
    published: list[Run] = getattr(status, "runs", [])
    for run in published:
        if (run.job, run.state) == (observed.job, "Running"):
            return run.pod_waits
    upkeep: Inspection | None = getattr(status, "inspection", None) or getattr(status, "migration", None)
    if upkeep is None or upkeep.state != "Running":
        return None
    return upkeep.pod_waits if (upkeep.order, upkeep.attempt) == (observed.target, observed.attempt) else None


def runs(jobs: Iterable[Manifest], pods: Mapping[str, Sequence[Manifest]]) -> Seen:
    """What `jobs` did, each once; `pods` are theirs by Job name, oldest first. What is not a run is passed over."""
    ours = {child["metadata"]["uid"]: child for child in jobs if _is_run(child)}
    seen = [job(child, pods.get(child["metadata"]["name"], ())) for child in ours.values()]
    return Seen(tuple(sorted(seen, key=lambda run: (run.created, run.attempt, run.job), reverse=True)))


def _is_run(child: Manifest) -> bool:
    return child["kind"] == "Job" and purpose(child) is not None


def purpose(manifest: Manifest) -> OrderKind | None:
    """What a Job is to do; None for one that does not say, or says what this version does not know."""
    word = owners.labels(manifest).get(objects.PURPOSE)
    return cast(OrderKind, word) if word in get_args(OrderKind) else None


def job(manifest: Manifest, pods: Sequence[Manifest]) -> Observed:
    """What one Job did. It must have a purpose, see `purpose`."""
    metadata, spec, status = manifest["metadata"], manifest["spec"], manifest.get("status") or {}
    annotations = metadata.get("annotations") or {}
    state, failure = _state(spec, status)
    work = purpose(manifest)
    assert work is not None  # noqa: S101 - see above
    names = [name for name in annotations.get(objects.DATASETS, "").split(",") if name]
    report = _newest_report(pods, annotations.get(objects.RUN_ID, ""), names)
    if state == "Succeeded" and report is not None and report.state == "Failed":
        report = None  # it is that of an earlier Pod, and the last one's is gone
    waits = _waiting(pods) if report is None and state in ("Running", "Failed") else None
    reason, message = _cause(state, failure, report, pods)
    if state == "Succeeded" and report is None and work == "inspect-source":
        state = "Failed"  # an inspection is what it reports
    event, scheduled = slot(manifest), _scheduled_time(annotations)
    is_upkeep = work not in ("ingest", "deliver")
    return Observed(
        job=metadata["name"],
        uid=metadata["uid"],
        purpose=work,
        slot=event,
        trigger=annotations.get(objects.TRIGGER) or ("schedule" if scheduled else "" if is_upkeep else "manual"),
        target=annotations.get(objects.TARGET, ""),
        run=annotations.get(objects.RUN_ID, ""),
        interval_end=_readable_time(annotations.get(objects.INTERVAL_END, "")) or scheduled,
        attempt=_attempt(annotations),
        failures=_failures(annotations),
        order=annotations.get(objects.ORDER, ""),
        state=state,
        created=metadata["creationTimestamp"],
        started=status.get("startTime"),
        finished=_finish_time(status),
        pods=sum(status.get(count) or 0 for count in ("active", "succeeded", "failed")),
        pod=pods[-1]["metadata"]["name"] if pods else None,
        report=report,
        reason=reason,
        message=message,
        waits=waits,
        admitted=objects.ADMITTED in annotations,
        loads=_loads(annotations.get(objects.LOADS, "")),
        whole=report is not None if reason == "DeadlineExceeded" else _whole(state, status, pods, report),
        podless=not pods or (_terminated(pods[-1]) is not None and report is None),
    )


def _loads(text: str) -> tuple[tuple[str, str], ...]:
    """The loads that an annotation tells of; what cannot be read in it, which anybody can change, is passed over."""
    pairs = [entry.partition("=") for entry in text.split(",")]
    return tuple((name, load) for name, _, load in pairs if name and _readable_time(load) is not None)


def _attempt(annotations: Mapping[str, str]) -> int:
    """Which attempt a Job is, from 1; 1 where its annotation is no number."""
    return max(_number(annotations.get(objects.ATTEMPT, "")) or 1, 1)


def _failures(annotations: Mapping[str, str]) -> int:
    """How many attempts in a row failed before a Job's: all earlier ones, where it does not say."""
    number = _number(annotations.get(objects.FAILURES, ""))
    return number if number is not None else _attempt(annotations) - 1


def _number(text: str) -> int | None:
    """A number of up to nine digits; None for any other text."""
    return int(text) if text.isascii() and text.isdigit() and len(text) < 10 else None


def slot(manifest: Manifest) -> str:
    """Which event a Job answers: our own annotation, the CronJob's time, or the Job itself where a person made it."""
    metadata = manifest["metadata"]
    annotations = metadata.get("annotations") or {}
    if objects.SLOT in annotations:
        return str(annotations[objects.SLOT])
    if (scheduled := _scheduled_time(annotations)) is not None:
        return f"schedule/{scheduled}"
    return f"manual/{metadata['uid']}"


def _readable_time(text: str) -> str | None:
    """A time from an annotation, which anybody can change; None for what is none."""
    try:
        times.parse(text)
    except ValueError:
        return None
    return text


def _scheduled_time(annotations: Mapping[str, str]) -> str | None:
    """When the Job of a CronJob was due, in UTC; it is written in the CronJob's time zone."""
    try:
        return times.text(times.parse(annotations[CRON_TIME]))
    except (KeyError, ValueError):
        return None


def _state(spec: Mapping[str, Any], status: Mapping[str, Any]) -> tuple[State, Mapping[str, Any] | None]:
    for condition in status.get("conditions") or []:
        if condition["status"] == "True" and condition["type"] == "Complete":
            return "Succeeded", None
        if condition["status"] == "True" and condition["type"] == "Failed":
            return "Failed", condition
    return ("Waiting" if spec.get("suspend") else "Running"), None


def _finish_time(status: Mapping[str, Any]) -> str | None:
    ends = [
        condition["lastTransitionTime"]
        for condition in status.get("conditions") or []
        if condition["type"] in ("Complete", "Failed") and condition["status"] == "True"
    ]
    return status.get("completionTime") or (ends[0] if ends else None)


def _terminated(pod: Manifest) -> Mapping[str, Any] | None:
    containers = (pod.get("status") or {}).get("containerStatuses") or []
    ours = [entry for entry in containers if entry.get("name") == "worker"] or containers  # others may be injected
    return next((entry["state"]["terminated"] for entry in ours if "terminated" in entry.get("state", {})), None)


def _all_there(status: Mapping[str, Any], pods: Sequence[Manifest]) -> bool:
    ended = sum(_terminated(pod) is not None for pod in pods)
    return ended >= max((status.get("succeeded") or 0) + (status.get("failed") or 0), 1)


def _whole(state: State, status: Mapping[str, Any], pods: Sequence[Manifest], report: RunReport | None) -> bool:
    return _all_there(status, pods) or (state == "Succeeded" and report is not None)


def _newest_report(pods: Sequence[Manifest], run: str, datasets: Sequence[str]) -> RunReport | None:
    for pod in reversed(pods):
        ended = _terminated(pod)
        if ended is not None:
            return summary.decode(ended.get("message", ""), run, datasets)
    return None


def _cause(
    state: State, failure: Mapping[str, Any] | None, report: RunReport | None, pods: Sequence[Manifest]
) -> tuple[str | None, str | None]:
    """Why it failed, or what holds it up."""
    if failure is not None:
        return _failure(failure, report, pods)
    if state == "Succeeded" and report is None:
        return "ReportLost", "the run succeeded; its report is gone with its Pod"
    waits = _waiting(pods) if state == "Running" else None
    return None, waits.text if waits is not None else None


def _failure(failure: Mapping[str, Any], report: RunReport | None, pods: Sequence[Manifest]) -> tuple[str, str | None]:
    """The worker's own word first, then the Pod's, then the Job's."""
    if report is not None and report.state == "Failed":
        return report.reason or "UnknownError", report.message
    ended = _terminated(pods[-1]) if pods else None
    late = failure.get("reason") == "DeadlineExceeded"
    if ended is not None and ended.get("exitCode") != places.EXIT_DONE and not (late and _never_ran(ended)):
        return _abrupt_end(ended)
    if late:
        return "DeadlineExceeded", _too_long(_waiting(pods))
    return "ReportLost", f"the Job failed ({failure.get('reason')}) and its Pod is gone with the report"


def _never_ran(ended: Mapping[str, Any]) -> bool:
    """Whether a Pod was deleted before its container began; the kubelet reports an end all the same."""
    return ended.get("reason") in ("StartError", "ContainerStatusUnknown")


def _too_long(waits: PodWaits | None) -> str:
    """That the deadline ended it and, where its newest Pod waited until then, what for: that is the cause."""
    if waits is None:
        return _TOO_LONG
    reason = "" if waits.reason == "Unschedulable" else f"{waits.reason}: "
    return f"{_TOO_LONG}; its Pod never started: {reason}{waits.message}"


def _abrupt_end(ended: Mapping[str, Any]) -> tuple[Reason, str]:
    code = ended.get("exitCode")
    if ended.get("reason") == "OOMKilled":
        return (
            "OutOfMemory",
            "the worker exceeded its memory limit; raise worker.resources.limits.memory of the Dataset",
        )
    if code == 128 + signal.SIGKILL:
        return "UnknownError", "the worker was killed (exit code 137) and left no report; often that is memory"
    return "UnknownError", f"the worker ended with exit code {code} and left no report; see its log"


def _waiting(pods: Sequence[Manifest]) -> PodWaits | None:
    """Why the newest Pod does not start, in the scheduler's or the kubelet's words."""
    if not pods:
        return None
    name, status = pods[-1]["metadata"]["name"], pods[-1].get("status") or {}
    placed = [one for one in status.get("conditions") or [] if one["type"] == "PodScheduled"]
    started = [one.get("state", {}).get("waiting") for one in status.get("containerStatuses") or []]
    reasons = [one for one in placed if one["status"] == "False"] + [one for one in started if one]
    for why in reasons:
        if why.get("reason") not in (None, "ContainerCreating", "PodInitializing"):
            return PodWaits(pod=name, reason=why["reason"][:64], message=why.get("message", "")[:512])
    return None
