"""`penstock forecast`: the words for what would be delivered, its cost and what is left of the budget."""

import pytest

from penstock.cli import forecast
from penstock.runs.report import Forecast


@pytest.mark.parametrize(
    ("counted", "words"),
    [
        (Forecast(rows=1, bytes=10), "1 row, about 10 bytes"),
        (Forecast(rows=119, bytes=10, cost="11.90", currency="EUR"), "119 rows, about 10 bytes, 11.90 EUR"),
        (
            Forecast(rows=2, bytes=10, cost="4.60", currency="EUR", left="4.60"),
            "2 rows, about 10 bytes, 4.60 EUR; 4.60 EUR of the budget are left",
        ),
        (
            Forecast(rows=2, bytes=10, cost="10.10", currency="EUR", left="9.99"),
            "2 rows, about 10 bytes, 10.10 EUR; 9.99 EUR of the budget are left, so nothing would be delivered",
        ),
    ],
)
def test_a_forecast_says_what_is_left_and_whether_it_is_enough(counted: Forecast, words: str) -> None:
    assert forecast.in_words(counted) == words
