"""A database whose names and values hold characters that steer a terminal: they are seen in all that is shown of it."""

import contextlib
import io
import logging
import re
import sqlite3
from collections.abc import Iterator
from contextlib import closing, contextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import duckdb
import pytest
from rich.console import RenderableType

from penstock.cli import logs, picture, preview, terminal
from penstock.language import visible
from penstock.runs import places, report
from worker.pods import APod, a_pod, field

HOSTILE = "\x1b[2J\x9b31m\x07\u202ex\u2066\u200b\u2028\r\n12:00:00 ERROR forged\t\x85"
"""C0, C1, bidirectional controls, a character without width, and each that ends a line somewhere."""
UNSEEN = re.compile(r"[\x00-\x09\x0b-\x1f\x7f-\x9f\u200b\u2028\u202e\u2066]")
TABLE, COLUMN, KEY, VALUE = (f"{name}{HOSTILE}" for name in ("table", "column", "key", "value"))
STATEMENTS = (
    f'CREATE TABLE "{TABLE}" (k VARCHAR PRIMARY KEY, "{COLUMN}" VARCHAR)',
    f"INSERT INTO \"{TABLE}\" VALUES ('{KEY}', '{VALUE}'), ('b', '7')",
)


def fill(kind: str, file: Path) -> None:
    if kind == "sqlite":
        with closing(sqlite3.connect(file)) as database:
            database.executescript(";".join(STATEMENTS))
        return
    with duckdb.connect(file) as connection:
        for statement in STATEMENTS:
            connection.execute(statement)


def a_database_pod(root: Path, kind: str) -> APod:
    pod = a_pod(
        root,
        field("n", "long", from_=f'"{COLUMN}"'),
        field("k", "string"),
        stream=TABLE,
        sync="full",
        writeMode="replace",
    )
    fill(kind, pod.data / "x.db")
    return pod


@contextmanager
def logged(pod: APod, database: str, **order: Any) -> Iterator[str]:
    """The lines that the worker logs of an order, as its own process writes them."""
    written = io.StringIO()
    handler = logging.StreamHandler(written)
    handler.setFormatter(visible.Formatter("%(asctime)s %(message)s", "%H:%M:%S"))
    logging.getLogger().addHandler(handler)
    logging.getLogger().setLevel(logging.INFO)
    source = {"name": TABLE, "connector": {database: {"path": "/volumes/data/x.db", "volume": {"claimName": "data"}}}}
    try:
        pod.work(order["kind"], **{**order, "more": {"source": source, **order.get("more", {})}})
    finally:
        logging.getLogger().removeHandler(handler)
    yield written.getvalue()


def check(text: str) -> None:
    """Every character that would not be seen is an escape, and no line is a forged one."""
    assert UNSEEN.search(text) is None, ascii(text)
    assert not [line for line in text.split("\n") if line.startswith("12:00:00 ERROR forged")]


def printed(shown: RenderableType) -> str:
    sent = io.BytesIO()
    with io.TextIOWrapper(sent, encoding="utf-8") as stdout, contextlib.redirect_stdout(stdout):
        terminal.console().print(shown)
        stdout.flush()
        return sent.getvalue().decode()


@pytest.mark.parametrize("database", ["sqlite", "duckdb"])
def test_names_and_values_of_a_database_are_seen_in_logs_messages_and_previews(database: str, tmp_path: Path) -> None:
    pod = a_database_pod(tmp_path, database)
    with logged(pod, database, kind="inspect-source") as log:
        check(log)
        assert report.marked(log, places.CATALOG_LINE)
        assert pod.report("inspect-source").streams[0].name == TABLE, (
            "the stream is called what it is: manifests name it so"
        )
    with logged(pod, database, kind="ingest") as log:
        check(log)
    for part, asked in (("rows", {"rows": 9}), ("bad", {"rows": 9, "quarantined": True})):
        with logged(pod, database, kind="preview", more={"preview": asked, "source": None}) as log:
            check(log)
            check(printed_preview(part, log))
    with logged(pod, database, kind="preview", more={"preview": {"rows": 9}}) as log:
        check(log)
        check(printed_preview("source", log))
        assert VALUE in preview.shown_in(log).rows[0], "the value itself comes through the log unchanged"
    assert [row["n"] for row in pod.rows()] == [7]


def printed_preview(part: str, log: str) -> str:
    """What `penstock preview` prints of a worker's log."""
    return "".join(map(printed, preview._shown("things", part, preview.shown_in(log), terminal.console())))


@pytest.mark.parametrize("database", ["sqlite", "duckdb"])
@pytest.mark.parametrize("wrong", ["stream", "from"])
def test_messages_that_quote_names_of_a_database_are_one_line_in_which_all_is_seen(
    database: str, wrong: str, tmp_path: Path
) -> None:
    pod = a_database_pod(tmp_path, database)
    if wrong == "stream":
        pod.dataset["stream"] = f"{TABLE}2"
    else:
        pod.fields[0]["from"] = f'"{COLUMN}2"'
    with logged(pod, database, kind="ingest") as log:
        check(log)
    message = pod.report("ingest").message or ""
    assert r"\u001b[2J\u009b31m\u0007\u202ex\u2066\u200b\u2028\r\n12:00:00 ERROR forged" in message
    check(message)


def test_statuses_are_drawn_with_all_that_is_in_them_seen() -> None:
    """Whatever status another version, or whoever may write it, has put there."""
    condition = {"type": "Ready", "status": "False", "reason": HOSTILE, "message": HOSTILE}
    run = {"id": HOSTILE, "state": "Failed", "reason": HOSTILE, "message": HOSTILE, "rowsRead": 1}
    status = {
        "conditions": [condition, {**condition, "type": "LastRunSucceeded"}], "location": HOSTILE, "lastRun": run,
        "streams": [{"name": TABLE, "fields": 2}], "runs": [run], "table": HOSTILE, "phase": HOSTILE,
    }  # fmt: skip
    found = [
        {"kind": kind, "metadata": {"name": "x", "namespace": HOSTILE}, "spec": {}, "status": status}
        for kind in ("Source", "Pipeline", "Dataset", "Subscription", "Destination")
    ]
    check(printed(picture.of(found, datetime(2026, 11, 28, tzinfo=UTC))))


@pytest.mark.parametrize("mark", [places.CATALOG_LINE, places.PREVIEW_LINE, places.REPORT_LINE, places.PROGRESS_LINE])
def test_a_mark_within_a_line_is_part_of_a_name(mark: str, capsys: pytest.CaptureFixture[str]) -> None:
    """A table that is called like what programs read of a log neither hides a line nor replaces theirs."""
    quoting = f"12:00:01 Source shop: stream {mark}{{}} has 2 fields"
    logs._show(quoting)
    assert capsys.readouterr().out == f"{quoting}\n"
    for time in ("", "12:00:00 ", "2026-11-28T12:00:00.123456789Z 12:00:00 "):
        log = f'{time}{mark}{{"own": 1}}\n{quoting}\npenstock-other {mark}{{}}\n'
        assert report.marked(log, mark) == '{"own": 1}'
