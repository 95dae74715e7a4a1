"""A Dataset's two tables in a schema: created, checked, described; those of another owner are not touched.

The owner's marker is the comment on the column by which rows are found, so that it goes wherever the table goes: with
a rename, a dump, a restore.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field

from psycopg import sql

from penstock.api import checks
from penstock.connectors.postgres import alter, columns
from penstock.connectors.postgres.alter import Key
from penstock.connectors.postgres.database import PostgresCursor, PostgresDatabase
from penstock.runs.order import DatasetOrder
from penstock.worker import ledger, sqltables
from penstock.worker.ports import differences
from penstock.worker.ports.differences import Change
from penstock.worker.ports.ledger import Claim
from penstock.worker.sqltables import Column, ExistingTable

_TABLE = """
SELECT c.oid, c.relkind::text, coalesce(obj_description(c.oid, 'pg_class'), '')
FROM pg_catalog.pg_class c JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace
WHERE n.nspname = ? AND c.relname = ?"""
_COLUMNS = """
SELECT attname, format_type(atttypid, atttypmod), attnotnull, coalesce(col_description(attrelid, attnum), '')
FROM pg_catalog.pg_attribute WHERE attrelid = ? AND attnum > 0 AND NOT attisdropped ORDER BY attnum"""
_KEY = """
SELECT conname, ARRAY(
  SELECT a.attname::text FROM unnest(c.conkey) WITH ORDINALITY k(number, place)
  JOIN pg_catalog.pg_attribute a ON a.attrelid = c.conrelid AND a.attnum = k.number ORDER BY k.place)
FROM pg_catalog.pg_constraint c WHERE conrelid = ? AND contype = 'p' AND right(conname, length(?)) = ?"""


@dataclass(frozen=True)
class KeyedTable(ExistingTable):
    """A table, and the primary key that Penstock has given it."""

    key: Key = field(default_factory=Key)


def existing(cursor: PostgresCursor, schema: str, name: str) -> KeyedTable | None:
    """The table of that name as it is now, None where there is none."""
    cursor.execute(_TABLE, (schema, name))
    row = cursor.fetchone()
    if row is None:
        return None
    oid, form, comment = row
    cursor.execute(_COLUMNS, (oid,))
    listed = tuple(
        Column(name, columns.kind(kind), required, about) for name, kind, required, about in cursor.fetchall()
    )
    cursor.execute(_KEY, (oid, alter.KEY_SUFFIX, alter.KEY_SUFFIX))
    row = cursor.fetchone()
    key = Key() if row is None else Key(tuple(row[1]), row[0])
    return KeyedTable(name, form in ("r", "p"), comment, listed, key)


def beginning_with(cursor: PostgresCursor, schema: str, prefix: str) -> list[str]:
    """The names of the schema's tables that begin with the prefix."""
    cursor.execute(
        "SELECT relname FROM pg_catalog.pg_class c JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace "
        "WHERE nspname = ? AND relkind = 'r' AND starts_with(relname::text, ?)",
        (schema, prefix),
    )
    return [str(name) for (name,) in cursor.fetchall()]


def size(cursor: PostgresCursor, schema: str, name: str) -> int:
    """Bytes of the table with its indexes and long texts."""
    statement = sql.SQL("SELECT pg_total_relation_size({}::regclass)")
    cursor.own.execute(statement.format(sql.Literal(sql.Identifier(schema, name).as_string())))
    return int(cursor.fetchone()[0])


def ensure(database: PostgresDatabase, dataset: DatasetOrder) -> None:
    """Create the Dataset's two tables where they are missing.

    Raises InvalidSpec with TableConflict (another owner's table) or SchemaChanged, NotYet (DatasetNotReady) when the
    table's columns have yet to be changed.
    """
    wanted = sqltables.columns_of_both(dataset)
    with database.transaction() as cursor:
        sqltables.create_commits(cursor)
        missing = [name for name in wanted if existing(cursor, database.schema, name) is None]
        for name in missing:
            _create(cursor, database.schema, name, dataset, wanted[name])
        if dataset.table in missing:
            sqltables.begin_commits(cursor, dataset.table)
            ledger.forget(cursor, dataset.owner.marker)
        check(cursor, database, dataset)


def check(cursor: PostgresCursor, database: PostgresDatabase, dataset: DatasetOrder) -> None:
    """Raise InvalidSpec unless the Dataset's two tables are there, its own, and as its schema says."""
    for name, wanted in sqltables.columns_of_both(dataset).items():
        table = existing(cursor, database.schema, name)
        if table is None:
            raise sqltables.dropped(dataset, name)
        table.require_owner(dataset)
        differ = sqltables.missing(table.columns, wanted, sqltables.renamed(dataset, name))
        if name == dataset.table:
            differ += differences.of_keys(table.key.columns, dataset.schema_.key, dataset.schema_.renamed)
        has_rows = bool(differ) and _has_rows(cursor, database.schema, name)
        differences.require_none(f"Dataset {dataset.owner.name}", name, differ, has_rows=has_rows)


