"""The commit: rows, quarantine, removals and ledger in one database transaction, or nothing.

Everything before that transaction only writes files that nobody sees.
"""

from collections.abc import Sequence

from penstock.connectors.lake import snapshots, staging, tables
from penstock.connectors.lake.removal import Removal, Removing
from penstock.connectors.lake.snapshots import Swap
from penstock.connectors.lake.tables import Lake, Tables
from penstock.language.errors import NotYet
from penstock.runs.report import DatasetReport
from penstock.worker import steps
from penstock.worker.ledger import SqlLedger
from penstock.worker.ports.ledger import Claim, Cursor
from penstock.worker.ports.tablestore import INPUT_ID, Publication


def publish(lake: Lake, claim: Claim, into: Tables, publication: Publication, name: str) -> DatasetReport:
    """Commit the publication; the report with the rows that left. `name` begins the names of rewritten files.

    Raises NotYet (LeaseHeld, CountMismatch); nothing is committed then.
    """
    removals = _removals(lake, into, publication, name)
    completed = publication.completed(replaced=removals[0].rows)
    settlement = completed.settlement()
    swaps = _swaps(lake, claim, into, publication, removals)
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
    data, quarantine = (Removing(lake.warehouse, table, f"{tables.folder(table)}/{name}") for table in into.both)
    if publication.mode == "replace":
        return data.everything(), quarantine.everything()
    leaving = frozenset(publication.leaving)
    return data.rows_of_inputs(INPUT_ID, leaving), quarantine.rows_of_inputs("input_id", leaving)


def _swaps(lake: Lake, claim: Claim, into: Tables, publication: Publication, removals: Sequence[Removal]) -> list[Swap]:
    """Write the next metadata of each table that changes."""
    properties = {"penstock.run": claim.run, "penstock.load-id": str(claim.load_id)}
    commit = staging.commit_id(claim)
    swaps: list[Swap] = []
    for table, which, removed in zip(into.both, ("data", "quarantine"), removals, strict=True):
        staged = [location for part in publication.staged for location in part.content[which]]
        added = [*staged, *removed.added]
        if added or removed.dropped:
            files = [*snapshots.data_files(lake.warehouse, table, added)]
            swaps.append(snapshots.prepare(lake.catalog, table, (files, removed.dropped), properties, commit))
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
