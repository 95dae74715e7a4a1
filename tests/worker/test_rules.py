"""Types, expressions and rules: what makes a row bad, what is said about it, and what must never be said."""

import random
import re
from dataclasses import replace
from pathlib import Path
from typing import Any

import duckdb
import pyarrow as pa
import pytest
from pydantic import ValidationError

from penstock.api.fields import SchemaField
from penstock.language.errors import PenstockError
from penstock.worker.ports.chunks import Chunk, Columns, Lines
from penstock.worker.rows import engine, quality, shape
from worker import judging
from worker.pods import a_pod, csv, field, loads

CANARY = "canary-2f9c1e"


def test_every_reason_of_a_bad_row_is_told(tmp_path: Path) -> None:
    pod = a_pod(
        tmp_path,
        field("a", "long", minimum="0", maximum="10"),
        field("b", "string", enum=["x", "y"]),
        field("c", "date", formats=["%d.%m.%Y", "%Y"]),
        field("d", "decimal(5,2)", nullValues=["none"]),
    )
    (pod.data / "a.csv").write_text("a,b,c,d\n1,x,05.01.2013,1.5\n11,z,31.02.2013,1.999\n5,y,2013,none\n,,,\n")
    pod.work()
    assert len(pod.rows()) == 3
    (bad,) = pod.bad()
    assert bad["message"] == (
        'a: "11" is above the maximum 10; b: "z" is not one of x, y; '
        'c: "31.02.2013" is not a date; d: "1.999" is not a decimal(5,2)'
    )
    assert (bad["stage"], bad["field"], bad["run"]) == ("quality", "a", "r1")
    assert bad["payload"] == "11,z,31.02.2013,1.999"


def test_an_expression_that_fails_makes_its_row_bad_and_no_other(tmp_path: Path) -> None:
    made = "make_date(year::int, month::int, day::int)"
    pod = a_pod(tmp_path, field("day", "date", from_=made), field("part", "string", from_="upper(left(name, 2))"))
    (pod.data / "a.csv").write_text("year,month,day,name\n2013,1,5,abc\n2013,13,5,b\n2013,1.7,5,c\n2013,,5,\n")
    pod.work()
    assert [(str(row["day"]), row["part"]) for row in pod.rows()] == [("2013-01-05", "AB"), ("None", None)]
    assert [(row["position"], row["message"]) for row in pod.bad()] == [
        (3, f"day: cannot be computed from {made}"),
        (4, f"day: cannot be computed from {made}"),
    ]


@pytest.mark.parametrize(
    ("written", "said"),
    [
        ("sleep_ms(1000)", "the function sleep_ms is not allowed"),
        ("getvariable('x')", "the function getvariable is not allowed"),
        ("current_setting('memory_limit')", "the function current_setting is not allowed"),
        ("random()", "the function random is not allowed"),
        ("now()", "its value changes from call to call"),
        ("uper(a)", "the function uper is not allowed in expressions. Did you mean upper?"),
        ("upper(current_date)", "its value changes from call to call"),
        ("repeat(a, 4000000000)", "the function repeat is not allowed"),
        ("(SELECT 1)", "is not allowed"),
        ("a IN (SELECT 1)", "not a query"),
        ("lpad(a, 4000000000, 'x')", "the length of lpad and rpad"),
        ("upper(", "is not an SQL expression"),
        ("make_date(a)", "cannot be computed"),
        ("$1", "is not allowed"),
        ("'__penstock_0'", "__penstock is not allowed"),
        ("a::blob", "casts to"),
        ("a::timestamp AT TIME ZONE a", "AT TIME ZONE takes the name of a time zone"),
        ("a::timestamp AT TIME ZONE 'Mars/Base'", "AT TIME ZONE takes the name of a time zone"),
    ],
)
def test_expressions_off_the_list_are_refused(written: str, said: str, tmp_path: Path) -> None:
    pod = a_pod(tmp_path, field("v", "string", from_=written))
    (pod.data / "a.csv").write_text("a\n1\n")
    report = pod.work()
    assert (pod.code, report.reason) == (2, "InvalidSpec")
    assert said in (report.message or "")


@pytest.mark.parametrize(
    "written",
    ["sum(id)", "nosuchfunc(id)", "foo(", "select * from x; drop table y", "upper(a, b)", "split_part(a, '.')", "a; b"],
)
def test_a_migration_refuses_what_can_work_over_no_columns(written: str, tmp_path: Path) -> None:
    """So that the Dataset tells of it before there is a run."""
    pod = a_pod(tmp_path, field("v", "string", from_=written))
    report = pod.work(kind="migrate")
    assert (pod.code, report.reason) == (2, "InvalidSpec")
    assert (report.message or "").startswith("field v: ")
    assert not (pod.warehouse / "main").exists()


