"""The Job of one run: its name, its Pod, and what of an order must be mounted."""

import hashlib
import json
from dataclasses import dataclass
from typing import Any

from penstock.api import objects
from penstock.api.pipeline import PipelineSpec
from penstock.api.pods import SCRATCH_SIZE, Resources, Worker
from penstock.control.cluster.port import Manifest
from penstock.control.desired import render
from penstock.control.resolve import Graph
from penstock.runs import places
from penstock.runs.order import DestinationOrder, OrderKind, RunOrder, SourceOrder

GRACE_SECONDS = 60
"""How far `activeDeadlineSeconds` lies behind the worker's own deadline: it deletes the Pod, and the report with it."""

DELIVERY_RETRIES = 3

_VERB: dict[OrderKind, str] = {
    "inspect-source": "inspect",
    "inspect-destination": "inspect",
    "migrate": "migrate",
    "ingest": "ingest",
    "deliver": "deliver",
    "preview": "preview",
}


@dataclass(frozen=True)
class Start:
    """One run that must exist now. `run` is its id, stable over attempts; `interval_end` is RFC 3339."""

    order: RunOrder
    slot: str
    run: str
    interval_end: str
    attempt: int = 1
    suspended: bool = False
    trigger: str = ""
    """What starts it: nonce, requested, schedule, manual or first; empty for inspections and migrations."""
    target: str = ""
    """What an inspection or migration is for, see `due.target`."""
    failures: int | None = None
    """How many attempts in a row failed before this one, where that is not all of them."""


def labels(graph: Graph, purpose: OrderKind) -> dict[str, str]:
    """The labels of everything that we make for a graph."""
    return {
        objects.MANAGED_BY: objects.FIELD_MANAGER,
        objects.OWNER_KIND: graph.key.kind,
        objects.OWNER_NAME: graph.key.name,
        objects.PURPOSE: purpose,
    }


def owned(graph: Graph, name: str, purpose: OrderKind, annotations: dict[str, str] | None = None) -> dict[str, Any]:
    """The metadata of an object that goes when its owner goes."""
    reference = {
        "apiVersion": objects.API_VERSION,
        "kind": graph.key.kind,
        "name": graph.key.name,
        "uid": graph.meta.uid,
        "controller": True,
        "blockOwnerDeletion": False,
    }
    return {
        "name": name,
        "namespace": graph.key.namespace,
        "labels": labels(graph, purpose),
        "annotations": annotations or {},
        "ownerReferences": [reference],
    }


def order_name(graph: Graph, order: RunOrder) -> str:
    """The name of an order's ConfigMap: the content decides it."""
    return f"{short(graph.key.name, 40)}-order-{order.digest}"


def short(name: str, length: int) -> str:
    """A name cut to `length`, dots replaced, ending in a hash where that lost anything: `a.b` is not `a-b`."""
    plain = name.replace(".", "-")
    if plain == name and len(plain) <= length:
        return plain
    return f"{plain[: length - 7].rstrip('-')}-{hashlib.sha256(name.encode()).hexdigest()[:6]}"


def job(graph: Graph, start: Start) -> Manifest:
    """The Job of a run. Its name is a function of owner, run id and attempt, so it cannot be made twice."""
    purpose = start.order.kind
    digest = hashlib.sha256(f"{graph.meta.uid}\n{start.run}\n{start.attempt}".encode()).hexdigest()[:10]
    stamps = {
        objects.RUN_ID: start.run,
        objects.INTERVAL_END: start.interval_end,
        objects.ATTEMPT: str(start.attempt),
    }
    annotations = {**template_annotations(graph, start.order), **stamps, objects.SLOT: start.slot}
    failures = str(start.failures) if start.failures is not None else ""
    optional = {objects.TRIGGER: start.trigger, objects.TARGET: start.target, objects.FAILURES: failures}
    annotations |= {name: value for name, value in optional.items() if value}
    return render.manifest(
        "job",
        metadata=owned(graph, f"{short(graph.key.name, 40)}-{_VERB[purpose]}-{digest}", purpose, annotations),
        spec=job_spec(graph, start.order, stamps, suspend=start.suspended),
    )


def fingerprint(graph: Graph, order: RunOrder) -> str:
    """What people wrote that a Job was made from: 16 hex digits that change when any of it does.

    What the operator adds is not in it, such as the worker's image: another version of the operator retries nothing.
    """
    written: dict[str, Any] = {"worker": _worker(graph).to_object()}
    if isinstance(graph.spec, PipelineSpec) and "retries" in graph.spec.model_fields_set:
        written["retries"] = graph.spec.retries
    text = json.dumps(written, sort_keys=True)
    return hashlib.sha256(f"{order.digest}\n{text}".encode()).hexdigest()[:16]


def is_current(job: Manifest, graph: Graph, order: RunOrder) -> bool:
    """Whether a waiting Job can carry out `order`: made from what is written now, with the operator's worker image."""
    annotations = job["metadata"].get("annotations") or {}
    images = [container.get("image") for container in job["spec"]["template"]["spec"].get("containers") or []]
    return annotations.get(objects.ORDER) == fingerprint(graph, order) and graph.settings.worker_image in images


