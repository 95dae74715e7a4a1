"""Fields with the settings for all fields of a Dataset."""

from collections.abc import Iterator
from typing import Any

from penstock.api.fields import Schema, SchemaField
from penstock.api.parsing import Parsing, separators_fault
from penstock.language import literals


def applied(schema: Schema, parsing: Parsing | None) -> Schema:
    """The schema, in whose fields the settings for all fields stand where a field has none of its own."""
    if parsing is None:
        return schema
    return schema.model_copy(update={"fields": [_field(field, parsing) for field in schema.fields]})


def faults_together(schema: Schema, parsing: Parsing | None) -> Iterator[str]:
    """What is wrong with fields whose separators come from the field and from the settings for all fields."""
    for field in applied(schema, parsing).fields:
        for fault in separators_fault(field.decimal, field.thousands):
            yield f"field {field.name}: {fault}; one of the two comes from parsing"


def _field(field: SchemaField, parsing: Parsing) -> SchemaField:
    bare = field.type.partition("(")[0]
    settings: dict[str, Any] = {"null_values": parsing.null_values, "trim": parsing.trim}
    if bare == "boolean":
        settings["booleans"] = parsing.booleans
    elif bare == "date":
        settings["formats"] = parsing.date_formats
    elif bare == "timestamp":
        without = [written for written in parsing.timestamp_formats or [] if not literals.has_offset(written)]
        settings["formats"] = without or None
    elif bare == "timestamptz":
        settings |= {"formats": parsing.timestamp_formats, "time_zone": parsing.time_zone}
    elif literals.is_number(field.type):
        settings |= {"decimal": parsing.decimal, "thousands": parsing.thousands}
    missing = {name: value for name, value in settings.items() if value is not None and getattr(field, name) is None}
    return field.model_copy(update=missing) if missing else field
