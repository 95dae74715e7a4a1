"""The metadata columns that each row carries: which input it came from, which load wrote it, and when."""

from dataclasses import dataclass
from datetime import UTC, datetime

import pyarrow as pa

from penstock.worker.ports.ledger import Claim
from penstock.worker.ports.tablestore import LINEAGE


@dataclass(frozen=True)
class Lineage:
    """What all rows of one load have in common."""

    load_id: int
    loaded_at: datetime

    @classmethod
    def begin(cls, claim: Claim) -> "Lineage":
        """The lineage of rows that are loaded under this claim from now on."""
        return cls(claim.load_id, datetime.now(UTC))

    def beside(self, rows: pa.Table, input_id: int) -> pa.Table:
        """The rows with the columns of lineage after their own."""
        values = (input_id, self.load_id, self.loaded_at)
        for field, value in zip(LINEAGE, values, strict=True):
            rows = rows.append_column(field, pa.repeat(pa.scalar(value, field.type), rows.num_rows))
        return rows
