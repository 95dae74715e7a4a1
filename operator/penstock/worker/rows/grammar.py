"""Which SQL an expression may contain: the nodes, what each node may hold, and how large the whole may be.

This is an allow-list. DuckDB has scalar functions that sleep, write its log, or read settings, and sqlglot prints some
parts of a node as they were written. So every part of every node is checked: arguments by name, units and types by
closed lists, numbers and formats by patterns.
"""

import difflib
import re
from collections.abc import Callable, Mapping
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

from sqlglot import exp

LONGEST = 2048
"""Characters of an expression."""
MOST_TOKENS = 400
DEEPEST = 64
"""Levels of nested operators, functions and parentheses."""
LONGEST_PAD = 1000
"""Characters that lpad and rpad may produce."""
_HEAVIEST_PATTERN = 500
"""Single characters that a regular expression may stand for, repetitions multiplied."""
_LONGEST_NUMBER = 64
_MOST_DIGITS = 38

_PLAIN = ("this",)
_BINARY = ("this", "expression")
_OPERATORS: Mapping[type[exp.Expr], tuple[str, ...]] = {
    **dict.fromkeys(
        (exp.Column, exp.Identifier, exp.Literal, exp.Boolean, exp.Paren, exp.Var, exp.Neg, exp.Not), _PLAIN
    ),
    **dict.fromkeys((exp.Add, exp.Sub, exp.Mul, exp.Div, exp.IntDiv, exp.Mod, exp.DPipe, exp.And, exp.Or), _BINARY),
    **dict.fromkeys((exp.EQ, exp.NEQ, exp.LT, exp.LTE, exp.GT, exp.GTE, exp.Is, exp.Like, exp.ILike), _BINARY),
    **dict.fromkeys((exp.Coalesce, exp.Greatest, exp.Least, exp.DataType, exp.In), ("this", "expressions")),
    exp.Null: (),
    exp.Nullif: _BINARY,
    exp.Between: ("this", "low", "high"),
    exp.Case: ("this", "ifs", "default"),
    exp.If: ("this", "true", "false"),
    exp.Cast: ("this", "to"),
    exp.TryCast: ("this", "to"),
    exp.DataTypeParam: _PLAIN,
    exp.AtTimeZone: ("this", "zone"),
    exp.Interval: ("this", "unit"),
}
"""Operators and the arguments that each may have."""
_PARTS = ("year", "month", "day", "hour", "min", "sec")
FUNCTIONS: Mapping[type[exp.Expr], tuple[str, tuple[str, ...]]] = {
    exp.Upper: ("upper", _PLAIN),
    exp.Lower: ("lower", _PLAIN),
    exp.Trim: ("trim", ("this", "expression", "position")),
    exp.Length: ("length", _PLAIN),
    exp.Substring: ("substring", ("this", "start", "length")),
    exp.Left: ("left", _BINARY),
    exp.Right: ("right", _BINARY),
    exp.Replace: ("replace", ("this", "expression", "replacement")),
    exp.Concat: ("concat", ("expressions",)),
    exp.ConcatWs: ("concat_ws", ("expressions",)),
    exp.SplitPart: ("split_part", ("this", "delimiter", "part_index")),
    exp.StartsWith: ("starts_with", _BINARY),
    exp.EndsWith: ("ends_with", _BINARY),
    exp.Contains: ("contains", _BINARY),
    exp.Pad: ("lpad, rpad", ("this", "expression", "fill_pattern")),
    exp.RegexpReplace: ("regexp_replace", ("this", "expression", "replacement", "modifiers")),
    exp.RegexpExtract: ("regexp_extract", ("this", "expression", "group")),
    exp.RegexpLike: ("regexp_matches", ("this", "expression", "flag")),
    exp.MD5: ("md5", _PLAIN),
    exp.Abs: ("abs", _PLAIN),
    exp.Round: ("round", ("this", "decimals")),
    exp.Floor: ("floor", _PLAIN),
    exp.Ceil: ("ceil", _PLAIN),
    exp.Sign: ("sign", _PLAIN),
    exp.StrToTime: ("strptime", ("this", "format")),
    exp.TimeToStr: ("strftime", ("this", "format")),
    exp.DateFromParts: ("make_date", _PARTS[:3]),
    exp.TimestampFromParts: ("make_timestamp", _PARTS),
    exp.TimestampTrunc: ("date_trunc", ("this", "unit")),
    exp.DateTrunc: ("date_trunc", ("this", "unit")),
    exp.Extract: ("extract", _BINARY),
    exp.Year: ("year", _PLAIN),
    exp.Month: ("month", _PLAIN),
    exp.Day: ("day", _PLAIN),
    exp.Hour: ("hour", _PLAIN),
    exp.Minute: ("minute", _PLAIN),
    exp.Second: ("second", _PLAIN),
    exp.DateDiff: ("date_diff", ("this", "expression", "unit")),
    exp.UnixToTime: ("to_timestamp", ("this", "scale")),
    exp.TimeToUnix: ("epoch", _PLAIN),
}
"""Functions: the name, for messages, and the arguments that each may have."""
_BY_NAME = frozenset({"strip_accents", "epoch_ms"})
"""Functions that sqlglot has no class for."""
_VOLATILE = frozenset(
    {
        *("now", "today", "random", "rand", "setseed", "uuid", "uuidv4", "uuidv7", "gen_random_uuid", "nextval"),
        *("get_current_timestamp", "get_current_time", "transaction_timestamp", "current_timestamp", "current_date"),
        *("current_time", "current_localtime", "current_localtimestamp", "localtime", "localtimestamp"),
        "current_datetime",
    }
)
CASTS: Mapping[object, str] = {
    exp.DataType.Type.VARCHAR: "VARCHAR",
    exp.DataType.Type.TEXT: "VARCHAR",
    exp.DataType.Type.BOOLEAN: "BOOLEAN",
    exp.DataType.Type.INT: "INTEGER",
    exp.DataType.Type.BIGINT: "BIGINT",
    exp.DataType.Type.DOUBLE: "DOUBLE",
    exp.DataType.Type.DATE: "DATE",
    exp.DataType.Type.TIMESTAMP: "TIMESTAMP",
    exp.DataType.Type.TIMESTAMPNTZ: "TIMESTAMP",
    exp.DataType.Type.TIMESTAMPTZ: "TIMESTAMPTZ",
    exp.DataType.Type.DECIMAL: "DECIMAL",
}
UNITS = frozenset(
    {
        *("year", "years", "quarter", "quarters", "month", "months", "week", "weeks", "day", "days", "hour", "hours"),
        *("minute", "minutes", "second", "seconds", "millisecond", "milliseconds", "microsecond", "microseconds"),
        *("decade", "decades", "century", "centuries", "millennium", "millennia", "era", "epoch", "dow", "dayofweek"),
        *("isodow", "dayofweekiso", "doy", "dayofyear", "dayofmonth", "weekday", "weekofyear", "isoyear", "yearweek"),
    }
)
"""Parts of a date or time, for extract, date_trunc, date_diff and intervals."""
_NO_SPAN = frozenset(
    {
        *("era", "epoch", "dow", "dayofweek", "isodow", "dayofweekiso", "doy", "dayofyear", "dayofmonth", "weekday"),
        *("weekofyear", "isoyear", "yearweek"),
    }
)
"""Those of which no interval is made."""
_SPAN = re.compile(
    r"-?\d{1,6} ?[a-z]+( -?\d{1,6} ?[a-z]+){0,5}|-?\d{1,6}|\d{1,4}:\d\d(:\d\d(\.\d{1,6})?)?", re.IGNORECASE
)
_NUMBER = re.compile(r"\d+(\.\d*)?([eE][+-]?\d{1,4})?|\.\d+([eE][+-]?\d{1,4})?")
_FLAGS = re.compile(r"[cilmnpsg]{0,8}")
_REPEATED = re.compile(r"(?:\*|\+|\?|\{(\d*)(?:(,)(\d*))?\})")