def readable(cursor: PostgresCursor, schema: str, dataset: DatasetOrder) -> None:
    """Raise NotYet (DatasetNotReady) while there is no table, InvalidSpec (TableConflict) when it is another's."""
    table = existing(cursor, schema, dataset.table)
    if table is None or existing(cursor, schema, checks.quarantine_table(dataset.table)) is None:
        raise sqltables.no_table(dataset)
    table.require_owner(dataset)


def changes(cursor: PostgresCursor, schema: str, dataset: DatasetOrder) -> list[Change]:
    """How the Dataset's table differs from its schema; empty while there is no table.

    Raises InvalidSpec (TableConflict) when it is another's.
    """
    table = existing(cursor, schema, dataset.table)
    if table is None:
        return []
    table.require_owner(dataset)
    return [
        *sqltables.missing(table.columns, sqltables.columns_of_table(dataset), dataset.schema_.renamed),
        *differences.of_keys(table.key.columns, dataset.schema_.key, dataset.schema_.renamed),
    ]


def change(database: PostgresDatabase, claim: Claim, dataset: DatasetOrder) -> list[Change]:
    """Bring the table's columns to the Dataset's schema in one transaction; the changes made.

    Raises InvalidSpec (SchemaChanged) and NotYet (LeaseHeld); nothing is changed then.
    """
    with database.transaction() as cursor:
        ledger.check(cursor, claim)
        made = changes(cursor, database.schema, dataset)
        has_rows = bool(made) and _has_rows(cursor, database.schema, dataset.table)
        differences.check(f"Dataset {dataset.owner.name}", dataset.table, made, has_rows=has_rows)
        table = existing(cursor, database.schema, dataset.table)
        keys = Key() if table is None else table.key, _key(dataset)
        alter.alter(
            cursor, sql.Identifier(database.schema, dataset.table), sqltables.columns_of_table(dataset), made, keys
        )
    return made


def _key(dataset: DatasetOrder) -> Key:
    return Key(dataset.schema_.key, f"{dataset.table}{alter.KEY_SUFFIX}")


def _has_rows(cursor: PostgresCursor, schema: str, name: str) -> bool:
    cursor.own.execute(sql.SQL("SELECT EXISTS (SELECT FROM {})").format(sql.Identifier(schema, name)))
    return bool(cursor.fetchone()[0])


def describe(database: PostgresDatabase, dataset: DatasetOrder, *, write: bool) -> bool:
    """Whether the table's or a column's description differs from the Dataset's; with `write`, it is changed then."""
    with database.unlocked() as cursor:
        table = existing(cursor, database.schema, dataset.table)
        if table is None:
            raise sqltables.no_table(dataset)
        differing = sqltables.descriptions(table, dataset)
        if write and differing.table is not None:
            _comment_table(cursor, sql.Identifier(database.schema, dataset.table), differing.table)
        for name, about in differing.columns.items() if write else ():
            _comment_column(cursor, sql.Identifier(database.schema, dataset.table, name), about)
    return bool(differing)


def _create(cursor: PostgresCursor, schema: str, name: str, dataset: DatasetOrder, wanted: Sequence[Column]) -> None:
    """Create a table with its marker, its descriptions, and an index by input.

    The index is of the kind BRIN: rows of one input lie together, and it costs loading next to nothing.
    """
    table = sql.Identifier(schema, name)
    found_by = sqltables.input_column(wanted)
    definitions = sql.SQL(", ").join(map(columns.definition, wanted))
    cursor.own.execute(sql.SQL("CREATE TABLE {} ({})").format(table, definitions))
    index = "CREATE INDEX ON {} USING brin ({}) WITH (pages_per_range = 32, autosummarize = on)"
    cursor.own.execute(sql.SQL(index).format(table, sql.Identifier(found_by)))
    if name == dataset.table and dataset.schema_.key:
        alter.add_key(cursor, table, _key(dataset))
    for column in wanted:
        if column.description:
            _comment_column(cursor, sql.Identifier(schema, name, column.name), column.description)
    _comment_column(cursor, sql.Identifier(schema, name, found_by), f"{sqltables.OWNER}{dataset.owner.marker}")
    if name == dataset.table and dataset.description:
        _comment_table(cursor, table, dataset.description)


def _comment_table(cursor: PostgresCursor, table: sql.Identifier, text: str) -> None:
    cursor.own.execute(sql.SQL("COMMENT ON TABLE {} IS {}").format(table, sql.Literal(text)))


def _comment_column(cursor: PostgresCursor, column: sql.Identifier, text: str) -> None:
    cursor.own.execute(sql.SQL("COMMENT ON COLUMN {} IS {}").format(column, sql.Literal(text)))
