"""Reading data files by their Iceberg field ids, whatever names and types the columns had when they were written.

What is read at once is bounded by bytes: a row may have a megabyte, and a small file of another program may unfold to
many gigabytes. So each row group is read in batches of as many rows as fit on average, texts that refer to a dictionary
stay references, and a batch that unfolds to more than fits is cut.
"""

from collections.abc import Iterator, Sequence

import pyarrow as pa
import pyarrow.parquet as pq
from pyiceberg.expressions import AlwaysTrue
from pyiceberg.io.pyarrow import ArrowScan, schema_to_pyarrow
from pyiceberg.table import FileScanTask, Table

from penstock.connectors.lake.warehouses.port import Warehouse
from penstock.worker.rows import rowsizes

MOST_BYTES = 8 << 20
"""Bytes that the rows of a batch take in memory, unless one row alone takes more."""
_MOST_ROWS = 65_536
_BUFFER = 1 << 20
"""Bytes of a column that are read at once from a row group with more than MOST_BYTES."""
_FIELD_ID = b"PARQUET:field_id"


def unchanged(table: Table, columns: Sequence[str]) -> bool:
    """Whether these columns have had one name and one type in all schemas of the table, so that names tell them."""
    wanted = {field.field_id: field for field in table.schema().fields if field.name in columns}
    for schema in table.metadata.schemas:
        for field in schema.fields:
            now = wanted.get(field.field_id)
            if now is None and field.name in columns:
                return False
            if now is not None and (field.name, field.field_type) != (now.name, now.field_type):
                return False
    return True


def batches(warehouse: Warehouse, table: Table, location: str, columns: Sequence[str]) -> Iterator[pa.RecordBatch]:
    """The rows of the file at `location` with these columns as the table has them now; columns added since are null."""
    schema = schema_to_pyarrow(table.schema().select(*columns))
    footer = warehouse.footer(location).metadata
    with warehouse.read(location) as source:
        arrow = footer.schema.to_arrow_schema()
        names = {field.metadata[_FIELD_ID]: field.name for field in arrow if _FIELD_ID in (field.metadata or {})}
        # A file that another engine has written may lack ids; then the names are what there is.
        there = {name: names.get(schema.field(name).metadata[_FIELD_ID]) if names else name for name in columns}
        present = [name for name in there.values() if name is not None]
        for batch in bounded(source, footer, present or [arrow.names[0]]):
            yield _as_now(batch, [(schema.field(name), there[name]) for name in columns])


def bounded(source: pa.NativeFile, footer: pq.FileMetaData, columns: Sequence[str]) -> Iterator[pa.RecordBatch]:
    """The rows of these columns, in the order of the file; texts may be dictionaries."""
    names = [*footer.schema.to_arrow_schema().names]
    leaves = [names.index(name) for name in columns]  # a Dataset's table has no nested columns
    groups = [footer.row_group(number) for number in range(footer.num_row_groups)]
    dictionaries = [names[leaf] for leaf in leaves if any(group.column(leaf).has_dictionary_page for group in groups)]
    sizes = [sum(group.column(leaf).total_uncompressed_size for leaf in leaves) for group in groups]
    buffer = _BUFFER if max(sizes, default=0) > 4 * MOST_BYTES else 0
    with pq.ParquetFile(source, metadata=footer, read_dictionary=dictionaries, buffer_size=buffer) as file:
        for number, (group, size) in enumerate(zip(groups, sizes, strict=True)):
            rows = max(1, min(_MOST_ROWS, MOST_BYTES * group.num_rows // max(size, 1)))
            for batch in file.iter_batches(rows, row_groups=[number], columns=[*columns]):
                yield from rowsizes.pieces(batch, MOST_BYTES)


def live_rows(warehouse: Warehouse, table: Table, task: FileScanTask, columns: Sequence[str]) -> Iterator[pa.Table]:
    """The rows of a file that are not deleted, as `batches`. One with delete files is read by pyiceberg, as a whole."""
    location = task.file.file_path
    with warehouse.failures(location):
        if task.delete_files:
            scan = ArrowScan(table.metadata, table.io, table.schema().select(*columns), AlwaysTrue())
            for batch in scan.to_record_batches([task]):
                yield pa.Table.from_batches([batch]).select(list(columns))
            return
        for batch in batches(warehouse, table, location, columns):
            yield pa.Table.from_batches([batch])


def _as_now(batch: pa.RecordBatch, columns: Sequence[tuple[pa.Field, str | None]]) -> pa.RecordBatch:
    arrays = [
        pa.nulls(batch.num_rows, field.type) if name is None else batch[name].cast(field.type)
        for field, name in columns
    ]
    return pa.RecordBatch.from_arrays(arrays, names=[field.name for field, _ in columns])
