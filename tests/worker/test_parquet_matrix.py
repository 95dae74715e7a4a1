"""The normative matrix of Parquet: stored type x type of the language. One test a cell, and the page says the same."""

import json
import struct
from datetime import UTC, date, datetime
from decimal import Decimal
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from penstock.connectors.files.formats import matrix
from penstock.language.errors import InvalidSpec
from worker import judging
from worker.pods import field

BAD = object()
"""The row goes to the quarantine."""
Cells = dict[str, list[tuple[Any, Any]]]

_DAY = date(2013, 1, 5)
_AT = datetime(2013, 1, 5, 10, 20, 30, 123456)
_UTC = _AT.replace(tzinfo=UTC)
_EPOCH = datetime(1970, 1, 1)
_YEAR_10000, _YEAR_0 = 253_402_300_800, -62_135_596_801
"""The first second that is too late, and the last that is too early."""


def whole(bits: int, signed: bool = True) -> Cells:
    """The cells of an integer type: its ends and 7, wherever they fit."""
    low, high = (-(1 << bits - 1), (1 << bits - 1) - 1) if signed else (0, (1 << bits) - 1)
    values = [low, 7, high]

    def fitting(lowest: int, highest: int) -> list[tuple[Any, Any]]:
        return [(value, value if lowest <= value <= highest else BAD) for value in values]

    return {
        "string": [(value, str(value)) for value in values],
        "int": fitting(-(1 << 31), (1 << 31) - 1),
        "long": fitting(-(1 << 63), (1 << 63) - 1),
        "double": [(value, float(value) if int(float(value)) == value else BAD) for value in values],
        "decimal(12,2)": [
            (value, Decimal(value).quantize(Decimal("0.01")) if abs(value) < 10**10 else BAD) for value in values
        ],
    }


def moments(per_second: int, zone: str = "") -> Cells:
    """The cells of a time: in the years 1 to 9999, at their ends, and beyond where the unit reaches so far."""
    tz = UTC if zone else None
    good = [(_YEAR_0 + 1, datetime(1, 1, 1)), (_YEAR_10000 - 1, datetime(9999, 12, 31, 23, 59, 59)), (0, _EPOCH)]
    bad = [
        (_YEAR_10000, "10000-01-01 00:00:00"),
        (_YEAR_0, "0000-12-31 23:59:59"),
        (2_592_002_678_400, "84107-04-19 00:00:00"),
    ]
    if per_second == 10**9:
        good, bad = [(0, _EPOCH), (1_357_381_230, datetime(2013, 1, 5, 10, 20, 30))], []
    ticks = [(seconds * per_second, value.replace(tzinfo=tz)) for seconds, value in good]
    beyond = [(seconds * per_second, text + zone) for seconds, text in bad]
    texts = [(given, value.replace(tzinfo=None).isoformat(" ") + zone) for given, value in ticks] + beyond
    if per_second == 10**9:
        beyond = [(1_000_000_001, f"1970-01-01 00:00:01.000000001{zone}")]
        texts += beyond
    cells: Cells = {"string": texts}
    cells["timestamptz" if zone else "timestamp"] = [*ticks, *((given, BAD) for given, _ in beyond)]
    if not zone:
        cells["date"] = [(given, value.date() if not given % (86400 * per_second) else BAD) for given, value in ticks]
        cells["date"] += [(given, BAD) for given, _ in beyond]
    return cells


def text() -> Cells:
    """The cells of text: what a CSV file would give, and bytes that are not UTF-8."""
    return {
        "string": [("abc", "abc"), ("", ""), ("ß€😀", "ß€😀"), (b"\xff\xfe", BAD)],
        "boolean": [("true", True), ("maybe", BAD)],
        "int": [("17", 17), ("3.7", BAD)],
        "long": [("17", 17), ("9223372036854775808", BAD)],
        "double": [("0.1", 0.1), ("9007199254740993.0", BAD)],
        "decimal(12,2)": [("1.10", Decimal("1.10")), ("1.999", BAD)],
        "date": [("2013-01-05", _DAY), ("05.01.2013", BAD)],
        "timestamp": [("2013-01-05 10:20:30.123456", _AT), ("2013-01-05 10:20:30+02", BAD)],
        "timestamptz": [("2013-01-05 10:20:30.123456Z", _UTC), ("2013-01-05 10:20:30+99", BAD)],
    }


