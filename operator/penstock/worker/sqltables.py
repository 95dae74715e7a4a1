"""What tables of Datasets have in common in every SQL database: their columns, their owner, and their commits.

The table `penstock_tables` lies beside them. It has what the commits to each table have left, so that its standing and
what a delivery may read need no scan. Its SQL is what PostgreSQL and DuckDB have in common.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import pyarrow as pa

from penstock.api import checks
from penstock.language.errors import InvalidSpec, NotYet
from penstock.runs.order import DatasetOrder
from penstock.runs.report import ColumnReport
from penstock.worker.ports import differences
from penstock.worker.ports.differences import Change
from penstock.worker.ports.ledger import Claim, Cursor
from penstock.worker.ports.tablestore import (
    INPUT_ID,
    LINEAGE,
    LOAD_ID,
    LOADED_AT,
    NOTHING_MERGED,
    QUARANTINE,
    Merged,
    Staged,
    Standing,
)
from penstock.worker.rows import direct

OWNER = "penstock.owner="
"""Begins the comment on the column by which rows are found. A comment stays with the table, also in a dump."""
NO_DATASET = "no Dataset"
"""What `ExistingTable.owner` says of a table that has no such comment."""
INPUT_COLUMNS = (INPUT_ID, "input_id")
"""The columns of the two tables by which the rows of an input are found."""
_COMMITS = """CREATE TABLE IF NOT EXISTS penstock_tables (
  name TEXT NOT NULL PRIMARY KEY, load_id BIGINT NOT NULL DEFAULT 0, removal_load_id BIGINT NOT NULL DEFAULT 0,
  rows_there BIGINT NOT NULL DEFAULT 0, rows_rejected BIGINT NOT NULL DEFAULT 0)"""
_KINDS_OF_ARROW: Mapping[pa.DataType, str] = {
    pa.string(): "string",
    pa.int64(): "long",
    pa.bool_(): "boolean",
    pa.timestamp("us", "UTC"): "timestamptz",
}
_DESCRIPTIONS = {
    LOAD_ID: "The load that last changed the row's values; only grows.",
    LOADED_AT: "When the row was loaded.",
}


@dataclass(frozen=True)
class Column:
    """A column of a table: `kind` is the type of a Dataset's field, or the database's own name of another type."""

    name: str
    kind: str
    required: bool
    description: str = ""


@dataclass(frozen=True)
class ExistingTable:
    """A table as the database has it; `ordinary` is false for a view and the like."""

    name: str
    ordinary: bool
    comment: str
    columns: tuple[Column, ...]

    @property
    def owner(self) -> str:
        """Whose it is: `<namespace>/<name>`, or "no Dataset"."""
        comments = {column.name: column.description for column in self.columns}
        marks = [comments[name] for name in INPUT_COLUMNS if name in comments]
        return next((mark.removeprefix(OWNER) for mark in marks if mark.startswith(OWNER)), NO_DATASET)

    def require_owner(self, dataset: DatasetOrder) -> None:
        """Raise InvalidSpec (TableConflict) unless it is a table of this Dataset."""
        name = dataset.owner.name
        if not self.ordinary:
            message = f"Dataset {name}: {self.name} is not a table. Make a Dataset with another `table`."
            raise InvalidSpec(message, "TableConflict")
        if self.owner != dataset.owner.marker:
            message = f"Dataset {name}: table {self.name} belongs to {self.owner}. Make a Dataset with another `table`."
            raise InvalidSpec(message, "TableConflict")


def columns_of_table(dataset: DatasetOrder) -> list[Column]:
    """The columns that the Dataset's fields describe, and those of lineage after them."""
    own = [
        Column(field.name, field.type.replace(" ", ""), bool(field.required), field.description or "")
        for field in dataset.schema_.fields
    ]
    return own + _from_arrow(LINEAGE)


def columns_of_quarantine() -> list[Column]:
    """The columns of every quarantine table."""
    return _from_arrow(QUARANTINE)


def columns_of_both(dataset: DatasetOrder) -> dict[str, list[Column]]:
    """The columns of the Dataset's table and of its quarantine, by the tables' names."""
    return {dataset.table: columns_of_table(dataset), checks.quarantine_table(dataset.table): columns_of_quarantine()}


def arrow(columns: Sequence[Column]) -> pa.Schema:
    """The columns as an Arrow schema."""
    return pa.schema([pa.field(column.name, direct.arrow_type(column.kind)) for column in columns])


def input_column(columns: Sequence[Column]) -> str:
    """The column by which the rows of an input are found, which carries the owner."""
    names = [column.name for column in columns]
    return next(name for name in INPUT_COLUMNS if name in names)


def missing(there: Sequence[Column], wanted: Sequence[Column], renamed: Mapping[str, str]) -> list[Change]:
    """How the table's columns differ from the wanted ones; neither their descriptions nor their order count."""
    every = differences.between([_plain(column) for column in there], [_plain(column) for column in wanted], renamed)
    return [change for change in every if change.kind != "Reorder"]


def renamed(dataset: DatasetOrder, name: str) -> dict[str, str]:
    """The renamed columns of one of the Dataset's tables; those of the quarantine are never renamed."""
    return dataset.schema_.renamed if name == dataset.table else {}


def statements_for(made: Sequence[Change]) -> list[Change]:
    """The changes that need a statement: a Retype creates the column again, with or without NOT NULL."""
    retyped = {change.column for change in made if change.kind == "Retype"}
    return [change for change in made if change.kind not in ("Require", "Relax") or change.column not in retyped]


