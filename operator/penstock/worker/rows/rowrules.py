# ruff: noqa: S608 - SQL is built here; every name and literal in it goes through engine.name and engine.text
"""Rules over several fields of a row: `check` of a field, and `quality.rules`.

They are asked about rows whose fields are all good, in one question over the fields' values; so it makes no difference
how these were read. A rule is kept where its expression is true or null, and broken where it is false or cannot be
computed.
"""

import difflib
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import reduce

import duckdb
import pyarrow as pa
import pyarrow.compute as pc

from penstock.api.fields import SchemaField
from penstock.api.quality import RowRule
from penstock.language import paths
from penstock.language.errors import InvalidSpec
from penstock.worker.rows import arrays, engine, lossless, portions

CHECK_FAILED = "CheckFailed"
"""The reason code of a row for which a field's check is false; that of a rule is the rule's name."""
SAMPLES = 3
"""Rows whose places are kept for each rule that warns."""
_TABLE = "row_rules"


@dataclass(frozen=True)
class Rule:
    """A rule as it is asked. `field` is the field that it belongs to, None for a rule of the row."""

    field: str | None
    reason: str
    kind: str
    """What a row that breaks it does, as a sentence without values."""
    is_warning: bool
    """Whether rows that break it are loaded."""


@dataclass(frozen=True)
class RowQuestion:
    """SQL over a table of the name `table` with the values of the fields with these numbers, as v0, v1, …

    It yields a boolean column for each rule, named by its number: whether a row breaks it.
    """

    rules: tuple[Rule, ...]
    fields: tuple[int, ...]
    sql: str
    texts: int
    """How many long texts the expressions may make from a row: see growth."""
    table: str = _TABLE

    @property
    def rows_at_once(self) -> int | None:
        """How many rows are to be computed at once, where expressions may make much text; None for any number."""
        return portions.rows_at_once(self.texts)


@dataclass(frozen=True)
class Warned:
    """Rows of a chunk that break a rule and are loaded: how many, and the first of them by their numbers from 0."""

    rule: Rule
    rows: int
    first: tuple[int, ...]


@dataclass(frozen=True)
class Broken:
    """Which of some rows break rules; each array has an entry for each row.

    `faults` are the numbers of the first such rule that makes a row bad, among all faults, and `errors` the messages.
    """

    faults: pa.Int32Array | None
    errors: pa.StringArray
    warnings: tuple[tuple[Rule, pa.BooleanArray], ...]

    def warned(self, start: int, rows: int) -> tuple[Warned, ...]:
        """The warnings about so many rows from `start` on."""
        warned = []
        for rule, mask in self.warnings:
            which = pc.indices_nonzero(mask.slice(start, rows))
            if len(which):
                warned.append(Warned(rule, len(which), tuple(which.slice(0, SAMPLES).to_pylist())))
        return tuple(warned)


def broken(asked: RowQuestion, answer: pa.Table, first: int, bad: pa.BooleanArray) -> Broken | None:
    """What the answer about the rows that are not bad says; None where no rule is broken.

    `first` is the number of the first rule among all faults.
    """
    masks = [arrays.one(answer[str(number)]) for number in range(len(asked.rules))]
    if not any(mask.true_count for mask in masks):
        return None
    nothing = pa.repeat(pa.scalar(False), len(bad))
    masks = [pc.replace_with_mask(nothing, pc.invert(bad), mask) if bad.true_count else mask for mask in masks]
    faults, messages = pa.nulls(len(bad), pa.int32()), list[pa.StringArray]()
    for number, rule in reversed([*enumerate(asked.rules)]):
        if not rule.is_warning and masks[number].true_count:
            faults = pc.if_else(masks[number], pa.scalar(first + number, pa.int32()), faults)
            messages.insert(0, pc.if_else(masks[number], rule.kind, pa.scalar(None, pa.string())))
    errors = reduce(_joined, messages) if messages else None
    loaded = pc.is_null(faults)
    warnings = tuple(
        (rule, pc.and_(mask, loaded)) for rule, mask in zip(asked.rules, masks, strict=True) if rule.is_warning
    )
    return Broken(faults if messages else None, errors, warnings)


def _joined(first: pa.StringArray, second: pa.StringArray) -> pa.StringArray:
    """The messages of two rules about the same rows. (Arrow's join leaves rows out for which both are null.)"""
    return pc.coalesce(pc.binary_join_element_wise(first, second, "; "), first, second)


@dataclass(frozen=True)
class _Written:
    """A rule as it is written, with its place for messages."""

    rule: Rule
    expression: str
    where: str


