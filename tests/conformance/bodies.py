"""What the generated calls send: our examples, what our operator makes of them, and every kind of damage to these."""

import copy
import random
from functools import cache
from pathlib import Path
from typing import Any

import yaml

from conformance.calls import Json

_ROOT = Path(__file__).parent.parent.parent
_EXAMPLES, _CRDS, _THINGS = _ROOT / "examples", _ROOT / "crds", _ROOT / "tests" / "embedded" / "crds"
OURS = ("sources", "destinations", "datasets", "pipelines", "subscriptions")
BUILT_IN = ("configmaps", "secrets", "jobs", "cronjobs", "leases")
NAMES = ("a", "b", "c")
LABELS: list[Json] = [{}, {"team": "ops"}, {"team": "data", "tier": "1"}, {"penstock.dev/purpose": "ingest"}]
_TIME = "2020-01-01T00:00:00Z"
_DAMAGE: list[Any] = [
    *(None, "", "x" * 400, "Not A Name", _TIME, -1, 0, 1, 1.5, 10**12, True, False),
    *([], {}, ["x"], [1], {"unknown": 1}, {"name": "a"}, [{"name": "a"}, {"name": "a"}]),
]
ODD_METADATA: list[Json] = [
    *({"labels": {"bad key": "x"}}, {"labels": {"k": "bad value!"}}, {"labels": {"k": "x" * 64}}, {"labels": {"k": 1}}),
    *({"annotations": {"a/b/c": "x"}}, {"annotations": {"-": "x"}}, {"annotations": ["x"]}, {"labels": {"": ""}}),
    *({"name": "Bad_Name"}, {"name": "x" * 260}, {"namespace": "elsewhere"}, {"namespace": ""}, {"name": 7}),
    *({"uid": "00000000-0000-0000-0000-000000000000"}, {"generation": 7}, {"selfLink": "/x"}),
    *({"creationTimestamp": _TIME}, {"creationTimestamp": "x"}, {"creationTimestamp": None}),
    *({"deletionTimestamp": _TIME}, {"deletionGracePeriodSeconds": 5}, {"unknown": 1}),
    *({"finalizers": ["bad"]}, {"ownerReferences": [{"kind": "Thing", "uid": "u"}]}),
    *({"managedFields": []}, {"managedFields": [{"manager": "m"}]}, {"resourceVersion": "1"}),
]


@cache
def of_kind(kind: str) -> list[Json]:
    """All objects of a kind in the examples and in what is expected of them, without their owners."""
    found = []
    for file in sorted(_EXAMPLES.rglob("*.yaml")):
        for item in yaml.load_all(file.read_text(), yaml.CSafeLoader):
            if item and item["kind"] == kind:
                kept = {k: v for k, v in item["metadata"].items() if k in ("labels", "annotations")}
                found.append({"apiVersion": item["apiVersion"], "kind": kind, "metadata": kept} | _content(item))
    return found


def _content(item: Json) -> Json:
    return {k: v for k, v in item.items() if k not in ("apiVersion", "kind", "metadata", "status")}


def kind(plural: str) -> str:
    """sources -> Source."""
    irregular = {"configmaps": "ConfigMap", "cronjobs": "CronJob", "serviceaccounts": "ServiceAccount"}
    return irregular.get(plural, plural[:-1].capitalize())


def body(chance: random.Random, plural: str, name: str) -> Json:
    """A good object, most of the time."""
    if plural == "things":
        made: Json = {"apiVersion": "try.dev/v1", "kind": "Thing", "metadata": {}, "spec": _thing(chance)}
    elif plural == "secrets":
        data: Json = chance.choice([{"data": {"k": "dg=="}}, {"stringData": {"k": "v"}}, {"data": {}}])
        made = {"apiVersion": "v1", "kind": "Secret", "metadata": {}, **data}
    elif plural == "leases":
        spec = {"holderIdentity": chance.choice("xy"), "leaseDurationSeconds": 15, "leaseTransitions": 0}
        made = {"apiVersion": "coordination.k8s.io/v1", "kind": "Lease", "metadata": {}, "spec": spec}
    elif plural == "serviceaccounts":
        made = {"apiVersion": "v1", "kind": "ServiceAccount", "metadata": {}}
    elif plural == "configmaps" and chance.random() < 0.7:
        data = chance.choice([{"a": "1"}, {"a": "2", "b": ""}, {"c": "3"}])
        made = {"apiVersion": "v1", "kind": "ConfigMap", "metadata": {}, "data": dict(data)}
    else:
        made = copy.deepcopy(chance.choice(of_kind(kind(plural))))
    made["metadata"]["name"] = name
    if plural == "cronjobs":
        made["spec"]["schedule"] = "0 0 1 1 *"  # never while we look
    if chance.random() < 0.3:
        made["metadata"]["labels"] = dict(chance.choice(LABELS[1:]))
    if chance.random() < 0.1:
        made["metadata"]["finalizers"] = ["penstock.dev/hold"]
    if plural != "jobs" and chance.random() < 0.12:  # a Job and the end of its owner would race
        made["metadata"]["ownerReferences"] = [owner(chance)]
    return made


