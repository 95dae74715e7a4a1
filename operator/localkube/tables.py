"""Tables: what `kubectl get` prints. Columns of built-in kinds as in kubernetes/pkg/printers, others from their CRD."""

import datetime
from collections.abc import Callable, Sequence
from typing import Any

import orjson

from localkube import jsonpath
from localkube.objects import Json, condition, moment
from localkube.registry import Resource

Column = tuple[str, str, int, Callable[[Json], Any]]
"""name, type, priority (0 always, 1 with -o wide), value"""


def table(resource: Resource, items: Sequence[Json], metadata: Json, include: str = "Metadata") -> Json:
    """A meta.k8s.io/v1 Table; `include` is the request's includeObject: None, Metadata or Object."""
    columns = _columns(resource)
    return {
        "kind": "Table",
        "apiVersion": "meta.k8s.io/v1",
        "metadata": metadata,
        "columnDefinitions": [_definition(resource, number, c) for number, c in enumerate(columns)],
        "rows": [{"cells": [c[3](item) for c in columns], "object": _included(item, include)} for item in items],
    }


def _included(item: Json, include: str) -> Json | None:
    if include == "None":
        return None
    if include == "Object":
        return item
    return {"kind": "PartialObjectMetadata", "apiVersion": "meta.k8s.io/v1", "metadata": item["metadata"]}


def _definition(resource: Resource, number: int, column: Column) -> Json:
    name, kind, priority, _ = column
    declared = {"format": "name"} if not number else resource.columns[number - 1] if resource.custom else {}
    shape = {"name": name, "type": kind, "format": declared.get("format", ""), "priority": priority}
    return shape | {"description": declared.get("description") or f"{name} of the {resource.kind}"}


def _columns(resource: Resource) -> list[Column]:
    name: Column = ("Name", "string", 0, _name)
    if resource.custom:
        return [name, *map(_custom, resource.columns)]
    return [name, *_BUILT_IN.get(resource.id, [("Age", "string", 0, _age)])]


def _name(item: Json) -> str:
    return str(item["metadata"]["name"])


# ── custom resources ─────────────────────────────────────────────────────────
def _custom(column: Json) -> Column:
    kind, path = column["type"], column["jsonPath"]

    def cell(item: Json) -> Any:
        values = jsonpath.find(item, path)
        return _CELLS[kind](values[0]) if values else None  # of several the first

    return column["name"], kind, column.get("priority", 0), cell


def _text(value: Any) -> str:
    if isinstance(value, str):
        return value
    return "<no value>" if value is None else orjson.dumps(value, option=orjson.OPT_SORT_KEYS).decode()


def _number(value: Any) -> int | float | None:
    return None if isinstance(value, bool) or not isinstance(value, int | float) else value


_CELLS: dict[str, Callable[[Any], Any]] = {
    "string": _text,
    "integer": lambda value: None if (number := _number(value)) is None else int(number),
    "number": _number,
    "boolean": lambda value: value if isinstance(value, bool) else None,
    "date": lambda value: age(value) if isinstance(value, str) else None,
}


# ── ages ─────────────────────────────────────────────────────────────────────
def age(since: str, until: datetime.datetime | None = None) -> str:
    """As kubectl writes durations (apimachinery: duration.HumanDuration)."""
    try:
        seconds = int(((until or datetime.datetime.now(datetime.UTC)) - moment(since)).total_seconds())
    except ValueError:
        return "<invalid>"
    return duration(seconds)


def duration(seconds: int) -> str:
    """Two figures at most: 5s, 3m20s, 12m, 5h10m, 3d4h, 20d."""
    if seconds < -1:
        return "<invalid>"
    for limit, unit, size, smaller, part in _STEPS:
        if seconds < limit:
            rest = max(seconds, 0) % size // part if part else 0
            return f"{max(seconds, 0) // size}{unit}" + (f"{rest}{smaller}" if rest else "")
    return f"{seconds // 31536000}y"


_M, _H, _D, _Y = 60, 3600, 86400, 31536000
_STEPS = [  # below so many seconds: unit and its size, and the smaller unit that is still told
    *((2 * _M, "s", 1, "", 0), (10 * _M, "m", _M, "s", 1), (3 * _H, "m", _M, "", 0), (8 * _H, "h", _H, "m", _M)),
    *((2 * _D, "h", _H, "", 0), (8 * _D, "d", _D, "h", _H), (2 * _Y, "d", _D, "", 0), (8 * _Y, "y", _Y, "d", _D)),
]


def _age(item: Json) -> str:
    return age(item["metadata"]["creationTimestamp"])


# ── built-in kinds ───────────────────────────────────────────────────────────
def _pod_status(pod: Json) -> str:
    status = pod.get("status", {})
    reason = str(status.get("reason") or status.get("phase", ""))
    for container in status.get("containerStatuses", ()):
        state = container.get("state", {})
        for kind in ("waiting", "terminated"):
            reason = str(state.get(kind, {}).get("reason") or reason)
    return "Terminating" if "deletionTimestamp" in pod["metadata"] else reason


