"""SQLite as a Source: what it is and only it is. What all connectors must do is in the contract suite."""

import sqlite3
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest

from connectors.contract.increments import read
from penstock.connectors.sqlite import cells
from penstock.connectors.sqlite.source import SqliteSource
from penstock.language.errors import InvalidSpec, NotYet
from penstock.runs.order import SourceOrder
from penstock.worker.pod import Pod
from penstock.worker.ports import cursors
from penstock.worker.ports.source import StreamRequest
from penstock.worker.rows import engine


@pytest.fixture
def file(tmp_path: Path) -> Path:
    folder = tmp_path / "volumes" / "shop"
    folder.mkdir(parents=True)
    return folder / "shop.db"


def _fill(file: Path, script: str) -> None:
    with closing(sqlite3.connect(file)) as database:
        database.executescript(script)


def _source(file: Path, **settings: Any) -> SqliteSource:
    connector = {"path": "/volumes/shop/shop.db", "volume": {"claimName": "shop"}, **settings}
    order = SourceOrder.model_validate({"name": "shop", "connector": {"sqlite": connector}})
    return SqliteSource(order, Pod(file.parents[2], "run", "pod", None, 2))


def _rows(source: SqliteSource, stream: str) -> Iterator[tuple[dict[str, Any], dict[str, str]]]:
    """Each row of a stream by column, and its cells that do not fit by column."""
    with source.session([StreamRequest(stream)]) as session, engine.small() as connection:
        for planned in session.plan(stream).inputs:
            for opening in session.readers(stream, planned.parts):
                with opening() as reader:
                    names = reader.columns.names
                    for work in reader.works(names):
                        chunk = work(connection)
                        misfits: dict[int, dict[str, str]] = {}
                        for cell in chunk.exact:
                            misfits.setdefault(cell.row, {})[names[int(cell.column[1:])]] = cell.text
                        for number, row in enumerate(chunk.table.to_pylist()):
                            yield dict(zip(names, row.values(), strict=True)), misfits.get(number, {})


@pytest.mark.parametrize(
    ("declared", "affinity"),
    [
        ("INT", "INTEGER"), ("UNSIGNED BIG INT", "INTEGER"), ("CHARINT", "INTEGER"), ("VARCHAR(255)", "TEXT"),
        ("NCHAR(55)", "TEXT"), ("CLOB", "TEXT"), ("DOUBLE PRECISION", "REAL"), ("FLOAT", "REAL"),
        ("FLOATING POINT", "INTEGER"),
        ("BLOB", "NUMERIC"), ("", "NUMERIC"), (None, "NUMERIC"), ("DECIMAL(10,5)", "NUMERIC"), ("STRING", "NUMERIC"),
    ],
)  # fmt: skip
def test_the_affinity_of_a_declared_type_is_that_of_the_documentation(declared: str | None, affinity: str) -> None:
    assert cells.affinity(declared) == affinity


def test_a_cell_of_another_class_than_its_column_keeps_its_exact_text(file: Path) -> None:
    _fill(
        file,
        """CREATE TABLE t (i INT, r REAL, s TEXT, n NUMERIC, free);
        INSERT INTO t VALUES (1, 2.5, 'a', 1.10, 'x'), ('one', 'two', x'00FF', x'01', NULL),
                             (9223372036854775807, 9007199254740993, 12, 'n', 0.1), (NULL, NULL, NULL, NULL, 5);""",
    )
    rows = [*_rows(_source(file), "t")]
    assert rows[0] == ({"i": 1, "r": 2.5, "s": "a", "n": "1.1", "free": "x"}, {})
    assert rows[1][0] == dict.fromkeys(("i", "r", "s", "n", "free"))
    assert rows[1][1] == {"i": "one", "r": "two", "s": "X'00FF'", "n": "X'01'"}
    assert rows[2][0] == {"i": 2**63 - 1, "r": 9007199254740992.0, "s": "12", "n": "n", "free": "0.1"}
    assert rows[3] == ({"i": None, "r": None, "s": None, "n": None, "free": "5"}, {})


def test_text_that_is_no_utf_8_is_a_cell_that_does_not_fit(file: Path) -> None:
    _fill(file, "CREATE TABLE t (s TEXT); INSERT INTO t VALUES (CAST(x'FF41' AS TEXT)), ('fine');")
    assert [*_rows(_source(file), "t")] == [({"s": None}, {"s": "X'FF41'"}), ({"s": "fine"}, {})]