def names() -> list[str]:
    """The names of all functions, sorted."""
    given = {name for listed, _ in FUNCTIONS.values() for name in listed.split(", ")}
    return sorted({*given, *_BY_NAME, "coalesce", "nullif", "greatest", "least"})


def fault(node: exp.Expr, written: str) -> str | None:
    """What is not allowed about this node by itself, for a message; None if nothing is. `written` is the whole."""
    kind = type(node)
    if kind is exp.Anonymous:
        return None if node.name.lower() in _BY_NAME else _unknown(node.name)
    arguments = _OPERATORS.get(kind) or (FUNCTIONS[kind][1] if kind in FUNCTIONS else None)
    if arguments is None and kind is not exp.Null:
        return _refused(node, written)
    for name, value in node.args.items():
        if name not in (arguments or ()) and value is not None and not isinstance(value, bool) and value != []:
            return _extra(node, name)
    check = _CHECKS.get(kind)
    return check(node) if check is not None else None


def _refused(node: exp.Expr, written: str) -> str:
    if isinstance(node, exp.Func):
        return _unknown(_called(node, written.lower()))
    return f'"{_written(node)}" is not allowed in expressions'


def _called(node: exp.Func, written: str) -> str:
    """The function's name as it was written, where that can be seen: sqlglot knows pow as power."""
    name = node.sql_name().lower()
    off_list = [called for called in re.findall(r"(\w+)\s*\(", written) if called not in names()]
    return off_list[0] if name not in re.findall(r"\w+", written) and len(off_list) == 1 else name


