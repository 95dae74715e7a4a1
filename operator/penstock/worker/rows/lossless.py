"""Casts that never change a value: what does not fit exactly is refused, row by row.

DuckDB's own TRY_CAST rounds '3.7' to 4, reads '1e400' as infinity and drops the offset of a timestamp. Here every cast
is an attempt and an acceptance: the attempt is TRY_CAST, the acceptance compares it with what was written. The matrix
of what is accepted is tests/worker/test_matrix.py.

A double takes a number when the double, written with as many digits, is that number; zeros at the end of a fraction do
not count. So 0.1 and 0.10000000000000001 are 0.1, and neither 9007199254740993 nor 9007199254740993.0 is a double. A
double becomes a decimal by the fewest digits that stand for it: 0.1 is 0.1.
"""

import re
from collections.abc import Sequence
from dataclasses import dataclass

from penstock.language import literals
from penstock.worker.ports.chunks import PLAIN_NUMBERS, NumberFormat
from penstock.worker.rows import engine, patterns, zones
from penstock.worker.rows.casts import Cast

INTEGERS = ("TINYINT", "SMALLINT", "INTEGER", "BIGINT", "HUGEINT", "UTINYINT", "USMALLINT", "UINTEGER", "UBIGINT")
_FLOATS = ("FLOAT", "DOUBLE")
_TIMESTAMPS = ("TIMESTAMP", "TIMESTAMP_S", "TIMESTAMP_MS", "TIMESTAMP_NS")
_ZONED = ("TIMESTAMP WITH TIME ZONE", "TIMESTAMPTZ", "TIMESTAMPTZ_NS")
MOMENTS = ("DATE", *_TIMESTAMPS, *_ZONED)
"""Source types of days and times."""
_AS_TEXT = ("VARCHAR", "UUID", "TIME", "BLOB")
"""Source types whose values come as text."""
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

TRUE = ("true", "True", "TRUE", "t", "T", "yes", "Yes", "YES", "y", "Y", "1")
FALSE = ("false", "False", "FALSE", "f", "F", "no", "No", "NO", "n", "N", "0")
WHITE_SPACE = "".join(
    chr(code)
    for code in (*range(9, 14), 32, 0x85, 0xA0, 0x1680, *range(0x2000, 0x200B), 0x2028, 0x2029, 0x202F, 0x205F, 0x3000)
)
"""The characters that Unicode has as white space."""
_INTEGER = r"\s*[+-]?\d+(\.0*)?\s*"
_MANTISSA, _POWER = r"\s*[+-]?(\d+(\.\d*)?|\.\d+)", r"[eE][+-]?\d+"
_NUMBER, _EXPONENT = rf"{_MANTISSA}({_POWER})?\s*", rf"{_MANTISSA}{_POWER}\s*"
_ZERO = r"\s*[+-]?[0.]+([eE][+-]?\d+)?\s*"
_DATE = r"\d{4}-\d{2}-\d{2}"
_CLOCK = r"([01]\d|2[0-3]):\d{2}(:\d{2}(\.\d{1,6}0*)?)?"
_OFFSET = r" ?(Z|[+-]([01]\d|2[0-3])(:?[0-5]\d)?)"
_DIGITS_KEPT = 15
"""Digits that any double gives back."""
_DIGITS_EVER = 767
"""Digits of the longest exact double."""
_DIGITS_OF_DECIMALS = 38
"""Digits of DuckDB's widest decimal."""


@dataclass(frozen=True)
class Texts:
    """How texts write dates and times (`formats` and the zone of those without an offset), and true and false."""

    formats: tuple[str, ...] = ()
    zone: str | None = None
    true: tuple[str, ...] = TRUE
    false: tuple[str, ...] = FALSE
    rounding: bool = False
    """Whether numbers are rounded to what the type holds, a half away from zero."""


AS_USUAL = Texts()


def sql_type(kind: str) -> str:
    """DuckDB's name for a type of the language."""
    return _SQL.get(kind) or kind.upper()


def digits(decimal: str) -> tuple[int, int]:
    """The precision and scale of `decimal(precision,scale)`."""
    precision, scale = (int(number) for number in re.findall(r"\d+", decimal))
    return precision, scale


def comes_as_text(source: str) -> bool:
    """Whether values of the source type are text in a chunk: also what DuckDB has no type for."""
    wide = source.startswith("DECIMAL") and digits(source)[0] > _DIGITS_OF_DECIMALS
    return source in _AS_TEXT or wide


