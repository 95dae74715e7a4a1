"""DuckDB, locked: no files, no network, no extensions, no settings; memory and threads as the Pod allows."""

import re
import threading
from collections.abc import Iterable, Iterator
from concurrent.futures import Future
from contextlib import contextmanager
from functools import cache
from pathlib import Path
from typing import Any

import duckdb

Connection = duckdb.DuckDBPyConnection

_SMALL = 128 << 20
"""Bytes for questions about no rows or a few."""


@contextmanager
def small() -> Iterator[Connection]:
    """A connection for questions without rows: what a type is, whether an expression can be computed.

    All share one database of the process, which is opened once: that takes tens of milliseconds.
    """
    connection = _shared().cursor()
    try:
        yield connection
    finally:
        connection.close()


@cache
def _shared() -> Connection:
    return connect(_SMALL, 1, None)


def connect(
    memory: int,
    threads: int,
    scratch: Path | None,
    readable: Iterable[Path] = (),
    *,
    file: Path | None = None,
    read_only: bool = False,
) -> Connection:
    """A database of its own in memory, limited to `memory` bytes, spilling into `scratch` unless that is None.

    `readable` are the folders whose files SQL may read; by default none. With `file`, the database is that file, which
    is created where it is missing unless `read_only`; SQL reads no variables of Python then.
    """
    config: dict[str, str | bool | int | float | list[str]] = {
        "memory_limit": f"{memory // 1024}KiB",
        "threads": str(threads),
        "temp_directory": str(scratch or ""),
        "autoinstall_known_extensions": "false",
        "autoload_known_extensions": "false",
        # Files are written by the threads that compute. With writing threads besides, a COPY that is interrupted may
        # wait for ever for a write that nobody does any more (DuckDB 2.0; see issue 23885 of duckdb/duckdb).
        "async_threads": "0",
    }
    if file is not None:
        config["python_enable_replacements"] = "false"
    connection = duckdb.connect(file or ":memory:", read_only=read_only, config=config)
    connection.execute("SET GLOBAL TimeZone = 'UTC'")  # for cursors too
    connection.execute("SET enable_progress_bar = false")
    if folders := [*readable]:
        listed = ", ".join(text(f"{folder}/") for folder in folders)
        connection.execute(f"SET allowed_directories = [{listed}]")
    connection.execute("SET enable_external_access = false")
    connection.execute("SET lock_configuration = true")
    return connection


def run(connection: Connection, statement: str) -> None:
    """Execute a long statement that a signal's handler can end by raising.

    In the main thread DuckDB hears signals late (10 s were seen), and says "Query interrupted" in place of what the
    handler raised.
    """
    outcome: Future[Any] = Future()
    cancelled = threading.Event()

    def execute() -> None:
        if cancelled.is_set():
            return
        try:
            outcome.set_result(connection.execute(statement))
        except BaseException as error:
            outcome.set_exception(error)

    thread = threading.Thread(target=execute, name="duckdb")
    try:
        thread.start()
        outcome.result()
    except BaseException:
        # The signal may come before the thread has begun, too, or before the statement has, which forgets an interrupt.
        cancelled.set()
        while thread.is_alive():
            connection.interrupt()
            thread.join(0.1)
        raise
    thread.join()


def text(value: str) -> str:
    """An SQL string literal."""
    return "'" + value.replace("'", "''") + "'"


def name(value: str) -> str:
    """An SQL identifier."""
    return '"' + value.replace('"', '""') + '"'


def one_line(error: Any) -> str:
    """DuckDB's message without its kind and its position marks."""
    return re.sub(r"^[A-Z][A-Za-z ]* Error: ", "", " ".join(str(error).partition("\n")[0].split()))
