"""The normative matrix: source format × type × written value → the exact value, or quarantine. One case a cell.

Not covered: `rounding: allow`, which the language does not have yet.
"""

from datetime import UTC, date, datetime
from decimal import Decimal
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from worker.pods import a_pod, csv, field

BAD = object()
"""The row goes to the quarantine."""

TEXT: list[tuple[str, str, Any]] = [
    ("string", "abc", "abc"),
    ("string", " padded ", " padded "),
    ("string", "x\0y", "x\0y"),
    ("string", "ß€😀", "ß€😀"),
    ("boolean", "true", True),
    ("boolean", "FALSE", False),
    ("boolean", "1", True),
    ("boolean", "0", False),
    ("boolean", "yes", True),
    ("boolean", "2", BAD),
    ("boolean", "maybe", BAD),
    ("int", "0", 0),
    ("int", "-7", -7),
    ("int", "+7", 7),
    ("int", " 12 ", 12),
    ("int", "007", 7),
    ("int", "3.0", 3),
    ("int", "2147483647", 2147483647),
    ("int", "2147483648", BAD),
    ("int", "3.7", BAD),
    ("int", "1e3", BAD),
    ("int", "0x1F", BAD),
    ("int", "1_000", BAD),
    ("int", "1,000", BAD),
    ("int", "NA", BAD),
    ("long", "9223372036854775807", 9223372036854775807),
    ("long", "-9223372036854775808", -9223372036854775808),
    ("long", "9223372036854775808", BAD),
    ("long", "3.7", BAD),
    ("long", "9007199254740993", 9007199254740993),
    ("double", "0.1", 0.1),
    ("double", "-1.5e-7", -1.5e-7),
    ("double", ".5", 0.5),
    ("double", "5.", 5.0),
    ("double", "-0", -0.0),
    ("double", "0.000", 0.0),
    ("double", "1e308", 1e308),
    ("double", "9007199254740992", 9007199254740992.0),
    ("double", "100000000000000000000", 1e20),
    ("double", "9007199254740993", BAD),
    ("double", "1e400", BAD),
    ("double", "-1e400", BAD),
    ("double", "1e-400", BAD),
    ("double", "nan", BAD),
    ("double", "inf", BAD),
    ("double", "1_0", BAD),
    ("double", "1,5", BAD),
    ("decimal(5,2)", "1.99", Decimal("1.99")),
    ("decimal(5,2)", "1.9", Decimal("1.90")),
    ("decimal(5,2)", "1.990", Decimal("1.99")),
    ("decimal(5,2)", ".5", Decimal("0.50")),
    ("decimal(5,2)", "-999.99", Decimal("-999.99")),
    ("decimal(5,2)", "1.999", BAD),
    ("decimal(5,2)", "0.001", BAD),
    ("decimal(5,2)", "1000", BAD),
    ("decimal(5,2)", "1e2", Decimal("100.00")),
    ("decimal(5,2)", "-1.5E-1", Decimal("-0.15")),
    ("decimal(5,2)", "99999.e-2", Decimal("999.99")),
    ("decimal(5,2)", "0.00001e7", Decimal("100.00")),
    ("decimal(5,2)", "0e-400", BAD),
    ("decimal(5,2)", "1e3", BAD),
    ("decimal(5,2)", ".51300e5", BAD),
    ("decimal(5,2)", "1e-3", BAD),
    ("decimal(5,2)", "1e", BAD),
    ("decimal(5,2)", "1e99999999999", BAD),
    ("decimal(38,10)", "1e-7", Decimal("0.0000001000")),
    ("decimal(38,38)", "9E-38", Decimal("9E-38")),
    ("decimal(5,2)", "1_0.5", BAD),
    ("decimal(5,2)", ".", BAD),
    ("decimal(38,0)", "99999999999999999999999999999999999999", Decimal("99999999999999999999999999999999999999")),
    ("decimal(38,0)", "1.5", BAD),
    ("decimal(38,30)", "0.100000000000000005550000000001", Decimal("0.100000000000000005550000000001")),
    ("date", "2013-01-05", date(2013, 1, 5)),
    ("date", "0001-01-01", date(1, 1, 1)),
    ("date", "9999-12-31", date(9999, 12, 31)),
    ("date", "2012-02-29", date(2012, 2, 29)),
    ("date", "2013-02-29", BAD),
    ("date", "2013-1-5", BAD),
    ("date", "2013/01/05", BAD),
    ("date", "05.01.2013", BAD),
    ("date", "2013-01-05 10:00:00", BAD),
    ("date", "10000-01-01", BAD),
    ("date", "infinity", BAD),
    ("date", "epoch", BAD),
    ("date", "0000-01-01", BAD),
    ("timestamp", "2013-01-05 10:20:30", datetime(2013, 1, 5, 10, 20, 30)),
    ("timestamp", "2013-01-05T10:20:30", datetime(2013, 1, 5, 10, 20, 30)),
    ("timestamp", "2013-01-05 10:20", datetime(2013, 1, 5, 10, 20)),
    ("timestamp", "2013-01-05", datetime(2013, 1, 5)),
    ("timestamp", "2013-01-05 10:20:30.123456", datetime(2013, 1, 5, 10, 20, 30, 123456)),
    ("timestamp", "2013-01-05 10:20:30.5", datetime(2013, 1, 5, 10, 20, 30, 500000)),
    ("timestamp", "2013-01-05 10:20:30.123456000", datetime(2013, 1, 5, 10, 20, 30, 123456)),
    ("timestamp", "2013-01-05 10:20:30.1234567", BAD),
    ("timestamp", "2013-01-05T10:20:30Z", BAD),
    ("timestamp", "2013-01-05 10:20:30+02", BAD),
    ("timestamp", "2013-01-05 24:00:00", BAD),
    ("timestamp", "2013-01-05 10:20:60", BAD),
    ("timestamp", "infinity", BAD),
    ("timestamptz", "2013-01-05T10:20:30Z", datetime(2013, 1, 5, 10, 20, 30, tzinfo=UTC)),
    ("timestamptz", "2013-01-05 10:20:30+02", datetime(2013, 1, 5, 8, 20, 30, tzinfo=UTC)),
    ("timestamptz", "2013-01-05T10:20:30-05:30", datetime(2013, 1, 5, 15, 50, 30, tzinfo=UTC)),
    ("timestamptz", "2013-01-05T10:20:30", BAD),
    ("timestamptz", "2013-01-05", BAD),
    ("timestamptz", "2013-01-05T10:20:30.1234567Z", BAD),
]

