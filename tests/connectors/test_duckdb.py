"""DuckDB as a Source: what it is and only it is. What all connectors must do is in the contract suite."""

import contextlib
import os
import signal
import subprocess
import sys
import threading
from collections.abc import Iterator
from datetime import UTC, date, datetime
from decimal import Decimal
from pathlib import Path
from typing import Any

import duckdb
import pytest

from connectors.contract.increments import read
from penstock.connectors.duckdb.source import DuckdbSource
from penstock.language.errors import InvalidSpec, NotYet
from penstock.runs.order import SourceOrder
from penstock.worker.pod import Pod
from penstock.worker.ports.source import StreamRequest
from penstock.worker.rows import engine
from worker.pods import APod, a_pod, field


@pytest.fixture
def file(tmp_path: Path) -> Path:
    folder = tmp_path / "volumes" / "shop"
    folder.mkdir(parents=True)
    return folder / "shop.duckdb"


def _fill(file: Path, script: str) -> None:
    with duckdb.connect(file) as database:
        database.execute("SET TimeZone = 'UTC'")
        database.execute(script)


def _source(file: Path, **settings: Any) -> DuckdbSource:
    connector = {"path": "/volumes/shop/shop.duckdb", "volume": {"claimName": "shop"}, **settings}
    order = SourceOrder.model_validate({"name": "shop", "connector": {"duckdb": connector}})
    return DuckdbSource(order, Pod(file.parents[2], "run", "pod", None, 2))


def _rows(source: DuckdbSource, stream: str, *columns: str) -> Iterator[tuple[dict[str, Any], dict[str, str]]]:
    """Each row of a stream by column, and its cells that do not fit by column; by default all columns."""
    with source.session([StreamRequest(stream)]) as session, engine.small() as connection:
        for planned in session.plan(stream).inputs:
            for opening in session.readers(stream, planned.parts):
                with opening() as reader:
                    names = columns or reader.columns.names
                    for work in reader.works(names):
                        chunk = work(connection)
                        misfits: dict[int, dict[str, str]] = {}
                        for cell in chunk.exact:
                            misfits.setdefault(cell.row, {})[names[int(cell.column[1:])]] = cell.text
                        for number, row in enumerate(chunk.table.to_pylist()):
                            yield dict(zip(names, row.values(), strict=True)), misfits.get(number, {})


@contextlib.contextmanager
def _in_another_process(file: Path, statement: str, *, read_only: bool = False) -> Iterator["subprocess.Popen[str]"]:
    """Another process that has the file open, until the block ends."""
    script = (
        f"import duckdb, sys; c = duckdb.connect({str(file)!r}, read_only={read_only}); c.execute({statement!r}); "
        "print('open', flush=True); sys.stdin.read()"
    )
    with subprocess.Popen(
        [sys.executable, "-c", script], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    ) as other:
        assert other.stdout is not None
        assert other.stdout.readline() == "open\n"
        try:
            yield other
        finally:
            other.kill()


