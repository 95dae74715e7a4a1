"""Values that need no SQL: cells that are certainly good, read by Arrow, several times as fast as DuckDB.

Most cells are written plainly, or have their field's type already. Here they are read and their rules applied; a cell
that is not certain says nothing, and DuckDB is asked about its row (`lossless`, `quality`).
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import datetime

import pyarrow as pa
import pyarrow.compute as pc

from penstock.worker.rows import arrays, lossless

_TARGETS = {
    "string": pa.string(),
    "int": pa.int32(),
    "long": pa.int64(),
    "double": pa.float64(),
    "boolean": pa.bool_(),
    "date": pa.date32(),
    "timestamp": pa.timestamp("us"),
    "timestamptz": pa.timestamp("us", "UTC"),
}
_SAME = {
    ("INTEGER", "int"),
    ("BIGINT", "long"),
    ("DOUBLE", "double"),
    ("BOOLEAN", "boolean"),
    ("DATE", "date"),
    ("TIMESTAMP", "timestamp"),
    ("TIMESTAMP WITH TIME ZONE", "timestamptz"),
}
"""Source types that are the field's. Dates and times among them lie in the years 1 to 9999 (see ExactCell)."""
_WIDER = {
    *((source, "int") for source in ("TINYINT", "SMALLINT", "UTINYINT", "USMALLINT")),
    *((source, "long") for source in ("TINYINT", "SMALLINT", "UTINYINT", "USMALLINT", "INTEGER", "UINTEGER")),
    *((source, "double") for source in ("TINYINT", "SMALLINT", "UTINYINT", "USMALLINT", "INTEGER", "UINTEGER")),
    ("FLOAT", "double"),
    ("DATE", "timestamp"),
}
"""Source types all of whose values the field's type holds exactly."""
_TEXT = {"date", "timestamp", "int", "long", "double", "boolean", "string"}
"""Types of which a plainly written text is read here; decimals too."""
_DIGITS = {"int": 9, "long": 18}
"""So many digits always fit."""
_LENGTHS = {"date": len("2013-01-05"), "timestamp": len("2013-01-05 10:20:30")}
_DIGITS_KEPT = 15
"""Digits that any double gives back."""
_PLAIN_DOUBLE = rf"^-?[0-9]{{1,{_DIGITS_KEPT}}}(\.[0-9]{{1,17}})?$"
_PLAIN_DAY = r"^[0-9]{4}-(0[1-9]|1[0-2])-(0[1-9]|1[0-9]|2[0-8])"
_PLAIN_MOMENTS = {"date": f"{_PLAIN_DAY}$", "timestamp": rf"{_PLAIN_DAY} ([01][0-9]|2[0-3]):[0-5][0-9]:[0-5][0-9]$"}
"""Days and times that exist in any year."""
_IN_NUMBERS = "0123456789.-"
_MOST_DIGITS = 38
"""Digits with which Arrow's casts to a decimal do not overflow; with more they yield other numbers."""

Values = tuple[pa.Array, pa.BooleanArray | None]
"""A value for each cell, and which of them are certain; None: all are. A null of the source is a certain null."""
Words = tuple[Sequence[str], Sequence[str]]
"""The texts that mean true, and those that mean false."""
Read = Callable[[pa.Array], Values]


@dataclass(frozen=True)
class Reading:
    """How one field is read directly from one column, and the rules that its values have to keep."""

    read: Read
    column: str
    always: bool
    """Whether every cell becomes a value: only rules can make a row bad."""
    required: bool = False
    trim: bool = False
    """Whether white space at both ends of a text is left out."""
    null_values: pa.Array | None = None
    enum: pa.Array | None = None
    minimum: pa.Scalar | None = None
    maximum: pa.Scalar | None = None
    forbidden: str = ""
    """Characters that no value must have."""
    longest: int | None = None
    """Bytes that a text must have at most."""

    def values(self, rows: pa.Table) -> tuple[pa.Array, pa.BooleanArray | None]:
        """The field's values, and which rows are certainly good; None: all are."""
        source = arrays.one(rows[self.column])
        if self.trim:
            source = pc.utf8_trim(source, lossless.WHITE_SPACE)
        if self.null_values is not None:
            source = pc.if_else(pc.is_in(source, self.null_values), None, source)
        values, certain = self.read(source)
        for rule in self._rules(values):
            certain = rule if certain is None else pc.and_(certain, rule)
        return values, None if certain is None or certain.true_count == len(certain) else certain

    def _rules(self, values: pa.Array) -> list[pa.BooleanArray]:
        rules = []
        if self.enum is not None:
            rules.append(pc.or_(pc.is_in(values, self.enum), pc.is_null(values)))
        if self.minimum is not None:
            rules.append(pc.fill_null(pc.greater_equal(values, self.minimum), True))
        if self.maximum is not None:
            rules.append(pc.fill_null(pc.less_equal(values, self.maximum), True))
        for character in self.forbidden:
            there = pc.match_substring(values, character)
            if pc.any(there).as_py():
                rules.append(pc.fill_null(pc.invert(there), True))
        if self.longest is not None:
            rules.append(pc.fill_null(pc.less_equal(pc.binary_length(values), self.longest), True))
        if self.required:
            rules.append(pc.is_valid(values))
        return rules


