"""How texts become values: the settings of a field and of all fields, in CSV and in JSON, on both ways of reading."""

import json
import os
import random
import re
from datetime import UTC, date, datetime, timedelta
from decimal import ROUND_HALF_UP, Decimal
from pathlib import Path
from typing import Any
from zoneinfo import ZoneInfo

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from penstock.api import parsedfields
from penstock.api.fields import Schema
from penstock.api.parsing import Parsing
from worker import judging
from worker.pods import a_pod, csv, field

SEEDS = range(int(os.environ.get("PENSTOCK_FUZZ_SEEDS", "4")))
BAD = object()
BLANKS = " \t\r\n\u00a0\u2003\u3000"
MOMENT = re.compile(r"(\d{4}-\d{2}-\d{2})([T ]\d{2}:\d{2}(:\d{2})?)?", re.ASCII)


def judged(texts: list[str | None], tmp_path: Path, kind: str, **settings: Any) -> list[Any]:
    """What each text becomes, BAD where the row is bad."""
    good, bad = judging.texts(texts, tmp_path, field("v", kind, **settings))
    return [BAD if number in bad else good[number]["v"] for number in range(len(texts))]


def utc(written: str) -> datetime:
    """A time of UTC."""
    return datetime.fromisoformat(written).replace(tzinfo=UTC)


@pytest.mark.parametrize(
    ("kind", "settings", "expected"),
    [
        ("string", {"trim": True}, {"  a b\t": "a b", "\u3000": "", "x": "x"}),
        ("string", {"trim": True, "nullValues": ["", "NA"]}, {"  ": None, " NA ": None, "N A": "N A"}),
        ("string", {"nullValues": ["NA"]}, {" NA": " NA", "NA": None}),
        ("long", {"trim": True}, {" 7\u00a0": 7, "\u00a0": BAD, "7 7": BAD, "x": BAD}),
        ("date", {"trim": True}, {" 2026-01-31 ": date(2026, 1, 31), "2026-01-31": date(2026, 1, 31)}),
        ("boolean", {"trim": True}, {" yes ": True, "no": False, " maybe": BAD}),
        ("boolean", {"booleans": {"trueValues": ["J", "on"], "falseValues": ["N"]}},
         {"J": True, "on": True, "N": False, "j": BAD, "true": BAD, "1": BAD}),
        ("decimal(9,2)", {"decimal": ","}, {"1,5": Decimal("1.50"), "1.5": BAD, "1,555": BAD}),
        ("double", {"decimal": ",", "thousands": "."}, {"1.234,5": 1234.5, "1.5": BAD, "12.34": BAD, "7": 7.0}),
        ("long", {"thousands": "\u2019"}, {"1\u2019234": 1234, "12\u201934": BAD, "1234": 1234}),
        ("timestamptz", {"timeZone": "Europe/Paris"},
         {"2026-07-01 12:00:00": utc("2026-07-01 10:00"), "2026-01-01T12:00": utc("2026-01-01 11:00"),
          "2026-07-01 12:00:00+05": utc("2026-07-01 07:00"), "2026-10-25 03:00:00": utc("2026-10-25 02:00"),
          "2026-03-29 02:30:00": BAD, "2026-10-25 02:30:00": BAD, "infinity": BAD, "0000-01-01 00:00:00": BAD}),
        ("timestamptz", {"timeZone": "Europe/Paris", "formats": ["%d.%m.%Y %H:%M", "%d.%m.%Y %H:%M %z"]},
         {"01.07.2026 12:00": utc("2026-07-01 10:00"), "01.07.2026 12:00 +01": utc("2026-07-01 11:00"),
          "25.10.2026 02:30": BAD, "2026-07-01 12:00": BAD}),
    ],
)  # fmt: skip
def test_settings_of_a_field(kind: str, settings: dict[str, Any], expected: dict[str, Any], tmp_path: Path) -> None:
    assert dict(zip(expected, judged([*expected], tmp_path, kind, **settings), strict=True)) == expected
    for text, value in expected.items():  # by itself a text may be read by Arrow, and among others by SQL
        assert judged([text], tmp_path, kind, **settings) == [value], text


