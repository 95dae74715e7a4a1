"""The ledger: which run did what to which Dataset. It lies in the database that also commits the data.

Tables: runs (plan and report of each run), files (what has been read), leases (who may write), deliveries.
"""

import json
import sqlite3
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from penstock.language.errors import NotYet
from penstock.runs.report import Commit

LEASE = 60.0
"""Seconds without a heartbeat after which a lease may be taken by another run."""
_POLL = 0.5

_TABLES = """
CREATE TABLE IF NOT EXISTS penstock_runs (
  subject TEXT NOT NULL, run TEXT NOT NULL, attempts INTEGER NOT NULL DEFAULT 0,
  plan TEXT, ground TEXT, report TEXT, committed_at TEXT, loaded INTEGER, quarantined INTEGER,
  PRIMARY KEY (subject, run));
CREATE TABLE IF NOT EXISTS penstock_files (
  subject TEXT NOT NULL, identity TEXT NOT NULL, url TEXT NOT NULL,
  etag TEXT NOT NULL, size INTEGER NOT NULL, run TEXT NOT NULL,
  rows INTEGER NOT NULL, data TEXT NOT NULL, quarantine TEXT NOT NULL,
  PRIMARY KEY (subject, identity, url));
CREATE TABLE IF NOT EXISTS penstock_leases (
  subject TEXT NOT NULL PRIMARY KEY, run TEXT NOT NULL, fence INTEGER NOT NULL,
  holder TEXT NOT NULL, expires REAL NOT NULL);
CREATE TABLE IF NOT EXISTS penstock_deliveries (
  subject TEXT NOT NULL, run TEXT NOT NULL, manifest TEXT NOT NULL, snapshot TEXT NOT NULL,
  rows INTEGER NOT NULL, bytes INTEGER NOT NULL, files INTEGER NOT NULL, at TEXT NOT NULL,
  PRIMARY KEY (subject, run));
"""
"""`subject` is what one run at a time may change: a Dataset, or a Subscription of it, as `<namespace>/<name>`."""


@dataclass(frozen=True)
class FileEntry:
    """A file that has been read, and the data files that hold its rows."""

    url: str
    etag: str
    size: int
    rows: int
    data: tuple[str, ...]
    quarantine: tuple[str, ...]


@dataclass(frozen=True)
class Bid:
    """Who wants to write for which run.

    `ground` is what a plan rests on, the order and the Job's attempt: the Pods of one Job share its plan, and a new
    attempt plans anew, since what failed may lie in the plan. What is committed stays committed either way.
    """

    run: str
    holder: str
    ground: str = ""


@dataclass(frozen=True)
class Claim:
    """The right to commit one run for one subject, as long as no higher fence exists.

    `plan` and `report` are what earlier attempts left behind; `attempt` counts claims of this run id, from 1.
    `committed_at` is when `report` was, RFC 3339.
    """

    database: Path
    subject: str
    run: str
    fence: int
    attempt: int
    plan: str | None
    report: str | None
    ground: str = ""
    committed_at: str | None = None
    _lost: threading.Event = field(default_factory=threading.Event)

    def record(self, plan: str) -> str:
        """Record the plan for every Pod to come on the same ground; what is recorded already on it wins."""
        with transaction(self.database) as cursor:
            self.check(cursor)
            cursor.execute(
                "UPDATE penstock_runs SET plan = CASE WHEN ground = ? THEN coalesce(plan, ?) ELSE ? END, ground = ? "
                "WHERE subject = ? AND run = ?",
                (self.ground, plan, plan, self.ground, self.subject, self.run),
            )
            row = cursor.execute(
                "SELECT plan FROM penstock_runs WHERE subject = ? AND run = ?", (self.subject, self.run)
            ).fetchone()
            return str(row[0])

    def check(self, cursor: sqlite3.Cursor) -> None:
        """Raise NotYet unless this claim still holds the lease; inside the transaction that relies on it."""
        found = cursor.execute("SELECT fence FROM penstock_leases WHERE subject = ?", (self.subject,)).fetchone()
        if found is None or found[0] != self.fence:
            raise _taken_over(self)

    def still_held(self) -> None:
        """Raise NotYet when a heartbeat saw that the lease is gone: work for nothing can stop here."""
        if self._lost.is_set():
            raise _taken_over(self)


def _taken_over(claim: Claim) -> NotYet:
    return NotYet(f"{claim.subject}: another worker has taken run {claim.run} over; this one stops.", "LeaseHeld")


@contextmanager
def transaction(database: Path) -> Iterator[sqlite3.Cursor]:
    """One immediate transaction, committed at the end, rolled back on any exception.

    Immediate, because a deferred one fails with "database is locked" as soon as four processes meet.
    """
    connection = sqlite3.connect(database, timeout=30, isolation_level=None)
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


def create(database: Path) -> None:
    """Create the ledger's tables where they are missing."""
    with transaction(database) as cursor:
        for statement in _TABLES.split(";"):
            cursor.execute(statement)


