"""What DuckDB itself reads in an SQL expression, compared with a list.

sqlglot and DuckDB are two parsers. What the one has checked, the other may read in another way; so the engine's own
tree is looked at too, before the engine runs it.
"""

import json
from collections.abc import Iterator, Mapping
from typing import Any

import duckdb
from sqlglot import exp

from penstock.worker.rows import engine

FUNCTIONS = frozenset(
    {
        # what expressions may call by name
        *("upper", "lower", "trim", "ltrim", "rtrim", "length", "substring", "left", "right", "replace", "concat"),
        *("concat_ws", "split_part", "starts_with", "ends_with", "contains", "lpad", "rpad", "strip_accents", "md5"),
        *("regexp_replace", "regexp_extract", "regexp_matches", "abs", "round", "floor", "ceil", "sign", "nullif"),
        *("greatest", "least", "strptime", "strftime", "make_date", "make_timestamp", "date_trunc", "date_part"),
        *("date_diff", "year", "month", "day", "hour", "minute", "second", "to_timestamp", "epoch", "epoch_ms"),
        # operators, and what the parser makes of INTERVAL and AT TIME ZONE
        *("+", "-", "*", "/", "//", "%", "||", "~~", "!~~", "~~*", "!~~*", "timezone", "trunc"),
        *("to_years", "to_quarters", "to_months", "to_weeks", "to_days", "to_hours", "to_minutes", "to_seconds"),
        *("to_milliseconds", "to_microseconds", "to_decades", "to_centuries", "to_millennia"),
    }
)
_CLASSES = frozenset(
    {
        *("FUNCTION", "COLUMN_REF", "CONSTANT", "CAST", "OPERATOR", "COMPARISON", "CONJUNCTION", "CASE", "BETWEEN"),
        "TYPE",
    }
)
_OPERATORS = frozenset(
    {
        *("OPERATOR_CAST", "OPERATOR_NOT", "OPERATOR_IS_NULL", "OPERATOR_IS_NOT_NULL", "OPERATOR_COALESCE"),
        *("OPERATOR_NULLIF", "OPERATOR_TRY", "COMPARE_IN", "COMPARE_NOT_IN"),
    }
)
_TYPES = frozenset(
    {
        *("VARCHAR", "TEXT", "STRING", "BOOLEAN", "INTEGER", "INT", "BIGINT", "DOUBLE", "DECIMAL", "NUMERIC", "DATE"),
        *("TIMESTAMP", "TIMESTAMPTZ", "TIMESTAMP WITH TIME ZONE", "INTERVAL"),
    }
)
_TRIALS: Mapping[type[exp.Expr], str] = {
    exp.TimeToStr: "SELECT strftime(TIMESTAMP '2000-01-01', ?)",
    exp.StrToTime: "SELECT try_strptime('', ?)",
    **dict.fromkeys((exp.RegexpLike, exp.RegexpExtract, exp.RegexpReplace), "SELECT regexp_matches('', ?)"),
}
"""What tries a constant that the engine compiles before it sees a row: an error then is no row's, it ends the query."""
_EMPTY: tuple[Any, ...] = (None, [], "", {})


def fault(sql: str) -> str | None:
    """What DuckDB reads in the expression that is not allowed, as a sentence without its full stop; None if nothing."""
    select = selected(sql)
    if isinstance(select, str):
        return select
    return next((fault for node in _nodes(select) if (fault := _off_list(node))), None)


def selected(sql: str) -> dict[str, Any] | str:
    """DuckDB's tree of the one expression, or what is wrong as a sentence without its full stop."""
    with engine.small() as connection:
        ((answer,),) = connection.execute("SELECT json_serialize_sql(?)", [f"SELECT {sql}"]).fetchall()
    read = json.loads(answer)
    if read.get("error"):
        return f"the engine cannot read it: {engine.one_line(read.get('error_message', ''))[:200]}".rstrip(".")
    statements = read["statements"]
    if len(statements) != 1 or statements[0]["node"]["type"] != "SELECT_NODE":
        return "it is more than one expression"
    select = statements[0]["node"]
    clauses = ("where_clause", "having", "qualify", "sample", "group_expressions", "group_sets", "modifiers")
    if len(select["select_list"]) != 1 or select["from_table"]["type"] != "EMPTY":
        return "it is more than one expression"
    if any(select.get(clause) not in _EMPTY for clause in clauses):
        return "it is a query"
    expression: dict[str, Any] = select["select_list"][0]
    return expression


def constant_fault(tree: exp.Expr) -> str | None:
    """What the engine says of the formats and patterns in a checked tree; None if it accepts them all."""
    for node in tree.find_all(*_TRIALS):
        constant = node.args.get("format", node.expression)
        try:
            with engine.small() as connection:
                connection.execute(_TRIALS[type(node)], [constant.name]).fetchall()
        except duckdb.Error as error:
            return f"'{constant.name[:60]}' cannot be used: {engine.one_line(error)}".rstrip(".")
    return None


def _nodes(part: Any) -> Iterator[dict[str, Any]]:
    """Every object in the tree that is an expression."""
    waiting = [part]
    while waiting:
        entry = waiting.pop()
        if isinstance(entry, dict):
            waiting += entry.values()
            if "class" in entry:
                yield entry
        elif isinstance(entry, list):
            waiting += entry


def _off_list(node: dict[str, Any]) -> str | None:
    kind = node["class"]
    if kind not in _CLASSES:
        return f"the engine reads a {kind.lower().replace('_', ' ')} in it, which is not allowed"
    if kind == "FUNCTION":
        plain = not (node.get("schema") or node.get("catalog") or node.get("filter") or node.get("distinct"))
        if not plain or node["function_name"].lower() not in FUNCTIONS:
            return f"the engine reads a call of {node['function_name'][:64]} in it, which is not allowed"
    if kind == "OPERATOR" and node["type"] not in _OPERATORS:
        return f"the engine reads {node['type'].lower().replace('_', ' ')} in it, which is not allowed"
    if kind == "COLUMN_REF" and len(node["column_names"]) != 1:
        return "it names a table; only columns of the stream can be used"
    if kind == "TYPE" and node["type_name"].upper() not in _TYPES:
        return f"the engine reads the type {node['type_name'][:40]} in it, which is not allowed"
    return None