def question(fields: Sequence[SchemaField], rules: Sequence[RowRule]) -> RowQuestion | None:
    """What rows are asked, None without rules.

    Raises InvalidSpec for an expression that names no field, is not boolean, or cannot be computed.
    """
    written = [*_checks(fields), *_rules(rules)]
    if not written:
        return None
    types = {field.name: field.type for field in fields}
    numbers = {name: number for number, name in enumerate(types)}
    compiled = [_compiled(each.expression, types, numbers, each.where) for each in written]
    texts = sum(each.texts for each in compiled)
    if texts > portions.MOST_TEXTS:
        message = f"The rules and checks may make more than {portions.MOST_TEXTS} MiB of text from one row. "
        raise InvalidSpec(f"{message}Use replace and regexp_replace in fewer of them.")
    used = tuple(sorted({number for each in compiled for number in each.fields}))
    steps = ", ".join(f"TRY(struct_pack(v := {each.sql})) AS r{number}" for number, each in enumerate(compiled))
    broken = ", ".join(f'coalesce(NOT r{number}.v, r{number} IS NULL) AS "{number}"' for number in range(len(compiled)))
    sql = f"SELECT {broken} FROM (SELECT {steps} FROM {_TABLE})"
    return RowQuestion(tuple(each.rule for each in written), used, sql, texts)


def check(expression: str, types: Mapping[str, str], where: str) -> None:
    """Raise InvalidSpec for an expression that cannot be a rule over fields of these types, by name.

    `where` names the rule, for messages.
    """
    _compiled(expression, types, {name: number for number, name in enumerate(types)}, where)


def check_all(fields: Sequence[SchemaField], rules: Sequence[RowRule]) -> None:
    """Raise InvalidSpec for the first check or rule that cannot be asked."""
    question(fields, rules)


def _checks(fields: Sequence[SchemaField]) -> list[_Written]:
    return [
        _Written(
            Rule(field.name, CHECK_FAILED, f"{field.name} does not pass its check", is_warning=False),
            field.check,
            f"field {field.name}: check",
        )
        for field in fields
        if field.check is not None
    ]


def _rules(rules: Sequence[RowRule]) -> list[_Written]:
    return [
        _Written(
            Rule(None, rule.name, f"the row breaks the rule {rule.name}", is_warning=rule.severity == "warn"),
            rule.expression,
            f"rule {rule.name}",
        )
        for rule in rules
    ]


@dataclass(frozen=True)
class _Compiled:
    sql: str
    fields: tuple[int, ...]
    texts: int


def _compiled(expression: str, types: Mapping[str, str], numbers: Mapping[str, int], where: str) -> _Compiled:
    from penstock.worker.rows import expressions  # sqlglot takes a tenth of a second: most Datasets go without

    parsed = expressions.parse(expression, where)
    names = {column: _field(column, types, where) for column in parsed.columns}
    if not names:
        raise InvalidSpec(f"{where}: {expressions.shown(expression)} names no field of the Dataset.")
    stands_for = {
        column: (f"v{numbers[name]}", lossless.sql_type(types[name]) == "VARCHAR") for column, name in names.items()
    }
    used = tuple(dict.fromkeys(names.values()))
    empty = ", ".join(f"CAST(NULL AS {lossless.sql_type(types[name])}) AS v{numbers[name]}" for name in used) or "1"
    type_of = _types(empty, f"{where}: {expressions.shown(expression)}")
    sql = expressions.sql(parsed, stands_for, type_of)
    kind = type_of(sql)
    if kind not in ("BOOLEAN", '"NULL"'):
        message = f"{where}: {expressions.shown(expression)} is {kind}, and a rule is true or false"
        raise InvalidSpec(f"{message}. Write a comparison.")
    return _Compiled(sql, tuple(numbers[name] for name in used), parsed.growth.texts)


def _field(column: str, types: Mapping[str, str], where: str) -> str:
    """The name of the field that an expression names; case does not count, since no two fields differ in it alone."""
    for name in types:
        if name.lower() == column.lower():
            return name
    near = difflib.get_close_matches(column, types, n=1, cutoff=0.6)
    shown = ", ".join([*types][:12]) + (", …" if len(types) > 12 else "")
    hint = f'did you mean "{near[0]}"?' if near else f"the fields are {shown}."
    path = paths.of_column(column)
    raise InvalidSpec(f'{where}: there is no field "{path.shown if path else column}"; {hint}')


def _types(columns: str, what: str) -> Callable[[str], str]:
    """A function that gives the DuckDB type of SQL over these columns. `what` is written where there is none."""

    def type_of(sql: str) -> str:
        with engine.small() as connection:
            try:
                row = connection.execute(f"DESCRIBE SELECT TRY({sql}) AS v FROM (SELECT {columns})").fetchone()
            except duckdb.Error as error:
                raise InvalidSpec(f"{what} cannot be computed: {engine.one_line(error)}") from None
        return str(row[1]) if row else "VARCHAR"

    return type_of