JSON_ONLY: list[tuple[str, str, Any]] = [
    ("string", "3.70", "3.70"),
    ("string", "1E5", "1E5"),
    ("string", "1e-7", "1e-7"),
    ("string", "-0", "-0"),
    ("string", "-0.0", "-0.0"),
    ("string", "0", "0"),
    ("string", "1e400", "1e400"),
    ("string", '"1.10"', "1.10"),
    ("string", '"0", "o": {"v": 1.10}', "0"),
    ("string", '1.1, "o": {"v": 1.10}', "1.1"),
    ("string", '1.10, "v": 1.100', BAD),
    ("string", '1.10, "\\u0076": null', BAD),
    ("string", '1.10, "o": 1, "o": 2', "1.10"),
    ("string", '1.10, "o": "v"', "1.10"),
    ("string", '1.10, "o": "x\\"v\\": 1.100"', "1.10"),
    ("string", '1.1000, "o": "\\u00e9 \\u0041"', "1.1000"),
    ("string", 'null, "o": {"v": 1.10}', None),
    ("string", "[1.10]", "[1.10]"),
    ("string", ' [ "é", {"v": 1e0} ] ', '[ "é", {"v": 1e0} ]'),
    ("string", "true", "true"),
    ("string", '{"a": [1]}', '{"a": [1]}'),
    ("string", '{"a": "\\ud83d"}', '{"a": "\\ud83d"}'),
    ("string", '"\\ud83d"', BAD),
    ("string", "NaN", BAD),
    ("string", "Infinity", BAD),
    ("string", "-Infinity", BAD),
    ("string", "01", BAD),
    ("string", "+1", BAD),
    ("string", "1.", BAD),
    ("string", ".5", BAD),
    ("string", "0x1F", BAD),
    ("string", "tRue", BAD),
    ("string", "[8,]", BAD),
    ("string", '1, "o": {"x": 1,}', BAD),
    ("string", "1,", BAD),
    ("string", "'x'", BAD),
    ("string", '"x\ty"', BAD),
    ("string", '"\\x41"', BAD),
    ("string", '"\\u12"', BAD),
    ("string", '"x\x7fy"', "x\x7fy"),
    ("string", "1 /* one */", BAD),
    ("string", "1} {", BAD),
    ("string", "3e-999", "3e-999"),
    ("string", f"{'[' * 150}{']' * 150}", f"{'[' * 150}{']' * 150}"),
    ("string", f"{'[' * 1500}{']' * 1500}", BAD),
    ("string", "[" * 100_000, BAD),
    ("string", "null", None),
    ("long", "12345678901234567890", BAD),
    ("long", "3.7", BAD),
    ("long", '"17"', 17),
    ("long", "1E5", 100000),
    ("long", "-0", 0),
    ("long", "1.0", 1),
    ("long", "1e-1", BAD),
    ("long", "1e99999999999", BAD),
    ("long", "9223372036854775807", 9223372036854775807),
    ("int", "21e8", 2100000000),
    ("int", "22e8", BAD),
    ("int", "true", BAD),
    ("decimal(38,2)", "123456789012345678901234567890.12", Decimal("123456789012345678901234567890.12")),
    ("decimal(38,10)", "1e-7", Decimal("0.0000001000")),
    ("decimal(38,10)", "1E5", Decimal("100000.0000000000")),
    ("double", "1e400", BAD),
    ("double", "3e-999", BAD),
    ("double", "1E5", 1e5),
    ("double", "NaN", BAD),
    ("boolean", "true", True),
]

