"""How a client asks for a write: the parameters of a request, apart from the object."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from aiohttp import web

from localkube import errors, fieldtable, schema
from localkube.errors import Problem


@dataclass(frozen=True)
class Options:
    """How a write is made: for whom, really or only tried, and what to do with unknown fields."""

    manager: str
    dry_run: bool = False
    validation: str = "Warn"  # Ignore | Warn | Strict
    force: bool = False
    subresource: str = ""
    warnings: list[str] = field(default_factory=list)


@dataclass(frozen=True)
class Deletion:
    """A DeleteOptions: seconds of grace for Pods, propagation policy, preconditions."""

    grace: int | None = None
    propagation: str = ""
    uid: str = ""
    version: str = ""
    dry_run: bool = False


def number(query: Mapping[str, str], key: str) -> int | None:
    """A parameter that is a whole number, if given. Refused with 400 when it is none."""
    if text := query.get(key):
        try:
            return int(text)
        except ValueError:
            raise errors.bad_request(f'strconv.ParseInt: parsing "{text}": invalid syntax') from None
    return None


def options(request: web.Request, subresource: str, warnings: list[str]) -> Options:
    """Of a write, which adds to `warnings`. Refused with 422 when a parameter is none of its words."""
    query = request.query
    _check_words(request)
    if request.content_type == "application/apply-patch+yaml" and not query.get("fieldManager"):
        problem = Problem.required("fieldManager", "is required for apply patch")
        raise errors.invalid("PatchOptions", "meta.k8s.io", "", [problem])
    return Options(
        query.get("fieldManager") or request.headers.get("User-Agent", "unknown").partition("/")[0],
        dry_run=query.get("dryRun") == "All",
        validation=query.get("fieldValidation") or "Warn",
        force=query.get("force", "").lower() in ("true", "1"),
        subresource=subresource,
        warnings=warnings,
    )


def _check_words(request: web.Request) -> None:
    query, kinds = request.query, {"POST": "CreateOptions", "PUT": "UpdateOptions", "DELETE": "DeleteOptions"}
    for key, supported in (("dryRun", ("All",)), ("fieldValidation", ("", "Ignore", "Strict", "Warn"))):
        if query.get(key, "") not in ("", *supported):
            shown = f'["{query[key]}"]' if key == "dryRun" else f'"{query[key]}"'
            problem = Problem.unsupported(key, shown, supported)
            raise errors.invalid(kinds.get(request.method, "PatchOptions"), "meta.k8s.io", "", [problem])


def deletion(request: web.Request, body: Any) -> Deletion:
    """Of a deletion: the body, and what the URL says. Refused as above."""
    if not isinstance(body, dict) or schema.misfits(fieldtable.schema(fieldtable.message("v1", "DeleteOptions")), body):
        raise errors.bad_request("the request body is no DeleteOptions")
    if (kind := body.get("kind", "DeleteOptions")) != "DeleteOptions":
        raise errors.bad_request(f'no kind "{kind}" is registered for DeleteOptions')
    given = body | {k: v for k, v in request.query.items() if k == "propagationPolicy"}
    _check_words(request)
    policies = ("Foreground", "Background", "Orphan")
    if given.get("orphanDependents") is not None:
        if policy := given.get("propagationPolicy"):
            text = "orphanDependents and deletionPropagation cannot be both set"
            problem = Problem.invalid("propagationPolicy", f'"{policy}"', text)
            raise errors.invalid("DeleteOptions", "meta.k8s.io", "", [problem])
        given["propagationPolicy"] = "Orphan" if given["orphanDependents"] else "Background"
    if given.get("propagationPolicy") not in (None, "", *policies):
        problem = Problem.unsupported("propagationPolicy", f'"{given["propagationPolicy"]}"', (*policies, "nil"))
        raise errors.invalid("DeleteOptions", "meta.k8s.io", "", [problem])
    grace, wanted = number(request.query, "gracePeriodSeconds"), given.get("preconditions") or {}
    return Deletion(
        given.get("gracePeriodSeconds") if grace is None else grace,
        given.get("propagationPolicy") or "",
        wanted.get("uid") or "",
        wanted.get("resourceVersion") or "",
        dry_run="All" in (given.get("dryRun") or []) or request.query.get("dryRun") == "All",
    )
