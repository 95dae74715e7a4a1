"""A SQLite database, opened to be read and nothing else."""

import hashlib
import sqlite3
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from functools import partial
from pathlib import Path
from typing import Any, TypeVar

from penstock.connectors.files.stores import sqlitefile
from penstock.connectors.sqlite.cells import Row

_CHUNK_BYTES = 16 << 20
"""Bytes of text and blobs after which a batch of rows ends."""
_BUSY_SECONDS = 5.0
_READ_ONLY = frozenset(
    {
        sqlite3.SQLITE_SELECT,
        sqlite3.SQLITE_READ,
        sqlite3.SQLITE_FUNCTION,
        sqlite3.SQLITE_RECURSIVE,
        sqlite3.SQLITE_TRANSACTION,
    }
)
KEY_HASH = "penstock_key_hash"
"""The name of a function of ours: a hash of a text."""
_FORBIDDEN_FUNCTIONS = frozenset({"load_extension", "readfile", "writefile", "edit", "fts3_tokenizer"})

_Result = TypeVar("_Result")


class Database:
    """A read-only connection, whose statements a signal's handler can end by raising."""

    def __init__(self, root: Path, name: str, scratch: Path) -> None:
        """Open the file `name` beneath the claim `root`. Raises FileNotFoundError, `beneath.Refused`, sqlite3.Error.

        Rows that are sorted go into temporary files in `scratch`: a Pod has no other folder that can be written.
        """
        self._executor = ThreadPoolExecutor(1, thread_name_prefix="sqlite")
        self._connection = self._in_thread(partial(_connect, root, name, scratch))

    def execute(self, sql: str, parameters: Sequence[Any] = ()) -> list[Row]:
        """All rows of a statement of ours."""
        return self._in_thread(lambda: self._connection.execute(sql, parameters).fetchall())

    def columns(self, sql: str) -> tuple[str, ...]:
        """The names of a query's columns. Raises sqlite3.Error unless it is one statement that reads."""
        self._in_thread(partial(self._read, f"EXPLAIN {statement(sql)}"))  # by itself, before it stands in brackets
        empty = f"SELECT * FROM (\n{statement(sql)}\n) LIMIT 0"  # noqa: S608 - the authorizer allows reading alone
        cursor = self._in_thread(partial(self._read, empty))
        return tuple(str(column[0]) for column in cursor.description or ())

    def batches(self, sql: str, rows: int) -> Iterator[list[Row]]:
        """The rows of a query, at most so many at once, and about _CHUNK_BYTES of text."""
        cursor = self._in_thread(partial(self._read, statement(sql)))
        while batch := self._in_thread(partial(_fetch, cursor, rows)):
            yield batch

    def _read(self, sql: str) -> sqlite3.Cursor:
        """Begin a statement that may be a user's."""
        self._connection.set_authorizer(_authorize)
        try:
            return self._connection.execute(sql)
        finally:
            self._connection.set_authorizer(None)

    def close(self) -> None:
        """Close the connection."""
        with suppress(sqlite3.Error):
            self._in_thread(self._connection.close)
        self._executor.shutdown(wait=True)

    def _in_thread(self, call: Callable[[], _Result]) -> _Result:
        """Do it in the connection's own thread, interrupted when this thread is ended by a signal's handler."""
        running = self._executor.submit(call)
        try:
            return running.result()
        except BaseException:
            while not running.done():
                self._connection.interrupt()
                with suppress(TimeoutError):
                    running.exception(timeout=0.1)
            raise


def _connect(root: Path, name: str, scratch: Path) -> sqlite3.Connection:
    connection = sqlitefile.connect(root, name, mode="ro", timeout=_BUSY_SECONDS, isolation_level=None)
    connection.text_factory = _text
    connection.create_function(KEY_HASH, 1, _hash, deterministic=True)
    connection.execute("PRAGMA query_only = ON")
    connection.execute("PRAGMA trusted_schema = OFF")
    if connection.execute("PRAGMA temp_store_directory").fetchall() != [(str(scratch),)]:  # it is of the process
        folder = str(scratch).replace("'", "''")
        connection.execute(f"PRAGMA temp_store_directory = '{folder}'")
    connection.execute("PRAGMA cell_size_check = ON")
    return connection


def _hash(text: str | bytes) -> str:
    return hashlib.sha256(text.encode() if isinstance(text, str) else text).hexdigest()[:16]


def _authorize(action: int, first: str | None, second: str | None, *_: str | None) -> int:
    """Allow what reads: no ATTACH, no PRAGMA, no function that reaches outside of the database."""
    del first
    if action == sqlite3.SQLITE_FUNCTION and (second or "").lower() in _FORBIDDEN_FUNCTIONS:
        return sqlite3.SQLITE_DENY
    return sqlite3.SQLITE_OK if action in _READ_ONLY else sqlite3.SQLITE_DENY


def _text(data: bytes) -> str | bytes:
    """Text that is not UTF-8 stays bytes, so that the row is bad and not the whole read."""
    try:
        return data.decode()
    except UnicodeDecodeError:
        return data


def _fetch(cursor: sqlite3.Cursor, rows: int) -> list[Row]:
    batch: list[Row] = []
    size = 0
    while len(batch) < rows and size < _CHUNK_BYTES:
        more = cursor.fetchmany(min(256, rows - len(batch)))
        if not more:
            break
        batch += more
        size += sum(len(value) for row in more for value in row if isinstance(value, str | bytes))
    return batch


def name(name: str) -> str:
    """A quoted identifier."""
    return '"' + name.replace('"', '""') + '"'


def statement(sql: str) -> str:
    """A query without the semicolon at its end."""
    return sql.strip().removesuffix(";")
