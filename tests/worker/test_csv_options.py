"""CSV that is not UTF-8 from its first line: encodings, lines before the header, other marks in numbers."""

import base64
import random
import re
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest

from penstock.api.receiving import Settings
from penstock.runs.order import RunOrder
from penstock.worker.ports.chunks import NumberFormat
from penstock.worker.rows import engine, lossless
from worker.pods import a_pod, csv, field

A, B = field("a", "int"), field("b", "string")


@pytest.mark.parametrize(
    "encoding", ["latin-1", "windows-1252", "utf-16", "utf-16be", "ibm850", "shift_jis", "gb18030"]
)
def test_text_is_decoded_and_a_bad_row_has_the_bytes_of_the_file(encoding: str, tmp_path: Path) -> None:
    text = {"shift_jis": "日本", "gb18030": "中文😀"}.get(encoding, "café")
    pod = a_pod(tmp_path, A, B, form=csv(encoding=encoding))
    (pod.data / "a.csv").write_bytes(f"a,b\n1,{text}\nx,{text}\n2,plain\n".encode(encoding))
    pod.work()
    assert [(row["a"], row["b"]) for row in pod.rows()] == [(1, text), (2, "plain")]
    [bad] = pod.bad()
    written = f"x,{text}".encode("utf-16le" if encoding == "utf-16" else encoding)
    assert (bad["position"], bad["payload_encoding"]) == (3, "base64")
    assert base64.b64decode(bad["payload"]) == written


def test_bytes_that_mean_nothing_in_the_encoding_make_their_row_bad(tmp_path: Path) -> None:
    pod = a_pod(tmp_path, A, B, form=csv(encoding="windows-1252"))
    (pod.data / "a.csv").write_bytes(b"a,b\n1,\x80\n2,\x81\n3,y\n")
    pod.work()
    assert [(row["a"], row["b"]) for row in pod.rows()] == [(1, "€"), (3, "y")]
    [bad] = pod.bad()
    assert (bad["reason"], bad["message"]) == ("NotDecodable", "the row has bytes that mean nothing in windows-1252")
    assert base64.b64decode(bad["payload"]) == b"2,\x81"


def test_a_sensitive_value_is_masked_in_the_bytes_of_the_encoding(tmp_path: Path) -> None:
    secret = field("b", "string", sensitive=True)
    pod = a_pod(tmp_path, A, secret, form=csv(encoding="latin-1"))
    (pod.data / "a.csv").write_bytes("a,b,c\nx,secret,é\n".encode("latin-1"))
    pod.work()
    assert base64.b64decode(pod.bad()[0]["payload"]) == "x,***,é".encode("latin-1")


def test_lines_before_the_header_are_left_out_and_counted_as_lines(tmp_path: Path) -> None:
    pod = a_pod(tmp_path, A, B, form=csv(skipLines=3))
    (pod.data / "a.csv").write_bytes(b'A report, "of today\n\n\xff\xfe;;;\na,b\n1,x\ny,z\n')
    report = pod.work()
    assert [(row["a"], row["b"]) for row in pod.rows()] == [(1, "x")]
    assert [bad["position"] for bad in pod.bad()] == [6]
    assert report.datasets[0].counts.read == 2


@pytest.mark.parametrize("content", [b"", b"one\n", b"one\ntwo", b"one\ntwo\n"])
def test_a_file_with_no_more_lines_than_are_left_out_has_no_rows(content: bytes, tmp_path: Path) -> None:
    pod = a_pod(tmp_path, A, B, form=csv(skipLines=2))
    (pod.data / "a.csv").write_bytes(content)
    report = pod.work()
    assert (pod.code, report.datasets[0].counts.read) == (0, 0)


