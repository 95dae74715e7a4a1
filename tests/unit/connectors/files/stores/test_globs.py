"""Which paths a glob names, against fsspec's translation to a regular expression; and what many `*` cost."""

import random
import re
import time

import pytest
from fsspec.utils import glob_translate

from penstock.connectors.files.stores import globs

PARTS = ["**", "*", "a", "a*", "*b", "?", "[ab]", "[!a]*", "*a*", "a?b", "b", "*.b", "[a"]


def test_globs_name_what_fsspec_says() -> None:
    chosen, fitting = random.Random(9), 0
    for _ in range(20_000):
        pattern = "/".join(chosen.choices(PARTS, k=chosen.randint(1, 4)))
        path = "/".join("".join(chosen.choices("ab.", k=chosen.randint(1, 3))) for _ in range(chosen.randint(1, 4)))
        expected = re.match(glob_translate(pattern), path) is not None
        assert globs.matcher(pattern)(path) == expected, f"{pattern} and {path}"
        fitting += expected
    assert fitting > 1000


def test_two_stars_within_a_name_are_one() -> None:
    fits = globs.matcher("in/**.csv")
    assert [fits("in/a.csv"), fits("in/b/a.csv"), fits("in/a.json")] == [True, False, False]


@pytest.mark.parametrize(
    ("pattern", "path"),
    [("*a" * 250 + "b", "a" * 1000), ("**/*a/" * 80 + "b", "a/" * 500 + "a"), ("*?" * 250 + "b", "a" * 1000)],
)
def test_many_stars_take_no_longer_than_few(pattern: str, path: str) -> None:
    began = time.process_time()
    assert not globs.matcher(pattern)(path)
    assert time.process_time() - began < 5
