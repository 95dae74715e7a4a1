"""Removing the rows of inputs: by the lineage in the rows, whoever has rewritten the files since.

A file whose statistics say that all its rows came from inputs that leave is dropped as metadata. A file that may hold
some of their rows is read, and written again without them. Rows without lineage stay.
"""

from collections.abc import Iterable, Iterator, Set
from dataclasses import dataclass, field
from pathlib import Path

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
from pyiceberg.conversions import from_bytes
from pyiceberg.expressions import AlwaysTrue
from pyiceberg.io.pyarrow import ArrowScan, schema_to_pyarrow
from pyiceberg.manifest import DataFile
from pyiceberg.table import FileScanTask, Table
from pyiceberg.types import LongType

from penstock.connectors.lake import locations, warehouse
from penstock.connectors.lake.datafiles import DataFiles

_BATCH = 65_536


@dataclass
class Removal:
    """What leaves a table: files that go, files that come in the place of some of them, and how many rows left."""

    dropped: list[DataFile] = field(default_factory=list)
    added: list[Path] = field(default_factory=list)
    rows: int = 0


def everything(table: Table) -> Removal:
    """All files and rows of the table."""
    tasks = [*table.scan().plan_files()]
    return Removal([task.file for task in tasks], [], sum(_count(table, task) for task in tasks))


def rows_of_inputs(table: Table, column: str, inputs: Set[int], path: Path) -> Removal:
    """The rows whose `column` is one of `inputs`; what is written again is named like `path`."""
    removal = Removal()
    if not inputs:
        return removal
    files = DataFiles(warehouse.files_of(table), path, schema_to_pyarrow(table.schema()))
    for task in table.scan().plan_files():
        match _content(table, task, column, inputs):
            case "all":
                removal.dropped.append(task.file)
                removal.rows += task.file.record_count
            case "some":
                left = _rewrite(table, task, column, inputs, files)
                removal.rows += left
                if left:
                    removal.dropped.append(task.file)
    removal.added = files.close()[0]
    return removal


def _content(table: Table, task: FileScanTask, column: str, inputs: Set[int]) -> str:
    """Which of the file's rows came from these inputs, by its statistics: "all", "none", or perhaps "some"."""
    number = table.schema().find_field(column).field_id
    file = task.file
    lower, upper = ((bounds or {}).get(number) for bounds in (file.lower_bounds, file.upper_bounds))
    nulls = (file.null_value_counts or {}).get(number)
    if lower is None or upper is None:
        return "none" if nulls is not None and nulls == file.record_count else "some"
    least, most = (int(from_bytes(LongType(), bound)) for bound in (lower, upper))
    if not any(least <= each <= most for each in inputs):
        return "none"
    return "all" if least == most and nulls == 0 and not task.delete_files else "some"


def _rewrite(table: Table, task: FileScanTask, column: str, inputs: Set[int], files: DataFiles) -> int:
    """Write the rows that stay; how many leave. Nothing is written where none does."""
    leaving = pa.array(sorted(inputs), pa.int64())
    if not any(_is_in(batch[column], leaving).true_count for batch in _batches(table, task, [column])):
        return 0
    left = 0
    for batch in _batches(table, task, files.schema.names):
        mask = _is_in(batch[column], leaving)
        left += mask.true_count
        files.write(batch.filter(pc.invert(mask)))
    return left


def _is_in(values: pa.ChunkedArray, leaving: pa.Array) -> pa.BooleanArray:
    mask = pc.is_in(values.cast(pa.int64()), value_set=leaving)  # a null is in no set
    return mask.combine_chunks() if isinstance(mask, pa.ChunkedArray) else mask


def _batches(table: Table, task: FileScanTask, names: Iterable[str]) -> Iterator[pa.Table]:
    """The file's live rows. One with delete files is read by pyiceberg, which reads it as a whole."""
    if task.delete_files:
        schema = table.schema().select(*names)
        for batch in ArrowScan(table.metadata, table.io, schema, AlwaysTrue()).to_record_batches([task]):
            yield pa.Table.from_batches([batch])
        return
    path = str(locations.path(task.file.file_path))
    with pq.ParquetFile(path, filesystem=warehouse.files_of(table).file_system) as file:
        for batch in file.iter_batches(_BATCH, columns=[*names]):
            yield pa.Table.from_batches([batch]).select([*names])


def _count(table: Table, task: FileScanTask) -> int:
    if not task.delete_files:
        return int(task.file.record_count)
    return sum(batch.num_rows for batch in _batches(table, task, table.schema().column_names[:1]))
