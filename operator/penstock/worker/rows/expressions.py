"""Expressions in `from`: parsed by sqlglot, refused unless every part is on a list, casts of text made exact.

An allow-list, never a deny-list: DuckDB has scalar functions that sleep, write its log, or read settings.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

import sqlglot
from sqlglot import exp

from penstock.language.errors import InvalidSpec
from penstock.worker.rows import engine, lossless

_PAD_LIMIT = 1000
_MARK = "__penstock"
"""Begins the names that stand in for columns and exact casts while sqlglot writes the SQL."""

_STRUCTURE: frozenset[type[exp.Expr]] = frozenset(
    {
        *(exp.Column, exp.Identifier, exp.Literal, exp.Null, exp.Boolean, exp.Paren, exp.Var, exp.Interval),
        *(exp.Neg, exp.Add, exp.Sub, exp.Mul, exp.Div, exp.IntDiv, exp.Mod, exp.DPipe),
        *(exp.EQ, exp.NEQ, exp.LT, exp.LTE, exp.GT, exp.GTE, exp.Is, exp.In, exp.Between, exp.Like, exp.ILike),
        *(exp.And, exp.Or, exp.Not, exp.Case, exp.If, exp.Coalesce, exp.Nullif, exp.Greatest, exp.Least),
        *(exp.Cast, exp.TryCast, exp.DataType, exp.DataTypeParam, exp.AtTimeZone),
    }
)
_FUNCTIONS: Mapping[type[exp.Expr], str] = {
    exp.Upper: "upper",
    exp.Lower: "lower",
    exp.Trim: "trim",
    exp.Length: "length",
    exp.Substring: "substring",
    exp.Left: "left",
    exp.Right: "right",
    exp.Replace: "replace",
    exp.Concat: "concat",
    exp.ConcatWs: "concat_ws",
    exp.SplitPart: "split_part",
    exp.StartsWith: "starts_with",
    exp.EndsWith: "ends_with",
    exp.Contains: "contains",
    exp.Pad: "lpad, rpad",
    exp.RegexpReplace: "regexp_replace",
    exp.RegexpExtract: "regexp_extract",
    exp.RegexpLike: "regexp_matches",
    exp.MD5: "md5",
    exp.Abs: "abs",
    exp.Round: "round",
    exp.Floor: "floor",
    exp.Ceil: "ceil",
    exp.Sign: "sign",
    exp.StrToTime: "strptime",
    exp.TimeToStr: "strftime",
    exp.DateFromParts: "make_date",
    exp.TimestampFromParts: "make_timestamp",
    exp.TimestampTrunc: "date_trunc",
    exp.DateTrunc: "date_trunc",
    exp.Extract: "extract",
    exp.Year: "year",
    exp.Month: "month",
    exp.Day: "day",
    exp.Hour: "hour",
    exp.Minute: "minute",
    exp.Second: "second",
    exp.DateDiff: "date_diff",
    exp.UnixToTime: "to_timestamp",
    exp.TimeToUnix: "epoch",
}
_BY_NAME = frozenset({"strip_accents", "epoch_ms"})
"""Functions that sqlglot has no class for."""
_CASTS = {
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


@dataclass(frozen=True)
class Parsed:
    """An allowed expression and the columns it names, as they are written."""

    written: str
    tree: exp.Expr
    columns: tuple[str, ...]

    @property
    def column(self) -> str | None:
        """The column's name, where the expression is nothing else."""
        return self.columns[0] if isinstance(self.tree, exp.Column) else None


def parse(written: str, where: str) -> Parsed:
    """The expression, or InvalidSpec that names what is not allowed. `where` names the field, for messages."""
    if _MARK in written:
        raise InvalidSpec(f"{where}: {_MARK} is not allowed in expressions.")
    try:
        tree = sqlglot.parse_one(written, dialect="duckdb")
    except sqlglot.errors.SqlglotError as error:
        reason = str(error).partition("\n")[0].partition(". Line")[0]
        raise InvalidSpec(f"{where}: {written} is not an SQL expression: {reason}.") from None
    for node in tree.walk():
        _allow(node, where)
    names = dict.fromkeys(column.name for column in tree.find_all(exp.Column))
    return Parsed(written, tree, tuple(names))