@pytest.mark.parametrize("written", ["odd name", "Größe in m.-2", '"Total (EUR)"', "year(at)", "date_trunc('day', a)"])
def test_a_migration_leaves_alone_what_only_the_columns_can_tell(written: str, tmp_path: Path) -> None:
    assert a_pod(tmp_path, field("v", "string", from_=written)).work(kind="migrate").reason is None


@pytest.mark.parametrize(
    ("written", "kind", "expected"),
    [
        ("coalesce(nullif(a, ''), 'none')", "string", "none"),
        ("strptime(b, '%d.%m.%Y')", "date", "2013-01-05"),
        ("case when c::int > 3 then 'big' else 'small' end", "string", "big"),
        ("round(d::double * 100)::int", "int", "150"),
        ("date_trunc('month', strptime(b, '%d.%m.%Y'))", "timestamp", "2013-01-01 00:00:00"),
        ("d::decimal(5,2) + 1", "decimal(5,2)", "2.50"),
        ("lpad(c, 4, '0')", "string", "0007"),
        ("c::int in (7, 8) and not d like 'x%'", "boolean", "True"),
        ("\"odd name\" || '!'", "string", "x!"),
        ("odd name", "string", "x"),
        ("split_part(b, '.', 2)::int", "int", "1"),
        ("regexp_replace(b, '[.]', '/')", "string", "05/01.2013"),
        ("extract(year from strptime(b, '%d.%m.%Y'))", "long", "2013"),
    ],
)
def test_expressions_on_the_list_compute(written: str, kind: str, expected: str, tmp_path: Path) -> None:
    pod = a_pod(tmp_path, field("v", kind, from_=written))
    (pod.data / "a.csv").write_text('a,b,c,d,odd name\n"",05.01.2013,7,1.5,x\n')
    report = pod.work()
    assert report.message is None
    assert [str(row["v"]) for row in pod.rows()] == [expected]


def test_a_bound_of_the_wrong_type_is_refused(tmp_path: Path) -> None:
    pod = a_pod(tmp_path, field("a", "long", minimum="low"))
    (pod.data / "a.csv").write_text("a\n1\n")
    with pytest.raises(ValidationError, match='minimum "low" is not a whole number of 64 bits'):
        pod.work()  # the order itself: no worker ever sees such a bound


