"""The metrics of the operator, in the text format of Prometheus.

Each reconciliation records a few small values of its object, some hundred bytes. They become text only when the
metrics are requested, in the thread of the probes. Runs and rows are counted when the end of a run has been written to
the status, so each run is counted once, also across restarts.
"""

from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field

from prometheus_client import CollectorRegistry, Histogram, generate_latest
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily
from prometheus_client.registry import Collector

from penstock.api.dataset import DatasetSpec, DatasetStatus
from penstock.api.objects import Key
from penstock.api.pipeline import Run
from penstock.language import times
from penstock.language.conditions import Condition
from penstock.language.model import Model
from penstock.language.scalars import seconds

CONTENT_TYPE = "text/plain; version=0.0.4; charset=utf-8"

_OBJECT = ("kind", "namespace", "name")
_STATES = {"True": 1.0, "False": 0.0, "Unknown": -1.0}
_ROWS = ("read", "loaded", "unchanged", "superseded", "quarantined", "ignored", "replaced")
_RUN_BUCKETS = (1, 5, 15, 30, 60, 120, 300, 600, 1800, 3600, 7200, 21600)
_RECONCILE_BUCKETS = (0.001, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 5)

DATASET_GAUGES: Mapping[str, str] = {
    "rows": "Rows in the table of a Dataset.",
    "bytes": "Size of the table of a Dataset, in bytes.",
    "quarantined_rows": "Rows in the quarantine of a Dataset.",
    "last_load_timestamp_seconds": "When rows were last loaded into a Dataset.",
    "last_confirmed_timestamp_seconds": "When a run last loaded a Dataset or found nothing new for it.",
    "freshness_seconds": "How old the data of a Dataset may be, by its `freshness`.",
}

OPERATOR_GAUGES: Mapping[str, str] = {
    "work_queue_length": "Objects that wait to be reconciled.",
    "watch_silence_seconds": "For how long the API server has sent nothing.",
    "work_loop_longest_block_seconds": "The longest time for which the work loop ran nothing else.",
}


@dataclass(frozen=True, slots=True)
class _Waiting:
    """A run that waits: the cause, the object that it waits for, and since when (RFC 3339)."""

    cause: str
    object: str
    since: str


@dataclass(frozen=True, slots=True)
class _Standing:
    """What was recorded of one object."""

    conditions: tuple[tuple[str, float], ...]
    running: int
    waiting: tuple[_Waiting, ...]
    figures: tuple[tuple[str, float], ...]


@dataclass
class Metrics:
    """What is counted and recorded; written by the work loop, read by the thread of the probes."""

    gauges: dict[str, Callable[[], float]] = field(default_factory=dict)
    """How to ask for each of `OPERATOR_GAUGES`."""
    api_calls: Mapping[tuple[str, str], int] = field(default_factory=dict)
    """Requests to the API server, by method and status code; the code is `none` where there was no answer."""
    _standings: dict[Key, _Standing] = field(default_factory=dict)
    _runs: Counter[tuple[str, str, str, str, str]] = field(default_factory=Counter)
    _rows: Counter[tuple[str, str, str, str]] = field(default_factory=Counter)

    def __post_init__(self) -> None:
        self._registry = CollectorRegistry()
        self._durations = Histogram(
            "penstock_run_duration_seconds",
            "How long runs took.",
            ["kind"],
            buckets=_RUN_BUCKETS,
            registry=self._registry,
        )
        self._reconciles = Histogram(
            "penstock_reconcile_duration_seconds",
            "How long reconciliations took, waiting included.",
            ["kind"],
            buckets=_RECONCILE_BUCKETS,
            registry=self._registry,
        )
        self._registry.register(_Noted(self))

    def note(self, key: Key, spec: Model | None, status: Model) -> None:
        """Record the values of an object, by its spec and its new status."""
        conditions: list[Condition] = getattr(status, "conditions", [])
        runs: list[Run] = getattr(status, "runs", [])
        self._standings[key] = _Standing(
            tuple((condition.type, _STATES[condition.status]) for condition in conditions),
            sum(run.state == "Running" for run in runs),
            tuple(
                _Waiting(run.waiting.cause, run.waiting.object or "", run.waiting.since)
                for run in runs
                if run.waiting is not None and not run.over
            ),
            tuple(_figures(spec, status)) if isinstance(status, DatasetStatus) else (),
        )

    def forget(self, key: Key) -> None:
        """Remove the values of an object that was deleted."""
        self._standings.pop(key, None)

    def published(self, key: Key, before: Model, after: Model) -> None:
        """A status was written: count the runs that it says have ended, and that the one before did not."""
        ended = {(run.id, run.attempt) for run in getattr(before, "runs", []) if run.over}
        for run in getattr(after, "runs", []):
            if run.over and (run.id, run.attempt) not in ended:
                self._count(key, run)

    def reconciled(self, key: Key, duration: float) -> None:
        """A reconciliation has ended after that many seconds."""
        self._reconciles.labels(key.kind).observe(duration)

    def text(self) -> bytes:
        """All metrics, in the text format of Prometheus (version 0.0.4)."""
        return generate_latest(self._registry)

    def _count(self, key: Key, run: Run) -> None:
        reason = (run.reason or "") if run.state == "Failed" else ""
        self._runs[key.kind, key.namespace, key.name, run.state, reason] += 1
        if run.started_at is None:
            return  # its work had been done by an earlier run, whose rows were counted
        for outcome in _ROWS:
            self._rows[key.kind, key.namespace, key.name, outcome] += getattr(run, f"rows_{outcome}") or 0
        if run.finished_at is not None:
            duration = times.parse(run.finished_at) - times.parse(run.started_at)
            self._durations.labels(key.kind).observe(max(duration.total_seconds(), 0.0))