def owner(chance: random.Random) -> Json:
    """An owner that is there or not."""
    plural, version = chance.choice([("things", "try.dev/v1"), ("configmaps", "v1")])
    name = chance.choice(NAMES)
    found = {"apiVersion": version, "kind": kind(plural), "name": name, "uid": f"{{{{uid {plural}/{name}}}}}"}
    return found | chance.choice([{}, {"blockOwnerDeletion": True}, {"controller": True, "blockOwnerDeletion": True}])


def _thing(chance: random.Random) -> Json:
    options: Json = {
        "e": ["a", "b"],
        "num": [0, 3, 7, 10],
        "b": [True],
        "f": [0.5, 2],
        "l": [["x"], ["x", "y"]],
        "set": [["p"], ["p", "q"], ["q", "r"]],
        "items": [[{"name": "i", "v": 1}], [{"name": "j"}, {"name": "i", "v": 2}], [{"name": "k", "v": 3}]],
        "u": [{"x": {}}, {"y": {}}],
        "m": [{"k": "1"}, {"k": "2", "l": "3"}, {}],
        "free": [{"any": {"thing": [1, {"x": None}]}}],
        "q": [5, "5Gi"],
        "one": [{"a": "x"}, {"b": "y"}],
        "nul": [None, "x"],
    }
    fields = chance.sample(sorted(options), chance.randint(0, 5))
    return {"s": "abc"} | {key: copy.deepcopy(chance.choice(options[key])) for key in fields}


def status(chance: random.Random, plural: str) -> Json:
    """A status, mostly one that fits."""
    if plural not in (*OURS, "things"):
        return {}  # only controllers write these
    made: Json = _fitting(chance, _status_schema(plural))
    if chance.random() < 0.7:
        kinds = chance.sample(["Ready", "Reachable", "LastRunSucceeded", "Other"], chance.randint(0, 4))
        made["conditions"] = [_condition(chance, kind) for kind in kinds]
    return damaged(chance, {"spec": made})["spec"] if chance.random() < 0.2 else made


def _condition(chance: random.Random, kind: str) -> Json:
    texts = {
        "reason": chance.choice(["Tried", "Failed"]),
        "message": chance.choice(["m", "", 'with "quotes" & <more>']),
    }
    since = {"lastTransitionTime": _TIME}
    return {"type": kind, "status": chance.choice(["True", "False", "Unknown"])} | texts | since


@cache
def _status_schema(plural: str) -> Json:
    for file in (*_CRDS.glob("*.yaml"), *_THINGS.glob("*.yaml")):
        definition = yaml.load(file.read_text(), yaml.CSafeLoader)
        if definition["spec"]["names"]["plural"] == plural:
            root: Json = definition["spec"]["versions"][0]["schema"]["openAPIV3Schema"]
            return dict(root["properties"]["status"])
    raise KeyError(plural)


def _fitting(chance: random.Random, schema: Json) -> Any:
    """A value of a schema's types, with some of its fields."""
    if "enum" in schema:
        return chance.choice(schema["enum"])
    if schema["type"] == "object":
        fields, needed = schema.get("properties", {}), schema.get("required", ())
        return {k: _fitting(chance, inner) for k, inner in fields.items() if k in needed or chance.random() < 0.4}
    if schema["type"] == "array":
        return [_fitting(chance, schema["items"]) for _ in range(chance.choice([0, 1, 1, 2]))]
    texts = [_TIME] if schema.get("format") == "date-time" else ["", "x", "a/b"]
    known: Json = {"string": texts, "integer": [0, 1, 7, 10**12], "number": [0.5, 2], "boolean": [True, False]}
    return chance.choice(known[schema["type"]])


def damaged(chance: random.Random, item: Json, part: str = "spec") -> Json:
    """A copy with one random place of `part` removed, replaced or given an unknown neighbour."""
    made = copy.deepcopy(item)
    places = list(_places(made.get(part, {})))
    if not places:
        return made
    at, key = chance.choice(places)
    how = chance.random()
    if how < 0.2 and isinstance(at, dict):
        del at[key]
    elif how < 0.4 and isinstance(at, dict):
        at["unknown"] = 1
    else:
        instead = copy.deepcopy(chance.choice(_DAMAGE))
        if at[key] != _TIME or not isinstance(instead, list):  # the real one stores a list where a time belongs
            at[key] = instead
    return made


def _places(value: Any) -> Any:
    for key, item in list(value.items()) if isinstance(value, dict) else list(enumerate(value)):
        yield value, key
        if isinstance(item, dict | list):
            yield from _places(item)
