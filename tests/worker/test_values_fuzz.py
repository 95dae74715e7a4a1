"""Values from text and Parquet against an oracle in plain Python, which shares no code with the product. Seeded."""

import math
import os
import random
import re
from datetime import UTC, date, datetime, timedelta, timezone
from decimal import Decimal
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from worker import judging
from worker.pods import field

SEEDS = range(int(os.environ.get("PENSTOCK_FUZZ_SEEDS", "4")))
BAD = object()


def double_of(text: str) -> Any:
    """The double of a number, where it gives the digits back: 1.50 and 1e400 are decided as people would."""
    if not re.fullmatch(r"[+-]?(\d+(\.\d*)?|\.\d+)([eE][+-]?\d+)?", text, re.ASCII):
        return BAD
    number, exact = float(text), Decimal(text)
    if not math.isfinite(number) or (number == 0 and exact != 0):
        return BAD
    if exact == 0:
        return number
    digits = exact.as_tuple().digits
    written = "".join(map(str, digits)).lstrip("0")
    if "." in text:
        behind = len(re.split("[eE]", text)[0].partition(".")[2])
        zeros = min(len(written) - len(written.rstrip("0")), behind)
        written = written[: len(written) - zeros]
    again = f"{number:.{len(written) - 1}e}".lstrip("-").partition("e")[0].replace(".", "")
    return number if again == written else BAD


def numbers(chance: random.Random) -> str:
    """A number as people, programs and nobody write them."""

    def digits(most: int) -> str:
        return "".join(chance.choices("0123456789", k=chance.randint(1, most)))

    value = chance.choice([chance.random(), chance.uniform(-1e18, 1e18), 2.0 ** chance.randint(-1074, 1023)])
    return chance.choice(
        [
            repr(value),
            f"{value:.17g}",
            f"{value:.18e}",
            f"{Decimal(value):.{chance.randint(1, 40)}g}",
            str((1 << 53) + chance.randint(-3, 3)) + chance.choice(["", ".0", ".5", "e0", "00"]),
            f"{chance.choice(['', '-', '+'])}{digits(22)}.{digits(20)}",
            f"{digits(22)}{chance.choice(['', 'e5', 'E-7', 'e400', 'e-400', '.'])}",
        ]
    )


@pytest.mark.parametrize("seed", SEEDS)
def test_doubles_in_text(seed: int, tmp_path: Path) -> None:
    chance = random.Random(seed)
    texts = [numbers(chance) for _ in range(2000)]
    good, bad = judging.texts(texts, tmp_path, field("v", "double"))
    wrong = []
    for number, text in enumerate(texts):
        expected = double_of(text)
        value = BAD if number in bad else good[number]["v"]
        if repr(value) != repr(expected):
            wrong.append((text, value, expected))
    assert wrong == []


FORMATS = {
    "%Y-%m-%d %H:%M:%S": "timestamp",
    "%d.%m.%Y": "date",
    "%m/%d/%y": "date",
    "%a %d %b %Y": "date",
    "%A, %d %B %Y": "date",
    "%Y-%j": "date",
    "%Y%m%d": "date",
    "%d/%b/%Y:%H:%M:%S %z": "timestamptz",
    "%Y-%m-%d %H:%M:%S.%f": "timestamp",
    "%I:%M:%S %p %Y-%m-%d": "timestamp",
}
SPECIAL = ["infinity", "-infinity", "epoch", "", "213", "2013", "now", "9999-12-31 23:59:59.9999999", "00.00.0000"]


def moment_of(text: str, written: str, kind: str) -> Any:
    """By Python's strptime, but blanks are as in the format, a weekday is the day's, an offset is less than a day."""
    if text.count(" ") != written.count(" ") or (written == "%Y%m%d" and len(text) != 8):
        return BAD
    if kind == "timestamptz" and not re.search(r"(Z|[+-]([01]\d|2[0-3])(:?[0-5]\d)?)$", text):
        return BAD
    offset = re.search(r" [+-]\d\d$", text) if kind == "timestamptz" else None
    try:
        value = datetime.strptime(text + "00" if offset else text, written)
    except ValueError:
        return BAD
    begins = {
        "%a": value.strftime("%a"),
        "%A": value.strftime("%A"),
        "%Y-%j": f"{value.year:04d}",
    }  # no day 366 of 2027
    if any(key in written and not text.lower().startswith(word.lower()) for key, word in begins.items()):
        return BAD
    if kind == "date":
        return value.date()
    return value.astimezone(UTC) if kind == "timestamptz" else value


@pytest.mark.parametrize("written", FORMATS)
@pytest.mark.parametrize("seed", SEEDS)
def test_formats(seed: int, written: str, tmp_path: Path) -> None:
    chance, kind = random.Random(seed), FORMATS[written]
    texts = [*SPECIAL]
    for _ in range(300):
        zone = timezone(timedelta(minutes=chance.randint(-1439, 1439)))
        at = datetime(chance.randint(1970, 2060), 1, 1, tzinfo=zone) + timedelta(seconds=chance.randint(0, 10**9))
        text = at.strftime(written)
        if chance.random() < 0.6:
            place = chance.randrange(len(text))
            text = text[:place] + chance.choice([*"0123456789:+-. ZaJ", ""]) + text[place + chance.randint(0, 1) :]
        texts.append(text)
    good, bad = judging.texts(texts, tmp_path, field("v", kind, formats=[written]))
    wrong = []
    for number, text in enumerate(texts):
        expected = moment_of(text, written, kind)
        value = BAD if number in bad else good[number]["v"]
        if isinstance(value, datetime) and value.tzinfo is not None:
            value = value.astimezone(UTC)
        if value != expected:
            wrong.append((text, value, expected))
    assert wrong == []