PARQUET: list[tuple[str, pa.DataType, Any, Any]] = [
    ("long", pa.int32(), 7, 7),
    ("int", pa.int64(), 2**31, BAD),
    ("long", pa.uint64(), 2**64 - 1, BAD),
    ("long", pa.float64(), 3.0, 3),
    ("long", pa.float64(), 3.7, BAD),
    ("double", pa.int64(), 2**53 + 1, BAD),
    ("double", pa.int64(), 2**53, 2.0**53),
    ("double", pa.float32(), 0.5, 0.5),
    ("double", pa.float64(), 1e308, 1e308),
    ("decimal(5,2)", pa.decimal128(10, 3), Decimal("1.990"), Decimal("1.99")),
    ("decimal(5,2)", pa.decimal128(10, 3), Decimal("1.999"), BAD),
    ("decimal(5,2)", pa.int64(), 1000, BAD),
    ("decimal(5,2)", pa.float64(), 1.999, BAD),
    ("string", pa.string(), "abc", "abc"),
    ("string", pa.int64(), 17, "17"),
    ("string", pa.bool_(), True, "true"),
    ("boolean", pa.bool_(), True, True),
    ("date", pa.date32(), date(2013, 1, 5), date(2013, 1, 5)),
    ("date", pa.timestamp("us"), datetime(2013, 1, 5), date(2013, 1, 5)),
    ("date", pa.timestamp("us"), datetime(2013, 1, 5, 1), BAD),
    ("timestamp", pa.date32(), date(2013, 1, 5), datetime(2013, 1, 5)),
    ("timestamp", pa.timestamp("us"), datetime(2013, 1, 5, 1), datetime(2013, 1, 5, 1)),
    ("timestamp", pa.timestamp("ms"), datetime(2013, 1, 5, 1), datetime(2013, 1, 5, 1)),
    ("timestamp", pa.timestamp("ns"), 1_000_000_001, BAD),
    ("timestamp", pa.timestamp("ns"), 1_000_001_000, datetime(1970, 1, 1, 0, 0, 1, 1)),
    ("timestamptz", pa.timestamp("us", "UTC"), datetime(2013, 1, 5, tzinfo=UTC), datetime(2013, 1, 5, tzinfo=UTC)),
    ("long", pa.string(), "17", 17),
    ("long", pa.string(), "3.7", BAD),
]

