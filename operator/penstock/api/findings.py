"""What is wrong with a manifest, in words: each of pydantic's errors as a field path, a fault and a remedy."""

import difflib
import json
import re
import typing
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from pydantic import BaseModel, ValidationError
from pydantic.fields import FieldInfo
from pydantic_core import ErrorDetails

from penstock.language import scalars
from penstock.language.model import Faults, Model, OneOf

Path = tuple[str | int, ...]

BOOLEAN_FOR_STRING = (
    "must be a string; without quotes YAML reads yes, no, on, off, y, n, true and false as booleans: write it in quotes"
)

PLANNED = (
    *("postgres", "mysql", "sqlite", "duckdb", "rest", "packaged", "bigquery", "singer", "airbyte", "push"),
    *("snowflake", "redshift", "firebolt", "panoply", "search", "webhook", "excel", "catalog"),
)
"""Members of connectors that the language plans for. What this version has is a field of its model, and not unknown."""

_CREDENTIALS = ("user", "username", "password", "token", "accesskey", "secretkey", "accesskeyid", "secretaccesskey")

LISTED = 5
"""How many faults one message lists; a condition's message is at most 1024 characters."""


@dataclass(frozen=True)
class Finding:
    """One fault: where in the object it lies, and what is wrong and what to do, in one sentence."""

    path: Path
    message: str

    def __str__(self) -> str:
        return f"{dotted(self.path)}: {self.message}" if self.path else self.message


def dotted(path: Path) -> str:
    """A path as people write it: `spec.datasets[0].sync`."""
    text = "".join(f"[{part}]" if isinstance(part, int) else f".{part}" for part in path)
    return text.removeprefix(".")


def listed(findings: Sequence[Finding]) -> list[str]:
    """At most five findings, and how many more there are."""
    lines = [str(finding) for finding in findings[:LISTED]]
    if len(findings) > LISTED:
        lines.append(f"… and {len(findings) - LISTED} more")
    return lines


def nearest(word: str, choices: Iterable[str]) -> str | None:
    """The one of `choices` that was probably meant; case and underscores do not count (`source_ref` is `sourceRef`)."""
    plain = {name.lower(): name for name in choices}
    close = difflib.get_close_matches(word.lower().replace("_", ""), plain, n=1, cutoff=0.6)
    return plain[close[0]] if close else None


def suggestion(word: str, choices: Iterable[str]) -> str:
    """`did you mean x?`, or what there is to choose from."""
    names = list(choices)
    if meant := nearest(word, names):
        return f"did you mean {meant}?"
    if not names:
        return "nothing is set here"
    shown = ", ".join(names[:12]) + (", …" if len(names) > 12 else "")
    return f"use {shown}" if len(names) == 1 else f"choose from {shown}"


def of(error: ValidationError, model: type[Model], under: Path = ("spec",)) -> list[Finding]:
    """Every fault that validating `model` found; paths begin with `under`."""
    return [fault for details in error.errors(include_url=False) for fault in _findings(details, model, under)]


def _findings(details: ErrorDetails, model: type[Model], under: Path) -> list[Finding]:
    path = (*under, *details["loc"])
    cause = details.get("ctx", {}).get("error")
    if isinstance(cause, Faults):
        return [Finding(path, fault) for fault in cause.faults]
    message = _MESSAGES.get(details["type"], _as_pydantic_says)
    return [Finding(path, message(details, model))]


def _unknown_field(details: ErrorDetails, model: type[Model]) -> str:
    word, parent = str(details["loc"][-1]), _model_at(model, details["loc"][:-1])
    if word == "namespace" and parent is not None and aliases(parent) == ["name"]:
        return "unknown field; references stay in the namespace of the object, so leave it out"
    if word in ("true", "false"):
        return "unknown field; without quotes YAML reads the keys yes, no, on, off, y and n as true and false"
    if word.lower() in _CREDENTIALS and "connector" in details["loc"]:
        return "unknown field; credentials are in a Secret that spec.auth names"
    if place := _only_place_inside(parent, word):
        return f"unknown field; it belongs in {place}"
    if word in PLANNED and "connector" in details["loc"]:
        return f"is not in this version; {suggestion('', aliases(parent) if parent else [])}"
    return f"unknown field; {suggestion(word, aliases(parent) if parent else [])}"


def _only_place_inside(parent: type[BaseModel] | None, word: str) -> str | None:
    """The one field of the model whose own fields have that name: the writer was one level too high."""
    if parent is None or word == "name":  # every reference has a name
        return None
    models = {info.alias or name: model_of(info.annotation) for name, info in parent.model_fields.items()}
    places = [place for place, model in models.items() if model is not None and word in aliases(model)]
    return places[0] if len(places) == 1 else None


