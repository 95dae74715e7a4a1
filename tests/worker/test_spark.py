"""Parquet by Spark (see otherwriters/README.md), against the values as Python had them before Spark wrote them."""

import math
from datetime import UTC, date, datetime
from decimal import Decimal
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from penstock.connectors.files.formats import oldcalendar
from worker import judging
from worker.pods import a_pod, csv, field

FILES = Path(__file__).with_name("otherwriters")
LAST = datetime(9999, 12, 31, 23, 59, 59, 999999, tzinfo=UTC)
TYPES = {
    "id": "long",
    "b": "int",
    "s": "int",
    "x": "double",
    "n": "decimal(9,2)",
    "m": "decimal(18,6)",
    "w": "decimal(38,10)",
    "day": "date",
    "at": "timestamptz",
    "local": "timestamp",
    "yes": "boolean",
    "t": "string",
}
ROWS: list[tuple[Any, ...]] = [
    (
        *(1, -128, -32768, 0.1, Decimal("1.25"), Decimal("-0.000001")),
        Decimal("1234567890123456789012345678.0123456789"),
        *(date(1582, 10, 4), datetime(1900, 1, 1, 0, 0, 0, 1, tzinfo=UTC), datetime(1500, 3, 1, 1, 2, 3, 4)),
        *(True, 'a "q" \\ , \n é '),
    ),
    (
        *(2, 127, 32767, math.nan, Decimal("-9999999.99"), Decimal("999999999999.999999"), Decimal("-1E-10")),
        *(date(9999, 12, 31), LAST, LAST.replace(tzinfo=None), False, ""),
    ),
    (3, *[None] * 11),
    (
        *(4, 0, 0, 5e-324, Decimal("0.00"), Decimal(0), Decimal(0)),
        *(date(1, 1, 1), datetime(1, 1, 1, tzinfo=UTC), datetime(1, 1, 1), True, "\\N"),
    ),
]
OLD: list[tuple[int, date | None, datetime | None]] = [
    (1, date(1, 1, 1), datetime(1, 1, 1, tzinfo=UTC)),
    (2, date(1500, 3, 10), datetime(1500, 3, 10, 1, 2, 3, 4, tzinfo=UTC)),
    (3, date(1582, 10, 4), datetime(1582, 10, 4, 23, 59, 59, 999999, tzinfo=UTC)),
    (4, date(1582, 10, 15), datetime(1582, 10, 15, tzinfo=UTC)),
    (5, None, None),
    (6, date(9999, 12, 31), LAST),
    (7, date(1200, 1, 1), datetime(1200, 6, 7, tzinfo=UTC)),
]
"""Rows of the files in the calendar of old versions of Spark."""


def _loaded(name: str, types: dict[str, str], scratch: Path) -> list[tuple[Any, ...]]:
    """The rows of a file, none of which is bad. Moments of 96 bits have no zone: they are UTC."""
    if "int96" in name:
        types = {**types, "at": "timestamp"}
    good, bad = judging.parquet(FILES / name, [{"name": name, "type": kind} for name, kind in types.items()], scratch)
    assert not bad, bad
    if "int96" in name:
        good = {
            row: {**values, "at": values["at"] and values["at"].replace(tzinfo=UTC)} for row, values in good.items()
        }
    return [tuple(row.values()) for row in good.values()]


@pytest.mark.parametrize("name", ["legacy.parquet", "int96.parquet", "v2.parquet"])
def test_every_type_of_spark_keeps_its_values(name: str, tmp_path: Path) -> None:
    rows = _loaded(name, TYPES, tmp_path)
    assert [str(value) for value in rows[1]] == [str(value) for value in ROWS[1]]  # NaN equals nothing
    assert [rows[0], *rows[2:]] == [ROWS[0], *ROWS[2:]]


@pytest.mark.parametrize("name", ["legacy-micros.parquet", "legacy-int96.parquet"])
def test_dates_before_1582_in_spark_s_legacy_calendar_stay_what_they_were(name: str, tmp_path: Path) -> None:
    assert _loaded(name, {"id": "long", "day": "date", "at": "timestamptz"}, tmp_path) == OLD


def test_what_the_legacy_calendar_leaves_open_is_bad(tmp_path: Path) -> None:
    """29 February 1500 was a day of the Julian calendar alone; the offset of another zone before 1900 is unknown."""
    julian = (date(1500, 3, 10) - date(1970, 1, 1)).days
    moments = [datetime(1899, 12, 31, tzinfo=UTC), datetime(1900, 1, 1, tzinfo=UTC)]
    at = pa.array(moments, pa.timestamp("us", "UTC"))
    table = pa.table({"day": pa.array([julian, 0], pa.int32()).cast(pa.date32()), "at": at})
    metadata = {"org.apache.spark.version": "2.4.8", "org.apache.spark.timeZone": "Europe/Berlin"}
    pq.write_table(table.replace_schema_metadata(metadata), tmp_path / "a.parquet")
    fields = [{"name": "day", "type": "date"}, {"name": "at", "type": "timestamptz"}]
    good, bad = judging.parquet(tmp_path / "a.parquet", fields, tmp_path)
    assert good == {1: {"day": date(1970, 1, 1), "at": moments[1]}}
    assert bad[0]["error"] == (
        'day: "1500-02-29 of Spark\'s legacy calendar" is not a date; '
        'at: "1899-12-31 of Spark\'s legacy calendar" is not a timestamptz'
    )
    assert not judging.parquet(tmp_path / "a.parquet", [{"name": "v", "type": "int", "from": "1"}], tmp_path)[1]