NOON = datetime(2026, 1, 31, 12, tzinfo=UTC)
VALUES: list[tuple[str, str, Any, str | None]] = [
    ("BOOLEAN 'true'", "boolean", True, None),
    ("TINYINT '-128'", "int", -128, None),
    ("UINTEGER '4294967295'", "long", 2**32 - 1, None),
    ("BIGINT '-9223372036854775808'", "long", -(2**63), None),
    ("UBIGINT '18446744073709551615'", "decimal(20,0)", 2**64 - 1, None),
    ("HUGEINT '-170141183460469231731687303715884105728'", "string", str(-(2**127)), None),
    ("UHUGEINT '340282366920938463463374607431768211455'", "string", str(2**128 - 1), None),
    (f"CAST('{10**60}' AS BIGNUM)", "string", str(10**60), None),
    (f"CAST('{'9' * 35}.999' AS DECIMAL(38,3))", "decimal(38,3)", Decimal("9" * 35 + ".999"), None),
    ("FLOAT '1.5'", "double", 1.5, None),
    ("DOUBLE 'infinity'", "double", float("inf"), None),
    ("DATE '2026-01-31'", "date", date(2026, 1, 31), None),
    ("DATE 'infinity'", "date", None, "infinity"),
    ("DATE '20000-01-01'", "date", None, "20000-01-01"),
    ("DATE '0044-03-15 (BC)'", "date", None, "0044-03-15 (BC)"),
    ("TIMESTAMP '2026-01-31 12:00:00'", "timestamp", NOON.replace(tzinfo=None), None),
    ("TIMESTAMP '-infinity'", "timestamp", None, "-infinity"),
    ("TIMESTAMP_S '2026-01-31 12:00:00'", "timestamp", NOON.replace(tzinfo=None), None),
    ("TIMESTAMP_MS '20000-01-01 12:00:00'", "timestamp", None, "20000-01-01 12:00:00"),
    ("TIMESTAMP_NS 'infinity'", "timestamp", None, "infinity"),
    ("TIMESTAMPTZ '2026-01-31 12:00:00+00'", "timestamptz", NOON, None),
    ("TIMESTAMPTZ '20000-01-01 00:00:00+00'", "timestamptz", None, "20000-01-01 00:00:00+00"),
    ("TIMESTAMPTZ 'infinity'", "timestamptz", None, "infinity"),
    ("VARCHAR 'a' || chr(0) || 'b'", "string", "a\0b", None),
    ("TIME '10:00:00.5'", "string", "10:00:00.5", None),
    ("TIMETZ '10:00:00+05'", "string", "10:00:00+05", None),
    ("INTERVAL '1 month 2 days 3 seconds'", "string", "1 month 2 days 00:00:03", None),
    ("CAST('red' AS ENUM('red', 'blue'))", "string", "red", None),
    ("BLOB 'text'", "string", "text", None),
    (r"BLOB '\xFF\x00'", "string", None, "base64:/wA="),
    ("BIT '0101'", "string", "0101", None),
    ("UUID '8c0a2a7e-8b1f-4f0e-9b0a-000000000001'", "string", "8c0a2a7e-8b1f-4f0e-9b0a-000000000001", None),
    ("""JSON '{"a": [1, 2]}'""", "string", '{"a": [1, 2]}', None),
    ("[1, NULL, 3]", "string", "[1,null,3]", None),
    ("CAST([1, 2] AS INTEGER[2])", "string", "[1,2]", None),
    ("{'a': 1, 'b': 'x'}", "string", '{"a":1,"b":"x"}', None),
    ("MAP {'k': DATE 'infinity'}", "string", '{"k":"infinity"}', None),
    ("union_value(n := 7)", "string", '{"n":7}', None),
    ("CAST({'a': [1]} AS VARIANT)", "string", '{"a":[1]}', None),
]  # fmt: skip


@pytest.mark.parametrize(("sql", "kind", "value", "text"), VALUES, ids=[value[0][:40] for value in VALUES])
def test_a_value_of_every_type_comes_as_it_is_or_with_its_exact_text(
    file: Path, sql: str, kind: str, value: Any, text: str | None
) -> None:
    _fill(file, f"CREATE TABLE t AS SELECT {sql} AS v, 1 AS n; INSERT INTO t VALUES (NULL, 2)")
    source = _source(file)
    [stream] = source.discover()
    assert stream.fields[0].type == kind
    (first, misfit), (second, none) = sorted(_rows(source, "t"), key=lambda row: row[0]["n"])
    assert (first["v"], misfit.get("v")) == (value, text)
    assert (second["v"], none) == (None, {})


def test_types_that_a_user_named_and_a_column_of_nothing_are_read(file: Path) -> None:
    _fill(
        file,
        """CREATE TYPE mood AS ENUM ('sad', 'happy'); CREATE TYPE pair AS STRUCT(a INTEGER, b mood);
        CREATE TABLE t (m mood, p pair); INSERT INTO t VALUES ('sad', {'a': 1, 'b': 'happy'})""",
    )
    source = _source(file, queries=[{"name": "q", "sql": "SELECT NULL AS nothing, m FROM t"}])
    assert [row for row, _ in _rows(source, "t")] == [{"m": "sad", "p": '{"a":1,"b":"happy"}'}]
    assert [row for row, _ in _rows(source, "q")] == [{"nothing": None, "m": "sad"}]


