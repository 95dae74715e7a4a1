"""What a delivery costs, and how much a Subscription may spend in a period."""

from datetime import datetime
from decimal import Decimal
from typing import Annotated, Literal

from pydantic import Field

import kubecron.zones
from penstock.language import times
from penstock.language.model import Model
from penstock.language.scalars import Time

Amount = Annotated[str, Field(max_length=20, pattern=r"^(0|[1-9][0-9]{0,11})(\.[0-9]{1,6})?$")]
Currency = Annotated[str, Field(max_length=3, pattern=r"^[A-Z]{3}$", description="Its ISO 4217 code: USD, EUR.")]


class Price(Model):
    """The price of a number of rows."""

    amount: Annotated[Amount, Field(description='The amount, as a string: "1.50".')]
    currency: Currency

    def of_rows(self, rows: int) -> Decimal:
        """What so many rows cost, where this is the price of a thousand; exact."""
        return Decimal(self.amount) * rows / 1000


class Budget(Model):
    """The most that may be spent in each period."""

    amount: Annotated[Amount, Field(description='The amount, as a string: "100".')]
    currency: Currency
    period: Annotated[
        Literal["daily", "monthly", "yearly"],
        Field(description="A day, a month or a year of the calendar, in the Subscription's timeZone."),
    ]


class Spend(Model):
    """What the deliveries of a period have cost."""

    amount: Annotated[str, Field(max_length=64, description="What was spent, as a string.")]
    currency: Currency
    since: Annotated[Time, Field(description="Beginning of the period; RFC 3339, UTC.")]
    until: Annotated[Time, Field(description="End of the period, which is the beginning of the next; RFC 3339, UTC.")]


def bounds(period: str, time_zone: str | None, moment: datetime) -> tuple[str, str]:
    """Beginning and end of the period that a moment is in, RFC 3339 in UTC."""
    zone = kubecron.zones.load(time_zone or "UTC")
    there = moment.astimezone(zone)
    day = (there.year, there.month, there.day)
    if period == "daily":
        first, following = day, _plus_days(there)
    elif period == "monthly":
        first = (there.year, there.month, 1)
        following = (there.year + there.month // 12, there.month % 12 + 1, 1)
    else:
        first, following = (there.year, 1, 1), (there.year + 1, 1, 1)
    return times.text(datetime(*first, tzinfo=zone)), times.text(datetime(*following, tzinfo=zone))


def _plus_days(there: datetime) -> tuple[int, int, int]:
    following = datetime.fromordinal(there.toordinal() + 1)
    return following.year, following.month, following.day


def plain(amount: Decimal) -> str:
    """An amount as people write it, without zeros at its end beyond two digits: 12.50, 0.0125."""
    text = f"{amount:f}"
    whole, _, fraction = text.partition(".")
    return f"{whole}.{fraction.rstrip('0').ljust(2, '0')}"
