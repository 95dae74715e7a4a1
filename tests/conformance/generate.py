"""A seeded sequence of API calls, as people, kubectl, GitOps tools, controllers and our operator make them."""

import copy
import random
import re
from collections.abc import Callable
from typing import Any

import yaml

from conformance import bodies
from conformance.bodies import BUILT_IN, NAMES, OURS
from conformance.calls import TABLE, Call, Json

MERGE, PATCH, STRATEGIC, APPLY = (
    f"application/{kind}+{form}"
    for kind, form in (
        ("merge-patch", "json"),
        ("json-patch", "json"),
        ("strategic-merge-patch", "json"),
        ("apply-patch", "yaml"),
    )
)
_MANAGERS = ("penstock", "kubectl", "flux")
_SELECTORS = (
    *("labelSelector=team", "labelSelector=team=ops", "labelSelector=team!=ops", "labelSelector=!team"),
    *("labelSelector=team in (ops,data),tier", "labelSelector=team notin (data)", "labelSelector=a=b=c"),
    *("fieldSelector=metadata.name=a", "fieldSelector=metadata.name!=a", "fieldSelector=spec.s=abc"),
    *("fieldSelector=spec.destinationRef.name=lake", "fieldSelector=spec.nothing=1", "limit=1", "limit=2"),
    *("limit=1&continue={{continue PLURAL}}", "limit=2&continue={{continue PLURAL}}", "limit=x", "limit=-1"),
    *("labelSelector=team in (", "labelSelector=team in ()", "labelSelector=a b", "labelSelector=tier>0"),
    *("labelSelector=,", "labelSelector=team==ops", "labelSelector=te!am", "fieldSelector=metadata.name"),
    *("fieldSelector=metadata.namespace=x", "fieldSelector=metadata.name=a,metadata.name!=b", "resourceVersion=x"),
    *("resourceVersion={{start}}&resourceVersionMatch=Exact", "resourceVersionMatch=Exact"),
    *("resourceVersion=1&resourceVersionMatch=NotOlderThan", "resourceVersion=1&resourceVersionMatch=Maybe"),
    *("continue=garbage", "labelSelector=team&limit=1", "resourceVersion=0"),
)  # fmt: skip
_DIRECTIVES: list[Json] = [
    {"spec": {"$retainKeys": ["holderIdentity"], "holderIdentity": "z"}},  # of a Lease
    {"data": {"$patch": "replace", "only": "1"}},
    {"data": {"$retainKeys": ["a"], "a": "9"}},
    {"data": {"$patch": "delete"}},
    {"metadata": {"$deleteFromPrimitiveList/finalizers": ["penstock.dev/hold"]}},
    {"metadata": {"$setElementOrder/finalizers": ["penstock.dev/more", "penstock.dev/hold"]}},
    {"metadata": {"labels": {"$patch": "replace", "team": "new"}}},
]
_BAD = ("", "{", "[]", '"text"', '{"kind": "Other"}', '{"apiVersion": "v9"}', '{"metadata": []}', "{'a': 1}")


class _Dumper(yaml.SafeDumper):
    """Quotes what YAML 1.1 takes for a truth value."""


_Dumper.add_implicit_resolver("tag:yaml.org,2002:bool", re.compile("[yYnN]$"), list("yYnN"))