def from_text(kind: str, x: str, t: str, texts: Texts = AS_USUAL) -> Cast:  # noqa: PLR0911 - one case a type
    """Read the text `x` as `kind`; `t` names the attempt's column."""
    target = sql_type(kind)
    if (cast := _by_settings(target, x, t, texts)) is not None:
        return cast
    attempt = f"TRY_CAST({x} AS {target})"
    match target:
        case "VARCHAR":
            return Cast(x, t)
        case "BOOLEAN":
            true, false = _list(texts.true), _list(texts.false)
            return Cast(f"CASE WHEN {x} IN {true} THEN true WHEN {x} IN {false} THEN false END", t)
        case "INTEGER" | "BIGINT":
            return Cast(attempt, _canonical_or(t, x, _full(x, _INTEGER)))
        case "DOUBLE":
            return Cast(attempt, _double(x, t))
        case "DATE":
            accept = f"CASE WHEN {patterns.in_years(target, t)} AND CAST({t} AS VARCHAR) = {x} THEN {t} END"
            return Cast(attempt, accept)
        case "TIMESTAMP":
            accept = _canonical_or(t, x, _full(x, f"{_DATE}([T ]{_CLOCK})?"))
            return Cast(attempt, f"CASE WHEN {patterns.in_years(target, t)} THEN {accept} END")
        case "TIMESTAMPTZ":
            fits = _full(x, f"{_DATE}[T ]{_CLOCK}{_OFFSET}")
            return Cast(attempt, f"CASE WHEN {patterns.in_years(target, t)} AND {fits} THEN {t} END")
    return _decimal(target, x, t)


def _by_settings(target: str, x: str, t: str, texts: Texts) -> Cast | None:
    """The cast where settings say how texts of the type are read; None where they do not."""
    if texts.zone is not None and target == "TIMESTAMPTZ":
        return zones.from_text(x, t, texts.zone, texts.formats)
    if texts.formats:
        return _formatted(target, x, t, texts.formats)
    return _rounded(target, x, t) if texts.rounding and is_number(target) else None


def plain_number(x: str, numbers: NumberFormat) -> str:
    """SQL for the text `x`, which writes a number in that format, as Python and SQL write it; NULL where it does not.

    Groups have three digits each: `1.5` is no number where the point stands between thousands. With `or_plain`, a
    number that is written plainly is read, too; one that would be another number by the format is NULL.
    """
    if numbers.decimal == PLAIN_NUMBERS.decimal and numbers.thousands == PLAIN_NUMBERS.thousands:
        return x
    point, comma = re.escape(numbers.decimal), re.escape(numbers.thousands)
    digits_ = r"\d+" if not comma else rf"(\d+|\d{{1,3}}({comma}\d{{3}})+)"
    written = rf"\s*[+-]?({digits_}({point}\d*)?|{point}\d+)([eE][+-]?\d+)?\s*"
    plain = f"replace(trim({x}), {engine.text(numbers.thousands)}, '')" if comma else x
    by_format = f"WHEN {_full(x, written)} THEN replace({plain}, {engine.text(numbers.decimal)}, '.') END"
    if not numbers.or_plain:
        return f"CASE {by_format}"
    either = f"{_full(x, written)} AND contains({x}, '.')" if numbers.thousands == "." else "false"
    return f"CASE WHEN {_full(x, _NUMBER)} THEN CASE WHEN NOT ({either}) THEN {x} END {by_format}"


def is_number(kind: str) -> bool:
    """Whether a type of the language, or DuckDB's name of one, is a number's."""
    return kind.lower().partition("(")[0] in ("int", "long", "integer", "bigint", "double", "decimal")