def test_the_worker_loads_what_fits_and_names_what_does_not(tmp_path: Path) -> None:
    pod = _a_pod_with_a_database(
        tmp_path,
        """CREATE TABLE things (id BIGINT, big HUGEINT, day DATE, odd INTEGER[]);
        INSERT INTO things VALUES (1, 5, '2026-01-31', [1]), (2, 170141183460469231731687303715884105727, NULL, NULL),
                                  (3, 7, 'infinity', NULL)""",
        field("id", "long", required=True), field("big", "long"), field("day", "date"),
    )  # fmt: skip
    report = pod.work()
    assert report.state == "Succeeded", report
    assert pod.rows() == [{"id": 1, "big": 5, "day": date(2026, 1, 31)}]
    assert [(row["field"], row["locator"]) for row in pod.bad()] == [("big", "things:2"), ("day", "things:3")]
    assert "infinity" in pod.bad()[1]["payload"]


def _a_pod_with_a_database(root: Path, script: str, *fields: dict[str, Any], **more: Any) -> APod:
    """A Pod whose Source is a database in the claim `data`, filled by the script."""
    pod = a_pod(root, *fields, **{"sync": "full", "writeMode": "replace", **more})
    _fill(pod.data / "shop.duckdb", script)
    connector = {"duckdb": {"path": "/volumes/data/shop.duckdb", "volume": {"claimName": "data"}}}
    pod.more = {"source": {"name": "things", "connector": connector}}
    return pod


def test_names_are_whatever_they_are(file: Path) -> None:
    _fill(
        file,
        """CREATE TABLE "a ""b"", [c]*" ("x ""y" INT, "SELECT" INT, "e0" INT);
        INSERT INTO "a ""b"", [c]*" VALUES (1, 2, 3);
        CREATE SCHEMA old; CREATE TABLE old.things (n INT); CREATE VIEW v AS SELECT 4 AS n""",
    )
    source = _source(file)
    assert [stream.name for stream in source.discover()] == ["old.things", 'a "b", [c]*', "v"]
    assert [row for row, _ in _rows(source, 'a "b", [c]*')] == [{'x "y': 1, "SELECT": 2, "e0": 3}]
    assert [row for row, _ in _rows(source, "v")] == [{"n": 4}]


def test_streams_are_what_is_selected(file: Path) -> None:
    _fill(
        file,
        """CREATE TABLE orders (id INTEGER PRIMARY KEY); CREATE TABLE old_orders (id INT);
        CREATE TABLE keyed (a INT, b TEXT, PRIMARY KEY (b, a)); INSERT INTO keyed VALUES (1, 'x')""",
    )
    queries = [{"name": "totals", "sql": "SELECT count(*) AS n, 'é;' AS s FROM orders;  -- all;"}]
    source = _source(file, tables={"include": ["*orders", "keyed"], "exclude": ["old_*"]}, queries=queries)
    assert [(stream.name, stream.key) for stream in source.discover()] == [
        ("keyed", ("b", "a")),
        ("orders", ("id",)),
        ("totals", ()),
    ]
    assert [row for row, _ in _rows(source, "totals")] == [{"n": 0, "s": "é;"}]
    with pytest.raises(InvalidSpec, match='has no table "old_orders" that is selected; it has keyed, orders, totals'):
        [*_rows(source, "old_orders")]


def test_a_row_is_named_by_its_primary_key(file: Path) -> None:
    _fill(file, "CREATE TABLE t (a INT, b TEXT, PRIMARY KEY (b, a)); INSERT INTO t VALUES (1, 'x'), (2, 'y')")
    source = _source(file)
    with source.session([StreamRequest("t")]) as session, engine.small() as connection:
        [opening] = session.readers("t", session.plan("t").inputs[0].parts)
        with opening() as reader:
            keys = [work(connection).keys for work in reader.works(())]
    assert [key.as_py() for chunk in keys if chunk is not None for key in chunk] == ["x, 1", "y, 2"]


def test_a_stream_that_is_not_read_to_its_end_does_not_matter_to_the_next(file: Path) -> None:
    _fill(file, "CREATE TABLE t AS SELECT range AS n FROM range(3_000_000); CREATE TABLE u AS SELECT 1 AS n")
    source = _source(file)
    with source.session([StreamRequest("t"), StreamRequest("u")]) as session, engine.small() as connection:
        for stream, rows in (("t", 3_000_000), ("u", 1)):
            [opening] = session.readers(stream, session.plan(stream).inputs[0].parts)
            with opening() as reader:
                assert next(iter(reader.works(("n",))))(connection).read <= rows


