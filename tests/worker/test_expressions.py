"""docs/expressions.md: it lists what is allowed, and each of its examples gives what it says."""

import re
from pathlib import Path

import duckdb
import pytest

from penstock.worker.rows import expressions, origins

PAGE = (Path(__file__).parents[2] / "docs/expressions.md").read_text(encoding="utf-8")
ROWS = re.findall(r"^\| `(\w+)` \| `(.+)` \| `(.+)` \|$", PAGE, re.MULTILINE)
COLUMNS = {"city": "'Oslo'", "at": "'2013-01-05 10:20:30'", "n": "'-2.5'", "code": "'7'"}


def _computed(written: str) -> str:
    parsed = expressions.parse(written, "field v")
    sql = expressions.sql(parsed, {name: (COLUMNS[name], True) for name in parsed.columns})
    with duckdb.connect() as connection:
        connection.execute("SET TimeZone = 'UTC'")
        (row,) = connection.execute(f"SELECT CAST({sql} AS VARCHAR)").fetchall()
    return str(row[0])


def test_the_page_lists_every_function_that_is_allowed() -> None:
    assert [name for name, _, _ in ROWS] == expressions.allowed().split(", ")


@pytest.mark.parametrize(("name", "written", "given"), ROWS, ids=[row[0] for row in ROWS])
def test_every_example_gives_what_the_page_says(name: str, written: str, given: str) -> None:
    assert written.startswith(f"{name}(")
    origins.check_expression(written, "field v")
    assert _computed(written) == given


@pytest.mark.parametrize(
    "written",
    [
        "code::int + 1 - 2 * 3 / 4 // 5 % 6",
        "city || 'x' LIKE 'O%' OR city ILIKE 'o%'",
        "n::double <> 1 AND n::double <= 1 AND NOT code IN ('1', '2') AND code BETWEEN '1' AND '9' AND n IS NOT NULL",
        "CASE WHEN city = 'Oslo' THEN CAST(code AS bigint) ELSE 0 END",
        "at::timestamp AT TIME ZONE 'Europe/Oslo'",
        "at::timestamp + INTERVAL '1 day'",
        *(f"CAST(NULL AS {kind})" for kind in ("varchar", "boolean", "decimal(5,2)", "date", "timestamptz")),
    ],
)
def test_every_operator_of_the_page_is_allowed(written: str) -> None:
    origins.check_expression(written, "field v")
    assert _computed(written)
