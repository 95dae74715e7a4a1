"""Removing the rows of inputs: by the lineage in the rows, whoever has rewritten the files since.

A file whose statistics say that all its rows came from inputs that leave is dropped as metadata. A file that may hold
some of their rows is read, and written again without them. Rows without lineage stay.
"""

from collections.abc import Iterator, Sequence, Set
from dataclasses import dataclass, field

import pyarrow as pa
import pyarrow.compute as pc
from pyiceberg.conversions import from_bytes
from pyiceberg.io.pyarrow import schema_to_pyarrow
from pyiceberg.manifest import DataFile
from pyiceberg.table import FileScanTask, Table
from pyiceberg.types import LongType

from penstock.connectors.lake import reading
from penstock.connectors.lake.datafiles import DataFiles
from penstock.connectors.lake.warehouses.port import Warehouse


@dataclass
class Removal:
    """What leaves a table: files that go, files that come in the place of some of them, and how many rows left."""

    dropped: list[DataFile] = field(default_factory=list)
    added: list[str] = field(default_factory=list)
    rows: int = 0


@dataclass(frozen=True)
class Removing:
    """A table that rows leave. `name` begins the locations of files that are written again."""

    warehouse: Warehouse
    table: Table
    name: str

    def everything(self) -> Removal:
        """All files and rows of the table."""
        tasks = [*self.table.scan().plan_files()]
        return Removal([task.file for task in tasks], [], sum(self._count(task) for task in tasks))

    def rows_of_inputs(self, column: str, inputs: Set[int]) -> Removal:
        """The rows whose `column` is one of `inputs`."""
        removal = Removal()
        if not inputs:
            return removal
        files = DataFiles(self.warehouse, self.name, schema_to_pyarrow(self.table.schema()))
        for task in self.table.scan().plan_files():
            match _content(self.table, task, column, inputs):
                case "all":
                    removal.dropped.append(task.file)
                    removal.rows += task.file.record_count
                case "some":
                    left = self._rewrite(task, column, inputs, files)
                    removal.rows += left
                    if left:
                        removal.dropped.append(task.file)
        removal.added = files.close()[0]
        return removal

    def _rewrite(self, task: FileScanTask, column: str, inputs: Set[int], files: DataFiles) -> int:
        """Write the rows that stay; how many leave. Nothing is written where none does."""
        leaving = pa.array(sorted(inputs), pa.int64())
        if not any(_is_in(batch[column], leaving).true_count for batch in self._batches(task, [column])):
            return 0
        left = 0
        for batch in self._batches(task, files.schema.names):
            mask = _is_in(batch[column], leaving)
            left += mask.true_count
            files.write(batch.filter(pc.invert(mask)))
        return left

    def _batches(self, task: FileScanTask, names: Sequence[str]) -> Iterator[pa.Table]:
        return reading.live_rows(self.warehouse, self.table, task, names)

    def _count(self, task: FileScanTask) -> int:
        if not task.delete_files:
            return int(task.file.record_count)
        return sum(batch.num_rows for batch in self._batches(task, self.table.schema().column_names[:1]))


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


def _is_in(values: pa.ChunkedArray, leaving: pa.Array) -> pa.BooleanArray:
    mask = pc.is_in(values.cast(pa.int64()), value_set=leaving)  # a null is in no set
    return mask.combine_chunks() if isinstance(mask, pa.ChunkedArray) else mask
