"""The commit: rows, quarantine, removals and ledger in one database transaction, or nothing.

Everything before that transaction only writes files that nobody sees.
"""

from collections.abc import Sequence

from penstock.connectors.lake import snapshots, staging, tables
from penstock.connectors.lake.copying import Upsert
from penstock.connectors.lake.merge import Upserting
from penstock.connectors.lake.removal import Removal, Removing
from penstock.connectors.lake.snapshots import Swap
from penstock.connectors.lake.tables import Lake, Tables
from penstock.language.errors import NotYet
from penstock.runs.report import DatasetReport
from penstock.worker import steps
from penstock.worker.ledger import SqlLedger
from penstock.worker.pod import Pod
from penstock.worker.ports.ledger import Claim, Cursor
from penstock.worker.ports.tablestore import INPUT_ID, Publication


def publish(lake: Lake, claim: Claim, into: Tables, publication: Publication, pod: Pod) -> DatasetReport:
    """Commit the publication; the report with the rows that left.

    Raises NotYet (LeaseHeld, CountMismatch) and, of an upsert, InvalidSpec; nothing is committed then.
    """
    name = staging.data_name(claim, "kept")
    changes: tuple[Upsert | Removal, Removal]
    if publication.mode == "upsert":
        changes, completed = _merge(lake, claim, into, publication, pod)
    else:
        changes = _removals(lake, into, publication, name)
        completed = publication.completed(replaced=changes[0].rows)
    settlement = completed.settlement()
    swaps = _swaps(lake, claim, into, changes)
    steps.reached("metadata written")
    try:
        with lake.database.transaction() as cursor:
            SqlLedger(lake.database).settle(cursor, claim, settlement)
            for swap in swaps:
                _swap(lake, cursor, swap, claim)
            steps.reached("before the commit")
        steps.reached("committed")
    except BaseException:
        _discard(lake, swaps)
        raise
    return completed.report


def _removals(lake: Lake, into: Tables, publication: Publication, name: str) -> tuple[Removal, Removal]:
    """What leaves both tables, and what was staged for them."""
    data, quarantine = (Removing(lake.warehouse, table, f"{tables.folder(table)}/{name}") for table in into.both)
    leaving = frozenset(publication.leaving)
    if publication.mode == "replace":
        removals = data.everything(), quarantine.everything()
    else:
        removals = data.rows_of_inputs(INPUT_ID, leaving), quarantine.rows_of_inputs("input_id", leaving)
    for removal, which in zip(removals, ("data", "quarantine"), strict=True):
        removal.added += _staged(publication, which)
    return removals


def _merge(
    lake: Lake, claim: Claim, into: Tables, publication: Publication, pod: Pod
) -> tuple[tuple[Upsert, Removal], Publication]:
    """What an upsert changes in both tables, and the completed publication."""
    name = f"{tables.folder(into.data)}/{staging.data_name(claim, '')}"
    upserting = Upserting(lake.warehouse, into.data, publication.dataset, pod, name, into.data_schema)
    merged = upserting.upsert(_staged(publication, "data"))
    completed = publication.completed(merged.rows, merged.merged)
    written = sum(lake.warehouse.footer(location).metadata.num_rows for location in merged.added)
    dropped = sum(file.record_count for file in merged.dropped)
    if written - dropped != completed.report.counts.loaded - merged.rows:
        message = f"{claim.subject}: {written:,} rows were written for {dropped:,} and do not add up with the counts. "
        raise NotYet(f"{message}Nothing was committed.", "CountMismatch")
    bad = Removing(
        lake.warehouse, into.quarantine, f"{tables.folder(into.quarantine)}/{staging.data_name(claim, 'kept')}"
    )
    removal = bad.rows_of_inputs("input_id", frozenset(publication.leaving))
    removal.added += _staged(publication, "quarantine")
    return (merged, removal), completed


def _staged(publication: Publication, which: str) -> list[str]:
    """The locations of what was staged for one of the two tables."""
    return [location for part in publication.staged for location in part.content[which]]


def _swaps(lake: Lake, claim: Claim, into: Tables, changes: Sequence[Removal | Upsert]) -> list[Swap]:
    """Write the next metadata of each table that changes."""
    properties = {"penstock.run": claim.run, "penstock.load-id": str(claim.load_id)}
    commit = staging.commit_id(claim)
    swaps: list[Swap] = []
    for table, change in zip(into.both, changes, strict=True):
        if change.added or change.dropped:
            files = [*snapshots.data_files(lake.warehouse, table, change.added)]
            swaps.append(snapshots.prepare(lake.catalog, table, (files, change.dropped), properties, commit))
    return swaps


def _swap(lake: Lake, cursor: Cursor, swap: Swap, claim: Claim) -> None:
    if not lake.catalog.swap(cursor, swap.pointer):
        message = f"{claim.subject}: table {swap.pointer.table} was changed by another program meanwhile."
        raise NotYet(f"{message} Nothing was committed to it.", "LeaseHeld")


def _discard(lake: Lake, swaps: Sequence[Swap]) -> None:
    """Remove the metadata of a commit that failed, after asking the catalog whether it really did.

    A signal may arrive when the database has committed and we do not know it yet; metadata in use is never removed.
    """
    if not swaps:
        return
    try:
        if lake.catalog.used([swap.pointer.after for swap in swaps]):
            return
    except Exception as error:
        if not lake.database.is_failure(error):
            raise
        return  # a few small files are left behind, for the next run to sweep
    for swap in swaps:
        lake.warehouse.discard(swap.written)
