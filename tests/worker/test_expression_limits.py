"""What an expression may hold and cost: contents of nodes, depth, length, and the text that it makes from a row."""

import json
import os
import random
import subprocess
import sys
from pathlib import Path

import pytest

from penstock.api import manifests, validation
from penstock.language.errors import InvalidSpec
from penstock.worker.rows import engine, expressions, grammar, origins, parsetree
from support import memory
from worker.pods import a_pod, field

HIDDEN = [
    "extract(\"dow from now()) || (current_setting('temp_directory')) || extract(dow\" from a::timestamp)",
    "extract('dow from now()' from a::timestamp)",
    "date_trunc('day'', now()) || (''', a::date)",
    "a::decimal('5,2) || current_setting(''threads'') || (1::decimal(5', 2)",
    "a::decimal(39, 2)",
    "a::decimal(5, 6)",
    "a::decimal(0)",
    "a::timestamp(3)",
    "a::varchar[]",
    "a::struct(x int)",
    "interval '99999999999 years'",
    "a::timestamp + interval '1' fortnight",
    "trim(a collate nocase)",
    "length(a, b)",
    "floor(a::double, 2)",
    "to_timestamp(a, now())",
    "regexp_replace(a, b, 'x')",
    "regexp_replace(a, 'x', 'y', a)",
    "strftime(a::date, b)",
    "(a at time zone b)",
    "a = any(b)",
    "a[b]",
    "a[1:2]",
    "[a]",
    "{'x': a}",
    "(a, b)",
    "upper(a) over ()",
    "count(*)",
    "columns('a')",
    "? + 1",
    "e'\\x41' || a",
    "a || '\ud800'",
    "a || '\0'",
]
TOO_LARGE = [
    "(" * 300 + "a" + ")" * 300,
    "+".join(["1"] * 1000),
    "(" + "not " * 390 + "a)",
    "(" + "- " * 390 + "1)",
    "case when " * 60 + "(a)" + " then 1 end" * 60,
    "upper(" * 70 + "a" + ")" * 70,
    "upper(a) || '" + "x" * 3000 + "'",
    "regexp_matches(a, '((a{100}){100}){100}')",
    "regexp_matches(a, '(((a{1,99}){1,99}){1,99})*')",
    "regexp_matches(a, '(')",
    "strptime(a, '%Q')",
    "strftime(a::date, '%Q')",
    "replace(" * 17 + "a" + ", 'a', b)" * 17,
    "lpad(a, 1001, 'x')",
]


@pytest.mark.parametrize("written", [*HIDDEN, *TOO_LARGE], ids=lambda written: ascii(written[:40]))
def test_what_is_off_the_list_or_too_large_is_one_finding_with_its_field(written: str) -> None:
    with pytest.raises(InvalidSpec, match=r"^field v: ") as refused:
        origins.check_expression(written, "field v")
    assert "sqlglot" not in refused.value.message
    assert len(refused.value.message) < 400


def test_validate_shows_each_of_them_at_its_own_place(tmp_path: Path) -> None:
    fields = [{"name": f"f{index}", "type": "string", "from": text} for index, text in enumerate(TOO_LARGE)]
    spec = {"destinationRef": {"name": "lake"}, "table": "t", "schema": {"fields": fields}, "writeMode": "append"}
    dataset = {"apiVersion": "penstock.dev/v1alpha1", "kind": "Dataset", "metadata": {"name": "d"}, "spec": spec}
    (tmp_path / "d.yaml").write_text(json.dumps(dataset))
    verdict = validation.validate(manifests.load([tmp_path / "d.yaml"]), expressions=origins.check_expression)
    found = [complaint.finding.path for complaint in verdict.complaints if complaint.finding.path[-1:] == ("from",)]
    assert {path[-2] for path in found} == set(range(len(TOO_LARGE)))


