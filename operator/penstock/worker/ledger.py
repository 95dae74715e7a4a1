"""The ledger in SQL: what `ports.ledger.Ledger` says, over any Database, in the SQL that SQLite and PostgreSQL share.

Tables: runs (plan and report of each run), inputs (what has been read), states (cursors by stream), leases (who may
write, and the counters of load ids and input ids), deliveries, delivered keys, charges,
schemas (as applied last).
"""

import json
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

from penstock.language.errors import NotYet
from penstock.runs.report import Commit
from penstock.worker.ports.ledger import (
    Attempt,
    Charge,
    Claim,
    Cursor,
    Database,
    DeliveredKeys,
    Delivery,
    InputEntry,
    Json,
    KeyPeriod,
    Settlement,
    state_moved,
    taken_over,
)

LEASE = 60.0
"""Seconds without a heartbeat after which a lease may be taken by another run."""
ABANDONED = 24 * 3600.0
"""Seconds after the end of its lease from which what another subject's run has staged is waste."""
_POLL = 0.5

TABLES = (
    """CREATE TABLE IF NOT EXISTS penstock_runs (
  subject TEXT NOT NULL, run TEXT NOT NULL, attempts BIGINT NOT NULL DEFAULT 0,
  basis TEXT, plan TEXT, report TEXT, load_id BIGINT, committed_at TEXT, loaded BIGINT, quarantined BIGINT,
  PRIMARY KEY (subject, run))""",
    """CREATE TABLE IF NOT EXISTS penstock_inputs (
  subject TEXT NOT NULL, input_id BIGINT NOT NULL, identity TEXT NOT NULL, stream TEXT NOT NULL,
  name TEXT NOT NULL, version TEXT NOT NULL, size BIGINT NOT NULL, run TEXT NOT NULL, load_id BIGINT NOT NULL,
  loaded BIGINT NOT NULL, quarantined BIGINT NOT NULL, state TEXT NOT NULL, schema_hash TEXT NOT NULL,
  PRIMARY KEY (subject, input_id))""",
    """CREATE TABLE IF NOT EXISTS penstock_states (
  subject TEXT NOT NULL, identity TEXT NOT NULL, stream TEXT NOT NULL, state TEXT NOT NULL, load_id BIGINT NOT NULL,
  PRIMARY KEY (subject, identity, stream))""",
    """CREATE TABLE IF NOT EXISTS penstock_leases (
  subject TEXT NOT NULL PRIMARY KEY, run TEXT NOT NULL, load_id BIGINT NOT NULL, worker TEXT NOT NULL,
  expires DOUBLE PRECISION NOT NULL, next_input BIGINT NOT NULL DEFAULT 1)""",
    """CREATE TABLE IF NOT EXISTS penstock_deliveries (
  subject TEXT NOT NULL, run TEXT NOT NULL, manifest TEXT NOT NULL, snapshot TEXT NOT NULL,
  rows_delivered BIGINT NOT NULL, bytes BIGINT NOT NULL, files BIGINT NOT NULL, "at" TEXT NOT NULL,
  PRIMARY KEY (subject, run))""",
    """CREATE TABLE IF NOT EXISTS penstock_delivered_keys (
  subject TEXT NOT NULL, run TEXT NOT NULL, part BIGINT NOT NULL, fields TEXT NOT NULL, moment TEXT NOT NULL,
  content TEXT NOT NULL, PRIMARY KEY (subject, run, part))""",
    """CREATE TABLE IF NOT EXISTS penstock_charges (
  subject TEXT NOT NULL, run TEXT NOT NULL, moment TEXT NOT NULL, amount TEXT NOT NULL, currency TEXT NOT NULL,
  PRIMARY KEY (subject, run))""",
    """CREATE TABLE IF NOT EXISTS penstock_schemas (subject TEXT NOT NULL PRIMARY KEY, applied TEXT NOT NULL)""",
)