def template_annotations(graph: Graph, order: RunOrder) -> dict[str, str]:
    """What a Job must say of its order, for the gate and for the Datasets it works on."""
    return {
        objects.ORDER: fingerprint(graph, order),
        objects.DATASETS: ",".join(entry.owner.name for entry in order.datasets),
        objects.USES: ",".join(_used_systems(order)),
    }


def _used_systems(order: RunOrder) -> list[str]:
    """The Source and the Destinations that a run connects to, as `Kind/name`."""
    used = [] if order.source is None else [f"Source/{order.source.name}"]
    names = {place.name for place in _places(order) if isinstance(place, DestinationOrder)}
    return used + [f"Destination/{name}" for name in sorted(names)]


def job_spec(graph: Graph, order: RunOrder, stamps: dict[str, str], *, suspend: bool) -> dict[str, Any]:
    """The spec of a Job that carries out `order`; `stamps` are the Pod's annotations, which an admission may add to."""
    worker = _worker(graph)
    resources = worker.resources or graph.settings.resources
    mounts, volumes = _mounts(graph, order, _scratch_size(resources))
    template = render.manifest(
        "pod",
        labels=labels(graph, order.kind),
        annotations=stamps,
        service_account=worker.service_account_name or "default",
        node_selector=worker.node_selector or {},
        tolerations=[toleration.to_object() for toleration in worker.tolerations or []],
        image=graph.settings.worker_image,
        pull_policy=graph.settings.image_pull_policy,
        resources=resources.to_object(),
        mounts=mounts,
        volumes=volumes,
    )
    return render.manifest(
        "jobspec",
        suspend=suspend,
        retries=_retries(graph, order),
        deadline_seconds=order.deadline_seconds + GRACE_SECONDS,
        template=template,
    )


def _retries(graph: Graph, order: RunOrder) -> int:
    """How often the Job tries again by itself. What is repeated as new attempts of ours is not repeated by the Job."""
    if isinstance(graph.spec, PipelineSpec) and order.kind == "ingest":
        return graph.spec.retries
    return DELIVERY_RETRIES if order.kind == "deliver" else 0


def _worker(graph: Graph) -> Worker:
    """Where the run runs: as the first Dataset that says something wishes."""
    specs = [graph.spec, graph.dataset and graph.dataset.spec, *(entry.dataset.spec for entry in graph.entries)]
    wishes = [getattr(spec, "worker", None) for spec in specs]
    return next((wish for wish in wishes if wish is not None), Worker())


def _scratch_size(resources: Resources) -> str:
    """The most that a run may write into its scratch folder: what its limits say, else a default."""
    stated = resources.limits and resources.limits.ephemeral_storage
    return stated or SCRATCH_SIZE


def _mounts(graph: Graph, order: RunOrder, scratch: str) -> tuple[list[dict[str, Any]], list[dict[str, Any]]]:
    mounts: list[dict[str, Any]] = [
        {"name": "order", "mountPath": places.ORDER.rpartition("/")[0], "readOnly": True},
        {"name": "scratch", "mountPath": places.SCRATCH},
    ]
    volumes: list[dict[str, Any]] = [
        {"name": "order", "configMap": {"name": order_name(graph, order)}},
        {"name": "scratch", "emptyDir": {"sizeLimit": scratch}},
    ]
    for number, secret in enumerate(_secrets(order)):
        mounts.append({"name": f"secret-{number}", "mountPath": f"{places.SECRETS}/{secret}", "readOnly": True})
        # Optional: a Pod whose Secret is missing would hang without a word; the worker says SecretMissing.
        volumes.append({"name": f"secret-{number}", "secret": {"secretName": secret, "optional": True}})
    for number, name in enumerate(_config_maps(order)):
        mounts.append({"name": f"config-{number}", "mountPath": f"{places.CONFIG_MAPS}/{name}", "readOnly": True})
        volumes.append({"name": f"config-{number}", "configMap": {"name": name, "optional": True}})
    for number, claim in enumerate(_claims(order)):
        mounts.append({"name": f"claim-{number}", "mountPath": f"{places.VOLUMES}/{claim}"})
        volumes.append({"name": f"claim-{number}", "persistentVolumeClaim": {"claimName": claim}})
    return mounts, volumes


def _secrets(order: RunOrder) -> list[str]:
    secrets: set[str] = set()
    for place in _places(order):
        secrets.update(place.connector.spec.secrets)
        if place.auth is not None:
            secrets.update(place.auth.secrets)
    return sorted(secrets)


def _config_maps(order: RunOrder) -> list[str]:
    return sorted({name for place in _places(order) for name in place.connector.spec.config_maps})


def _claims(order: RunOrder) -> list[str]:
    return sorted({claim for place in _places(order) for claim in place.connector.spec.claims})


def _places(order: RunOrder) -> list[SourceOrder | DestinationOrder]:
    """The Source and all Destinations that the run works with."""
    places_: list[SourceOrder | DestinationOrder | None] = [order.source, order.destination]
    places_ += [entry.destination for entry in order.datasets]
    if order.delivery is not None:
        places_.append(order.delivery.destination)
    return [place for place in places_ if place is not None]
