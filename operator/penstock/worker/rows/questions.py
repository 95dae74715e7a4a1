# ruff: noqa: S608 - SQL is built here; every name and literal in it goes through engine.name and engine.text
"""What DuckDB is asked about rows, as SQL: which are bad, why, and what they were.

Fields are asked about in groups, because what a column costs grows with the columns of a question: 2,000 columns make
forty questions, and most of these need not be asked.
"""

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass

import pyarrow as pa

from penstock.worker.ports.chunks import MASK
from penstock.worker.rows import direct, engine, lossless, portions, rules, sourcenames
from penstock.worker.rows import shaped as shaping
from penstock.worker.rows.rowrules import RowQuestion
from penstock.worker.rows.shaped import EXACT, Fault, Shape, ShapedField

_TOGETHER = 48
"""Fields of one question."""


@dataclass(frozen=True)
class Question:
    """SQL over a table of the name `table`, with these columns of the chunk; rows answer in their order.

    The table has the directly read values of the fields with these numbers too, null where there are none.
    """

    table: str
    columns: tuple[str, ...]
    fields: tuple[ShapedField, ...]
    sql: str

    @property
    def direct(self) -> tuple[ShapedField, ...]:
        """The fields that are read directly."""
        return tuple(field for field in self.fields if field.direct is not None)

    @property
    def rows_at_once(self) -> int | None:
        """How many rows are to be computed at once, where expressions may make much text; None for any number."""
        return portions.rows_at_once(sum(field.texts for field in self.fields))


@dataclass(frozen=True)
class Questions:
    """All that the rows of one shape are asked, and how each field is read directly."""

    faults: pa.Table
    """All that can be wrong, in the order of the fields, and then by rules of rows: stage, field, reason and kind.

    Verdicts give numbers of its rows. The first rule of rows has the number `first_rule`.
    """
    verdicts: tuple[Question, ...]
    """Each yields `fault`, the number of the first fault of a row in its fields, null where the row is good as far as
    they go; and the values of those of its fields that are not always read directly."""
    errors: tuple[Question, ...]
    """Each yields `error`, the messages of all faults of a row in its fields; "" where it has none."""
    both: Question | None
    """The verdict and the errors in one question, if there is one of each: an answer takes 8 ms, even for few rows."""
    payload: Question | None
    """Yields the row as it was read."""
    readings: tuple[direct.Reading | None, ...]
    types: tuple[pa.DataType, ...]
    has_exact: bool
    """Whether the questions need the column EXACT beside the chunk's own."""
    row_rules: RowQuestion | None
    """What is asked about rows whose fields are all good."""
    hidden: frozenset[str]
    """The columns whose values are sensitive. A line that cannot be read may hold one, and is not shown then."""

    @property
    def first_rule(self) -> int:
        """The number, among all faults, of the first rule of rows."""
        return int(self.faults.num_rows) - (len(self.row_rules.rules) if self.row_rules else 0)

    @property
    def rows_at_once(self) -> int | None:
        """How many rows surely fit into memory, where expressions may make much text of them; None for any number."""
        texts = sum(field.texts for question in self.verdicts for field in question.fields)
        return portions.rows_at_once(texts + (self.row_rules.texts if self.row_rules else 0))

    @property
    def share(self) -> float:
        """Bytes that such expressions together may make for each byte of a row."""
        return sum(field.share for question in self.verdicts for field in question.fields)

    @property
    def masked(self) -> bool:
        """Whether any value is sensitive."""
        return bool(self.hidden)


def questions(shaped: Shape, row_rules: RowQuestion | None = None) -> Questions:
    """Compile the shape and its rules, with `row_rules` for rows whose fields are all good.

    Raises InvalidSpec for a bound or value that is not of its field's type.
    """
    fields = tuple(_numbered(shaped.fields))
    groups = [
        *_groups([each for each in fields if each.field.direct]),
        *_groups([each for each in fields if not each.field.direct]),
    ]
    verdicts = [
        _question(f"verdict_{number}", group, [_fault_and_values(group)]) for number, group in enumerate(groups)
    ]
    errors = [_question(f"errors_{number}", group, [_error(group)]) for number, group in enumerate(_groups(fields))]
    together = [_fault_and_values(groups[0]), _error(groups[0])] if len(groups) == 1 else None
    return Questions(
        faults=_described([*(fault for each in fields for fault in each.faults), *_of_rows(row_rules)]),
        verdicts=tuple(verdicts),
        errors=tuple(errors),
        both=_question("verdict_and_errors", groups[0], together) if together else None,
        payload=_payload(shaped),
        readings=tuple(rules.with_rules(field) for field in shaped.fields),
        types=tuple(direct.arrow_type(field.field.type) for field in shaped.fields),
        has_exact=any(field.may_be_exact for field in shaped.fields),
        row_rules=row_rules,
        hidden=shaped.sensitive,
    )


