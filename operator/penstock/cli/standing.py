"""How what `penstock run` asked for stands, read off the object: over, or what it waits for. Pure."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from penstock.cli import feed, glance

Object = Mapping[str, Any]

RUNNING = "running"

_OVER = ("Succeeded", "Failed", "Cancelled")
_CONDITIONS: Mapping[str, tuple[str, ...]] = {
    "Source": ("Reachable", "Discovered"),
    "Destination": ("Reachable",),
    "Dataset": ("Ready", "SchemaCurrent"),
}
"""The conditions that an inspection or a migration is about."""


@dataclass(frozen=True)
class Standing:
    """How it stands, in words (none where there is nothing to tell yet); `succeeded` once it is over, else None."""

    words: str
    succeeded: bool | None = None
    job: str | None = None
    """The Job that carries it out, while it does."""


def suspended(manifest: Object) -> str | None:
    """What keeps an object from running by `suspend: true`, itself or what it refers to, in words."""
    if manifest["spec"].get("suspend"):
        return f"{manifest['kind']} {manifest['metadata']['name']} is suspended"
    ready = glance.condition(manifest, "Ready")
    return str(ready["message"]) if ready and ready["reason"] == "Suspended" and _current(manifest) else None


def of(before: Object, now: Object, requested: str) -> Standing:
    """How the request stands that was made of an object as it was `before`, by the object as it is `now`."""
    if stuck := suspended(now) or _stuck(before, now):
        return Standing(stuck, succeeded=False)
    if now["kind"] in _CONDITIONS:
        return _inspection(before, now)
    return _run(now, requested)


def _current(manifest: Object) -> bool:
    """Whether the status is about the spec as it is."""
    return bool(_status(manifest).get("observedGeneration") == manifest["metadata"].get("generation"))


def _stuck(before: Object, now: Object) -> str | None:
    """Why it will not run before somebody changes something."""
    ready = glance.condition(now, "Ready")
    if ready is None or ready["status"] != "False" or not _current(now) or glance.passing(ready):
        return None
    migration = _status(now).get("migration") or {}
    if (migration.get("order"), migration.get("message")) == (_order(before), ready["message"]):
        return None  # the word of the attempt before, which is about to be repeated
    return f"{ready['reason']}. {ready['message']}"


def _run(manifest: Object, requested: str) -> Standing:
    runs = _status(manifest).get("runs") or []
    run = next((run for run in runs if run["id"].endswith(f"requested/{requested}")), None)
    ready = glance.condition(manifest, "Ready")
    if run is None:
        waits = ready is not None and ready["status"] != "True"
        return Standing(f"waiting: {ready['message']}" if waits and ready else "")
    if run["state"] == "Waiting" and not run.get("message"):
        return Standing("")  # it starts at once
    if run["state"] not in _OVER:
        return Standing(feed.outcome(run), job=run.get("job"))
    deliveries = _status(manifest).get("deliveries") or []
    brought = [feed.delivered(delivery) for delivery in deliveries if delivery["run"] == run["id"]]
    return Standing(", ".join([feed.outcome(run), *brought]), succeeded=run["state"] == "Succeeded")


def _inspection(before: Object, now: Object) -> Standing:
    newest = _newest(now)
    if newest is None or newest["order"] == _order(before):
        return Standing("")
    if newest["state"] == "Running":
        return Standing(feed.outcome(newest))
    if newest["state"] == "Failed":
        return Standing(f"{newest.get('reason', '')}. {newest.get('message', '')}", succeeded=False)
    conditions = (glance.condition(now, kind) for kind in _CONDITIONS[now["kind"]])
    return Standing(", ".join(entry["message"] for entry in conditions if entry), succeeded=True)


def _newest(manifest: Object) -> Mapping[str, Any] | None:
    status = _status(manifest)
    return status.get("inspection") or status.get("migration")


def _order(manifest: Object) -> str | None:
    newest = _newest(manifest)
    return newest["order"] if newest is not None else None


def _status(manifest: Object) -> Object:
    status: Object = manifest.get("status") or {}
    return status
