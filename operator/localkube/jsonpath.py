"""The JSONPath of printer columns (client-go: util/jsonpath): fields, indices, [*] and filters, one after another."""

import operator
import re
from collections.abc import Callable, Iterable
from functools import cache
from typing import Any

import orjson

_STEP = re.compile(
    r"""\.?(?P<field>(?:[^\[\].*'"\\\s]|\\.)+)     # name, .name, with \. for a dot in it
      | \[['"](?P<quoted>[^'"]+)['"]\]             # ['name']
      | \[(?P<index>-?\d+)\]
      | (?P<all>\.\*|\[\*\])
      | \[\?\(\s*@(?P<left>[^!<>=\s]+)\s*(?:(?P<compare>==|!=|<=|>=|<|>)\s*(?P<right>"[^"]*"|'[^']*'|[^)\s]+)\s*)?\)\]
    """,
    re.VERBOSE,
)
_COMPARE: dict[str, Callable[[Any, Any], bool]] = {
    **{"==": operator.eq, "!=": operator.ne, "<": operator.lt, "<=": operator.le, ">": operator.gt, ">=": operator.ge}
}
Step = Callable[[Any], Iterable[Any]]


def find(item: Any, path: str) -> list[Any]:
    """The values at a path, in order; none where it does not lead, or compares what cannot be compared."""
    values = [item]
    try:
        for step in steps(path):
            values = [inner for one in values for inner in step(one)]
    except TypeError:
        return []
    return values


@cache
def steps(path: str) -> tuple[Step, ...]:
    """Raises ValueError: ranges, unions, `..` and templates are not known here."""
    made, at = [], 0
    while at < len(path) and path != ".":
        step = _STEP.match(path, at)
        if step is None:
            raise ValueError(f"JSONPath {path}: {path[at:]}")
        made.append(_step(step))
        at = step.end()
    return tuple(made)


def _step(step: re.Match[str]) -> Step:
    if name := step["quoted"] or re.sub(r"\\(.)", r"\1", step["field"] or ""):
        return lambda value: [value[name]] if isinstance(value, dict) and name in value else []
    if step["index"]:
        at = int(step["index"])
        return lambda value: [value[at]] if -len(_listed(value)) <= at < len(value) else []
    if step["all"]:
        return lambda value: value.values() if isinstance(value, dict) else _listed(value)
    left, compare = step["left"], _COMPARE.get(step["compare"] or "")
    if compare is None:
        return lambda value: [one for one in _listed(value) if find(one, left)]
    right = _literal(step["right"])
    return lambda value: [
        one for one in _listed(value) if any(compare(_alike(v, right), right) for v in find(one, left))
    ]


def _listed(value: Any) -> list[Any]:
    if not isinstance(value, list):
        raise TypeError("not a list")
    return value


def _literal(text: str) -> Any:
    return text[1:-1] if text[0] in "\"'" else orjson.loads(text)


def _alike(value: Any, other: Any) -> Any:
    if type(value) is not type(other):
        raise TypeError("values of different types are not compared")
    return value
