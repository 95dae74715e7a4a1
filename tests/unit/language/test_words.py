"""Numbers in messages."""

import pytest

from penstock.language import words


@pytest.mark.parametrize(
    ("number", "told"), [(0, "0 rows"), (1, "1 row"), (2, "2 rows"), (1204, "1,204 rows")], ids=str
)
def test_one_is_singular_and_thousands_are_apart(number: int, told: str) -> None:
    assert words.count(number, "row") == told


@pytest.mark.parametrize(
    ("message", "rest"),
    [
        ("Source cities: no such host", "no such host"),
        ("Source cities2: no such host", "Source cities2: no such host"),
        ("no such host", "no such host"),
        ("Source cities", "Source cities"),
    ],
)
def test_a_sentence_names_its_subject_once(message: str, rest: str) -> None:
    assert words.without_subject(message, "Source cities") == rest