def test_a_sensitive_value_is_shown_nowhere(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    pod = a_pod(
        tmp_path,
        field("a", "long", sensitive=True),
        field("b", "string", from_="upper(secret)", sensitive=True, enum=["X"]),
        quality={"maxBadRatio": "10%"},
    )
    (pod.data / "a.csv").write_text(f"a,secret\n{CANARY},x\n1,{CANARY}\n2,{CANARY},3\n")
    report = pod.work()
    assert report.reason == "TooManyBadRows"
    assert CANARY not in report.model_dump_json() + capfd.readouterr().out
    pod.dataset["quality"] = {"maxBadRatio": "100%"}
    pod.work("r2")
    assert CANARY not in str(pod.bad()).lower()
    assert [row["position"] for row in pod.bad()] == [2, 3, 4]
    pod.kind, pod.more = "preview", {"preview": {"rows": 10, "quarantined": True}}
    pod.work("r3")
    assert CANARY not in capfd.readouterr().out


SENSITIVE = field("who_up", "int", from_="upper(who)", sensitive=True)
OTHERS = [
    field("init", "int", from_="left(who, 30)"),
    field("plain", "int", from_="who"),
    field("same", "string", from_="lower(who)", enum=["x"]),
    field("short", "string", from_="who", nullValues=["x"], enum=["y"]),
    field("much", "string", from_="who || ''", required=True, enum=["z"]),
    field("day", "date", from_="who", formats=["%Y"]),
    field("size", "double", from_="length(who)", maximum="1"),
]


@pytest.mark.parametrize("other", OTHERS, ids=lambda other: other["name"])
@pytest.mark.parametrize("first", [True, False])
def test_what_a_sensitive_field_is_made_from_is_shown_by_no_other_field(
    other: dict[str, Any], first: bool, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    fields = [SENSITIVE, other] if first else [other, SENSITIVE]
    pod = a_pod(tmp_path, *fields, field("id", "int"), quality={"maxBadRatio": "10%"})
    (pod.data / "a.csv").write_text(f"id,who\nx,{CANARY}\ny,{CANARY}\n")
    shown = pod.work().model_dump_json()
    pod.dataset["quality"] = {"maxBadRatio": "100%"}
    shown += pod.work("r2").model_dump_json() + str(pod.bad())
    pod.kind, pod.more = "preview", {"preview": {"rows": 10, "quarantined": True}}
    shown += pod.work("r3").model_dump_json() + capfd.readouterr().out
    assert CANARY not in shown.lower()
    assert f"{other['name']}: the value is" in pod.bad()[0]["message"]
    assert 'id: "x" is not an int' in pod.bad()[0]["message"], "what is not sensitive is told as ever"


def test_the_engine_s_words_about_a_sensitive_value_are_kept_back(tmp_path: Path) -> None:
    number = SchemaField.model_validate(field("n", "int", from_="a::int", sensitive=True))
    ask = quality.questions(shape.compiled([number], Columns(("a",), ("VARCHAR",)), "a.csv"))
    failing = replace(ask.verdicts[0], sql="SELECT c0::int > 0 AS bad FROM verdict_0")
    ask = replace(ask, verdicts=(failing,))
    rows = Chunk(pa.table({"c0": [CANARY]}), 1, Lines(1))
    with engine.connect(1 << 28, 1, tmp_path) as connection:
        with pytest.raises(PenstockError) as told:
            quality.Judge(connection).split(ask, [rows])
        assert CANARY not in told.value.message
        with pytest.raises(duckdb.ConversionException, match=CANARY):
            quality.Judge(connection).split(replace(ask, hidden=frozenset()), [rows])


def test_a_sensitive_key_is_masked_however_it_is_written(tmp_path: Path) -> None:
    pod = a_pod(tmp_path, field("a", "long"), field("b", "string", from_="who", sensitive=True), form={"json": {}})
    lines = [
        f'{{"a": "x", "Who": "{CANARY}"}}',
        f'{{"a": "x", "wh\\u006f": "{CANARY}"}}',
        f'{{"a": "x", "who": "{CANARY}", "who": "{CANARY}"}}',
    ]
    (pod.data / "a.jsonl").write_text("\n".join(lines) + "\n")
    pod.work()
    assert len(pod.bad()) == 3
    assert CANARY not in str(pod.bad())


def test_sensitive_keys_of_json_lines_are_masked(tmp_path: Path) -> None:
    pod = a_pod(tmp_path, field("a", "long"), field("b", "string", sensitive=True), form={"json": {}})
    (pod.data / "a.jsonl").write_text(f'{{"a": "x", "b": "{CANARY}"}}\n')
    pod.work()
    assert loads(pod.bad()[0]["payload"]) == {"a": "x", "b": "***"}


def test_a_message_says_nothing_of_a_dataset_that_was_committed(tmp_path: Path) -> None:
    pod = a_pod(tmp_path, field("a", "long"), form=csv())
    (pod.data / "a.csv").write_text("a\n1\n2\nx\ny,y\n")
    order = pod.order()
    first = order["datasets"][0]
    strict = {
        **first,
        "owner": {**first["owner"], "name": "strict"},
        "table": "strict",
        "quality": {"maxBadRatio": "0%"},
    }
    report = pod.work("r1", more={"datasets": [first, strict]})
    assert [entry.state for entry in report.datasets] == ["Written", "Failed"]
    assert len(pod.rows()) == 2
    assert report.message == (
        "Dataset strict: 2 of 4 rows are bad, and quality.maxBadRatio allows 0%. Nothing was committed to strict. "
        "1 row: a is not a long, first in file:///volumes/data/a.csv:4; "
        "1 row: 2 columns where 1 are expected, first in file:///volumes/data/a.csv:5."
    )


def test_too_many_bad_rows_commit_nothing(tmp_path: Path) -> None:
    pod = a_pod(tmp_path, field("a", "long"), quality={"maxBadRatio": "5%"}, form=csv())
    (pod.data / "a.csv").write_text("a\n" + "1\n" * 8 + "x\ny\n")
    report = pod.work()
    assert (pod.code, report.reason, pod.rows(), pod.bad()) == (2, "TooManyBadRows", [], [])
    assert report.message == (
        "Dataset things: 2 of 10 rows are bad, and quality.maxBadRatio allows 5%. Nothing was committed to things. "
        "2 rows: a is not a long, first in file:///volumes/data/a.csv:10."
    )
    assert '"x"' not in report.model_dump_json(), "values are not in reports"
    pod.dataset["quality"] = {"maxBadRatio": "20%"}
    assert pod.work("r2").datasets[0].counts.loaded == 8


def test_where_most_rows_are_bad_by_default_nothing_is_committed_and_the_corrected_run_reads_them(
    tmp_path: Path,
) -> None:
    pod = a_pod(tmp_path, field("day", "date", formats=["%m/%d/%Y"]), quality={})
    (pod.data / "a.csv").write_text("day\n31.12.2013\n01.01.2014\n02.01.2014\n")
    report = pod.work()
    assert (pod.code, report.reason, pod.rows(), pod.bad()) == (2, "TooManyBadRows", [], [])
    assert "3 of 3 rows are bad, and quality.maxBadRatio allows 50%" in (report.message or "")
    pod.fields = [field("day", "date", formats=["%d.%m.%Y"])]
    assert pod.work("r2").datasets[0].counts.loaded == 3


BAD_THEN = {
    "a.csv": ("a,b\n", "x,y\n", "1,y\n"),
    "latin.csv": ("a,b\n", "x,\xe9\n", "1,\xe9\n"),
    "a.jsonl": ("", '{"a":"x"}\n', '{"a":1}\n'),
    "a.json": ('[{"a":1}', ',{"a":"x"}', ',{"a":1}'),
}
FORMS: dict[str, dict[str, Any]] = {
    "a.csv": csv(),
    "latin.csv": csv(encoding="iso-8859-1"),
    "a.jsonl": {"json": {}},
    "a.json": {"json": {"lines": False}},
}


@pytest.mark.parametrize("name", BAD_THEN)
def test_a_text_file_ends_early_when_the_rows_to_come_cannot_be_enough(name: str, tmp_path: Path) -> None:
    header, bad, _ = BAD_THEN[name]
    pod = a_pod(tmp_path, field("a", "long"), form=FORMS[name], quality={"maxBadRatio": "5%"})
    end = "]" if name == "a.json" else ""
    (pod.data / name).write_text(header + bad * 1_000_000 + end, encoding="latin-1")
    report = pod.work()
    assert report.reason == "TooManyBadRows"
    said = re.search(r"([\d,]+) of the first ([\d,]+) rows are bad", report.message or "")
    assert said is not None, report.message
    assert int(said[2].replace(",", "")) < 700_000


@pytest.mark.parametrize("name", BAD_THEN)
def test_a_text_file_is_read_to_its_end_while_enough_good_rows_may_come(name: str, tmp_path: Path) -> None:
    header, bad, good = BAD_THEN[name]
    pod = a_pod(tmp_path, field("a", "long"), form=FORMS[name], quality={"maxBadRatio": "50%"})
    end, more, rows = ("]", 1, 20_000) if name == "a.json" else ("", 0, 200_000)
    (pod.data / name).write_text(header + bad * rows + good * (rows - more) + end, encoding="latin-1")
    counts = pod.work().datasets[0].counts
    assert (counts.loaded, counts.quarantined) == (rows, rows)
    pod.dataset["quality"] = {"maxBadRatio": "49.9%"}
    pod.dataset["writeMode"], pod.dataset["sync"] = "replace", "full"
    assert pod.work("r2").reason == "TooManyBadRows"


def test_faults_of_many_fields_keep_the_order_of_the_fields(tmp_path: Path) -> None:
    """Fields are asked about in groups, in another order; the answer for a row is the same however they are grouped."""
    fields: list[dict[str, Any]] = []
    for number in range(120):
        kind = {"type": "date", "formats": ["%d.%m.%Y"]} if number % 3 == 0 else {"type": "int", "maximum": "5"}
        fields.append({"name": f"c{number}", **kind})
    chance = random.Random(5)
    written, wrong = list[list[str]](), list[dict[int, str]]()
    for _ in range(60):
        faults = {number: chance.choice(("x", "9")) for number in chance.sample(range(120), chance.randrange(4))}
        written.append([faults.get(n, "01.02.2026" if n % 3 == 0 else "3") for n in range(120)])
        wrong.append(faults)
    table = pa.table({f"c{number}": [row[number] for row in written] for number in range(120)})
    _, bad = judging.rows(table, tmp_path, fields)
    assert sorted(bad) == [row for row, faults in enumerate(wrong) if faults]
    for row, said in bad.items():
        first, *_ = places = sorted(wrong[row])
        above = first % 3 and wrong[row][first] == "9"
        assert (said["field"], said["reason"]) == (f"c{first}", "AboveMaximum" if above else "WrongType")
        assert (said["stage"], said["kind"].split()[0]) == ("quality" if above else "shape", f"c{first}")
        assert [message.split(":")[0] for message in said["error"].split("; ") if message[0] == "c"] == [
            f"c{place}" for place in places
        ]
