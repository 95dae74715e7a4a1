"""What a run did, told from the ledger and the table as they are afterwards."""

from datetime import UTC, datetime
from typing import TYPE_CHECKING

from penstock.api import checks
from penstock.connectors.lake import ledger
from penstock.connectors.lake.ledger import Claim
from penstock.language.errors import PenstockError
from penstock.runs.report import ColumnReport, DatasetReport

if TYPE_CHECKING:
    from penstock.connectors.lake import tables as lake


def of(claim: Claim, home: "lake.Lake", table: str, own: DatasetReport | None = None) -> DatasetReport:
    """The report of a committed run: `own` if this attempt committed it, else the ledger's, told as earlier."""
    then = {"earlier": True, "committed_at": claim.committed_at}
    entry = own or DatasetReport.model_validate_json(claim.report or "{}").model_copy(update=then)
    return standing(home, table, entry).model_copy(update={"tail": ledger.tail(claim.database, claim.subject)})


def standing(home: "lake.Lake", table: str, entry: DatasetReport) -> DatasetReport:
    """The entry, with how the table stands now."""
    from penstock.connectors.lake import tables as lake  # takes half a second: what touches no table goes without

    data, quarantine = home.table(table), home.table(checks.quarantine_table(table))
    if data is None:
        return entry
    snapshot = data.current_snapshot()
    return entry.model_copy(
        update={
            "rows": lake.rows(data),
            "bytes": lake.size(data),
            "quarantined": lake.rows(quarantine) if quarantine is not None else None,
            "snapshot": str(snapshot.snapshot_id) if snapshot is not None else None,
            "table": f"{lake.NAMESPACE}.{table}",
            "columns": [ColumnReport(name=field.name, type=str(field.field_type)) for field in data.schema().fields],
        }
    )


def failed(name: str, error: PenstockError) -> DatasetReport:
    """A Dataset whose part of the run failed."""
    return DatasetReport(name=name, state="Failed", reason=error.reason, message=error.message)


def now() -> str:
    """RFC 3339, UTC, whole seconds."""
    return datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