def test_columns_that_nobody_asks_for_never_matter(file: Path) -> None:
    _fill(file, "CREATE TABLE t (n INT, s TEXT); INSERT INTO t VALUES (1, 'x')")
    queries = [
        {"name": "twice", "sql": "SELECT n, s AS same, s AS same FROM t"},
        {"name": "broken", "sql": "SELECT n, CAST(s AS INTEGER) AS bad FROM t"},
    ]
    source = _source(file, queries=queries)
    assert [row for row, _ in _rows(source, "twice", "n")] == [{"n": 1}]
    assert [row for row, _ in _rows(source, "broken", "n")] == [{"n": 1}]
    with pytest.raises(InvalidSpec, match=r"query broken.*Could not convert string 'x' to INT32"):
        [*_rows(source, "broken", "bad")]


@pytest.mark.parametrize(
    "sql",
    [
        "DELETE FROM t", "SELECT 1 AS n; DROP TABLE t", "ATTACH 'other.db' AS other", "PRAGMA database_list",
        "SELECT 1 AS n) UNION SELECT (2", "SELECT missing FROM t", "INSERT INTO t VALUES (1) RETURNING n",
        "WITH x AS (INSERT INTO t VALUES (1) RETURNING n) SELECT * FROM x", "", "-- nothing",
        "COPY t TO '/tmp/penstock-copied.csv'", "INSTALL httpfs", "LOAD httpfs", "SET threads = 1",
        "SELECT * FROM read_csv('/etc/passwd')", "SELECT * FROM '/etc/passwd'", "FROM read_text('/etc/passwd')",
        "FROM read_blob('/proc/self/environ')", "FROM glob('/etc/*')", "FROM read_parquet('https://example.org/x')",
        "SELECT getenv('HOME')", "EXPORT DATABASE '/tmp/penstock-exported'", "CREATE TEMP TABLE x AS SELECT 1",
        "FROM file", "FROM order", "CALL pragma_version()", "EXPLAIN SELECT 1", "BEGIN", "CHECKPOINT",
        "FROM query('DELETE FROM t')", "FROM sniff_csv('/etc/passwd')", "FROM duckdb_secrets()",
    ],
)  # fmt: skip
def test_a_query_reads_this_file_and_does_nothing_else(file: Path, sql: str) -> None:
    _fill(file, "CREATE TABLE t (n INT); INSERT INTO t VALUES (7)")
    before = file.read_bytes()
    source = _source(file, queries=[{"name": "q", "sql": sql or " "}])
    with pytest.raises(InvalidSpec) as refused:
        [*_rows(source, "q")]
    assert refused.value.reason == "WrongSpecification"
    assert file.read_bytes() == before
    assert not any(Path("/tmp", name).exists() for name in ("penstock-copied.csv", "penstock-exported"))


def test_a_view_over_another_file_is_refused_and_the_other_streams_are_read(file: Path) -> None:
    other = file.with_name("other.csv")
    other.write_text("a\n1\n")
    _fill(file, f"CREATE TABLE t (n INT); INSERT INTO t VALUES (7); CREATE VIEW v AS SELECT * FROM read_csv('{other}')")
    source = _source(file)
    assert [(stream.name, len(stream.fields)) for stream in source.discover()] == [("t", 1), ("v", 0)]
    assert [row for row, _ in _rows(source, "t")] == [{"n": 7}]
    with pytest.raises(InvalidSpec, match="table v reads another file or uses what is switched off"):
        [*_rows(source, "v")]
    with source.session([StreamRequest("v"), StreamRequest("t")]) as session:
        with pytest.raises(InvalidSpec):
            session.plan("v")
        assert session.plan("t").inputs[0].name == "t"


def test_what_is_wrong_with_the_file_is_named(file: Path, tmp_path: Path) -> None:
    with pytest.raises(InvalidSpec, match=r"shop\.duckdb does not exist") as missing:
        _source(file).check()
    assert missing.value.reason == "ResourceNotFound"
    file.write_bytes(b"no database" * 1000)
    with pytest.raises(InvalidSpec, match="is not a DuckDB database"):
        _source(file).check()
    file.write_bytes(b"")
    with pytest.raises(InvalidSpec, match="is not a DuckDB database"):
        _source(file).check()
    file.unlink()
    file.mkdir()
    with pytest.raises(InvalidSpec, match="is a folder"):
        _source(file).check()
    file.rmdir()
    os.mkfifo(file)
    with pytest.raises(InvalidSpec, match="is no regular file"):
        _source(file).check()
    file.unlink()
    outside = tmp_path / "outside.db"
    _fill(outside, "CREATE TABLE secrets (n INT);")
    file.symlink_to(outside)
    with pytest.raises(InvalidSpec, match="is a link, and links in a claim are not followed"):
        _source(file).check()