class Sequence:
    """`calls(n)`: the first n calls of a seed."""

    def __init__(self, seed: int) -> None:
        self._chance = random.Random(seed)

    def calls(self, number: int) -> list[Call]:
        """The same for the same seed."""
        ways: list[tuple[int, Callable[[str, str], Call]]] = [
            *((16, self._create), (8, self._edit), (4, self._put), (10, self._merge), (6, self._json_patch)),
            *((6, self._strategic), (18, self._apply), (10, self._status), (8, self._delete), (8, self._list)),
            *((4, self._get), (4, self._table), (4, self._bad), (1, self._watch), (2, self._finalizers)),
            *((2, self._owners), (2, self._managers)),
        ]
        weights, makers = zip(*ways, strict=True)
        return [self._chance.choices(makers, weights)[0](*self._place()) for _ in range(number)]

    def _place(self) -> tuple[str, str]:
        resources = (*OURS, *OURS, *BUILT_IN, "jobs", "cronjobs", "configmaps", "things", "things", "things", "things")
        return self._chance.choice(resources), self._chance.choice(NAMES)

    def _query(self, manager: float = 0.6, **more: str) -> str:
        chance, asked = self._chance, dict(more)
        if chance.random() < manager:
            asked.setdefault("fieldManager", chance.choice(_MANAGERS))
        if chance.random() < 0.4:
            asked["fieldValidation"] = chance.choice(("Strict", "Strict", "Warn", "Ignore"))
        if chance.random() < 0.08:
            asked["dryRun"] = "All"
        return "?" + "&".join(f"{key}={value}" for key, value in asked.items()) if asked else ""

    def _version(self, about: str, stale: float = 0.5) -> str:
        return "{{start}}" if self._chance.random() < stale else f"{{{{version {about}}}}}"

    def _body(self, plural: str, name: str) -> Json:
        item = bodies.body(self._chance, plural, name)
        if plural in (*OURS, "things") and self._chance.random() < 0.35:
            item = bodies.damaged(self._chance, item)
        if self._chance.random() < 0.06:
            item["metadata"] |= copy.deepcopy(self._chance.choice(bodies.ODD_METADATA))
        return item

    # ── writes ───────────────────────────────────────────────────────────────
    def _create(self, plural: str, name: str) -> Call:
        item = self._body(plural, name)
        if self._chance.random() < 0.08:
            del item["metadata"]["name"]
            item["metadata"]["generateName"] = "gen-"  # only tried: the order of lists would differ
            return Call("POST", f"{plural}?dryRun=All", item)
        if self._chance.random() < 0.1:
            return Call("POST", f"{plural}{self._query()}", yaml.dump(item, Dumper=_Dumper), "application/yaml")
        return Call("POST", f"{plural}{self._query()}", item)

    def _edit(self, plural: str, name: str) -> Call:
        """Read, change, write back: as kubectl edit and replace."""
        change = self._change(plural, name) | {}
        change.setdefault("metadata", {})
        change["metadata"] = (change["metadata"] or {}) | {"resourceVersion": self._version(f"{plural}/{name}", 0.25)}
        return Call("PUT", f"{plural}/{name}{self._query()}", change, edit=True)

    def _put(self, plural: str, name: str) -> Call:
        """A replacement by somebody who did not look, or looked long ago."""
        if plural == "jobs":
            return self._edit(plural, name)  # without its selector a Job is refused by both, for different reasons
        item = self._body(plural, name)
        if self._chance.random() < 0.7:
            item["metadata"]["resourceVersion"] = f"{{{{version {plural}/{name}}}}}"
        return Call("PUT", f"{plural}/{name}{self._query()}", item)

    def _change(self, plural: str, name: str) -> Json:
        """A merge patch."""
        chance = self._chance
        if chance.random() < 0.3:
            return {"metadata": {"labels": copy.deepcopy(chance.choice([None, {"team": None}, *bodies.LABELS]))}}
        if chance.random() < 0.15:
            return {"metadata": {"annotations": {"penstock.dev/requestedAt": chance.choice([None, "now", "then"])}}}
        if plural == "jobs" and chance.random() < 0.3:
            template = {"metadata": {"annotations": {"penstock.dev/run-id": "r"}}}
            return {"spec": {"suspend": chance.choice([True, False]), "template": template}}
        if plural == "cronjobs" and chance.random() < 0.5:
            return {
                "spec": {
                    "suspend": chance.choice([True, False]),
                    "schedule": chance.choice(["0 0 1 1 *", "@yearly", "x", "61 * * * *"]),
                }
            }
        if plural == "configmaps":
            return {"data": chance.choice([{"a": None}, {"z": "new"}, None, {"a": 1}])}
        item = self._body(plural, name)
        return {key: item[key] for key in ("spec", "data", "stringData") if key in item}

    def _merge(self, plural: str, name: str) -> Call:
        change = self._change(plural, name)
        if self._chance.random() < 0.15:
            change.setdefault("metadata", {})["resourceVersion"] = self._version(f"{plural}/{name}")
        return Call("PATCH", f"{plural}/{name}{self._query()}", change, MERGE)

    def _strategic(self, plural: str, name: str) -> Call:
        change = self._change(plural, name)
        if plural in ("jobs", "cronjobs") and self._chance.random() < 0.5:
            env = [{"name": "PENSTOCK_ATTEMPT", "value": "2", "valueFrom": None}, {"name": "MORE", "value": "x"}]
            change = {"template": {"spec": {"containers": [{"name": "worker", "env": env}]}}}
            change = {"spec": change if plural == "jobs" else {"jobTemplate": {"spec": change}}}
        elif self._chance.random() < 0.4:
            change = copy.deepcopy(self._chance.choice(_DIRECTIVES if plural == "leases" else _DIRECTIVES[1:]))
        return Call("PATCH", f"{plural}/{name}{self._query()}", change, STRATEGIC)

    def _json_patch(self, plural: str, name: str) -> Call:
        chance, about = self._chance, f"{plural}/{name}"
        operations: list[Any] = chance.choice(
            [
                [{"op": "test", "path": "/metadata/resourceVersion", "value": f"{{{{version {about}}}}}"},
                 {"op": "add", "path": "/metadata/finalizers", "value": ["penstock.dev/hold"]}],
                [{"op": "test", "path": "/metadata/resourceVersion", "value": "{{start}}"},
                 {"op": "add", "path": "/metadata/labels", "value": {"j": "p"}}],
                [{"op": "remove", "path": "/metadata/finalizers"}],
                [{"op": "replace", "path": "/metadata/labels/team", "value": "json"}],
                [{"op": "add", "path": "/spec/suspend", "value": chance.choice([True, "no"])}],
                [{"op": "add", "path": "/nowhere/at/all", "value": 1}],
                [{"op": "nonsense", "path": "/spec"}],
                [{"op": "add", "path": "/metadata/finalizers/-", "value": f"penstock.dev/{chance.random()}"}],
                [{"op": "remove", "path": "/metadata/finalizers/0"}],
                [{"op": "copy", "from": "/metadata/name", "path": "/metadata/labels/copied"}],
                [{"op": "move", "from": "/metadata/labels/team", "path": "/metadata/labels/tier"}],
                [{"op": "test", "path": "/metadata/name", "value": "b"}, {"op": "remove", "path": "/metadata/labels"}],
                [{"op": "test", "path": "/metadata/nothing", "value": None}],
                [{"op": "replace", "path": "/spec/l/1", "value": "z"}],
                [{"op": "add", "path": "", "value": {}}],
                [],
                {"op": "add"},  # type: ignore[list-item]  # not even a list
            ]
        )  # fmt: skip
        return Call("PATCH", f"{about}{self._query()}", operations, PATCH)

    def _apply(self, plural: str, name: str) -> Call:
        chance = self._chance
        item = self._body(plural, name)
        if chance.random() < 0.3 and plural in (*OURS, "things"):
            kept = chance.sample(sorted(item["spec"]), chance.randint(0, len(item["spec"])))
            item["spec"] = {key: item["spec"][key] for key in kept}
        if chance.random() < 0.05:
            del item["metadata"]["name"]
        if chance.random() < 0.05:
            item["metadata"]["resourceVersion"] = self._version(f"{plural}/{name}")
        for key in ("deletionTimestamp", "deletionGracePeriodSeconds"):
            item["metadata"].pop(key, None)  # the real one stores them with a creation by apply
        force = {"force": "true"} if chance.random() < 0.45 else {}
        manager = {} if chance.random() < 0.04 else {"fieldManager": chance.choice(_MANAGERS)}
        body = yaml.dump(item, Dumper=_Dumper) if chance.random() < 0.1 else item
        return Call("PATCH", f"{plural}/{name}{self._query(0, **manager, **force)}", body, APPLY)

    def _status(self, plural: str, name: str) -> Call:
        chance = self._chance
        change: Json = {"status": bodies.status(chance, plural)}
        if chance.random() < 0.2:
            change["spec"] = {"suspend": True}
        if chance.random() < 0.3:
            change["metadata"] = {"resourceVersion": self._version(f"{plural}/{name}")}
        path, how = f"{plural}/{name}/status", chance.random()
        if how < 0.2:
            return Call("PUT", path + self._query(), change, edit=True)
        if how < 0.3 and plural != "jobs":
            operation = {"op": chance.choice(["add", "replace"]), "path": "/status", "value": change["status"]}
            return Call("PATCH", path + self._query(), [operation], PATCH)
        if how < 0.5:
            head = {"apiVersion": self._api_version(plural), "kind": bodies.kind(plural)}
            force = {"force": "true"} if chance.random() < 0.5 else {}
            return Call(
                "PATCH", path + self._query(0, fieldManager=chance.choice(_MANAGERS), **force), head | change, APPLY
            )
        return Call("PATCH", path + self._query(), change, MERGE)

    def _api_version(self, plural: str) -> str:
        return str(bodies.body(random.Random(0), plural, "x")["apiVersion"])

    def _finalizers(self, plural: str, name: str) -> Call:
        wanted = self._chance.choice(
            [None, None, ["penstock.dev/hold"], ["penstock.dev/hold", "penstock.dev/more"], ["bad"]]
        )
        return Call("PATCH", f"{plural}/{name}{self._query()}", {"metadata": {"finalizers": wanted}}, MERGE)

    def _owners(self, plural: str, name: str) -> Call:
        if plural == "jobs":
            return self._merge(plural, name)  # a Job and the end of its owner would race
        wanted: Any = self._chance.choice([None, [], [bodies.owner(self._chance)]])
        return Call("PATCH", f"{plural}/{name}{self._query()}", {"metadata": {"ownerReferences": wanted}}, MERGE)

    def _managers(self, plural: str, name: str) -> Call:
        """Who owns what, set by hand: an empty entry, or list, is the documented way to reset it."""
        wanted: Any = self._chance.choice([[{}], [], None, [{"manager": "m", "operation": "Update"}]])
        if self._chance.random() < 0.3:
            return Call("PUT", f"{plural}/{name}{self._query()}", {"metadata": {"managedFields": wanted}}, edit=True)
        return Call("PATCH", f"{plural}/{name}{self._query()}", {"metadata": {"managedFields": wanted}}, MERGE)

    def _delete(self, plural: str, name: str) -> Call:
        chance, about = self._chance, f"{plural}/{name}"
        options: Json = chance.choice(
            [
                *({}, {}, {"propagationPolicy": "Background"}, {"propagationPolicy": "Foreground"}),
                *({"propagationPolicy": "Orphan"}, {"propagationPolicy": "Sideways"}, {"gracePeriodSeconds": 0}),
                {"preconditions": {"uid": f"{{{{uid {about}}}}}"}},
                {"preconditions": {"uid": f"{{{{uid {plural}/other}}}}"}},
                {"preconditions": {"resourceVersion": self._version(about)}},
                *({"dryRun": ["All"]}, {"orphanDependents": False, "propagationPolicy": "Background"}),
            ]
        )
        if chance.random() < 0.06:
            options.pop("preconditions", None)
            return Call(
                "DELETE",
                f"{plural}?{chance.choice(['labelSelector=team', 'fieldSelector=metadata.name=a', ''])}",
                options or None,
            )
        if chance.random() < 0.15:
            query = chance.choice(["dryRun=All", "propagationPolicy=Background", "gracePeriodSeconds=x", "dryRun=Some"])
            return Call("DELETE", f"{about}?{query}", None)
        return Call("DELETE", about, {"kind": "DeleteOptions", "apiVersion": "v1"} | options if options else None)

    # ── reads ────────────────────────────────────────────────────────────────
    def _list(self, plural: str, _name: str) -> Call:
        return Call("GET", f"{plural}?{self._chance.choice(_SELECTORS)}".replace("PLURAL", plural))

    def _get(self, plural: str, name: str) -> Call:
        parts = ["", "", "/status", "/nothing"] if plural in BUILT_IN else ["", "/status"]
        return Call("GET", f"{plural}/{name}{self._chance.choice(parts)}")

    def _table(self, plural: str, name: str) -> Call:
        return Call("GET", self._chance.choice([plural, f"{plural}/{name}"]), accept=TABLE)

    def _watch(self, plural: str, name: str) -> Call:
        if plural == "jobs":
            plural = "cronjobs"  # between two states of rest a Job's controllers take steps of their own
        # Where a status has a default, the real server tells once more of it, at a time of its own.
        version = self._version(f"{plural}/{name}") if plural in ("configmaps", "secrets", "leases") else "{{start}}"
        more = self._chance.choice(["", "&labelSelector=team", "&fieldSelector=metadata.name=a"])
        return Call("GET", f"{plural}?watch=true&timeoutSeconds=1&resourceVersion={version}{more}")

    def _bad(self, plural: str, name: str) -> Call:
        text = self._chance.choice(_BAD)
        return self._chance.choice(
            [
                Call("POST", plural, text),
                Call("PUT", f"{plural}/{name}", text),
                Call("PATCH", f"{plural}/{name}", "[1]", MERGE),
                Call(
                    "PATCH", f"{plural}/{name}?fieldManager=m", self._chance.choice(["", "{", "[]", "{'a': 1}"]), APPLY
                ),
                Call("PATCH", f"{plural}/{name}", {}, "application/nonsense"),
                Call("POST", f"{plural}?fieldValidation=Maybe", {}),
                Call("POST", f"{plural}?dryRun=Some", {}),
                Call("GET", "nothings"),
                Call("DELETE", f"{plural}/{name}", text),
                Call("PATCH", f"{plural}/{name}", {"kind": "Other"}, PATCH),
                Call("GET", "/apis/penstock.dev/v9/namespaces/x/sources"),
            ]
        )