def decimal_of(value: float, precision: int, scale: int) -> Any:
    """The decimal with the fewest digits that stand for the double, where it fits."""
    if not math.isfinite(value):
        return BAD
    exact = Decimal(repr(value))
    scaled = exact.scaleb(scale) if exact else Decimal(0)
    if scaled != scaled.to_integral_value() or abs(scaled) >= Decimal(10) ** precision:
        return BAD
    return scaled.to_integral_value()


@pytest.mark.parametrize("seed", SEEDS)
def test_doubles_of_parquet_as_decimals(seed: int, tmp_path: Path) -> None:
    chance = random.Random(seed)
    scale = chance.randint(0, 12)
    values = [round(chance.uniform(-(10**6), 10**6), chance.randint(0, 15)) for _ in range(2000)]
    values += [0.1 + 0.2, 1e22, 5e-324, -0.0, float("inf"), float("nan"), 1e-6, 123456789.123456789]
    pq.write_table(pa.table({"v": values}), tmp_path / "a.parquet")
    good, bad = judging.parquet(tmp_path / "a.parquet", [field("v", f"decimal(18,{scale})")], tmp_path)
    for number, value in enumerate(values):
        expected = decimal_of(value, 18, scale)
        assert (number in bad) == (expected is BAD), value
        if expected is not BAD:
            assert good[number]["v"].scaleb(scale) == expected


def options(chance: random.Random) -> dict[str, Any]:
    """How a file is written, in ways that few use."""
    return {
        "compression": chance.choice(["none", "snappy", "gzip", "zstd", "lz4", "brotli"]),
        "data_page_version": chance.choice(["1.0", "2.0"]),
        "version": chance.choice(["1.0", "2.4", "2.6"]),
        "use_dictionary": chance.random() < 0.5,
        "dictionary_pagesize_limit": chance.choice([64, 1 << 20]),
        "data_page_size": chance.choice([16, 1000, 1 << 20]),
        "row_group_size": chance.choice([1, 7, 1000]),
        "write_page_checksum": chance.random() < 0.5,
        "store_schema": chance.random() < 0.5,
        "write_statistics": chance.random() < 0.5,
    }


def columns(chance: random.Random, rows: int) -> tuple[dict[str, pa.Array], list[dict[str, Any]], dict[str, list[Any]]]:
    """Columns of several types; the fields they are for; and the values that are expected, BAD where none fits."""

    def some(make: Any) -> list[Any]:
        return [None if chance.random() < 0.2 else make() for _ in range(rows)]

    whole = some(lambda: chance.randint(-(1 << 63), (1 << 63) - 1) >> chance.randint(0, 62))
    words = some(lambda: chance.choice(["", "a", "ß€", "x" * 300, str(chance.randint(0, 9)), "3.7"]))
    days = some(lambda: chance.randint(-800_000, 3_000_000))
    prices = some(lambda: Decimal(chance.randint(-(10**17), 10**17) // 10 ** chance.randint(0, 16)).scaleb(-3))
    first, last = date(1, 1, 1).toordinal() - 719_163, date(9999, 12, 31).toordinal() - 719_163
    arrays = {
        "whole": pa.array(whole, pa.int64()),
        "small": pa.array(whole, pa.int64()),
        "words": pa.array(words, pa.string()),
        "counted": pa.array(words, pa.string()).dictionary_encode() if chance.random() < 0.5 else pa.array(words),
        "days": pa.array(days, pa.int32()).cast(pa.date32()),
        "prices": pa.array(prices, pa.decimal128(20, 3)),
    }
    fields = [
        field("whole", "long"),
        field("small", "int"),
        field("words", "string"),
        field("counted", "long"),
        field("days", "date"),
        field("prices", "decimal(14,2)"),
    ]
    cent = Decimal("0.01")
    expected = {
        "whole": whole,
        "small": [v if v is None or -(1 << 31) <= v < 1 << 31 else BAD for v in whole],
        "words": words,
        "counted": [v if v is None else int(v) if v.isdigit() and v.isascii() else BAD for v in words],
        "days": [v if v is None else date.fromordinal(v + 719_163) if first <= v <= last else BAD for v in days],
        "prices": [
            v if v is None else v.quantize(cent) if v == v.quantize(cent) and abs(v) < 10**12 else BAD for v in prices
        ],
    }
    return arrays, fields, expected


@pytest.mark.parametrize("seed", [each * 12 + part for each in SEEDS for part in range(12)])
def test_parquet_written_in_odd_ways(seed: int, tmp_path: Path) -> None:
    """Every row is in the table with each of its values, or bad because one of them does not fit."""
    chance = random.Random(seed)
    arrays, fields, expected = columns(chance, rows=chance.choice([0, 1, 50]))
    names = chance.sample([*arrays], k=chance.randint(1, 4))
    table = pa.table({name: arrays[name] for name in arrays})
    pq.write_table(table, tmp_path / "a.parquet", **options(chance))
    used = [each for each in fields if each["name"] in names]
    good, bad = judging.parquet(tmp_path / "a.parquet", used, tmp_path)
    assert len(good) + len(bad) == table.num_rows
    for row in range(table.num_rows):
        right = {each["name"]: expected[each["name"]][row] for each in used}
        if any(value is BAD for value in right.values()):
            assert row in bad, right
        else:
            assert good.get(row) == right