class _Noted(Collector):
    """Makes metrics of what was recorded. The copies are taken at once, so the work loop can continue to write."""

    def __init__(self, metrics: Metrics) -> None:
        self._metrics = metrics

    def collect(self) -> Iterator[GaugeMetricFamily | CounterMetricFamily]:
        standings = list(self._metrics._standings.items())
        yield from self._of_objects(standings)
        yield from self._of_runs(standings)
        yield from self._counters()
        for name, documentation in OPERATOR_GAUGES.items():
            family = GaugeMetricFamily(f"penstock_{name}", documentation)
            if (ask := self._metrics.gauges.get(name)) is not None:
                family.add_metric([], ask())
            yield family

    def _of_objects(self, standings: list[tuple[Key, _Standing]]) -> Iterator[GaugeMetricFamily]:
        conditions = GaugeMetricFamily(
            "penstock_condition", "A condition: 1 True, 0 False, -1 Unknown.", labels=[*_OBJECT, "type"]
        )
        datasets = {
            name: GaugeMetricFamily(f"penstock_dataset_{name}", documentation, labels=["namespace", "name"])
            for name, documentation in DATASET_GAUGES.items()
        }
        for key, standing in standings:
            for condition, value in standing.conditions:
                conditions.add_metric([key.kind, key.namespace, key.name, condition], value)
            for name, value in standing.figures:
                datasets[name].add_metric([key.namespace, key.name], value)
        yield conditions
        yield from datasets.values()

    def _of_runs(self, standings: list[tuple[Key, _Standing]]) -> Iterator[GaugeMetricFamily]:
        running: Counter[tuple[str, str]] = Counter()
        waiting: Counter[tuple[str, str, str, str]] = Counter()
        oldest: dict[tuple[str, str], str] = {}
        for key, standing in standings:
            group = (key.kind, key.namespace)
            running[group] += standing.running
            for wait in standing.waiting:
                waiting[(*group, wait.cause, wait.object)] += 1
                oldest[group] = min(wait.since, oldest.get(group, wait.since))
        family = GaugeMetricFamily("penstock_runs_active", "Runs under way.", labels=["kind", "namespace"])
        for labels, count in running.items():
            family.add_metric(labels, count)
        yield family
        family = GaugeMetricFamily(
            "penstock_runs_waiting",
            "Runs that wait, by cause and by the object that they wait for.",
            labels=["kind", "namespace", "cause", "object"],
        )
        for pieces, count in waiting.items():
            family.add_metric(pieces, count)
        yield family
        family = GaugeMetricFamily(
            "penstock_oldest_waiting_run_timestamp_seconds",
            "Since when the oldest of the runs that wait has waited.",
            labels=["kind", "namespace"],
        )
        for labels, since in oldest.items():
            family.add_metric(labels, times.parse(since).timestamp())
        yield family

    def _counters(self) -> Iterator[CounterMetricFamily]:
        runs = CounterMetricFamily("penstock_runs", "Runs that have ended.", labels=[*_OBJECT, "state", "reason"])
        for labels, count in list(self._metrics._runs.items()):
            runs.add_metric(labels, count)
        rows = CounterMetricFamily("penstock_rows", "Rows of runs that have ended.", labels=[*_OBJECT, "outcome"])
        for names, count in list(self._metrics._rows.items()):
            rows.add_metric(names, count)
        calls = CounterMetricFamily(
            "penstock_api_requests", "Requests to the API server; code none: no answer.", labels=["method", "code"]
        )
        for pair, count in list(self._metrics.api_calls.items()):
            calls.add_metric(pair, count)
        yield from (runs, rows, calls)


def _figures(spec: Model | None, status: DatasetStatus) -> Iterator[tuple[str, float]]:
    for name in ("rows", "bytes", "quarantined_rows"):
        if (number := getattr(status, name)) is not None:
            yield name, float(number)
    moments = {"last_load": status.last_load_time, "last_confirmed": status.last_confirmed_time}
    for name, moment in moments.items():
        if moment is not None:
            yield f"{name}_timestamp_seconds", times.parse(moment).timestamp()
    if isinstance(spec, DatasetSpec) and spec.freshness is not None:
        yield "freshness_seconds", float(seconds(spec.freshness))
