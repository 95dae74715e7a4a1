"""Data files: Parquet as the table wants it, written by several threads at once."""

import contextlib
from dataclasses import dataclass, field
from queue import SimpleQueue
from threading import Lock

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from penstock.connectors.lake.warehouses.port import NewFile, Warehouse

_SAMPLE = 50_000
"""Rows of which is decided which columns repeat themselves."""
_FEW = 1000
"""Rows fewer than which are not worth that."""
_GROUP_ROWS, _GROUP_BYTES = 65_536, 8 << 20
"""Rows or bytes that are gathered before they are written: each write is a row group."""
_WIDE = 100
"""Columns from which row groups are larger."""
_FILE_ROWS = 4_000_000
"""Rows after which a new file begins."""


@dataclass
class _OpenFile:
    """A file being written by one thread at a time."""

    warehouse: Warehouse
    location: str
    target: NewFile | None = None
    writer: pq.ParquetWriter | None = None
    waiting: list[pa.Table] = field(default_factory=list)
    waiting_rows: int = 0
    waiting_bytes: int = 0
    rows: int = 0
    footers: list[pq.FileMetaData] = field(default_factory=list)

    def write(self, rows: pa.Table) -> None:
        self.waiting.append(rows)
        self.waiting_rows += rows.num_rows
        self.waiting_bytes += rows.nbytes
        wide = rows.num_columns >= _WIDE  # a row group costs a kilobyte a column
        if self.waiting_bytes >= (2 * _GROUP_BYTES if wide else _GROUP_BYTES) or (
            self.waiting_rows >= _GROUP_ROWS and not wide
        ):
            self.flush()

    def flush(self) -> None:
        if not self.waiting:
            return
        rows = pa.concat_tables(self.waiting)
        if self.writer is None:
            self.target = self.warehouse.create(self.location)
            self.writer = pq.ParquetWriter(
                self.target.stream,
                rows.schema,
                compression="zstd",
                compression_level=1,
                use_dictionary=_repeating(rows),
                metadata_collector=self.footers,
            )
        self.writer.write_table(rows)
        self.rows += rows.num_rows
        self.waiting, self.waiting_rows, self.waiting_bytes = [], 0, 0

    def close(self) -> None:
        self.flush()
        if self.writer is not None:
            self.writer.close()
            self.writer = None
        if self.target is not None:
            self.target.close()
            self.target = None
            self.warehouse.written(self.location, self.footers[0])

    def abort(self) -> None:
        """Give up what is not written yet, and the file where it is not whole."""
        self.waiting = []
        if self.target is None:
            return
        self.target.ignore()
        if self.writer is not None:
            # The disk may be full, which is why the file is given up; its footer, which was not written, is collected.
            with contextlib.suppress(OSError, RuntimeError):
                self.writer.close()
            self.writer = None
        self.target.abort()


class DataFiles:
    """Parquet files with one name and a running number; rows of several inputs may share a file."""

    def __init__(self, warehouse: Warehouse, location: str, schema: pa.Schema) -> None:
        self.schema = schema
        self._warehouse, self._location = warehouse, location
        self._idle: SimpleQueue[_OpenFile] = SimpleQueue()
        self._files: list[_OpenFile] = []
        self._lock = Lock()

    def write(self, table: pa.Table) -> None:
        """Write the table's columns, in order, as the schema's."""
        if not table.num_rows:
            return
        columns = [column.cast(wanted.type) for column, wanted in zip(table.columns, self.schema, strict=True)]
        file = self._borrow()
        file.write(pa.Table.from_arrays(columns, schema=self.schema))
        if file.rows >= _FILE_ROWS:
            file.close()
        else:
            self._idle.put(file)

    def _borrow(self) -> _OpenFile:
        with self._lock:
            if not self._idle.empty():
                return self._idle.get()
            file = _OpenFile(self._warehouse, f"{self._location}-{len(self._files):03d}.parquet")
            self._files.append(file)
            return file

    def close(self) -> tuple[list[str], int]:
        """The locations of the files and the rows in them, as their own footers say."""
        for file in self._files:
            file.close()
        locations = [file.location for file in self._files if file.rows]
        return locations, sum(self._warehouse.footer(location).metadata.num_rows for location in locations)

    def discard(self) -> None:
        """Remove what was written."""
        for file in self._files:
            file.abort()
        self._warehouse.discard([file.location for file in self._files])


def _repeating(rows: pa.Table) -> list[str] | bool:
    """The columns in which a value stands four times on average: a dictionary of others costs time, and saves nothing.

    Without it for ids and times, writing takes about half the time, and files are a sixth smaller.
    """
    if rows.num_rows < _FEW:
        return False
    sample = rows.slice(0, _SAMPLE)
    return [name for name in rows.column_names if pc.count_distinct(sample[name]).as_py() * 4 <= sample.num_rows]