DROPPED = [
    "date_diff('day', a, b, c)",
    "strptime(a, '%Y', '%d')",
    "regexp_replace(a, 'x', 'y', 'g', 'z')",
    "interval '1 day; select 1'",
    "a::date + interval '1 day 2'",
    "a::date + interval '1 day -- x'",
    "a::varchar(5)",
    "to_timestamp(a, 3)",
    "'a' 'b'",
    "lpad(a, 3)",
    "{fn upper(a)}",
    "case when a then b",
    "case when a then b else c",
    "coalesce(a, b) ignore nulls",
    "a div 2",
    "nvl(a, b)",
]
SPELLINGS = [
    ("substr(a, 1, 2)", "substring(a, 1, 2)"),
    ("len(a) + ceiling(1.5)", "length(a) + ceil(1.5)"),
    ("a IS NOT NULL", "NOT a IS NULL"),
    ("a notnull and b isnull", "a IS NOT NULL AND b IS NULL"),
    ("b::bool is not true", "NOT b::boolean IS TRUE"),
    ("interval '3 days'", "INTERVAL 3 DAYS"),
    ("interval '2 centuries'", "INTERVAL '2' CENTURIES"),
    ("extract(year from a::date)", "extract(YEAR FROM CAST(a AS date))"),
    ("year(at) + day(day) + length(desc)", 'year("at") + day("day") + length("desc")'),
    ("mod(a::int8, 1_000) == 2", "a::bigint % 1000 = 2"),
    ("if(a = 'x', 1, 2)", "case when a = 'x' then 1 else 2 end"),
    ("trim(leading 'x' from a) /* a comment */", "ltrim(a, 'x') -- another"),
    ("a::numeric || ucase(b)", "a::decimal(18, 3) || upper(b)"),
]


@pytest.mark.parametrize("written", DROPPED)
def test_what_a_parser_would_drop_is_refused(written: str) -> None:
    with pytest.raises(InvalidSpec, match=r"^field v: .*(not the same|cannot read|not allowed|not an SQL expression)"):
        expressions.parse(written, "field v")


@pytest.mark.parametrize(("one", "other"), SPELLINGS)
def test_spellings_of_one_meaning_are_the_same(one: str, other: str) -> None:
    assert expressions.parse(one, "field v").tree == expressions.parse(other, "field v").tree


@pytest.mark.parametrize("name", ["random", "now", "today", "uuid", "pow", "string_split"])
def test_a_function_off_the_list_is_called_by_the_name_that_was_written(name: str) -> None:
    with pytest.raises(InvalidSpec, match=rf"^field v: the function {name} is not allowed"):
        expressions.parse(f"upper({name}(a, b))" if name in ("pow", "string_split") else f"{name}()", "field v")


SEEDS = [
    "make_date(year::int, month::int, day::int)",
    "coalesce(nullif(trim(city), ''), 'unknown')",
    "extract(dow from at::timestamp) + date_diff('day', a::date, b::date)",
    "case when city = 'Oslo' then cast(code as decimal(5,2)) else 0 end",
    "date_trunc('month', strptime(b, '%d.%m.%Y')) + interval '3 days'",
    "regexp_replace(at, '[0-9]{2}-', '/', 'g') || lpad(code, 3, '0')",
    "at::timestamp at time zone 'Europe/Oslo'",
    "x in ('1', '2') and y between 1 and 2 and z not like '%x%' or w is not null",
    "concat_ws(', ', split_part(a, '.', 1), substring(b, 1, 2), strftime(c::date, '%Y'))",
    "epoch_ms(at::timestamp) // 2 % 7 - to_timestamp(n::double) is null",
]
PIECES = [
    *("'", '"', "''", '"x"', "(", ")", ",", ";", "--", "/*", "*/", "$$", "$x$", "e'", "x'", "::", "[", "]", "{", "}"),
    *(
        "?",
        ":",
        ".",
        "*",
        " from ",
        " over ()",
        " collate ",
        " as ",
        "select ",
        "(select 1)",
        "union all ",
        "distinct ",
    ),
    *("now()", "random()", "current_setting('threads')", "getvariable('x')", "read_csv('/etc/passwd')", "pragma "),
    *("try(", "unnest(", "list_transform(", "lambda x: ", "x -> ", "within group ", " filter (where a) ", "interval "),
    *("::blob", "::json", "::int[]", "::decimal(5", "::enum('a')", "extract(", " at time zone ", "\\", "\0", "\ud800"),
    *(
        "\u2028",
        "é",
        "%s",
        "{0}",
        "1e999",
        "0x41",
        "1_000",
        "9" * 50,
        "cast(",
        "case ",
        " end",
        " escape '!'",
        "#1",
        "@",
    ),
]


def _mutated(chance: random.Random) -> str:
    text = chance.choice(SEEDS)
    for _ in range(chance.randint(1, 2)):
        place, length = chance.randrange(len(text) + 1), chance.choice((0, 0, 1, 2, 5))
        other = chance.choice(SEEDS)
        start = chance.randrange(len(other))
        piece = chance.choice((chance.choice(PIECES), other[start : start + chance.randint(1, 20)]))
        text = text[:place] + piece + text[place + length :]
    return text


