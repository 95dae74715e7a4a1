"""What is generated is as the models say, bounded and documented."""

import itertools
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml

from house import tree
from penstock.api import crds, objects, reference
from penstock.api.objects import Kind
from penstock.control import due
from penstock.language import conditions
from support import fieldsfile


def test_the_definitions_are_as_the_models_say() -> None:
    crds.check(tree.ROOT / "crds")


def test_there_is_one_file_a_kind_and_no_other() -> None:
    assert sorted(path.name for path in (tree.ROOT / "crds").iterdir()) == sorted(crds.files())


def test_every_reason_and_condition_is_documented() -> None:
    reference.check(tree.ROOT / "docs")
    page = Path(tree.ROOT / "docs" / "conditions.md").read_text(encoding="utf-8")
    assert all(f"| `{name}` |" in page for name in (*conditions.REASONS, *conditions.TYPES))


def test_the_failures_that_are_tried_again_by_themselves_are_documented_each_and_no_other() -> None:
    page = Path(tree.ROOT / "docs" / "operating.md").read_text(encoding="utf-8")
    named = (
        page.partition("whose failure has an outside cause")[2]
        .partition("These reasons are outside causes:")[2]
        .partition(".")[0]
    )
    assert set(re.findall(r"`(\w+)`", named)) == due.OUTSIDE


def test_every_field_is_in_the_reference() -> None:
    page = Path(tree.ROOT / "docs" / "kinds.md").read_text(encoding="utf-8")
    chapters: dict[str, str] = {
        kind.name: page.partition(f"\n## {kind.name}\n")[2].partition("\n## ")[0] for kind in objects.KINDS.values()
    }

    def documented(kind: str, path: str) -> bool:
        """Whether the field has a row: in the kind's chapter, or where an object above it was described first."""
        if f"`{path.removesuffix('[]')}" in chapters[kind]:
            return True
        above = path
        while "." in above:
            above, _, _ = above.rpartition(".")
            reference_row = re.search(
                rf"\| `{re.escape(above.removesuffix('[]'))}` .*Its fields are those of `([^`]+)` of a (\w+)\.",
                chapters[kind],
            )
            if reference_row:
                return documented(reference_row.group(2), reference_row.group(1) + path.removeprefix(above))
        return False

    for kind in objects.KINDS.values():
        assert not [path for path, _ in _fields(kind) if "." in path and not documented(kind.name, path)]


def test_what_is_the_same_in_several_kinds_is_described_once() -> None:
    page = Path(tree.ROOT / "docs" / "kinds.md").read_text(encoding="utf-8")
    for once in ("lastTransitionTime", "rowsQuarantined", "retryTime"):
        assert len(re.findall(rf"^\| `[^`]*\.{once}` ", page, flags=re.MULTILINE)) == 1


@pytest.mark.skipif(not (fieldsfile.sources() / f"api@v{fieldsfile.VERSION}").is_dir(), reason="Kubernetes is not here")
def test_the_fields_of_built_in_kinds_are_as_kubernetes_says() -> None:
    assert fieldsfile.FILE.read_text(encoding="utf-8") == fieldsfile.text(fieldsfile.sources())


SCHEMES = ("s3", "gs", "az", "sftp", "http", "https", "file")


@pytest.mark.parametrize("end", ["k:s@b/x/", "k@b/", "b/x/?token=s", "b/x/#s", "b?s"])
def test_no_definition_takes_a_url_with_credentials(end: str) -> None:
    """The API server stores nothing that it refuses, so nobody can read it there."""
    patterns = [
        schema["pattern"]
        for kind in objects.KINDS.values()
        for path, schema in _fields(kind)
        if path.startswith("spec.") and path.rpartition(".")[2].lower() in ("url", "endpointurl", "warehouse")
    ]
    assert len(patterns) == 6
    for pattern, scheme in itertools.product(patterns, SCHEMES):
        assert not re.search(pattern, f"{scheme}://{end}")
    for scheme, places in (("s3", 3), ("gs", 3), ("az", 2), ("sftp", 2)):
        assert sum(bool(re.search(pattern, f"{scheme}://bucket/x@y/")) for pattern in patterns) == places


def test_no_definition_takes_a_duration_of_nothing() -> None:
    (schema,) = (schema for kind in objects.KINDS.values() for path, schema in _fields(kind) if path == "spec.deadline")
    assert not [text for text in ("0s", "0m0s", "00d") if re.search(schema["pattern"], text)]
    assert re.search(schema["pattern"], "1h0m0s")


@pytest.mark.parametrize("kind", objects.KINDS.values(), ids=lambda kind: kind.name)
class TestDefinition:
    """Every generated definition, read back from its file."""

    def test_every_string_list_and_map_is_bounded(self, kind: Kind) -> None:
        bound = {"string": "maxLength", "array": "maxItems"}
        for path, schema in _fields(kind):
            if needed := bound.get(schema["type"]):
                assert needed in schema or "enum" in schema, path
            assert "maxProperties" in schema or "additionalProperties" not in schema, path

    def test_every_field_is_documented(self, kind: Kind) -> None:
        assert not [path for path, schema in _fields(kind) if not path.endswith("[]") and not schema.get("description")]

    def test_no_default_stands_in_a_list_or_in_a_status(self, kind: Kind) -> None:
        """GitOps tools would show the first as a difference for ever; the operator alone writes the second."""
        assert not [
            path
            for path, schema in _fields(kind)
            if "default" in schema and path != "status" and ("[]" in path or path.startswith("status."))
        ]

    def test_nothing_is_a_float_and_nothing_is_ambiguous(self, kind: Kind) -> None:
        for path, schema in _fields(kind):
            assert schema["type"] in ("object", "array", "string", "integer", "boolean"), path
            assert not {"anyOf", "oneOf", "$ref", "title"} & set(schema), path

    def test_a_fresh_object_does_not_read_as_current(self, kind: Kind) -> None:
        assert dict(_fields(kind))["status"]["default"] == {"observedGeneration": -1}


def _fields(kind: Kind) -> Iterator[tuple[str, dict[str, Any]]]:
    text = (tree.ROOT / "crds" / f"{kind.plural}.yaml").read_text(encoding="utf-8")
    (version,) = yaml.safe_load(text)["spec"]["versions"]
    properties = version["schema"]["openAPIV3Schema"]["properties"]
    yield from _within("spec", properties["spec"])
    yield from _within("status", properties["status"])


def _within(path: str, schema: dict[str, Any]) -> Iterator[tuple[str, dict[str, Any]]]:
    yield path, schema
    for name, inner in schema.get("properties", {}).items():
        yield from _within(f"{path}.{name}", inner)
    if "items" in schema:
        yield from _within(f"{path}[]", schema["items"])
    if "additionalProperties" in schema:
        yield from _within(f"{path}[]", schema["additionalProperties"])
