"""Parquet that is damaged, encrypted or empty: the file is named, and that is all. Unused columns never matter."""

import random
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from penstock.language.errors import InvalidSpec
from worker import judging
from worker.pods import a_pod, field

NUMBERS = pa.table({"n": pa.array(range(500), pa.int64()), "s": [f"text {number}" for number in range(500)]})
FIELDS = [field("n", "long"), field("s", "string")]


def test_a_flipped_bit_is_noticed(tmp_path: Path) -> None:
    path = tmp_path / "a.parquet"
    pq.write_table(NUMBERS, path, compression="none", use_dictionary=False, write_page_checksum=True)
    data = bytearray(path.read_bytes())
    at = data.index((42).to_bytes(8, "little"))
    data[at] ^= 1
    path.write_bytes(data)
    with pytest.raises(InvalidSpec, match=r"a\.parquet cannot be read as Parquet: .*CRC checksum") as refused:
        judging.parquet(path, FIELDS, tmp_path)
    assert refused.value.reason == "WrongSpecification"


@pytest.mark.parametrize("seed", range(8))
def test_damage_names_the_file_or_is_none(seed: int, tmp_path: Path) -> None:
    """Bytes changed, cut and doubled anywhere, 40 times a seed: the file is refused by name, or read as something."""
    chance, path = random.Random(seed), tmp_path / "a.parquet"
    pq.write_table(NUMBERS, path, compression=chance.choice(["none", "zstd"]), data_page_size=512)
    whole = path.read_bytes()
    for _ in range(40):
        data = bytearray(whole)
        at = chance.randrange(len(data))
        match chance.randrange(3):
            case 0:
                data[at] ^= 1 << chance.randrange(8)
            case 1:
                del data[at : at + chance.randrange(1, 40)]
            case _:
                data[at:at] = data[at : at + chance.randrange(1, 40)]
        path.write_bytes(data)
        refusal = None
        try:
            judging.parquet(path, FIELDS, tmp_path)
        except InvalidSpec as refused:
            refusal = refused
        assert refusal is None or ("a.parquet" in refusal.message and refusal.reason == "WrongSpecification")


@pytest.mark.parametrize("content", [b"", b"PAR1", b"a\n1\n", b"PAR1\xff\xff\xff\x7fPAR1", b"PAR1\0\0\0\0\0\0\0\0PARE"])
def test_what_is_not_parquet_is_refused_by_name(content: bytes, tmp_path: Path) -> None:
    pod = a_pod(tmp_path, *FIELDS, form={"parquet": {}})
    (pod.data / "a.parquet").write_bytes(content)
    report = pod.work()
    assert report.reason == "WrongSpecification"
    assert "a.parquet" in (report.message or "")


def test_a_file_without_columns_lacks_those_of_the_fields(tmp_path: Path) -> None:
    pq.write_table(pa.table({}), tmp_path / "a.parquet")
    with pytest.raises(InvalidSpec, match=r'needs the column "n", which is not there; there are no columns\.'):
        judging.parquet(tmp_path / "a.parquet", FIELDS, tmp_path)


UNUSED: dict[str, pa.Array] = {
    "decimal256": pa.array([None] * 500, pa.decimal256(76, 38)),
    "null": pa.nulls(500),
    "float16": pa.array([0.5] * 500, pa.float16()),
    "view": pa.array(["x"] * 500, pa.string_view()),
    "nested": pa.array([[{"a": [1]}]] * 500),
    "map": pa.array([[("a", 1)]] * 500, pa.map_(pa.string(), pa.int64())),
    "duration": pa.array([1] * 500, pa.duration("us")),
    "year 84107": pa.array([30_000_000] * 500, pa.int32()).cast(pa.date32()),
    "not text": pa.array([b"\xff"] * 500),
    "dictionary": pa.array(["x"] * 500).dictionary_encode(),
    "run ends": pa.RunEndEncodedArray.from_arrays([500], pa.array([1.5])),
}