OWN = {
    "struct_pack",
    "list_transform",
    "strlen",
    "len",
    "regexp_extract_all",
    "regexp_full_match",
    "isfinite",
    "repeat",
}
MOST_SQL = 100_000
"""Characters of the SQL that is made of an expression, with its guards: it is read for each file."""
OWN |= {"format", "array_extract", "substr", "try_strptime", "list_value", "struct_extract"}
"""What exact casts and guards call besides."""


@pytest.mark.parametrize("seed", range(8))
def test_no_mutation_brings_the_engine_what_is_off_the_list(seed: int) -> None:
    """500 mutations each: refused with InvalidSpec, or SQL in which DuckDB itself reads listed functions alone."""
    chance = random.Random(seed)
    accepted = 0
    for _ in range(500):
        written = _mutated(chance)
        try:
            parsed = expressions.parse(written, "field v")
            sql = expressions.sql(parsed, {name: (f"c{i}", i % 2 == 0) for i, name in enumerate(parsed.columns)})
        except InvalidSpec:
            continue
        accepted += 1
        assert _read_by_engine(sql) <= {*parsetree.FUNCTIONS, *OWN}, written
    assert accepted > 0


GROWTHS = [
    "({})", "not ({})", "- {}", "upper({})", "replace({}, 'a', b)", "coalesce({}, a)", "case when {} then 1 end",
    "{} + {}", "{} || {}", "({}) and ({})", "concat({}, {}, {})", "{}::date", "try_cast({} as date)", "{}, {}",
    "regexp_replace({}, '(a{{9}}){{9}}', 'bb', 'g')", "lpad({}, 1000, 'x')", "{} in ({}, {})", "{} between {} and {}",
    "interval '1' day + {}", "date_trunc('day', {})", "strptime({}, '%Y')", "{} is null", "{} like {} escape '!'",
]  # fmt: skip
"""What makes of an expression a deeper or longer one."""


@pytest.mark.parametrize("seed", range(2))
def test_no_growth_passes_the_bounds(seed: int) -> None:
    """60 expressions each, of up to 100,000 characters: refused, or SQL and a tree of a bounded size."""
    chance = random.Random(seed)
    outcomes = set[bool]()
    for _ in range(60):
        written, growths = chance.choice([*SEEDS, "a", "1"]), chance.choices(GROWTHS, k=chance.choice((1, 2, 4)))
        while len(written) < chance.choice((100, 1_000, 10_000, 100_000)):
            growth = chance.choice(growths)
            written = growth.format(*[written] * growth.count("{}"))
        written = written[:100_000]
        try:
            parsed = expressions.parse(written, "field v")
            sql = expressions.sql(parsed, {name: (f"c{i}", True) for i, name in enumerate(parsed.columns)})
        except InvalidSpec:
            outcomes.add(False)
            continue
        outcomes.add(True)
        assert len(written) <= grammar.LONGEST
        assert len(sql) <= MOST_SQL, written
        assert sum(1 for _ in parsed.tree.walk()) <= 2 * grammar.MOST_TOKENS, written
        assert _read_by_engine(sql) <= {*parsetree.FUNCTIONS, *OWN}, written
    assert outcomes == {True, False}


def _read_by_engine(sql: str) -> set[str]:
    """The functions that DuckDB reads in one SELECT of one column, which names no table and has no query in it."""
    with engine.small() as connection:
        ((answer,),) = connection.execute("SELECT json_serialize_sql(?)", [f"SELECT {sql}"]).fetchall()
    (statement,) = json.loads(answer)["statements"]
    node = statement["node"]
    assert (node["type"], len(node["select_list"]), node["from_table"]["type"]) == ("SELECT_NODE", 1, "EMPTY")
    called: set[str] = set()
    waiting = [node["select_list"]]
    while waiting:
        part = waiting.pop()
        if isinstance(part, dict):
            assert part.get("class") not in ("SUBQUERY", "PARAMETER", "WINDOW", "STAR"), sql
            if part.get("class") == "FUNCTION":
                called.add(part["function_name"])
            waiting += part.values()
        elif isinstance(part, list):
            waiting += part
    return called


def test_a_row_whose_text_would_grow_without_bound_is_bad_and_no_other(tmp_path: Path) -> None:
    times = 6
    bomb = "replace(" * times + "a" + ", 'a', 'aaaaaaaaaaaaaaaaaaaa')" * times
    pod = a_pod(tmp_path, field("v", "string", from_=bomb), field("n", "int"))
    (pod.data / "a.csv").write_text("a,n\n" + "".join(f"{'aa' if n == 7 else 'b'},{n}\n" for n in range(100)))
    report = pod.work()
    assert report.message is None
    assert sorted(row["n"] for row in pod.rows()) == [n for n in range(100) if n != 7]
    assert [row["locator"] for row in pod.bad()] == ["file:///volumes/data/a.csv:9"]