def _extra(node: exp.Expr, name: str) -> str:
    if isinstance(node, exp.Column):
        return f"{_written(node)} names a table; only columns of the stream can be used"
    if isinstance(node, exp.In):
        return "IN takes a list of values, not a query"
    called = FUNCTIONS[type(node)][0] if type(node) in FUNCTIONS else _written(node)
    return f"{called} is not allowed with that many arguments, or with {name.replace('_', ' ')}"


def _unknown(name: str) -> str:
    """Why a function is not allowed."""
    if name.lower() in _VOLATILE:
        return (
            f"the function {name} is not allowed in expressions: its value changes from call to call, and a row must "
            "give the same value whenever it is loaded"
        )
    near = difflib.get_close_matches(name.lower(), names(), n=1, cutoff=0.75)
    remedy = f"Did you mean {near[0]}?" if near else "docs/expressions.md lists the functions that are."
    return f"the function {name[:64]} is not allowed in expressions. {remedy}"


def _written(node: exp.Expr) -> str:
    return node.sql(dialect="duckdb", comments=False)[:60]


def _text(node: object) -> str | None:
    """What stands in quotes, None where it is anything else."""
    return node.name if isinstance(node, exp.Literal) and node.is_string else None


def _whole(node: object, most: int) -> bool:
    """Whether it is a whole number from 0 to `most`, written out."""
    return isinstance(node, exp.Literal) and not node.is_string and _digits(node.name) and int(node.name) <= most


def _digits(written: str) -> bool:
    return written.isascii() and written.isdigit() and len(written) <= _MOST_DIGITS


def _literal(node: exp.Expr) -> str | None:
    if node.args.get("is_string"):
        return None
    fits = len(node.name) <= _LONGEST_NUMBER and _NUMBER.fullmatch(node.name)
    return None if fits else f"{node.name[:40]} is not a number of at most {_LONGEST_NUMBER} characters"


def _var(node: exp.Expr) -> str | None:
    """A bare word is allowed as a unit only."""
    place = (type(node.parent), node.arg_key)
    if place in ((exp.Extract, "this"), *((kind, "unit") for kind in (exp.Interval, *_TRUNCATING, exp.DateDiff))):
        return None
    return f'"{node.name[:60]}" is not allowed in expressions'


_TRUNCATING = (exp.TimestampTrunc, exp.DateTrunc)


def _unit(node: exp.Expr) -> str | None:
    unit = node.this if isinstance(node, exp.Extract) else node.args.get("unit")
    written = unit.name if isinstance(unit, exp.Var) else _text(unit)
    if written is not None and written.lower() in UNITS:
        return None
    shown = f'"{unit.name[:40]}"' if isinstance(unit, exp.Expr) else "nothing"
    return f"{shown} is not a part of a time: write one such as 'year', 'month', 'week', 'day', 'hour' or 'minute'"


def _interval(node: exp.Expr) -> str | None:
    span, unit = node.args.get("this"), node.args.get("unit")
    if unit is not None and (reason := _unit(node)):
        return reason
    written = _text(span)
    words = re.findall(r"[a-z]+", f"{written or ''} {unit.name if isinstance(unit, exp.Expr) else ''}".lower())
    if not _NO_SPAN.isdisjoint(words):
        return f"no INTERVAL is made of {words[0]}: write a unit such as day, hour or month"
    if written is not None:
        if _SPAN.fullmatch(written) and UNITS.issuperset(words):
            return None
    elif unit is not None and isinstance(span, exp.Expr):
        return None
    return "INTERVAL takes a number of at most 6 digits and a unit, such as INTERVAL '3 days'"


def _data_type(node: exp.Expr) -> str | None:
    refused = f"casts to {_written(node)} are not allowed"
    if node.this not in CASTS or node.args.get("nested"):
        return refused
    parameters = node.expressions
    if not parameters:
        return None
    if CASTS[node.this] != "DECIMAL" or not all(isinstance(entry, exp.DataTypeParam) for entry in parameters):
        return refused
    if len(parameters) > 2 or not all(_whole(entry.this, _MOST_DIGITS) for entry in parameters):
        return f"{refused}: write decimal(precision, scale) with whole numbers of at most {_MOST_DIGITS}"
    precision, scale = [*(int(entry.this.name) for entry in parameters), 0][:2]
    return None if precision >= 1 and scale <= precision else f"{refused}: the scale is more than the precision"