def reader(source: str, kind: str, words: Words | None = None) -> tuple[Read, bool] | None:
    """What reads cells of the source type as `kind`, and whether all of them; None where only SQL does.

    `words` are the texts that mean true and false, where they are not the usual ones.
    """
    if (source, kind) in _SAME or (kind == "string" and lossless.comes_as_text(source)):
        return lambda cells: (cells, None), True
    if source == "VARCHAR":
        readable = kind in _TEXT or kind.startswith("decimal")
        return (lambda cells: written(kind, cells, words), False) if readable else None
    if (source, kind) in _WIDER or _is_wider_decimal(source, kind):
        return lambda cells: (cells.cast(arrow_type(kind)), None), True
    return None


def arrow_type(kind: str) -> pa.DataType:
    """Arrow's type for a type of the language."""
    return _TARGETS.get(kind) or pa.decimal128(*lossless.digits(kind))


def texts(values: Sequence[str] | None) -> pa.Array | None:
    """The texts as an array; None where there are none."""
    return pa.array(values, pa.string()) if values else None


def _is_wider_decimal(source: str, kind: str) -> bool:
    if not (source.startswith("DECIMAL") and kind.startswith("decimal")):
        return False
    (precision, scale), (wider, finer) = lossless.digits(source), lossless.digits(kind)
    return finer >= scale and wider - finer >= precision - scale


def written(kind: str, cells: pa.Array, words: Words | None = None) -> Values:
    """Plainly written texts as values of the type.

    Certain are: digits alone, few enough to fit; numbers that Arrow's cast and ours take alike; the words for true and
    false; dates and times of their usual length, which Arrow reads strictly: it refuses offsets, days that do not exist
    and hours past 23.
    """
    if kind == "boolean":
        true, false = words or (lossless.TRUE, lossless.FALSE)
        place = pc.index_in(cells, pa.array([*true, *false]), skip_nulls=True)
        values = pc.less(place, len(true))
        return values, _as_certain(values, cells)
    values = _cast(kind, cells)
    if kind in _LENGTHS:  # Arrow knows a year 0
        first = pa.scalar(datetime(1, 1, 1)).cast(values.type)
        if pc.less(pc.min(values), first).as_py():
            values = pc.if_else(pc.greater_equal(values, first), values, None)
    if kind == "double":
        values = _digits_kept(cells, values)
    return values, _as_certain(values, cells)


def _cast(kind: str, cells: pa.Array) -> pa.Array:
    """The values of those cells that are written plainly.

    A cast that fails says nothing of any cell. So what is cast first are the cells that a cheap test lets pass, among
    which others are rare; where it fails, the cells that a regular expression takes, with which it cannot.
    """
    try:
        return pc.cast(_only(_likely_cells(kind, cells), cells), arrow_type(kind))
    except pa.ArrowInvalid:
        return pc.cast(_only(_plain_cells(kind, cells), cells), arrow_type(kind))


def _only(which: pa.BooleanArray, cells: pa.Array) -> pa.Array:
    return cells if pc.all(which).as_py() is not False else pc.if_else(which, cells, None)


def _likely_cells(kind: str, cells: pa.Array) -> pa.BooleanArray:
    """Cells that are plain where Arrow can cast them; a test that costs next to nothing."""
    lengths = pc.binary_length(cells)
    if kind in _DIGITS:
        return pc.and_(pc.ascii_is_decimal(cells), pc.less_equal(lengths, _DIGITS[kind]))
    if kind in _LENGTHS:
        return pc.equal(lengths, _LENGTHS[kind])
    most = _DIGITS_KEPT
    if kind != "double":
        precision, scale = lossless.digits(kind)
        most = _MOST_DIGITS - scale
        if most <= precision:  # longer ones are usual
            return _plain_cells(kind, cells)
    longest = pc.max(lengths).as_py() or 0
    if longest > most and kind == "double":  # all of its digits are written
        return _plain_cells(kind, cells)
    others = pc.binary_length(pc.ascii_trim(cells, _IN_NUMBERS))
    if longest <= most and not pc.max(others).as_py():
        return pa.repeat(pa.scalar(True), len(cells))
    return pc.and_(pc.equal(others, 0), pc.less_equal(lengths, most))


def _as_certain(values: pa.Array, cells: pa.Array) -> pa.BooleanArray | None:
    """Where there is a value or no cell."""
    if values.null_count == cells.null_count:
        return None
    return pc.equal(pc.is_valid(values), pc.is_valid(cells))


def _digits_kept(cells: pa.Array, values: pa.Array) -> pa.Array:
    """Doubles that give back the digits that were written: few ones, or just these when it is printed again."""
    few = pc.less_equal(pc.binary_length(cells), _DIGITS_KEPT + 1)  # that many characters with point or sign
    if pc.all(few).as_py() is not False:
        return values
    return pc.if_else(pc.or_(few, pc.equal(values.cast(pa.string()), cells)), values, None)


def _plain_cells(kind: str, cells: pa.Array) -> pa.BooleanArray:
    """Cells that Arrow can cast, and does as we do."""
    if kind in _DIGITS:
        return _likely_cells(kind, cells)
    if kind in _LENGTHS:
        return pc.match_substring_regex(cells, _PLAIN_MOMENTS[kind])
    if kind == "double":
        return pc.match_substring_regex(cells, _PLAIN_DOUBLE)
    precision, scale = lossless.digits(kind)
    whole = rf"[0-9]{{1,{precision - scale}}}" if precision > scale else "0"
    fraction = rf"(\.[0-9]{{1,{scale}}})?" if scale else ""
    return pc.match_substring_regex(cells, f"^-?{whole}{fraction}$")
