"""What a run did, from the ledger and the table as they are afterwards."""

from datetime import UTC, datetime

from penstock.language.errors import PenstockError
from penstock.runs.order import DatasetOrder
from penstock.runs.report import DatasetReport
from penstock.worker.ports.ledger import Claim
from penstock.worker.ports.tablestore import TableStore


def earlier(claim: Claim) -> DatasetReport:
    """What an earlier attempt of the claim's run has committed."""
    entry = DatasetReport.model_validate_json(claim.report or "{}")
    return entry.model_copy(update={"earlier": True, "committed_at": claim.committed_at})


def complete(claim: Claim, store: TableStore, dataset: DatasetOrder, entry: DatasetReport) -> DatasetReport:
    """The entry of a committed run, with how the table stands now and the newest commits."""
    return standing(store, dataset, entry).model_copy(update={"tail": store.ledger.tail(claim.subject)})


def standing(store: TableStore, dataset: DatasetOrder, entry: DatasetReport) -> DatasetReport:
    """The entry, with how the table stands now."""
    now = store.standing(dataset)
    if now is None:
        return entry
    return entry.model_copy(
        update={
            "rows": now.rows,
            "bytes": now.bytes,
            "quarantined": now.quarantined,
            "snapshot": now.snapshot,
            "table": now.table,
            "columns": [*now.columns],
        }
    )


def failed(name: str, error: PenstockError) -> DatasetReport:
    """A Dataset whose part of the run failed."""
    return DatasetReport(name=name, state="Failed", reason=error.reason, message=error.message)


def timestamp() -> str:
    """The time now: RFC 3339, UTC, whole seconds."""
    return datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
