"""Refusals, in the API server's own words (apimachinery: pkg/api/errors)."""

from collections.abc import Sequence
from dataclasses import dataclass

from localkube.objects import Json


class Refused(Exception):
    """An answer of 400 and above: `code`, `reason` and message as they stand in a Status object."""

    def __init__(self, code: int, reason: str, message: str, details: Json | None = None) -> None:
        super().__init__(message)
        self.code, self.reason, self.details = code, reason, details

    def status(self) -> Json:
        """The Status object."""
        body = {"kind": "Status", "apiVersion": "v1", "metadata": {}, "status": "Failure", "message": str(self)}
        return (
            body
            | ({"reason": self.reason} if self.reason else {})
            | ({} if self.details is None else {"details": self.details})
            | {"code": self.code}
        )


@dataclass(frozen=True)
class Problem:
    """One thing wrong with an object: `path` like spec.datasets[0].name, `reason` a field error type."""

    path: str
    reason: str
    text: str

    @classmethod
    def invalid(cls, path: str, value: str, text: str) -> "Problem":
        """`value` as it is to be printed."""
        return cls(path, "FieldValueInvalid", f"Invalid value: {value}: {text}")

    @classmethod
    def required(cls, path: str, text: str = "") -> "Problem":
        """Something is missing."""
        return cls(path, "FieldValueRequired", "Required value" + (f": {text}" if text else ""))

    @classmethod
    def forbidden(cls, path: str, text: str) -> "Problem":
        """It may not be there."""
        return cls(path, "FieldValueForbidden", f"Forbidden: {text}")

    @classmethod
    def unsupported(cls, path: str, value: str, supported: Sequence[str]) -> "Problem":
        """Not one of the known words."""
        words = ", ".join(f'"{word}"' for word in supported)
        return cls(path, "FieldValueNotSupported", f"Unsupported value: {value}: supported values: {words}")

    def __str__(self) -> str:
        return f"{self.path}: {self.text}"


def bad_request(message: str) -> Refused:
    """The request itself makes no sense."""
    return Refused(400, "BadRequest", message)


def no_such_resource(path: str) -> Refused:
    """A URL that is none."""
    why = "penstock's embedded Kubernetes has only what `kubectl api-resources` lists (one user, so no RBAC)"
    return Refused(404, "NotFound", f"the server could not find the requested resource {path}: {why}", {})


def not_here(what: str) -> Refused:
    """Kubernetes can, this one cannot: said by name, never ignored."""
    return Refused(422, "Invalid", f"{what}: not supported by penstock's embedded Kubernetes")


def about(resource: str, name: str) -> Json:
    """The details of a Status about one object."""
    plural, _, group = resource.partition(".")
    return {"name": name} | ({"group": group} if group else {}) | {"kind": plural}


def not_found(resource: str, name: str) -> Refused:
    """`resource` as in jobs.batch."""
    return Refused(404, "NotFound", f'{resource} "{name}" not found', about(resource, name))


def exists(resource: str, name: str, going: bool) -> Refused:
    """A create of something that is there, perhaps not for long."""
    words = "object is being deleted: " if going else ""
    return Refused(409, "AlreadyExists", f'{words}{resource} "{name}" already exists', about(resource, name))


def conflict(resource: str, name: str, why: str) -> Refused:
    """Somebody else was faster, or a precondition does not hold."""
    message = f'Operation cannot be fulfilled on {resource} "{name}": {why}'
    return Refused(409, "Conflict", message, about(resource, name))


MODIFIED = "the object has been modified; please apply your changes to the latest version and try again"


def terminating(resource: str, name: str, namespace: str) -> Refused:
    """A create in a namespace that is going."""
    why = f"unable to create new content in namespace {namespace} because it is being terminated"
    message = f"namespace {namespace} is being terminated"
    cause = {"reason": "NamespaceTerminating", "message": message, "field": "metadata.namespace"}
    details = about(resource, name) | {"causes": [cause]}
    return Refused(403, "Forbidden", f'{resource} "{name}" is forbidden: {why}', details)


def invalid(kind: str, group: str, name: str, problems: Sequence[Problem]) -> Refused:
    """422 with all causes; `kind` as in Job, `group` as in batch."""
    texts = list(dict.fromkeys(map(str, problems)))
    listed = texts[0] if len(texts) == 1 else f"[{', '.join(texts)}]"
    causes = [{"reason": p.reason, "message": p.text, "field": p.path} for p in problems]
    about = {"name": name, "group": group, "kind": kind}
    details = {key: text for key, text in about.items() if text} | {"causes": causes}
    qualified = f"{kind}.{group}" if group else kind
    return Refused(422, "Invalid", f'{qualified} "{name}" is invalid: {listed}', details)


def gone(message: str) -> Refused:
    """A watch or continue token from before what is still known."""
    return Refused(410, "Expired", message)
