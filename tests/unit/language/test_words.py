"""Numbers in messages."""

import pytest

from penstock.language import words


@pytest.mark.parametrize(
    ("number", "told"), [(0, "0 rows"), (1, "1 row"), (2, "2 rows"), (1204, "1,204 rows")], ids=str
)
def test_one_is_singular_and_thousands_are_apart(number: int, told: str) -> None:
    assert words.count(number, "row") == told