@pytest.mark.parametrize(
    ("written", "given", "expected"),
    [
        ("replace(a, b, c)", "xyx,x,long text", "long textylong text"),
        ("replace(replace(replace(a, '&', '&amp;'), '<', '&lt;'), '>', '&gt;')", "<&>,,", "&lt;&amp;&gt;"),
        ("regexp_replace(a, '.', 'twelve chars', 'g')", "ab,,", "twelve charstwelve chars"),
        ("regexp_replace(a, '(.)', b, 'g')", "ab,-,", "--"),
        ("upper(replace(replace(a, 'x', 'yyyyyyyyyyyy'), 'y', 'zzzzzzzzzzzz'))", "x,,", "Z" * 144),
    ],
)
def test_guarded_functions_give_what_they_would_without(
    written: str, given: str, expected: str, tmp_path: Path
) -> None:
    pod = a_pod(tmp_path, field("v", "string", from_=written))
    (pod.data / "a.csv").write_text(f"a,b,c\n{given}\n")
    assert pod.work().message is None
    assert [row["v"] for row in pod.rows()] == [expected]


def test_a_name_that_is_no_sql_is_a_column_that_is_missing(tmp_path: Path) -> None:
    pod = a_pod(tmp_path, field("v", "string", from_="Kunde E-Mail"))
    (pod.data / "a.csv").write_text("Kunden E-Mail,n\nx,1\n")
    message = pod.work().message or ""
    assert 'field v needs the column "Kunde E-Mail", which is not there; did you mean "Kunden E-Mail"?' in message


def test_rows_that_all_make_long_texts_fit_into_memory(tmp_path: Path) -> None:
    """400 rows make 750 kB each; a run that kept those of one chunk took 1.3 GB."""
    times = 3
    bomb = "replace(" * times + "a" + ", 'a', 'aaaaaaaaaaaaaaaaaaaa')" * times
    pod = a_pod(tmp_path, field("v", "string", from_=f"{bomb} || lpad('', 99, 'x')"), field("n", "int"))
    (pod.data / "a.csv").write_text(
        "a,n\n" + "".join(f"{'a' * 95 if n % 500 > 100 else 'b'},{n}\n" for n in range(500))
    )
    pod.prepare()
    environment = {
        **os.environ,
        "PENSTOCK_POD_ROOT": str(pod.root),
        "PENSTOCK_RUN_ID": "r1",
        "PENSTOCK_MEMORY_LIMIT": str(512 << 20),
        "PYTHONPATH": str(Path(memory.__file__).parents[1]),
    }
    command = [sys.executable, "-m", "support.memory", "penstock.worker"]
    done = subprocess.run(command, env=environment, stdout=subprocess.PIPE, text=True, check=True)
    assert sorted(row["n"] for row in pod.rows()) == list(range(500))
    assert memory.printed(done.stdout) < 512


def test_rows_before_and_after_long_texts_keep_their_places(tmp_path: Path) -> None:
    """Parts of a chunk: short texts let them grow, and a long run of long ones makes them small again."""
    bomb = "replace(" * 3 + "a" + f", 'a', '{'a' * 19}')" * 3
    pod = a_pod(tmp_path, field("v", "string", from_=bomb), field("n", "int"))
    texts = ["a" * 100 if 600 <= n < 680 else "a" * 200 if n == 900 else "b" for n in range(1000)]
    lines = [f"{text},{'x' if n == 950 else n}" for n, text in enumerate(texts)]
    (pod.data / "a.csv").write_text("a,n\n" + "\n".join([*lines[:400], "one,two,three", *lines[400:]]) + "\n")
    report = pod.work()
    assert report.message is None
    assert report.datasets[0].counts.read == 1001
    assert [row["n"] for row in pod.rows()] == [n for n in range(1000) if n not in (900, 950)]
    lines_of_bad = sorted(int(row["locator"].rpartition(":")[2]) for row in pod.bad())
    assert lines_of_bad == [402, 903, 953]


def test_a_dataset_whose_expressions_together_make_too_much_text_is_refused(tmp_path: Path) -> None:
    bomb = "replace(replace(a, 'a', 'aaaaaaaaaaaaaaaaaaaa'), 'a', 'aaaaaaaaaaaaaaaaaaaa')"
    pod = a_pod(tmp_path, *[field(f"f{number}", "string", from_=bomb) for number in range(40)])
    (pod.data / "a.csv").write_text("a\nx\n")
    report = pod.work()
    assert (report.reason, "of 40 fields, f0, f1" in (report.message or "")) == ("InvalidSpec", True)