def _plain(column: Column) -> differences.Column:
    return differences.Column(column.name, column.kind, column.required)


def _from_arrow(schema: pa.Schema) -> list[Column]:
    return [
        Column(each.name, _KINDS_OF_ARROW[each.type], not each.nullable, _DESCRIPTIONS.get(each.name, ""))
        for each in schema
    ]


def dropped(dataset: DatasetOrder, name: str) -> NotYet:
    """What a load says whose table is not there any more."""
    message = f"Dataset {dataset.owner.name}: table {name} was dropped meanwhile. The run is tried again."
    return NotYet(message, "DatasetNotReady")


def no_table(dataset: DatasetOrder) -> NotYet:
    """What is said of a Dataset whose table has yet to be created."""
    return NotYet(f"Dataset {dataset.owner.name} has no table yet.", "DatasetNotReady")


@dataclass(frozen=True)
class Descriptions:
    """The descriptions that differ from what a Dataset says: of the table, None where it does not, and of columns."""

    table: str | None
    columns: Mapping[str, str]

    def __bool__(self) -> bool:
        return self.table is not None or bool(self.columns)


def descriptions(table: ExistingTable, dataset: DatasetOrder) -> Descriptions:
    """The descriptions that the table lacks."""
    comment = dataset.description or ""
    there = {column.name: column.description for column in table.columns}
    wanted = {field.name: field.description or "" for field in dataset.schema_.fields}
    differing = {name: about for name, about in wanted.items() if there.get(name, about) != about}
    return Descriptions(comment if table.comment != comment else None, differing)


@dataclass(frozen=True)
class Commits:
    """What the commits to a table have left. The ids are of loads, the newest that changed it and that removed rows."""

    load_id: int
    removal_load_id: int
    rows: int
    rejected: int

    @property
    def snapshot(self) -> str | None:
        """The name of what is there now; None before the first load."""
        return str(self.load_id) if self.load_id else None

    def require_readable(self, at: str | None, table: str, system: str) -> None:
        """Raise NotYet (DatasetNotReady) where rows that were there after the load `at` have left."""
        if at is not None and self.removal_load_id > int(at):
            message = (
                f"Load {self.removal_load_id} has removed rows of table {table} since load {at} was recorded for this "
                f"run, and {system} keeps no snapshots. The next run takes what is there then."
            )
            raise NotYet(message, "DatasetNotReady")


def create_commits(cursor: Cursor) -> None:
    """Create the table of `Commits` where it is missing."""
    cursor.execute(_COMMITS)


def begin_commits(cursor: Cursor, name: str) -> None:
    """Enter a table that has just been created, in place of a dropped one of its name."""
    cursor.execute("DELETE FROM penstock_tables WHERE name = ?", (name,))
    cursor.execute("INSERT INTO penstock_tables (name) VALUES (?)", (name,))


def commits(cursor: Cursor, name: str) -> Commits:
    """What the commits to this table have left."""
    cursor.execute(
        "SELECT load_id, removal_load_id, rows_there, rows_rejected FROM penstock_tables WHERE name = ?", (name,)
    )
    row = cursor.fetchone()
    return Commits(0, 0, 0, 0) if row is None else Commits(*row)


@dataclass(frozen=True)
class Moved:
    """How many rows came into a table with a commit, and left it; staged rows that need not come are in `merged`."""

    added: int
    removed: int
    merged: Merged = NOTHING_MERGED


def require_moved(staged: Sequence[Staged], rows: Moved, entries: Moved, claim: Claim) -> None:
    """Raise NotYet (CountMismatch) unless all that was staged, and nothing else, has come into the two tables."""
    expected = sum(each.rows for each in staged), sum(each.rejected for each in staged)
    merged = sum(rows.merged.superseded.values()) + sum(rows.merged.unchanged.values())
    if expected == (rows.added + merged, entries.added):
        return
    message = (
        f"{claim.subject}: {expected[0]} rows and {expected[1]} quarantine entries were staged; {rows.added} and "
        f"{entries.added} arrived in the tables. Look for a trigger or a rule on them. Nothing was committed."
    )
    raise NotYet(message, "CountMismatch")


def enter(cursor: Cursor, name: str, claim: Claim, rows: Moved, entries: Moved) -> None:
    """Add up what the two tables hold after a commit."""
    if not (rows.added or rows.removed or entries.added or entries.removed):
        return
    cursor.execute(
        "UPDATE penstock_tables SET load_id = ?, rows_there = rows_there + ?, rows_rejected = rows_rejected + ?, "
        "removal_load_id = CASE WHEN ? THEN ? ELSE removal_load_id END WHERE name = ?",
        (
            claim.load_id,
            rows.added - rows.removed,
            entries.added - entries.removed,
            rows.removed > 0,
            claim.load_id,
            name,
        ),
    )


def standing(table: ExistingTable, name: str, size: int, newest: Commits) -> Standing:
    """How a table stands; `name` is its full one, `size` its bytes."""
    return Standing(
        table=name,
        rows=newest.rows,
        bytes=size,
        quarantined=newest.rejected,
        snapshot=newest.snapshot,
        columns=tuple(
            ColumnReport(name=column.name, type=column.kind)
            for column in table.columns
            if column.name not in LINEAGE.names
        ),
    )
