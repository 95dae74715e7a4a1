"""Structural schemas (apiextensions.k8s.io/v1): pruning, defaults, validation in the API server's own words.

A schema is the JSON of `openAPIV3Schema`. Whoever stores one asks `unsupported` first, so that no keyword is ignored.
"""

import base64
import re
from collections.abc import Callable, Iterator
from dataclasses import replace
from datetime import datetime
from typing import Any

import orjson

from localkube import rules
from localkube.errors import Problem
from localkube.objects import Json

_KEYWORDS = {
    *("type", "format", "title", "description", "default", "example", "externalDocs", "nullable", "enum", "pattern"),
    *("minLength", "maxLength", "minimum", "maximum", "exclusiveMinimum", "exclusiveMaximum", "multipleOf"),
    *("items", "minItems", "maxItems", "properties", "required", "additionalProperties", "minProperties"),
    *("maxProperties", "oneOf", "anyOf", "allOf", "not", "x-kubernetes-preserve-unknown-fields"),
    *("x-kubernetes-int-or-string", "x-kubernetes-list-type", "x-kubernetes-list-map-keys", "x-kubernetes-map-type"),
    "x-kubernetes-validations",
}
_TYPES: dict[str, tuple[type, ...]] = {
    "string": (str,),
    "boolean": (bool,),
    "integer": (int,),
    "number": (int, float),
    "object": (dict,),
    "array": (list,),
}
_LARGEST_WHOLE = 2**53 - 1
_FREE: Json = {"x-kubernetes-preserve-unknown-fields": True}
_SHAPING = ("x-kubernetes-preserve-unknown-fields", "x-kubernetes-list-type", "x-kubernetes-list-map-keys")
_COMBINING = {"oneOf", "anyOf", "allOf", "not"}
# With one of these, CEL rules are not evaluated: they could not rely on the shape.
_BLOCKING = {"FieldValueRequired", "FieldValueTypeInvalid", "FieldValueTooLong", "FieldValueTooMany"}
_BLOCKING |= {"FieldValueNotSupported"}
_UNCHECKED = "some validation rules were not checked because the object was invalid; "
_UNCHECKED += "correct the existing errors to complete validation"


def unsupported(schema: Json, path: str) -> str | None:
    """The path of the first keyword this module does not know, else None."""
    for keyword in schema:
        if keyword not in _KEYWORDS:
            return f"{path}.{keyword}"
    nested = [(f"{path}.properties[{k}]", v) for k, v in schema.get("properties", {}).items()]
    nested += [(f"{path}.{k}", schema[k]) for k in ("items", "not") if isinstance(schema.get(k), dict)]
    nested += [(f"{path}.{k}[{n}]", s) for k in ("oneOf", "anyOf", "allOf") for n, s in enumerate(schema.get(k, []))]
    if isinstance(schema.get("additionalProperties"), dict):
        nested.append((f"{path}.additionalProperties", schema["additionalProperties"]))
    return next(filter(None, (unsupported(inner, place) for place, inner in nested)), None)


def child(schema: Json, key: str) -> Json | None:
    """The schema of a property or map value; None when the field is unknown."""
    if key in schema.get("properties", ()):
        return schema["properties"][key]  # type: ignore[no-any-return]
    values = schema.get("additionalProperties")
    if values or schema.get("x-kubernetes-preserve-unknown-fields"):
        return values if isinstance(values, dict) else _FREE
    return None


def shape(schema: Json) -> Json:
    """The types alone, where null fits everywhere: what server-side apply checks before it merges."""
    if schema.get("x-kubernetes-int-or-string"):
        return _FREE
    kept: Json = {"type": schema["type"].replace("integer", "number")} if "type" in schema else {}
    kept |= {key: schema[key] for key in _SHAPING if key in schema}
    kept |= {"properties": {k: shape(v) for k, v in schema["properties"].items()}} if "properties" in schema else {}
    for key in ("items", "additionalProperties"):
        if isinstance(schema.get(key), dict):
            kept[key] = shape(schema[key])
    if schema.get("type") == "object" and not kept.keys() & {"properties", "additionalProperties"}:
        kept["x-kubernetes-preserve-unknown-fields"] = True  # of nothing is known what may be in it
    if schema.get("x-kubernetes-list-type") in ("map", "set"):
        kept["items"]["nullable"] = False
    for name in schema.get("x-kubernetes-list-map-keys", ()):  # an item without its keys cannot be merged
        if "default" not in schema["items"].get("properties", {}).get(name, {}):
            kept["items"].setdefault("required", []).append(name)
    return kept | {"nullable": True}


