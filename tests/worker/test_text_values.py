"""What a CSV or JSON file holds is what the table or the quarantine holds: dialects, names, payloads, beginnings."""

import base64
from pathlib import Path
from typing import Any

import pytest

from worker.pods import a_pod, csv, field

A, B = field("a", "string"), field("b", "string")
JSON: dict[str, Any] = {"json": {}}


def loaded(root: Path, content: bytes, form: dict[str, Any], *fields: dict[str, Any]) -> list[tuple[Any, ...]]:
    """The rows that this file becomes, in the order of the file, and bad ones as line numbers."""
    pod = a_pod(root, *(fields or (A, B)), form=form)
    (pod.data / "a").write_bytes(content)
    report = pod.work()
    assert report.state == "Succeeded", report.message
    return sorted([tuple(row.values()) for row in pod.rows()], key=str) + [(row["position"],) for row in pod.bad()]


@pytest.mark.parametrize(
    ("written", "value"),
    [
        (b"C:\\temp", "C:\\temp"),
        (b"\\N", "\\N"),
        (b"\\", "\\"),
        (b"x\\", "x\\"),
        (b'\\"x', '\\"x'),
        (b'x\\"', 'x\\"'),
        (b'"C:\\temp"', "C:\\temp"),
        (b'"C:\\\\temp"', "C:\\temp"),
        (b'"\\\\"', "\\"),
        (b'"\\"', None),
        (b'"say \\"hi\\", please"', 'say "hi", please'),
        (b'"\\\\\\""', '\\"'),
        (b'"a\\\nb"', "a\nb"),
        (b'"a\\\r\nb"', "a\r\nb"),
        (b'"a\nb"', "a\nb"),
        (b'"\\N"', "\\N"),
        (b'"\\0\\t\\,"', "\\0\\t\\,"),
        (b'"\\\xc3\xa9"', "\\é"),
        (b'"x""y"', None),
        (b'""', ""),
        (b"", ""),
    ],
)
@pytest.mark.parametrize("last", [False, True])
def test_a_backslash_escapes_inside_quotes_alone(written: bytes, value: str | None, last: bool, tmp_path: Path) -> None:
    """As MySQL with ENCLOSED BY, PostgreSQL with FORMAT csv and ESCAPE, and Spark write."""
    row = b"1," + written if last else written + b",1"
    content = b"a,b\n" + row + b"\nz,z\n"
    rows = loaded(tmp_path, content, csv(escape="\\", nullValues=[]))
    good = [("1", value) if last else (value, "1")] if value is not None else []
    bad = [] if good else [(2,)]
    assert rows == sorted([*good, ("z", "z")], key=str) + bad


def test_unquoted_null_values_match_as_they_stand(tmp_path: Path) -> None:
    content = b'a,b\n\\N,"\\N"\n"\\\\N",x\n'
    rows = loaded(tmp_path, content, csv(escape="\\", nullValues=["\\N"]))
    assert rows == [("\\N", "x"), (None, "\\N")]


@pytest.mark.parametrize(
    ("names", "values"),
    [
        (["K 0", '"a.b"', "x-1", "é"], ["1", "2", "3", "4"]),
        (["Id", "ID", "id", "iD"], ["1", "2", "3", "4"]),
        (['"a""b"', '"*"', '""', '"$"'], ["1", "2", "3", "4"]),
        (['"$.x[0]"', '"/a/b"', '"~1"', '"\'"'], ["1", "2", "3", "4"]),
        (["true", "0", "select", "a b c"], ["1", "2", "3", "4"]),
    ],
)
def test_names_of_json_are_what_they_are(names: list[str], values: list[str], tmp_path: Path) -> None:
    from json import dumps

    fields = [field(f"f{number}", "string", from_=name) for number, name in enumerate(names)]
    keys = [name[1:-1].replace('""', '"') if name.startswith('"') else name for name in names]
    line = "{" + ", ".join(f"{dumps(key)}: {value}" for key, value in zip(keys, values, strict=True)) + "}"
    assert loaded(tmp_path, line.encode(), JSON, *fields) == [tuple(values)]


def test_names_of_json_differ_in_case_and_those_of_csv_need_not(tmp_path: Path) -> None:
    assert loaded(tmp_path / "csv", b"A,B\n1,2\n", csv()) == [("1", "2")]
    assert loaded(tmp_path / "json", b'{"A": 1, "a": 2, "b": 3}\n{"A": 1, "b": 4}\n', JSON) == [("2", "3"), (None, "4")]


