"""Whether DuckDB reads an expression as it was checked.

sqlglot drops what it has no place for, such as a fourth argument of date_diff or what follows a unit in INTERVAL. So
DuckDB reads both what the user wrote and what is printed from the checked tree, and the two are compared. The same
meaning has several spellings, such as `substr` and `substring`; `_normal` writes each of them in one way.
"""

import re
from collections.abc import Callable, Mapping
from typing import Any

from penstock.worker.rows import parsetree

_ALIASES: Mapping[str, str] = {
    "ceiling": "ceil",
    "char_length": "length",
    "character_length": "length",
    "len": "length",
    "datediff": "date_diff",
    "datetrunc": "date_trunc",
    "lcase": "lower",
    "ucase": "upper",
    "mod": "%",
    "substr": "substring",
    "^@": "starts_with",
}
"""Names of one function, and the one that is printed."""
_TYPES: Mapping[str, str] = {
    **dict.fromkeys(("INT", "INT4", "INTEGER", "SIGNED"), "INTEGER"),
    **dict.fromkeys(("INT8", "LONG", "BIGINT", "OID"), "BIGINT"),
    **dict.fromkeys(("FLOAT8", "DOUBLE"), "DOUBLE"),
    **dict.fromkeys(("NUMERIC", "DEC", "DECIMAL"), "DECIMAL"),
    **dict.fromkeys(("BOOL", "LOGICAL", "BOOLEAN"), "BOOLEAN"),
    **dict.fromkeys(("TEXT", "STRING", "VARCHAR", "CHAR", "BPCHAR", "NVARCHAR"), "VARCHAR"),
    **dict.fromkeys(("DATETIME", "TIMESTAMP", "TIMESTAMP_US"), "TIMESTAMP"),
    **dict.fromkeys(("TIMESTAMPTZ", "TIMESTAMP WITH TIME ZONE"), "TIMESTAMPTZ"),
}
_BY_UNIT = frozenset({"date_part", "date_trunc", "date_diff"})
"""Functions whose first argument is a unit: its case makes no difference."""
_TO_INTERVAL: Mapping[str, str] = {
    **{f"{unit}s": f"to_{unit}s" for unit in ("year", "quarter", "month", "week", "day", "hour", "minute", "second")},
    **{f"{unit}s": f"to_{unit}s" for unit in ("millisecond", "microsecond", "decade")},
    "centurys": "to_centuries",
    "centuries": "to_centuries",
    "millenniums": "to_millennia",
    "millennia": "to_millennia",
}
"""The function that makes an interval of a number, by the plural of its unit."""
_UNITS: Mapping[str, str] = {
    "dow": "dayofweek",
    "doy": "dayofyear",
    "dayofmonth": "day",
    "dayofweekiso": "isodow",
    "weekofyear": "week",
    "centuries": "century",
    "millennia": "millennium",
}
"""Other names of units in extract; those in -s are names too."""
_SPAN = re.compile(r"(-?\d+) ?([a-z]+)", re.IGNORECASE)
_LEFT_OUT = frozenset({"query_location", "query_location_length", "alias", "qualified_name", "is_operator"})
"""Members that say where something stands and how it is written, and not what it means."""
_EMPTY: tuple[Any, ...] = (None, [], "", {}, False)


def agree(written: str, printed: str) -> bool:
    """Whether DuckDB reads two SQL expressions as the same one. Both are to be readable."""
    first, second = parsetree.selected(written), parsetree.selected(printed)
    return isinstance(first, dict) and isinstance(second, dict) and _normal(first) == _normal(second)


def _normal(node: Any) -> Any:
    """A part of DuckDB's tree in one spelling, made of tuples and texts."""
    if isinstance(node, list):
        return tuple(_normal(entry) for entry in node)
    if not isinstance(node, dict):
        return node
    return _NORMAL.get(node.get("class", ""), _members)(node)


def _members(node: dict[str, Any]) -> Any:
    kept = [(name, value) for name, value in node.items() if name not in _LEFT_OUT and value not in _EMPTY]
    return tuple(sorted((name, _normal(value)) for name, value in kept))


def _function(node: dict[str, Any]) -> Any:
    name = _ALIASES.get(node["function_name"].lower(), node["function_name"].lower())
    given = [_normal(argument["expression"]) for argument in node["arguments"]]
    if name in _BY_UNIT and given and given[0][0] == "text":
        unit = given[0][1].lower()
        given[0] = ("text", _UNITS.get(unit, unit.removesuffix("s")))
    if name in _TO_INTERVAL.values() and len(given) == 1:
        return ("call", name, _number_of_interval(given[0]))
    if name == "if" and len(given) == 3:
        return ("case", ((given[0], given[1]),), given[2])
    if name == "+" and len(given) == 1:
        return given[0]
    return ("call", name, *given)


def _number_of_interval(given: Any) -> Any:
    """What stands before the unit: DuckDB casts it to a number and cuts its fraction off."""
    match given:
        case ("cast", ("call", "trunc", ("cast", ("text" | "number", str(number)), *_)), *_):
            return ("number", number.strip())
        case ("cast", ("text" | "number", str(number)), "DOUBLE", *_):  # of seconds the fraction stays
            return ("number", number.strip())
    return given


def _constant(node: dict[str, Any]) -> Any:
    literal = node["literal"]
    if literal["kind"] == "STRING":
        return ("text", literal.get("text", ""))
    if literal["kind"] in ("INTEGER", "NUMERIC"):
        return ("number", literal["text"].replace("_", ""))
    return ("constant", literal["kind"], literal.get("text", ""))


def _cast(node: dict[str, Any]) -> Any:
    child, kind = _normal(node["child"]), node["type_expr"]
    name = kind["type_name"].upper()
    if name == "INTERVAL" and child[0] == "text" and (span := _SPAN.fullmatch(child[1])):
        number, unit = span.group(1), span.group(2).lower()
        function = _TO_INTERVAL.get(unit) or _TO_INTERVAL.get(f"{unit.removesuffix('s')}s", unit)
        return ("call", function, ("number", number))
    parameters = _normal(kind.get("children") or [])
    if _TYPES.get(name) == "DECIMAL":
        parameters = parameters or (("number", "18"), ("number", "3"))
        parameters = parameters if len(parameters) > 1 else (*parameters, ("number", "0"))
    return ("cast", child, _TYPES.get(name, name), parameters, bool(node.get("try_cast")))


def _case(node: dict[str, Any]) -> Any:
    checks = tuple((_normal(one["when_expr"]), _normal(one["then_expr"])) for one in node["case_checks"])
    return ("case", checks, _normal(node["else_expr"]))


def _operator(node: dict[str, Any]) -> Any:
    """NOT over IS NULL is IS NOT NULL, as both are written."""
    if node["type"] != "OPERATOR_NOT":
        return _members(node)
    children = _normal(node["children"])
    match children:
        case ((("children", inner), ("class", "OPERATOR"), ("type", "OPERATOR_IS_NULL")),):
            return (("children", inner), ("class", "OPERATOR"), ("type", "OPERATOR_IS_NOT_NULL"))
        case ((("class", "COMPARISON"), ("left", left), ("right", right), ("type", "COMPARE_NOT_DISTINCT_FROM")),):
            return (("class", "COMPARISON"), ("left", left), ("right", right), ("type", "COMPARE_DISTINCT_FROM"))
    return ("not", children)


_NORMAL: Mapping[str, Callable[[dict[str, Any]], Any]] = {
    "FUNCTION": _function,
    "CONSTANT": _constant,
    "CAST": _cast,
    "CASE": _case,
    "OPERATOR": _operator,
}
