"""Casts that never change a value: what does not fit exactly is refused, row by row.

DuckDB's own TRY_CAST rounds '3.7' to 4, reads '1e400' as infinity and drops the offset of a timestamp. Here every cast
is an attempt and an acceptance: the attempt is TRY_CAST, the acceptance compares it with what was written. The matrix
of what is accepted is tests/worker/test_matrix.py.

Most cells are written plainly. Those are read by Arrow, whose casts are strict and several times as fast (`plainly`);
DuckDB is asked about the others.
"""

import re
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime

import pyarrow as pa
import pyarrow.compute as pc

from penstock.language import literals
from penstock.worker.rows import engine

_INTEGERS = ("TINYINT", "SMALLINT", "INTEGER", "BIGINT", "HUGEINT", "UTINYINT", "USMALLINT", "UINTEGER", "UBIGINT")
_FLOATS = ("FLOAT", "DOUBLE")
_TIMESTAMPS = ("TIMESTAMP", "TIMESTAMP_S", "TIMESTAMP_MS", "TIMESTAMP_NS")
_SQL = {
    "string": "VARCHAR",
    "boolean": "BOOLEAN",
    "int": "INTEGER",
    "long": "BIGINT",
    "double": "DOUBLE",
    "date": "DATE",
    "timestamp": "TIMESTAMP",
    "timestamptz": "TIMESTAMPTZ",
}

_TRUE = ("true", "True", "TRUE", "t", "T", "yes", "Yes", "YES", "y", "Y", "1")
_FALSE = ("false", "False", "FALSE", "f", "F", "no", "No", "NO", "n", "N", "0")
_INTEGER = r"\s*[+-]?\d+(\.0*)?\s*"
_WHOLE = r"\s*[+-]?\d+\s*"
_MANTISSA, _POWER = r"\s*[+-]?(\d+(\.\d*)?|\.\d+)", r"[eE][+-]?\d+"
_NUMBER, _EXPONENT = rf"{_MANTISSA}({_POWER})?\s*", rf"{_MANTISSA}{_POWER}\s*"
_ZERO = r"\s*[+-]?[0.]+([eE][+-]?\d+)?\s*"
_DATE = r"\d{4}-\d{2}-\d{2}"
_CLOCK = r"([01]\d|2[0-3]):\d{2}(:\d{2}(\.\d{1,6}0*)?)?"
_OFFSET = r" ?(Z|[+-]\d{2}(:?\d{2})?)"
_EXACT_IN_DOUBLE = 1 << 53
_YEARS = {
    "DATE": "BETWEEN DATE '0001-01-01' AND DATE '9999-12-31'",
    "TIMESTAMP": "BETWEEN TIMESTAMP '0001-01-01' AND TIMESTAMP '9999-12-31 23:59:59.999999'",
    "TIMESTAMPTZ": "BETWEEN TIMESTAMPTZ '0001-01-01 00:00:00+00' AND TIMESTAMPTZ '9999-12-31 23:59:59.999999+00'",
}
"""The years of ISO 8601. They leave out the infinities and what lies before Christ, for which DuckDB has words."""


@dataclass(frozen=True)
class Cast:
    """Two SQL expressions: `attempt` over the source value, `accept` over both; NULL where the value does not fit."""

    attempt: str
    accept: str

    def unless(self, known: str) -> "Cast":
        """The same, not computed where the column `known` has the value already."""
        attempt = f"CASE WHEN {known} IS NULL THEN {self.attempt} END"
        return Cast(attempt, f"CASE WHEN {known} IS NOT NULL THEN {known} ELSE {self.accept} END")


def sql_type(kind: str) -> str:
    """DuckDB's name for a type of the language."""
    return _SQL.get(kind) or kind.upper()


