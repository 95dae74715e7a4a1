"""Rows into a table by one binary COPY: rows are read and encoded by one thread while another one sends."""

from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from typing import TypeVar

import pyarrow as pa
import pyarrow.compute as pc
from pgpq import ArrowToPostgresBinaryEncoder
from psycopg import sql

from penstock.api.receiving import OnRefusedRow
from penstock.connectors.postgres import columns
from penstock.connectors.postgres.database import PostgresCursor
from penstock.language.errors import InvalidSpec
from penstock.worker import sqltables
from penstock.worker.ports.target import DeliveredColumn
from penstock.worker.sqltables import Column

_NUL = b"\0"
_ROWS_AT_ONCE = 8192
"""Rows that are encoded at once: the fewer, the less memory."""
T = TypeVar("T")


@dataclass
class Refusals:
    """The rows that PostgreSQL cannot store: those with the character U+0000 in a text.

    `subject` says whose delivery it is and into which table, for messages.
    """

    subject: str
    on_refused_row: OnRefusedRow
    columns: Sequence[DeliveredColumn]
    rows: int = 0
    """How many there were so far."""
    _seen: int = field(default=0, init=False)

    def accepted(self, batch: pa.RecordBatch) -> pa.RecordBatch:
        """The rows of the batch that can be stored. Raises InvalidSpec (RowRefused) where none may be left out."""
        refused: pa.BooleanArray | None = None
        for number, array in enumerate(batch.columns):
            if not _may_have_nul(array):
                continue
            mask = pc.fill_null(pc.match_substring(array, "\0"), False)
            if pc.any(mask).as_py() and self.on_refused_row == "fail":
                self._fail(self.columns[number].target, pc.index(mask, True).as_py())
            refused = mask if refused is None else pc.or_(refused, mask)
        self._seen += batch.num_rows
        if refused is None:
            return batch
        self.rows += pc.sum(refused).as_py() or 0
        return batch.filter(pc.invert(refused))

    def _fail(self, name: str, index: int) -> None:
        message = (
            f"{self.subject}: field {name} of row {self._seen + index + 1:,} of the delivery has the character U+0000, "
            "which no text of PostgreSQL can have. Nothing was delivered. Correct the row, or set onRefusedRow: skip."
        )
        raise InvalidSpec(message, "RowRefused")


@dataclass(frozen=True)
class Sent:
    """What was sent: rows, and bytes of the COPY."""

    rows: int
    bytes: int


def copy_in(
    cursor: PostgresCursor,
    table: sql.Identifier,
    delivered: Sequence[DeliveredColumn],
    rows: pa.RecordBatchReader,
    refusals: Refusals,
) -> tuple[Sent, int]:
    """Send the rows, whose columns have their source names; what was sent, and how many rows the server counts."""
    wanted = [Column(each.target, each.type.replace(" ", ""), required=False) for each in delivered]
    encoding = _Encoding(sqltables.arrow(wanted), [each.source for each in delivered], refusals)
    statement = sql.SQL("COPY {} ({}) FROM STDIN (FORMAT binary)").format(table, columns.names(wanted))
    with cursor.own.copy(statement) as copy:
        for data in _ahead(encoding.pieces(rows)):
            copy.write(data)
    return Sent(encoding.rows, encoding.size), cursor.rowcount


@dataclass
class _Encoding:
    """Batches of rows on their way into the binary form of COPY; counts what it has encoded."""

    schema: pa.Schema
    sources: Sequence[str]
    refusals: Refusals
    rows: int = 0
    size: int = 0

    def pieces(self, rows: pa.RecordBatchReader) -> Iterator[bytes]:
        """Header, rows and trailer."""
        encoder = ArrowToPostgresBinaryEncoder(self.schema)
        yield self._counted(encoder.write_header())
        for batch in rows:
            arrays = [
                _cast(batch.column(name), each.type) for name, each in zip(self.sources, self.schema, strict=True)
            ]
            accepted = self.refusals.accepted(pa.RecordBatch.from_arrays(arrays, schema=self.schema))
            self.rows += accepted.num_rows
            for first in range(0, accepted.num_rows, _ROWS_AT_ONCE):
                yield self._counted(encoder.write_batch(accepted.slice(first, _ROWS_AT_ONCE)))
        yield self._counted(encoder.finish())

    def _counted(self, data: bytes) -> bytes:
        self.size += len(data)
        return data


def _cast(array: pa.Array, kind: pa.DataType) -> pa.Array:
    return array if array.type == kind else array.cast(kind)


def _may_have_nul(array: pa.Array) -> bool:
    """Whether a zero byte is among the texts of the array, nulls included; looked for as fast as memory is read."""
    if array.type != pa.string():
        return False
    _, offsets, data = array.buffers()
    if data is None or offsets is None or not len(array):
        return False
    positions = memoryview(offsets).cast("b").cast("i")
    first, last = positions[array.offset], positions[array.offset + len(array)]
    return _NUL in bytes(memoryview(data)[first:last])


def _ahead(items: Iterator[T]) -> Iterator[T]:
    """The items, each taken in a thread while the one before it is used."""
    with ThreadPoolExecutor(1, thread_name_prefix="encode") as executor:
        following = executor.submit(next, items, None)
        while (item := following.result()) is not None:
            following = executor.submit(next, items, None)
            yield item
