"""The metadata columns that each row carries: which input it came from, which load wrote it, and when."""

from collections.abc import Sequence
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

    def beside(self, rows: Sequence[tuple[int, pa.Table]]) -> pa.Table:
        """The rows of inputs, by the ids of these, with the columns of lineage after their own."""
        together = pa.concat_tables([table for _, table in rows])
        ids = pa.chunked_array([pa.repeat(pa.scalar(number, pa.int64()), table.num_rows) for number, table in rows])
        columns = [ids, *(pa.repeat(value, together.num_rows) for value in self._of_the_load)]
        for field, column in zip(LINEAGE, columns, strict=True):
            together = together.append_column(field, column)
        return together if len(rows) == 1 else together.combine_chunks()

    @property
    def _of_the_load(self) -> tuple[pa.Scalar, pa.Scalar]:
        _, load_id, loaded_at = LINEAGE
        return pa.scalar(self.load_id, load_id.type), pa.scalar(self.loaded_at, loaded_at.type)
