"""What the worker asks of a system that holds Datasets: tables with lineage, staging, one transaction, scans.

The worker calls, in this order: `ensure`, `claim`, `sweep`, `writer` (several, from several threads), `publish`.
What a Writer returns is JSON: another process can publish it.
"""

from collections.abc import Mapping, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from typing import Any, Protocol

import pyarrow as pa

from penstock.language import times
from penstock.language.traits import WriteMode
from penstock.runs.order import DatasetOrder, DestinationOrder
from penstock.runs.report import ColumnReport, DatasetReport
from penstock.worker.pod import Pod
from penstock.worker.ports.differences import Change
from penstock.worker.ports.ledger import Attempt, Claim, InputEntry, Ledger, Settlement

Json = Any

INPUT_ID, LOAD_ID, LOADED_AT = "_penstock_input_id", "_penstock_load_id", "_penstock_loaded_at"
LINEAGE = pa.schema(
    [
        pa.field(INPUT_ID, pa.int64()),  # the ledger's id of the input version that the row came from
        pa.field(LOAD_ID, pa.int64()),  # the claim whose commit last changed the row's values; only grows
        pa.field(LOADED_AT, pa.timestamp("us", "UTC")),
    ]
)
"""The metadata columns that every table has after its own; rows of another writer have nulls in them."""

QUARANTINE = pa.schema(
    [
        pa.field("run", pa.string(), nullable=False),
        pa.field("load_id", pa.int64(), nullable=False),
        pa.field("input_id", pa.int64(), nullable=False),
        pa.field("stream", pa.string(), nullable=False),
        pa.field("input", pa.string(), nullable=False),  # its name: the URL of a file, a table
        pa.field("locator", pa.string(), nullable=False),  # for people: `<file>:<line>`, a key, a page and index
        pa.field("position", pa.int64()),  # the line, the row of a Parquet file, the index in a page; from 1
        pa.field("key", pa.string()),  # the row's key as text, where the stream has one
        pa.field("stage", pa.string(), nullable=False),  # input, read, shape (types), quality (rules)
        pa.field("field", pa.string()),  # the first field that failed
        pa.field("reason", pa.string(), nullable=False),  # what is wrong, in general: a code of `rows.quarantine`
        pa.field("message", pa.string(), nullable=False),  # every reason, with values that are not sensitive
        pa.field("payload", pa.string()),  # the row as it was read; sensitive values are masked
        pa.field("payload_encoding", pa.string(), nullable=False),  # utf-8, or base64 for bytes that are no text
        pa.field("complete", pa.bool_(), nullable=False),  # whether the payload is the whole row, unmasked and uncut
        pa.field("schema", pa.string(), nullable=False),  # hash of the Dataset's schema then
        pa.field("at", pa.timestamp("us", "UTC"), nullable=False),
        pa.field("state", pa.string(), nullable=False),  # open, resolved
        pa.field("resolved_by", pa.int64()),  # the load id that resolved it
    ]
)
"""The columns of every quarantine table, in whatever store."""

ORDER = pa.field("_penstock_order", pa.int64(), nullable=False)
"""The column that staged rows of an upsert have last: of two rows of one input, the one read later has the greater."""


def staged_schema(table: pa.Schema, mode: WriteMode) -> pa.Schema:
    """What is staged for a table, whose own columns and those of `LINEAGE` are given."""
    return table.append(ORDER) if mode == "upsert" else table


@dataclass(frozen=True)
class Traits:
    """What a store can do, for the docs and for messages."""

    snapshots: bool
    """Whether an earlier state can be scanned."""
    access: str
    """How the rows of one input are found, in a sentence."""
    forbidden_characters: str = ""
    """Characters that no text can have there: a row that has one in a field is bad."""
    longest_key: int | None = None
    """Bytes that the texts of a primary key can have together, each the same share of them; None: any number."""


@dataclass(frozen=True)
class Standing:
    """How a Dataset's tables stand now."""

    table: str
    """The table's full name in its store."""
    rows: int
    bytes: int
    quarantined: int
    snapshot: str | None
    columns: tuple[ColumnReport, ...]
    """The Dataset's own columns, without lineage."""