def from_type(  # noqa: PLR0911 - one case a pair
    source: str, kind: str, x: str, t: str, *, rounding: bool = False
) -> Cast | None:
    """Read `x`, of the source type `source`, as `kind`; None where no value of that type can be one."""
    target, given = sql_type(kind), "DECIMAL" if source.startswith("DECIMAL") else source
    aimed = "DECIMAL" if target.startswith("DECIMAL") else target
    if given in _TIMESTAMPS or given in _ZONED or given == "DATE":
        return _from_moment(given, target, x, t)
    text = as_text(source, x)
    numeric = (*INTEGERS, *_FLOATS, "DECIMAL")
    if rounding and given in (*_FLOATS, "DECIMAL") and is_number(kind) and (given, aimed) != ("DOUBLE", "DOUBLE"):
        return _rounded(target, text, t)
    exact = Cast(f"TRY_CAST({x} AS {target})", f"CASE WHEN TRY_CAST({t} AS {source}) = {x} THEN {t} END")
    match given, aimed:
        case _, "VARCHAR" if given in (*numeric, *_AS_TEXT, "BOOLEAN"):
            return Cast(text, t)
        case ("DOUBLE", "DOUBLE") | ("BOOLEAN", "BOOLEAN"):
            return Cast(x, t)
        case "FLOAT", "DOUBLE":
            return Cast(f"CAST({x} AS DOUBLE)", t)
        case _, "DECIMAL" | "DOUBLE" if given in (*_FLOATS, "DECIMAL"):
            return from_text(kind, text, t)
        case "DECIMAL", "INTEGER" | "BIGINT" if comes_as_text(source):
            return from_text(kind, text, t)
        case _, "INTEGER" | "BIGINT" | "DOUBLE" | "DECIMAL" if given in numeric:
            return exact
    return None


def _from_moment(given: str, target: str, x: str, t: str) -> Cast | None:
    """From dates and times: within the years of ISO 8601, and never from one with a zone to one without or back."""
    zoned = given in _ZONED
    if target == "VARCHAR":
        return Cast(as_text(given, x), t)
    if target not in (("TIMESTAMPTZ",) if zoned else ("DATE", "TIMESTAMP")):
        return None
    back = f"TRY_CAST({t} AS {given}) = {x}"
    accept = f"CASE WHEN {patterns.in_years(target, t)} AND {back} THEN {t} END"
    return Cast(f"TRY_CAST({x} AS {target})", accept)


def as_text(source: str, x: str) -> str:
    """SQL for a value of the source type as text; NULL for a day or time outside the years 1 to 9999."""
    if source not in MOMENTS:
        return x if comes_as_text(source) else f"CAST({x} AS VARCHAR)"
    plain = "TIMESTAMPTZ" if source in _ZONED else "DATE" if source == "DATE" else "TIMESTAMP"
    return f"CASE WHEN {patterns.in_years(plain, f'CAST({x} AS {plain})')} THEN CAST({x} AS VARCHAR) END"


def trimmed(x: str) -> str:
    """SQL for the text `x` without `WHITE_SPACE` at both ends."""
    return f"trim({x}, {engine.text(WHITE_SPACE)})"


def one_of(text: str, values: Sequence[str]) -> str:
    """An SQL condition: whether the text is one of these; NULL where there is none.

    One search in all of them, each between two marks that occur in none: IN over many values becomes a join, and eighty
    joins, or lists made anew for each row, are more than memory holds.
    """
    mark = next(chr(code) for code in range(1, 0x10000) if not any(chr(code) in value for value in values))
    listed = engine.text(mark + "".join(f"{value}{mark}" for value in values))
    quoted = engine.text(mark)
    return f"(NOT contains({text}, {quoted}) AND contains({listed}, {quoted} || {text} || {quoted}))"


def guarded(target: str, x: str, numbers: NumberFormat = PLAIN_NUMBERS, *, try_: bool = False) -> str:
    """A cast of the text `x` inside an expression: exact, else an error that the TRY around the expression sees.

    With `try_` it is NULL instead. `x` is written several times: it should be short. `numbers` is how it writes them.
    """
    plain = plain_number(x, numbers) if is_number(target) else x
    return _or_fail(_text_inside(target, plain), target, x, try_=try_)


def computed(source: str, target: str, x: str, *, try_: bool = False) -> str | None:
    """The same of `x`, computed from other things and of the type `source`; None where no value of it can be one.

    A list of one entry binds `x`, so that it is computed once.
    """
    if source in ('"NULL"', "NULL"):
        return f"CAST({x} AS {target})"
    cast = _inside(source, target, "w.x")
    if cast is None:
        return None
    return f"list_transform([struct_pack(x := {x})], lambda w: {_or_fail(cast, target, 'w.x', try_=try_)})[1]"


def _inside(source: str, target: str, x: str) -> Cast | None:
    """The cast of an expression's part, its attempt written out in what accepts it."""
    if source == "VARCHAR":
        return _text_inside(target, x)
    if source == "INTERVAL" and target == "VARCHAR":
        return Cast("", f"CAST({x} AS VARCHAR)")
    if (source == "BOOLEAN") != (target == "BOOLEAN") and target != "VARCHAR" and source not in MOMENTS:
        if target in MOMENTS:
            return None
        attempt = f"TRY_CAST({x} AS {target})"  # true is 1, and 1 is true
        return Cast(attempt, f"CASE WHEN TRY_CAST({attempt} AS {source}) = {x} THEN {attempt} END")
    kind = _kind(target)
    cast = from_type(source, kind, x, "")
    return None if cast is None else from_type(source, kind, x, f"({cast.attempt})")


