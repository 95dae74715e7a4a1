"""A DuckDB file as the database of a ledger: it is open only as long as a transaction takes.

DuckDB lets one process have a file open to write, and no other process meanwhile. So a run has it open for its short
transactions and for the commit, and stages beside it: other runs and readers have their turn in between.
"""

import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path

import duckdb

from penstock.connectors.duckdb import faults
from penstock.connectors.duckdb.database import DatabaseFile
from penstock.language.errors import PenstockError
from penstock.worker.rows.engine import Connection

PATIENCE = 15.0
"""Seconds to wait for other processes to close the file."""
_CHECK_PATIENCE = 5.0
"""Seconds that a check waits for other processes to close the file."""
LONG_PATIENCE = 300.0
"""Seconds for what would be lost otherwise: a commit of all that was staged."""


@dataclass(frozen=True)
class _Locks:
    """One lock for each file, by its path."""

    lock: threading.Lock = field(default_factory=threading.Lock)
    by_path: dict[Path, threading.Lock] = field(default_factory=dict)

    def of_file(self, path: Path) -> threading.Lock:
        with self.lock:
            return self.by_path.setdefault(path, threading.Lock())


_locks = _Locks()


@dataclass(frozen=True)
class DuckdbDatabase:
    """A file that can be written. Its transactions raise InvalidSpec and NotYet, as `faults` says."""

    file: DatabaseFile

    @contextmanager
    def transaction(self, patience: float = PATIENCE) -> Iterator[Connection]:
        """One transaction that excludes the others from its beginning. See `ports.ledger.Database`.

        DuckDB's lock of the file excludes other processes; a lock of ours excludes other threads.
        """
        with (
            _locks.of_file(self.file.path),
            self.file.opened(patience) as connection,
            faults.translated(self.file.subject),
        ):
            connection.execute("BEGIN TRANSACTION")
            try:
                yield connection
                connection.execute("COMMIT")
            except BaseException:
                with suppress(duckdb.Error):  # a failure may have ended the transaction
                    connection.execute("ROLLBACK")
                raise

    def check(self) -> None:
        """Create a table in the file, and do not commit it. Raises InvalidSpec and NotYet."""
        with self.file.opened(_CHECK_PATIENCE) as connection, faults.translated(self.file.subject):
            connection.execute("BEGIN TRANSACTION")
            connection.execute(f"CREATE TABLE main.penstock_probe_{time.time_ns()} (probe VARCHAR)")
            with suppress(duckdb.Error):
                connection.execute("ROLLBACK")

    def is_failure(self, error: Exception) -> bool:
        """Whether it is an error of the database, translated or not."""
        return isinstance(error, PenstockError | duckdb.Error | OSError)
