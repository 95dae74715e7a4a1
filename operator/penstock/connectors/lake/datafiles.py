"""Data files: Parquet as the table wants it, written by several threads at once."""

from pathlib import Path
from queue import SimpleQueue
from threading import Lock
from typing import BinaryIO

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from penstock.connectors.lake import tables as lake

_SAMPLE = 50_000
"""Rows that tell which columns repeat themselves."""
_WIDE = 100
"""Columns from which small pieces are gathered."""
_ROW_GROUP = 16 << 20
"""Bytes of a row group of a wide table."""
_FEW = 1000
"""Rows fewer than which are not worth the question."""


class _Writer:
    """One Parquet file. Small pieces of a wide table are gathered: a row group costs a kilobyte a column."""

    def __init__(self, file: pq.ParquetWriter, target: BinaryIO) -> None:
        self._file, self._target = file, target
        self._waiting: list[pa.Table] = []

    def write(self, rows: pa.Table) -> None:
        """Write the rows, now or with later ones."""
        self._waiting.append(rows)
        size = sum(table.nbytes for table in self._waiting)
        if rows.num_columns < _WIDE or size >= _ROW_GROUP:
            self._flush()

    def _flush(self) -> None:
        if self._waiting:
            self._file.write_table(pa.concat_tables(self._waiting).combine_chunks())
            self._waiting = []

    def close(self) -> None:
        """Write what waits, and the footer."""
        self._flush()
        self._file.close()
        self._target.close()


class DataFiles:
    """Parquet files with one name and a running number; one thread at a time writes to each."""

    def __init__(self, path: Path, schema: pa.Schema) -> None:
        self.schema = schema
        self._path = path
        self._idle: SimpleQueue[_Writer] = SimpleQueue()
        self._all: list[tuple[Path, _Writer]] = []
        self._lock = Lock()

    def write(self, table: pa.Table) -> None:
        """Write the table's columns, in order, as the schema's."""
        if not table.num_rows:
            return
        columns = [column.cast(wanted.type) for column, wanted in zip(table.columns, self.schema, strict=True)]
        rows = pa.Table.from_arrays(columns, schema=self.schema)
        writer = self._borrow(rows)
        writer.write(rows)
        self._idle.put(writer)

    def _borrow(self, first: pa.Table) -> "_Writer":
        with self._lock:
            if not self._idle.empty():
                return self._idle.get()
            path = self._path.with_name(f"{self._path.name}-{len(self._all):03d}.parquet")
            path.parent.mkdir(parents=True, exist_ok=True)
            target = path.open("xb")  # a name that is taken, also by a link, is refused and not written through
            writer = pq.ParquetWriter(
                target, self.schema, compression="zstd", compression_level=1, use_dictionary=_repeating(first)
            )
            self._all.append((path, _Writer(writer, target)))
            return self._all[-1][1]

    def close(self) -> tuple[tuple[Path, ...], int]:
        """The files and the rows in them, as their own footers say."""
        for _, writer in self._all:
            writer.close()
        paths = tuple(path for path, _ in self._all)
        return paths, sum(lake.footer_rows(path) for path in paths)


def _repeating(rows: pa.Table) -> list[str] | bool:
    """The columns in which a value stands four times on average: a dictionary of others costs time, and saves nothing.

    Without it for ids and times, writing takes about half the time, and files are a sixth smaller.
    """
    if rows.num_rows < _FEW:
        return False
    sample = rows.slice(0, _SAMPLE)
    return [name for name in rows.column_names if pc.count_distinct(sample[name]).as_py() * 4 <= sample.num_rows]
