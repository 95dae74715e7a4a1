"""Casts inside expressions: one rule for all of them. A cast never changes a value; what does not fit is an error."""

from collections.abc import Mapping
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from penstock.language.errors import InvalidSpec
from penstock.worker.rows import engine, expressions
from worker.pods import a_pod, field

COLUMNS: Mapping[str, tuple[str, str]] = {
    "text": ("VARCHAR", "'3.7'"),
    "seven": ("VARCHAR", "' 7 '"),
    "real": ("DOUBLE", "2.5"),
    "two": ("DOUBLE", "2.0"),
    "long": ("BIGINT", "9007199254740993"),
    "five": ("INTEGER", "5"),
    "money": ("DECIMAL(9,2)", "1.25"),
    "noon": ("TIMESTAMP", "'2020-05-01 12:00:00'"),
    "midnight": ("TIMESTAMP", "'2020-05-01 00:00:00'"),
    "zoned": ("TIMESTAMPTZ", "'2020-05-01 00:00:00+00'"),
    "yes": ("BOOLEAN", "true"),
    "nothing": ("DOUBLE", "NULL"),
}
FAILS = object()


def _value(written: str) -> object:
    """What DuckDB makes of the expression over COLUMNS, as text; FAILS where it is an error."""
    parsed = expressions.parse(written, "field v")
    table = ", ".join(f"CAST({value} AS {kind}) AS {name}" for name, (kind, value) in COLUMNS.items())
    with engine.small() as connection:

        def type_of(sql: str) -> str:
            row = connection.execute(f"DESCRIBE SELECT {sql} FROM (SELECT {table})").fetchone()
            assert row is not None
            return str(row[1])

        sql = expressions.sql(parsed, {name: (name, kind == "VARCHAR") for name, (kind, _) in COLUMNS.items()}, type_of)
        query = f"SELECT TRY(struct_pack(v := CAST({sql} AS VARCHAR))) FROM (SELECT {table})"
        ((answer,),) = connection.execute(query).fetchall()
    return FAILS if answer is None else answer["v"]


@pytest.mark.parametrize(
    ("written", "expected"),
    [
        ("text::int", FAILS),
        ("text::double::int", FAILS),
        ("text::double::varchar", "3.7"),
        ("round(text::double)::int", "4"),
        ("trim(text)::int", FAILS),
        ("left(text, 1)::int", "3"),
        ("trim(seven)::int", "7"),
        ("coalesce(text, '1')::decimal(3,1)", "3.7"),
        ("coalesce(text, '1')::decimal(3,0)", FAILS),
        ("real::int", FAILS),
        ("(real * 2)::int", "5"),
        ("two::int::varchar", "2"),
        ("two::boolean", FAILS),
        ("long::double", FAILS),
        ("long::int", FAILS),
        ("long::double::bigint", FAILS),
        ("money::int", FAILS),
        ("money::decimal(9,1)", FAILS),
        ("money::decimal(9,3)", "1.250"),
        ("money::double", "1.25"),
        ("(money * 4)::int", "5"),
        ("noon::date", FAILS),
        ("date_trunc('day', noon)::date", "2020-05-01"),
        ("midnight::date", "2020-05-01"),
        ("'2020-05-01'::date::timestamp", "2020-05-01 00:00:00"),
        ("(zoned at time zone 'UTC')::date", "2020-05-01"),
        ("yes::int", "1"),
        ("(yes::int)::boolean", "true"),
        ("five::boolean", FAILS),
        ("(five = 5)::varchar", "true"),
        ("nothing::int", None),
        ("(nothing + 1)::varchar", None),
        ("try_cast(text as int)", None),
        ("try_cast(real as int)", None),
        ("try_cast(trim(seven) as int)", "7"),
        ("coalesce(try_cast(text as int), -1)", "-1"),
        ("cast(cast(cast(five as varchar) as decimal(5,2)) as int)", "5"),
        ("3.7::int", FAILS),
        ("'3.7'::int", FAILS),
        ("(noon - midnight)::varchar", "12:00:00"),
        ("replace(replace(replace(text, '.', 'ppppppppppp'), 'p', 'qqqqqqqqqqq'), 'q', '')::int", "37"),
    ],
)
def test_a_cast_keeps_the_value_or_fails(written: str, expected: object) -> None:
    assert _value(written) == expected


@pytest.mark.parametrize(
    ("written", "said"),
    [
        ("zoned::date", "AT TIME ZONE"),
        ("zoned::timestamp", "AT TIME ZONE"),
        ("noon::timestamptz", "AT TIME ZONE"),
        ("(five + 1)::date", "casts INTEGER to DATE"),
        ("noon::int", "casts TIMESTAMP to INTEGER"),
    ],
)
def test_a_cast_that_no_value_fits_is_refused(written: str, said: str) -> None:
    with pytest.raises(InvalidSpec, match=r"^field v: ") as refused:
        _value(written)
    assert said in refused.value.message


def test_rows_that_a_cast_would_change_are_bad_and_no_other(tmp_path: Path) -> None:
    fields = field("n", "int", from_="x::int"), field("m", "int", from_="(x * 2)::int")
    pod = a_pod(tmp_path, *fields, form={"parquet": {}})
    pq.write_table(pa.table({"x": [1.0, 2.5, None, 4.25, 5.0]}), pod.data / "a.parquet")
    assert pod.work().message is None
    assert [row["n"] for row in pod.rows()] == [1, None, 5]
    assert len(pod.bad()) == 2


def test_a_text_that_is_no_number_in_the_format_of_the_file_is_bad_and_not_null(tmp_path: Path) -> None:
    form = {"csv": {"delimiter": ";", "decimal": ",", "thousands": "."}}
    pod = a_pod(tmp_path, field("v", "decimal(9,2)", from_="amount::decimal(9,2)"), form=form)
    (pod.data / "a.csv").write_text("amount\n1.234,5\n1,2,3\nnone\n")
    assert pod.work().message is None
    assert ([str(row["v"]) for row in pod.rows()], len(pod.bad())) == (["1234.50"], 2)