@pytest.mark.parametrize("seed", SEEDS)
def test_trimmed_texts_are_read_as_if_nothing_stood_around_them(seed: int, tmp_path: Path) -> None:
    chance = random.Random(seed)
    kind = chance.choice(["long", "double", "decimal(12,3)", "date", "timestamp", "boolean", "string"])
    bare = [
        chance.choice(["7", "-1.50", "2026-01-31", "2026-01-31 10:20:30", "yes", "x y", "", "1e3"]) for _ in range(200)
    ]
    around = [
        "".join(chance.choices(BLANKS, k=chance.randint(0, 2)))
        + text
        + "".join(chance.choices(BLANKS, k=chance.randint(0, 2)))
        for text in bare
    ]
    assert judged([*around], tmp_path, kind, trim=True) == judged([*bare], tmp_path, kind)


@pytest.mark.parametrize("seed", SEEDS)
@pytest.mark.parametrize("zone", ["America/New_York", "Australia/Lord_Howe", "Pacific/Apia", "Europe/London"])
def test_times_of_a_zone_by_pythons_zones(seed: int, zone: str, tmp_path: Path) -> None:
    """A time is a value where one point in time is shown so; Python tells by its fold which that is."""
    chance, place = random.Random(seed), ZoneInfo(zone)
    begin = datetime(chance.choice([1971, 2011, 2026]), 1, 1)
    texts = [f"{begin + timedelta(minutes=30 * step)}" for step in chance.sample(range(17520), 1500)]
    texts += [f"{day} {hour:02d}:{minute:02d}:00" for day in ("2011-12-30", "2026-03-08", "2026-04-05", "2026-10-25")
              for hour in range(4) for minute in (0, 15, 45)]  # fmt: skip
    for text, value in zip(texts, judged([*texts], tmp_path, "timestamptz", timeZone=zone), strict=True):
        local = datetime.fromisoformat(text)
        points = {local.replace(tzinfo=place, fold=fold).astimezone(UTC) for fold in (0, 1)}
        shown = {point for point in points if point.astimezone(place).replace(tzinfo=None) == local}
        assert value == (shown.pop() if len(shown) == 1 else BAD), text


NUMBERS = {
    '"1.234,50"': Decimal("1234.50"),
    '"1,5"': Decimal("1.50"),
    "1.5": Decimal("1.50"),
    "1234.50": Decimal("1234.50"),
    "1e2": Decimal("100.00"),
    '"12.34"': Decimal("12.34"),
    "1.250": BAD,  # a number of JSON, or 1250 as a text: a chunk does not say which
    '"1.250"': BAD,
    "7": Decimal("7.00"),
    '"7"': Decimal("7.00"),
}


def test_separators_never_change_a_number_of_json(tmp_path: Path) -> None:
    pod = a_pod(tmp_path, field("n", "long"), field("v", "decimal(9,2)", decimal=",", thousands="."), form={"json": {}})
    lines = [f'{{"n": {number}, "v": {written}}}' for number, written in enumerate(NUMBERS)]
    (pod.data / "a.jsonl").write_text("\n".join(lines) + "\n")
    pod.work()
    values = {row["n"]: row["v"] for row in pod.rows()}
    assert [values.get(number, BAD) for number in range(len(NUMBERS))] == [*NUMBERS.values()]


def rounded(text: str, kind: str) -> Any:
    """The number by Python's decimals, a half away from zero."""
    if kind == "double":
        return float(text)
    scale, digits = (int(kind[10:-1]), int(kind[8:9])) if kind.startswith("decimal") else (0, 18)
    value = Decimal(text).quantize(Decimal(1).scaleb(-scale), ROUND_HALF_UP)
    if abs(value) >= Decimal(10) ** (digits - scale) and kind.startswith("decimal"):
        return BAD
    if kind == "int" and not -(1 << 31) <= value < 1 << 31:
        return BAD
    return value if kind.startswith("decimal") else int(value)


@pytest.mark.parametrize("seed", SEEDS)
@pytest.mark.parametrize("kind", ["int", "long", "double", "decimal(9,2)", "decimal(9,0)"])
def test_numbers_are_rounded_where_that_is_allowed(seed: int, kind: str, tmp_path: Path) -> None:
    chance = random.Random(seed)
    texts = ["2.5", "-2.5", "0.5", "2.345", "2.3449999999999999999999", "1e2", "1.25e1", "-0.004", "9999999.995"]
    for _ in range(300):
        whole, fraction = chance.randint(-(10**10), 10**10) >> chance.randint(0, 30), chance.randint(0, 10**6)
        texts.append(f"{whole}.{fraction}{chance.choice(['', '5', '500', 'e2', 'e-3'])}")
    for text, value in zip(texts, judged([*texts], tmp_path, kind, rounding="allow"), strict=True):
        assert value == rounded(text, kind), text
    assert judged(["NaN", "inf", "1.5x", "", "1e999"], tmp_path, kind, rounding="allow") == [BAD] * 5


