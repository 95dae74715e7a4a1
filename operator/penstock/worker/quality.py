# ruff: noqa: S608 - SQL is built here; every name and literal in it goes through engine.name and engine.text
"""What makes a row good: rules over shaped values, and the two questions that a chunk is asked.

`verdict` gives every row's values and whether the row is bad; `reasons` tells of bad rows why, with what to keep.
"""

from dataclasses import dataclass

import duckdb

from penstock.api.errors import InvalidSpec
from penstock.worker import engine, lossless
from penstock.worker.shape import Fault, Shape, ShapedField

MASK = "***"


@dataclass(frozen=True)
class Questions:
    """SQL over the table `chunk`, whose rows answer in its order.

    `verdict` yields v0, v1, … and `bad`; `reasons` yields stage, field, error, payload and kind.
    """

    verdict: str
    reasons: str
    masked: bool
    """Whether a line that cannot be read may hold a sensitive value, and is not to be shown."""


def questions(shape: Shape) -> Questions:
    """Compile the shape and its rules. Raises InvalidSpec for a bound or value that is not of its field's type."""
    faults = [fault for group in (shape.faults, _rules(shape)) for fault in group]
    faults.sort(key=lambda fault: [field.field.name for field in shape.fields].index(fault.field))
    values = ", ".join(field.value for field in shape.fields)
    bad = " OR ".join(f"({fault.condition})" for fault in faults)
    return Questions(
        verdict=f"SELECT {values}, coalesce({bad}, false) AS bad FROM {shape.relation}",
        reasons=f"SELECT {_told(faults)}, {_payload(shape)} AS payload FROM {shape.relation}",
        masked=bool(shape.sensitive),
    )


def _told(faults: list[Fault]) -> str:
    def first(said: str) -> str:
        whens = " ".join(f"WHEN {fault.condition} THEN {engine.text(getattr(fault, said))}" for fault in faults)
        return f"CASE {whens} END AS {said}"

    every = ", ".join(f"CASE WHEN {fault.condition} THEN {fault.message} END" for fault in faults)
    return f"{first('stage')}, {first('field')}, {first('kind')}, concat_ws('; ', {every}) AS error"


def _payload(shape: Shape) -> str:
    """The row as it was read, as JSON: column to text; sensitive columns masked."""
    if shape.open and not shape.sensitive:
        return "line"
    if shape.open:
        hidden = ", ".join(f"{engine.text(name)}: {engine.text(MASK)}" for name in sorted(shape.sensitive))
        return f"CAST(json_merge_patch(line, CAST(MAP {{{hidden}}} AS JSON)) AS VARCHAR)"
    pairs = [
        f"{engine.text(name)}, " + (engine.text(MASK) if name in shape.sensitive else f"c{index}")
        for index, name in enumerate(shape.columns)
    ]
    return f"CAST(json_object({', '.join(pairs)}) AS VARCHAR)"


def _rules(shape: Shape) -> list[Fault]:
    return [fault for field in shape.fields for fault in _rules_of(field)]


def _rules_of(shaped: ShapedField) -> list[Fault]:
    field, value = shaped.field, shaped.value
    faults: list[Fault] = []

    def rule(condition: str, broken: str, value_told: bool = True) -> None:
        told = f"{engine.text(field.name + ': ')} || {shaped.shown} || {engine.text(' ' + broken)}"
        message = told if value_told else engine.text(f"{field.name}: {broken}")
        faults.append(Fault("quality", field.name, condition, message, f"{field.name} {broken}"))

    if field.required:
        computed = f" AND e{shaped.number} IS NOT NULL" if shaped.expression else ""
        rule(f"s{shaped.number} IS NULL{computed}", "has no value and is required", value_told=False)
    if field.enum is not None:
        listed = ", ".join(_literal(shaped, entry, "enum") for entry in field.enum)
        rule(f"{value} NOT IN ({listed})", "is not one of the allowed values")
    if field.minimum is not None:
        rule(f"{value} < {_literal(shaped, field.minimum, 'minimum')}", f"is below the minimum {field.minimum}")
    if field.maximum is not None:
        rule(f"{value} > {_literal(shaped, field.maximum, 'maximum')}", f"is above the maximum {field.maximum}")
    return faults


def _literal(shaped: ShapedField, written: str, of: str) -> str:
    """The written value as SQL of the field's type."""
    field, target = shaped.field, lossless.sql_type(shaped.field.type)
    cast = lossless.from_text(field.type, "x", "t")
    with duckdb.connect(":memory:", config={"enable_external_access": "false"}) as connection:
        connection.execute("SET TimeZone = 'UTC'")
        row = connection.execute(
            f"SELECT CAST({cast.accept} AS VARCHAR) FROM (SELECT x, {cast.attempt} AS t FROM (SELECT ? AS x))",
            [written],
        ).fetchone()
    if row is None or row[0] is None:
        raise InvalidSpec(f'field {field.name}: {of} "{written}" is not a {field.type}.')
    return f"CAST({engine.text(str(row[0]))} AS {target})"
