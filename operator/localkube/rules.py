"""x-kubernetes-validations: CEL rules, by the Rust implementation behind `common-expression-language`.

Standard CEL. Of Kubernetes' own functions only those that Rust library brings; a rule it cannot compile is refused
when the CRD is stored. No cost budget: a real API server has one, so a rule accepted here may be refused there.
"""

import re
from functools import cache
from typing import Any

import cel

from localkube.errors import Problem
from localkube.objects import Json

_RESERVED = frozenset(
    [
        *("true", "false", "null", "in", "as", "break", "const", "continue", "else", "for", "function", "if"),
        *("import", "let", "loop", "package", "namespace", "return", "var", "void", "while"),
    ]
)


def uncompilable(schema: Json) -> str | None:
    """The first rule anywhere in a schema that does not compile, and why; else None."""
    for rule in schema.get("x-kubernetes-validations", ()):
        try:
            _compiled(rule["rule"])
        except ValueError as error:
            return f"{rule['rule']}: {error}"
    nested = [*schema.get("properties", {}).values(), schema.get("items"), schema.get("additionalProperties")]
    return next(filter(None, (uncompilable(inner) for inner in nested if isinstance(inner, dict))), None)


def broken(rule: Json, schema: Json, values: tuple[Any, Any], path: str) -> Problem | None:
    """The problem, if (new, old) break the rule; a rule about oldSelf holds when there is no old value."""
    value, old = values
    about_old = re.search(r"\boldSelf\b", rule["rule"]) is not None
    if about_old and old is None and not rule.get("optionalOldSelf"):
        return None
    variables = {"self": _escaped(schema, value)} | ({"oldSelf": _escaped(schema, old)} if about_old else {})
    try:
        holds = _compiled(rule["rule"]).execute(variables)
        text = rule.get("message") or f"failed rule: {rule['rule']}"
        if holds is not True and "messageExpression" in rule:
            text = str(_compiled(rule["messageExpression"]).execute(variables))
    except (RuntimeError, TypeError, ValueError) as error:
        text = f"{error} evaluating rule: {rule.get('message') or rule['rule']}"
        return Problem.invalid(path, f'"{schema.get("type", "")}"', text)
    if holds is True:
        return None
    place = path + rule.get("fieldPath", "")
    reason = rule.get("reason", "FieldValueInvalid")
    word = {"FieldValueForbidden": "Forbidden", "FieldValueRequired": "Required value"}.get(reason, "Invalid value")
    return Problem(place, reason, f"{word}: {text}")


@cache
def _compiled(source: str) -> Any:
    return cel.compile(source)


def _escaped(schema: Json, value: Any) -> Any:
    """Property names that CEL cannot spell, in Kubernetes' spelling (`__namespace__`); keys of maps stay."""
    if isinstance(value, list):
        return [_escaped(schema.get("items") or {}, item) for item in value]
    if not isinstance(value, dict) or "properties" not in schema:
        return value
    properties = schema["properties"]
    return {_name(k) if k in properties else k: _escaped(properties.get(k, {}), item) for k, item in value.items()}


def _name(text: str) -> str:
    if text in _RESERVED:
        return f"__{text}__"
    text = text.replace("__", "__underscores__").replace(".", "__dot__").replace("-", "__dash__")
    return text.replace("/", "__slash__")
