"""What each built-in kind adds to the one write path: defaults, checks, refusals."""

import base64
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field

from localkube import registry, workloads
from localkube.errors import Problem
from localkube.objects import Json


@dataclass(frozen=True)
class Strategy:
    """The steps of a write, in this order; between the first two it is settled who owns which field.

    `default` and `prepare` fill in, in place; `refuse` raises for what is not done here; `check` tells errors.
    `blank` is what Go writes for an object of that kind with nothing in it: a field that is there already is not new.
    """

    default: Callable[[Json], None] = lambda _item: None
    prepare: Callable[[Json, Json | None], None] = lambda _new, _old: None
    refuse: Callable[[Json], None] = lambda _item: None
    check: Callable[[Json, Json | None], Iterable[Problem]] = lambda _new, _old: ()
    blank: Json = field(default_factory=dict)


def _default_namespace(item: Json) -> None:
    if name := item["metadata"].get("name"):
        item["metadata"].setdefault("labels", {})["kubernetes.io/metadata.name"] = name


def _prepare_namespace(item: Json, old: Json | None) -> None:
    if old is None:
        item["spec"] = {"finalizers": ["kubernetes"]}
        item["status"] = {"phase": "Active"}


def _default_secret(item: Json) -> None:
    item.setdefault("type", "Opaque")
    for key, text in (item.pop("stringData", None) or {}).items():
        item.setdefault("data", {})[key] = base64.b64encode(text.encode()).decode()


def _default_claim(item: Json) -> None:
    item.setdefault("spec", {}).setdefault("volumeMode", "Filesystem")


def _prepare_claim(item: Json, old: Json | None) -> None:
    """A claim is a folder that the node makes when a Pod asks for it: always bound."""
    if old is None:
        item["status"] = {"phase": "Bound"}


def _check_content(item: Json, old: Json | None) -> Iterable[Problem]:
    """ConfigMaps and Secrets: sizes, and what `immutable` forbids."""
    size = sum(len(value) for part in ("data", "binaryData") for value in (item.get(part) or {}).values())
    if size > 1 << 20:
        yield Problem("", "FieldValueTooLong", "Too long: may not be more than 1048576 bytes")
    if old is not None and item["kind"] == "Secret" and item.get("type") != old.get("type"):
        yield Problem.invalid("type", f'"{item.get("type")}"', "field is immutable")
    if old is None or not old.get("immutable"):
        return
    if not item.get("immutable"):
        yield Problem.forbidden("immutable", "field is immutable when `immutable` is set")
    for part in ("data", "binaryData"):
        if (item.get(part) or {}) != (old.get(part) or {}):
            yield Problem.forbidden(part, "field is immutable when `immutable` is set")


def _check_event(item: Json, _old: Json | None) -> Iterable[Problem]:
    named = item.get("involvedObject", {}).get("namespace", "default") or "default"
    if named != item["metadata"]["namespace"]:
        yield Problem.invalid("involvedObject.namespace", f'"{named}"', "does not match event.namespace")


_POD_SPEC: Json = {"containers": None}
_JOB_SPEC: Json = {"template": {"metadata": {}, "spec": _POD_SPEC}}
_BY_RESOURCE = {
    "namespaces": Strategy(_default_namespace, _prepare_namespace, blank={"spec": {}, "status": {}}),
    "secrets": Strategy(_default_secret, check=_check_content),
    "configmaps": Strategy(check=_check_content),
    "persistentvolumeclaims": Strategy(_default_claim, _prepare_claim, blank={"spec": {"resources": {}}, "status": {}}),
    "events": Strategy(check=_check_event, blank={"involvedObject": {}, "source": {}}),
    "leases.coordination.k8s.io": Strategy(blank={"spec": {}}),
    "pods": Strategy(
        workloads.default_pod,
        workloads.prepare_pod,
        lambda pod: workloads.refuse_pod_spec(pod["spec"], "spec"),
        workloads.check_pod,
        {"spec": _POD_SPEC, "status": {}},
    ),
    "jobs.batch": Strategy(
        workloads.default_job,
        workloads.prepare_job,
        lambda job: workloads.refuse_job_spec(job["spec"], "spec"),
        workloads.check_job,
        {"spec": _JOB_SPEC, "status": {}},
    ),
    "cronjobs.batch": Strategy(
        workloads.default_cron_job,
        workloads.prepare_cron_job,
        workloads.refuse_cron_job,
        workloads.check_cron_job,
        {"spec": {"schedule": "", "jobTemplate": {"metadata": {}, "spec": _JOB_SPEC}}, "status": {}},
    ),
    registry.CRDS: Strategy(
        registry.default_definition,
        registry.prepare_definition,
        registry.refuse_definition,
        registry.check_definition,
    ),
}


def of(resource_id: str) -> Strategy:
    """The strategy of a resource; most have nothing of their own."""
    return _BY_RESOURCE.get(resource_id, Strategy())