def from_text(kind: str, x: str, t: str, formats: Sequence[str] = ()) -> Cast:  # noqa: PLR0911 - one case a type
    """Read the text `x` as `kind`; `t` names the attempt's column."""
    target = sql_type(kind)
    if formats:
        return _formatted(target, x, t, formats)
    attempt = f"TRY_CAST({x} AS {target})"
    match target:
        case "VARCHAR":
            return Cast(x, t)
        case "BOOLEAN":
            return Cast(f"CASE WHEN {x} IN {_list(_TRUE)} THEN true WHEN {x} IN {_list(_FALSE)} THEN false END", t)
        case "INTEGER" | "BIGINT":
            return Cast(attempt, _canonical_or(t, x, _full(x, _INTEGER)))
        case "DOUBLE":
            return Cast(attempt, _double(x, t))
        case "DATE":
            return Cast(attempt, f"CASE WHEN {t} {_YEARS[target]} AND CAST({t} AS VARCHAR) = {x} THEN {t} END")
        case "TIMESTAMP":
            accept = _canonical_or(t, x, _full(x, f"{_DATE}([T ]{_CLOCK})?"))
            return Cast(attempt, f"CASE WHEN {t} {_YEARS[target]} THEN {accept} END")
        case "TIMESTAMPTZ":
            fits = _full(x, f"{_DATE}[T ]{_CLOCK}{_OFFSET}")
            return Cast(attempt, f"CASE WHEN {t} {_YEARS[target]} AND {fits} THEN {t} END")
    fits, shifted = _decimal(target), _shifted(x)
    exponent = _full(x, _EXPONENT)
    attempt = f"TRY_CAST(CASE WHEN {exponent} THEN {shifted} ELSE {x} END AS {target})"
    return Cast(attempt, _canonical_or(t, x, f"{_full(x, fits)} OR ({exponent} AND {_full(shifted, fits)})"))


_PLAIN = {
    "int": pa.int32(),
    "long": pa.int64(),
    "double": pa.float64(),
    "boolean": pa.bool_(),
    "date": pa.date32(),
    "timestamp": pa.timestamp("us"),
}
_DIGITS = {"int": 9, "long": 18}
"""So many digits always fit."""
_LENGTHS = {"date": len("2013-01-05"), "timestamp": len("2013-01-05 10:20:30")}
_PLAIN_DOUBLE = r"^-?[0-9]{1,15}(\.[0-9]{1,15})?$"
"""Fewer than 2^53 where it is whole, and never run to zero."""


def plain(kind: str) -> bool:
    """Whether `plainly` reads the type."""
    return kind in _PLAIN or kind.startswith("decimal")


def plainly(kind: str, written: pa.Array) -> pa.Array:
    """The values of plainly written cells, those that are certain; null says nothing.

    Certain are: digits alone, few enough to fit; numbers with at most as many digits as the type has, on either side
    of the point; the words for true and false; dates and times of their usual length, which Arrow reads strictly: it
    refuses offsets, days that do not exist and hours past 23.
    """
    if kind == "boolean":
        found = pc.index_in(written, pa.array([*_TRUE, *_FALSE]), skip_nulls=True)
        return pc.less(found, len(_TRUE))
    target = _PLAIN.get(kind) or pa.decimal128(*digits(kind))
    try:
        values = pc.cast(pc.if_else(_plain_cells(kind, written), written, None), target)
    except pa.ArrowInvalid:  # a cell of that length is no date: all are left to DuckDB
        return pa.nulls(len(written), target)
    if kind in _LENGTHS:  # Arrow knows a year 0
        return pc.if_else(pc.greater_equal(values, pa.scalar(datetime(1, 1, 1)).cast(target)), values, None)
    return values


def _plain_cells(kind: str, written: pa.Array) -> pa.Array:
    if kind in _DIGITS:
        return pc.and_(pc.ascii_is_decimal(written), pc.less_equal(pc.binary_length(written), _DIGITS[kind]))
    if kind in _LENGTHS:
        return pc.equal(pc.binary_length(written), _LENGTHS[kind])
    if kind == "double":
        return pc.match_substring_regex(written, _PLAIN_DOUBLE)
    precision, scale = digits(kind)
    whole = rf"[0-9]{{1,{precision - scale}}}" if precision > scale else "0"
    fraction = rf"(\.[0-9]{{1,{scale}}})?" if scale else ""
    return pc.match_substring_regex(written, f"^-?{whole}{fraction}$")


def digits(decimal: str) -> tuple[int, int]:
    """The precision and scale of `decimal(precision,scale)`."""
    precision, scale = (int(number) for number in re.findall(r"\d+", decimal))
    return precision, scale


