"""From what was sent to an object: identity, unknown fields, types, in the API server's words."""

from typing import Any

from penstock.embedded import errors, schema
from penstock.embedded.asked import Options
from penstock.embedded.errors import Problem, Refused
from penstock.embedded.objects import Json, copy
from penstock.embedded.registry import Resource


def decoded(resource: Resource, body: Any, options: Options) -> Json:
    """A copy of `body` as an object of that resource. Refused when Go could not read it either."""
    if not isinstance(body, dict) or not isinstance(body.get("metadata", {}), dict):
        raise errors.bad_request("the request body is not an object with metadata")
    item: Json = copy(body)
    item.setdefault("metadata", {})
    for key, expected in (("apiVersion", resource.api_version), ("kind", resource.kind)):
        if item.setdefault(key, expected) != expected:
            what = "API version" if key == "apiVersion" else key
            raise errors.bad_request(
                f"the {what} in the data ({item[key]}) does not match the expected {what} ({expected})"
            )
    if not resource.custom:
        item = schema.drop_nulls(resource.schema, item)
    handled = f'{resource.kind} in version "{resource.version}" cannot be handled as a {resource.kind}'
    dropped = schema.prune(resource.schema, item)
    if dropped and options.applying:
        subject = f"{item['metadata'].get('namespace', '')}/{item['metadata'].get('name', '')}"
        subject += f"; {resource.api_version}, Kind={resource.kind}"
        message = f"failed to create typed patch object ({subject}): .{dropped[0]}: field not declared in schema"
        raise Refused(500, "", message)
    if dropped and options.validation == "Strict":
        listed = ", ".join(f'unknown field "{path}"' for path in dropped)
        raise errors.bad_request(f"{handled}: strict decoding error: {listed}")
    if options.validation == "Warn":
        options.warnings.extend(f'unknown field "{path}"' for path in dropped)
    mistyped = [p for p in schema.problems(resource.decoded, item) if p.reason == "FieldValueTypeInvalid"]
    for problem in mistyped:
        raise errors.bad_request(f"{handled}: {_as_go(problem, resource.kind)}")
    return item


def _as_go(problem: Problem, kind: str) -> str:
    """A type error as Go's JSON decoder words it."""
    expected, found = problem.text.partition(" must be of type ")[2].split(": ", maxsplit=1)
    names = {"integer": "number", "boolean": "bool", "date-time": "Time"}
    found, expected = found.strip('"'), expected.replace("integer", "int32")
    where = f"Go struct field {kind}.{problem.path} of type {names.get(expected, expected)}"
    return f"json: cannot unmarshal {names.get(found, found)} into {where}"
