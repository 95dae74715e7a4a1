"""From what was sent to an object: identity, unknown fields, types, in the API server's words."""

from typing import Any

from localkube import errors, schema
from localkube.asked import Options
from localkube.errors import Problem, Refused
from localkube.objects import Json, copy
from localkube.registry import Resource


def decoded(resource: Resource, body: Any, options: Options) -> Json:
    """A copy of `body` as an object of that resource. Refused when Go could not read it either."""
    item = _identified(resource, body)
    if resource.custom:
        schema.drop_unset(resource.schema, item)
    else:
        if item["metadata"].get("managedFields") == []:
            item["metadata"]["managedFields"] = [{}]  # both forget all owners
        item = schema.drop_nulls(resource.schema, item)
    dropped = schema.prune(resource.schema, item)
    typed = item["metadata"] if resource.custom else item
    shape = resource.schema["properties"]["metadata"] if resource.custom else resource.schema
    misfits = schema.misfits(shape, typed, "metadata" if resource.custom else "")
    for problem in (p for p in misfits if p.reason == "FieldValueTypeInvalid"):
        raise errors.bad_request(f"{_handled(resource)}: {_as_go(problem, resource.kind)}")
    if dropped and options.validation == "Strict":
        listed = ", ".join(f'unknown field "{path}"' for path in dropped)
        raise errors.bad_request(f"{_handled(resource)}: strict decoding error: {listed}")
    if options.validation == "Warn":
        options.warnings.extend(f'unknown field "{path}"' for path in dropped)
    return item


def patched(resource: Resource, item: Json, options: Options) -> Json:
    """The same for what a patch has made: here the patch is to blame."""
    try:
        return decoded(resource, item, options)
    except Refused as refused:
        words = str(refused).rpartition(f" cannot be handled as a {resource.kind}: ")[2]
        raise errors.invalid("", "", "", [Problem.invalid("patch", '"(the patched object)"', words)]) from None


def applied(resource: Resource, body: Json) -> Json:
    """What a server-side apply asks for, as it stands: it must fit the schema, and nothing is left out."""
    wanted = _identified(resource, body)
    if wanted["metadata"].get("managedFields") is not None:
        raise errors.bad_request("metadata.managedFields must be nil")
    subject = f"{wanted['metadata'].get('namespace', '')}/{wanted['metadata'].get('name', '')}"
    untyped = f"failed to create typed patch object ({subject}; {resource.api_version}, Kind={resource.kind}): "
    for path in schema.prune(resource.shape, copy(wanted)):
        raise Refused(500, "", f"{untyped}.{path}: field not declared in schema")
    for problem in schema.misfits(resource.shape, wanted):
        raise Refused(500, "", f"{untyped}.{problem.path}: {problem.text}")
    return wanted


def converted(resource: Resource, item: Json, options: Options) -> Json:
    """A copy of what an apply has made, with what the types of its resource have room for."""
    if resource.custom:
        item = copy(item)
        schema.prune(resource.schema, item)
        return item
    try:
        return decoded(resource, item, options)
    except Refused as refused:
        raise Refused(500, "", f"failed to convert new object: {refused}") from None


def _handled(resource: Resource) -> str:
    return f'{resource.kind} in version "{resource.version}" cannot be handled as a {resource.kind}'


def _identified(resource: Resource, body: Any) -> Json:
    if not isinstance(body, dict):
        raise errors.bad_request("the request body is not an object")
    if resource.custom and not body.get("kind"):
        raise errors.bad_request(f"the object provided is unrecognized (must be of type {resource.kind}): no kind")
    item: Json = copy(body)
    if not isinstance(item.setdefault("metadata", {}), dict):
        text = f"json: cannot unmarshal into Go struct field {resource.kind}.metadata of type ObjectMeta"
        raise errors.bad_request(f"{_handled(resource)}: {text}")
    for key, expected in (("apiVersion", resource.api_version), ("kind", resource.kind)):
        if item.setdefault(key, "" if resource.custom else expected) != expected:
            what = "API version" if key == "apiVersion" else key
            raise errors.bad_request(
                f"the {what} in the data ({item[key]}) does not match the expected {what} ({expected})"
            )
    return item


def _as_go(problem: Problem, kind: str) -> str:
    """A type error as Go's JSON decoder words it."""
    expected, given = problem.text.partition(" must be of type ")[2].split(": ", maxsplit=1)
    if expected == "byte":
        return "illegal base64 data"
    names = {"integer": "number", "boolean": "bool", "date-time": "Time"}
    given, expected = given.strip('"'), expected.replace("integer", "int32")
    where = f"Go struct field {kind}.{problem.path} of type {names.get(expected, expected)}"
    return f"json: cannot unmarshal {names.get(given, given)} into {where}"