def _parameter(node: exp.Expr) -> str | None:
    return None if isinstance(node.parent, exp.DataType) else f'"{_written(node)}" is not allowed in expressions'


def _zone(node: exp.Expr) -> str | None:
    """A zone's name, written out: DuckDB's error about an unknown one is no value, it ends the query."""
    name = _text(node.args.get("zone"))
    try:
        if name and len(name) <= 64:
            ZoneInfo(name)
            return None
    except (ZoneInfoNotFoundError, ValueError, OSError):
        pass
    return "AT TIME ZONE takes the name of a time zone in quotes, such as 'Europe/Paris'"


def _pad(node: exp.Expr) -> str | None:
    if _whole(node.expression, LONGEST_PAD):
        return None
    return f"the length of lpad and rpad is a number of at most {LONGEST_PAD}"


def _trim(node: exp.Expr) -> str | None:
    fits = node.args.get("position") in (None, "LEADING", "TRAILING", "BOTH")
    return None if fits else "trim takes LEADING, TRAILING or BOTH"


def _scale(node: exp.Expr) -> str | None:
    scale = node.args.get("scale")
    if scale is None or (_whole(scale, 6) and scale.name in ("3", "6")):
        return None
    return "to_timestamp takes one argument, the seconds since 1970"


def _format(node: exp.Expr) -> str | None:
    if _text(node.args.get("format")) is not None:
        return None
    return f"the format of {FUNCTIONS[type(node)][0]} is a text in quotes, such as '%d.%m.%Y'"


def _pattern(node: exp.Expr) -> str | None:
    called, pattern = FUNCTIONS[type(node)][0], _text(node.expression)
    if pattern is None:
        return f"the pattern of {called} is a text in quotes"
    if _weight(pattern) > _HEAVIEST_PATTERN:
        return f"the pattern of {called} repeats too much: it stands for more than {_HEAVIEST_PATTERN} characters"
    group = node.args.get("group")
    if group is not None and not _whole(group, 99):
        return f"the group of {called} is a number"
    for flag in (node.args.get("modifiers"), node.args.get("flag")):
        if flag is not None and not _FLAGS.fullmatch(_text(flag) or "?"):
            return f"the options of {called} are letters in quotes, of c, g, i, l, m, n, p and s"
    return None


def _weight(pattern: str) -> int:
    """How many single characters a pattern stands for when each counted repetition is written out.

    Goes through the pattern once. `totals` has the weight so far of each open group; a repetition multiplies the last
    part, which is a character, a class or a whole group.
    """
    totals, last, place = [0], 0, 0
    while place < len(pattern):
        character = pattern[place]
        repeated = _REPEATED.match(pattern, place)
        if repeated is not None:
            times = max(1, *(int(number[:6]) for number in repeated.group(1, 3) if number)) if repeated.group(1) else 1
            totals[-1] += last * (times - 1)
            last *= times
            place = repeated.end()
            continue
        if character == "(":
            totals.append(0)
        elif character == ")":
            last = totals.pop() if len(totals) > 1 else 0
            totals[-1] += last
        else:
            totals[-1], last = totals[-1] + 1, 1
            place += _class_length(pattern, place) - 1
        place += 1
    return sum(totals)


def _class_length(pattern: str, place: int) -> int:
    """How many characters the escape or class at `place` takes; 1 for a plain character."""
    if pattern[place] == "\\":
        return 2
    if pattern[place] != "[":
        return 1
    end = place + (3 if pattern[place + 1 : place + 2] == "^" else 2)
    while end < len(pattern) and pattern[end] != "]":
        end += 2 if pattern[end] == "\\" else 1
    return end - place + 1


_CHECKS: Mapping[type[exp.Expr], Callable[[exp.Expr], str | None]] = {
    exp.Literal: _literal,
    exp.Var: _var,
    exp.DataType: _data_type,
    exp.DataTypeParam: _parameter,
    exp.AtTimeZone: _zone,
    exp.Interval: _interval,
    exp.Pad: _pad,
    exp.Trim: _trim,
    exp.UnixToTime: _scale,
    **dict.fromkeys((exp.StrToTime, exp.TimeToStr), _format),
    **dict.fromkeys((exp.RegexpReplace, exp.RegexpExtract, exp.RegexpLike), _pattern),
    **dict.fromkeys((exp.Extract, *_TRUNCATING, exp.DateDiff), _unit),
}
