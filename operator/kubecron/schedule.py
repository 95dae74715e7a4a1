"""A schedule of five fields, read from text as github.com/robfig/cron v3 reads it (`ParseStandard`)."""

import re
from collections.abc import Mapping
from dataclasses import dataclass

_SPACE = "[\t\n\v\f\r \x85\xa0\u1680\u2000-\u200a\u2028\u2029\u202f\u205f\u3000]+"
"""What separates fields: white space as Unicode has it; Python's `split` takes four more characters for it."""
_INTEGER = re.compile(r"[+-]?[0-9]+", re.ASCII)
_LARGEST = 2**63 - 1
_LONGEST_NUMBER = 30
"""Digits that are read as a number at all; what has more is above `_LARGEST` but for leading zeros."""
_LOWER = str.maketrans({"\u0130": "i", "\u212a": "k"})
"""The two letters beyond ASCII whose lower case is an ASCII letter to Go."""


class InvalidSchedule(ValueError):
    """Kubernetes refuses the schedule. The text is the message of its parser."""

    def __init__(self, message: str, field: str = "", problem: str = "") -> None:
        super().__init__(message)
        self.field = field
        """Which of the five fields is at fault, as `FIELDS` calls it; empty if it is the whole."""
        self.problem = problem or message
        """What is wrong, without names of programs."""


@dataclass(frozen=True)
class Bounds:
    """What one of the five fields takes."""

    name: str
    lowest: int
    highest: int
    words: Mapping[str, int]


_MONTHS = ("jan", "feb", "mar", "apr", "may", "jun", "jul", "aug", "sep", "oct", "nov", "dec")
_DAYS = ("sun", "mon", "tue", "wed", "thu", "fri", "sat")
FIELDS = (
    Bounds("minute", 0, 59, {}),
    Bounds("hour", 0, 23, {}),
    Bounds("day of month", 1, 31, {}),
    Bounds("month", 1, 12, {word: number for number, word in enumerate(_MONTHS, start=1)}),
    Bounds("day of week", 0, 6, {word: number for number, word in enumerate(_DAYS)}),
)
DESCRIPTORS = {
    "@yearly": "0 0 1 1 *",
    "@annually": "0 0 1 1 *",
    "@monthly": "0 0 1 * *",
    "@weekly": "0 0 * * 0",
    "@daily": "0 0 * * *",
    "@midnight": "0 0 * * *",
    "@hourly": "0 * * * *",
}
"""The names that stand for five fields. Kubernetes' `@every <duration>` is not read here."""


@dataclass(frozen=True)
class Field:
    """The values of one field. `star`: it names no day itself, so that the other day field alone decides."""

    values: frozenset[int]
    star: bool


@dataclass(frozen=True)
class Schedule:
    """The five fields of a schedule."""

    minute: Field
    hour: Field
    day_of_month: Field
    month: Field
    day_of_week: Field


def parse(text: str) -> Schedule:
    """The schedule that a text such as `15 */2 * * mon-fri` or `@daily` means.

    Raises:
        InvalidSchedule: Kubernetes refuses the text, or it begins with `@every`.
    """
    if text == "":
        raise InvalidSchedule("empty spec string", problem="it is empty")
    if text.startswith("@") and text not in DESCRIPTORS:
        descriptors = ", ".join(DESCRIPTORS)
        raise InvalidSchedule(f"unrecognized descriptor: {text}", problem=f"the names are {descriptors}")
    words = [word for word in re.split(_SPACE, DESCRIPTORS.get(text, text)) if word]
    if len(words) != len(FIELDS):
        raise InvalidSchedule(
            f"expected exactly 5 fields, found {len(words)}: [{' '.join(words)}]",
            problem=f"it has {len(words)} {'field' if len(words) == 1 else 'fields'} and needs 5: "
            "minute hour day month weekday",
        )
    return Schedule(*(_field(word, bounds) for word, bounds in zip(words, FIELDS, strict=True)))


