"""What is read from files of every kind and damage, and where each bad row lies. Real files, the real line."""

import base64
import gzip
import json
import os
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from worker.pods import a_pod, csv, field

A, B = field("a", "long"), field("b", "string")


def test_broken_lines_are_set_aside_with_their_line_and_reading_goes_on(tmp_path: Path) -> None:
    pod = a_pod(tmp_path, field("a", "long", required=True), B, form=csv(nullValues=["", "NA"]))
    (pod.data / "a.csv").write_bytes(
        b"\xef\xbb\xbfa,b\n"  # 1: with a byte order mark
        b'1,"two\nlines"\n'  # 2-3
        b"2,short,long\n"  # 4
        b"3\n"  # 5
        b"\n"  # 6
        b'4,"open\n'  # 7
        b"5,x\0y\n"  # 8
        b'6,"bad"quote\n'  # 9
        b'7,un"quoted\r\n'  # 10
        b'8,"a ""quoted"" word"\n'  # 11
        b"9,\xff\n"  # 12
        b"10,a\rb\n"  # 13
        b'11,""\n'  # 14
        b"NA,NA\n"  # 15
        b"12,\xc3\xa9"  # 16: without a line end
    )
    report = pod.work()
    rows = sorted(pod.rows(), key=lambda row: row["a"])  # threads write: a table has no order
    assert [row["a"] for row in rows] == [1, 5, 7, 8, 11, 12]
    assert [row["b"] for row in rows] == ["two\nlines", "x\0y", 'un"quoted', 'a "quoted" word', "", "é"]
    assert [(row["position"], row["stage"], row["message"]) for row in pod.bad()] == [
        (4, "read", "3 columns where 2 are expected"),
        (5, "read", "1 column where 2 are expected"),
        (7, "read", "a quote is not closed, or text follows the closing quote"),
        (9, "read", "a quote is not closed, or text follows the closing quote"),
        (12, "read", "the row is not UTF-8; if the file has another encoding, set format.csv.encoding"),
        (13, "read", "a carriage return stands inside the line, outside quotes"),
        (15, "quality", "a: has no value and is required"),
    ]
    assert pod.bad()[-1]["payload"] == "NA,NA"
    assert pod.bad()[0]["payload"] == "2,short,long"
    counts = report.datasets[0].counts
    assert (counts.read, counts.loaded, counts.quarantined) == (13, 6, 7)


def test_lines_stay_exact_over_many_blocks(tmp_path: Path) -> None:
    pod = a_pod(tmp_path, A, B)
    with (pod.data / "a.csv").open("w") as file:
        file.write("a,b\n")
        line, wrong = 2, []
        for number in range(250_000):
            text = '"' + "x" * 50 + '\n"' if number % 3 == 0 else "y" * 60
            if number % 1000 == 999:
                wrong.append(line)
            file.write(f"{'x' if number % 1000 == 999 else number},{text}\n")
            line += 2 if number % 3 == 0 else 1
    assert (pod.data / "a.csv").stat().st_size > 15 << 20
    pod.work()
    assert [row["position"] for row in pod.bad()] == wrong
    assert len(pod.rows()) == 250_000 - len(wrong)


def test_a_line_longer_than_a_mebibyte_is_set_aside(tmp_path: Path) -> None:
    pod = a_pod(tmp_path, A, B)
    (pod.data / "a.csv").write_text(f"a,b\n1,x\n2,{'y' * (3 << 20)}\n3,z\n4,{'y' * ((1 << 20) + 1)}\n5,z\n")
    pod.work()
    assert sorted(row["a"] for row in pod.rows()) == [1, 3, 5]
    assert [row["position"] for row in pod.bad()] == [3, 5]
    assert all(len(row["payload"]) <= 4096 for row in pod.bad())


@pytest.mark.parametrize("content", [b"", b"a,b\n", b"\n\n", b"\xef\xbb\xbf"])
def test_a_file_without_rows_is_loaded_as_none(content: bytes, tmp_path: Path) -> None:
    pod = a_pod(tmp_path, A, B)
    (pod.data / "a.csv").write_bytes(content)
    report = pod.work()
    assert (report.state, report.datasets[0].state, report.datasets[0].counts.read) == ("Succeeded", "Written", 0)


