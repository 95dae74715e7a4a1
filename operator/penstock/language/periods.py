"""Periods before a moment: `30d` as durations are written here, or `P1M` as ISO 8601 writes them."""

import calendar
import re
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Annotated

from pydantic import AfterValidator, Field

from penstock.language import scalars

_ISO = (
    r"P(?:([0-9]{1,4})Y)?(?:([0-9]{1,5})M)?(?:([0-9]{1,5})W)?(?:([0-9]{1,6})D)?"
    r"(?:T(?:([0-9]{1,7})H)?(?:([0-9]{1,9})M)?(?:([0-9]{1,9})S)?)?"
)
PATTERN = f"({scalars.DURATION})|^P([0-9]+[YMWD])*(T([0-9]+[HMS])+)?$"
"""What the API server checks; which letters may follow each other, the model checks."""
_EXAMPLES = 'write days as "30d" or "P30D", months as "P1M", hours as "12h" or "PT12H"'


@dataclass(frozen=True)
class Period:
    """A number of calendar months, and days and seconds beside them."""

    months: int
    seconds: int

    def before(self, moment: datetime) -> datetime:
        """The moment that lies a period earlier, in UTC; never earlier than the year 1.

        Months are those of the calendar: a month before 31 March is 28 or 29 February.
        """
        moment = moment.astimezone(UTC)
        months = moment.year * 12 + moment.month - 1 - self.months
        year, month = months // 12, months % 12 + 1
        if year < 1:
            return datetime.min.replace(tzinfo=UTC)
        day = min(moment.day, calendar.monthrange(year, month)[1])
        try:
            return moment.replace(year=year, month=month, day=day) - timedelta(seconds=self.seconds)
        except OverflowError:
            return datetime.min.replace(tzinfo=UTC)


def read(written: str) -> Period:
    """The period that a text names. Raises ValueError with what would have been right."""
    if re.fullmatch(scalars.DURATION, written):
        return Period(0, scalars.seconds(written))
    fits = re.fullmatch(_ISO, written, re.ASCII)
    if fits is None or not any(fits.groups()) or written.endswith("T"):
        raise ValueError(f'"{written}" is not a period: {_EXAMPLES}')
    years, months, weeks, days, hours, minutes, seconds = (int(number or 0) for number in fits.groups())
    period = Period(years * 12 + months, (weeks * 7 + days) * 86_400 + hours * 3_600 + minutes * 60 + seconds)
    if period == Period(0, 0):
        raise ValueError(f'"{written}" has a length of zero: {_EXAMPLES}')
    return period


def _checked(written: str) -> str:
    read(written)
    return written


PeriodText = Annotated[
    str,
    Field(min_length=2, max_length=32, json_schema_extra={"pattern": PATTERN}),
    AfterValidator(_checked),
]
