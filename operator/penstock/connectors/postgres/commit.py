"""The commit: rows, quarantine, removals and ledger in one transaction, or nothing.

The long work comes first, under a lock of the table; the ledger's lock is taken at the end, so that runs of other
Datasets do not wait.
"""

from collections.abc import Sequence
from dataclasses import dataclass

from psycopg import sql

from penstock.api import checks
from penstock.connectors.postgres import columns, merge, staging, tables
from penstock.connectors.postgres.database import PostgresCursor, PostgresDatabase
from penstock.runs.report import DatasetReport
from penstock.worker import ledger, sqltables, steps
from penstock.worker.ledger import SqlLedger
from penstock.worker.ports.ledger import Claim
from penstock.worker.ports.tablestore import Publication, Staged
from penstock.worker.sqltables import Column, Moved


@dataclass(frozen=True)
class _Side:
    """One of the two tables of a Dataset, and the key of its staging table in `Staged.content`."""

    name: str
    columns: Sequence[Column]
    key: str


def publish(database: PostgresDatabase, claim: Claim, publication: Publication) -> DatasetReport:
    """Commit the publication; the report with the rows that left.

    Raises NotYet (LeaseHeld, CountMismatch) and InvalidSpec (SchemaChanged); nothing is committed then.
    """
    dataset = publication.dataset
    data = _Side(dataset.table, sqltables.columns_of_table(dataset), "data")
    bad = _Side(checks.quarantine_table(dataset.table), sqltables.columns_of_quarantine(), "quarantine")
    with database.unlocked() as cursor:
        database.lock(cursor, f"table {dataset.table}")
        ledger.check(cursor, claim)  # work for nothing is spared; what counts is the check when it is settled
        _lock_tables(cursor, database.schema, (data, bad))
        tables.check(cursor, database, dataset)
        if publication.mode == "upsert":
            rows = _merge(cursor, database.schema, data, publication)
        else:
            rows = _move(cursor, database.schema, data, publication)
        entries = _move(cursor, database.schema, bad, publication)
        sqltables.require_moved(publication.staged, rows, entries, claim)
        for name in staging.names(claim.subject, claim.load_id):
            _execute(cursor, "DROP TABLE IF EXISTS {}", sql.Identifier(database.schema, name))
        steps.reached("metadata written")
        completed = publication.completed(rows.removed, rows.merged)
        database.lock_ledger(cursor)
        sqltables.enter(cursor, dataset.table, claim, rows, entries)
        SqlLedger(database).settle(cursor, claim, completed.settlement())
        steps.reached("before the commit")
    steps.reached("committed")
    return completed.report


def _lock_tables(cursor: PostgresCursor, schema: str, sides: Sequence[_Side]) -> None:
    """Lock the tables against DDL, so that they stay as they are checked."""
    for side in sides:
        _execute(cursor, "LOCK TABLE {} IN ROW EXCLUSIVE MODE", sql.Identifier(schema, side.name))


def _move(cursor: PostgresCursor, schema: str, side: _Side, publication: Publication) -> Moved:
    """Remove what leaves, and take in what is staged."""
    table = sql.Identifier(schema, side.name)
    removed = 0
    if publication.mode == "replace":
        _execute(cursor, "DELETE FROM {}", table)
        removed = cursor.rowcount
    elif publication.leaving:
        statement = sql.SQL("DELETE FROM {} WHERE {} = ANY(%s)").format(
            table, sql.Identifier(sqltables.input_column(side.columns))
        )
        cursor.own.execute(statement, ([*publication.leaving],))
        removed = cursor.rowcount
    names = columns.names(side.columns)
    added = 0
    if any(_count(staged, side) for staged in publication.staged):
        for name, chosen in _parts(side, publication).items():
            statement = sql.SQL("INSERT INTO {} ({}) SELECT {} FROM {} WHERE {} = ANY(%s)").format(
                table, names, names, sql.Identifier(schema, name), sql.Identifier(staging.PART.name)
            )
            cursor.own.execute(statement, (chosen,))
            added += cursor.rowcount
    return Moved(added, removed)


def _merge(cursor: PostgresCursor, schema: str, side: _Side, publication: Publication) -> Moved:
    """Merge what is staged into the table by its key."""
    table, moved = sql.Identifier(schema, side.name), Moved(0, 0)
    if any(_count(staged, side) for staged in publication.staged):
        [(name, chosen)] = _parts(side, publication).items()  # a claim has one staging table
        done = merge.upsert(cursor, publication.dataset, table, sql.Identifier(schema, name), chosen)
        moved = Moved(done.written, done.updated, done.merged)
    return moved


def _parts(side: _Side, publication: Publication) -> dict[str, list[str]]:
    """The parts that are published, by their staging table."""
    parts: dict[str, list[str]] = {}
    for staged in publication.staged:
        parts.setdefault(str(staged.content[side.key]), []).append(str(staged.content["part"]))
    return parts


def _count(staged: Staged, side: _Side) -> int:
    return staged.rows if side.key == "data" else staged.rejected


def _execute(cursor: PostgresCursor, statement: str, name: sql.Identifier) -> None:
    cursor.own.execute(sql.SQL(statement).format(name))
