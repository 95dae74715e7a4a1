"""What a lake asks of the place of its files. A location is a URL or path as Iceberg's metadata writes it."""

from collections.abc import Iterable, Mapping
from contextlib import AbstractContextManager
from dataclasses import dataclass
from typing import Any, BinaryIO, Protocol

import pyarrow.parquet as pq
from pyarrow.fs import FileSystem
from pyiceberg.io import FileIO


@dataclass(frozen=True)
class Entry:
    """A file of a listing. `age` is the seconds since it was written; `upload` is set for one that is not whole."""

    location: str
    name: str
    age: float
    upload: str | None = None


@dataclass(frozen=True)
class Footer:
    """The footer of a Parquet file, and the size of the file in bytes."""

    metadata: pq.FileMetaData
    size: int


class NewFile(Protocol):
    """A file that is being written. It appears under its location at the latest when it is closed."""

    stream: BinaryIO

    def close(self) -> None:
        """End writing; the file is whole then."""

    def ignore(self) -> None:
        """Send nothing more over a network: what is written from now on does not matter."""

    def abort(self) -> None:
        """End writing without a whole file, where it is not closed yet; never raises for a full disk."""


class Warehouse(Protocol):
    """Where the files of a lake lie. Every method raises InvalidSpec or NotYet, naming the place and what to do."""

    @property
    def io(self) -> FileIO:
        """How pyiceberg reads and writes metadata."""

    @property
    def filesystem(self) -> FileSystem:
        """How pyarrow scans data files, by their `path`."""

    @property
    def table_properties(self) -> Mapping[str, str]:
        """Properties of new tables that suit the place."""

    def check(self, name: str) -> None:
        """Write a small file of that name, and remove it again."""

    def new_table(self, namespace: str, table: str) -> str:
        """The location of a table that is to be created."""

    def create(self, location: str) -> NewFile:
        """Begin a new file, under a name that nobody else uses."""

    def written(self, location: str, metadata: pq.FileMetaData) -> None:
        """Remember the footer of a Parquet file that this process has written, where reading it again is slow."""

    def footer(self, location: str) -> Footer:
        """The footer of a Parquet file."""

    def read(self, location: str) -> AbstractContextManager[Any]:
        """A file for pyarrow to read, open within the block, for one thread."""

    def path(self, location: str) -> str:
        """The path in `filesystem`. Two locations of one file have the same path."""

    def entries(self, folder: str) -> list[Entry]:
        """The files directly in the folder, and uploads to it that were not finished."""

    def remove(self, entries: Iterable[Entry]) -> None:
        """Remove files and end uploads; those that are gone already do not matter."""

    def discard(self, locations: Iterable[str]) -> None:
        """Remove files that nobody needs; what cannot be removed is left."""

    def failures(self, location: str) -> AbstractContextManager[None]:
        """Translate failures of pyarrow and the system within the block."""
