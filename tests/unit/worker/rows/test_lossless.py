"""Reading plainly written cells: what Arrow is certain of is what the exact casts by DuckDB say, cell by cell."""

import itertools
import os
import random
from datetime import date

import duckdb
import pyarrow as pa
import pytest

from penstock.worker.rows import direct, lossless

KINDS = ["int", "long", "double", "boolean", "date", "timestamp", "decimal(5,2)", "decimal(2,2)", "decimal(38,0)"]
PLAIN = {
    "int": "123456789",
    "long": "123456789012345678",
    "double": "-12.5",
    "boolean": "yes",
    "date": "2012-02-29",
    "timestamp": "2013-01-05 10:20:30",
    "decimal(5,2)": "-123.45",
    "decimal(2,2)": "0.45",
    "decimal(38,0)": "99999999999999999999999999999999999999",
}
ODD = [
    *("", " ", "-", ".", "-.", "+7", "-0", "-0.00", "007", "0.0", "5.", ".5", "1e2", "1E2", "1e-400", "1_0", "0x1F"),
    *("nan", "inf", "-inf", "1,5", "\uff11\uff12", "7\n", "\n7", "7 ", " 7", "9999999999", "9223372036854775808"),
    *("9007199254740993", "0.1234567890123456", "1000", "1.999", "1.990", "99.995", "0.001", "TRUE", "True", "tRUE"),
    *("0000-01-01", "0001-01-01", "9999-12-31", "2013-02-29", "2013-13-01", "2013-1-005", "20130105  ", "-013-01-05"),
    *(
        "0000-12-31 23:59:59",
        "0001-01-01 00:00:00",
        "9999-12-31 23:59:59",
        "2013-01-05T10:20:30",
        "2013-01-05t10:20:30",
    ),
    *(
        "2013-01-05 24:00:00",
        "2013-01-05 10:20:60",
        "2013-01-05 10:20+02",
        "2013-01-05 102030.5",
        "2013-01-05 10:20:3Z",
    ),
    *(
        "2013-01-05 10:20   ",
        "2013-01-05  10:20:3",
        "not a date, but 19c",
        "20130105T102030.555",
        "2013-01-05T102030Z  ",
    ),
]
ALPHABET = "0123456789-+.:T Ze_\n"


def cells(kind: str) -> list[str]:
    """The odd ones, and the plain one with a character or two changed, a thousand times."""
    chance = random.Random(kind)
    found = [*ODD, PLAIN[kind]]
    for _ in range(1000):
        written = [*PLAIN[kind]]
        for _ in range(chance.randrange(1, 3)):
            at = chance.randrange(len(written) + 1)
            written[at : at + chance.randrange(2)] = chance.choice(ALPHABET)
        found.append("".join(written))
    return found


def exactly(kind: str, written: list[str]) -> list[object]:
    cast = lossless.from_text(kind, "x", "t")
    with duckdb.connect() as connection:
        connection.execute("SET TimeZone = 'UTC'")
        connection.register("cells", pa.table({"x": pa.array(written, pa.string())}))
        answer = connection.sql(f"SELECT {cast.accept} AS v FROM (SELECT x, {cast.attempt} AS t FROM cells)")
        found: list[object] = answer.to_arrow_table()["v"].to_pylist()
    return found


@pytest.mark.parametrize("kind", KINDS)
def test_what_is_certain_is_exact(kind: str) -> None:
    written = cells(kind)
    exact = exactly(kind, written)
    wrong = []
    for cell, expected in zip(written, exact, strict=True):  # alone: one cell may make the others uncertain
        (certain,) = direct.written(kind, pa.array([cell], pa.string()))[0].to_pylist()
        if certain is not None and repr(certain) != repr(expected):
            wrong.append((cell, certain, expected))
    assert wrong == []


@pytest.mark.parametrize("kind", KINDS)
def test_plain_cells_are_certain_beside_odd_ones(kind: str) -> None:
    odd = [None, "N/A", "", "unknown"]
    values = direct.written(kind, pa.array([PLAIN[kind], *odd], pa.string()))[0].to_pylist()
    assert values == [*exactly(kind, [PLAIN[kind]]), None, None, None, None]
    assert values[0] is not None


def test_a_day_that_does_not_exist_leaves_others_certain() -> None:
    read = direct.written("date", pa.array(["2013-02-29", "2013-01-05", "0000-01-05"]))[0].to_pylist()
    assert read == [None, date(2013, 1, 5), None]
    assert direct.written("date", pa.array(["2013-02-29", "2012-02-29"]))[0].to_pylist() == [None, None]


def numbers(kind: str, count: int) -> list[str]:
    """Texts of digits, points and signs: all of up to four characters, and random ones of up to 45."""
    chance = random.Random(kind)
    texts = ["".join(letters) for length in range(5) for letters in itertools.product("059.-", repeat=length)]
    for _ in range(count):
        written = "".join(chance.choices("0123456789" if chance.random() < 0.7 else "09", k=chance.randint(1, 40)))
        if chance.random() < 0.7:
            at = chance.randint(0, len(written))
            written = f"{written[:at]}.{written[at : at + chance.randint(0, 12)]}"
        at = chance.randint(0, len(written))
        odd = chance.choice(".-") if chance.random() < 0.02 else ""
        texts.append(f"{'-' if chance.random() < 0.4 else ''}{written[:at]}{odd}{written[at:]}")
    return texts


@pytest.mark.parametrize(
    "kind", ["double", "decimal(5,2)", "decimal(12,2)", "decimal(28,4)", "decimal(38,10)", "decimal(3,3)"]
)
def test_numbers_are_read_alike_with_and_without_a_regular_expression(kind: str) -> None:
    """Alone, and together, where the cheap test answers for all of them at once."""
    texts = numbers(kind, int(os.environ.get("PENSTOCK_FUZZ_CELLS", "3000")))
    exact = exactly(kind, texts)
    alone = [direct.written(kind, pa.array([text], pa.string()))[0][0].as_py() for text in texts]
    wrong = [
        (text, value, right)
        for text, value, right in zip(texts, alone, exact, strict=True)
        if value is not None and repr(value) != repr(right)
    ]
    assert wrong == []
    certain = [(text, value) for text, value in zip(texts, alone, strict=True) if value is not None]
    together = direct.written(kind, pa.array([text for text, _ in certain]))[0].to_pylist()
    assert all(value is None or repr(value) == repr(own) for value, (_, own) in zip(together, certain, strict=True))
    assert len(certain) > len(texts) / 50
