"""Dates and times as `formats` write them: read by DuckDB's strptime, and accepted where they print as written.

strptime alone is lenient: it reads `epoch` as 1900, ignores a weekday that is not the day's, and takes `213` for a
year. So each directive is printed again from the value that was read, and has to be what stands in the text. Leading
zeros may be missing where Python's strptime lets them be, and `%f` may have fewer digits than six.
"""

import re
from collections.abc import Iterator

from penstock.worker.rows import engine

_YEARS = {
    "DATE": "BETWEEN DATE '0001-01-01' AND DATE '9999-12-31'",
    "TIMESTAMP": "BETWEEN TIMESTAMP '0001-01-01' AND TIMESTAMP '9999-12-31 23:59:59.999999'",
    "TIMESTAMPTZ": "BETWEEN TIMESTAMPTZ '0001-01-01 00:00:00+00' AND TIMESTAMPTZ '9999-12-31 23:59:59.999999+00'",
}
"""The years of ISO 8601. They leave out the infinities and what lies before Christ, for which DuckDB has words."""

_DIRECTIVE = re.compile(r"%-?[A-Za-z%]")
_WRITTEN_OUT = {"%c": "%Y-%m-%d %H:%M:%S", "%x": "%Y-%m-%d", "%X": "%H:%M:%S", "%T": "%H:%M:%S"}
"""What these directives are short for."""
_TWO, _WORD = r"(\d{1,2})", r"([A-Za-z]+)"
_GROUPS = {
    **dict.fromkeys("YG", r"(\d{4})"),
    "y": r"(\d{2})",
    "-y": _TWO,
    **dict.fromkeys(("m", "d", "H", "I", "M", "S", "-m", "-d", "-H", "-I", "-M", "-S", "U", "W", "V"), _TWO),
    **dict.fromkeys(("j", "-j"), r"(\d{1,3})"),
    **dict.fromkeys("uw", r"(\d)"),
    **dict.fromkeys("aAbBhp", _WORD),
    "f": r"(\d{1,6})0*",
    "g": r"(\d{3})",
    "n": r"(\d{6}000)",
    "z": r"(Z|[+-](?:[01]\d|2[0-3])(?::?[0-5]\d)?)",
    "Z": r"([A-Za-z][A-Za-z0-9_/+-]*)",
}
_ZONES = ("z", "Z")


def in_years(target: str, value: str) -> str:
    """An SQL condition: whether the value of the type `target` lies in the years 1 to 9999."""
    return f"({value} {_YEARS[target]})"


def parsed(x: str, written: str, target: str) -> str:
    """SQL for the text `x` read by the format, as `target` or a timestamp; NULL where it is not so written."""
    long = _DIRECTIVE.sub(lambda match: _WRITTEN_OUT.get(match[0], match[0]), written)
    value = f"try_strptime({x}, [{engine.text(long)}])"
    pattern, directives = _pattern(long)
    zones = [directive for directive in directives if directive in _ZONES]
    kind = "TIMESTAMPTZ" if target == "TIMESTAMPTZ" else "TIMESTAMP"
    value = f"CAST({value} AS {kind})"
    local = _local(x, value, pattern, directives) if zones else f"CAST({value} AS TIMESTAMP)"
    again = " AND ".join(_prints(x, local, pattern, directives)) or "true"
    read = f"regexp_full_match({x}, {engine.text(pattern)}) AND {again}"
    if not zones:  # what prints as it was written needs no second look
        read = f"strftime({local}, {engine.text(long)}) = {x} OR ({read})"
    return f"CASE WHEN {read} THEN {value} END"


def _pattern(written: str) -> tuple[str, list[str]]:
    """A regular expression for texts of the format, with a group for each directive; and these.

    Where directives follow one another with nothing between, their leading zeros must be there: `2028116` is no %Y%m%d.
    """
    pattern, directives, at = "", list[str](), 0
    matches = [*_DIRECTIVE.finditer(written)]
    touching = {match.start() for match in matches} & {match.end() for match in matches}
    for match in matches:
        pattern += _literal(written[at : match.start()])
        at = match.end()
        directive = match[0][1:]
        if directive == "%":
            pattern += "%"
            continue
        group = _GROUPS[directive]
        pattern += group.replace("{1,", "{") if touching & {match.start(), match.end()} else group
        directives.append(directive)
    return pattern + _literal(written[at:]), directives


def _literal(text: str) -> str:
    return "".join(character if character.isalnum() else f"\\{character}" for character in text)


def _group(x: str, pattern: str, number: int) -> str:
    return f"regexp_extract({x}, {engine.text(f'^(?:{pattern})$')}, {number})"


def _local(x: str, value: str, pattern: str, directives: list[str]) -> str:
    """The time on the clock of the offset or zone that is written."""
    number, directive = next((i, each) for i, each in enumerate(directives, start=1) if each in _ZONES)
    zone = _group(x, pattern, number)
    if directive == "Z":
        return f"timezone({zone}, {value})"
    figures = f"replace({zone}, ':', '')"
    hours, minutes = f"substr({figures}, 2, 2)", f"substr({figures}, 4, 2)"
    amount = f"coalesce(TRY_CAST({hours} AS INTEGER), 0) * 60 + coalesce(TRY_CAST({minutes} AS INTEGER), 0)"
    signed = f"CASE WHEN {zone} LIKE '-%' THEN -1 ELSE 1 END * ({amount})"
    return f"(timezone('UTC', {value}) + to_minutes({signed}))"


def _prints(x: str, local: str, pattern: str, directives: list[str]) -> Iterator[str]:
    """For each directive, the condition that the time on the clock prints as what stands in the text."""
    for number, directive in enumerate(directives, start=1):
        letter = directive.removeprefix("-")
        there, again = _group(x, pattern, number), f"strftime({local}, '%{letter}')"
        if letter in _ZONES:
            continue
        if letter == "f":
            yield f"rpad({there}, 6, '0') = {again}"
        elif letter in "aAbBhp":
            yield f"lower({there}) = lower({again})"
        else:
            yield f"TRY_CAST({there} AS INTEGER) = TRY_CAST({again} AS INTEGER)"
