"""Objects as values: the kinds, their keys, and the names of our labels and annotations."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal, get_args

from penstock.api import dataset, destination, pipeline, source, subscription
from penstock.language.model import Model

GROUP = "penstock.dev"
VERSION = "v1alpha1"
API_VERSION = f"{GROUP}/{VERSION}"
FIELD_MANAGER = "penstock"
LONGEST_NAME = 63
"""Longest name of one of our objects: it is the value of a label on everything that is made for it."""

KindName = Literal["Source", "Destination", "Dataset", "Pipeline", "Subscription"]

# Labels on children. A parent's own labels are never copied: GitOps tools would prune the children.
MANAGED_BY = "app.kubernetes.io/managed-by"
OWNER_KIND = f"{GROUP}/owner-kind"
OWNER_NAME = f"{GROUP}/owner-name"
PURPOSE = f"{GROUP}/purpose"

# Annotations on children.
RUN_ID = f"{GROUP}/run-id"
INTERVAL_END = f"{GROUP}/interval-end"
ATTEMPT = f"{GROUP}/attempt"
ADMITTED = f"{GROUP}/admitted"
SLOT = f"{GROUP}/slot"
TRIGGER = f"{GROUP}/trigger"
TARGET = f"{GROUP}/target"
ORDER = f"{GROUP}/order"
DATASETS = f"{GROUP}/datasets"
USES = f"{GROUP}/uses"
LOADS = f"{GROUP}/loads"
FAILURES = f"{GROUP}/failures"

# Annotations that people set.
REQUESTED_AT = f"{GROUP}/requestedAt"


@dataclass(frozen=True)
class Kind:
    """One of the five kinds: its names in the API and its models."""

    name: KindName
    plural: str
    short: str
    spec: type[Model]
    status: type[Model]

    @property
    def singular(self) -> str:
        """The lower-case name that kubectl takes."""
        return self.name.lower()


KINDS: Mapping[KindName, Kind] = {
    kind.name: kind
    for kind in (
        Kind("Source", "sources", "psrc", source.SourceSpec, source.SourceStatus),
        Kind("Destination", "destinations", "pdest", destination.DestinationSpec, destination.DestinationStatus),
        Kind("Dataset", "datasets", "pds", dataset.DatasetSpec, dataset.DatasetStatus),
        Kind("Pipeline", "pipelines", "ppl", pipeline.PipelineSpec, pipeline.PipelineStatus),
        Kind("Subscription", "subscriptions", "psub", subscription.SubscriptionSpec, subscription.SubscriptionStatus),
    )
}
"""The five kinds in the order in which data flows through them."""

assert tuple(KINDS) == get_args(KindName)  # noqa: S101 - the two lists above are one fact


@dataclass(frozen=True, order=True)
class Key:
    """What names one of our objects in a cluster."""

    kind: KindName
    namespace: str
    name: str

    def __str__(self) -> str:
        return f"{self.kind} {self.namespace}/{self.name}"


@dataclass(frozen=True)
class Meta:
    """The part of an object's metadata that we act on."""

    uid: str
    generation: int
    annotations: Mapping[str, str]
    deleting: bool
    created: str = ""
    """When it was created; RFC 3339."""

    @classmethod
    def of(cls, manifest: Mapping[str, Any]) -> "Meta":
        """The metadata of an object as the API returns it."""
        metadata = manifest.get("metadata", {})
        return cls(
            uid=metadata.get("uid", ""),
            generation=metadata.get("generation", 0),
            annotations=metadata.get("annotations") or {},
            deleting="deletionTimestamp" in metadata,
            created=metadata.get("creationTimestamp") or "",
        )


def key_of(manifest: Mapping[str, Any]) -> Key:
    """The key of an object of one of the five kinds."""
    metadata = manifest["metadata"]
    return Key(manifest["kind"], metadata.get("namespace", "default"), metadata["name"])
