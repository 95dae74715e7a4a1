"""A value of every type in every field of an object: the embedded server says of each what the real one says."""

import copy
from typing import Any

import pytest
import yaml

from conformance import bodies, normal
from conformance.calls import Call, Json, Server
from conformance.conftest import ROOT, Both

VALUES: list[Any] = [None, "", "x", "2020-01-01T00:00:00Z", 0, 7, -1, 10**12, 2**31, 1.5, 1.0, 1e20, True, False, {}]
VALUES += [{"a": 1}, [], ["x"], [1], [{}]]


def _schema(plural: str) -> Json:
    for file in (*(ROOT / "crds").glob("*.yaml"), *(ROOT / "tests" / "embedded" / "crds").glob("*.yaml")):
        definition = yaml.load(file.read_text(), yaml.CSafeLoader)
        if definition["spec"]["names"]["plural"] == plural:
            schema: Json = definition["spec"]["versions"][0]["schema"]["openAPIV3Schema"]
            return schema
    raise KeyError(plural)


def _fields(schema: Json, path: tuple[str, ...]) -> list[tuple[tuple[str, ...], Json]]:
    """The scalar fields beneath a schema, through objects and lists; `*` stands for the one item of a list."""
    if "properties" in schema:
        inner = [(key, child) for key, child in schema["properties"].items()]
        return [found for key, child in inner for found in _fields(child, (*path, key))]
    if isinstance(schema.get("items"), dict):
        return _fields(schema["items"], (*path, "*"))
    return [(path, schema)]


def _patch(path: tuple[str, ...], value: Any) -> Any:
    if not path:
        return copy.deepcopy(value)
    return [_patch(path[1:], value)] if path[0] == "*" else {path[0]: _patch(path[1:], value)}


def _calls(plural: str, part: str) -> list[Call]:
    fields = _fields(_schema(plural)["properties"][part], (part,))
    target = f"{plural}/a" + ("/status" if part == "status" else "") + "?dryRun=All&fieldValidation=Strict"
    calls = []
    for path, schema in fields:
        values = [value for value in VALUES if not _judged_otherwise(plural, schema, value)]
        calls += [Call("PATCH", target, _patch(path, value), "application/merge-patch+json") for value in values]
    return calls


def _judged_otherwise(plural: str, schema: Json, value: Any) -> bool:
    """What only the real server does: it stores a list as a time, and its CEL rules refuse 1.0 for an integer."""
    if isinstance(value, list):
        return bool(schema.get("format") == "date-time")
    return plural == "things" and schema.get("type") == "integer" and isinstance(value, float)


@pytest.mark.parametrize(("plural", "part"), [("things", "spec"), *((plural, "status") for plural in bodies.OURS)])
def test_a_value_of_any_type_is_judged_alike_in_every_field(both: Both, plural: str, part: str) -> None:
    servers = [Server(kubeconfig, f"types-{plural}") for kubeconfig in (both.embedded, both.real)]
    different = []
    for server in servers:
        server.begin()
        made = server.send(Call("POST", plural, _plain(plural)))
        assert made.code == 201, made
    for call in _calls(plural, part):
        ours, theirs = (normal.Names().answer(server.send(call), tried=True) for server in servers)
        if told := normal.differences(ours, theirs):
            different.append(f"{call}\n" + "\n".join(told))
    for server in servers:
        server.raw("DELETE", f"/api/v1/namespaces/{server.namespace}")
        server.close()
    assert not different, f"{len(different)} differ:\n" + "\n".join(different[:20])


def _plain(plural: str) -> Json:
    if plural == "things":
        return {"apiVersion": "try.dev/v1", "kind": "Thing", "metadata": {"name": "a"}, "spec": {"s": "abc"}}
    made = copy.deepcopy(next(iter(bodies.of_kind(bodies.kind(plural)))))
    made["metadata"]["name"] = "a"
    return made