REFUSED: list[tuple[str, pa.DataType]] = [
    ("timestamp", pa.timestamp("us", "UTC")),
    ("timestamptz", pa.timestamp("us")),
    ("long", pa.bool_()),
    ("date", pa.int64()),
    ("boolean", pa.int64()),
]


def _number(table: list[tuple[str, str, Any]]) -> dict[str, list[tuple[int, str, Any]]]:
    """The cells by type, each with its number in the table: one load for each type."""
    by_type: dict[str, list[tuple[int, str, Any]]] = {}
    for number, (kind, written, expected) in enumerate(table):
        by_type.setdefault(kind, []).append((number, written, expected))
    return by_type


def _same(found: Any, expected: Any) -> bool:
    if isinstance(found, datetime) and found.tzinfo is not None:
        found = found.astimezone(UTC)
    return type(found) is type(expected) and repr(found) == repr(expected)


def _wrong(cells: list[tuple[int, str, Any]], good: dict[int, Any], bad: set[int]) -> list[str]:
    wrong = []
    for number, written, expected in cells:
        if expected is BAD:
            if number not in bad:
                wrong.append(f"{written!r} became {good.get(number)!r}, and should be in the quarantine")
        elif number not in good or not _same(good[number], expected):
            wrong.append(f"{written!r} became {good.get(number, 'bad')!r}, and should be {expected!r}")
    return wrong


@pytest.mark.parametrize("kind", _number(TEXT))
def test_text_in_csv(kind: str, tmp_path: Path) -> None:
    cells = _number(TEXT)[kind]
    pod = a_pod(tmp_path, field("n", "int"), field("v", kind), form=csv(delimiter=";"))
    (pod.data / "a.csv").write_text("n;v\n" + "".join(f"{n};{written}\n" for n, written, _ in cells), encoding="utf-8")
    pod.work()
    good = {row["n"]: row["v"] for row in pod.rows()}
    assert _wrong(cells, good, {cells[row["position"] - 2][0] for row in pod.bad()}) == []


@pytest.mark.parametrize("kind", _number(JSON_ONLY))
def test_values_of_json_lines(kind: str, tmp_path: Path) -> None:
    cells = _number(JSON_ONLY)[kind]
    pod = a_pod(tmp_path, field("n", "int"), field("v", kind), form={"json": {}})
    lines = "".join(f'{{"n": {n}, "v": {written}}}\n' for n, written, _ in cells)
    (pod.data / "a.jsonl").write_text(lines, encoding="utf-8")
    pod.work()
    good = {row["n"]: row["v"] for row in pod.rows()}
    assert _wrong(cells, good, {cells[row["position"] - 1][0] for row in pod.bad()}) == []


@pytest.mark.parametrize(("kind", "given", "value", "expected"), PARQUET)
def test_values_of_parquet(kind: str, given: pa.DataType, value: Any, expected: Any, tmp_path: Path) -> None:
    pod = a_pod(tmp_path, field("n", "int"), field("v", kind), form={"parquet": {}})
    pq.write_table(pa.table({"n": pa.array([0]), "v": pa.array([value], given)}), pod.data / "a.parquet")
    report = pod.work()
    assert report.state == "Succeeded", report.message
    good = {row["n"]: row["v"] for row in pod.rows()}
    assert _wrong([(0, str(value), expected)], good, {row["position"] - 1 for row in pod.bad()}) == []


@pytest.mark.parametrize(("kind", "given"), REFUSED)
def test_types_of_parquet_that_never_fit_are_refused(kind: str, given: pa.DataType, tmp_path: Path) -> None:
    pod = a_pod(tmp_path, field("v", kind), form={"parquet": {}})
    pq.write_table(pa.table({"v": pa.array([None], given)}), pod.data / "a.parquet")
    assert pod.work().reason == "WrongSpecification"
    assert pod.code == 2
    assert pod.rows() == []