@dataclass(frozen=True)
class SqlLedger:
    """The ledger in this database."""

    database: Database

    def create(self) -> None:
        """Create the ledger's tables where they are missing."""
        with self.database.transaction() as cursor:
            for statement in TABLES:
                cursor.execute(statement)

    @contextmanager
    def claim(self, subject: str, attempt: Attempt, lease: float = LEASE) -> Iterator[Claim]:
        """Hold the subject's lease, with a heartbeat, until the block ends. See `ports.ledger.Ledger.claim`."""
        self.create()
        claim = self._wait_for(subject, attempt, lease)
        stop = threading.Event()
        beat = threading.Thread(target=self._heartbeat, args=(claim, lease, stop), daemon=True, name="heartbeat")
        beat.start()
        try:
            yield claim
        except Exception as error:
            if self._is_lost(claim):  # its successor has removed the staged files under it: no failure of its own
                raise taken_over(claim) from error
            raise
        finally:
            stop.set()
            beat.join()
            self._release(claim)

    def _wait_for(self, subject: str, attempt: Attempt, lease: float) -> Claim:
        give_up = time.monotonic() + lease + _POLL
        while True:
            with self.database.transaction() as cursor:
                taken = _take(cursor, subject, attempt, lease)
            if isinstance(taken, Claim):
                return taken
            if time.monotonic() > give_up:
                message = f"{subject} is being written by run {taken}; this run is tried again."
                raise NotYet(message, "LeaseHeld")
            time.sleep(_POLL)

    def _heartbeat(self, claim: Claim, lease: float, stop: threading.Event) -> None:
        while not stop.wait(lease / 4):
            try:
                with self.database.transaction() as cursor:
                    cursor.execute(
                        "UPDATE penstock_leases SET expires = ? WHERE subject = ? AND load_id = ?",
                        (time.time() + lease, claim.subject, claim.load_id),
                    )
                    renewed = cursor.rowcount
            except Exception as error:
                if not self.database.is_failure(error):
                    raise
                continue  # the next beat may succeed, and the commit checks the claim anyway
            if not renewed:
                claim.lost.set()
                return

    def _is_lost(self, claim: Claim) -> bool:
        try:
            with self.database.transaction() as cursor:
                check(cursor, claim)
        except Exception as error:
            if claim.lost.is_set():
                return True
            if not self.database.is_failure(error):
                raise
        return False  # the first failure is what counts

    def _release(self, claim: Claim) -> None:
        try:
            with self.database.transaction() as cursor:
                cursor.execute(
                    "UPDATE penstock_leases SET expires = 0 WHERE subject = ? AND load_id = ?",
                    (claim.subject, claim.load_id),
                )
        except Exception as error:
            if not self.database.is_failure(error):
                raise  # else the lease expires by itself

    def require(self, claim: Claim) -> None:
        """Raise NotYet (LeaseHeld) when another claim has taken this one over since."""
        with self.database.transaction() as cursor:
            check(cursor, claim)

    def record(self, claim: Claim, plan: str) -> str:
        """Record the plan for every Pod to come on the same basis, and return it; an earlier one of that basis wins."""
        key = (claim.subject, claim.run)
        with self.database.transaction() as cursor:
            check(cursor, claim)
            cursor.execute(
                "UPDATE penstock_runs SET plan = CASE WHEN basis = ? THEN coalesce(plan, ?) ELSE ? END, basis = ? "
                "WHERE subject = ? AND run = ?",
                (claim.basis, plan, plan, claim.basis, *key),
            )
            cursor.execute("SELECT plan FROM penstock_runs WHERE subject = ? AND run = ?", key)
            return str(cursor.fetchone()[0])

    def new_input_ids(self, claim: Claim, count: int) -> range:
        """So many ids that no input of the subject has had or will have again."""
        with self.database.transaction() as cursor:
            check(cursor, claim)
            cursor.execute("SELECT next_input FROM penstock_leases WHERE subject = ?", (claim.subject,))
            first = int(cursor.fetchone()[0])
            cursor.execute(
                "UPDATE penstock_leases SET next_input = ? WHERE subject = ?", (first + count, claim.subject)
            )
        return range(first, first + count)

    def inputs(self, subject: str) -> list[InputEntry]:
        """The inputs whose rows are in the table, and those that were refused, without those replaced; by ids."""
        with self.database.transaction() as cursor:
            cursor.execute(
                "SELECT input_id, identity, stream, name, version, size, loaded, quarantined, state, schema_hash "
                "FROM penstock_inputs WHERE subject = ? AND state <> 'replaced' ORDER BY input_id",
                (subject,),
            )
            return [InputEntry(*row) for row in cursor.fetchall()]

    def state(self, subject: str, identity: str, stream: str) -> Json:
        """The state that the last commit of this stream left, None before the first."""
        with self.database.transaction() as cursor:
            return _state(cursor, (subject, identity, stream))

    def tail(self, subject: str, length: int = 3) -> list[Commit]:
        """The newest commits that loaded rows, newest first."""
        with self.database.transaction() as cursor:
            cursor.execute(
                "SELECT run, committed_at, loaded, quarantined FROM penstock_runs "
                "WHERE subject = ? AND loaded > 0 ORDER BY load_id DESC LIMIT ?",
                (subject, length),
            )
            rows = cursor.fetchall()
        return [Commit(run=row[0], at=row[1], loaded=row[2], quarantined=row[3]) for row in rows]

    def settle(self, cursor: Cursor, claim: Claim, settlement: Settlement) -> None:
        """Enter the run as committed: the step that happens once for (subject, run), whatever else was tried."""
        check(cursor, claim)
        cursor.execute(
            "UPDATE penstock_runs SET report = ?, load_id = ?, committed_at = ?, loaded = ?, quarantined = ? "
            "WHERE subject = ? AND run = ? AND report IS NULL",
            (
                settlement.report,
                claim.load_id,
                settlement.committed_at,
                settlement.loaded,
                settlement.quarantined,
                claim.subject,
                claim.run,
            ),
        )
        if cursor.rowcount != 1:
            raise taken_over(claim)
        _move_state(cursor, claim, settlement)
        _remove_inputs(cursor, claim, settlement)
        _forget_replaced(cursor, claim, settlement)
        _enter_inputs(cursor, claim, settlement)

    def applied_schema(self, subject: str) -> str | None:
        """The schema that was recorded last, as it was given; None before the first."""
        with self.database.transaction() as cursor:
            cursor.execute("SELECT applied FROM penstock_schemas WHERE subject = ?", (subject,))
            row = cursor.fetchone()
        return None if row is None else str(row[0])

    def record_schema(self, subject: str, applied: str, *, replace: bool) -> None:
        """Record the schema that the subject's table has; without `replace` only where none is recorded."""
        with self.database.transaction() as cursor:
            if replace:
                cursor.execute("DELETE FROM penstock_schemas WHERE subject = ?", (subject,))
            cursor.execute(
                "INSERT INTO penstock_schemas (subject, applied) VALUES (?, ?) ON CONFLICT (subject) DO NOTHING",
                (subject, applied),
            )

    def delivered_keys(self, subject: str, period: KeyPeriod) -> list[str]:
        """The keys that earlier deliveries have left, as they were given, of the deliveries that count."""
        with self.database.transaction() as cursor:
            cursor.execute(
                "SELECT content FROM penstock_delivered_keys WHERE subject = ? AND fields = ? AND moment > ?",
                (subject, period.fields, period.since),
            )
            return [str(row[0]) for row in cursor.fetchall()]

    def charges(self, subject: str, since: str, until: str) -> list[Charge]:
        """What the deliveries from one moment to before another have cost."""
        with self.database.transaction() as cursor:
            cursor.execute(
                "SELECT moment, amount, currency FROM penstock_charges "
                "WHERE subject = ? AND moment >= ? AND moment < ?",
                (subject, since, until),
            )
            return [Charge(*row) for row in cursor.fetchall()]

    def delivered(self, claim: Claim, settlement: Settlement, delivery: Delivery) -> None:
        """Enter a delivery with its cost and keys in a transaction of its own; forget the keys whose period is over."""
        with self.database.transaction() as cursor:
            self.settle(cursor, claim, settlement)
            cursor.execute(
                "INSERT INTO penstock_deliveries "
                '(subject, run, manifest, snapshot, rows_delivered, bytes, files, "at") '
                "VALUES (?, ?, ?, ?, ?, ?, ?, ?)",
                (
                    claim.subject,
                    claim.run,
                    delivery.place,
                    delivery.snapshot,
                    delivery.rows,
                    delivery.bytes,
                    delivery.files,
                    delivery.at,
                ),
            )
            if delivery.charge is not None:
                cursor.execute(
                    "INSERT INTO penstock_charges (subject, run, moment, amount, currency) VALUES (?, ?, ?, ?, ?)",
                    (
                        claim.subject,
                        claim.run,
                        delivery.charge.moment,
                        delivery.charge.amount,
                        delivery.charge.currency,
                    ),
                )
            if delivery.keys is not None:
                _enter_keys(cursor, claim, delivery.keys)


