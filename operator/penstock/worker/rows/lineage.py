"""The metadata columns that each row carries: which input it came from, which load wrote it, and when."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime

import pyarrow as pa

from penstock.language.traits import WriteMode
from penstock.worker.ports.ledger import Claim
from penstock.worker.ports.tablestore import LINEAGE, ORDER

_PER_CHUNK = 1 << 32
"""More rows than a chunk has."""


@dataclass(frozen=True)
class Good:
    """Good rows of one chunk, in its order. `chunk` is the chunk's number in its input, `first` its first row's."""

    input_id: int
    rows: pa.Table
    chunk: int = 0
    first: int = 0

    @property
    def order(self) -> pa.Array:
        """A number for each row, which grows in the order in which the input was read."""
        first = self.chunk * _PER_CHUNK + self.first
        return pa.arange(first, first + self.rows.num_rows)


@dataclass(frozen=True)
class Lineage:
    """What all rows of one load have in common."""

    load_id: int
    loaded_at: datetime
    ordered: bool = False
    """Whether rows have the column `ORDER`."""

    @classmethod
    def begin(cls, claim: Claim, mode: WriteMode) -> "Lineage":
        """The lineage of rows that are loaded under this claim from now on."""
        return cls(claim.load_id, datetime.now(UTC), mode == "upsert")

    def beside(self, rows: Sequence["Good"]) -> pa.Table:
        """The rows with the columns of lineage after their own, and `ORDER` last where the load is an upsert."""
        together = pa.concat_tables([good.rows for good in rows])
        ids = [pa.repeat(pa.scalar(good.input_id, pa.int64()), good.rows.num_rows) for good in rows]
        columns = [pa.chunked_array(ids), *(pa.repeat(value, together.num_rows) for value in self._of_the_load)]
        for field, column in zip(LINEAGE, columns, strict=True):
            together = together.append_column(field, column)
        if self.ordered:
            together = together.append_column(ORDER, pa.chunked_array([good.order for good in rows]))
        return together if len(rows) == 1 else together.combine_chunks()

    @property
    def _of_the_load(self) -> tuple[pa.Scalar, pa.Scalar]:
        _, load_id, loaded_at = LINEAGE
        return pa.scalar(self.load_id, load_id.type), pa.scalar(self.loaded_at, loaded_at.type)