@pytest.mark.parametrize(("name", "said"), [("custmer", 'did you mean "customer"?'), ("nope", 'there are "customer"')])
def test_a_key_that_no_line_has_is_reported(name: str, said: str, tmp_path: Path) -> None:
    pod = a_pod(tmp_path, field("who", "string", from_=name), form=JSON)
    (pod.data / "a.jsonl").write_text('{"customer": "x"}\n{"customer": "y"}\n')
    report = pod.work()
    assert (report.reason, pod.rows()) == ("WrongSpecification", [])
    assert f'field who needs the key "{name}", which no line has; {said}' in (report.message or "")
    pod.fields = [field("who", "string", from_=f"coalesce({name})"), field("c", "string", from_="customer")]
    pod.dataset["table"] = "others"
    assert pod.work("r2").state == "Succeeded"


def test_a_key_of_one_line_among_many_is_enough(tmp_path: Path) -> None:
    lines = b'{"a": 1}\n' * 30_000 + b'{"b": 2}\n'
    assert loaded(tmp_path, lines, JSON)[-1] == (None, "2")


@pytest.mark.parametrize("written", [b'1,\xe9;"x"', b'"a ""q""",\xe9', b"\xff\xfe", b"\xed\xa0\x80,x", b"1,\xe9,3"])
def test_what_is_no_text_is_kept_byte_for_byte(written: bytes, tmp_path: Path) -> None:
    for ending in (b"\n", b"\r\n", b""):
        pod = a_pod(tmp_path / ending.hex(), A, B)
        (pod.data / "a.csv").write_bytes(b"a,b\n" + written + ending)
        pod.work()
        (bad,) = pod.bad()
        assert (base64.b64decode(bad["payload"]), bad["message"]) == (
            written,
            "the row is not UTF-8; if the file has another encoding, set format.csv.encoding",
        )


@pytest.mark.parametrize("written", [' "x" , y ,', '1,"a ""b""', "1,NA, ", '"1","2","3"', "x\ty,\t,", "1,2,\x00"])
def test_a_payload_is_the_row_as_it_was_written(written: str, tmp_path: Path) -> None:
    pod = a_pod(tmp_path, field("a", "long"), field("b", "long"), form=csv(nullValues=["NA"]))
    (pod.data / "a.csv").write_text(f"a,b\r\n1,1\r\n{written}\r\n", newline="")
    pod.work()
    assert [row["payload"] for row in pod.bad()] == [written]


def test_a_lone_surrogate_matters_where_a_field_reads_it_alone(tmp_path: Path) -> None:
    pod = a_pod(tmp_path, A, form=JSON)
    (pod.data / "a.jsonl").write_text('{"a": "x\\ud83d"}\n{"a": "x", "b": "\\udc00"}\n{"a": "\\ud83d\\ude00"}\n')
    pod.work()
    assert sorted(row["a"] for row in pod.rows()) == ["x", "😀"]
    assert [(row["payload"], row["message"]) for row in pod.bad()] == [
        ('{"a": "x\\ud83d"}', "a lone surrogate, \\ud83d, stands in a text: half a character")
    ]


def test_a_trailing_delimiter_is_called_by_its_name(tmp_path: Path) -> None:
    pod = a_pod(tmp_path, field("id", "long"), field("name", "string"))
    (pod.data / "a.csv").write_text("id,name\n1,bob,,\n2,eve,\n3,x,y,\n4,z\n")
    pod.work()
    assert [row["message"] for row in pod.bad()] == [
        "4 columns where 2 are expected: the row ends in 2 delimiters more than the header",
        "3 columns where 2 are expected: the row ends in 1 delimiter more than the header",
        "4 columns where 2 are expected",
    ]


@pytest.mark.parametrize(
    ("content", "said"),
    [
        (b'a,"b\n1,2\n', "the header, line 1, cannot be read: a quote is not closed"),
        (b'\n\na"b,"c"d\n1,2\n', "the header, line 3, cannot be read"),
        (b"a\rb,c\n1,2\n", "the header, line 1, cannot be read: a carriage return"),
        (
            b"a," + b"b" * (2 << 20) + b"\n1,2\n",
            "the header, line 1, cannot be read: the row is longer than 1048576 bytes",
        ),
        (b"a,\xe9\n1,2\n", "the header is not UTF-8"),
        (b'"\n', "no line can be read as CSV; line 1"),
    ],
)
def test_a_broken_header_refuses_the_file(content: bytes, said: str, tmp_path: Path) -> None:
    pod = a_pod(tmp_path, A, B)
    (pod.data / "a.csv").write_bytes(content)
    report = pod.work()
    assert report.reason == "WrongSpecification"
    assert said in (report.message or "")
    assert "a.csv" in (report.message or "")