def test_names_are_whatever_they_are(file: Path) -> None:
    _fill(file, """CREATE TABLE "a ""b"", [c]*" ("x ""y" INT, "" INT, "SELECT" INT); INSERT INTO "a ""b"", [c]*" VALUES (1, 2, 3);""")  # fmt: skip # noqa: E501
    source = _source(file)
    [stream] = source.discover()
    assert stream.name == 'a "b", [c]*'
    assert [row for row, _ in _rows(source, stream.name)] == [{'x "y': 1, "": 2, "SELECT": 3}]


def test_streams_are_what_is_selected(file: Path) -> None:
    _fill(
        file,
        """CREATE TABLE orders (id INTEGER PRIMARY KEY); CREATE TABLE old_orders (id INT);
        CREATE VIEW v AS SELECT 1 AS n;
        CREATE TABLE keyed (a INT, b TEXT, PRIMARY KEY (b, a));""",
    )
    queries = [{"name": "totals", "sql": "SELECT count(*) AS n FROM orders;"}]
    source = _source(file, tables={"include": ["*orders", "keyed"], "exclude": ["old_*"]}, queries=queries)
    assert [(stream.name, stream.key) for stream in source.discover()] == [
        ("keyed", ("b", "a")),
        ("orders", ("id",)),
        ("totals", ()),
    ]
    with pytest.raises(InvalidSpec, match='has no table "old_orders" that is selected; it has keyed, orders, totals'):
        [*_rows(source, "old_orders")]


def test_all_streams_show_the_database_at_one_moment(file: Path) -> None:
    _fill(file, "PRAGMA journal_mode = WAL; CREATE TABLE a (n INT); CREATE TABLE b (n INT); INSERT INTO a VALUES (1);")
    source = _source(file)
    with source.session([StreamRequest("a"), StreamRequest("b")]) as session, engine.small() as connection:
        _fill(file, "INSERT INTO a VALUES (2); INSERT INTO b VALUES (2);")
        counts = {}
        for stream in ("a", "b"):
            [opening] = session.readers(stream, session.plan(stream).inputs[0].parts)
            with opening() as reader:
                counts[stream] = sum(work(connection).read for work in reader.works(("n",)))
    assert counts == {"a": 1, "b": 0}


@pytest.mark.parametrize(
    "sql",
    [
        "DELETE FROM t", "SELECT 1 AS n; DROP TABLE t", "ATTACH 'other.db' AS other", "PRAGMA journal_mode = WAL",
        "SELECT load_extension('x')", "SELECT 1 AS n) UNION SELECT (2", "SELECT missing FROM t",
        "INSERT INTO t VALUES (1) RETURNING n",
        "WITH x AS (SELECT 1) DELETE FROM t", "", "-- nothing",
    ],
)  # fmt: skip
def test_a_query_reads_and_does_nothing_else(file: Path, sql: str) -> None:
    _fill(file, "CREATE TABLE t (n INT); INSERT INTO t VALUES (7);")
    before = file.read_bytes()
    with pytest.raises(InvalidSpec) as refused:
        _source(file, queries=[{"name": "q", "sql": sql or " "}]).discover()
    assert refused.value.reason == "WrongSpecification"
    assert file.read_bytes() == before


def test_what_is_wrong_with_the_file_is_named(file: Path, tmp_path: Path) -> None:
    with pytest.raises(InvalidSpec, match=r"shop\.db does not exist") as missing:
        _source(file).check()
    assert missing.value.reason == "ResourceNotFound"
    file.write_bytes(b"no database" * 1000)
    with pytest.raises(InvalidSpec, match="is not a SQLite database, or it is encrypted"):
        _source(file).check()
    file.unlink()
    file.mkdir()
    with pytest.raises(InvalidSpec, match="is a folder"):
        _source(file).check()
    file.rmdir()
    outside = tmp_path / "outside.db"
    _fill(outside, "CREATE TABLE secrets (n INT);")
    file.symlink_to(outside)
    with pytest.raises(InvalidSpec, match="is a link, and links in a claim are not followed"):
        _source(file).check()


def test_a_damaged_database_is_named(file: Path) -> None:
    rows = ",".join(f"({number}, '{'x' * 200}')" for number in range(2_000))
    _fill(file, f"CREATE TABLE t (n INT, s TEXT); INSERT INTO t VALUES {rows};")
    content = bytearray(file.read_bytes())
    content[8192:65536] = b"\xff" * (65536 - 8192)
    file.write_bytes(content)
    with pytest.raises(InvalidSpec, match="is damaged") as damaged:
        [*_rows(_source(file), "t")]
    assert damaged.value.reason == "WrongSpecification"


def test_a_locked_database_is_tried_again(file: Path) -> None:
    _fill(file, "CREATE TABLE t (n INT);")
    with closing(sqlite3.connect(file, isolation_level=None)) as other:
        other.execute("BEGIN EXCLUSIVE")
        with pytest.raises(NotYet, match="is locked by another process"):
            _source(file).check()
    _source(file).check()


