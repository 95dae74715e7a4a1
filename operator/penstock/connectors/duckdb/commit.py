# ruff: noqa: S608 - SQL is built here; every name in it goes through engine.name, and ids are numbers
"""The commit: rows, quarantine, removals and ledger in one transaction of the file, or nothing."""

from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass

import duckdb
import pyarrow as pa

from penstock.api import checks
from penstock.connectors.duckdb import columns, staging, tables
from penstock.connectors.duckdb.staging import Place
from penstock.connectors.duckdb.writing import LONG_PATIENCE, DuckdbDatabase
from penstock.language.errors import InvalidSpec
from penstock.runs.report import DatasetReport
from penstock.worker import ledger, sqltables, steps
from penstock.worker.ledger import SqlLedger
from penstock.worker.ports.ledger import Claim
from penstock.worker.ports.tablestore import Publication, Staged
from penstock.worker.rows import engine
from penstock.worker.rows.engine import Connection
from penstock.worker.sqltables import Column, Moved

_STAGED = "penstock_staged"


@dataclass(frozen=True)
class _Side:
    """One of the two tables of a Dataset, and which of the staged files are for it."""

    name: str
    columns: Sequence[Column]
    file: Callable[[Staged], str | None]


def publish(database: DuckdbDatabase, place: Place, claim: Claim, publication: Publication) -> DatasetReport:
    """Commit the publication; the report with the rows that left.

    The staged rows are removed before the transaction ends, so that no kill leaves them behind: a retry stages them
    again. Raises NotYet (LeaseHeld, CountMismatch) and InvalidSpec (SchemaChanged); nothing is committed then.
    """
    dataset = publication.dataset
    data = _Side(dataset.table, sqltables.columns_of_table(dataset), staging.rows_file)
    quarantine = checks.quarantine_table(dataset.table)
    bad = _Side(quarantine, sqltables.columns_of_quarantine(), staging.rejected_file)
    with database.transaction(LONG_PATIENCE) as cursor:
        ledger.check(cursor, claim)
        tables.check(cursor, dataset)
        rows = _move(cursor, place, data, publication)
        entries = _move(cursor, place, bad, publication)
        sqltables.require_moved(publication.staged, rows, entries, claim)
        place.remove(staging.folder_name(claim.subject, claim.load_id))
        steps.reached("metadata written")
        completed = publication.completed(replaced=rows.removed)
        sqltables.enter(cursor, dataset.table, claim, rows, entries)
        SqlLedger(database).settle(cursor, claim, completed.settlement())
        steps.reached("before the commit")
    steps.reached("committed")
    return completed.report


def _move(cursor: Connection, place: Place, side: _Side, publication: Publication) -> Moved:
    """Remove what leaves, and take in what is staged."""
    table, removed = tables.qualified(side.name), 0
    if publication.mode == "replace":
        removed = _execute(cursor, f"DELETE FROM {table}")
    elif publication.leaving:
        ids = ", ".join(str(int(number)) for number in publication.leaving)
        column = engine.name(sqltables.input_column(side.columns))
        removed = _execute(cursor, f"DELETE FROM {table} WHERE {column} IN ({ids})")
    added = 0
    for staged in publication.staged:
        if (name := side.file(staged)) is not None:
            added += _insert(cursor, place, name, side)
    return Moved(added, removed)


def _insert(cursor: Connection, place: Place, name: str, side: _Side) -> int:
    """Take in the rows of a staged file, as they are read from it."""
    names = columns.names(side.columns)
    with place.read(name) as file, pa.ipc.open_stream(file) as rows:
        cursor.register(_STAGED, rows)
        try:
            return _execute(
                cursor, f"INSERT INTO {tables.qualified(side.name)} ({names}) SELECT {names} FROM {_STAGED}"
            )
        except duckdb.ConstraintException as error:
            message = (
                f"{place.subject}, table {side.name}: a constraint that another program has added refuses rows. Drop "
                f"it, or correct the data. {engine.one_line(error)[:200]}"
            )
            raise InvalidSpec(message, "WrongSpecification") from None
        finally:
            with suppress(duckdb.Error):  # a failure has ended the transaction, and the view with it
                cursor.unregister(_STAGED)


def _execute(cursor: Connection, statement: str) -> int:
    """Execute a statement that may take long; how many rows it changed."""
    engine.run(cursor, statement)
    return cursor.rowcount
