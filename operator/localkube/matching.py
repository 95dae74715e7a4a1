"""Label and field selectors of lists and watches."""

import re
from collections.abc import Callable

from localkube import errors
from localkube.objects import Json
from localkube.registry import Resource

Matches = Callable[[Json], bool]
_COMMA = re.compile(r",(?![^(]*\))")  # not those inside `in (a,b)`
_SET = re.compile(r"\s*([^\s!=]+)\s+(in|notin)\s+\(([^)]*)\)\s*")
_EQUAL = re.compile(r"\s*([^\s!=<>]+)\s*(==|=|!=|<|>)\s*([^\s=!]*)\s*")


def of(resource: Resource, labels: str, fields: str) -> Matches:
    """One predicate for both selectors. Refused with 400 when one cannot be read or asks for an unknown field."""
    tests = [_label_test(term) for term in _COMMA.split(labels) if labels]
    tests += [_field_test(resource, term) for term in fields.split(",") if term.strip()]
    return lambda item: all(test(item) for test in tests)


def _label_test(term: str) -> Matches:
    if match := _SET.fullmatch(term):
        values = {value.strip() for value in match[3].split(",")}
        key, wanted = match[1], match[2] == "in"
        if wanted:
            return lambda item: _labels(item).get(key) in values
        return lambda item: key not in _labels(item) or _labels(item)[key] not in values
    if match := _EQUAL.fullmatch(term):
        key, value = match[1], match[3]
        if match[2] == "!=":
            return lambda item: _labels(item).get(key) != value
        if match[2] in "<>":
            return lambda item: _is_beyond(_labels(item).get(key, ""), match[2], value)
        return lambda item: _labels(item).get(key) == value
    key = term.strip()
    if not re.fullmatch(r"!?[\w./-]+", key):
        raise errors.bad_request(f"unable to parse requirement: {term}")
    return (lambda item: key[1:] not in _labels(item)) if key[0] == "!" else (lambda item: key in _labels(item))


def _is_beyond(text: str, compare: str, bound: str) -> bool:
    if not (text.isdigit() and bound.isdigit()):
        return False
    return int(text) > int(bound) if compare == ">" else int(text) < int(bound)


def _labels(item: Json) -> dict[str, str]:
    return item["metadata"].get("labels") or {}


def _field_test(resource: Resource, term: str) -> Matches:
    match = _EQUAL.fullmatch(term)
    if not match:
        raise errors.bad_request(f"invalid selector: '{term}'; can't understand '{term}'")
    path, same, value = match[1], match[2] != "!=", match[3]
    if path not in ("metadata.name", "metadata.namespace", *resource.selectable):
        words = f"field label not supported: {path}"
        if resource.group == "batch":
            words = f'field label "{path}" not supported for {resource.kind}'
        if not resource.custom and not resource.selectable:
            words = f'"{path}" is not a known field selector: only "metadata.name", "metadata.namespace"'
        raise errors.bad_request(words)
    if path == "status.successful":
        path = "status.succeeded"
    return lambda item: (_field(item, path) == value) is same


def _field(item: Json, path: str) -> str:
    value: object = item
    for step in path.split("."):
        value = value.get(step) if isinstance(value, dict) else None
    return "" if value is None else str(value).lower() if isinstance(value, bool) else str(value)