NUMBERS: list[tuple[str, str, str, Any]] = [
    (",", ".", "1.234,56", Decimal("1234.56")),
    (",", ".", "-1.234.567,8", Decimal("-1234567.8")),
    (",", ".", "1234,56", Decimal("1234.56")),
    (",", ".", ",5", Decimal("0.5")),
    (",", ".", "1,5e1", Decimal(15)),
    (",", ".", "1.5", None),
    (",", ".", "1.23.456", None),
    (",", ".", "1.2345", None),
    (",", ".", "1,234.56", None),
    (",", "", "1.5", None),
    (",", "", "1,5", Decimal("1.5")),
    (".", ",", "1,234.5", Decimal("1234.5")),
    (".", ",", "12,34", None),
    (".", " ", "1 234.5", Decimal("1234.5")),
    (".", " ", " 1 234 ", Decimal(1234)),
    (",", "\u00a0", "1\u00a0234,5", Decimal("1234.5")),
    (",", "\u202f", "1\u202f234,5", Decimal("1234.5")),
    (".", "'", "1'234.5", Decimal("1234.5")),
    (".", "\u2019", "1\u2019234.5", Decimal("1234.5")),
    (".", "_", "1_234", Decimal(1234)),
    (".", "_", "1__234", None),
]


@pytest.mark.parametrize(("decimal", "thousands", "written", "value"), NUMBERS)
def test_numbers_are_read_as_they_are_written_there(
    decimal: str, thousands: str, written: str, value: Decimal | None, tmp_path: Path
) -> None:
    marks = {"decimal": decimal, **({"thousands": thousands} if thousands else {})}
    fields = [
        field("n", "decimal(12,2)"),
        field("text", "string", from_="n"),
        field("computed", "decimal(12,2)", from_="n::decimal(12,2) * 1"),
        field("again", "double", from_="n"),
    ]
    pod = a_pod(tmp_path, *fields, form=csv(delimiter=";", **marks))
    (pod.data / "a.csv").write_text(f"n\n{written}\n", encoding="utf-8")
    pod.work()
    if value is None:
        assert f'"{written}"' in pod.bad()[0]["message"]
    else:
        assert pod.rows() == [{"n": value, "text": written, "computed": value, "again": float(value)}]


def test_a_whole_number_may_have_groups(tmp_path: Path) -> None:
    pod = a_pod(tmp_path, A, form=csv(delimiter=";", decimal=",", thousands="."))
    (pod.data / "a.csv").write_text("a\n2.147.483.647\n2.147.483.648\n1,0\n1,5\n", encoding="utf-8")
    pod.work()
    assert [row["a"] for row in pod.rows()] == [2_147_483_647, 1]
    assert [bad["position"] for bad in pod.bad()] == [3, 5]


def test_numbers_of_any_marks_agree_with_python(tmp_path: Path) -> None:
    """Random texts of digits and marks: read where Python's pattern and Decimal read them, and as the same number."""
    chance = random.Random(11)
    for decimal, thousands in ((",", "."), (",", " "), (".", ","), (".", "'"), (",", "")):
        texts = ["".join(chance.choice("0123456789.,' -") for _ in range(chance.randrange(1, 9))) for _ in range(3000)]
        grouped = rf"|\d{{1,3}}(?:{re.escape(thousands)}\d{{3}})+" if thousands else ""
        point = re.escape(decimal)
        pattern = re.compile(rf" *-?(?:(?:\d+{grouped})(?:{point}\d*)?|{point}\d+) *", re.ASCII)
        expected = [
            Decimal(text.strip().replace(thousands or "?", "").replace(decimal, "."))
            if pattern.fullmatch(text)
            else None
            for text in texts
        ]
        sql = lossless.plain_number("x", NumberFormat(decimal, thousands))
        cast = lossless.from_text("decimal(38,9)", sql, "t")
        with engine.connect(1 << 28, 1, tmp_path) as connection:
            rows = connection.execute(
                f"SELECT {cast.accept} FROM (SELECT x, {cast.attempt} AS t FROM (SELECT unnest(?) AS x))", [texts]
            ).fetchall()
        assert [row[0] for row in rows] == expected
        assert sum(value is not None for value in expected) > 200


@pytest.mark.parametrize("option", [{"encoding": "latin-1"}, {"skipLines": 1}, {"decimal": ","}, {"thousands": ","}])
def test_a_delivery_takes_no_option_of_reading(option: dict[str, Any]) -> None:
    with pytest.raises(ValueError, match=f"csv.{next(iter(option))} is for files that are read"):
        Settings.model_validate({"format": {"csv": option}})


def test_marks_of_numbers_must_differ(tmp_path: Path) -> None:
    pod = a_pod(tmp_path, A, form=csv(decimal=",", thousands=","))
    with pytest.raises(ValueError, match="thousands must differ from decimal"):
        RunOrder.model_validate(pod.order())
