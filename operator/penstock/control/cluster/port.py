"""What control asks of a cluster: few verbs on plain JSON objects, and the errors that they raise."""

from collections.abc import AsyncIterator, Mapping
from dataclasses import dataclass
from typing import Any, Literal, Protocol

from penstock.api import objects

Manifest = dict[str, Any]
"""A Kubernetes object as JSON."""

ChildKind = Literal["Job", "CronJob", "ConfigMap", "Pod"]


@dataclass(frozen=True)
class Resource:
    """A kind as the API serves it."""

    api_version: str
    kind: str
    plural: str

    def path(self, namespace: str | None = None, name: str | None = None, subresource: str | None = None) -> str:
        """The URL path of a collection, an object, or a subresource."""
        prefix = f"/api/{self.api_version}" if "/" not in self.api_version else f"/apis/{self.api_version}"
        parts = [prefix]
        if namespace:  # a Ref to what lies in none has an empty one
            parts += ["namespaces", namespace]
        parts += [part for part in (self.plural, name, subresource) if part is not None]
        return "/".join(parts)


RESOURCES: Mapping[str, Resource] = {
    resource.kind: resource
    for resource in (
        Resource("batch/v1", "Job", "jobs"),
        Resource("batch/v1", "CronJob", "cronjobs"),
        Resource("v1", "ConfigMap", "configmaps"),
        Resource("v1", "Pod", "pods"),
        Resource("v1", "Event", "events"),
        Resource("coordination.k8s.io/v1", "Lease", "leases"),
        Resource("apiextensions.k8s.io/v1", "CustomResourceDefinition", "customresourcedefinitions"),
        Resource("authorization.k8s.io/v1", "SelfSubjectRulesReview", "selfsubjectrulesreviews"),
        *(Resource(objects.API_VERSION, kind.name, kind.plural) for kind in objects.KINDS.values()),
    )
}
"""Every kind that control touches, by name."""


@dataclass(frozen=True, order=True)
class Ref:
    """What names one object of any kind in the cluster."""

    kind: str
    namespace: str
    name: str

    @classmethod
    def of(cls, manifest: Mapping[str, Any]) -> "Ref":
        """The reference to an object, by its own words."""
        metadata = manifest["metadata"]
        return cls(manifest["kind"], metadata.get("namespace", ""), metadata["name"])

    @property
    def path(self) -> str:
        """The object's URL path."""
        return RESOURCES[self.kind].path(self.namespace, self.name)


class ClusterError(Exception):
    """The API answered with an error. `status` is its HTTP code, 0 if it did not answer at all."""

    def __init__(self, status: int, reason: str, message: str, retry_after: float | None = None) -> None:
        super().__init__(message)
        self.status = status
        self.reason = reason
        self.message = message
        self.retry_after = retry_after
        """Seconds after which the API asks us to try again; None where it does not say."""


class Unauthorized(ClusterError):
    """The API does not accept our credentials (401)."""


class NotFound(ClusterError):
    """The object is not there (404)."""


class Conflict(ClusterError):
    """The object exists already, or has changed since it was read (409)."""


class Unavailable(ClusterError):
    """The API did not answer, or is overloaded (429, 5xx, no connection): try again."""


@dataclass(frozen=True)
class Event:
    """One event of a watch; `BOOKMARK` objects carry only a resourceVersion."""

    type: Literal["ADDED", "MODIFIED", "DELETED", "BOOKMARK", "ERROR"]
    object: Manifest


@dataclass(frozen=True)
class Listing:
    """All objects of a list, with the version from which to watch on."""

    items: list[Manifest]
    version: str


class Cluster(Protocol):
    """The verbs. Each raises `NotFound`, `Conflict`, `Unavailable`, or `ClusterError` for any other refusal."""

    async def served(self, api_version: str) -> frozenset[str]:
        """The resources that the API serves in one version of a group, by plural; none if it does not know it."""

    async def list(self, kind: str, namespace: str | None, selector: str) -> Listing:
        """All objects of a kind, in one namespace or (None) in all, that a label selector picks."""

    def watch(self, kind: str, namespace: str | None, selector: str, version: str) -> AsyncIterator[Event]:
        """What happens after `version`; ends when the server ends the stream."""

    async def get(self, ref: Ref) -> Manifest:
        """One object."""

    async def apply(self, manifest: Manifest) -> Manifest:
        """Server-side apply as field manager `penstock`, taking over what others hold of our fields."""

    async def create(self, manifest: Manifest) -> Manifest:
        """Create; `Conflict` if the name is taken."""

    async def patch(self, ref: Ref, patch: Manifest) -> Manifest:
        """JSON merge patch (RFC 7386)."""

    async def patch_status(self, ref: Ref, patch: Manifest) -> Manifest:
        """JSON merge patch of the status subresource."""

    async def delete(self, ref: Ref, uid: str) -> None:
        """Delete that very object, its dependents in the background; one that is gone already is fine."""

    async def log(self, namespace: str, pod: str, tail: int | None = None) -> str:
        """The log of a Pod's container `worker`: all of it, or its last `tail` lines (then 1 MiB at most)."""
