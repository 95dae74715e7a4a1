"""SQLite and DuckDB files as Sources on a claim that others can write to: no path leaves the claim."""

import os
import shutil
import sqlite3
import threading
from collections.abc import Iterator
from contextlib import closing, contextmanager, suppress
from pathlib import Path
from typing import Any

import duckdb
import pytest

from penstock.connectors.duckdb.source import DuckdbSource
from penstock.connectors.files.stores import beneath, sqlitefile
from penstock.connectors.sqlite.source import SqliteSource
from penstock.language.errors import InvalidSpec, PenstockError
from penstock.runs.order import SourceOrder
from penstock.worker.pod import Pod
from support import sqlitejournal

KINDS = ("sqlite", "duckdb")
CANARY = "canary_38c1"
both = pytest.mark.parametrize("kind", KINDS)


def fill(kind: str, file: Path, *statements: str) -> None:
    """A database with what the statements make."""
    file.parent.mkdir(parents=True, exist_ok=True)
    if kind == "sqlite":
        with closing(sqlite3.connect(file)) as database:
            database.executescript(";".join(statements))
    else:
        with duckdb.connect(file) as connection:
            for statement in statements:
                connection.execute(statement)


def source(kind: str, root: Path, path: str, **settings: Any) -> SqliteSource | DuckdbSource:
    (root / "volumes/shop").mkdir(parents=True, exist_ok=True)
    connector = {"path": f"/volumes/shop/{path}", "volume": {"claimName": "shop"}, **settings}
    order = SourceOrder.model_validate({"name": "shop", "connector": {kind: connector}})
    pod = Pod(root, "run", "pod", None, 2)
    return SqliteSource(order, pod) if kind == "sqlite" else DuckdbSource(order, pod)


def names(reading: SqliteSource | DuckdbSource) -> list[str]:
    return [stream.name for stream in reading.discover()]


def read(reading: SqliteSource | DuckdbSource, stream: str) -> None:
    """Read a stream to its end."""
    with reading.session([]) as session:
        for opening in session.readers(stream, session.plan(stream).inputs[0].parts):
            with opening() as reader:
                for _ in reader.works(reader.columns.names):
                    pass


@both
@pytest.mark.parametrize("where", ["file out", "file within", "folder", "loop", "proc"])
def test_a_database_that_is_reached_through_a_link_is_refused(kind: str, where: str, tmp_path: Path) -> None:
    claim = tmp_path / "volumes/shop"
    fill(kind, tmp_path / "outside/x.db", f"CREATE TABLE {CANARY} (n INT)")
    fill(kind, claim / "own.db", "CREATE TABLE own (n INT)")
    path = "x.db"
    match where:
        case "file out":
            (claim / path).symlink_to(tmp_path / "outside/x.db")
        case "file within":
            (claim / path).symlink_to("own.db")
        case "folder":
            (claim / "inner").symlink_to(tmp_path / "outside")
            path = "inner/x.db"
        case "loop":
            (claim / path).symlink_to(path)
        case "proc":
            (claim / path).symlink_to("/proc/self/environ")
    with pytest.raises(InvalidSpec, match="is a link, and links in a claim are not followed") as refused:
        names(source(kind, tmp_path, path))
    assert refused.value.reason == "WrongSpecification"


@pytest.mark.parametrize(
    ("kind", "suffix"),
    [("sqlite", "-journal"), ("sqlite", "-wal"), ("sqlite", "-shm"), ("duckdb", ".wal"), ("duckdb", ".wal.checkpoint")],
)
@pytest.mark.parametrize("planted", ["link", "dangling link", "fifo"])
def test_a_file_beside_the_database_that_is_a_link_is_refused(
    kind: str, suffix: str, planted: str, tmp_path: Path
) -> None:
    claim, target = tmp_path / "volumes/shop", tmp_path / "outside/log"
    target.parent.mkdir()
    fill(kind, claim / "x.db", "CREATE TABLE own (n INT)")
    beside = claim / f"x.db{suffix}"
    if planted == "fifo":
        os.mkfifo(beside)
    else:
        beside.symlink_to(target)
    if planted == "link":
        target.write_bytes(b"whole")
    with pytest.raises(InvalidSpec, match="in claim shop is"):
        names(source(kind, tmp_path, "x.db"))
    assert (target.read_bytes() if target.exists() else b"") == (b"whole" if planted == "link" else b"")


