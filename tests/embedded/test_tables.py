"""Printer columns: of several values the first, of none nothing, and of odd ones what a real server prints."""

from typing import Any

import pytest

from embedded.harness import Json, Kube, thing

_MERGE = "application/merge-patch+json"
_TABLE = "application/json;as=Table;v=v1;g=meta.k8s.io"
_CONDITIONS = [{"type": "A", "status": "True"}, {"type": "B", "status": "False"}, {"type": "C", "status": "Unknown"}]


def _row(kube: Kube, name: str) -> dict[str, Any]:
    table: Json = kube.http("GET", f"things/{name}", accept=_TABLE)[1]
    names = [column["name"] for column in table["columnDefinitions"]]
    return dict(zip(names, table["rows"][0]["cells"], strict=True))


@pytest.mark.parametrize(
    ("spec", "column", "cell"),
    [
        ({"items": [{"name": "i", "v": 1}, {"name": "j", "v": 2}, {"name": "k", "v": 3}]}, "Item", 2),
        ({"items": [{"name": "i", "v": 1}]}, "Item", None),
        ({"items": [{"name": "i"}, {"name": "j", "v": 5}]}, "Item", 5),
        ({}, "Item", None),
        ({"m": {"b": "2", "a": "1"}}, "Map", '{"a":"1","b":"2"}'),
        ({}, "Map", None),
        ({"nul": None}, "Nul", "<no value>"),
        ({"b": False}, "Flag", False),
        ({"f": 0.5}, "Part", 0.5),
    ],
)
def test_a_column_of_a_spec(kube: Kube, spec: Json, column: str, cell: Any) -> None:
    kube.http("POST", "things", thing("a", **spec))

    assert _row(kube, "a")[column] == cell


def test_columns_of_conditions(kube: Kube) -> None:
    kube.http("POST", "things", thing("a"))
    assert [_row(kube, "a")[column] for column in ("Ready", "NotReady", "Kinds")] == [None, None, None]

    kube.http("PATCH", "things/a/status", {"status": {"conditions": _CONDITIONS}}, _MERGE)

    assert [_row(kube, "a")[column] for column in ("Ready", "NotReady", "Kinds")] == [None, "B", "A"]