def _missing(details: ErrorDetails, model: type[Model]) -> str:
    return f"is missing. {_documentation(details, model)}".rstrip(". ") + "."


def _not_a_choice(details: ErrorDetails, _model: type[Model]) -> str:
    choices = re.findall(r"'([^']*)'", details.get("ctx", {}).get("expected", "")) or ["true"]
    given = details["input"]
    meant = nearest(given, choices) if isinstance(given, str) else None
    ending = f"; did you mean {meant}?" if meant else ""
    return f"{_shown(given)} is not one of {', '.join(choices)}{ending}"


def _not_a_string(details: ErrorDetails, model: type[Model]) -> str:
    given = details["input"]
    if isinstance(given, bool):
        return BOOLEAN_FOR_STRING
    if given is None:
        return "must be a string, and is empty (null); write the words null and ~ in quotes"
    if not isinstance(given, int | float):
        return f"must be a string, not {_noun(given)}"
    field, quoted = _field_at(model, details["loc"]), json.dumps(given)
    rules = field.metadata if field else []
    patterns = [str(pattern) for rule in rules if (pattern := getattr(rule, "pattern", None))]
    if all(re.search(pattern, quoted) for pattern in patterns):
        return f'must be a string: write it in quotes, "{quoted}"'
    return f"must be a string. {_PATTERNS.get(patterns[0]) or _documentation(details, model)}"


def _not_a_list(details: ErrorDetails, _model: type[Model]) -> str:
    given = details["input"]
    if isinstance(given, str):
        return f"must be a list, not a string: write it in brackets, {_shown([given])}"
    if isinstance(given, Mapping):
        return 'must be a list, not an object: begin each entry with "- "'
    return f"must be a list, not {_noun(given)}"


def _not_an_object(details: ErrorDetails, model: type[Model]) -> str:
    given = details["input"]
    inner = _model_at(model, details["loc"])
    if isinstance(given, str) and inner is not None and [*inner.model_fields] == ["name"]:
        return f"must be an object, not a string: write {{name: {given}}}"
    if inner is not None and issubclass(inner, OneOf):
        return f"must be an object, not {_noun(given)}: {_member(given, inner)}"
    if inner is not None and (required := _required(inner)):
        return f"must be an object with {' and '.join(required)}, not {_noun(given)}"
    return f"must be an object, not {_noun(given)}"


def _member(given: Any, union: type[BaseModel]) -> str:
    """How a member of a union is written, the one that was probably meant if there is one."""
    members = {field.alias or name: field for name, field in union.model_fields.items()}
    name = nearest(given, members) if isinstance(given, str) else None
    if name is None:
        return f"its member is one of {', '.join(members)}"
    inner = model_of(members[name].annotation)
    return f"write {{{name}: {{…}}}}" if inner is not None and _required(inner) else f"write {{{name}: {{}}}}"


def _required(model: type[BaseModel]) -> list[str]:
    return [field.alias or name for name, field in model.model_fields.items() if field.is_required()]


def _beyond(limit: str, words: str) -> Callable[[ErrorDetails, type[Model]], str]:
    def message(details: ErrorDetails, _model: type[Model]) -> str:
        if details["input"] in ("\\t", "tab", "TAB"):
            return f'{_shown(details["input"])} is no single character; a tab is written "\\t", in double quotes'
        return f"{_shown(details['input'])} is {words.format(details.get('ctx', {}).get(limit))}"

    return message


def _not_a(noun: str) -> Callable[[ErrorDetails, type[Model]], str]:
    def message(details: ErrorDetails, _model: type[Model]) -> str:
        given = details["input"]
        if isinstance(given, str) and noun in ("a whole number", "true or false"):
            return f"must be {noun}, and {_shown(given)} in quotes is a string"
        return f"must be {noun}, not {_noun(given)}"

    return message


def _does_not_fit(details: ErrorDetails, model: type[Model]) -> str:
    pattern = details.get("ctx", {}).get("pattern", "")
    rule = _PATTERNS.get(pattern) or _documentation(details, model) or f"it must match {pattern}"
    if details["loc"][-1] == "type" and str(details["input"]).startswith("decimal(") and ")" not in details["input"]:
        return f'{_shown(details["input"])} is not a type: between braces write it in quotes, "decimal(12,2)"'
    if details["loc"][-1] == "type" and (meant := _type_meant(str(details["input"]).lower())):
        return f"{_shown(details['input'])} is not one of our types; did you mean {meant}?"
    return f"{_shown(details['input'])} is not accepted here. {rule}"


def _type_meant(word: str) -> str | None:
    near = difflib.get_close_matches(word, _SYNONYMS, n=1, cutoff=0.75) if word.isalnum() else []
    return _SYNONYMS.get(word) or (_SYNONYMS[near[0]] if near else None)