def _enter_keys(cursor: Cursor, claim: Claim, keys: DeliveredKeys) -> None:
    cursor.execute(
        "DELETE FROM penstock_delivered_keys WHERE subject = ? AND (fields <> ? OR moment <= ?)",
        (claim.subject, keys.period.fields, keys.period.since),
    )
    for part, content in enumerate(keys.content):
        cursor.execute(
            "INSERT INTO penstock_delivered_keys (subject, run, part, fields, moment, content) "
            "VALUES (?, ?, ?, ?, ?, ?)",
            (claim.subject, claim.run, part, keys.period.fields, keys.moment, content),
        )


def check(cursor: Cursor, claim: Claim) -> None:
    """Raise NotYet unless the claim is still the newest; inside the transaction that relies on it."""
    cursor.execute("SELECT load_id FROM penstock_leases WHERE subject = ?", (claim.subject,))
    row = cursor.fetchone()
    if row is None or row[0] != claim.load_id:
        claim.lost.set()
        raise taken_over(claim)


def forget(cursor: Cursor, subject: str) -> None:
    """Forget what has been read into the subject's table; in the transaction that creates the table.

    Where there was a table of that name before, it has been dropped, and its rows are to be loaded again.
    """
    for table in ("penstock_inputs", "penstock_states"):
        cursor.execute(f"DELETE FROM {table} WHERE subject = ?", (subject,))  # noqa: S608 - the names are those above