@pytest.mark.parametrize("kind", UNUSED)
def test_a_column_that_no_field_uses_never_matters(kind: str, tmp_path: Path) -> None:
    try:
        pq.write_table(NUMBERS.add_column(0, "unused", UNUSED[kind]), tmp_path / "a.parquet")
    except pa.ArrowNotImplementedError:
        pytest.skip("pyarrow does not write it")
    good, bad = judging.parquet(tmp_path / "a.parquet", FIELDS, tmp_path)
    assert not bad
    assert [row["n"] for row in good.values()] == [*range(500)]


def test_a_name_that_stands_twice_matters_only_to_its_fields(tmp_path: Path) -> None:
    path = tmp_path / "a.parquet"
    pq.write_table(pa.Table.from_arrays([[1], [2], [3]], names=["x", "n", "x"]), path)
    good, _ = judging.parquet(path, [field("n", "long")], tmp_path)
    assert good == {0: {"n": 2}}
    with pytest.raises(InvalidSpec, match='needs the column "x", which occurs twice'):
        judging.parquet(path, [field("x", "long")], tmp_path)


@pytest.mark.parametrize(
    ("column", "kind", "expected"),
    [
        (pa.array(["17", "18"]).dictionary_encode(), "long", [17, 18]),
        (pa.array(["17", "18"], pa.string_view()), "long", [17, 18]),
        (pa.array([b"a", b"b"], pa.binary_view()), "string", ["a", "b"]),
        (pa.array(["a", "b"], pa.large_string()), "string", ["a", "b"]),
        (pa.array([1, 2]).dictionary_encode(), "long", [1, 2]),
        (pa.array([0.5, 1.5], pa.float16()), "double", [0.5, 1.5]),
        (pa.array([None, None]), "date", [None, None]),
    ],
)
def test_types_of_arrow_alone(column: pa.Array, kind: str, expected: list[Any], tmp_path: Path) -> None:
    pq.write_table(pa.table({"v": column}), tmp_path / "a.parquet")
    good, _ = judging.parquet(tmp_path / "a.parquet", [field("v", kind)], tmp_path)
    assert [row["v"] for row in good.values()] == expected


@pytest.mark.parametrize(
    ("written", "kind"),
    [
        ("to_timestamp(n)", "timestamptz"),
        ("make_date(n::int, 1, 1)", "date"),
        ("d + INTERVAL '90000 years'", "timestamp"),
        ("d", "date"),
    ],
)
def test_days_that_expressions_compute_lie_in_the_years_1_to_9999(written: str, kind: str, tmp_path: Path) -> None:
    pod = a_pod(tmp_path, field("v", kind, from_=written), form={"parquet": {}})
    days = pa.array([0, 30_000_000], pa.int32()).cast(pa.date32())
    pq.write_table(pa.table({"n": [1970, 1_700_000_000_000], "d": days}), pod.data / "a.parquet")
    report = pod.work()
    assert report.state == "Succeeded", report.message
    assert "file:///volumes/data/a.parquet:2" in {row["locator"] for row in pod.bad()}
    assert len(pod.rows()) + len(pod.bad()) == 2


def test_a_row_that_is_too_long_is_bad_wherever_it_stands(tmp_path: Path) -> None:
    """A row group of one row, of many, in a dictionary or not, at the beginning or the end: the same row is bad."""
    long, short = "x" * (1 << 20) + "y", "x" * (1 << 20)
    for place in (0, 1, 70, 99):
        for options in ({"row_group_size": 1}, {}, {"use_dictionary": False}, {"data_page_size": 1000}):
            rows = [short if number % 50 == 3 else "short" for number in range(100)]
            rows[place] = long
            pq.write_table(pa.table({"n": [*range(100)], "s": rows}), tmp_path / "a.parquet", **options)
            good, bad = judging.parquet(tmp_path / "a.parquet", FIELDS, tmp_path)
            assert [*bad] == [place]
            assert bad[place]["error"] == "the row is longer than 1048576 bytes"
            assert len(bad[place]["payload"]) <= 4096
            assert [row["n"] for row in good.values()] == [number for number in range(100) if number != place]
