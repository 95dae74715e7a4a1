"""What a kubelet reports about a Pod of one container, in its own words."""

from pathlib import Path

from localkube import objects, podfolder, podprocess
from localkube.objects import Json

_MESSAGE_LIMIT = 4096  # bytes of a termination message
_LOG_TAIL = 2048  # bytes, with terminationMessagePolicy FallbackToLogsOnError


def is_open(pod: Json) -> bool:
    """Whether the Pod has not ended yet."""
    return pod.get("status", {}).get("phase") not in ("Succeeded", "Failed")


def waiting(pod: Json, reason: str, message: str) -> Json:
    """Bound here, not started, and why."""
    return _status(pod, "Pending", {"waiting": {"reason": reason, "message": message}})


def unschedulable(pod: Json, message: str) -> Json:
    """Not bound to any node, and why."""
    condition = _condition(pod, "PodScheduled", False, "Unschedulable") | {"message": message}
    return {"phase": "Pending", "conditions": [condition]}


def running(pod: Json) -> Json:
    """Its process has started."""
    return _status(pod, "Running", {"running": {"startedAt": objects.now()}})


def never_started(pod: Json, message: str) -> Json:
    """Deleted before, or unable to, start."""
    times = {"startedAt": objects.now(), "finishedAt": objects.now()}
    return _status(
        pod, "Failed", {"terminated": {"exitCode": 128, "reason": "StartError", "message": message, **times}}
    )


def terminated(pod: Json, folder: Path, ending: podprocess.Ending) -> Json:
    """Its process has ended; reads the termination message."""
    phase = "Succeeded" if ending.code == 0 else "Failed"
    if ending.lost:
        reason, message = "ContainerStatusUnknown", "The container could not be located when the pod was terminated"
    else:
        reason, message = ("Error" if ending.code else "Completed"), _message(pod, folder, ending.code)
    state = {"exitCode": ending.code, "reason": reason, "startedAt": ending.started, "finishedAt": ending.finished}
    return _status(pod, phase, {"terminated": state | ({"message": message} if message else {})})


def _message(pod: Json, folder: Path, code: int) -> str:
    container, path = pod["spec"]["containers"][0], podfolder.message_path(pod, folder)
    text = _tail(path, _MESSAGE_LIMIT)
    if not text and code and container.get("terminationMessagePolicy") == "FallbackToLogsOnError":
        text = _tail(folder / "log", _LOG_TAIL)
    return text


def _tail(path: Path, limit: int) -> str:
    return path.read_bytes()[-limit:].decode(errors="replace") if path.is_file() else ""


def _status(pod: Json, phase: str, state: Json) -> Json:
    container, started = pod["spec"]["containers"][0], pod.get("status", {}).get("startTime")
    ready = phase == "Running"
    reason = {"Succeeded": "PodCompleted", "Failed": "PodFailed", "Pending": "ContainersNotReady"}.get(phase)
    return {
        "phase": phase,
        "startTime": started or objects.now(),
        "hostIP": "127.0.0.1",
        "podIP": "127.0.0.1",
        "conditions": [
            _condition(pod, "Initialized", True, "PodCompleted" if phase == "Succeeded" else None),
            _condition(pod, "Ready", ready, reason),
            _condition(pod, "ContainersReady", ready, reason),
            _condition(pod, "PodScheduled", True, None),
        ],
        "containerStatuses": [
            {
                "name": container["name"],
                "image": container["image"],
                "imageID": "",
                "ready": ready,
                "started": ready,
                "restartCount": 0,
                "state": state,
            }
        ],
    }


def _condition(pod: Json, kind: str, holds: bool, reason: str | None) -> Json:
    status = "True" if holds else "False"
    for old in pod.get("status", {}).get("conditions", []):
        if old["type"] == kind and old["status"] == status:
            since = old.get("lastTransitionTime")
            break
    else:
        since = objects.now()
    return {"type": kind, "status": status, "lastTransitionTime": since} | ({"reason": reason} if reason else {})
