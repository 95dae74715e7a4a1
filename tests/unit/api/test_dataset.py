"""Primary keys and version fields in a Dataset: what is accepted, and what is wrong with the others."""

from typing import Any

import pytest
from pydantic import ValidationError

from penstock.api import findings
from penstock.api.dataset import DatasetSpec
from penstock.api.fields import Schema

FIELDS = [
    {"name": "id", "type": "long"},
    {"name": "share", "type": "double"},
    {"name": "at", "type": "timestamp"},
    {"name": "word", "type": "string", "required": False},
]


def spec(mode: str = "upsert", **schema: Any) -> dict[str, Any]:
    """A Dataset's spec with these members of `schema`."""
    schema = {"fields": FIELDS, **schema}
    return {"destinationRef": {"name": "lake"}, "table": "t", "writeMode": mode, "schema": schema}


def said(given: dict[str, Any]) -> list[str]:
    """What is wrong with a spec."""
    with pytest.raises(ValidationError) as refused:
        DatasetSpec.model_validate(given)
    return [str(finding) for finding in findings.of(refused.value, DatasetSpec)]


def test_a_field_of_the_key_is_required() -> None:
    schema = DatasetSpec.model_validate(spec(primaryKey=["id", "at"], versionField="at")).schema_
    assert [field.required for field in schema.fields] == [True, None, True, False]
    assert (schema.key, schema.version_field) == (("id", "at"), "at")
    assert Schema.model_validate(schema.to_object()) == schema


@pytest.mark.parametrize(
    ("given", "fault"),
    [
        (spec(), "spec: writeMode: upsert needs schema.primaryKey, the fields that identify a row"),
        (spec("append", primaryKey=["id"]), "spec: schema.primaryKey goes with writeMode: upsert, not with append"),
        (
            spec(primaryKey=["ID"]),
            'spec.schema.primaryKey[0]: there is no field "ID"; the fields are id, share, at, word',
        ),
        (spec(primaryKey=["id", "id"]), 'spec.schema.primaryKey[1]: the field "id" stands twice'),
        (
            spec(primaryKey=["share"]),
            "spec.schema.primaryKey[0]: share is a double, which has no exact equality; use a decimal or a long",
        ),
        (
            spec(primaryKey=["word"]),
            "spec.schema.primaryKey[0]: word has required: false, and a field of the primary key is required",
        ),
        (spec("append", versionField="at"), "spec.schema.versionField: versionField goes with a primaryKey"),
        (
            spec(primaryKey=["id"], versionField="when"),
            'spec.schema.versionField: there is no field "when"; the fields are id, share, at, word',
        ),
        (
            spec(primaryKey=["id"], versionField="word"),
            "spec.schema.versionField: a version is a number, a date or a time, and word is a string",
        ),
    ],
)
def test_what_is_wrong_with_a_key(given: dict[str, Any], fault: str) -> None:
    assert said(given) == [fault]
