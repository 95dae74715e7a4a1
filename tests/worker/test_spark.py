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