@dataclass(frozen=True)
class Scan:
    """Rows being read, in an order that is the same each time the same snapshot is scanned."""

    rows: pa.RecordBatchReader
    total: int
    """How many rows there are in all, by the store's own count."""
    snapshot: str | None
    """What was scanned, to be scanned again; None where there is no data yet."""


class Writer(Protocol):
    """Stages rows and bad rows, invisible until `TableStore.publish` names what `close` returned."""

    schema: pa.Schema
    """The table's columns, then `LINEAGE`, then `ORDER` where the Dataset is written by upsert."""

    def write(self, rows: pa.Table) -> None:
        """Stage rows that have `schema`, or columns that can be cast to it, in its order; any thread may."""

    def reject(self, rows: pa.Table) -> None:
        """Stage entries of the quarantine, which have the schema `QUARANTINE`; any thread may."""

    def close(self) -> "Staged":
        """End staging, and count what is really there. Called once."""

    def discard(self) -> None:
        """Remove what was staged, also after `close` or another `discard`; never raises for a full disk."""


@dataclass(frozen=True)
class Staged:
    """What a Writer has staged. `content` is opaque JSON; the counts are those of the store, not of who wrote."""

    content: Json
    rows: int
    rejected: int


@dataclass(frozen=True)
class Merged:
    """What has become of the staged rows of an upsert, by the ids of their inputs; all others are loaded.

    And which rows of the table they have displaced.
    """

    superseded: Mapping[int, int] = field(default_factory=dict)
    """Rows with the key of a later row, which was staged too or is in the table."""
    unchanged: Mapping[int, int] = field(default_factory=dict)
    """Rows that the table has with equal values. They change nothing, nor the lineage of the row that is there."""
    displaced: Mapping[int, int] = field(default_factory=dict)
    """Rows of the table that got other values, by the inputs that they came from so far."""

    def rows_of(self, input_id: int) -> int:
        """How many rows of an input are not loaded."""
        return self.superseded.get(input_id, 0) + self.unchanged.get(input_id, 0)


NOTHING_MERGED = Merged()


@dataclass(frozen=True)
class Publication:
    """What one commit changes. All of it becomes visible in one transaction, or nothing.

    In an upsert each staged row replaces the table's row with the same key, unless another row with that key is
    later: by the Dataset's version field (a null is the earliest), then by the input's id, then by `ORDER`. A row
    in the table is earlier than a staged one of the same version. It keeps its lineage where all values are equal.
    """

    dataset: DatasetOrder
    identity: str
    stream: str
    mode: WriteMode
    staged: tuple[Staged, ...]
    inputs: tuple[InputEntry, ...]
    """What was read, and what was refused."""
    leaving: tuple[int, ...]
    """Ids of the inputs whose quarantine entries leave, and (append) their rows.

    A replace removes all that is there. An upsert removes no rows by their input: the ledger keeps these inputs as
    `replaced` as long as rows that have not changed name them.
    """
    state_before: Json
    """The stream's state that the run began with; the commit fails where it is another one by now."""
    state: Json
    report: DatasetReport
    """What to answer for this run from now on; all staged rows count as loaded, and none as replaced."""
    displaced: Mapping[int, int] = field(default_factory=dict)
    """As `Merged.displaced`, of a completed publication."""

    def completed(self, replaced: int, merged: Merged = NOTHING_MERGED) -> "Publication":
        """The publication with the number of rows that left, and with what was merged, in its report and inputs."""
        superseded, unchanged = sum(merged.superseded.values()), sum(merged.unchanged.values())
        loaded = self.report.counts.loaded - superseded - unchanged
        update = {"replaced": replaced, "loaded": loaded, "superseded": superseded, "unchanged": unchanged}
        counts = self.report.counts.model_copy(update=update)
        inputs = tuple(replace(each, rows=each.rows - merged.rows_of(each.id)) for each in self.inputs)
        completed = self.report.model_copy(update={"counts": counts})
        return replace(self, report=completed, inputs=inputs, displaced=merged.displaced)

    def settlement(self) -> Settlement:
        """What the ledger enters with this commit, of a completed publication.

        By a cursor, most runs of an upsert read rows that are there already: such an input is not entered, since no row
        names it.
        """
        counts, inputs = self.report.counts, self.inputs
        if self.dataset.cursor is not None:
            inputs = tuple(each for each in inputs if each.rows or each.quarantined or each.state != "loaded")
        return Settlement(
            report=self.report.model_dump_json(),
            loaded=counts.loaded,
            quarantined=counts.quarantined,
            committed_at=times.text(datetime.now(UTC)),
            identity=self.identity,
            stream=self.stream,
            inputs=inputs,
            leaving=self.leaving,
            keep=self.mode == "upsert",
            displaced=self.displaced,
            emptied=self.mode == "replace",
            state_before=self.state_before,
            state=self.state,
        )