def _text_inside(target: str, x: str) -> Cast:
    return from_text(_kind(target), x, f"({from_text(_kind(target), x, '').attempt})")


def _kind(target: str) -> str:
    """The language's name for a type of DuckDB."""
    kinds = {sql: kind for kind, sql in _SQL.items()}
    return kinds.get(target) or target.lower()


def _or_fail(cast: Cast, target: str, x: str, *, try_: bool) -> str:
    if try_:
        return cast.accept
    text = f"'not ' || CAST({x} AS VARCHAR)"
    fail = f"CAST(CAST({text} AS INTEGER) AS VARCHAR)" if target == "VARCHAR" else f"CAST({text} AS {target})"
    return f"coalesce({cast.accept}, {fail})"


def _double(x: str, t: str) -> str:
    """Finite, not run to zero, and with the digits that were written."""
    mantissa = f"regexp_extract({x}, '[0-9.]+')"
    counted = f"CASE WHEN contains({mantissa}, '.') THEN rtrim({mantissa}, '0') ELSE {mantissa} END"
    written = f"ltrim(replace({counted}, '.', ''), '0')"
    few = f"length({written}) <= {_DIGITS_KEPT}"
    places = f"least(length({written}), {_DIGITS_EVER}) - 1"
    again = f"left(replace(format('{{:.' || {places} || 'e}}', abs({t})), '.', ''), length({written}))"
    nothing = f"{t} <> 0 OR {_full(x, _ZERO)}"
    number = f"isfinite({t}) AND {_full(x, _NUMBER)} AND ({nothing})"
    return f"CASE WHEN {number} THEN CASE WHEN {few} OR {again} = {written} THEN {t} END END"


def _decimal(target: str, x: str, t: str) -> Cast:
    scale = digits(target)[1]
    fraction = rf"\d{{0,{scale}}}0*"
    fits = rf"\s*[+-]?(\d+(\.{fraction})?|\.{fraction})\s*"
    exponent, shifted = _full(x, _EXPONENT), _shifted(x)
    attempt = f"TRY_CAST(CASE WHEN {exponent} THEN {shifted} ELSE {x} END AS {target})"
    return Cast(attempt, _canonical_or(t, x, f"{_full(x, fits)} OR ({exponent} AND {_full(shifted, fits)})"))


def _rounded(target: str, x: str, t: str) -> Cast:
    """A number with as many digits as the type holds. DuckDB rounds a half away from zero."""
    if target == "DOUBLE":
        return Cast(f"TRY_CAST({x} AS DOUBLE)", f"CASE WHEN isfinite({t}) AND {_full(x, _NUMBER)} THEN {t} END")
    whole = target in ("INTEGER", "BIGINT")
    wide = "DECIMAL(38,0)" if whole else target
    plain = f"CASE WHEN {_full(x, _EXPONENT)} THEN {_shifted(x)} ELSE {x} END"
    accept = f"CASE WHEN {_full(x, _NUMBER)} THEN {t} END"
    return Cast(f"TRY_CAST({plain} AS {wide})", f"TRY_CAST({accept} AS {target})" if whole else accept)


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
    """The first of the formats that reads the text, and writes it again as it is."""
    attempts = [patterns.parsed(x, written, target) for written in formats]
    attempt = f"coalesce({', '.join(attempts)})" if len(attempts) > 1 else attempts[0]
    value = f"CAST({t} AS {target})"
    exact = f" AND CAST({value} AS TIMESTAMP) = {t}" if target == "DATE" else ""
    return Cast(attempt, f"CASE WHEN {patterns.in_years(target, value)}{exact} THEN {value} END")


def _canonical_or(t: str, x: str, otherwise: str) -> str:
    """Accept what prints as it was written, which is cheap; ask the regular expression only about the rest."""
    return f"CASE WHEN CAST({t} AS VARCHAR) = {x} THEN {t} WHEN {otherwise} THEN {t} END"


def _full(x: str, pattern: str) -> str:
    return f"regexp_full_match({x}, {engine.text(pattern)})"


def _list(values: Sequence[str]) -> str:
    return f"({', '.join(engine.text(value) for value in values)})"