def prune(schema: Json, value: Any, path: str = "") -> list[str]:
    """Drop unknown fields in place; their paths, in order."""
    if isinstance(value, list):
        items = schema.get("items", _FREE if "x-kubernetes-preserve-unknown-fields" in schema else {})
        return [p for n, item in enumerate(value) for p in prune(items, item, f"{path}[{n}]")]
    dropped: list[str] = []
    for key in sorted(value) if isinstance(value, dict) else ():
        inner, place = child(schema, key), f"{path}.{key}" if path else key
        if inner is None:
            del value[key]
            dropped.append(place)
        else:
            dropped += prune(inner, value[key], place)
    return dropped


def drop_nulls(schema: Json, value: Any) -> Any:
    """Built-in kinds: a null, an empty list or an empty map is a field that was not set (Go's omitempty)."""
    if isinstance(value, dict) and not schema.get("x-kubernetes-preserve-unknown-fields"):
        cleaned = {k: drop_nulls(child(schema, k) or {}, v) for k, v in value.items() if v not in (None, [])}
        return {k: v for k, v in cleaned.items() if v != {} or "additionalProperties" not in (child(schema, k) or {})}
    if isinstance(value, list):
        return [drop_nulls(schema.get("items", {}), item) for item in value]
    return value


def drop_unset(schema: Json, value: Any) -> None:
    """Custom kinds, in place: a null where null is not allowed and nothing is the default is a field not set."""
    if isinstance(value, list):
        for item in value:
            drop_unset(schema.get("items") or {}, item)
    if isinstance(value, dict):
        for key in list(value):
            inner = child(schema, key) or {}
            if (
                value[key] is None
                and key in schema.get("properties", ())
                and not {"nullable", "default"} & inner.keys()
            ):
                del value[key]
            else:
                drop_unset(inner, value[key])


def default(schema: Json, value: Any) -> None:
    """Fill in defaults in place; also for a null where null is not allowed."""
    if isinstance(value, list):
        for item in value:
            default(schema.get("items") or {}, item)
    if not isinstance(value, dict):
        return
    for key, inner in schema.get("properties", {}).items():
        if "default" in inner and (key not in value or (value[key] is None and not inner.get("nullable"))):
            value[key] = orjson.loads(orjson.dumps(inner["default"]))
    for key, item in value.items():
        default(child(schema, key) or {}, item)


def problems(schema: Json, value: Json, old: Json | None = None, part: str = "") -> list[Problem]:
    """All that is wrong with a pruned and defaulted object, CEL rules last; `part`: the subresource that changes."""
    if part:
        inner = misfits(child(schema, part) or {}, value.get(part))
        wrong = [replace(p, path=f"{part}.{p.path}".rstrip(".")) for p in inner]
    else:  # metadata has rules of its own: see naming
        wrong = misfits(schema | {"properties": schema["properties"] | {"metadata": {}}}, value)
    if not any(p.reason in _BLOCKING for p in wrong):
        return wrong + list(_broken_rules(schema, value, old, ""))
    return wrong + ([Problem.invalid("<nil>", "null", _UNCHECKED)] if _has_rules(schema) else [])


def misfits(schema: Json, value: Any, path: str = "") -> list[Problem]:
    """What is wrong with a value below `path` without asking any rule."""
    return list(_walk(schema, value, path))


def _has_rules(schema: Json) -> bool:
    return b'"x-kubernetes-validations"' in orjson.dumps(schema)