def _state(cursor: Cursor, key: tuple[str, str, str]) -> Json:
    """The state of a stream, by subject, identity and stream."""
    cursor.execute("SELECT state FROM penstock_states WHERE subject = ? AND identity = ? AND stream = ?", key)
    row = cursor.fetchone()
    return None if row is None else json.loads(row[0])


def _move_state(cursor: Cursor, claim: Claim, settlement: Settlement) -> None:
    """Compare and swap: the state is replaced only if it is the one that the run began with. Raises NotYet."""
    key = (claim.subject, settlement.identity, settlement.stream)
    if _state(cursor, key) != settlement.state_before:
        raise state_moved(claim.subject, settlement.stream)
    if settlement.state is not None:
        cursor.execute(
            "INSERT INTO penstock_states (subject, identity, stream, state, load_id) VALUES (?, ?, ?, ?, ?) "
            "ON CONFLICT (subject, identity, stream) DO UPDATE SET state = excluded.state, load_id = excluded.load_id",
            (*key, json.dumps(settlement.state, sort_keys=True), claim.load_id),
        )


def recent_claims(cursor: Cursor) -> list[tuple[str, int]]:
    """Subject and load id of each subject's newest claim, unless its lease ended more than ABANDONED seconds ago."""
    cursor.execute("SELECT subject, load_id FROM penstock_leases WHERE expires > ?", (time.time() - ABANDONED,))
    return [(str(subject), int(load_id)) for subject, load_id in cursor.fetchall()]