def _our_own_words(details: ErrorDetails, _model: type[Model]) -> str:
    return str(details.get("ctx", {}).get("error", details["msg"]))


def _as_pydantic_says(details: ErrorDetails, _model: type[Model]) -> str:
    said = details["msg"]
    return f"{said[0].lower()}{said[1:]}, and this is {_shown(details['input'])}"


_PATTERNS: Mapping[str, str] = {
    r"^[a-z0-9]([-a-z0-9.]*[a-z0-9])?$": "A name consists of lower-case letters, digits, - and .; it begins and ends "
    "with a letter or a digit",
    r"^[A-Za-z_][A-Za-z0-9_]*$": "It consists of letters, digits and _, and does not begin with a digit",
    scalars.ASCII_CHARACTER: "It is one ASCII character, and no line end",
    scalars.DURATION: "A duration is written 90s, 15m, 1h30m, 30d, and is a second at least",
    r"^(100(\.0+)?|[0-9]{1,2}(\.[0-9]+)?)%$": 'A percentage is written "5%" or "0.5%", and is at most "100%"',
}

_SYNONYMS: Mapping[str, str] = {
    **dict.fromkeys(["varchar", "text", "char", "str", "string", "uuid", "json"], "string"),
    **dict.fromkeys(["integer", "int32", "int4", "smallint", "int"], "int"),
    **dict.fromkeys(["bigint", "int64", "int8", "long"], "long"),
    **dict.fromkeys(["float", "float64", "real", "number", "double"], "double"),
    **dict.fromkeys(["bool", "boolean"], "boolean"),
    **dict.fromkeys(["datetime", "timestamp"], "timestamp"),
    **dict.fromkeys(["timestamp with time zone", "timestamp_tz", "timestamptz"], "timestamptz"),
    **dict.fromkeys(["decimal", "numeric", "money"], "decimal(18,2)"),
    "date": "date",
}
"""What other systems call our types, in lower case."""

_MESSAGES: Mapping[str, Callable[[ErrorDetails, type[Model]], str]] = {
    "extra_forbidden": _unknown_field,
    "missing": _missing,
    "literal_error": _not_a_choice,
    "string_type": _not_a_string,
    "int_type": _not_a("a whole number"),
    "int_from_float": _not_a("a whole number"),
    "bool_type": _not_a("true or false"),
    "list_type": _not_a_list,
    "dict_type": _not_a("an object"),
    "model_type": _not_an_object,
    "string_too_long": _beyond("max_length", "too long; characters allowed: {}"),
    "string_too_short": _beyond("min_length", "too short; characters needed: {}"),
    "too_long": _beyond("max_length", "too long; entries allowed: {}"),
    "too_short": _beyond("min_length", "too short; entries needed: {}"),
    "less_than_equal": _beyond("le", "too large; at most {}"),
    "greater_than_equal": _beyond("ge", "too small; at least {}"),
    "string_pattern_mismatch": _does_not_fit,
    "value_error": _our_own_words,
}


def aliases(model: type[BaseModel]) -> list[str]:
    """The names of a model's fields as manifests write them."""
    return [field.alias or name for name, field in model.model_fields.items()]


def model_of(annotation: Any) -> type[BaseModel] | None:
    """The model inside an annotation such as `list[Stream] | None`, if there is one."""
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        return annotation
    inner = (model_of(argument) for argument in typing.get_args(annotation))
    return next((model for model in inner if model is not None), None)


def _field_at(model: type[BaseModel], location: Path) -> FieldInfo | None:
    """The field that a location names; list indexes are stepped over."""
    names = [part for part in location if isinstance(part, str)]
    current: type[BaseModel] | None = model
    field_info: FieldInfo | None = None
    for name in names:
        if current is None:
            return None
        fields = {field.alias or key: field for key, field in current.model_fields.items()}
        field_info = fields.get(name)
        current = model_of(field_info.annotation) if field_info is not None else None
    return field_info


def _model_at(model: type[BaseModel], location: Path) -> type[BaseModel] | None:
    if not any(isinstance(part, str) for part in location):
        return model
    field = _field_at(model, location)
    return model_of(field.annotation) if field is not None else None


def _documentation(details: ErrorDetails, model: type[Model]) -> str:
    field = _field_at(model, details["loc"])
    return (field.description or "") if field is not None else ""


def _shown(value: Any) -> str:
    text = scalars.redacted(json.dumps(value, ensure_ascii=False, default=str))
    return text if len(text) <= 80 else f"{text[:79]}…"


def _noun(value: Any) -> str:
    match value:
        case None:
            return "empty (null)"
        case bool():
            return "true or false"
        case int() | float():
            return "a number"
        case str():
            return "a string"
        case list():
            return "a list"
        case _:
            return "an object"