def test_numbers_of_parquet_are_rounded_where_that_is_allowed(tmp_path: Path) -> None:
    values = [2.345, -0.5, 1e20, float("nan"), None]
    pq.write_table(pa.table({"v": values, "d": [Decimal("1.5"), None, None, None, None]}), tmp_path / "a.parquet")
    good, bad = judging.parquet(
        tmp_path / "a.parquet",
        [
            field("v", "decimal(9,2)", rounding="allow"),
            field("i", "int", from_="d", rounding="allow"),
            field("e", "int", from_="v * 2", rounding="allow"),
        ],
        tmp_path,
    )
    assert good[0] == {"v": Decimal("2.35"), "i": 2, "e": 5}
    assert (good[1]["e"], sorted(bad), good[4]["v"]) == (-1, [2, 3], None)


@pytest.mark.parametrize("form", ["csv", "json"])
def test_a_value_of_another_type_is_no_value_where_that_is_allowed(form: str, tmp_path: Path) -> None:
    fields = [field("id", "int", required=True), field("n", "long", minimum="0")]
    pod = a_pod(tmp_path, *fields, form=csv() if form == "csv" else {"json": {}})
    pod.dataset["schema"] = {"fields": fields, "onTypeMismatch": "null"}
    rows = [("1", "7"), ("2", "many"), ("three", "3"), ("4", "-4"), ("5", "3.7")]
    texts = ["id,n", *(",".join(row) for row in rows)]
    if form == "json":
        texts = [f'{{"id": "{first}", "n": "{second}"}}' for first, second in rows]
    (pod.data / f"a.{form}").write_text("\n".join(texts) + "\n")
    pod.work()
    assert sorted((row["id"], row["n"]) for row in pod.rows() if row["n"] is not None) == [(1, 7)]
    assert sorted(row["id"] for row in pod.rows() if row["n"] is None) == [2, 5]
    assert sorted((row["field"], row["reason"]) for row in pod.bad()) == [("id", "WrongType"), ("n", "BelowMinimum")]


ALL = {
    "nullValues": ["-"],
    "trim": True,
    "booleans": {"trueValues": ["ja"], "falseValues": ["nein"]},
    "dateFormats": ["%d.%m.%Y"],
    "timestampFormats": ["%d.%m.%Y %H:%M", "%d.%m.%Y %H:%M %z"],
    "timeZone": "Europe/Berlin",
    "decimal": ",",
    "thousands": ".",
}
FIELDS = [
    field("id", "int"),
    field("paid", "boolean"),
    field("day", "date"),
    field("at", "timestamp"),
    field("sent", "timestamptz"),
    field("price", "decimal(9,2)"),
    field("us", "date", formats=["%m/%d/%Y"]),
    field("twice", "decimal(9,2)", from_="CASE WHEN price NOT LIKE '%-%' THEN price::decimal(9,2) * 2 END"),
]
WRITTEN = {
    "id": " 1 ",
    "paid": "ja",
    "day": "31.01.2026",
    "at": "31.01.2026 10:00",
    "sent": "31.01.2026 10:00",
    "price": "1.234,50",
    "us": "01/31/2026",
}


@pytest.mark.parametrize("form", ["csv", "json"])
def test_settings_of_all_fields(form: str, tmp_path: Path) -> None:
    """CSV and JSON say the same; what a field sets itself takes precedence."""
    schema = parsedfields.applied(Schema.model_validate({"fields": FIELDS}), Parsing.model_validate(ALL))
    given = csv(delimiter=";") if form == "csv" else {"json": {}}
    pod = a_pod(tmp_path, *schema.to_object()["fields"], form=given)
    if form == "csv":
        texts = [";".join(WRITTEN), ";".join(WRITTEN.values()), ";".join("-" for _ in WRITTEN)]
    else:
        texts = [json.dumps(WRITTEN), json.dumps(dict.fromkeys(WRITTEN, " - "))]
    (pod.data / f"a.{form}").write_text("\n".join(texts) + "\n")
    pod.work()
    assert pod.bad() == []
    day, local = date(2026, 1, 31), datetime(2026, 1, 31, 10)
    sent = datetime(2026, 1, 31, 9, tzinfo=UTC)
    price = Decimal("1234.50")
    first = {
        "id": 1,
        "paid": True,
        "day": day,
        "at": local,
        "sent": sent,
        "price": price,
        "us": day,
        "twice": price * 2,
    }
    assert sorted(pod.rows(), key=lambda row: row["id"] is None) == [first, dict.fromkeys(first)]