def _allow(node: exp.Expr, where: str) -> None:
    kind = type(node)
    if kind is exp.Anonymous and node.name.lower() in _BY_NAME:
        return
    if kind not in _STRUCTURE and kind not in _FUNCTIONS:
        rest = f" Allowed functions: {allowed()}." if isinstance(node, exp.Func) else ""
        raise InvalidSpec(f"{where}: {_called(node)} is not allowed in expressions.{rest}")
    if isinstance(node, exp.Column) and node.table:
        raise InvalidSpec(
            f"{where}: {node.sql(dialect='duckdb')} names a table; only columns of the stream can be used."
        )
    if isinstance(node, exp.In) and (node.args.get("query") or node.args.get("unnest")):
        raise InvalidSpec(f"{where}: IN takes a list of values, not a query.")
    if isinstance(node, exp.DataType) and node.this not in _CASTS:
        raise InvalidSpec(f"{where}: casts to {node.sql(dialect='duckdb')} are not allowed.")
    if isinstance(node, exp.AtTimeZone) and not _known_zone(node.args.get("zone")):
        raise InvalidSpec(f"{where}: AT TIME ZONE takes the name of a time zone in quotes, such as 'Europe/Paris'.")
    if isinstance(node, exp.Pad):
        length = node.expression
        if not isinstance(length, exp.Literal) or not length.name.isdigit() or int(length.name) > _PAD_LIMIT:
            raise InvalidSpec(f"{where}: the length of lpad and rpad is a number of at most {_PAD_LIMIT}.")


def _known_zone(zone: exp.Expr | None) -> bool:
    """Whether it is a zone's name, written out: DuckDB's error about an unknown one is no value, it ends the query."""
    if not isinstance(zone, exp.Literal) or not zone.is_string:
        return False
    try:
        ZoneInfo(zone.name)
    except (ZoneInfoNotFoundError, ValueError):
        return False
    return True


def _called(node: exp.Expr) -> str:
    if isinstance(node, exp.Anonymous):
        return f"the function {node.name}"
    if isinstance(node, exp.Func):
        return f"the function {node.sql_name().lower()}"
    return f'"{node.sql(dialect="duckdb")[:60]}" ({type(node).__name__})'


def allowed() -> str:
    """The names of all functions, for messages and the reference."""
    pairs = {name for names in _FUNCTIONS.values() for name in names.split(", ")}
    return ", ".join(sorted({*pairs, *_BY_NAME, "coalesce", "nullif", "greatest", "least"}))


def sql(parsed: Parsed, columns: Mapping[str, tuple[str, bool]]) -> str:
    """DuckDB's SQL for the expression.

    `columns` gives for each column it names the SQL that stands for it and whether it is text; casts of text become
    exact, and fail where they are not.
    """
    stands_for: dict[str, str] = {}

    def placeholder(replacement: str) -> exp.Expr:
        name = f"{_MARK}_{len(stands_for)}"
        stands_for[engine.name(name)] = replacement
        return exp.column(name, quoted=True)

    def translate(node: exp.Expr) -> exp.Expr:
        if isinstance(node, exp.Cast) and isinstance(node.this, exp.Column) and columns[node.this.name][1]:
            return placeholder(lossless.guarded(_target(node.to), columns[node.this.name][0]))
        if isinstance(node, exp.Column):
            return placeholder(columns[node.name][0])
        return node

    written = parsed.tree.copy().transform(translate).sql(dialect="duckdb")
    for name, replacement in stands_for.items():
        written = written.replace(name, replacement)
    return written


def _target(to: exp.DataType) -> str:
    name = _CASTS[to.this]
    if name != "DECIMAL":
        return name
    given: list[str] = [parameter.name for parameter in to.expressions]
    precision, scale = [*given, "0"][:2] if given else ["18", "3"]  # DuckDB's own defaults
    return f"DECIMAL({precision},{scale})"
