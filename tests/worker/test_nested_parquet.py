"""Lists, structures and maps of Parquet: their values are read as those of a column of the same type are."""

import json
import random
from datetime import date, datetime, timedelta
from decimal import Decimal
from pathlib import Path
from typing import Any

import duckdb
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from penstock.connectors.files.formats import carriers, nestedcells
from penstock.language.errors import InvalidSpec
from worker import judging
from worker.pods import a_pod, field

FAR = datetime(9999, 12, 31, 23, 59, 59, 999999)
LEAVES: dict[str, tuple[pa.DataType, str, list[Any]]] = {
    "moments of 96 bits": (pa.timestamp("us"), "INT96", [datetime(1, 1, 1), datetime(1500, 3, 1, 1, 2, 3, 4), FAR]),
    "float16": (pa.float16(), "FIXED_LEN_BYTE_ARRAY", [0.5, -65504.0, 0.0]),
    "wide decimal": (pa.decimal256(50, 2), "FIXED_LEN_BYTE_ARRAY", [Decimal("1.50"), Decimal("-0.01")]),
    "bytes": (pa.binary(), "BYTE_ARRAY", [b"", "é".encode(), b"abc"]),
    "text": (pa.string(), "BYTE_ARRAY", ["", "é", "abc"]),
    "whole": (pa.int64(), "INT64", [1, -(1 << 63)]),
}


def kind_of(chance: random.Random, leaf: pa.DataType, depth: int = 0) -> pa.DataType:
    """A type with such leaves, three deep at most."""
    if depth and (depth == 3 or chance.random() < 0.3):
        return leaf
    match chance.randrange(3):
        case 0:
            return pa.list_(kind_of(chance, leaf, depth + 1))
        case 1:
            names = ["a", "b"][: chance.randint(1, 2)]
            return pa.struct([(name, kind_of(chance, leaf, depth + 1)) for name in names])
        case _:
            return pa.map_(pa.string(), kind_of(chance, leaf, depth + 1))


def value_of(chance: random.Random, kind: pa.DataType, values: list[Any]) -> Any:
    """A value of the type, some of which are null or empty."""
    if chance.random() < 0.2:
        return None
    if pa.types.is_map(kind):
        return [(f"k{place}", value_of(chance, kind.item_type, values)) for place in range(chance.randrange(3))]
    if pa.types.is_list(kind):
        return [value_of(chance, kind.value_type, values) for _ in range(chance.randrange(4))]
    if pa.types.is_struct(kind):
        return {one.name: value_of(chance, one.type, values) for one in kind}
    return chance.choice(values)


def as_loaded(value: Any) -> Any:
    """The value as its carrier has it."""
    if isinstance(value, dict):
        return {key: as_loaded(entry) for key, entry in value.items()}
    if isinstance(value, list | tuple):
        return [as_loaded(entry) for entry in value]
    if isinstance(value, Decimal):
        return f"{value:f}"
    return value.decode() if isinstance(value, bytes) else value


@pytest.mark.parametrize("leaf", LEAVES)
def test_the_values_are_those_that_were_written(leaf: str, tmp_path: Path) -> None:
    """Types of any depth, in slices that begin anywhere: 40 of each leaf, seeded."""
    stored, physical, values = LEAVES[leaf]
    chance = random.Random(leaf)
    for _ in range(40):
        kind = kind_of(chance, stored)
        cells = [value_of(chance, kind, values) for _ in range(20)]
        column = pa.array(cells, kind)

        def of_leaf(kind: pa.DataType, _: int) -> nestedcells.Leaf:
            own = physical if kind != pa.string() else "BYTE_ARRAY"
            return carriers.carrier(kind, own, "NONE"), nestedcells.must_be_carried(kind, own)

        carrier = nestedcells.carrier(kind, of_leaf)
        given = column
        if carrier.twice:
            pq.write_table(pa.table({"c": column}), tmp_path / "a.parquet", use_deprecated_int96_timestamps=True)
            readings = [
                pq.read_table(tmp_path / "a.parquet", coerce_int96_timestamp_unit=unit)["c"].combine_chunks()
                for unit in ("s", "ns")
            ]
            given = pa.StructArray.from_arrays(readings, ["seconds", "nanoseconds"])
        first = chance.randrange(20)
        loaded, beside = carrier.carry(given.slice(first))
        assert beside == {}
        assert as_loaded(loaded.to_pylist()) == as_loaded(column.slice(first).to_pylist())