def _walk(schema: Json, value: Any, path: str) -> Iterator[Problem]:
    if value is None and schema.get("nullable"):
        return
    expected = ["integer", "string"] if schema.get("x-kubernetes-int-or-string") else [schema.get("type")]
    if expected != [None] and not any(_is(value, str(kind)) for kind in expected):
        shown, wanted = _type_name(value), ",".join(map(str, expected))
        if schema.get("format") in _FORMATS and value is not None:
            shown, wanted = _format_name(value), schema["format"]
        text = f'{path} in body must be of type {wanted}: "{shown}"'
        yield Problem(path, "FieldValueTypeInvalid", f'Invalid value: "{shown}": {text}')
    if "enum" in schema and value not in schema["enum"]:
        yield Problem.unsupported(path, _shown(value), schema["enum"])
    if isinstance(value, str):
        yield from _string(schema, value, path)
    elif isinstance(value, dict):
        yield from _object(schema, value, path)
    elif isinstance(value, list):
        yield from _array(schema, value, path)
    elif isinstance(value, int | float) and not isinstance(value, bool):
        yield from _number(schema, value, path)
    if value is not None and not _COMBINING.isdisjoint(schema):
        yield from _combined(schema, value, path)


def _is(value: Any, kind: str) -> bool:
    if isinstance(value, bool):
        return kind == "boolean"
    return isinstance(value, _TYPES[kind]) or (kind == "integer" and _is_whole(value))


def _is_whole(value: Any) -> bool:
    """Whether a float counts as an integer: one that JavaScript can tell from its neighbours."""
    return isinstance(value, float) and value.is_integer() and abs(value) <= _LARGEST_WHOLE


def _type_name(value: Any) -> str:
    if value is None:
        return "null"
    if isinstance(value, float):
        return "number"  # also one that would do where an integer belongs
    order = ("boolean", "string", "integer", "array", "object")
    return next(kind for kind in order if _is(value, kind))


def _format_name(value: Any) -> str:
    """The format by which Go calls a value where another format belongs; only numbers have one."""
    if isinstance(value, bool) or not isinstance(value, int | float):
        return ""
    return "int64" if isinstance(value, int) else "float64"


def _shown(value: Any) -> str:
    return orjson.dumps(int(value) if _is_whole(value) else value).decode()


def _string(schema: Json, value: str, path: str) -> Iterator[Problem]:
    size, plural = len(value), "" if schema.get("maxLength") == 1 else "s"
    check = _FORMATS.get(schema.get("format", ""))
    if size > schema.get("maxLength", size):
        yield Problem(path, "FieldValueTooLong", f"Too long: may not be more than {schema['maxLength']} byte{plural}")
    elif size < schema.get("minLength", 0):
        yield _broken(path, value, f"be at least {schema['minLength']} chars long")
    elif "pattern" in schema and not re.search(schema["pattern"], value):
        yield _broken(path, value, f"match '{schema['pattern']}'")
    if check and not check(value):
        text = f"{path} in body must be of type {schema['format']}: {_shown(value)}"
        yield Problem(path, "FieldValueTypeInvalid", f"Invalid value: {_shown(value)}: {text}")


def _is_date_time(text: str) -> bool:
    try:
        return bool(datetime.fromisoformat(text).tzinfo)
    except ValueError:
        return False


def _is_base64(text: str) -> bool:
    try:
        return base64.b64decode(text, validate=True) is not None
    except ValueError:
        return False


# Others are annotations, as for many in Go.
_FORMATS: dict[str, Callable[[str], bool]] = {"date-time": _is_date_time, "byte": _is_base64}


def _number(schema: Json, value: float, path: str) -> Iterator[Problem]:
    high, low = schema.get("maximum"), schema.get("minimum")
    if high is not None and (value >= high if schema.get("exclusiveMaximum") else value > high):
        yield _broken(path, value, f"be less than {'' if schema.get('exclusiveMaximum') else 'or equal to '}{high}")
    if low is not None and (value <= low if schema.get("exclusiveMinimum") else value < low):
        yield _broken(path, value, f"be greater than {'' if schema.get('exclusiveMinimum') else 'or equal to '}{low}")
    if "multipleOf" in schema and value % schema["multipleOf"]:
        yield _broken(path, value, f"be a multiple of {schema['multipleOf']}")


