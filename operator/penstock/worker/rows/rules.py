"""What makes a value good, as SQL and for Arrow: required, enum, minimum, maximum."""
# ruff: noqa: S608 - SQL is built here; every name and literal in it goes through engine.name and engine.text

from collections.abc import Iterator, Sequence
from dataclasses import replace
from functools import cache

import pyarrow as pa

from penstock.api.fields import SchemaField
from penstock.language.errors import InvalidSpec
from penstock.worker.rows import direct, engine, lossless
from penstock.worker.rows.shaped import Fault, ShapedField

_SHOWN, _LONGEST = 5, 20
"""How many allowed values a message lists, and how many characters of each."""


def faults(shaped: ShapedField) -> Iterator[Fault]:
    """The ways in which the field's value can break its rules. Raises InvalidSpec for a bound of another type."""
    field, value = shaped.field, shaped.value

    def broken(reason: str, condition: str, rule: str, with_value: bool = True) -> Fault:
        text = f"{engine.text(field.name + ': ')} || {shaped.shown} || {engine.text(' ' + rule)}"
        message = text if with_value else engine.text(f"{field.name}: {rule}")
        return Fault("quality", field.name, reason, condition, message, f"{field.name} {rule}")

    if field.required:
        computed = f" AND {shaped.expression} IS NOT NULL" if shaped.expression_sql else ""
        exact = f" AND {shaped.exact} IS NULL" if shaped.may_be_exact else ""
        missing = f"{shaped.source} IS NULL{computed}{exact}"
        yield broken("NoValue", missing, "has no value and is required", with_value=False)
    if field.enum is not None:
        allowed = lossless.one_of(f"CAST({value} AS VARCHAR)", [_text_of(field, entry, "enum") for entry in field.enum])
        yield broken("NotAllowed", f"NOT {allowed}", f"is not one of {_listed(field.enum)}")
    if field.minimum is not None:
        bound = _literal(field, field.minimum, "minimum")
        yield broken("BelowMinimum", f"{value} < {bound}", f"is below the minimum {field.minimum}")
    for character in shaped.forbidden:
        code = f"U+{ord(character):04X}"
        yield broken(
            "ForbiddenCharacter",
            f"contains({value}, chr({ord(character)}))",
            f"has the character {code}, which the Destination cannot hold",
            with_value=False,
        )
    if shaped.longest is not None:
        rule = f"is longer than {shaped.longest:,} bytes, which is what a primary key of the Destination can have"
        yield broken("KeyTooLong", f"strlen({value}) > {shaped.longest}", rule, with_value=False)
    if field.maximum is not None:
        bound = _literal(field, field.maximum, "maximum")
        yield broken("AboveMaximum", f"{value} > {bound}", f"is above the maximum {field.maximum}")


def _listed(values: Sequence[str]) -> str:
    """The first of the values, for a message."""
    shown = ", ".join(value if len(value) <= _LONGEST else f"{value[:_LONGEST]}…" for value in values[:_SHOWN])
    return shown if len(values) <= _SHOWN else f"{shown} and {len(values) - _SHOWN} more"


def with_rules(shaped: ShapedField) -> direct.Reading | None:
    """What reads the field directly, with its rules."""
    field, reading = shaped.field, shaped.direct
    if reading is None:
        return None
    enum = None if field.enum is None else pa.array([_scalar(field, entry, "enum").as_py() for entry in field.enum])
    return replace(
        reading,
        forbidden=shaped.forbidden,
        longest=shaped.longest,
        enum=None if enum is None else enum.cast(direct.arrow_type(field.type)),
        minimum=None if field.minimum is None else _scalar(field, field.minimum, "minimum"),
        maximum=None if field.maximum is None else _scalar(field, field.maximum, "maximum"),
    )


def _scalar(field: SchemaField, written: str, rule: str) -> pa.Scalar:
    return pa.scalar(_text_of(field, written, rule)).cast(direct.arrow_type(field.type))


def _literal(field: SchemaField, written: str, rule: str) -> str:
    """The written value as SQL of the field's type."""
    return f"CAST({engine.text(_text_of(field, written, rule))} AS {lossless.sql_type(field.type)})"


def _text_of(field: SchemaField, written: str, rule: str) -> str:
    value = _value(field.type, written)
    if value is None:
        raise InvalidSpec(f'field {field.name}: {rule} "{written}" is not a {field.type}.')
    return value


@cache
def _value(kind: str, written: str) -> str | None:
    """What is written as a value of that type, as DuckDB writes it; None if it is none."""
    cast = lossless.from_text(kind, "x", "t")
    with engine.small() as connection:
        row = connection.execute(
            f"SELECT CAST({cast.accept} AS VARCHAR) FROM (SELECT x, {cast.attempt} AS t FROM (SELECT ? AS x))",
            [written],
        ).fetchone()
    return None if row is None or row[0] is None else str(row[0])