def test_bytes_that_are_no_text_make_their_row_bad_and_no_other(tmp_path: Path) -> None:
    pod = a_pod(tmp_path, field("v", "string", from_="c.v"), field("n", "long", from_="d[0]"), form={"parquet": {}})
    cells = [{"v": b"abc"}, {"v": b"\xff\xfe"}, None]
    lists = pa.array([[1], [2], [3]], pa.list_(pa.int64()))
    pq.write_table(
        pa.table({"c": pa.array(cells, pa.struct([("v", pa.binary())])), "d": lists}), pod.data / "a.parquet"
    )
    assert pod.work().state == "Succeeded"
    assert sorted(pod.rows(), key=lambda row: row["n"]) == [{"v": "abc", "n": 1}, {"v": None, "n": 3}]
    [bad] = pod.bad()
    assert (bad["position"], json.loads(bad["payload"])) == (2, {"c": {"v": "base64://4="}, "d": [2]})


def test_what_is_null_in_all_rows_of_a_file_is_null(tmp_path: Path) -> None:
    table = pa.table({"c": [{"a": "x", "b": None, "d": [None]}, None]})
    pq.write_table(table, tmp_path / "a.parquet")
    fields = [
        field("a", "string", from_="c.a"),
        field("b", "date", from_="c.b"),
        field("d", "long", from_="c.d[0]"),
    ]
    good, bad = judging.parquet(tmp_path / "a.parquet", fields, tmp_path)
    assert (good, bad) == ({0: {"a": "x", "b": None, "d": None}, 1: {"a": None, "b": None, "d": None}}, {})


def test_moments_of_96_bits_in_lists_and_structures(tmp_path: Path) -> None:
    """Spark writes all times so by default."""
    times = [FAR, datetime(1500, 3, 1), None, datetime(2020, 1, 1, 1, 2, 3, 4)]
    column = pa.array([{"at": [time]} for time in times], pa.struct([("at", pa.list_(pa.timestamp("us")))]))
    pq.write_table(pa.table({"c": column}), tmp_path / "a.parquet", use_deprecated_int96_timestamps=True)
    good, bad = judging.parquet(tmp_path / "a.parquet", [field("at", "timestamp", from_="c.at[0]")], tmp_path)
    assert ([row["at"] for row in good.values()], bad) == (times, {})


def test_days_of_spark_s_legacy_calendar_in_lists_structures_and_maps(tmp_path: Path) -> None:
    """They keep the year, month and day that were written; 29 February 1500 is none in ISO 8601."""
    written = date(1500, 3, 1) - date(1970, 1, 1) + timedelta(days=10)  # 2 March 1500 of the Julian calendar
    days = pa.array([written.days, written.days - 1, 0, written.days - 2], pa.int32()).cast(pa.date32())
    offsets = pa.array(range(5), pa.int32())
    table = pa.table(
        {
            "s": pa.StructArray.from_arrays([days], ["day"]),
            "l": pa.ListArray.from_arrays(offsets, days),
            "m": pa.MapArray.from_arrays(offsets, pa.array(["k"] * 4), days),
        }
    )
    pq.write_table(
        table.replace_schema_metadata({"org.apache.spark.version": "2.4.8"}), tmp_path / "a.parquet", version="2.6"
    )
    for path in ("s.day", "l[0]", "m.k"):
        good, bad = judging.parquet(tmp_path / "a.parquet", [field("day", "date", from_=path)], tmp_path)
        assert {row: values["day"] for row, values in good.items()} == {
            0: date(1500, 3, 1),
            2: date(1970, 1, 1),
            3: date(1500, 2, 28),
        }
        assert [*bad] == [1]
        assert "1500-02-29 of Spark's legacy calendar" in bad[1]["payload"]


def test_a_type_that_cannot_be_read_is_named(tmp_path: Path) -> None:
    with duckdb.connect() as connection:
        path = tmp_path / "a.parquet"
        connection.execute(f"COPY (SELECT {{'v': INTERVAL 1 DAY}} AS c, 1 AS n) TO '{path}'")
    with pytest.raises(InvalidSpec, match=r'the column "c" is of the type struct<.*>, which cannot be read'):
        judging.parquet(path, [field("v", "string", from_="c.v")], tmp_path)
    assert judging.parquet(path, [field("n", "int")], tmp_path)[0] == {0: {"n": 1}}
