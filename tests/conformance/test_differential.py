"""The embedded server and a real one, asked the same: every answer, every end state, every watch event.

PENSTOCK_SEED names other sequences (17, or 11-60, or 2,5,11-60), PENSTOCK_CALLS how many calls each has.
"""

import itertools
import os

import pytest

from conformance import differ, generate
from conformance.conftest import Both


def _seeds(text: str) -> list[int]:
    """2,5,11-13 -> 2 5 11 12 13."""
    ends = [part.partition("-")[::2] for part in text.split(",")]
    return [seed for first, last in ends for seed in range(int(first), int(last or first) + 1)]


SEEDS = _seeds(os.environ.get("PENSTOCK_SEED", "2,3,5,7"))
CALLS = int(os.environ.get("PENSTOCK_CALLS", "150"))
_numbers = itertools.count()


@pytest.mark.parametrize("seed", SEEDS)
def test_both_answer_alike(both: Both, seed: int) -> None:
    calls = generate.Sequence(seed).calls(CALLS)

    def fresh() -> differ.Pair:
        return differ.Pair(both.embedded, both.real, f"seed-{seed}-{next(_numbers)}")

    pair = fresh()
    found = pair.first_difference(calls)
    pair.close()
    if found:
        first = found.number
        calls, found = differ.shorter(fresh, calls, found)
        told = "\n".join(map(str, calls))
        pytest.fail(
            f"PENSTOCK_SEED={seed}: a difference at call {first}; {len(calls)} calls lead to it:\n{told}\n{found}\n"
            f"embedded: {found.answers[0]}\nreal:     {found.answers[1]}"
        )