def test_which_versions_of_spark_wrote_the_legacy_calendar() -> None:
    """Spark 3.0 wrote moments of 96 bits in it always, and later versions only where the file says so."""
    version, moments, others = (
        "org.apache.spark.version",
        "org.apache.spark.legacyINT96",
        "org.apache.spark.legacyDateTime",
    )

    def applies(*, int96: bool, **metadata: str) -> bool:
        names = {"version": version, "moments": moments, "others": others}
        return oldcalendar.applies({names[key].encode(): each.encode() for key, each in metadata.items()}, int96=int96)

    assert applies(int96=True, version="2.4.8")
    assert applies(int96=False, version="2.4.8")
    assert applies(int96=True, version="3.0.3")
    assert not applies(int96=False, version="3.0.3")
    assert not applies(int96=True, version="3.1.0")
    assert applies(int96=True, version="3.1.0", moments="")
    assert not applies(int96=True, version="3.5.1", others="")
    assert applies(int96=False, version="3.5.1", others="")
    assert not applies(int96=True)


MORNING = datetime(2024, 1, 31, 12, 0, 0, 123000, tzinfo=UTC)
TEXTS: list[tuple[Any, ...]] = [
    (1, "plain", date(2024, 1, 31), MORNING, datetime(2024, 1, 31, 12), 1.5, Decimal("1.50"), True, "a"),
    (
        *(2, 'quote "q" \\ back\\"slash', date(1500, 3, 1), datetime(2024, 7, 1, tzinfo=UTC), None),
        *(1e300, Decimal("-0.01"), False, "b"),
    ),
    (3, "line\nbreak\r\nend", None, None, None, None, None, None, "a"),
    (4, "", date(9999, 12, 31), datetime(2024, 10, 27, 2, 30, tzinfo=UTC), None, None, None, None, "b=c/d"),
    (5, None, None, None, None, -0.0, None, None, "a"),
    (6, " lead trail ", *[None] * 6, "a"),
    (7, "comma, é 日", *[None] * 6, "a"),
    (8, "#hash\ttab", *[None] * 3, 5e-324, None, None, "a"),
]
"""What was written, without its microseconds: Spark writes milliseconds. Row 3 has NaN, and row 4 infinity."""
TEXT_TYPES = ["long", "string", "date", "timestamptz", "timestamp", "double", "decimal(10,2)", "boolean", "string"]
NO_NUMBERS = ["NaN", "Infinity", "\\N"]


@pytest.mark.parametrize(
    ("name", "form"),
    [
        ("spark.csv", csv(escape="\\")),
        ("spark-quoteall.csv.gz", csv(escape="\\", delimiter="\t")),
        ("spark-utf16.csv", csv(escape="\\", encoding="utf-16")),
        ("spark.jsonl", {"json": {}}),
    ],
)
def test_text_by_spark_keeps_its_values(name: str, form: dict[str, Any], tmp_path: Path) -> None:
    """CSV lacks the blanks around a text: Spark's writer leaves them out. What it writes beside is ignored."""
    names = ["id", "t", "d", "ts", "ntz", "x", "n", "b", "p"]
    fields = [field(each, kind, nullValues=NO_NUMBERS) for each, kind in zip(names, TEXT_TYPES, strict=True)]
    pod = a_pod(tmp_path, *fields, form=form)
    (pod.data / name).write_bytes((FILES / name).read_bytes())
    (pod.data / "_SUCCESS").touch()
    (pod.data / f".{name}.crc").write_bytes(b"crc\0")
    assert pod.work().datasets[0].counts.quarantined == 0
    expected = [tuple(value.strip() if value == " lead trail " else value for value in row) for row in TEXTS]
    rows = sorted((tuple(row.values()) for row in pod.rows()), key=lambda row: int(row[0]))
    right = TEXTS if "json" in form else expected
    assert (rows, [str(row[5]) for row in rows]) == (right, [str(row[5]) for row in right])  # -0.0 equals 0.0


@pytest.mark.parametrize("name", ["nested-int96.parquet", "nested-legacy.parquet"])
def test_lists_structures_and_maps_by_spark(name: str, tmp_path: Path) -> None:
    fields = [field("s", "date", from_="s.d"), field("m", "date", from_="m.k")]
    moments = "int96" in name
    fields.append(field("a", "timestamp" if moments else "date", from_="a[0]"))
    good, bad = judging.parquet(FILES / name, fields, tmp_path)
    days = [date(2024, 1, 31), date(1500, 3, 1), None, date(9999, 12, 31), *[None] * 4]
    assert (bad, [row["s"] for row in good.values()], [row["m"] for row in good.values()]) == ({}, days, days)
    if moments:
        first = [datetime(2024, 1, 31, 12, 0, 0, 123456), datetime(2024, 7, 1), None, datetime(2024, 10, 27, 2, 30)]
        assert [row["a"] for row in good.values()] == [*first, *[None] * 4]
    else:
        assert [row["a"] for row in good.values()] == days
