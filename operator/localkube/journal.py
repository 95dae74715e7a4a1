"""Events: what the controllers and the node tell a human about an object. Repeated ones are counted, old ones go."""

import contextlib
import datetime
import uuid

from localkube import errors
from localkube.asked import Options
from localkube.objects import Json, copy, moment, now
from localkube.writes import Writer

_KEPT = datetime.timedelta(hours=1)  # a real API server's default


def tell(writer: Writer, about: Json, source: str, reason: str, message: str) -> None:
    """Record an event about an object; reasons that tell of trouble are Warnings."""
    meta = about["metadata"]
    namespace = meta.get("namespace", "default")
    for event in writer.store.select("events", namespace):
        same = (event.get("reason"), event.get("message"), event["involvedObject"].get("uid"))
        if same == (reason, message, meta["uid"]):
            again = copy(event) | {"count": event.get("count", 1) + 1, "lastTimestamp": now()}
            writer.store.put(("events", namespace, event["metadata"]["name"]), again)
            return
    subject = {"kind": about["kind"], "namespace": namespace, "name": meta["name"], "uid": meta["uid"]}
    subject |= {"apiVersion": about["apiVersion"], "resourceVersion": meta["resourceVersion"]}
    body = {
        "metadata": {"name": f"{meta['name']}.{uuid.uuid4().hex[:16]}"},
        "involvedObject": subject,
        "reason": reason,
        "message": message,
        "source": {"component": source},
        "firstTimestamp": now(),
        "lastTimestamp": now(),
        "count": 1,
        "type": "Warning" if reason in _TROUBLE else "Normal",
        "reportingComponent": source,
        "reportingInstance": "",
    }
    with contextlib.suppress(errors.Refused):  # the namespace is going: nobody is left to read it
        writer.create(writer.registry.named("events"), namespace, body, Options("kube-controller-manager"))


_TROUBLE = {"BackoffLimitExceeded", "DeadlineExceeded", "PodFailurePolicy", "FailedCreate", "JobAlreadyActive"}
_TROUBLE |= {"MissSchedule", "TooManyMissedTimes", "InvalidSchedule"}


def forget_old(writer: Writer) -> None:
    """Remove events that nobody has seen for an hour."""
    before = datetime.datetime.now(datetime.UTC) - _KEPT
    for event in writer.store.select("events"):
        last = event.get("lastTimestamp") or event.get("eventTime") or event["metadata"]["creationTimestamp"]
        if moment(last) < before:
            writer.store.remove(("events", event["metadata"]["namespace"], event["metadata"]["name"]))