def _object(schema: Json, value: Json, path: str) -> Iterator[Problem]:
    for key, item in value.items():
        yield from _walk(child(schema, key) or {}, item, f"{path}.{key}" if path else key)
    for key in schema.get("required", ()):
        if key not in value:
            yield Problem.required(f"{path}.{key}" if path else key)
    if len(value) < schema.get("minProperties", 0):
        yield _broken(path, len(value), f"have at least {schema['minProperties']} properties")
    if len(value) > schema.get("maxProperties", len(value)):
        yield _too_many(path, len(value), schema["maxProperties"])


def _array(schema: Json, value: list[Any], path: str) -> Iterator[Problem]:
    seen: list[Any] = []
    for number, item in enumerate(value):
        place, key = f"{path}[{number}]", identity(schema, item)
        yield from _walk(schema.get("items") or {}, item, place)
        if schema.get("x-kubernetes-list-type") == "map" and not isinstance(item, dict | None):
            yield Problem.invalid(place, _shown(item), "must be an object for an array of list-type map")
        if key is not None and key in seen:
            yield Problem(place, "FieldValueDuplicate", f"Duplicate value: {_shown(key)}")
        seen.append(key)
    if len(value) < schema.get("minItems", 0):
        yield _broken(path, len(value), f"have at least {schema['minItems']} items")
    if len(value) > schema.get("maxItems", len(value)):
        yield _too_many(path, len(value), schema["maxItems"])


def _too_many(path: str, number: int, limit: int) -> Problem:
    plural = "" if limit == 1 else "s"
    return Problem(path, "FieldValueTooMany", f"Too many: {number}: must have at most {limit} item{plural}")


def identity(schema: Json, item: Any) -> Any:
    """What tells an item of a set or a map list from the others; None in atomic lists."""
    if schema.get("x-kubernetes-list-type") == "set":
        return item
    if schema.get("x-kubernetes-list-type") != "map" or not isinstance(item, dict):
        return None
    inner = schema.get("items", {}).get("properties", {})
    keys = {k: item.get(k, inner.get(k, {}).get("default")) for k in schema["x-kubernetes-list-map-keys"]}
    return {k: v for k, v in keys.items() if v is not None}


def _combined(schema: Json, value: Any, path: str) -> Iterator[Problem]:
    for keyword in ("oneOf", "anyOf", "allOf"):
        outcomes = [list(_walk(option, value, path)) for option in schema.get(keyword, ())]
        valid = sum(not outcome for outcome in outcomes)
        if not outcomes or {"oneOf": valid == 1, "anyOf": valid > 0, "allOf": valid == len(outcomes)}[keyword]:
            continue
        only = {"oneOf": "one and only one schema", "anyOf": "at least one schema", "allOf": "all the schemas"}[keyword]
        count = "Found none valid" if not valid else f"Found {valid} valid alternatives"
        counted = f". {count}" if keyword == "oneOf" else ""
        yield Problem.invalid("<nil>", '""', f'"{path}" must validate {only} ({keyword}){counted}')
        if not valid or keyword == "allOf":
            yield from min((outcome for outcome in outcomes if outcome), key=len)
    if "not" in schema and not list(_walk(schema["not"], value, path)):
        yield Problem.invalid("<nil>", '""', f'"{path}" must not validate the schema (not)')


def _broken(path: str, value: Any, what: str) -> Problem:
    return Problem.invalid(path, _shown(value), f"{path} in body should {what}")


def _broken_rules(schema: Json, value: Any, old: Any, path: str) -> Iterator[Problem]:
    if not schema:
        return
    for rule in schema.get("x-kubernetes-validations", ()):
        if problem := rules.broken(rule, schema, (value, old), path):
            yield problem
    if isinstance(value, dict):
        for key, item in value.items():
            before = old.get(key) if isinstance(old, dict) else None
            yield from _broken_rules(child(schema, key) or {}, item, before, f"{path}.{key}" if path else key)
    elif isinstance(value, list):
        for number, item in enumerate(value):
            yield from _broken_rules(schema.get("items") or {}, item, _same(schema, item, old), f"{path}[{number}]")


def _same(schema: Json, item: Any, old: Any) -> Any:
    """The item's former self, in lists whose items have an identity."""
    key = identity(schema, item)
    former = old if key is not None and isinstance(old, list) else []
    return next((o for o in former if identity(schema, o) == key), None)