def test_a_path_through_a_link_is_refused(file: Path, tmp_path: Path) -> None:
    outside = tmp_path / "outside"
    outside.mkdir()
    _fill(outside / "shop.duckdb", "CREATE TABLE secrets (n INT);")
    (file.parent / "inner").symlink_to(outside)
    with pytest.raises(InvalidSpec, match="inner in claim shop is a link"):
        _source(file, path="/volumes/shop/inner/shop.duckdb").check()


@pytest.mark.parametrize(("version", "message"), [(20, "too old for"), (200, "was written by a newer DuckDB than")])
def test_a_file_of_another_storage_version_is_named(file: Path, version: int, message: str) -> None:
    _fill(file, "CREATE TABLE t (n INT);")
    content = bytearray(file.read_bytes())
    content[12:20] = version.to_bytes(8, "little")
    checksum = 5381  # DuckDB's own, over the first block
    for start in range(8, 4096, 8):
        checksum ^= int.from_bytes(content[start : start + 8], "little") * 0xBF58476D1CE4E5B9 % 2**64
    content[:8] = checksum.to_bytes(8, "little")
    file.write_bytes(content)
    with pytest.raises(InvalidSpec, match=message):
        _source(file).check()


def test_an_encrypted_database_is_named(file: Path) -> None:
    with duckdb.connect(config={"force_mbedtls_unsafe": "true"}) as database:
        database.execute(f"ATTACH '{file}' AS secret (ENCRYPTION_KEY 'abc'); CREATE TABLE secret.t (n INT)")
    with pytest.raises(InvalidSpec, match="is encrypted, and encrypted databases cannot be read"):
        _source(file).check()


def test_a_damaged_database_is_named(file: Path) -> None:
    _fill(file, "CREATE TABLE t AS SELECT range AS n, hash(range) AS h FROM range(200000)")
    content = bytearray(file.read_bytes())
    content[-600_000:] = b"\xff" * 600_000
    file.write_bytes(content)
    with pytest.raises(InvalidSpec, match="is damaged") as damaged:
        [*_rows(_source(file), "t")]
    assert damaged.value.reason == "WrongSpecification"
    file.write_bytes(content[:15_000])
    with pytest.raises(InvalidSpec, match="is damaged"):
        _source(file).check()


def test_a_file_that_another_process_writes_is_tried_again(file: Path) -> None:
    _fill(file, "CREATE TABLE t (n INT);")
    with _in_another_process(file, "INSERT INTO t VALUES (1)") as other:
        with pytest.raises(NotYet, match=rf"is open in another process, .*\(PID {other.pid}\)") as locked:
            _source(file).check()
        assert locked.value.reason == "Unreachable"
    # its process was killed: what it had committed is read from the write-ahead log, and nothing is written
    before = sorted(path.name for path in file.parent.iterdir())
    assert [row for row, _ in _rows(_source(file), "t")] == [{"n": 1}]
    assert sorted(path.name for path in file.parent.iterdir()) == before


def test_several_processes_read_one_file(file: Path) -> None:
    _fill(file, "CREATE TABLE t (n INT); INSERT INTO t VALUES (1)")
    with _in_another_process(file, "FROM t", read_only=True):
        assert [row for row, _ in _rows(_source(file), "t")] == [{"n": 1}]


def test_the_file_and_its_folder_may_be_read_only(file: Path) -> None:
    _fill(file, "CREATE TABLE t (n INT); INSERT INTO t VALUES (1)")
    file.chmod(0o444)
    file.parent.chmod(0o555)
    try:
        assert [row for row, _ in _rows(_source(file), "t")] == [{"n": 1}]
    finally:
        file.parent.chmod(0o755)


