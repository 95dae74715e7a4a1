"""What Jobs and their Pods look like at the end, and reports as workers leave them."""

from typing import Any

from penstock.api import objects
from penstock.control.cluster.port import Manifest
from penstock.control.cluster.store import JOB_NAME
from penstock.control.observe import Observed
from penstock.runs import summary
from penstock.runs.report import Counts, DatasetReport, RunReport

BEGAN, ENDED = "2026-11-22T12:00:00Z", "2026-11-22T12:01:00Z"


def condition(kind: str, at: str = ENDED, reason: str = "") -> Manifest:
    """A condition of a Job that holds."""
    return {"type": kind, "status": "True", "reason": reason, "lastTransitionTime": at}


def over(kind: str = "Complete", at: str = ENDED, reason: str = "") -> Manifest:
    """The status of a Job that is `Complete` or `Failed`."""
    status: Manifest = {"startTime": BEGAN, "conditions": [condition(kind, at, reason)]}
    return {**status, "completionTime": at} if kind == "Complete" else status


def job(name: str = "cities-ingest-1", **changes: Any) -> Manifest:
    """A Job of the Pipeline `cities` as the API server has it; `annotations`, `spec` and `status` may be given."""
    labels = {
        objects.MANAGED_BY: objects.FIELD_MANAGER,
        objects.OWNER_KIND: "Pipeline",
        objects.OWNER_NAME: "cities",
        objects.PURPOSE: changes.get("purpose", "ingest"),
    }
    return {
        "apiVersion": "batch/v1",
        "kind": "Job",
        "metadata": {
            "name": name,
            "namespace": "default",
            "uid": changes.get("uid", f"uid-{name}"),
            "resourceVersion": str(changes.get("version", 1)),
            "creationTimestamp": changes.get("created", BEGAN),
            "labels": labels,
            "annotations": {objects.DATASETS: "cities", **changes.get("annotations", {})},
            "ownerReferences": changes.get("owners", [owner()]),
        },
        "spec": changes.get("spec", {}),
        "status": changes.get("status", {}),
    }


def owner(kind: str = "Pipeline", name: str = "cities", uid: str = "uid-of-cities") -> Manifest:
    """A reference to one of our objects."""
    return {"apiVersion": objects.API_VERSION, "kind": kind, "name": name, "uid": uid, "controller": True}


def pod(of: Manifest, number: int = 1, **terminated: Any) -> Manifest:
    """The n-th Pod of a Job; with `exitCode`, `message` or `reason` it has ended."""
    metadata = of["metadata"]
    state = {"terminated": {"exitCode": 0, **terminated}} if terminated else {"running": {}}
    return {
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": {
            "name": f"{metadata['name']}-{number}",
            "namespace": metadata["namespace"],
            "labels": {**metadata["labels"], JOB_NAME: metadata["name"]},
            "uid": f"{metadata['uid']}-{number}",
            "resourceVersion": str(number),
            "creationTimestamp": f"2026-11-22T12:00:{number:02}Z",
        },
        "status": {"containerStatuses": [{"name": "worker", "state": state}]},
    }


def report(kind: Any = "ingest", *, loaded: int = 3, quarantined: int = 0, **changes: Any) -> RunReport:
    """What a worker says of a run that loaded rows into the Dataset `cities`, unless it says otherwise."""
    counts = Counts(read=loaded + quarantined, loaded=loaded, quarantined=quarantined, files=1)
    written = DatasetReport(name="cities", state="Written", counts=counts, rows=loaded, quarantined=quarantined)
    told = {
        "kind": kind,
        "run": "default/cities/nonce/1",
        "state": "Succeeded",
        "started_at": BEGAN,
        "finished_at": ENDED,
        "datasets": [written] if kind == "ingest" else [],
    }
    return RunReport(**{**told, **changes})


def message(told: RunReport) -> str:
    """A report as a termination message."""
    return summary.encode(told, [entry.name for entry in told.datasets])


def observed(name: str = "cities-ingest-1", **changes: Any) -> Observed:
    """One run of the Pipeline `cities` as `observe` tells it: by default the first nonce, succeeded."""
    known = {
        "job": name,
        "uid": f"uid-{name}",
        "purpose": "ingest",
        "run": "default/cities/nonce/1",
        "slot": "nonce/1",
        "trigger": "nonce",
        "target": "",
        "interval_end": BEGAN,
        "attempt": 1,
        "failures": changes.get("attempt", 1) - 1,
        "order": "an-older-order",
        "state": "Succeeded",
        "created": BEGAN,
        "started": BEGAN,
        "finished": ENDED,
        "pods": 1,
        "pod": f"{name}-1",
        "report": None,
        "reason": None,
        "message": None,
    }
    return Observed(**{**known, **changes})
