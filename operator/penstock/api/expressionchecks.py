"""What is wrong with the SQL expressions of an object, as a judge from outside says: the language knows no SQL."""

from collections.abc import Callable, Iterator, Mapping
from functools import partial
from typing import Any

from pydantic import TypeAdapter, ValidationError

from penstock.api.fields import FieldType
from penstock.api.findings import Finding, Path
from penstock.api.manifests import Manifest
from penstock.language.errors import InvalidSpec

Expressions = Callable[[str, str], None]
"""Judges an expression by itself: (expression, where) raises InvalidSpec."""
Rules = Callable[[str, Mapping[str, str], str], None]
"""Judges a rule over the fields of a row: (expression, the types of the fields by name, where) raises InvalidSpec."""

_FIELDS: Path = ("spec", "schema", "fields")
_RULES: Path = ("spec", "quality", "rules")
_TYPE: TypeAdapter[str] = TypeAdapter(FieldType)


def findings(manifest: Manifest, expressions: Expressions | None, rules: Rules | None) -> Iterator[Finding]:
    """What is wrong with the expressions of an object, read leniently: another fault does not hide these.

    A judge that is None judges nothing. Rules are judged where all fields have a name and a type.
    """
    types = _types(manifest) if rules is not None else {}
    for path, where in places(manifest) if expressions is not None else ():
        yield from _finding(manifest, path, expressions, where)
    for path, where in _places_of_rules(manifest) if types else ():
        yield from _finding(manifest, path, partial(_over_fields, rules, types), where)


def _over_fields(rules: Rules | None, types: Mapping[str, str], written: str, where: str) -> None:
    if rules is not None:
        rules(written, types, where)


def _finding(manifest: Manifest, path: Path, judge: Expressions | None, where: str) -> Iterator[Finding]:
    written = value_at(manifest.object, path)
    if judge is None or not isinstance(written, str) or not written:
        return
    try:
        judge(written, where)
    except InvalidSpec as error:
        yield Finding(path, error.message)


def places(manifest: Manifest) -> Iterator[tuple[Path, str]]:
    """Where an expression may stand that is no rule, and what it belongs to, for messages."""
    if manifest.kind == "Dataset":
        for index, name in _names(manifest, _FIELDS):
            yield (*_FIELDS, index, "from"), f"field {name}"
        yield ("spec", "access", "filter"), "access.filter"
    elif manifest.kind == "Subscription":
        for index, name in _names(manifest, ("spec", "fields")):
            yield ("spec", "fields", index, "filter", "expression"), f"the filter of field {name}"
        yield ("spec", "filter"), "filter"


def _places_of_rules(manifest: Manifest) -> Iterator[tuple[Path, str]]:
    """Where a rule over the fields of a row may stand, and what it is, for messages."""
    if manifest.kind == "Dataset":
        for index, name in _names(manifest, _FIELDS):
            yield (*_FIELDS, index, "check"), f"field {name}: check"
        for index, name in _names(manifest, _RULES):
            yield (*_RULES, index, "expression"), f"rule {name}"


def _names(manifest: Manifest, path: Path) -> Iterator[tuple[int, str]]:
    """The index and the name of each entry of a list; its number where it has no name."""
    entries = value_at(manifest.object, path)
    for index, entry in enumerate(entries if isinstance(entries, list) else []):
        name = entry.get("name") if isinstance(entry, Mapping) else None
        yield index, name if isinstance(name, str) else str(index + 1)


def _types(manifest: Manifest) -> dict[str, str]:
    """The types of a Dataset's fields by name; empty where one has none that can be read."""
    types = {}
    for index, name in _names(manifest, _FIELDS):
        try:
            types[name] = _TYPE.validate_python(value_at(manifest.object, (*_FIELDS, index, "type")))
        except ValidationError:
            return {}
    return types


def value_at(value: Any, path: Path) -> Any:
    """What stands at a path in an object; None where there is nothing."""
    for part in path:
        if isinstance(part, int):
            value = value[part] if isinstance(value, list) else None
        else:
            value = value.get(part) if isinstance(value, Mapping) else None
    return value