def test_the_first_line_may_be_anything_where_there_is_no_header(tmp_path: Path) -> None:
    columns = [field("a", "string", from_="column0"), field("b", "string", from_="column1")]
    content = b"x,\xe9\n1,2\n"
    assert loaded(tmp_path / "latin", content, csv(header=False), *columns) == [("1", "2"), (1,)]
    content = b"x," + b"y" * 200_000 + b"\n1,2\n"
    assert [len(row[1]) for row in loaded(tmp_path / "long", content, csv(header=False), *columns)] == [1, 200_000]
    wide = ",".join(f"{'n' * 1000}{number}" for number in range(300)) + ",a,b\n" + "," * 300 + "1,2\n"
    assert loaded(tmp_path / "wide", wide.encode(), csv()) == [("1", "2")]


@pytest.mark.parametrize("size", [(1 << 20) - 2, (1 << 20) - 1])
def test_the_longest_row_counts_bytes_wherever_it_stands(size: int, tmp_path: Path) -> None:
    """A row of 1 MiB is loaded, one of a byte more is bad; characters of two bytes count as two."""
    row = b"1," + "é".encode() * (size // 2) + b"x" * (size % 2)
    pod = a_pod(tmp_path, A, B)
    (pod.data / "a.csv").write_bytes(b"a,b\n" + (row + b"\n") * 20)
    counts = pod.work().datasets[0].counts
    assert (counts.read, counts.loaded) == (20, 20 if len(row) <= 1 << 20 else 0)


def test_equal_lines_have_equal_answers(tmp_path: Path) -> None:
    pod = a_pod(tmp_path, A, B)
    with (pod.data / "a.csv").open("w") as file:
        file.write("a,b\n")
        for number in range(10):
            file.write(f"{number},{'y' * (7 << 20)}\n")
        file.write('q,"' + "line, of text\n" * 270_000 + '"\nz,z\n')
    counts = pod.work(deadline=300).datasets[0].counts
    assert (counts.read, counts.loaded, counts.quarantined) == (12, 1, 11)
    assert [row["position"] for row in pod.bad()] == [*range(2, 12), 12]


@pytest.mark.parametrize("name", ["two empty", "one twice"])
def test_columns_that_no_field_uses_do_not_matter(name: str, tmp_path: Path) -> None:
    header = b"a,b,," if name == "two empty" else b"a,x,b,x"
    pod = a_pod(tmp_path, A, B)
    (pod.data / "a.csv").write_bytes(header + b"\n2,bob,bob,\n")
    pod.work()
    assert [(row["a"], row["b"]) for row in pod.rows()] == [("2", "bob")]
    assert pod.work("r2", kind="inspect-source").state == "Succeeded"


@pytest.mark.parametrize(
    ("bad", "ratio", "state"), [(29, "29%", "Succeeded"), (30, "29%", "Failed"), (7, "7%", "Succeeded")]
)
def test_a_ratio_is_exact(bad: int, ratio: str, state: str, tmp_path: Path) -> None:
    pod = a_pod(tmp_path, field("a", "long"), quality={"maxBadRatio": ratio})
    (pod.data / "a.csv").write_text("a\n" + "x\n" * bad + "1\n" * (100 - bad))
    assert pod.work().state == state


def test_json_as_other_writers_write_it(tmp_path: Path) -> None:
    pod = a_pod(tmp_path, field("id", "long", required=True), field("v", "double"), field("w", "string"), form=JSON)
    (pod.data / "a.jsonl").write_text(
        '\ufeff{"id":1,"v":1.5,"w":"a"}\n{"id":2,"v":NaN,"w":"b"}\n{"id":3,"v":1,"w":Infinity}\n{"id":4,"v":2,"w":"c",}\n'
        '{"id":5,"v":-Infinity}\n{"id":6,"v":1e5,"w":"x"} {"id":7}\n{"id":8,"v":"3","w":null}\n',
        encoding="utf-8",
    )
    pod.work()
    assert sorted(tuple(row.values()) for row in pod.rows()) == [(1, 1.5, "a"), (8, 3.0, None)]
    assert [(row["position"], row["message"]) for row in pod.bad()] == [
        (2, "the line is not JSON: NaN is not a number in JSON"),
        (3, "the line is not JSON: Infinity is not a number in JSON"),
        (4, "the line is not JSON: a comma stands before }"),
        (5, "the line is not JSON: -Infinity is not a number in JSON"),
        (6, "the line is not JSON: a second object follows; write each on a line of its own"),
    ]
    assert pod.work("r2", kind="inspect-source").state == "Succeeded"


@pytest.mark.parametrize("depth", [201, 1_000, 100_000])
def test_deep_nesting_makes_a_bad_row(depth: int, tmp_path: Path) -> None:
    lines = [f'{{"a": {"[" * depth}{"]" * depth}}}', '{"a": 1, "b": "' + "[" * 300 + '"}', '{"a":' * depth]
    rows = loaded(tmp_path, "\n".join(lines).encode(), JSON)
    assert rows == [("1", "[" * 300), (1,), (3,)]