def _field(text: str, bounds: Bounds) -> Field:
    """Ranges between commas; empty ones count as absent, so that `,` is a field without any value."""
    values: set[int] = set()
    star = False
    for part in text.split(","):
        if part:
            added = _range(part, bounds)
            values |= added.values
            star = star or added.star
    return Field(frozenset(values), star)


def _range(text: str, bounds: Bounds) -> Field:
    """The values of `a`, `a-b`, `a/step`, `a-b/step`, `*` or `?`; what follows `*-` is not looked at."""
    limits, *steps = text.split("/")
    low, *high = limits.split("-")
    star = low in ("*", "?")
    if star:
        first, last = bounds.lowest, bounds.highest
    else:
        first = _number(low, bounds)
        if len(high) > 1:
            raise InvalidSchedule(f"too many hyphens: {text}", bounds.name, f'"{text}" has more than one "-"')
        last = _number(high[0], bounds) if high else first
    if len(steps) > 1:
        raise InvalidSchedule(f"too many slashes: {text}", bounds.name, f'"{text}" has more than one "/"')
    step = 1
    if steps:
        step = _integer(steps[0], bounds)
        last = last if high else bounds.highest
        star = star and step <= 1
    _check_range(text, (first, last, step), bounds)
    return Field(frozenset(range(first, last + 1, step)), star)


def _check_range(text: str, limits: tuple[int, int, int], bounds: Bounds) -> None:
    first, last, step = limits
    if first < bounds.lowest:
        raise InvalidSchedule(
            f"beginning of range ({first}) below minimum ({bounds.lowest}): {text}",
            bounds.name,
            f'"{text}" begins below {bounds.lowest}',
        )
    if last > bounds.highest:
        sunday = "; Sunday is 0" if bounds.name == "day of week" and last == 7 else ""
        raise InvalidSchedule(
            f"end of range ({last}) above maximum ({bounds.highest}): {text}",
            bounds.name,
            f'"{text}" is above {bounds.highest}{sunday}',
        )
    if first > last:
        raise InvalidSchedule(
            f"beginning of range ({first}) beyond end of range ({last}): {text}",
            bounds.name,
            f'"{text}" ends before it begins',
        )
    if step == 0:
        raise InvalidSchedule(
            f"step of range should be a positive number: {text}", bounds.name, f'the step of "{text}" is 0'
        )


def _number(text: str, bounds: Bounds) -> int:
    """The number that a name or digits mean."""
    named = bounds.words.get(text.translate(_LOWER).lower())
    return named if named is not None else _integer(text, bounds)


def _integer(text: str, bounds: Bounds) -> int:
    """The number in decimal digits, a `+` allowed before them."""
    what = "a number" if not bounds.words else f"a number or one of {', '.join(bounds.words)}"
    if not _INTEGER.fullmatch(text):
        fault = f"strconv.Atoi: parsing {_quoted(text)}: invalid syntax"
        raise InvalidSchedule(f"failed to parse int from {text}: {fault}", bounds.name, f'"{text[:40]}" is not {what}')
    digits = text.lstrip("+-").lstrip("0") or "0"
    number = int(digits) if len(digits) <= _LONGEST_NUMBER else _LARGEST + 2
    negative = text.startswith("-")
    if number > _LARGEST + negative:
        fault = f"strconv.Atoi: parsing {_quoted(text)}: value out of range"
        raise InvalidSchedule(f"failed to parse int from {text}: {fault}", bounds.name, f'"{text[:40]}" is too large')
    if negative and number:
        raise InvalidSchedule(f"negative number (-{number}) not allowed: {text}", bounds.name, f'"{text}" is negative')
    return number


def _quoted(text: str) -> str:
    """A text between quotation marks, with what cannot be printed escaped."""
    shown = "".join(
        character if character.isprintable() else character.encode("unicode_escape").decode()
        for character in text.replace("\\", "\\\\").replace('"', '\\"')
    )
    return f'"{shown}"'