def _take(cursor: Cursor, subject: str, attempt: Attempt, lease: float) -> Claim | str:
    """The claim, or the run that has the lease."""
    now = time.time()
    cursor.execute("SELECT run, load_id, expires FROM penstock_leases WHERE subject = ?", (subject,))
    row = cursor.fetchone()
    if row is not None and row[0] != attempt.run and row[2] > now:
        return str(row[0])
    load_id = (row[1] if row is not None else 0) + 1
    cursor.execute(
        "INSERT INTO penstock_leases (subject, run, load_id, worker, expires) VALUES (?, ?, ?, ?, ?) "
        "ON CONFLICT (subject) DO UPDATE SET run = excluded.run, load_id = excluded.load_id, "
        "worker = excluded.worker, expires = excluded.expires",
        (subject, attempt.run, load_id, attempt.worker, now + lease),
    )
    key = (subject, attempt.run)
    cursor.execute("INSERT INTO penstock_runs (subject, run) VALUES (?, ?) ON CONFLICT (subject, run) DO NOTHING", key)
    cursor.execute("UPDATE penstock_runs SET attempts = attempts + 1 WHERE subject = ? AND run = ?", key)
    cursor.execute(
        "SELECT attempts, plan, basis, report, committed_at FROM penstock_runs WHERE subject = ? AND run = ?", key
    )
    attempts, plan, basis, report, committed_at = cursor.fetchone()
    own_plan = plan if basis == attempt.basis else None
    return Claim(subject, attempt.run, load_id, attempts, own_plan, report, committed_at, attempt.basis)


def _remove_inputs(cursor: Cursor, claim: Claim, settlement: Settlement) -> None:
    """Remove the entries of inputs that leave, or keep them. Raises NotYet (CountMismatch) when one is not there."""
    statement = "DELETE FROM penstock_inputs WHERE subject = ? AND input_id = ?"
    if settlement.keep:
        statement = "UPDATE penstock_inputs SET state = 'replaced' WHERE subject = ? AND input_id = ?"
    for input_id in settlement.leaving:
        cursor.execute(statement, (claim.subject, input_id))
        if cursor.rowcount != 1:
            message = f"{claim.subject}: input {input_id} was to be replaced and is not in the ledger. "
            raise NotYet(f"{message}The run is tried again.", "CountMismatch")


def _forget_replaced(cursor: Cursor, claim: Claim, settlement: Settlement) -> None:
    """Count the rows that name each input, and forget those that were replaced and that no row names any more."""
    for input_id, rows in settlement.displaced.items():
        cursor.execute(
            "UPDATE penstock_inputs SET loaded = loaded - ? WHERE subject = ? AND input_id = ?",
            (rows, claim.subject, input_id),
        )
    statement = "DELETE FROM penstock_inputs WHERE subject = ? AND state = 'replaced'"
    cursor.execute(statement if settlement.emptied else f"{statement} AND loaded <= 0", (claim.subject,))


def _enter_inputs(cursor: Cursor, claim: Claim, settlement: Settlement) -> None:
    for entry in settlement.inputs:
        cursor.execute(
            "INSERT INTO penstock_inputs (subject, input_id, identity, stream, name, version, size, run, load_id, "
            "loaded, quarantined, state, schema_hash) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)",
            (
                claim.subject,
                entry.id,
                entry.identity,
                entry.stream,
                entry.name,
                entry.version,
                entry.size,
                claim.run,
                claim.load_id,
                entry.rows,
                entry.quarantined,
                entry.state,
                entry.schema,
            ),
        )
