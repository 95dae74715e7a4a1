"""SQLite: the catalog and the ledger in one file beside the tables."""

import sqlite3
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from penstock.connectors.files.stores import beneath, sqlitefile
from penstock.language.errors import InvalidSpec


@dataclass(frozen=True)
class SqliteDatabase:
    """A database file: its path `name` relative to the mounted claim `root`. `subject` begins messages."""

    root: Path
    name: str
    subject: str

    def connect(self) -> sqlite3.Connection:
        """A connection. Raises InvalidSpec where the path passes a link, or a file beside it is one."""
        try:
            return sqlitefile.connect(self.root, self.name, timeout=30, check_same_thread=False)
        except beneath.Refused as refused:
            message = f"{self.subject}: {refused.path} in the warehouse {refused.what}. Remove it."
            raise InvalidSpec(message, "WrongSpecification") from None

    @contextmanager
    def transaction(self) -> Iterator[sqlite3.Cursor]:
        """One immediate transaction, committed at the end, rolled back on any exception.

        Immediate, because a deferred one fails with "database is locked" as soon as four processes meet.
        """
        connection = self.connect()
        connection.isolation_level = None
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
        """Whether the database cannot be used: an error of SQLite's, such as a full disk, or a path that is refused."""
        return isinstance(error, sqlite3.Error | InvalidSpec)