@contextmanager
def flipping(place: Path, real: Path, link: Path) -> Iterator[None]:
    """Meanwhile, `place` is `real` and `link` by turns, as fast as this machine can."""
    ended = threading.Event()

    def flip() -> None:
        away = place.with_name("away")
        while not ended.is_set():
            with suppress(OSError):
                link.symlink_to(real.parent / "outside", target_is_directory=True)
            place.rename(away)
            link.rename(place)
            place.unlink()
            away.rename(place)

    thread = threading.Thread(target=flip)
    thread.start()
    try:
        yield
    finally:
        ended.set()
        thread.join()


@both
def test_a_folder_that_is_replaced_by_a_link_meanwhile_is_never_read_through(kind: str, tmp_path: Path) -> None:
    folder = tmp_path / "volumes/shop/inner"
    fill(kind, folder / "x.db", "CREATE TABLE own (n INT)")
    fill(kind, tmp_path / "outside/x.db", f"CREATE TABLE {CANARY} (n INT)")
    seen: set[str] = set()
    with flipping(folder, tmp_path / "x", tmp_path / "link"):
        for _ in range(100):
            with suppress(PenstockError):
                seen.update(names(source(kind, tmp_path, "inner/x.db")))
    assert CANARY not in seen
    assert names(source(kind, tmp_path, "inner/x.db")) == ["own"]


def replaced(folder: Path, other: Path) -> None:
    """Move the folder away, and put a link to the other one into its place."""
    folder.rename(folder.with_name("away"))
    folder.symlink_to(other, target_is_directory=True)


@pytest.mark.parametrize("mode", ["wal", "delete"])
def test_what_sqlite_opens_later_lies_in_the_folder_that_was_checked(mode: str, tmp_path: Path) -> None:
    """The database is opened, and its journal or WAL only when something is read or written."""
    folder, outside = tmp_path / "inner", tmp_path / "outside"
    fill("sqlite", folder / "x.db", f"PRAGMA journal_mode = {mode}", "CREATE TABLE own (n)")
    fill("sqlite", outside / "x.db", f"PRAGMA journal_mode = {mode}", f"CREATE TABLE {CANARY} (n)")
    before = {path.name: path.read_bytes() for path in outside.iterdir()}
    connection = sqlitefile.connect(tmp_path, "inner/x.db", isolation_level=None)
    replaced(folder, outside)
    connection.execute("BEGIN IMMEDIATE")
    connection.execute("INSERT INTO own VALUES (1)")
    beside = f"x.db{'-wal' if mode == 'wal' else '-journal'}"
    assert (tmp_path / "away" / beside).exists()
    connection.execute("COMMIT")
    assert connection.execute("SELECT name FROM sqlite_master").fetchall() == [("own",)]
    connection.close()
    assert {path.name: path.read_bytes() for path in outside.iterdir()} == before
    assert [path.name for path in (tmp_path / "away").iterdir()] == ["x.db"]
    assert not [entry for entry in map(os.readlink, descriptors()) if entry.startswith(str(tmp_path))]


def descriptors() -> list[str]:
    return [
        f"/proc/self/fd/{number}" for number in os.listdir("/proc/self/fd") if Path("/proc/self/fd", number).exists()
    ]