def test_many_rows_come_in_chunks(file: Path) -> None:
    with closing(sqlite3.connect(file)) as database:
        database.execute("CREATE TABLE t (a INT, b TEXT)")
        database.executemany("INSERT INTO t VALUES (?, ?)", ((number, str(number)) for number in range(250_000)))
        database.commit()
    source = _source(file)
    with source.session([StreamRequest("t")]) as session, engine.small() as connection:
        [opening] = session.readers("t", session.plan("t").inputs[0].parts)
        with opening() as reader:
            chunks = [work(connection) for work in reader.works(("b",))]
    assert len(chunks) > 2
    assert sum(chunk.read for chunk in chunks) == 250_000
    assert [chunk.lines_of([0])[0] for chunk in chunks[:2]] == [1, 1 + chunks[0].read]


@pytest.mark.parametrize(
    ("declared", "first", "later", "odd"),
    [
        ("INTEGER", "9007199254740993", "9007199254740994", "'text'"),
        ("TEXT", "'2026-01-31'", "'2026-02-01'", "x'00'"),
        ("TEXT", "'it''s'", "'it''t'", "'z' || char(0)"),
        ("DATETIME", "'2026-01-31'", "'2026-02-01'", "7"),
    ],
)
def test_a_cursor_compares_values_of_one_type(file: Path, declared: str, first: str, later: str, odd: str) -> None:
    table = f"CREATE TABLE t (id TEXT PRIMARY KEY, at {declared})"
    _fill(file, f"{table}; INSERT INTO t VALUES ('a', {first}), ('b', {odd}), ('c', NULL)")
    begun = read(_source(file), "t", "at")
    assert (begun.ids, begun.ignored) == (["a"], 2)
    _fill(file, f"INSERT INTO t VALUES ('d', {later}), ('e', {first}), ('f', {odd})")
    rest = read(_source(file), "t", "at", begun.state)
    assert (rest.ids, rest.ignored) == (["e", "d"], 3)
    merged = read(_source(file), "t", "at", begun.state, append=False)
    assert sorted(merged.ids) == ["a", "b", "c", "d", "e", "f"]


@pytest.mark.parametrize(("declared", "value"), [("REAL", "1.5"), ("BLOB", "x'00'"), ("NUMERIC", "1.5")])
def test_what_cannot_be_compared_exactly_is_no_cursor(file: Path, declared: str, value: str) -> None:
    _fill(file, f"CREATE TABLE t (id INTEGER PRIMARY KEY, at {declared}); INSERT INTO t VALUES (1, {value})")
    with pytest.raises(InvalidSpec, match="cannot be a cursor"):
        read(_source(file), "t", "at")


def test_a_state_without_a_mark_belongs_to_no_cursor(file: Path) -> None:
    _fill(file, "CREATE TABLE t (id INTEGER PRIMARY KEY, at TEXT); INSERT INTO t VALUES (7, 'a')")
    state = read(_source(file), "t", "at").state
    with pytest.raises(InvalidSpec, match="another cursor"):
        read(_source(file), "t", "id", state)
    assert read(_source(file), "t", "id", cursors.without_mark(state)).ids == [7]


def test_what_is_sorted_is_kept_in_the_scratch_folder(file: Path) -> None:
    _fill(file, "CREATE TABLE t (id INTEGER PRIMARY KEY, at TEXT)")
    assert read(_source(file), "t", "at").ids == []
    with closing(sqlite3.connect(":memory:")) as same_process:
        (folder,) = same_process.execute("PRAGMA temp_store_directory").fetchone()
    assert Path(folder) == file.parents[2] / "scratch"


def test_a_query_is_read_by_a_cursor_too(file: Path) -> None:
    _fill(file, "CREATE TABLE t (id INTEGER, at INTEGER); INSERT INTO t VALUES (1, 5), (2, 6)")
    source = _source(file, queries=[{"name": "q", "sql": "SELECT id, at * 10 AS at FROM t;"}])
    with pytest.raises(InvalidSpec, match="no primary key"):
        read(source, "q", "at")
    begun = read(source, "q", "at", delay="0s")
    _fill(file, "INSERT INTO t VALUES (3, 7)")
    assert (begun.ids, read(source, "q", "at", begun.state, delay="0s").ids) == (["1", "2"], ["3"])
    other = _source(file, queries=[{"name": "q", "sql": "SELECT id, at FROM t"}])
    with pytest.raises(InvalidSpec, match="another table or query"):
        read(other, "q", "at", begun.state, delay="0s")
