# ruff: noqa: S608 - SQL is built here; every name and literal in it goes through engine.name and engine.text
"""A Dataset's two tables in a file: created, checked, described; those of another owner are not touched."""

from collections.abc import Iterator, Mapping, Sequence

from penstock.api import checks
from penstock.connectors.duckdb import columns
from penstock.connectors.duckdb.writing import DuckdbDatabase
from penstock.runs.order import DatasetOrder
from penstock.worker import ledger, sqltables
from penstock.worker.ports import differences
from penstock.worker.ports.differences import Change
from penstock.worker.ports.ledger import Claim
from penstock.worker.rows import engine, lossless
from penstock.worker.rows.engine import Connection
from penstock.worker.sqltables import Column, ExistingTable

_RELATION = """
SELECT table_name, true, coalesce(comment, '') FROM duckdb_tables()
WHERE database_name = current_database() AND schema_name = 'main' AND lower(table_name) = lower(?) AND NOT temporary
UNION ALL SELECT view_name, false, '' FROM duckdb_views()
WHERE database_name = current_database() AND schema_name = 'main' AND lower(view_name) = lower(?) AND NOT temporary"""
_COLUMNS = """
SELECT column_name, data_type, NOT is_nullable, coalesce(comment, '') FROM duckdb_columns()
WHERE database_name = current_database() AND schema_name = 'main' AND table_name = ? ORDER BY column_index"""
_ASIDE = "penstock renamed "
"""Begins the name that a column has between two names that differ in case alone, which are one name to DuckDB."""


def qualified(name: str) -> str:
    """The table in SQL. Its schema is named, so that no temporary table takes its place."""
    return f"main.{engine.name(name)}"


def existing(cursor: Connection, name: str) -> ExistingTable | None:
    """The table of that name as it is now, None where there is none. The case of names is of no account in DuckDB."""
    cursor.execute(_RELATION, (name, name))
    row = cursor.fetchone()
    if row is None:
        return None
    own, ordinary, comment = row
    cursor.execute(_COLUMNS, (own,))
    listed = tuple(
        Column(column, columns.kind(kind), required, about) for column, kind, required, about in cursor.fetchall()
    )
    return ExistingTable(own, ordinary, comment, listed)


def size(cursor: Connection, name: str) -> int:
    """Bytes of the blocks that have rows of the table; it may share some of them with other tables."""
    cursor.execute(
        "SELECT (SELECT count(DISTINCT block_id) FROM pragma_storage_info(?) WHERE block_id >= 0) * block_size "
        "FROM pragma_database_size() WHERE database_name = current_database()",
        (qualified(name),),
    )
    row = cursor.fetchone()
    return int(row[0]) if row else 0


def ensure(database: DuckdbDatabase, dataset: DatasetOrder) -> None:
    """Create the Dataset's two tables where they are missing.

    Raises InvalidSpec with TableConflict (another owner's table) or SchemaChanged, NotYet (DatasetNotReady) when the
    table's columns have yet to be changed.
    """
    with database.transaction() as cursor:
        sqltables.create_commits(cursor)
        for name, wanted in sqltables.columns_of_both(dataset).items():
            if existing(cursor, name) is None:
                _create(cursor, name, dataset, wanted)
                if name == dataset.table:
                    sqltables.begin_commits(cursor, name)
                    ledger.forget(cursor, dataset.owner.marker)
        check(cursor, dataset)


def check(cursor: Connection, dataset: DatasetOrder) -> None:
    """Raise InvalidSpec unless the Dataset's two tables are there, its own, and as its schema says."""
    for name, wanted in sqltables.columns_of_both(dataset).items():
        table = existing(cursor, name)
        if table is None:
            raise sqltables.dropped(dataset, name)
        table.require_owner(dataset)
        differ = sqltables.missing(table.columns, wanted, sqltables.renamed(dataset, name))
        has_rows = bool(differ) and _has_rows(cursor, name)
        differences.require_none(f"Dataset {dataset.owner.name}", name, differ, has_rows=has_rows)


def readable(cursor: Connection, dataset: DatasetOrder) -> None:
    """Raise NotYet (DatasetNotReady) while there is no table, InvalidSpec (TableConflict) when it is another's."""
    table = existing(cursor, dataset.table)
    if table is None or existing(cursor, checks.quarantine_table(dataset.table)) is None:
        raise sqltables.no_table(dataset)
    table.require_owner(dataset)


def changes(cursor: Connection, dataset: DatasetOrder) -> list[Change]:
    """How the Dataset's table differs from its schema; empty while there is no table.

    Raises InvalidSpec (TableConflict) when it is another's.
    """
    table = existing(cursor, dataset.table)
    if table is None:
        return []
    table.require_owner(dataset)
    return sqltables.missing(table.columns, sqltables.columns_of_table(dataset), dataset.schema_.renamed)


