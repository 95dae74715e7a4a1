"""What each built-in kind adds to the one write path: defaults, checks, refusals."""

import base64
from collections.abc import Callable, Iterable
from dataclasses import dataclass

from penstock.embedded import registry, workloads
from penstock.embedded.errors import Problem
from penstock.embedded.objects import Json


def _nothing(_new: Json, _old: Json | None) -> None:
    return None


def _fine(_new: Json, _old: Json | None) -> Iterable[Problem]:
    return ()


def _anything(_new: Json) -> None:
    return None


@dataclass(frozen=True)
class Strategy:
    """`complete` fills in, in place; `check` tells errors; `refuse` raises for what is not done here."""

    complete: Callable[[Json, Json | None], None] = _nothing  # (new, old)
    check: Callable[[Json, Json | None], Iterable[Problem]] = _fine
    refuse: Callable[[Json], None] = _anything


def _complete_namespace(item: Json, old: Json | None) -> None:
    if old is None:
        item["spec"] = {"finalizers": ["kubernetes"]}
        item["status"] = {"phase": "Active"}
    item["metadata"].setdefault("labels", {})["kubernetes.io/metadata.name"] = item["metadata"]["name"]


def _complete_secret(item: Json, _old: Json | None) -> None:
    item.setdefault("type", "Opaque")
    for key, text in (item.pop("stringData", None) or {}).items():
        item.setdefault("data", {})[key] = base64.b64encode(text.encode()).decode()


def _complete_claim(item: Json, old: Json | None) -> None:
    """A claim is a folder that the node makes when a Pod asks for it: always bound."""
    item.setdefault("spec", {}).setdefault("volumeMode", "Filesystem")
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


def _refuse_job(item: Json) -> None:
    workloads.refuse_job_spec(item["spec"], "spec")


def _refuse_pod(item: Json) -> None:
    workloads.refuse_pod_spec(item["spec"], "spec")


_BY_RESOURCE = {
    "namespaces": Strategy(_complete_namespace),
    "secrets": Strategy(_complete_secret, _check_content),
    "configmaps": Strategy(_nothing, _check_content),
    "persistentvolumeclaims": Strategy(_complete_claim),
    "events": Strategy(_nothing, _check_event),
    "pods": Strategy(workloads.complete_pod, workloads.check_pod, _refuse_pod),
    "jobs.batch": Strategy(workloads.complete_job, workloads.check_job, _refuse_job),
    "cronjobs.batch": Strategy(workloads.complete_cron_job, workloads.check_cron_job, workloads.refuse_cron_job),
    registry.CRDS: Strategy(registry.complete_definition, registry.check_definition),
}


def of(resource_id: str) -> Strategy:
    """The strategy of a resource; most have nothing of their own."""
    return _BY_RESOURCE.get(resource_id, Strategy())
