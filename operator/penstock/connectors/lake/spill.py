"""Rows on the Pod's disk, in portions that fit into memory one at a time."""

import tempfile
from pathlib import Path

import pyarrow as pa
import pyarrow.compute as pc

_OPTIONS = pa.ipc.IpcWriteOptions(compression="lz4")


class Spill:
    """Portions of rows, by their numbers. Up to `memory` bytes of rows that were added last are in memory."""

    def __init__(self, scratch: Path, memory: int) -> None:
        self._folder = tempfile.TemporaryDirectory(prefix="upsert-", dir=scratch)
        self._memory = memory
        self._waiting: dict[int, list[pa.Table]] = {}
        self._bytes = 0

    def add(self, portions: pa.Array, rows: pa.Table) -> None:
        """Add rows, each to the portion with that number; the numbers ascend."""
        runs = pc.run_end_encode(portions)
        start = 0
        for number, end in zip(_numbers(runs.values), _numbers(runs.run_ends), strict=True):
            self._waiting.setdefault(number, []).append(rows.slice(start, end - start))
            start = end
        self._bytes += rows.nbytes
        if self._bytes > self._memory:
            self.flush()

    def flush(self) -> None:
        """Write what is in memory to the disk."""
        for number, tables in self._waiting.items():
            rows = pa.concat_tables(tables)
            with (
                self._path(number).open("ab") as file,
                pa.ipc.new_stream(file, rows.schema, options=_OPTIONS) as writer,
            ):
                writer.write_table(rows)
        self._waiting, self._bytes = {}, 0

    def take(self, number: int) -> list[pa.Table]:
        """The rows of a portion, which are forgotten then."""
        tables = []
        path = self._path(number)
        if path.exists():
            with pa.OSFile(str(path), "rb") as file:
                while file.tell() < file.size():  # one stream for each time that it was written
                    with pa.ipc.open_stream(file) as reader:
                        tables.append(reader.read_all())
            path.unlink()
        return tables + self._waiting.pop(number, [])

    def numbers(self) -> list[int]:
        """The numbers of the portions that have rows, ascending."""
        there = {int(path.name) for path in Path(self._folder.name).iterdir()}
        return sorted(there | self._waiting.keys())

    def close(self) -> None:
        """Remove all rows."""
        self._folder.cleanup()

    def _path(self, number: int) -> Path:
        return Path(self._folder.name) / str(number)


def _numbers(values: pa.Array) -> list[int]:
    numbers: list[int] = values.to_pylist()
    return numbers
