"""Prices and the periods of budgets."""

from decimal import Decimal

import pytest

from penstock.api import budget
from penstock.language import times


@pytest.mark.parametrize(
    ("period", "zone", "moment", "expected"),
    [
        ("daily", None, "2026-02-28T23:59:59Z", ("2026-02-28T00:00:00Z", "2026-03-01T00:00:00Z")),
        ("monthly", None, "2026-12-31T23:59:59Z", ("2026-12-01T00:00:00Z", "2027-01-01T00:00:00Z")),
        ("yearly", "UTC", "2026-01-01T00:00:00Z", ("2026-01-01T00:00:00Z", "2027-01-01T00:00:00Z")),
        # the day on which the clocks go forward has 23 hours
        ("daily", "Europe/Paris", "2026-03-29T12:00:00Z", ("2026-03-28T23:00:00Z", "2026-03-29T22:00:00Z")),
        ("monthly", "America/New_York", "2026-03-01T04:59:59Z", ("2026-02-01T05:00:00Z", "2026-03-01T05:00:00Z")),
    ],
)
def test_a_period_is_that_of_the_zones_calendar(
    period: str, zone: str | None, moment: str, expected: tuple[str, str]
) -> None:
    assert budget.bounds(period, zone, times.parse(moment)) == expected


@pytest.mark.parametrize(
    ("amount", "rows", "expected"),
    [("1.50", 1000, "1.50"), ("1.50", 1, "0.0015"), ("0", 7, "0.00"), ("0.1", 3, "0.0003"), ("100", 1500, "150.00")],
)
def test_costs_are_exact(amount: str, rows: int, expected: str) -> None:
    cost = budget.Price(amount=amount, currency="USD").of_rows(rows)
    assert cost == Decimal(expected)
    assert budget.plain(cost) == expected