def test_many_rows_come_in_chunks(file: Path) -> None:
    _fill(file, "CREATE TABLE t AS SELECT range AS a, CAST(range AS VARCHAR) AS b FROM range(1_200_000)")
    source = _source(file)
    with source.session([StreamRequest("t")]) as session, engine.small() as connection:
        [opening] = session.readers("t", session.plan("t").inputs[0].parts)
        with opening() as reader:
            chunks = [work(connection) for work in reader.works(("b",))]
    assert len(chunks) > 2
    assert sum(chunk.read for chunk in chunks) == 1_200_000
    assert [chunk.lines_of([0])[0] for chunk in chunks[:2]] == [1, 1 + chunks[0].read]


def test_a_long_query_ends_when_the_run_is_stopped(file: Path) -> None:
    _fill(file, "CREATE TABLE t (n INT); INSERT INTO t VALUES (7)")
    sql = "SELECT count(*) AS n FROM range(10000000) a, range(1000000) b WHERE a.range * b.range % 7 = 3"

    class Stopped(Exception):
        pass

    def stop(*_: object) -> None:
        raise Stopped

    before = signal.signal(signal.SIGUSR1, stop)
    timer = threading.Timer(1.0, os.kill, (os.getpid(), signal.SIGUSR1))
    timer.start()
    try:
        with pytest.raises(Stopped):
            [*_rows(_source(file, queries=[{"name": "q", "sql": sql}]), "q")]
    finally:
        timer.cancel()
        signal.signal(signal.SIGUSR1, before)


@pytest.mark.parametrize(
    ("declared", "first", "later", "back"),
    [
        ("UBIGINT", "18446744073709551613", "18446744073709551614", "5"),
        ("HUGEINT", "'170141183460469231731687303715884105726'", "'170141183460469231731687303715884105727'", "5"),
        ("DECIMAL(38,10)", "'0.0000000001'", "'0.0000000002'", "5"),
        ("DATE", "'2026-01-31'", "'2026-02-01'", "2d"),
        ("TIMESTAMP", "'2026-01-31 10:00:00.000001'", "'2026-01-31 10:00:00.000002'", "1h"),
        ("TIMESTAMP_NS", "'2026-01-31 10:00:00.000000001'", "'2026-01-31 10:00:00.000000002'", "1h"),
        ("TIMESTAMPTZ", "'2026-01-31 10:00:00.000001+01'", "'2026-01-31 09:00:00.000002+00'", "1h"),
        ("VARCHAR", "'it''s'", "'it''t'", None),
    ],
)
def test_each_type_of_cursor_is_compared_exactly(
    file: Path, declared: str, first: str, later: str, back: str | None
) -> None:
    _fill(file, f"CREATE TABLE t (id INTEGER PRIMARY KEY, changed {declared})")
    _fill(file, f"INSERT INTO t VALUES (1, {first}), (2, NULL)")
    begun = read(_source(file), "t", "changed")
    assert (begun.ids, begun.ignored) == ([1], 1)
    _fill(file, f"INSERT INTO t VALUES (3, {later}), (4, {first})")
    assert read(_source(file), "t", "changed", begun.state).ids == [4, 3]
    if back is not None:
        merged = read(_source(file), "t", "changed", begun.state, append=False, lookback=back)
        assert merged.ids[0] == 2
        assert sorted(merged.ids) == [1, 2, 3, 4]


@pytest.mark.parametrize(("declared", "odd"), [("DATE", "'infinity'"), ("TIMESTAMPTZ", "'-infinity'")])
def test_infinity_moves_no_mark(file: Path, declared: str, odd: str) -> None:
    _fill(file, f"CREATE TABLE t (id INTEGER PRIMARY KEY, changed {declared}); INSERT INTO t VALUES (1, {odd})")
    _fill(file, "INSERT INTO t VALUES (2, '2026-01-01')")
    assert read(_source(file), "t", "changed").ids == [2]


@pytest.mark.parametrize("declared", ["DOUBLE", "UUID", "INTEGER[]", "ENUM('a')", "BLOB"])
def test_what_cannot_be_compared_is_no_cursor(file: Path, declared: str) -> None:
    _fill(file, f"CREATE TABLE t (id INTEGER PRIMARY KEY, changed {declared})")
    with pytest.raises(InvalidSpec, match="cannot be a cursor"):
        read(_source(file), "t", "changed")