def from_type(source: str, kind: str, x: str, t: str) -> Cast | None:  # noqa: PLR0911 - one case a pair
    """Read `x`, of DuckDB's type `source`, as `kind`; None where no value of that type can be one."""
    target, given = sql_type(kind), "DECIMAL" if source.startswith("DECIMAL") else source
    aimed = "DECIMAL" if target.startswith("DECIMAL") else target
    attempt = f"TRY_CAST({x} AS {target})"
    if given == target:
        return Cast(x, t)
    exact = f"CASE WHEN TRY_CAST({t} AS {source}) = {x} THEN {t} END"
    numeric = (*_INTEGERS, *_FLOATS, "DECIMAL")
    match given, aimed:
        case _, "VARCHAR" if given in (*numeric, *_TIMESTAMPS, "BOOLEAN", "DATE", "TIMESTAMP WITH TIME ZONE", "UUID"):
            return Cast(attempt, t)
        case "FLOAT" | "DECIMAL", "DOUBLE":
            return Cast(attempt, t)
        case _, "INTEGER" | "BIGINT" | "DOUBLE" | "DECIMAL" if given in numeric:
            return Cast(attempt, exact)
        case "DATE", "TIMESTAMP":
            return Cast(attempt, t)
        case _, "DATE" | "TIMESTAMP" if given in _TIMESTAMPS:
            return Cast(attempt, exact)
        case "TIMESTAMP WITH TIME ZONE", "TIMESTAMPTZ":
            return Cast(x, t)
        case "TIMESTAMPTZ_NS", "TIMESTAMPTZ":
            return Cast(attempt, exact)
    return None


def guarded(target: str, x: str) -> str:
    """A cast of the text `x` inside an expression: exact, or an error that the TRY around the expression sees."""
    kinds = {sql: kind for kind, sql in _SQL.items()}
    kind = kinds.get(target) or target.lower()
    cast = from_text(kind, x, from_text(kind, x, "").attempt)
    return f"coalesce({cast.accept}, CAST('not ' || {x} AS {target}))"


def _double(x: str, t: str) -> str:
    """Finite, not run to zero, and a whole number only where a double holds it exactly."""
    exact = f"TRY_CAST({t} AS HUGEINT) = TRY_CAST({x} AS HUGEINT)"
    whole = f"abs({t}) < {_EXACT_IN_DOUBLE} OR NOT {_full(x, _WHOLE)} OR {exact}"
    nothing = f"{t} <> 0 OR {_full(x, _ZERO)}"
    return f"CASE WHEN isfinite({t}) AND {_full(x, _NUMBER)} AND ({nothing}) AND ({whole}) THEN {t} END"


def _decimal(target: str) -> str:
    scale = int((re.findall(r"\d+", target) or ["0", "0"])[-1])
    fraction = rf"\d{{0,{scale}}}0*"
    return rf"\s*[+-]?(\d+(\.{fraction})?|\.{fraction})\s*"


def _shifted(x: str) -> str:
    """A number such as 12.50e-3 without its exponent, which DuckDB's own cast lets exceed a decimal's precision."""
    sign = f"regexp_extract({x}, '^\\s*(-?)', 1)"
    written = f"replace(regexp_extract({x}, '[0-9.]+'), '.', '')"
    behind = f"length(regexp_extract({x}, '\\.([0-9]*)', 1))"
    exponent = f"TRY_CAST(regexp_extract({x}, '[eE]([+-]?[0-9]+)', 1) AS INTEGER)"
    zeros = f"repeat('0', {literals.EXPONENTS})"
    # so many zeros on either side that the point's new place is always among the digits
    point = f"{literals.EXPONENTS} + length({written}) - {behind} + {exponent}"
    digits_ = f"{zeros} || {written} || {zeros}"
    within = f"abs({exponent}) < {literals.EXPONENTS}"
    return f"CASE WHEN {within} THEN {sign} || left({digits_}, {point}) || '.' || substr({digits_}, {point} + 1) END"


def _formatted(target: str, x: str, t: str, formats: Sequence[str]) -> Cast:
    attempt = f"try_strptime({x}, [{', '.join(engine.text(entry) for entry in formats)}])"
    value = f"CAST({t} AS {target})"
    exact = f" AND CAST({value} AS TIMESTAMP) = {t}" if target == "DATE" else ""
    return Cast(attempt, f"CASE WHEN {value} {_YEARS[target]}{exact} THEN {value} END")


def _canonical_or(t: str, x: str, otherwise: str) -> str:
    """Accept what prints as it was written, which is cheap; ask the regular expression only about the rest."""
    return f"CASE WHEN CAST({t} AS VARCHAR) = {x} THEN {t} WHEN {otherwise} THEN {t} END"


def _full(x: str, pattern: str) -> str:
    return f"regexp_full_match({x}, {engine.text(pattern)})"


def _list(values: Sequence[str]) -> str:
    return f"({', '.join(engine.text(value) for value in values)})"
