"""What tables that Subscriptions deliver into have in common in every SQL database: owner, columns, and batches.

Two tables lie beside them. `penstock_delivered_tables` has, for each, the newest claim to deliver into it, and the
columns that the newest delivery gave it. `penstock_batches` has a row for each batch that was delivered, entered in the
transaction that delivers its rows. The SQL is what PostgreSQL and DuckDB have in common.

A delivery has two transactions. The first one claims the table. Then the Dataset's ledger is asked whether this worker
still has the lease, and the second transaction delivers, if the claim is still the newest one. So no worker delivers
whose lease another one has taken: that one either took it before the ledger was asked, or claims the table later.
"""

import json
import secrets
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass

from penstock.language.errors import InvalidSpec, NotYet
from penstock.runs.report import DeliveryReport
from penstock.worker.ports import differences
from penstock.worker.ports.differences import Change
from penstock.worker.ports.ledger import Cursor
from penstock.worker.ports.target import Batch
from penstock.worker.sqltables import NO_DATASET, OWNER, Column, ExistingTable

_TABLES = (
    """CREATE TABLE IF NOT EXISTS penstock_delivered_tables (
  name TEXT NOT NULL PRIMARY KEY, claim TEXT NOT NULL, layout TEXT)""",
    """CREATE TABLE IF NOT EXISTS penstock_batches (
  owner TEXT NOT NULL, name TEXT NOT NULL, batch TEXT NOT NULL, run TEXT NOT NULL, report TEXT NOT NULL,
  PRIMARY KEY (owner, name, batch))""",
)
_SUBSCRIPTION = "subscription:"
"""How the identities of Subscriptions begin."""


@dataclass(frozen=True)
class Delivered:
    """A column as the newest delivery made it: of which field of the Dataset it was, its name, its type."""

    source: str
    name: str
    type: str


@dataclass(frozen=True)
class Claim:
    """The right to deliver a batch into its table, until another worker claims the table."""

    token: str
    layout: tuple[Delivered, ...] | None
    """The columns that the newest delivery gave the table; None before the first."""
    earlier: DeliveryReport | None
    """The report of an earlier attempt that had delivered the batch."""


def name_of(batch: Batch) -> str:
    """The table of a batch. Raises InvalidSpec where its order names none."""
    if batch.order.table is None:
        raise InvalidSpec(f"{title(batch)}: name the table in settings.table.")
    return batch.order.table


def title(batch: Batch) -> str:
    """Whose delivery it is, for messages."""
    return _title(batch.identity)


def marker(batch: Batch) -> str:
    """The comment that a table of this Subscription has."""
    return f"{OWNER}{batch.identity}"


def columns(batch: Batch) -> list[Column]:
    """The columns of the batch's table. None of them is required: what is required may change from batch to batch."""
    return [Column(column.target, column.type.replace(" ", ""), required=False) for column in batch.columns]


def begin(cursor: Cursor, table: ExistingTable | None, batch: Batch) -> Claim:
    """Claim the batch's table, which is there as `table`; in a transaction of its own.

    Raises InvalidSpec: TableConflict (the table is not this Subscription's), SchemaChanged (another program altered
    it).
    """
    for statement in _TABLES:
        cursor.execute(statement)
    name = name_of(batch)
    cursor.execute("SELECT layout FROM penstock_delivered_tables WHERE name = ?", (name,))
    row = cursor.fetchone()
    layout = None if row is None or row[0] is None else tuple(Delivered(**each) for each in json.loads(row[0]))
    if table is not None:
        require_owner(table, batch)
        _require_unaltered(table, batch, layout)
    token = secrets.token_hex(16)
    cursor.execute(
        "INSERT INTO penstock_delivered_tables (name, claim) VALUES (?, ?) "
        "ON CONFLICT (name) DO UPDATE SET claim = excluded.claim",
        (name, token),
    )
    # Read after the claim is entered: who had it before has ended its delivery now, or cannot end it any more.
    cursor.execute(
        "SELECT report FROM penstock_batches WHERE owner = ? AND name = ? AND batch = ?",
        (batch.identity, name, batch.id),
    )
    done = cursor.fetchone()
    earlier = None
    if done is not None:
        earlier = DeliveryReport.model_validate_json(done[0]).model_copy(update={"earlier": True})
    return Claim(token, layout, earlier)