def test_files_without_a_header_have_numbered_columns(tmp_path: Path) -> None:
    pod = a_pod(tmp_path, field("a", "long", from_="column0"), form=csv(header=False, delimiter="\t", quote="'"))
    (pod.data / "a.tsv").write_text("1\t'x\ty'\n2\tz\n")
    pod.work()
    assert [row["a"] for row in pod.rows()] == [1, 2]


def test_a_backslash_can_escape(tmp_path: Path) -> None:
    pod = a_pod(tmp_path, A, B, form=csv(escape="\\"))
    (pod.data / "a.csv").write_bytes(b'a,b\n1,"say \\"hi\\", please"\n2,x\n')
    pod.work()
    assert [row["b"] for row in pod.rows()] == ['say "hi", please', "x"]


def test_gzip_by_its_ending_in_several_members(tmp_path: Path) -> None:
    pod = a_pod(tmp_path, A, B)
    (pod.data / "a.csv.gz").write_bytes(gzip.compress(b"a,b\n1,x\n") + gzip.compress(b"2,y\n"))
    assert pod.work().datasets[0].counts.loaded == 2


def test_text_whose_name_ends_in_gz_is_read_as_text(tmp_path: Path) -> None:
    pod = a_pod(tmp_path, A, B)
    (pod.data / "a.csv.gz").write_bytes(b"a,b\n1,x\n")
    assert pod.work().datasets[0].counts.loaded == 1


def test_damaged_gzip_is_told(tmp_path: Path) -> None:
    pod = a_pod(tmp_path, A, B)
    (pod.data / "a.csv.gz").write_bytes(gzip.compress(os.urandom(9000))[:-100])
    report = pod.work()
    assert (pod.code, report.reason) == (2, "WrongSpecification")
    assert "a.csv.gz" in (report.message or "")
    assert pod.rows() == []


def test_utf16_is_told(tmp_path: Path) -> None:
    pod = a_pod(tmp_path, A, B)
    (pod.data / "a.csv").write_bytes("a,b\n1,x\n".encode("utf-16"))
    assert "UTF-16" in (pod.work().message or "")


def test_a_row_that_is_ragged_and_not_utf8_either_is_set_aside_like_others(tmp_path: Path) -> None:
    pod = a_pod(tmp_path, A, B, form=csv(nullValues=["–"]))
    content = "a,b\n1,x\n2,é–\n3,–\n".encode() + b"4,\xff\n5,\xe9,ragged\n6,ok,r\xc3\xa9\n7,y\n"
    (pod.data / "a.csv").write_bytes(content)
    pod.work()
    assert sorted((row["a"], row["b"]) for row in pod.rows()) == [(1, "x"), (2, "é–"), (3, None), (7, "y")]
    assert [(row["position"], row["message"], row["payload"]) for row in pod.bad()] == [
        (
            5,
            "the row is not UTF-8; if the file has another encoding, set format.csv.encoding",
            base64.b64encode(b"4,\xff").decode(),
        ),
        (
            6,
            "the row is not UTF-8; if the file has another encoding, set format.csv.encoding",
            base64.b64encode(b"5,\xe9,ragged").decode(),
        ),
        (7, "3 columns where 2 are expected", "6,ok,ré"),
    ]


def test_a_missing_column_names_the_nearest(tmp_path: Path) -> None:
    pod = a_pod(tmp_path, field("dep_delay", "double"))
    (pod.data / "a.csv").write_text("dep_delays,x\n1,2\n")
    report = pod.work()
    assert (pod.code, report.reason) == (2, "WrongSpecification")
    assert 'needs the column "dep_delay", which is not there; did you mean "dep_delays"?' in (report.message or "")
    assert "file:///volumes/data/a.csv" in (report.message or "")