@contextmanager
def claim(database: Path, subject: str, bid: Bid, lease: float = LEASE) -> Iterator[Claim]:
    """Hold the subject's lease for this run, with a heartbeat, until the block ends.

    The same run id takes a lease over at once, with a higher fence. Another run id waits until the lease is given back
    or has had no heartbeat for `lease` seconds, and raises NotYet (LeaseHeld) when it is still alive then.
    """
    create(database)
    mine = _wait_for(database, subject, bid, lease)
    stop = threading.Event()
    beat = threading.Thread(target=_heartbeat, args=(mine, lease, stop), daemon=True, name="heartbeat")
    beat.start()
    try:
        yield mine
    except Exception as error:
        if _superseded(mine):  # its successor has swept the files away under it: that is no failure of its own
            raise _taken_over(mine) from error
        raise
    finally:
        stop.set()
        beat.join()
        _release(mine)


def _wait_for(database: Path, subject: str, bid: Bid, lease: float) -> Claim:
    patience = time.monotonic() + lease + _POLL
    while True:
        with transaction(database) as cursor:
            taken = _take(cursor, database, subject, bid, lease)
        if isinstance(taken, Claim):
            return taken
        if time.monotonic() > patience:
            message = f"{subject} is being written by run {taken}; this run is tried again."
            raise NotYet(message, "LeaseHeld")
        time.sleep(_POLL)


def _take(cursor: sqlite3.Cursor, database: Path, subject: str, bid: Bid, lease: float) -> Claim | str:
    """The claim, or the run that holds the lease."""
    run = bid.run
    now = time.time()
    row = cursor.execute("SELECT run, fence, expires FROM penstock_leases WHERE subject = ?", (subject,)).fetchone()
    if row is not None and row[0] != run and row[2] > now:
        return str(row[0])
    fence = (row[1] if row is not None else 0) + 1
    cursor.execute(
        "INSERT OR REPLACE INTO penstock_leases (subject, run, fence, holder, expires) VALUES (?, ?, ?, ?, ?)",
        (subject, run, fence, bid.holder, now + lease),
    )
    cursor.execute("INSERT OR IGNORE INTO penstock_runs (subject, run) VALUES (?, ?)", (subject, run))
    key = (subject, run)
    cursor.execute("UPDATE penstock_runs SET attempts = attempts + 1 WHERE subject = ? AND run = ?", key)
    attempt, plan, ground, report, committed_at = cursor.execute(
        "SELECT attempts, plan, ground, report, committed_at FROM penstock_runs WHERE subject = ? AND run = ?", key
    ).fetchone()
    own_plan = plan if ground == bid.ground else None
    return Claim(database, subject, run, fence, attempt, own_plan, report, bid.ground, committed_at)


def _heartbeat(mine: Claim, lease: float, stop: threading.Event) -> None:
    while not stop.wait(lease / 4):
        try:
            with transaction(mine.database) as cursor:
                changed = cursor.execute(
                    "UPDATE penstock_leases SET expires = ? WHERE subject = ? AND fence = ?",
                    (time.time() + lease, mine.subject, mine.fence),
                ).rowcount
        except sqlite3.Error:
            continue  # a busy or full disk: the next beat may succeed, and the commit checks the fence anyway
        if not changed:
            mine._lost.set()
            return


def _superseded(mine: Claim) -> bool:
    try:
        with transaction(mine.database) as cursor:
            mine.check(cursor)
    except NotYet:
        return True
    except sqlite3.Error:
        return False  # the first failure is what counts
    return False


def _release(mine: Claim) -> None:
    try:
        with transaction(mine.database) as cursor:
            cursor.execute(
                "UPDATE penstock_leases SET expires = 0 WHERE subject = ? AND fence = ?", (mine.subject, mine.fence)
            )
    except sqlite3.Error:
        pass  # then it expires by itself


def settle(cursor: sqlite3.Cursor, mine: Claim, report: str, counts: tuple[int, int], now: str) -> None:
    """Enter the run as committed: the step that happens once for (subject, run), whatever else was tried.

    `counts` are rows loaded and quarantined. Raises NotYet when this claim has been taken over or the run committed.
    """
    mine.check(cursor)
    entered = cursor.execute(
        "UPDATE penstock_runs SET report = ?, committed_at = ?, loaded = ?, quarantined = ? "
        "WHERE subject = ? AND run = ? AND report IS NULL",
        (report, now, *counts, mine.subject, mine.run),
    ).rowcount
    if entered != 1:
        raise _taken_over(mine)


def files(database: Path, subject: str) -> dict[tuple[str, str], FileEntry]:
    """What has been read for the subject, by (identity, url)."""
    with transaction(database) as cursor:
        rows = cursor.execute(
            "SELECT identity, url, etag, size, rows, data, quarantine FROM penstock_files WHERE subject = ?",
            (subject,),
        ).fetchall()
    return {
        (row[0], row[1]): FileEntry(
            row[1], row[2], row[3], row[4], tuple(json.loads(row[5])), tuple(json.loads(row[6]))
        )
        for row in rows
    }


def tail(database: Path, subject: str, length: int = 3) -> list[Commit]:
    """The newest commits that loaded rows, newest first."""
    with transaction(database) as cursor:
        rows: list[Any] = cursor.execute(
            "SELECT run, committed_at, loaded, quarantined FROM penstock_runs "
            "WHERE subject = ? AND loaded > 0 ORDER BY committed_at DESC, rowid DESC LIMIT ?",
            (subject, length),
        ).fetchall()
    return [Commit(run=row[0], at=row[1], loaded=row[2], quarantined=row[3]) for row in rows]