TIMES = {
    "time ms": [(37_230_123, "10:20:30.123"), (0, "00:00:00.000"), (86_400_000, BAD), (-1, BAD)],
    "time us": [(37_230_123_456, "10:20:30.123456"), (86_400_000_000, BAD)],
    "time ns": [(37_230_123_456_789, "10:20:30.123456789"), (-1, BAD)],
}
FLOATS: Cells = {
    "string": [(0.5, "0.5"), (float("inf"), "inf"), (-0.0, "-0.0")],
    "int": [(3.0, 3), (3.5, BAD), (float("nan"), BAD), (float("inf"), BAD)],
    "long": [(3.0, 3), (3.5, BAD), (float("-inf"), BAD)],
    "double": [(0.5, 0.5), (float("inf"), float("inf")), (float("nan"), float("nan")), (-0.0, -0.0)],
    "decimal(12,2)": [(0.5, Decimal("0.50")), (0.125, BAD), (float("nan"), BAD)],
}
CELLS: dict[str, Cells] = {
    "boolean": {"boolean": [(True, True), (False, False)], "string": [(True, "true"), (False, "false")]},
    **{f"int {bits}": whole(bits) for bits in (8, 16, 32, 64)},
    **{f"uint {bits}": whole(bits, signed=False) for bits in (8, 16, 32, 64)},
    "float16": FLOATS,
    "float": {
        **FLOATS,
        "string": [*FLOATS["string"], (0.1, "0.1")],
        "double": [*FLOATS["double"], (0.1, struct.unpack("f", struct.pack("f", 0.1))[0])],
        "decimal(12,2)": [*FLOATS["decimal(12,2)"], (0.1, Decimal("0.10")), (16777216.0, Decimal("16777216.00"))],
    },
    "double": {
        **FLOATS,
        "string": [*FLOATS["string"], (0.1, "0.1"), (5e-324, "5e-324")],
        "long": [*FLOATS["long"], (2.0**53, 2**53), (2.0**63, BAD)],
        "decimal(12,2)": [*FLOATS["decimal(12,2)"], (0.1, Decimal("0.10")), (0.1 + 0.2, BAD), (1e10, BAD)],
    },
    "decimal(10,2)": {
        "string": [(Decimal("1.50"), "1.50"), (Decimal("-0.07"), "-0.07")],
        "int": [(Decimal("7.00"), 7), (Decimal("7.50"), BAD), (Decimal("99999999.00"), 99999999)],
        "long": [(Decimal("7.00"), 7), (Decimal("7.50"), BAD)],
        "double": [(Decimal("0.10"), 0.1), (Decimal("99999999.99"), 99999999.99)],
        "decimal(12,2)": [(Decimal("1.50"), Decimal("1.50")), (Decimal("-99999999.99"), Decimal("-99999999.99"))],
    },
    "decimal(18,6)": {
        "string": [(Decimal("1.500000"), "1.500000")],
        "int": [(Decimal("7.000000"), 7), (Decimal("7.500000"), BAD), (Decimal("999999999999.000000"), BAD)],
        "long": [(Decimal("7.000000"), 7), (Decimal("7.500000"), BAD)],
        "double": [(Decimal("0.100000"), 0.1), (Decimal("123456789012.345678"), BAD)],
        "decimal(12,2)": [(Decimal("1.500000"), Decimal("1.50")), (Decimal("1.505000"), BAD), (Decimal(10**11), BAD)],
    },
    "decimal(76,38)": {
        "string": [(Decimal("1e-38"), f"0.{'0' * 37}1"), (Decimal(10**37), f"1{'0' * 37}.{'0' * 38}")],
        "int": [(Decimal(7), 7), (Decimal("7.5"), BAD)],
        "long": [(Decimal(7), 7), (Decimal(2**63), BAD)],
        "double": [(Decimal("0.1"), 0.1), (Decimal(2**53 + 1), BAD), (Decimal("1e-38"), 1e-38)],
        "decimal(12,2)": [(Decimal("1.5"), Decimal("1.50")), (Decimal("1e-38"), BAD)],
    },
    "string": text(),
    "json": text(),
    "enum": text(),
    **{label: {"string": [(b"abc", "abc"), (b"\xff\x00", BAD)]} for label in ("binary", "bson")},
    "fixed length binary": {"string": [(b"abcd", "abcd"), (b"\xff\x00\x00\x00", BAD)]},
    "uuid": {
        "string": [
            (bytes(range(16)), "00010203-0405-0607-0809-0a0b0c0d0e0f"),
            (b"\xff" * 16, "ffffffff-" + "ffff-" * 3 + "f" * 12),
        ]
    },
    "date": {
        "string": [(15710, "2013-01-05"), (30_000_000, "84107-03-19"), (2**31 - 1, "5881580-07-11")],
        "date": [
            (15710, _DAY),
            (-719162, date(1, 1, 1)),
            (2932896, date(9999, 12, 31)),
            (2932897, BAD),
            (-719163, BAD),
            (2**31 - 1, BAD),
        ],
        "timestamp": [(15710, datetime(2013, 1, 5)), (2932897, BAD), (-(2**31), BAD)],
    },
    **{label: {"string": cells} for label, cells in TIMES.items()},
    "timestamp ms": moments(1000),
    "timestamp us": moments(10**6),
    "timestamp ns": moments(10**9),
    "timestamp ms, UTC": moments(1000, "+00"),
    "timestamp us, UTC": moments(10**6, "+00"),
    "timestamp ns, UTC": moments(10**9, "+00"),
    "interval": {},
    "null": {kind: [(None, None)] for kind in matrix.KINDS},
    "list": {},
    "map": {},
    "struct": {},
}
STORED = {stored.label: stored for stored in matrix.STORED}


