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
        (spec(primaryKey=["id", "id"]), 'spec.schema.primaryKey[1]: the field "id" occurs twice'),
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


def with_field(kind: str, parsing: dict[str, Any] | None = None, **settings: Any) -> dict[str, Any]:
    """A Dataset with a field of this type and these settings, and with settings for all fields."""
    fields = {"schema": {"fields": [{"name": "v", "type": kind, **settings}]}}
    return {"destinationRef": {"name": "lake"}, "table": "t", **fields, **({"parsing": parsing} if parsing else {})}


@pytest.mark.parametrize(
    ("given", "fault"),
    [
        (
            with_field("long", booleans={"trueValues": ["1"], "falseValues": ["0"]}),
            "spec.schema.fields[0]: booleans goes with boolean, not with long",
        ),
        (
            with_field("boolean", booleans={"trueValues": ["1"], "falseValues": ["0", "1"]}),
            'spec.schema.fields[0].booleans: "1" is in trueValues and in falseValues',
        ),
        (
            with_field("timestamp", timeZone="Europe/Paris"),
            "spec.schema.fields[0]: timeZone goes with timestamptz, not with timestamp",
        ),
        (
            with_field("string", decimal=","),
            "spec.schema.fields[0]: decimal and thousands go with numbers, not with string",
        ),
        (
            with_field("date", rounding="allow"),
            "spec.schema.fields[0]: rounding goes with numbers, not with date",
        ),
        (
            with_field("double", decimal=",", thousands=","),
            "spec.schema.fields[0]: thousands must differ from decimal",
        ),
        (
            with_field("double", {"thousands": ","}, decimal=","),
            "spec: field v: thousands must differ from decimal; one of the two comes from parsing",
        ),
        (
            with_field("date", {"dateFormats": ["%d.%m.%Y %z"]}),
            "spec.parsing: dateFormats: %z and %Z go with timestampFormats; a date would lose the offset",
        ),
        (
            with_field("date", {"timestampFormats": ["%q"]}),
            'spec.parsing: timestampFormats: "%q" is no directive of strptime, in "%q"; for instance "%d.%m.%Y"',
        ),
        (
            with_field("date", {"timeZone": "Europe/Pari"}),
            'spec.parsing.timeZone: "Europe/Pari" is not a time zone of the IANA database; for instance "Europe/Paris"',
        ),
    ],
)
def test_what_is_wrong_with_settings_for_texts(given: dict[str, Any], fault: str) -> None:
    assert said(given) == [fault]
