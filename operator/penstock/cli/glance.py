"""One object at a glance: its state in a word and a colour, and its numbers. Pure."""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Literal

from penstock.language import times, words

State = Literal["good", "working", "bad", "off", "missing"]

MARKS: Mapping[State, tuple[str, str]] = {
    "good": ("●", "green"),
    "working": ("◐", "yellow"),
    "bad": ("✗", "red"),
    "off": ("○", "dim"),
    "missing": ("✗", "red"),
}
"""Each state's mark and its colour."""

MEANINGS: Mapping[State, str] = {
    "good": "healthy",
    "working": "in progress or waiting",
    "bad": "needs attention",
    "off": "suspended",
    "missing": "needs attention",
}
"""What each state means, for a legend."""

_IN_ORDER = ("Ready", "Reachable", "Discovered", "LastRunSucceeded", "QualityOK", "SchemaCurrent")
_PASSING = ("Progressing", "Waiting", "Suspended")


@dataclass(frozen=True)
class Trouble:
    """What an object says is wrong with it."""

    condition: str
    reason: str
    message: str


def condition(manifest: Mapping[str, Any], kind: str) -> Mapping[str, Any] | None:
    """One of an object's conditions."""
    entries = (manifest.get("status") or {}).get("conditions") or []
    return next((entry for entry in entries if entry["type"] == kind), None)


def state(manifest: Mapping[str, Any]) -> State:
    """How an object stands, all its conditions taken together."""
    if suspended(manifest):
        return "off"
    if troubles(manifest):
        return "bad"
    runs = (manifest.get("status") or {}).get("runs") or []
    ready = condition(manifest, "Ready")
    if held_up(manifest):
        return "working"
    if (runs and runs[0]["state"] in ("Running", "Waiting")) or ready is None or ready["status"] != "True":
        return "working"
    return "good"


def suspended(manifest: Mapping[str, Any]) -> bool:
    """Whether `suspend: true` holds it, its own or that of what it refers to."""
    ready = condition(manifest, "Ready")
    return bool((manifest.get("spec") or {}).get("suspend")) or (ready is not None and ready["reason"] == "Suspended")


def passing(entry: Mapping[str, Any]) -> bool:
    """Whether a condition that is false becomes true by waiting alone, or by taking back what was meant so."""
    return entry["reason"] in _PASSING


def troubles(manifest: Mapping[str, Any]) -> list[Trouble]:
    """The conditions that are false and will not become true by waiting alone; each word of them once."""
    troubles: dict[tuple[str, str], Trouble] = {}
    for kind in _IN_ORDER:
        entry = condition(manifest, kind)
        if entry is None or entry["status"] != "False" or passing(entry):
            continue
        trouble = Trouble(kind, entry["reason"], entry.get("message", ""))
        troubles.setdefault((trouble.reason, trouble.message), trouble)
    return list(troubles.values())


def held_up(manifest: Mapping[str, Any]) -> list[Trouble]:
    """The conditions that are unknown because a Pod cannot start; each word of them once."""
    troubles: dict[str, Trouble] = {}
    for kind in _IN_ORDER:
        entry = condition(manifest, kind)
        if entry is not None and (entry["status"], entry["reason"]) == ("Unknown", "Waiting"):
            troubles.setdefault(entry["message"], Trouble(kind, entry["reason"], entry["message"]))
    return list(troubles.values())


def numbers(manifest: Mapping[str, Any], now: datetime) -> list[str]:
    """The most important numbers of the object, a few short lines."""
    status = manifest.get("status") or {}
    notes = ["suspended"] if suspended(manifest) else []
    return notes + _NUMBERS[manifest["kind"]](manifest, status, now)


def _place(manifest: Mapping[str, Any], _status: Mapping[str, Any], _now: datetime) -> list[str]:
    if wrong := troubles(manifest):
        return [wrong[0].reason]
    if held_up(manifest):
        return ["waiting for its Pod"]
    reachable = condition(manifest, "Reachable")
    return ["reachable"] if reachable is not None and reachable["status"] == "True" else []


def _dataset(manifest: Mapping[str, Any], status: Mapping[str, Any], _now: datetime) -> list[str]:
    lines = []
    if status.get("rows") is not None:
        lines.append(words.count(status["rows"], "row"))
    lake = ((manifest.get("spec") or {}).get("destinationRef") or {}).get("name")
    if status.get("quarantinedRows"):
        lines.append(f"{status['quarantinedRows']:,} bad")
    return [*lines, f"in {lake}"] if lake else lines


def _pipeline(manifest: Mapping[str, Any], status: Mapping[str, Any], now: datetime) -> list[str]:
    run, lines = status.get("lastRun"), _runs(status, now)
    if run and run["state"] == "Succeeded" and run.get("rowsLoaded") is not None:
        lines.append(f"+{run['rowsLoaded']:,}")
    elif status.get("nextRunTime"):
        lines.append(_next(status["nextRunTime"], now))
    schedule = (manifest.get("spec") or {}).get("schedule")
    return [*lines, *map(str, schedule)] if isinstance(schedule, list) else lines


def _subscription(_manifest: Mapping[str, Any], status: Mapping[str, Any], now: datetime) -> list[str]:
    lines, deliveries = _runs(status, now), status.get("deliveries") or []
    if deliveries:
        lines.append(words.count(deliveries[0]["rows"], "row"))
    return lines


_NUMBERS = {
    "Source": _place,
    "Destination": _place,
    "Dataset": _dataset,
    "Pipeline": _pipeline,
    "Subscription": _subscription,
}


def _runs(status: Mapping[str, Any], now: datetime) -> list[str]:
    """The newest run that began, and whether one more waits."""
    last, newest = status.get("lastRun"), next(iter(status.get("runs") or []), None)
    waits = newest is not None and newest["state"] == "Waiting" and (last is None or last["state"] != "Waiting")
    return ([_run(last, now)] if last else []) + (["one more waits"] if waits else [])


def _run(run: Mapping[str, Any], now: datetime) -> str:
    at = run.get("finishedAt") or run.get("startedAt")
    word = {"Succeeded": "done"}.get(run["state"], run["state"].lower())
    if run["state"] == "Running" and run.get("message") and at:  # why it waits is shown beneath the picture
        return f"waiting for {span((now - times.parse(at)).total_seconds())}"
    return f"{word} {ago(at, now)}" if at else word


def _next(at: str, now: datetime) -> str:
    return f"next in {span((times.parse(at) - now).total_seconds())}"


def ago(at: str, now: datetime) -> str:
    """How long ago a time was, RFC 3339, in one unit."""
    return f"{span((now - times.parse(at)).total_seconds())} ago"


def span(seconds: float) -> str:
    """A length of time in its largest unit: `5s`, `3m`, `7h`, `2d`."""
    left = max(int(seconds), 0)
    for size, unit in ((86_400, "d"), (3_600, "h"), (60, "m")):
        if left >= size:
            return f"{left // size}{unit}"
    return f"{left}s"
