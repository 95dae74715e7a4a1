"""Reading data files whose columns had other names or types when they were written: by their Iceberg field ids."""

from collections.abc import Iterator, Sequence

import pyarrow as pa
import pyarrow.parquet as pq
from pyiceberg.expressions import AlwaysTrue
from pyiceberg.io.pyarrow import ArrowScan, schema_to_pyarrow
from pyiceberg.table import FileScanTask, Table

from penstock.connectors.lake.warehouses.port import Warehouse

_BATCH = 65_536
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
    with warehouse.read(location) as source, pq.ParquetFile(source) as file:
        names = {
            field.metadata[_FIELD_ID]: field.name for field in file.schema_arrow if _FIELD_ID in (field.metadata or {})
        }
        # A file that another engine has written may lack ids; then the names are what there is.
        there = {name: names.get(schema.field(name).metadata[_FIELD_ID]) if names else name for name in columns}
        present = [name for name in there.values() if name is not None]
        for batch in file.iter_batches(_BATCH, columns=present or [file.schema_arrow.names[0]]):
            yield _as_now(batch, [(schema.field(name), there[name]) for name in columns])


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