def array(stored: matrix.Stored, values: list[Any]) -> pa.Array:
    """The values as the type stores them, also those that Python has no words for."""
    types = pa.types
    if types.is_temporal(stored.arrow):
        bits = pa.int32() if stored.arrow.bit_width == 32 else pa.int64()
        return pa.array(values, bits).view(stored.arrow)
    if types.is_string(stored.arrow):
        raw = [value.encode() if isinstance(value, str) else value for value in values]
        binary = pa.array(raw, pa.binary())
        return pa.Array.from_buffers(pa.string(), len(binary), binary.buffers())
    if types.is_binary(stored.arrow):
        values = [value.encode() if isinstance(value, str) else value for value in values]
    return pa.array(values, stored.arrow)


def write(path: Path, stored: matrix.Stored, values: list[Any]) -> None:
    """A file with the values in a column `v` of the stored type, annotated as Parquet has it."""
    column = array(stored, values)
    logical = {"JSON": pa.json_(), "UUID": pa.uuid()}.get(stored.logical)
    if logical is not None:
        column = pa.ExtensionArray.from_storage(logical, column)
    pq.write_table(pa.table({"v": column}), path, store_schema=False)


def same(value: Any, expected: Any) -> bool:
    if isinstance(value, datetime) and value.tzinfo is not None:
        value = value.astimezone(UTC)
    return type(value) is type(expected) and repr(value) == repr(expected)


WRITABLE = [label for label in STORED if label not in ("enum", "bson", "interval", "int96")]
"""What pyarrow can write; for the others see below."""