def _pod_ready(pod: Json) -> str:
    ready = sum(bool(c.get("ready")) for c in pod.get("status", {}).get("containerStatuses", ()))
    return f"{ready}/{len(pod['spec']['containers'])}"


def _job_status(job: Json) -> str:
    conditions = {c["type"] for c in job.get("status", {}).get("conditions", ()) if c["status"] == "True"}
    for kind in ("Complete", "Failed"):
        if kind in conditions:
            return kind
    if "deletionTimestamp" in job["metadata"]:
        return "Terminating"
    for kind, word in (("Suspended", "Suspended"), ("FailureTarget", "FailureTarget")):
        if kind in conditions:
            return word
    return "SuccessCriteriaMet" if "SuccessCriteriaMet" in conditions else "Running"


def _job_duration(job: Json) -> str:
    status = job.get("status", {})
    if "startTime" not in status:
        return ""
    ended = status.get("completionTime")
    failed = condition(job, "Failed")
    ended = ended or (failed["lastTransitionTime"] if failed else None)
    return age(status["startTime"], moment(ended) if ended else None)


def _containers(key: str) -> Callable[[Json], str]:
    def cell(item: Json) -> str:
        spec = item["spec"].get("jobTemplate", item).get("spec", item["spec"])
        spec = spec["template"]["spec"] if "template" in spec else spec
        return ",".join(str(c.get(key, "")) for c in spec["containers"])

    return cell


def _selector(job: Json) -> str:
    labels: Json = job["spec"]["selector"]["matchLabels"]
    return ",".join(f"{key}={labels[key]}" for key in sorted(labels))


def _last_schedule(item: Json) -> str:
    last = item.get("status", {}).get("lastScheduleTime")
    return age(last) if last else "<none>"


def _seen(event: Json) -> str:
    last = (event.get("series") or {}).get("lastObservedTime") or event.get("lastTimestamp")
    last = last or event.get("eventTime") or event.get("firstTimestamp")
    return age(last) if last else "<unknown>"


def _event_object(event: Json) -> str:
    return f"{event['involvedObject'].get('kind', '').lower()}/{event['involvedObject'].get('name', '')}"


def _at(path: str, kind: type = str, empty: Any = "") -> Callable[[Json], Any]:
    def cell(item: Json) -> Any:
        values = jsonpath.find(item, path)
        return kind(values[0]) if values else empty

    return cell


def _size(item: Json) -> int:
    return len(item.get("data") or {}) + len(item.get("binaryData") or {})


_AGE: Column = ("Age", "string", 0, _age)
_WIDE: list[Column] = [
    ("Containers", "string", 1, _containers("name")),
    ("Images", "string", 1, _containers("image")),
]
_BUILT_IN: dict[str, list[Column]] = {
    "pods": [
        ("Ready", "string", 0, _pod_ready),
        ("Status", "string", 0, _pod_status),
        ("Restarts", "string", 0, lambda _: "0"),
        _AGE,
        ("IP", "string", 1, _at(".status.podIP", empty="<none>")),
        ("Node", "string", 1, _at(".spec.nodeName", empty="<none>")),
        ("Nominated Node", "string", 1, lambda _: "<none>"),
        ("Readiness Gates", "string", 1, lambda _: "<none>"),
    ],
    "jobs.batch": [
        ("Status", "string", 0, _job_status),
        ("Completions", "string", 0, lambda job: f"{job.get('status', {}).get('succeeded', 0)}/1"),
        ("Duration", "string", 0, _job_duration),
        _AGE,
        *_WIDE,
        ("Selector", "string", 1, _selector),
    ],
    "cronjobs.batch": [
        ("Schedule", "string", 0, _at(".spec.schedule")),
        ("Timezone", "string", 0, _at(".spec.timeZone", empty="<none>")),
        ("Suspend", "boolean", 0, lambda item: str(item["spec"]["suspend"])),
        ("Active", "integer", 0, lambda item: len(item.get("status", {}).get("active", ()))),
        ("Last Schedule", "string", 0, _last_schedule),
        _AGE,
        *_WIDE,
        ("Selector", "string", 1, lambda _: "<none>"),
    ],
    "configmaps": [("Data", "string", 0, _size), _AGE],
    "secrets": [("Type", "string", 0, _at(".type")), ("Data", "string", 0, _size), _AGE],
    "namespaces": [("Status", "string", 0, _at(".status.phase")), _AGE],
    "serviceaccounts": [("Secrets", "string", 0, lambda item: len(item.get("secrets", ()))), _AGE],
    "leases.coordination.k8s.io": [("Holder", "string", 0, _at(".spec.holderIdentity")), _AGE],
    "customresourcedefinitions.apiextensions.k8s.io": [("Created At", "date", 0, _at(".metadata.creationTimestamp"))],
    "events": [
        ("Last Seen", "string", 0, _seen),
        ("Type", "string", 0, _at(".type")),
        ("Reason", "string", 0, _at(".reason")),
        ("Object", "string", 0, _event_object),
        ("Message", "string", 0, lambda item: str(item.get("message", "")).strip()),
    ],
}
