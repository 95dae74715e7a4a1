"""Staging: rows go as Arrow IPC into files beside the database, which the commit reads and removes.

The files of a claim are in one folder, `<file>.penstock/<subject>_<load id>`. No commit names what a killed worker has
left there; the next run removes it. Nothing is opened through a link.
"""

import hashlib
import os
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO

import pyarrow as pa

from penstock.connectors.duckdb import faults
from penstock.connectors.files.stores import beneath
from penstock.language.errors import InvalidSpec
from penstock.worker.ports.ledger import Claim
from penstock.worker.ports.tablestore import QUARANTINE, Staged

_COMPRESSED = pa.ipc.IpcWriteOptions(compression="lz4")
_ROWS, _REJECTED = "rows", "rejected"


@dataclass(frozen=True)
class Place:
    """The folder of all that is staged for one database file: `name` relative to the mounted claim `root`."""

    root: Path
    name: str
    subject: str
    """The database file, for messages."""

    def folder(self, claim: Claim) -> str:
        """The folder of a claim, relative to the mounted one."""
        return f"{self.name}/{folder_name(claim.subject, claim.load_id)}"

    @contextmanager
    def failures(self) -> Iterator[None]:
        """Translate what files raise."""
        subject = f"{self.subject}, what is staged beside it in {self.name.rpartition('/')[2]}"
        with faults.translated(subject):
            try:
                yield
            except beneath.Refused as refused:
                message = f"{self.subject}: {refused.path} in the claim {refused.what}. Remove it."
                raise InvalidSpec(message, "WrongSpecification") from None

    def read(self, name: str) -> BinaryIO:
        """A staged file, to be read and closed."""
        return os.fdopen(beneath.read(self.root, name), "rb")

    def folders(self) -> list[str]:
        """The names of the claims' folders."""
        with self.failures(), suppress(FileNotFoundError), beneath.folder(self.root, self.name) as there:
            return sorted(os.listdir(there))
        return []

    def remove(self, folder: str) -> int:
        """Remove a claim's folder with its files; how many there were. What cannot be removed is left."""
        removed = 0
        with suppress(OSError), beneath.folder(self.root, f"{self.name}/{folder}") as there:
            for name in os.listdir(there):
                os.unlink(name, dir_fd=there)
                removed += 1
        self.tidy(folder)
        return removed

    def tidy(self, folder: str) -> None:
        """Remove a claim's folder, and then the folder of all, where they are empty."""
        for path in (f"{self.name}/{folder}", self.name):
            above, _, name = path.rpartition("/")
            with suppress(OSError), beneath.folder(self.root, above) as parent:
                os.rmdir(name, dir_fd=parent)


def folder_name(subject: str, load_id: int) -> str:
    """The name of a claim's folder."""
    return f"{hashlib.sha256(subject.encode()).hexdigest()[:16]}_{load_id}"


class _File:
    """One file of staged rows, created when the first come."""

    def __init__(self, place: Place, name: str, schema: pa.Schema) -> None:
        self._place, self._name, self._schema = place, name, schema
        self._lock = threading.Lock()
        self._file: BinaryIO | None = None
        self._writer: pa.RecordBatchWriter | None = None
        self.rows = 0

    def write(self, rows: pa.Table) -> None:
        if not rows.num_rows:
            return
        columns = [column.cast(field.type) for column, field in zip(rows.columns, self._schema, strict=True)]
        table = pa.Table.from_arrays(columns, schema=self._schema)
        with self._lock, self._place.failures():
            if self._writer is None:
                self._file = os.fdopen(beneath.create(self._place.root, self._name), "wb")
                self._writer = pa.ipc.new_stream(self._file, self._schema, options=_COMPRESSED)
            self._writer.write_table(table)
            self.rows += table.num_rows

    def close(self) -> str | None:
        """The file's name; None where no rows came."""
        if self._writer is None or self._file is None:
            return None
        with self._place.failures():
            self._writer.close()
            self._file.close()
        return self._name

    def discard(self) -> None:
        with suppress(OSError, pa.ArrowException):
            if self._file is not None:
                self._file.close()
        with suppress(OSError):
            beneath.remove(self._place.root, self._name)


class DuckdbWriter:
    """Stages rows and quarantine entries in files."""

    def __init__(self, place: Place, claim: Claim, part: str, schema: pa.Schema) -> None:
        self.schema = schema
        self._place, self._folder = place, folder_name(claim.subject, claim.load_id)
        name = f"{place.folder(claim)}/{part}"
        self._good = _File(place, f"{name}.{_ROWS}", schema)
        self._bad = _File(place, f"{name}.{_REJECTED}", QUARANTINE)

    def write(self, rows: pa.Table) -> None:
        """Stage rows; any thread may."""
        self._good.write(rows)

    def reject(self, rows: pa.Table) -> None:
        """Stage entries of the quarantine; any thread may."""
        self._bad.write(rows)

    def close(self) -> Staged:
        """End staging. The commit counts again."""
        content = {_ROWS: self._good.close(), _REJECTED: self._bad.close()}
        return Staged(content, self._good.rows, self._bad.rows)

    def discard(self) -> None:
        """Remove what was staged; the folder too, unless another Writer's files are in it."""
        self._good.discard()
        self._bad.discard()
        self._place.tidy(self._folder)


def rows_file(staged: Staged) -> str | None:
    """The name of the file of staged rows, None where there are none."""
    return None if staged.content[_ROWS] is None else str(staged.content[_ROWS])


def rejected_file(staged: Staged) -> str | None:
    """The name of the file of staged quarantine entries, None where there are none."""
    return None if staged.content[_REJECTED] is None else str(staged.content[_REJECTED])
