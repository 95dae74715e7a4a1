"""What is lacking is named with what to do about it, and nothing is lacking where all is there."""

import asyncio
from dataclasses import dataclass, field
from typing import Any

import yaml

from house import tree
from penstock.api import crds, objects
from penstock.control import prerequisites
from penstock.control.cluster.port import ClusterError, Manifest, NotFound, Ref, Unavailable
from penstock.control.settings import Settings
from support.fakecluster import Call, FakeCluster

DISCOVERY = Call("served", Ref("penstock.dev/v1alpha1", "", ""))


@dataclass
class Guarded(FakeCluster):
    """A cluster that tells its caller what it may do."""

    rules: list[Manifest] = field(default_factory=list)
    incomplete: bool = False
    asked: list[str] = field(default_factory=list)

    async def create(self, manifest: Manifest) -> Manifest:
        assert manifest["kind"] == "SelfSubjectRulesReview"
        self.asked.append(manifest["spec"]["namespace"])
        return {"status": {"resourceRules": self.rules, "incomplete": self.incomplete}}


def _rules() -> list[Manifest]:
    documents = yaml.safe_load_all((tree.ROOT / "deploy" / "rbac.yaml").read_text())
    [role] = [document for document in documents if document["kind"] == "ClusterRole"]
    rules: list[Manifest] = role["rules"]
    return rules


def _whole(**more: Any) -> Guarded:
    cluster = Guarded(**{"rules": _rules(), **more})
    for kind in objects.KINDS.values():
        cluster.resources.add(f"{objects.API_VERSION}/{kind.plural}")
        cluster.put(crds.manifest(kind), "")
    return cluster


def _lacking(cluster: FakeCluster, *namespaces: str) -> str:
    return asyncio.run(prerequisites._lacking(cluster, Settings(namespaces=namespaces)))


def test_nothing_is_lacking_with_the_permissions_that_deploy_grants() -> None:
    assert _lacking(_whole()) == ""


def test_deploy_grants_in_namespaces_what_the_operator_uses_and_nothing_else() -> None:
    granted = {
        (group, resource): set(rule["verbs"])
        for rule in _rules()
        if "resourceNames" not in rule  # these definitions are read by name, and lie in no namespace
        for group in rule["apiGroups"]
        for resource in rule["resources"]
    }
    assert granted == {place: set(verbs) for place, verbs in prerequisites.PERMISSIONS.items()}


def test_crds_that_are_not_served_are_named() -> None:
    cluster = _whole()
    cluster.resources -= {f"{objects.API_VERSION}/datasets", f"{objects.API_VERSION}/sources"}
    told = "waiting for the CRDs sources.penstock.dev, datasets.penstock.dev. Run: kubectl apply -f crds/"
    assert _lacking(cluster) == told


def test_a_crd_of_an_older_version_is_named_with_what_it_lacks() -> None:
    cluster = _whole()
    definition = crds.manifest(objects.KINDS["Pipeline"])
    properties = definition["spec"]["versions"][0]["schema"]["openAPIV3Schema"]["properties"]
    for name in ("conditions", "lastRun", "runs", "observedGeneration"):
        del properties["status"]["properties"][name]
    cluster.put(definition, "")
    told = _lacking(cluster)
    assert told.startswith("waiting for a newer CRD pipelines.penstock.dev: that of the cluster lacks status.")
    assert told.endswith(" and 1 more. Run: kubectl apply -f crds/")


def test_what_may_not_be_done_is_named_by_verb_and_resource() -> None:
    cluster = _whole()
    cluster.rules = [
        {**rule, "verbs": [verb for verb in rule["verbs"] if verb != "delete"]}
        for rule in cluster.rules
        if rule["resources"] != ["pods/log"]
    ]
    told = (
        "waiting for permissions in namespace default: "
        "delete jobs.batch, delete cronjobs.batch, delete configmaps, get pods/log. Run: kubectl apply -k deploy/"
    )
    assert _lacking(cluster) == told


def test_each_watched_namespace_is_asked_about() -> None:
    cluster = _whole()
    assert _lacking(cluster, "blue", "green") == ""
    assert cluster.asked == ["blue", "green"]


def test_stars_grant_and_a_rule_for_single_objects_does_not() -> None:
    everything = {"apiGroups": ["*"], "resources": ["*"], "verbs": ["*"]}
    assert _lacking(_whole(rules=[everything])) == ""
    assert "get list watch sources.penstock.dev" in _lacking(_whole(rules=[{**everything, "resourceNames": ["one"]}]))


def test_who_cannot_be_asked_is_not_doubted() -> None:
    assert _lacking(_whole(rules=[], incomplete=True)) == ""


def test_an_api_without_roles_has_nothing_to_grant() -> None:
    @dataclass
    class Single(FakeCluster):
        async def create(self, manifest: Manifest) -> Manifest:
            raise NotFound(404, "NotFound", f"no {manifest['kind']} here")

    cluster = Single()
    whole = _whole()
    cluster.resources = whole.resources
    for kind in objects.KINDS.values():
        cluster.put(crds.manifest(kind), "")
    assert _lacking(cluster) == ""


def test_the_api_servers_own_words_are_passed_on() -> None:
    cluster = _whole()
    cluster.refuse[DISCOVERY] = Unavailable(0, "ConnectionFailed", "the API server does not answer: refused")
    assert _lacking(cluster) == "not yet: the API server does not answer: refused"
    cluster.refuse[DISCOVERY] = ClusterError(401, "Unauthorized", "Unauthorized")
    assert _lacking(cluster) == "not yet: Unauthorized"
