"""How a client asks for a write: the parameters of a request, apart from the object."""

from dataclasses import dataclass, field

from aiohttp import web

from penstock.embedded import errors
from penstock.embedded.errors import Problem
from penstock.embedded.objects import Json


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


def options(request: web.Request, subresource: str) -> Options:
    """Of a write. Refused with 422 when a parameter is none of its words."""
    query = request.query
    asker = {"POST": "CreateOptions", "PUT": "UpdateOptions"}.get(request.method, "PatchOptions")
    for key, known in (("dryRun", ("All",)), ("fieldValidation", ("", "Ignore", "Strict", "Warn"))):
        if query.get(key, "") not in ("", *known):
            shown = f'["{query[key]}"]' if key == "dryRun" else f'"{query[key]}"'
            problem = Problem.unsupported(key, shown, known)
            raise errors.invalid(asker, "meta.k8s.io", "", [problem])
    if request.content_type == "application/apply-patch+yaml" and not query.get("fieldManager"):
        problem = Problem.required("fieldManager", "is required for apply patch")
        raise errors.invalid("PatchOptions", "meta.k8s.io", "", [problem])
    return Options(
        query.get("fieldManager") or request.headers.get("User-Agent", "unknown").partition("/")[0],
        dry_run=query.get("dryRun") == "All",
        validation=query.get("fieldValidation") or "Warn",
        force=query.get("force", "").lower() in ("true", "1"),
        subresource=subresource,
    )


def deletion(request: web.Request, body: Json) -> Deletion:
    """Of a deletion: the body, and what the URL says. Refused as above."""
    given = {**body, **{k: v for k, v in request.query.items() if k in ("gracePeriodSeconds", "propagationPolicy")}}
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
    grace, wanted = given.get("gracePeriodSeconds"), given.get("preconditions") or {}
    return Deletion(
        None if grace is None else int(grace),
        given.get("propagationPolicy") or "",
        wanted.get("uid") or "",
        wanted.get("resourceVersion") or "",
        dry_run="All" in (given.get("dryRun") or []) or request.query.get("dryRun") == "All",
    )
