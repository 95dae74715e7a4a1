"""The definitions that are generated from the models."""

from collections.abc import Iterator
from pathlib import Path
from typing import Annotated, Any

import pytest
import yaml
from pydantic import Field

from penstock.api import crds, objects
from penstock.language.errors import InvalidSpec
from penstock.language.model import Model, OneOf


class Leaf(Model):
    """A leaf."""

    size: Annotated[int, Field(ge=1, le=9, description="How large.")] = 3


class Choice(OneOf):
    """One of two."""

    first: Annotated[Leaf | None, Field(description="The first.")] = None
    second: Leaf | None = None


class Root(Model):
    """A root,
    told on two lines."""

    choice: Choice = Choice(first=Leaf())
    leaves: Annotated[list[Leaf], Field(max_length=4)] = []
    labels: Annotated[dict[str, Annotated[str, Field(max_length=5)]] | None, Field(max_length=2)] = None


ROOT = crds.structural(Root)


def test_references_and_nulls_are_put_in_place() -> None:
    first = ROOT["properties"]["choice"]["properties"]["first"]
    assert first == {
        "type": "object",
        "nullable": True,
        "description": "The first.",
        "properties": {
            "size": {"type": "integer", "description": "How large.", "default": 3, "minimum": 1, "maximum": 9}
        },
    }


def test_a_docstring_describes_what_its_field_does_not() -> None:
    assert ROOT["properties"]["choice"]["properties"]["second"]["description"] == "A leaf."
    assert ROOT["description"] == "A root, told on two lines."


def test_a_union_is_an_object_with_exactly_one_member() -> None:
    choice = ROOT["properties"]["choice"]
    assert (choice["minProperties"], choice["maxProperties"]) == (1, 1)
    assert "default" not in choice, "it would still be there when another member is applied"


def _unions(schema: dict[str, Any]) -> Iterator[dict[str, Any]]:
    if schema.get("minProperties") == schema.get("maxProperties") == 1:
        yield schema
    for inner in (*schema.get("properties", {}).values(), schema.get("items"), schema.get("additionalProperties")):
        if inner:
            yield from _unions(inner)


@pytest.mark.parametrize("definition", crds.all_of_them(), ids=lambda definition: definition["metadata"]["name"])
def test_a_union_is_one_value_without_stored_defaults(definition: dict[str, Any]) -> None:
    schema = definition["spec"]["versions"][0]["schema"]["openAPIV3Schema"]
    for union in _unions(schema["properties"]["spec"]):
        assert union["x-kubernetes-map-type"] == "atomic"
        assert "'default':" not in str(union), "an unchanged manifest would conflict with its earlier field manager"


def test_a_default_inside_a_union_is_in_its_description() -> None:
    schema = _served("Destination")["spec"]["properties"]["connector"]["properties"]["postgres"]["properties"]
    assert schema["port"]["description"].endswith(" Default: 5432.")


def test_list_items_have_no_defaults() -> None:
    leaves = ROOT["properties"]["leaves"]
    assert leaves["default"] == []
    assert "default" not in leaves["items"]["properties"]["size"]


def test_maps_are_bounded() -> None:
    assert ROOT["properties"]["labels"] == {
        "type": "object",
        "nullable": True,
        "maxProperties": 2,
        "additionalProperties": {"type": "string", "maxLength": 5},
    }


def test_the_lists_of_named_things_are_maps_to_server_side_apply() -> None:
    (version,) = crds.manifest(objects.KINDS["Dataset"])["spec"]["versions"]
    spec = version["schema"]["openAPIV3Schema"]["properties"]["spec"]
    assert spec["properties"]["schema"]["properties"]["fields"]["x-kubernetes-list-map-keys"] == ["name"]
    assert [rule["fieldPath"] for rule in spec["x-kubernetes-validations"]] == [".table", ".destinationRef"]


@pytest.mark.parametrize("definition", crds.all_of_them(), ids=lambda definition: definition["metadata"]["name"])
def test_every_definition_survives_its_own_yaml(definition: dict[str, object]) -> None:
    assert yaml.safe_load(crds.text(definition)) == definition


def test_files_are_written_once_and_then_clean(tmp_path: Path) -> None:
    with pytest.raises(InvalidSpec, match=r"sources\.yaml"):
        crds.check(tmp_path)
    assert len(crds.write(tmp_path)) == 5
    assert crds.write(tmp_path) == []
    crds.check(tmp_path)
    (tmp_path / "sources.yaml").write_text("other", encoding="utf-8")
    with pytest.raises(InvalidSpec, match=r"not as the models say: \S+sources.yaml. Run `penstock crds`"):
        crds.check(tmp_path)


def _served(kind: str) -> dict[str, Any]:
    definition = crds.manifest(objects.KINDS[kind])  # type: ignore[index]
    schema: dict[str, Any] = definition["spec"]["versions"][0]["schema"]["openAPIV3Schema"]["properties"]
    return {"definition": definition, **schema}


@pytest.mark.parametrize("kind", objects.KINDS.values(), ids=lambda kind: kind.name)
def test_a_definition_lacks_nothing_of_itself(kind: objects.Kind) -> None:
    assert crds.lacking(crds.manifest(kind), kind) == []


def test_what_an_older_definition_lacks_is_told_as_paths() -> None:
    served = _served("Dataset")
    del served["status"]["properties"]["rows"]
    fields = served["spec"]["properties"]["schema"]["properties"]["fields"]["items"]["properties"]
    del fields["name"]
    served["spec"]["properties"]["writeMode"]["enum"] = ["append"]
    lacking = crds.lacking(served["definition"], objects.KINDS["Dataset"])
    modes = [f"spec.writeMode={mode}" for mode in ("replace", "upsert", "snapshot")]
    assert lacking == ["spec.schema.fields[].name", *modes, "status.rows"]


def test_a_newer_definition_lacks_nothing() -> None:
    served = _served("Dataset")
    served["spec"]["properties"]["later"] = {"type": "string"}
    assert crds.lacking(served["definition"], objects.KINDS["Dataset"]) == []


def test_a_definition_without_our_version_lacks_all() -> None:
    served = _served("Dataset")
    served["definition"]["spec"]["versions"][0]["name"] = "v1"
    assert "spec" in crds.lacking(served["definition"], objects.KINDS["Dataset"])
