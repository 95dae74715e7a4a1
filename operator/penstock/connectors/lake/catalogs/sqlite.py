"""SQLite: the catalog and the ledger in one file beside the tables."""

import sqlite3
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True)
class SqliteDatabase:
    """A database file."""

    path: Path

    @contextmanager
    def transaction(self) -> Iterator[sqlite3.Cursor]:
        """One immediate transaction, committed at the end, rolled back on any exception.

        Immediate, because a deferred one fails with "database is locked" as soon as four processes meet.
        """
        connection = sqlite3.connect(self.path, timeout=30, isolation_level=None)
        try:
            connection.execute("PRAGMA synchronous = FULL")
            cursor = connection.cursor()
            cursor.execute("BEGIN IMMEDIATE")
            try:
                yield cursor
            except BaseException:
                cursor.execute("ROLLBACK")
                raise
            cursor.execute("COMMIT")
        finally:
            connection.close()

    def is_failure(self, error: Exception) -> bool:
        """Whether it is an error of SQLite's, such as a busy or full disk."""
        return isinstance(error, sqlite3.Error)