@pytest.mark.parametrize(
    ("header", "said"),
    [
        ("id;a;day", 'there are "id;a;day". Check delimiter.'),
        ("a|b", 'there are "a|b". Check delimiter.'),
        ("x\ty", 'there are "x\\ty". Check delimiter.'),
        (" ID , Name ", 'there are " ID ", " Name ".'),
        ("x;y,z", 'there are "x;y", "z".'),
    ],
)
def test_a_missing_column_shows_those_that_are_there(header: str, said: str, tmp_path: Path) -> None:
    pod = a_pod(tmp_path, A)
    (pod.data / "a.csv").write_text(f"{header}\n")
    report = pod.work()
    assert (pod.code, report.reason) == (2, "WrongSpecification")
    assert (report.message or "").endswith(f'needs the column "a", which is not there; {said}')


@pytest.mark.parametrize(
    ("header", "said"),
    [
        ("a,a", 'the column "a", which occurs twice in it, as columns 1, 2.'),
        ("x,A,y,A", 'the column "a", which occurs twice in it, as columns 2, 4.'),
        ("A,x,\xc3\xa4", None),
        ("aA,Aa,aa", 'the column "a", which is not there'),
        ("x,x,,,a", None),
        ("a,A,A", None),
    ],
)
def test_a_column_name_that_stands_twice_matters_to_a_field_that_needs_it_alone(
    header: str, said: str | None, tmp_path: Path
) -> None:
    pod = a_pod(tmp_path, A)
    (pod.data / "a.csv").write_text(f"{header}\n{','.join('1' for _ in header.split(','))}\n")
    report = pod.work()
    assert said in (report.message or "") if said else pod.rows() == [{"a": 1}]


def test_two_columns_whose_names_differ_in_case_alone_are_not_chosen_between(tmp_path: Path) -> None:
    pod = a_pod(tmp_path, field("name", "string"))
    (pod.data / "a.csv").write_text("Name,NAME\n1,2\n")
    assert "could be any of columns 1, 2, whose names differ in case alone" in (pod.work().message or "")


def test_globs_tell_folders_apart(tmp_path: Path) -> None:
    pod = a_pod(tmp_path, A, connector={"glob": "*/x*.csv"})
    for path in ("x1.csv", "d/x1.csv", "d/y1.csv", "d/e/x1.csv"):
        (pod.data / path).parent.mkdir(parents=True, exist_ok=True)
        (pod.data / path).write_text("a\n1\n")
    assert pod.work().datasets[0].counts.files == 1
    pod.connector["glob"] = "**/x*.csv"
    assert pod.work("r2").datasets[0].counts.files == 2


def test_columns_may_come_in_any_order_and_case(tmp_path: Path) -> None:
    pod = a_pod(tmp_path, A, B)
    (pod.data / "1.csv").write_text("a,b\n1,x\n")
    (pod.data / "2.csv").write_text("B,c,A\ny,,2\n")
    pod.work()
    assert sorted((row["a"], row["b"]) for row in pod.rows()) == [(1, "x"), (2, "y")]


def test_json_lines(tmp_path: Path) -> None:
    pod = a_pod(tmp_path, A, B, field("when", "date", from_='"at.day"'), form={"json": {}})
    lines = ['{"a": 1, "b": "x", "at.day": "2013-01-05"}', "", "[1]", "{", '{"b": null}', '{"a": "q"}', "nonsense"]
    (pod.data / "a.jsonl").write_text("\n".join(lines))
    pod.work()
    assert [(row["a"], row["b"], str(row["when"])) for row in pod.rows()] == [
        (1, "x", "2013-01-05"),
        (None, None, "None"),
    ]
    assert [(row["position"], row["stage"], row["payload"]) for row in pod.bad()] == [
        (3, "read", "[1]"),
        (4, "read", "{"),
        (6, "shape", '{"a": "q"}'),
        (7, "read", "nonsense"),
    ]