@pytest.mark.parametrize("label", WRITABLE)
@pytest.mark.parametrize("kind", matrix.KINDS)
def test_the_cell(label: str, kind: str, tmp_path: Path) -> None:
    stored, cells = STORED[label], CELLS[label].get(kind)
    values = [given for given, _ in cells or [(None, None)]]
    write(tmp_path / "a.parquet", stored, values)
    if cells is None:
        with pytest.raises(InvalidSpec) as refused:
            judging.parquet(tmp_path / "a.parquet", [field("v", kind)], tmp_path)
        assert refused.value.reason == "WrongSpecification"
        return
    good, bad = judging.parquet(tmp_path / "a.parquet", [field("v", kind)], tmp_path)
    wrong = []
    for number, (given, expected) in enumerate(cells):
        right = number in bad if expected is BAD else number in good and same(good[number]["v"], expected)
        if not right:
            wrong.append((given, good.get(number, "bad"), expected))
    assert wrong == []


@pytest.mark.parametrize("label", [label for label in STORED if label in CELLS])
@pytest.mark.parametrize("kind", matrix.KINDS)
def test_the_page_says_what_the_cell_does(label: str, kind: str) -> None:
    cells = CELLS[label].get(kind)
    if cells is None:
        wanted = matrix.REFUSED
    else:
        wanted = matrix.SOME if any(expected is BAD for _, expected in cells) else matrix.EXACT
    said = matrix.cell(STORED[label], kind)
    if wanted == matrix.EXACT and said == matrix.SOME:  # values that do not fit have no example here
        assert all(expected is not BAD for _, expected in cells or [])
        assert label in ("int 8", "int 16", "int 32", "uint 8", "uint 16", "uint 32", "decimal(10,2)", "enum")
        return
    assert said == wanted


JULIAN_1970 = 2_440_588
INT96 = [
    (0, 0, datetime(1970, 1, 1)),
    (2_932_896, 86_399_999_999_000, datetime(9999, 12, 31, 23, 59, 59, 999999)),
    (2_932_897, 0, "10000-01-01 00:00:00"),
    (-719_162, 1_000, datetime(1, 1, 1, 0, 0, 0, 1)),
    (-719_163, 0, "0000-12-31 00:00:00"),
    (15_710, 1, "2013-01-05 00:00:00.000000001"),
    (106_752, 0, datetime(2262, 4, 12)),
    (-106_753, 5_000, datetime(1677, 9, 20, 0, 0, 0, 5)),
    (5_373_484, 3_600_000_000_000, "16682-02-06 01:00:00"),
]
"""Days since 1970, nanoseconds of the day, and the time, or its text where no timestamp is so late or so fine."""


def test_moments_of_96_bits(tmp_path: Path) -> None:
    """pyarrow writes them within the years 1677 to 2262: others are put into the file in place of these."""
    path = tmp_path / "a.parquet"
    marks = [1_000_000_007 * number for number in range(1, len(INT96) + 1)]
    column = pa.array(marks, pa.int64()).cast(pa.timestamp("ns"))
    options = {"use_deprecated_int96_timestamps": True, "use_dictionary": False, "compression": "none"}
    pq.write_table(pa.table({"v": column}), path, write_statistics=False, **options)
    data = path.read_bytes()
    for mark, (days, nanoseconds, _) in zip(marks, INT96, strict=True):
        old = struct.pack("<qi", mark, JULIAN_1970)
        assert data.count(old) == 1
        data = data.replace(old, struct.pack("<qi", nanoseconds, JULIAN_1970 + days))
    path.write_bytes(data)
    good, bad = judging.parquet(path, [field("v", "timestamp")], tmp_path)
    for number, (_, _, expected) in enumerate(INT96):
        if isinstance(expected, datetime):
            assert good[number]["v"] == expected
        else:
            assert json.loads(bad[number]["payload"]) == {"v": expected}
    good, _ = judging.parquet(path, [field("v", "string")], tmp_path)
    assert [row["v"] for row in good.values()] == [str(expected) for *_, expected in INT96]
