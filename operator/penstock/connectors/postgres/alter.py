"""Changing a table's columns: all changes in one transaction. The order of columns is of no account here."""

from collections.abc import Iterator, Mapping, Sequence

from psycopg import sql

from penstock.connectors.postgres.columns import Column
from penstock.connectors.postgres.database import PostgresCursor
from penstock.worker.ports import differences
from penstock.worker.ports.differences import Change


def missing(there: Sequence[Column], wanted: Sequence[Column], renamed: Mapping[str, str]) -> list[Change]:
    """How the table's columns differ from the wanted ones; neither their descriptions nor their order count."""
    every = differences.between([_plain(column) for column in there], [_plain(column) for column in wanted], renamed)
    return [change for change in every if change.kind != "Reorder"]


def _plain(column: Column) -> differences.Column:
    return differences.Column(column.name, column.kind, column.required)


def alter(cursor: PostgresCursor, table: sql.Identifier, wanted: Sequence[Column], made: Sequence[Change]) -> None:
    """Make the changes. A wider `long` has the server write the table again; the others change its catalog alone."""
    new = {column.name: column for column in wanted}
    retyped = {change.column for change in made if change.kind == "Retype"}
    for change in made:
        if change.kind in ("Require", "Relax") and change.column in retyped:
            continue  # the new column has that already
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
            yield sql.SQL("ADD COLUMN {}").format(new[change.column].definition)
        case "Retype":
            yield sql.SQL("DROP COLUMN {}").format(name)
            yield sql.SQL("ADD COLUMN {}").format(new[change.column].definition)
        case "Widen":
            yield sql.SQL("ALTER COLUMN {} TYPE {}").format(name, sql.SQL(new[change.column].type))
        case "Require" | "Relax":
            action = "SET NOT NULL" if change.kind == "Require" else "DROP NOT NULL"
            yield sql.SQL("ALTER COLUMN {} {}").format(name, sql.SQL(action))