@pytest.mark.parametrize("beside", ["", "\\u00e9", "\\u0041", '\\"a.b\\"'])
def test_numbers_in_json_become_text_as_they_are_written(beside: str, tmp_path: Path) -> None:
    written = ["1.10", "12.50", "1E5", "1e-7", "-0", "0", "-0.0", "1.000000000000000000001", '"2.50"', "7"]
    fields = [field(name, "string", from_=f'"{key}"') for name, key in (("a", "a.b"), ("b", "é"), ("c", "x-y"))]
    pod = a_pod(tmp_path, *fields, form={"json": {}})
    lines = [f'{{"a.b": {value},"é":{value}  , "x-y" : {value}, "n": "{beside}"}}\n' for value in written]
    lines.append('{"\\u0061.b": 1.10, "o": {"a.b": 1.100}, "x-y": [3], "é": null}\n')
    (pod.data / "a.jsonl").write_text("".join(lines), encoding="utf-8")
    pod.work()
    expected = [(*[value.strip('"')] * 3,) for value in written]
    assert sorted((row["a"], row["b"], row["c"]) for row in pod.rows() if row["b"]) == sorted(expected)
    assert [(row["a"], row["c"]) for row in pod.rows() if not row["b"]] == [("1.10", "[3]")]


def test_numbers_in_json_that_become_numbers_may_be_written_in_any_way(tmp_path: Path) -> None:
    expression = field("c", "string", from_="b || '!'")
    pod = a_pod(tmp_path, A, field("d", "decimal(30,2)", from_="d"), B, expression, form={"json": {}})
    lines = ['{"a": 1E5, "d": 1E5, "b": 1E5}', '{"a": 1E5, "d": 1234567890123456789.50, "b": 1.0, "o": {"b": 1.0}}']
    (pod.data / "a.jsonl").write_text("\n".join(lines), encoding="utf-8")
    pod.work()
    found = [(row["a"], str(row["d"]), row["b"], row["c"]) for row in pod.rows()]
    assert found == [(100000, "100000.00", "1E5", "1E5!"), (100000, "1234567890123456789.50", "1.0", "1.0!")]


def test_half_a_character_makes_its_line_bad_and_no_other(tmp_path: Path) -> None:
    pod = a_pod(tmp_path, A, B, form={"json": {}})
    (pod.data / "a.json").write_text(
        '{"a": 1, "b": "x\\ud83d", "z": 12345678901234567890.5}\n{"a": 2, "b": "\\ud83d\\ude00", "z": 1.50}\n'
    )
    pod.work()
    assert pod.rows() == [{"a": 2, "b": "😀"}]
    assert [(row["position"], row["message"]) for row in pod.bad()] == [
        (1, "a lone surrogate, \\ud83d, stands in a text: half a character")
    ]


def test_parquet_rows_are_numbered(tmp_path: Path) -> None:
    pod = a_pod(tmp_path, field("a", "int"), B, form={"parquet": {}})
    table = pa.table({"a": [2**40 if n == 70_000 else n for n in range(100_000)], "b": ["x"] * 100_000})
    pq.write_table(table, pod.data / "a.parquet")
    report = pod.work()
    assert report.datasets[0].counts.balanced
    assert [(row["position"], json.loads(row["payload"])["a"]) for row in pod.bad()] == [(70_001, 2**40)]


def test_a_file_that_is_not_parquet_is_told(tmp_path: Path) -> None:
    pod = a_pod(tmp_path, A, form={"parquet": {}})
    (pod.data / "a.parquet").write_text("a\n1\n")
    report = pod.work()
    assert report.reason == "WrongSpecification"
    assert "a.parquet is not Parquet: " in (report.message or "")
    assert ".." not in (report.message or "")


def test_nanoseconds_in_a_zone_are_read_where_nothing_is_lost(tmp_path: Path) -> None:
    pod = a_pod(tmp_path, field("t", "timestamptz"), form={"parquet": {}})
    moments = pa.array([1_500_000_000_000_000_000, 1_500_000_000_000_000_001], pa.timestamp("ns", "Europe/Paris"))
    pq.write_table(pa.table({"t": moments}), pod.data / "a.parquet")
    pod.work()
    assert [str(row["t"]) for row in pod.rows()] == ["2017-07-14 02:40:00+00:00"]
    assert [row["message"] for row in pod.bad()] == ['t: "2017-07-14 02:40:00.000000001+00" is not a timestamptz']
