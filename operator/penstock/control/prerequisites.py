"""What a cluster must have before the operator begins: our CRDs, in a version that will do, and our permissions.

GitOps tools apply in any order, so what is lacking is waited for: plainly said, live, not ready. An operator that began
with less would do harm: fields that a CRD of an older version lacks, the API server drops without a word, status too.
"""

import asyncio
import logging
from collections.abc import Iterable, Mapping, Sequence

from penstock.api import crds, objects
from penstock.control.cluster.port import Cluster, ClusterError, Manifest, NotFound, Ref
from penstock.control.notices import Notices
from penstock.control.probes import Health
from penstock.control.settings import Settings

log = logging.getLogger(__name__)

WAIT_SECONDS = 2.0
"""Between two looks."""

_READ = ("get", "list", "watch")
_WRITE = (*_READ, "create", "patch", "delete")

PERMISSIONS: Mapping[tuple[str, str], Sequence[str]] = {
    **{(objects.GROUP, kind.plural): _READ for kind in objects.KINDS.values()},
    **{(objects.GROUP, f"{kind.plural}/status"): ("patch",) for kind in objects.KINDS.values()},
    ("batch", "jobs"): _WRITE,
    ("batch", "cronjobs"): _WRITE,
    ("", "configmaps"): _WRITE,
    ("", "pods"): _READ,
    ("", "pods/log"): ("get",),
    ("", "events"): ("create",),
}
"""The verbs that the operator uses in the namespaces that it watches, by API group and resource; deploy/rbac.yaml has
the same."""


async def met(cluster: Cluster, settings: Settings, health: Health) -> None:
    """Return when nothing is lacking; until then say what is, in the log and to the readiness probe."""
    notices = Notices(log)
    waited = False
    while missing := await _lacking(cluster, settings):
        waited = True
        notices.warn("", missing)
        health.report(missing, ready=False)
        await asyncio.sleep(WAIT_SECONDS)
    if waited:
        log.info("everything that was missing is there now")


async def _lacking(cluster: Cluster, settings: Settings) -> str:
    """What is lacking, and what to do, in one sentence; empty if nothing is."""
    try:
        return (
            await _missing_definitions(cluster)
            or await _missing_permissions(cluster, settings)
            or await _old_definitions(cluster)
        )
    except ClusterError as error:
        return f"not yet: {error.message}"


async def _missing_definitions(cluster: Cluster) -> str:
    served = await cluster.served(objects.API_VERSION)
    missing = [f"{kind.plural}.{objects.GROUP}" for kind in objects.KINDS.values() if kind.plural not in served]
    return f"waiting for the CRDs {', '.join(missing)}. Run: kubectl apply -f crds/" if missing else ""


async def _old_definitions(cluster: Cluster) -> str:
    for kind in objects.KINDS.values():
        name = f"{kind.plural}.{objects.GROUP}"
        lacks = crds.lacking(await cluster.get(Ref("CustomResourceDefinition", "", name)), kind)
        if lacks:
            more = f" and {len(lacks) - 3} more" if len(lacks) > 3 else ""
            return (
                f"waiting for a newer CRD {name}: that of the cluster lacks {', '.join(lacks[:3])}{more}. "
                "Run: kubectl apply -f crds/"
            )
    return ""


async def _missing_permissions(cluster: Cluster, settings: Settings) -> str:
    """Asked of the API server in one call a namespace, with what everybody may ask about oneself."""
    for namespace in settings.namespaces or ("default",):  # what holds in all namespaces holds in that one
        review = {
            "apiVersion": "authorization.k8s.io/v1",
            "kind": "SelfSubjectRulesReview",
            "spec": {"namespace": namespace},
        }
        try:
            answer = (await cluster.create(review))["status"]
        except NotFound:
            return ""  # the embedded API is single-user: it has no roles
        if answer.get("incomplete"):
            continue  # there are authorizers that cannot list what they allow
        if missing := _not_granted(answer["resourceRules"]):
            return f"waiting for permissions in namespace {namespace}: {missing}. Run: kubectl apply -k deploy/"
    return ""


def _not_granted(rules: Sequence[Manifest]) -> str:
    lacking = {
        (group, resource): [verb for verb in verbs if not any(_grants(rule, group, resource, verb) for rule in rules)]
        for (group, resource), verbs in PERMISSIONS.items()
    }
    named = [
        f"{' '.join(verbs)} {resource}{group and f'.{group}'}" for (group, resource), verbs in lacking.items() if verbs
    ]
    return ", ".join(named)


def _grants(rule: Manifest, group: str, resource: str, verb: str) -> bool:
    def among(words: Iterable[str] | None, *wanted: str) -> bool:
        return any(word in (words or ()) for word in ("*", *wanted))

    _, _, subresource = resource.partition("/")
    resources = (resource, f"*/{subresource}") if subresource else (resource,)
    return (
        among(rule.get("apiGroups"), group)
        and among(rule.get("resources"), *resources)
        and among(rule.get("verbs"), verb)
        and not rule.get("resourceNames")
    )