def change(database: DuckdbDatabase, claim: Claim, dataset: DatasetOrder) -> list[Change]:
    """Bring the table's columns to the Dataset's schema in one transaction; the changes made.

    Raises InvalidSpec (SchemaChanged) and NotYet (LeaseHeld); nothing is changed then.
    """
    with database.transaction() as cursor:
        ledger.check(cursor, claim)
        made = changes(cursor, dataset)
        has_rows = bool(made) and _has_rows(cursor, dataset.table)
        differences.check(f"Dataset {dataset.owner.name}", dataset.table, made, has_rows=has_rows)
        _alter(cursor, qualified(dataset.table), sqltables.columns_of_table(dataset), made)
    return made


def describe(database: DuckdbDatabase, dataset: DatasetOrder, *, write: bool) -> bool:
    """Whether the table's or a column's description differs from the Dataset's; with `write`, it is changed then."""
    with database.transaction() as cursor:
        table = existing(cursor, dataset.table)
        if table is None:
            raise sqltables.no_table(dataset)
        differing = sqltables.descriptions(table, dataset)
        if write and differing.table is not None:
            _comment_table(cursor, dataset.table, differing.table)
        for name, about in differing.columns.items() if write else ():
            _comment_column(cursor, dataset.table, name, about)
    return bool(differing)


def _has_rows(cursor: Connection, name: str) -> bool:
    return cursor.execute(f"SELECT 1 FROM {qualified(name)} LIMIT 1").fetchone() is not None


def _create(cursor: Connection, name: str, dataset: DatasetOrder, wanted: Sequence[Column]) -> None:
    """Create a table with its marker and its descriptions.

    It has no index: rows of one input lie together, so that DuckDB skips the other row groups by their least and
    greatest values, and an index would keep the columns from being altered.
    """
    definitions = ", ".join(map(columns.definition, wanted))
    cursor.execute(f"CREATE TABLE {qualified(name)} ({definitions})")
    for column in wanted:
        if column.description:
            _comment_column(cursor, name, column.name, column.description)
    _comment_column(cursor, name, sqltables.input_column(wanted), f"{sqltables.OWNER}{dataset.owner.marker}")
    if name == dataset.table and dataset.description:
        _comment_table(cursor, name, dataset.description)


def _comment_table(cursor: Connection, name: str, text: str) -> None:
    cursor.execute(f"COMMENT ON TABLE {qualified(name)} IS {engine.text(text)}")


def _comment_column(cursor: Connection, name: str, column: str, text: str) -> None:
    cursor.execute(f"COMMENT ON COLUMN {qualified(name)}.{engine.name(column)} IS {engine.text(text)}")


def _alter(cursor: Connection, table: str, wanted: Sequence[Column], made: Sequence[Change]) -> None:
    new = {column.name: column for column in wanted}
    for each in sqltables.statements_for(made):
        for action in _actions(each, new):
            cursor.execute(f"ALTER TABLE {table} {action}")


def _actions(change: Change, new: Mapping[str, Column]) -> Iterator[str]:
    name = engine.name(change.column)
    match change.kind:
        case "Rename":
            yield from _rename(change.before, change.column)
        case "DropColumn":
            yield f"DROP COLUMN {name}"
        case "AddColumn":
            yield from _add(new[change.column])
        case "Retype":  # in this order, since a table cannot be without columns
            yield f"RENAME COLUMN {name} TO {engine.name(_ASIDE + change.column)}"
            yield from _add(new[change.column])
            yield f"DROP COLUMN {engine.name(_ASIDE + change.column)}"
        case "Widen":
            yield f"ALTER COLUMN {name} TYPE {lossless.sql_type(new[change.column].kind)}"
        case "Require" | "Relax":
            yield f"ALTER COLUMN {name} {'SET' if change.kind == 'Require' else 'DROP'} NOT NULL"


def _rename(before: str, after: str) -> Iterator[str]:
    if before.lower() == after.lower():
        yield f"RENAME COLUMN {engine.name(before)} TO {engine.name(_ASIDE + before)}"
        before = _ASIDE + before
    yield f"RENAME COLUMN {engine.name(before)} TO {engine.name(after)}"


def _add(column: Column) -> Iterator[str]:
    """A column with a constraint cannot be added in one step."""
    name = engine.name(column.name)
    yield f"ADD COLUMN {name} {lossless.sql_type(column.kind)}"
    if column.required:
        yield f"ALTER COLUMN {name} SET NOT NULL"
