"""Changing a table's columns: all changes in one transaction. The order of columns is of no account here."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

from psycopg import sql

from penstock.connectors.postgres import columns
from penstock.connectors.postgres.database import PostgresCursor
from penstock.worker import sqltables
from penstock.worker.ports.differences import Change
from penstock.worker.sqltables import Column


@dataclass(frozen=True)
class Key:
    """The primary key that Penstock has given a table: the names of its columns and of its constraint."""

    columns: tuple[str, ...] = ()
    constraint: str = ""


KEY_SUFFIX = "_upsert_key"
"""How the names of these constraints end. A primary key with another name is somebody else's, and stays."""


def add_key(cursor: PostgresCursor, table: sql.Identifier, key: Key) -> None:
    """Make these columns the table's primary key."""
    names = sql.SQL(", ").join(map(sql.Identifier, key.columns))
    statement = sql.SQL("ALTER TABLE {} ADD CONSTRAINT {} PRIMARY KEY ({})")
    cursor.own.execute(statement.format(table, sql.Identifier(key.constraint), names))


def alter(
    cursor: PostgresCursor,
    table: sql.Identifier,
    wanted: Sequence[Column],
    made: Sequence[Change],
    keys: tuple[Key, Key],
) -> None:
    """Make the changes. A wider `long` has the server write the table again; the others change its catalog alone.

    `keys` are the primary key before and the one from now on. A column that is dropped takes its key along, so the key
    is made again then; the table has no rows.
    """
    before, after = keys
    again = any(change.kind in ("Key", "DropColumn", "Retype") for change in made)
    if again and before.columns:
        statement = sql.SQL("ALTER TABLE {} DROP CONSTRAINT {}")
        cursor.own.execute(statement.format(table, sql.Identifier(before.constraint)))
    _alter_columns(cursor, table, wanted, made)
    if again and after.columns:
        add_key(cursor, table, after)


def _alter_columns(
    cursor: PostgresCursor, table: sql.Identifier, wanted: Sequence[Column], made: Sequence[Change]
) -> None:
    new = {column.name: column for column in wanted}
    for change in sqltables.statements_for(made):
        for action in _actions(change, new):
            cursor.own.execute(sql.SQL("ALTER TABLE {} {}").format(table, action))


def _actions(change: Change, new: Mapping[str, Column]) -> Iterator[sql.Composable]:
    name = sql.Identifier(change.column)
    match change.kind:
        case "Rename":
            yield sql.SQL("RENAME COLUMN {} TO {}").format(sql.Identifier(change.before), name)
        case "DropColumn":
            yield sql.SQL("DROP COLUMN {}").format(name)
        case "AddColumn":
            yield sql.SQL("ADD COLUMN {}").format(columns.definition(new[change.column]))
        case "Retype":
            yield sql.SQL("DROP COLUMN {}").format(name)
            yield sql.SQL("ADD COLUMN {}").format(columns.definition(new[change.column]))
        case "Widen":
            yield sql.SQL("ALTER COLUMN {} TYPE {}").format(name, sql.SQL(columns.sql_type(new[change.column])))
        case "Require" | "Relax":
            action = "SET NOT NULL" if change.kind == "Require" else "DROP NOT NULL"
            yield sql.SQL("ALTER COLUMN {} {}").format(name, sql.SQL(action))