def test_the_wal_that_sqlite_reads_is_that_of_the_folder_that_was_checked(tmp_path: Path) -> None:
    """Of two databases with the same first bytes, the WAL of one has a row more."""
    fill("sqlite", tmp_path / "inner/x.db", "PRAGMA journal_mode = wal", "CREATE TABLE own (n)")
    shutil.copytree(tmp_path / "inner", tmp_path / "outside")
    writer = sqlite3.connect(tmp_path / "outside/x.db")
    writer.execute("INSERT INTO own VALUES (?)", (CANARY,))
    writer.commit()
    reader = sqlitefile.connect(tmp_path, "inner/x.db", mode="ro")
    replaced(tmp_path / "inner", tmp_path / "outside")
    assert reader.execute("SELECT * FROM own").fetchall() == []
    reader.close()
    writer.close()


def test_sqlite_removes_no_file_that_a_journal_names(tmp_path: Path) -> None:
    """The journal comes after the check of what it names: SQLite itself reads it, at the first statement."""
    victim, database = tmp_path / "victim", tmp_path / "inner/x.db"
    victim.write_text("whole")
    fill("sqlite", database, "CREATE TABLE own (n)")
    connection = sqlitefile.connect(tmp_path, "inner/x.db")
    Path(f"{database}-journal").write_bytes(sqlitejournal.cut(database, names=victim))
    with suppress(sqlite3.Error):
        connection.execute("SELECT * FROM own").fetchall()
    connection.close()
    assert victim.read_text() == "whole"


@pytest.mark.parametrize("name", ["inner/x.db", "own.db"])
def test_without_a_vfs_of_ours_a_link_is_refused_too(name: str, tmp_path: Path) -> None:
    fill("sqlite", tmp_path / "outside/x.db", f"CREATE TABLE {CANARY} (n)")
    fill("sqlite", tmp_path / "claim/own.db", "CREATE TABLE own (n)")
    (tmp_path / "claim/inner").symlink_to(tmp_path / "outside")
    if name == "own.db":
        with closing(sqlitefile.connect(tmp_path / "claim", name, mode="ro", in_open_folder=False)) as connection:
            assert connection.execute("SELECT name FROM sqlite_master").fetchall() == [("own",)]
        return
    with pytest.raises(beneath.Refused):
        sqlitefile.connect(tmp_path / "claim", name, mode="ro", in_open_folder=False)


@pytest.mark.parametrize(
    "view",
    [
        "SELECT * FROM read_csv('{outside}')", "SELECT * FROM read_text('{outside}')", "SELECT * FROM glob('/*')",
        "SELECT * FROM read_blob('/proc/self/environ')", "SELECT * FROM '{outside}'", "SELECT getenv('PATH')",
        "SELECT * FROM duckdb_secrets()", "SELECT * FROM query('SELECT * FROM read_text(''{outside}'')')",
        "SELECT * FROM sniff_csv('{outside}')", "SELECT * FROM parquet_metadata('{outside}')",
    ],
)  # fmt: skip
def test_a_view_of_a_duckdb_file_reads_nothing_outside_of_it(view: str, tmp_path: Path) -> None:
    outside = tmp_path / "outside.csv"
    outside.write_text(f"a\n{CANARY}\n")
    file = tmp_path / "volumes/shop/x.db"
    fill("duckdb", file, "CREATE TABLE own (n INT)")
    written = view.format(outside=outside)
    try:
        fill("duckdb", file, f"CREATE VIEW v AS {written}")
    except duckdb.Error:
        written = ""  # no view can say it
    for sql in filter(None, (written and "SELECT * FROM v", view.format(outside=outside))):
        reading = source("duckdb", tmp_path, "x.db", queries=[{"name": "q", "sql": sql}])
        with pytest.raises(InvalidSpec) as refused:
            read(reading, "q")
        assert CANARY not in str(refused.value)


@both
@pytest.mark.parametrize("end", [";", " -- the end", "\n-- the end", " /* the end */", ";  \n"])
def test_a_query_may_end_in_a_comment(kind: str, end: str, tmp_path: Path) -> None:
    fill(kind, tmp_path / "volumes/shop/x.db", "CREATE TABLE own (n INT)")
    reading = source(kind, tmp_path, "x.db", queries=[{"name": "q", "sql": f"SELECT n FROM own{end}"}])
    assert names(reading) == ["own", "q"]
