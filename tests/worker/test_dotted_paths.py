"""Paths in `from`: what they lead to in JSON and in Parquet, and when a dot belongs to a name."""

import json
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from penstock.language.errors import InvalidSpec
from penstock.worker.rows import origins
from worker.pods import a_pod, csv, field

JSON: dict[str, Any] = {"json": {}}
ROW = {
    "user": {"geo": {"country": "FR", "at": [1.5, 2]}, "a.b": 7, "ok": True, "none": None},
    "items": [{"id": 1, "sku": "x"}, {"id": "2"}],
    "user.geo": "a name",
    "K 0": {"x-1": "é"},
    "Phone No.": "1",
}
PATHS: list[tuple[str, str, Any]] = [
    ("user.geo.country", "string", "FR"),
    ("$.user.geo.country", "string", "FR"),
    ("@.user.geo.country", "string", "FR"),
    ("items[0].id", "long", 1),
    ("items[1].id", "int", 2),
    ("items[2].id", "int", None),
    ("user.geo.at[0]", "double", 1.5),
    ("user.geo.at", "string", "[1.5, 2]"),
    ("user.geo", "string", '{"country": "FR", "at": [1.5, 2]}'),
    ('"user.geo"', "string", "a name"),
    ('$["user.geo"]', "string", "a name"),
    ('user."a.b"', "int", 7),
    ('$.user["a.b"]', "int", 7),
    ("user.ok", "boolean", True),
    ("user.none", "string", None),
    ("user.none.deeper", "string", None),
    ("user.missing", "string", None),
    ("K 0.x-1", "string", "é"),
    ("Phone No.", "string", "1"),
    ("upper(user.geo.country) || items[1].id", "string", "FR2"),
    ("coalesce(user.missing.deeper, 'none')", "string", "none"),
    ("items[0].id::int + items[1].id::int", "int", 3),
    ('"user".geo.country', "string", "FR"),
]


@pytest.mark.parametrize(("written", "kind", "value"), PATHS)
def test_a_path_leads_into_a_line(written: str, kind: str, value: Any, tmp_path: Path) -> None:
    other = {"user": {"missing": {"deeper": None}, "none": {"deeper": None}}, "items": [0, 1, {"id": None}]}
    pod = a_pod(tmp_path, field("v", kind, from_=written), form=JSON)
    (pod.data / "a.json").write_text(json.dumps(ROW) + "\n" + json.dumps(other), encoding="utf-8")
    pod.work()
    assert pod.rows()[0] == {"v": value}


@pytest.mark.parametrize(
    ("line", "reason", "message"),
    [
        ('{"user": "x"}', "WrongPath", "user.geo needs an object where there is none"),
        ('{"user": [1]}', "WrongPath", "user.geo needs an object where there is none"),
        ('{"user": {"geo": 1, "geo": 2}}', "RepeatedKey", 'the key "geo" occurs more than once in the object'),
        ('{"user": {"geo": "\\ud83d"}}', "LoneSurrogate", None),
        ('{"user": {"geo": NaN}}', "NotJson", None),
    ],
)
def test_a_path_that_cannot_be_followed_makes_its_row_bad(
    line: str, reason: str, message: str | None, tmp_path: Path
) -> None:
    pod = a_pod(tmp_path, field("v", "string", from_="user.geo"), form=JSON)
    (pod.data / "a.json").write_text(f'{{"user": {{"geo": "good"}}}}\n{line}\n', encoding="utf-8")
    pod.work()
    assert pod.rows() == [{"v": "good"}]
    [bad] = pod.bad()
    assert (bad["reason"], bad["payload"], bad["position"]) == (reason, line, 2)
    assert message in (None, bad["message"])


def test_a_path_that_no_line_has_refuses_the_file(tmp_path: Path) -> None:
    pod = a_pod(tmp_path, field("v", "string", from_="user.country"), form=JSON)
    (pod.data / "a.json").write_text('{"user": {"geo": 1}}\n', encoding="utf-8")
    message = pod.work().message or ""
    assert 'field v needs the key "user.country", which no line has' in message
    assert "coalesce(user.country)" in message