class TableStore(Protocol):
    """A system that holds Datasets. Made as `Implementation(destination, pod)`. Raises InvalidSpec and NotYet."""

    traits: Traits
    ledger: Ledger

    def __init__(self, destination: DestinationOrder, pod: Pod) -> None: ...

    def check(self) -> None:
        """Raise InvalidSpec or NotYet unless tables can be written here."""

    def claim(self, dataset: DatasetOrder, attempt: Attempt, lease: float = 60.0) -> AbstractContextManager[Claim]:
        """The right to write the Dataset: the ledger's claim, as `Ledger.claim` has it."""

    def ensure(self, dataset: DatasetOrder) -> None:
        """Create the Dataset's table and quarantine where they are missing.

        Raises InvalidSpec with TableConflict (another owner's table) or SchemaChanged (as `differences.check`), NotYet
        (DatasetNotReady) when `alter` has yet to make the changes.
        """

    def changes(self, dataset: DatasetOrder) -> list[Change]:
        """How the table differs from the Dataset's schema; empty while there is no table.

        Raises InvalidSpec (TableConflict) when it is another owner's.
        """

    def alter(self, dataset: DatasetOrder, claim: Claim) -> list[Change]:
        """Bring the table's columns to the Dataset's schema in one step; the changes made.

        All changes are made while the table has no rows; later only safe ones. Raises as `differences.check`, and
        NotYet (LeaseHeld) when another program has changed the table meanwhile; nothing is changed then.
        """

    def describe(self, dataset: DatasetOrder, claim: Claim | None) -> bool:
        """Bring the descriptions of table and columns to what the Dataset says; needs a claim.

        Without one, nothing is changed, and the answer is whether they differ.
        """

    def sweep(self, claim: Claim, dataset: DatasetOrder) -> int:
        """Remove what killed attempts of this run have staged, and what is old and of no snapshot; how much it was."""

    def writer(self, claim: Claim, dataset: DatasetOrder, part: str) -> Writer:
        """A new staging place; `part` tells it from the others of this claim."""

    def publish(self, claim: Claim, publication: Publication) -> DatasetReport:
        """Commit: the ledger's settlement, rows, quarantine and removals in one transaction; the completed report.

        Rows are removed by their `_penstock_input_id`, whatever has rewritten the table since. Raises NotYet
        (LeaseHeld) when the table was changed meanwhile or the claim is lost; nothing is committed then.
        """

    def standing(self, dataset: DatasetOrder) -> Standing | None:
        """How the tables stand; None while there is none."""

    def scan(self, dataset: DatasetOrder, columns: Sequence[str], at: str | None = None) -> Scan:
        """The rows of a snapshot, by default the newest; only these columns, which may be those of `LINEAGE`.

        Raises NotYet (DatasetNotReady) when there is no table, or the snapshot is gone.
        """

    def same_order(self, dataset: DatasetOrder) -> AbstractContextManager[None]:
        """Until the block ends, scans of one snapshot have the same rows in the same order.

        Other programs cannot change that, such as a VACUUM FULL of PostgreSQL.
        """

    def scan_quarantine(self, dataset: DatasetOrder) -> Scan:
        """The entries of the quarantine as they are now."""
