# ruff: noqa: S608 - SQL is built here; every name and literal in it goes through engine.name and engine.text
"""What DuckDB is asked about rows, as SQL: which are bad, why, and what they were.

Fields are asked about in groups, because what a column costs grows with the columns of a question: 2,000 columns make
forty questions, and most of these need not be asked.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import pyarrow as pa

from penstock.worker.ports.chunks import MASK
from penstock.worker.rows import direct, engine, lossless, portions, rules, shape
from penstock.worker.rows.shape import EXACT, Fault, Shape, ShapedField

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

    verdicts: tuple[Question, ...]
    """Each yields `bad`, and the values of those of its fields that are not always read directly."""
    reasons: tuple[Question, ...]
    """Each yields stage, field, reason, kind and error; nulls and "" where the row is good as far as it goes."""
    both: Question | None
    """The verdict and the reasons at once, where there is one of each: each answer takes 8 ms, whatever the rows."""
    payload: Question | None
    """Yields the row as it was read."""
    readings: tuple[direct.Reading | None, ...]
    types: tuple[pa.DataType, ...]
    has_exact: bool
    """Whether the questions need the column EXACT beside the chunk's own."""
    hidden: frozenset[str]
    """The columns whose values are sensitive. A line that cannot be read may hold one, and is not shown then."""

    @property
    def rows_at_once(self) -> int | None:
        """How many rows surely fit into memory, where expressions may make much text of them; None for any number."""
        return portions.rows_at_once(sum(field.texts for question in self.verdicts for field in question.fields))

    @property
    def share(self) -> float:
        """Bytes that such expressions together may make for each byte of a row."""
        return sum(field.share for question in self.verdicts for field in question.fields)

    @property
    def masked(self) -> bool:
        """Whether any value is sensitive."""
        return bool(self.hidden)


def questions(shaped: Shape) -> Questions:
    """Compile the shape and its rules. Raises InvalidSpec for a bound or value that is not of its field's type."""
    fields = shaped.fields
    groups = [
        *_groups([each for each in fields if each.direct]),
        *_groups([each for each in fields if not each.direct]),
    ]
    return Questions(
        verdicts=tuple(_verdict(f"verdict_{number}", group) for number, group in enumerate(groups)),
        reasons=tuple(_reasons(f"reasons_{number}", group) for number, group in enumerate(_groups(fields))),
        both=_both("bad_and_why", groups[0]) if len(groups) == 1 else None,
        payload=_payload(shaped),
        readings=tuple(rules.with_rules(field) for field in fields),
        types=tuple(direct.arrow_type(field.field.type) for field in fields),
        has_exact=any(field.may_be_exact for field in fields),
        hidden=shaped.sensitive,
    )


def is_always_direct(field: ShapedField) -> bool:
    """Whether all of its values are read directly; a verdict yields those of all other fields."""
    return field.direct is not None and field.direct.always


def _groups(fields: Sequence[ShapedField]) -> list[tuple[ShapedField, ...]]:
    return [tuple(fields[start : start + _TOGETHER]) for start in range(0, len(fields), _TOGETHER)]


def _question(table: str, fields: tuple[ShapedField, ...], selected: str) -> Question:
    columns = dict.fromkeys(column for field in fields for column in field.chunk_columns)
    exact = [EXACT] if any(field.may_be_exact for field in fields) else []
    return Question(table, (*columns, *exact), fields, f"SELECT {selected} FROM {shape.relation(fields, table)}")


def _verdict(table: str, fields: tuple[ShapedField, ...]) -> Question:
    return _question(table, fields, _bad_and_values(fields))


def _both(table: str, fields: tuple[ShapedField, ...]) -> Question:
    return _question(table, fields, f"{_bad_and_values(fields)}, {_why(fields)}")


def _bad_and_values(fields: tuple[ShapedField, ...]) -> str:
    bad = " OR ".join(f"({fault.condition})" for fault in _faults(fields)) or "false"
    values = "".join(f", {field.value}" for field in fields if not is_always_direct(field))
    return f"coalesce({bad}, false) AS bad{values}"


def _faults(fields: Iterable[ShapedField]) -> list[Fault]:
    """What can be wrong, in the order of the fields."""
    return [fault for field in fields for fault in (*shape.faults(field), *rules.faults(field))]


def _reasons(table: str, fields: tuple[ShapedField, ...]) -> Question:
    return _question(table, fields, _why(fields))


def _why(fields: tuple[ShapedField, ...]) -> str:
    faults = _faults(fields)

    def first(part: str) -> str:
        whens = " ".join(f"WHEN {fault.condition} THEN {engine.text(getattr(fault, part))}" for fault in faults)
        return f"CASE {whens} END AS {part}"

    every = ", ".join(f"CASE WHEN {fault.condition} THEN {fault.message} END" for fault in faults)
    parts = ", ".join(first(part) for part in ("stage", "field", "reason", "kind"))
    return f"{parts}, concat_ws('; ', {every}) AS error"


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
    return column