def is_always_direct(field: ShapedField) -> bool:
    """Whether all of its values are read directly; a verdict yields those of all other fields."""
    return field.direct is not None and field.direct.always


@dataclass(frozen=True)
class _Numbered:
    """A field, and what can be wrong with it. `first` is the number of the first of these faults among all fields'."""

    field: ShapedField
    faults: tuple[Fault, ...]
    first: int


def _numbered(fields: Iterable[ShapedField]) -> Iterator[_Numbered]:
    first = 0
    for field in fields:
        faults = (*shaping.faults(field), *rules.faults(field))
        yield _Numbered(field, faults, first)
        first += len(faults)


def _of_rows(asked: RowQuestion | None) -> list[Fault]:
    """The rules of rows as faults; they have no SQL of their own."""
    return [
        Fault("quality", rule.field, rule.reason, "", rule.kind, rule.kind) for rule in (asked.rules if asked else ())
    ]


def _described(faults: Sequence[Fault]) -> pa.Table:
    names = ("stage", "field", "reason", "kind")
    return pa.table({name: pa.array([getattr(fault, name) for fault in faults], pa.string()) for name in names})


def _groups(fields: Sequence[_Numbered]) -> list[tuple[_Numbered, ...]]:
    return [tuple(fields[start : start + _TOGETHER]) for start in range(0, len(fields), _TOGETHER)]


def _question(table: str, group: tuple[_Numbered, ...], selected: Sequence[str]) -> Question:
    fields = tuple(each.field for each in group)
    columns = dict.fromkeys(column for field in fields for column in field.chunk_columns)
    exact = [EXACT] if any(field.may_be_exact for field in fields) else []
    sql = f"SELECT {', '.join(selected)} FROM {shaping.relation(fields, table)}"
    return Question(table, (*columns, *exact), fields, sql)


def _fault_and_values(group: tuple[_Numbered, ...]) -> str:
    whens = " ".join(
        f"WHEN {fault.condition} THEN {each.first + place}" for each in group for place, fault in enumerate(each.faults)
    )
    fault = f"CAST({f'CASE {whens} END' if whens else 'NULL'} AS INTEGER) AS fault"
    return ", ".join([fault, *(each.field.value for each in group if not is_always_direct(each.field))])


def _error(group: tuple[_Numbered, ...]) -> str:
    messages = [f"CASE WHEN {fault.condition} THEN {fault.message} END" for each in group for fault in each.faults]
    return f"concat_ws('; ', {', '.join(messages) or 'NULL'}) AS error"


def _payload(shaped: Shape) -> Question | None:
    """The row as it was read, as JSON: column to text or number, sensitive ones masked.

    None where chunks have their records as they were written.
    """
    table = "payload"
    if shaped.as_written:
        return None
    has_exact = any(field.may_be_exact for field in shaped.fields)
    columns = [f"c{index}" for index in range(len(shaped.columns))] or ["none"]
    pairs = [
        f"{engine.text(name)}, {engine.text(MASK) if name in shaped.sensitive else _shown(column, kind, has_exact)}"
        for name, column, kind in zip(shaped.columns, columns, shaped.types, strict=bool(shaped.columns))
    ]
    sql = f"SELECT CAST(json_object({', '.join(pairs)}) AS VARCHAR) AS payload FROM {table}"
    return Question(table, (*columns, *([EXACT] if has_exact else [])), (), sql)


def _shown(column: str, kind: str, has_exact: bool) -> str:
    """A column for the payload. JSON has no infinity, and what no type holds stands beside."""
    if kind in ("FLOAT", "DOUBLE"):
        return f"CASE WHEN isfinite({column}) THEN to_json({column}) ELSE to_json(CAST({column} AS VARCHAR)) END"
    if has_exact and (kind in lossless.MOMENTS or lossless.comes_as_text(kind)):
        return f"coalesce(json_extract_string({EXACT}, '{column}'), CAST({column} AS VARCHAR))"
    if has_exact and sourcenames.is_nested(kind):
        return f"coalesce(CAST(json_extract_string({EXACT}, '{column}') AS JSON), to_json({column}))"
    return column
