"""Values as manifests write them, read as a type of the language: bounds and allowed values.

Accepts what a worker accepts of a text column without `formats` (penstock/worker/lossless.py), so that nobody learns in
the middle of a night's run that a bound cannot be read.
"""

import math
import re
from collections.abc import Callable, Mapping
from datetime import date, datetime
from decimal import Decimal

Value = int | float | Decimal | date | datetime | str

EXPONENTS = 100
"""From there on a decimal's exponent is no longer looked at: more than twice the digits that it may have."""
DIRECTIVES = frozenset(f"%{letter}" for letter in "ABGHIMSTUVWXYZabcdfghjmnpuwxyz%") | {
    f"%-{letter}" for letter in "HIMSdjmy"
}
"""What may stand in `formats`: DuckDB's list, https://duckdb.org/docs/stable/sql/functions/dateformat."""

_DIRECTIVE = re.compile(r"%-?.?", re.DOTALL)
_BITS = {"int": 32, "long": 64}
_DIGITS_KEPT = 15
"""Digits that any double gives back."""
_WHOLE = re.compile(r"([+-]?\d+)(\.0*)?", re.ASCII)
_NUMBER = re.compile(r"[+-]?(\d+(\.\d*)?|\.\d+)([eE][+-]?\d+)?", re.ASCII)
_ZERO = re.compile(r"[+-]?[0.]+([eE][+-]?\d+)?")
_DECIMAL = re.compile(r"[+-]?(?:\d+(?:\.\d*)?|\.\d+)(?:[eE]([+-]?\d+))?", re.ASCII)
_DATE = re.compile(r"\d{4}-\d{2}-\d{2}", re.ASCII)
_MOMENT = re.compile(
    r"(\d{4}-\d{2}-\d{2})(?:[T ]((?:[01]\d|2[0-3]):\d{2})(:\d{2})?(\.\d{1,6})?0*((?:Z|[+-]\d{2}(?::?\d{2})?))?)?",
    re.ASCII,
)

_WRITTEN: Mapping[str, str] = {
    "boolean": "true or false",
    "int": "a whole number of 32 bits",
    "long": "a whole number of 64 bits",
    "double": "a number that a double holds",
    "date": "a date, written 2026-01-31",
    "timestamp": "a time without a zone, written 2026-01-31T12:30:00",
    "timestamptz": "a time with its offset, written 2026-01-31T12:30:00Z",
}


def read(kind: str, written: str) -> Value:
    """The value that a text stands for in a column of type `kind`; values of one type can be compared.

    Raises ValueError with what would have been right: `"zero" is not a whole number of 32 bits`.
    """
    bare = kind.partition("(")[0]
    try:
        value = _READ[bare](kind, written)
    except (ValueError, ArithmeticError):
        value = None
    if value is None:
        raise ValueError(f'"{written}" is not {_WRITTEN.get(bare, f"a {kind}")}')
    return value


def check_format(written: str) -> None:
    """See that strptime can read by a format. Raises ValueError: `"%q" is no directive of strptime, in "%q %Y"`."""
    directives = _DIRECTIVE.findall(written)
    if wrong := next((directive for directive in directives if directive not in DIRECTIVES), None):
        raise ValueError(f'"{wrong}" is no directive of strptime, in "{written}"; for instance "%d.%m.%Y"')
    if not {*directives} - {"%%"}:
        raise ValueError(f'"{written}" has no directive, such as %Y, %m and %d: no date is written so')


def has_offset(written: str) -> bool:
    """Whether a format of dates and times has an offset or a zone: %z or %Z."""
    return re.search("%[zZ]", written.replace("%%", "")) is not None


def is_number(kind: str) -> bool:
    """Whether a type of the language is a number's."""
    return kind.partition("(")[0] in ("int", "long", "double", "decimal")


def _boolean(_kind: str, written: str) -> bool | None:
    return {"true": True, "false": False}.get(written)


def _whole(kind: str, written: str) -> int | None:
    fits = _WHOLE.fullmatch(written.strip())
    if fits is None:
        return None
    number, limit = int(fits.group(1)), 1 << (_BITS[kind] - 1)
    return number if -limit <= number < limit else None


def _double(_kind: str, written: str) -> float | None:
    """The double that, written with as many digits, is the number; zeros at the end of a fraction do not count."""
    text = written.strip()
    if not _NUMBER.fullmatch(text):
        return None
    number = float(text)
    if not math.isfinite(number) or (number == 0 and not _ZERO.fullmatch(text)):
        return None
    mantissa = re.split("[eE]", text.lstrip("+-"))[0]
    digits = (mantissa.rstrip("0") if "." in mantissa else mantissa).replace(".", "").lstrip("0")
    again = f"{abs(number):.{max(len(digits) - 1, 0)}e}".partition("e")[0].replace(".", "")
    return number if len(digits) <= _DIGITS_KEPT or again == digits else None


def _decimal(kind: str, written: str) -> Decimal | None:
    precision, scale = (int(number) for number in re.findall(r"\d+", kind))
    fits = _DECIMAL.fullmatch(written.strip())
    if fits is None or abs(int(fits.group(1) or 0)) >= EXPONENTS:
        return None
    value = Decimal(written.strip())
    whole, _, fraction = f"{value.copy_abs():f}".partition(".")
    fitting = len(fraction.rstrip("0")) <= scale and len(whole.lstrip("0")) <= precision - scale
    return value if fitting else None


def _date(_kind: str, written: str) -> date | None:
    return date.fromisoformat(written) if _DATE.fullmatch(written) else None


def _moment(kind: str, written: str) -> datetime | None:
    fits = _MOMENT.fullmatch(written)
    if fits is None:
        return None
    day, clock, seconds, fraction, offset = fits.groups("")
    if bool(offset) != (kind == "timestamptz") or (fraction and not seconds):
        return None
    return datetime.fromisoformat(f"{day}T{clock or '00:00'}{seconds or ':00'}{fraction}{offset}")


_READ: Mapping[str, Callable[[str, str], Value | None]] = {
    "string": lambda _kind, written: written,
    "boolean": _boolean,
    "int": _whole,
    "long": _whole,
    "double": _double,
    "decimal": _decimal,
    "date": _date,
    "timestamp": _moment,
    "timestamptz": _moment,
}