def finish(cursor: Cursor, claim: Claim, batch: Batch, report: DeliveryReport) -> None:
    """Enter the batch as delivered, in the transaction that delivers its rows.

    Raises NotYet (LeaseHeld) when another worker has claimed the table; the transaction must not be committed then.
    """
    name = name_of(batch)
    layout = [asdict(Delivered(each.source, each.target, each.type.replace(" ", ""))) for each in batch.columns]
    cursor.execute(
        "UPDATE penstock_delivered_tables SET layout = ? WHERE name = ? AND claim = ?",
        (json.dumps(layout), name, claim.token),
    )
    if cursor.rowcount != 1:
        message = f"{title(batch)}: another worker delivers into table {name}; this one stops. Nothing was delivered."
        raise NotYet(message, "LeaseHeld")
    cursor.execute(
        "INSERT INTO penstock_batches (owner, name, batch, run, report) VALUES (?, ?, ?, ?, ?)",
        (batch.identity, name, batch.id, batch.run, report.model_dump_json()),
    )


def require_owner(table: ExistingTable, batch: Batch) -> None:
    """Raise InvalidSpec (TableConflict) unless it is a table of this Subscription."""
    if table.ordinary and table.comment == marker(batch):
        return
    if not table.ordinary:
        why = "is not a table"
    elif table.owner != NO_DATASET:
        why = f"belongs to Dataset {table.owner}"
    elif table.comment.startswith(OWNER):
        why = f"belongs to {_title(table.comment.removeprefix(OWNER))}"
    else:
        why = "was not created by Penstock, or has lost the comment that says so"
    message = f"{title(batch)}: table {table.name} {why}. Choose another settings.table, or drop the table."
    raise InvalidSpec(message, "TableConflict")


def changes(table: ExistingTable, batch: Batch, layout: Sequence[Delivered] | None) -> list[Change]:
    """How the table's columns differ from those of the batch; neither their order nor what is required counts."""
    there = [differences.Column(column.name, column.kind, required=False) for column in table.columns]
    wanted = [differences.Column(column.name, column.kind, required=False) for column in columns(batch)]
    every = differences.between(there, wanted, _renamed(batch, layout or ()))
    return [change for change in every if change.kind != "Reorder"]


def require_count(batch: Batch, sent: int, arrived: int) -> None:
    """Raise NotYet (CountMismatch) unless all rows that were sent are in the table."""
    if sent != arrived:
        message = (
            f"{title(batch)}: {sent} rows were sent to table {name_of(batch)}, and {arrived} arrived. Look for a "
            "trigger or a rule on it. Nothing was delivered."
        )
        raise NotYet(message, "CountMismatch")


def _require_unaltered(table: ExistingTable, batch: Batch, layout: Sequence[Delivered] | None) -> None:
    """Raise InvalidSpec (SchemaChanged) where another program has altered the table since the newest delivery."""
    if layout is None or not changes(table, batch, layout):
        return
    there = [differences.Column(column.name, column.kind, required=False) for column in table.columns]
    delivered = [differences.Column(column.name, column.type, required=False) for column in layout]
    altered = [change for change in differences.between(there, delivered, {}) if change.kind != "Reorder"]
    if altered:
        listed = "; ".join(change.sentence for change in altered)
        message = (
            f"{title(batch)}: another program has altered table {table.name} since the newest delivery: {listed}. "
            "Nothing was delivered. Undo that, or drop the table: the next delivery creates it again."
        )
        raise InvalidSpec(message, "SchemaChanged")


def _renamed(batch: Batch, layout: Sequence[Delivered]) -> Mapping[str, str]:
    """By a column's name, the name that the table's column of the same field has."""
    before = {column.source: column.name for column in layout}
    wanted = {column.target for column in batch.columns}
    renamed = {}
    for column in batch.columns:
        old = before.get(column.source) or before.get(column.former or "")
        if old is not None and old != column.target and old not in wanted:
            renamed[column.target] = old
    return renamed


def _title(identity: str) -> str:
    if identity.startswith(_SUBSCRIPTION):
        return f"Subscription {identity.removeprefix(_SUBSCRIPTION)}"
    return identity