def test_a_sensitive_path_masks_all_of_its_first_name(tmp_path: Path) -> None:
    fields = [field("n", "int"), field("ssn", "string", from_="user.ssn", sensitive=True)]
    pod = a_pod(tmp_path, *fields, form=JSON)
    (pod.data / "a.json").write_text('{"n": "x", "user": {"ssn": "123", "name": "B"}}\n', encoding="utf-8")
    pod.work()
    assert pod.bad()[0]["payload"] == '{"n": "x", "user": "***"}'


def test_a_dot_in_a_header_of_csv_belongs_to_the_name(tmp_path: Path) -> None:
    fields = [field("a", "string", from_="user.geo"), field("b", "string", from_='"user.geo"'), field("c", "int")]
    pod = a_pod(tmp_path, *fields, form=csv())
    (pod.data / "a.csv").write_text("user.geo,c\nFR,1\n", encoding="utf-8")
    pod.work()
    assert pod.rows() == [{"a": "FR", "b": "FR", "c": 1}]


NESTED = pa.table(
    {
        "user": pa.array(
            [{"geo": {"country": "FR"}, "at": 1}, None, {"geo": None, "at": 2}],
            pa.struct([("geo", pa.struct([("country", pa.string())])), ("at", pa.int32())]),
        ),
        "items": pa.array([[{"id": 1}, {"id": 2}], [], None], pa.list_(pa.struct([("id", pa.int64())]))),
        "tags": pa.array([[("k", "v")], [], None], pa.map_(pa.string(), pa.string())),
        "user.geo": ["a", "b", "c"],
    }
)


@pytest.mark.parametrize(
    ("written", "kind", "values"),
    [
        ("user.geo.country", "string", ["FR", None, None]),
        ("USER.at", "long", [1, None, 2]),
        ("items[1].id", "int", [2, None, None]),
        ("tags.k", "string", ["v", None, None]),
        ("user.geo", "string", ["a", "b", "c"]),
        ("coalesce(user.geo.country, 'none')", "string", ["FR", "none", "none"]),
        ("items[0].id + user.at", "long", [2, None, None]),
    ],
)
def test_a_path_leads_into_a_parquet_column(written: str, kind: str, values: list[Any], tmp_path: Path) -> None:
    pod = a_pod(tmp_path, field("v", kind, from_=written), form={"parquet": {}})
    pq.write_table(NESTED, pod.data / "a.parquet")
    pod.work()
    assert [row["v"] for row in pod.rows()] == values


@pytest.mark.parametrize(
    ("written", "words"),
    [
        ("user.missing", "user.missing, which is not there: it is a STRUCT"),
        ("user[0]", "leads into a STRUCT"),
        ("items.id", "leads into a STRUCT"),
        ("tags.k.x", "leads into a VARCHAR"),
        ("none.x", 'the column "none.x", which is not there'),
    ],
)
def test_a_path_that_no_column_has_is_refused(written: str, words: str, tmp_path: Path) -> None:
    pod = a_pod(tmp_path, field("v", "string", from_=written), form={"parquet": {}})
    pq.write_table(NESTED, pod.data / "a.parquet")
    assert words in (pod.work().message or "")


@pytest.mark.parametrize("written", ["user.geo", "$.a[*].b", "items[0].id", "upper(a.b)", "a[0].b || c", "K 0.x"])
def test_a_path_is_accepted_before_a_run(written: str) -> None:
    origins.check_expression(written, "field v")


@pytest.mark.parametrize("written", ["a[b]", "a[-1].b", "a[1:2]", "f(a).b", "a[0][1]::text[0]"])
def test_what_is_no_path_is_refused_before_a_run(written: str) -> None:
    with pytest.raises(InvalidSpec):
        origins.check_expression(written, "field v")
