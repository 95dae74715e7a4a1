"""The commit: rows, quarantine, removals and ledger in one database transaction, or nothing.

Everything before that transaction only writes files that nobody sees.
"""

from collections.abc import Sequence
from datetime import UTC, datetime

from penstock.connectors.lake import locations, removal, snapshots, tables
from penstock.connectors.lake.removal import Removal
from penstock.connectors.lake.snapshots import Swap
from penstock.connectors.lake.tables import Lake, Tables
from penstock.language.errors import NotYet
from penstock.runs.report import DatasetReport
from penstock.worker import steps
from penstock.worker.ledger import SqlLedger
from penstock.worker.ports.ledger import Claim, Cursor, Settlement
from penstock.worker.ports.tablestore import INPUT_ID, Publication


def publish(lake: Lake, claim: Claim, into: Tables, publication: Publication, name: str) -> DatasetReport:
    """Commit the publication; the report with the rows that left. `name` begins the names of rewritten files.

    Raises NotYet (LeaseHeld, CountMismatch); nothing is committed then.
    """
    removals = _removals(into, publication, name)
    counts = publication.report.counts.model_copy(update={"replaced": removals[0].rows})
    report = publication.report.model_copy(update={"counts": counts})
    settlement = Settlement(
        report=report.model_dump_json(),
        loaded=counts.loaded,
        quarantined=counts.quarantined,
        committed_at=datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%SZ"),
        identity=publication.identity,
        stream=publication.stream,
        inputs=publication.inputs,
        leaving=publication.leaving,
        state_before=publication.state_before,
        state=publication.state,
    )
    swaps = _swaps(claim, into, publication, removals)
    steps.reached("metadata written")
    try:
        with lake.database.transaction() as cursor:
            SqlLedger(lake.database).settle(cursor, claim, settlement)
            for swap in swaps:
                _swap(cursor, swap, claim)
            steps.reached("before the commit")
        steps.reached("committed")
    except BaseException:
        _discard(lake, swaps)
        raise
    return report


def _removals(into: Tables, publication: Publication, name: str) -> tuple[Removal, Removal]:
    if publication.mode == "replace":
        return removal.everything(into.data), removal.everything(into.quarantine)
    leaving = frozenset(publication.leaving)
    data, quarantine = (tables.folder(table) / name for table in into.both)
    return (
        removal.rows_of_inputs(into.data, INPUT_ID, leaving, data),
        removal.rows_of_inputs(into.quarantine, "input_id", leaving, quarantine),
    )


def _swaps(claim: Claim, into: Tables, publication: Publication, removals: Sequence[Removal]) -> list[Swap]:
    """Write the next metadata of each table that changes."""
    properties = {"penstock.run": claim.run, "penstock.load-id": str(claim.load_id)}
    swaps: list[Swap] = []
    for table, which, removed in zip(into.both, ("data", "quarantine"), removals, strict=True):
        staged = [locations.path(uri) for part in publication.staged for uri in part.content[which]]
        added = [*staged, *removed.added]
        if added or removed.dropped:
            swaps.append(snapshots.prepare(table, added, removed.dropped, properties))
    return swaps


def _swap(cursor: Cursor, swap: Swap, claim: Claim) -> None:
    """Put the new metadata in the old one's place, if that is still the old one."""
    cursor.execute(
        "UPDATE iceberg_tables SET metadata_location = ?, previous_metadata_location = ? "
        "WHERE catalog_name = ? AND table_namespace = ? AND table_name = ? AND metadata_location = ?",
        (swap.after, swap.before, tables.CATALOG, tables.NAMESPACE, swap.table, swap.before),
    )
    if cursor.rowcount != 1:
        message = f"{claim.subject}: table {swap.table} was changed by another program meanwhile."
        raise NotYet(f"{message} Nothing was committed to it.", "LeaseHeld")


def _discard(lake: Lake, swaps: Sequence[Swap]) -> None:
    """Remove the metadata of a commit that failed, after asking the catalog whether it really did.

    A signal may arrive when the database has committed and we do not know it yet; metadata in use is never removed.
    """
    try:
        with lake.database.transaction() as cursor:
            cursor.execute("SELECT metadata_location FROM iceberg_tables")
            used = {row[0] for row in cursor.fetchall()}
    except Exception as error:
        if not lake.database.is_failure(error):
            raise
        return  # a few small files are left behind
    if not any(swap.after in used for swap in swaps):
        for swap in swaps:
            snapshots.discard(lake.warehouse, swap)
