"""The files of a warehouse on a claim: every one that is read, written or removed goes through here.

A claim may be shared, and an Iceberg catalog says by absolute locations where metadata and data files are. So a
location is opened only where it lies beneath the warehouse, and its path is walked from the mounted claim on without
following any link (see `beneath`). pyiceberg and pyarrow get these files through their own interfaces, `io` and
`filesystem`.
"""

import os
import time
from collections.abc import Iterable, Iterator, Mapping
from contextlib import AbstractContextManager, contextmanager, nullcontext, suppress
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any, BinaryIO, NoReturn

import pyarrow as pa
import pyarrow.parquet as pq
from pyarrow.fs import FileInfo, FileSystem, FileSystemHandler, FileType, LocalFileSystem, PyFileSystem
from pyiceberg.io import FileIO, InputFile, OutputFile
from pyiceberg.io.pyarrow import PyArrowFile

from penstock.connectors.files.stores import beneath, trouble
from penstock.connectors.lake import locations
from penstock.connectors.lake.catalogs.sqlite import SqliteDatabase
from penstock.connectors.lake.warehouses.port import Entry, Footer
from penstock.language.errors import InvalidSpec

DATABASE = "catalog.db"


@dataclass(frozen=True)
class LocalWarehouse:
    """A folder of a mounted claim. `mount` is a path without links; `inside` is relative to it; `subject` is whose."""

    mount: Path
    inside: str
    subject: str

    @property
    def root(self) -> Path:
        """The path of the folder."""
        return self.mount.joinpath(*beneath.parts(self.inside))

    @property
    def database(self) -> SqliteDatabase:
        """The database that holds the catalog and the ledger."""
        return SqliteDatabase(self.mount, self._relative(self.root / DATABASE), self.subject)

    @cached_property
    def filesystem(self) -> FileSystem:
        """These files as pyarrow wants them; paths are absolute."""
        return PyFileSystem(_Handler(self))

    @cached_property
    def io(self) -> FileIO:
        """These files as pyiceberg wants them."""
        return _LocalIO(self)

    @property
    def table_properties(self) -> Mapping[str, str]:
        """None: a folder is fast enough for any number of manifests."""
        return {}

    def check(self, name: str) -> None:
        """Write a small file, and remove it again."""
        url = locations.location(self.root)
        with (
            trouble(self.subject, url),
            self._checked(self.root / name) as relative,
            beneath.written(self.mount, relative) as (file, _),
        ):
            file.write(b"Penstock wrote this to see whether it may. It can be deleted.\n")

    def new_table(self, namespace: str, table: str) -> str:
        """The folder of the table's name."""
        return locations.location(self.root / namespace / table)

    def create(self, location: str) -> "_NewFile":
        """Begin a new file."""
        return _NewFile(self.new(locations.path(location)))

    def written(self, location: str, metadata: pq.FileMetaData) -> None:
        """Nothing: reading the footer again is fast, and shows what is really there."""

    def footer(self, location: str) -> Footer:
        """The footer, read from the file."""
        path = locations.path(location)
        return Footer(pq.read_metadata(str(path), filesystem=self.filesystem), self.status(path).st_size)

    def read(self, location: str) -> AbstractContextManager[Any]:
        """The open file."""
        file: AbstractContextManager[Any] = self.filesystem.open_input_file(self.path(location))
        return file

    def path(self, location: str) -> str:
        """The path of the file."""
        return str(locations.path(location))

    def entries(self, folder: str) -> list[Entry]:
        """What lies in the folder, links included; nothing where it is missing."""
        path = locations.path(folder)
        names = self.names(path)
        return [Entry(locations.location(path / name), name, self._age(path / name)) for name in names]

    def _age(self, path: Path) -> float:
        try:
            return time.time() - self.status(path).st_mtime
        except FileNotFoundError:  # a worker that was taken over is sweeping too
            return 0.0

    def remove(self, entries: Iterable[Entry]) -> None:
        """Remove files, or the links of their names themselves. Raises InvalidSpec."""
        for entry in entries:
            self.unlink(locations.path(entry.location))

    def discard(self, unused: Iterable[str]) -> None:
        """Remove files that no snapshot names; one that cannot be removed is left."""
        for location in unused:
            with suppress(OSError, InvalidSpec):
                self.unlink(locations.path(location))

    def failures(self, location: str) -> AbstractContextManager[None]:
        """Nothing is translated here: what the system says of a file is said by who runs the job."""
        del location
        return nullcontext()

    def _relative(self, path: Path) -> str:
        """The path relative to the claim. Raises InvalidSpec where it does not lie beneath the warehouse."""
        if not path.is_relative_to(self.root) or ".." in path.parts:
            message = f"{self.subject}: the catalog of the warehouse names a file outside of the warehouse. "
            raise InvalidSpec(f"{message}Restore the catalog, or use another warehouse.", "WrongSpecification")
        return str(path.relative_to(self.mount))

    @contextmanager
    def _checked(self, path: Path) -> Iterator[str]:
        """The path relative to the claim. In the block, what it passes that is a link is said as InvalidSpec."""
        relative = self._relative(path)
        with self.refusals():
            yield relative

    @contextmanager
    def refusals(self) -> Iterator[None]:
        """Raise InvalidSpec for a path that `beneath` refuses in the block."""
        try:
            yield
        except beneath.Refused as refused:
            message = f"{self.subject}: {self._shown(refused.path)} in the warehouse {refused.what}. Remove it."
            raise InvalidSpec(message, "WrongSpecification") from None

    def _shown(self, path: str) -> str:
        return path.removeprefix("/".join(beneath.parts(self.inside))).lstrip("/") or path

    def descriptor(self, path: Path) -> int:
        """A descriptor of the regular file, to be closed by the caller. Raises FileNotFoundError and InvalidSpec."""
        with self._checked(path) as relative:
            return beneath.read(self.mount, relative)

    def new(self, path: Path) -> int:
        """A descriptor of a new file, to be closed by the caller. Raises FileExistsError and InvalidSpec."""
        with self._checked(path) as relative:
            return beneath.create(self.mount, relative)

    def status(self, path: Path) -> os.stat_result:
        """The status of a file or of a link itself. Raises FileNotFoundError and InvalidSpec."""
        with self._checked(path) as relative:
            return beneath.status(self.mount, relative)

    def unlink(self, path: Path) -> None:
        """Remove the file, or the link of that name itself, if it is there. Raises InvalidSpec."""
        with self._checked(path) as relative:
            beneath.remove(self.mount, relative)

    def names(self, folder: Path) -> list[str]:
        """What lies in the folder, links included; nothing where it is missing."""
        with self._checked(folder) as relative:
            try:
                with beneath.folder(self.mount, relative) as opened:
                    return sorted(os.listdir(opened))
            except FileNotFoundError:
                return []


class _NewFile:
    """A file that is being written, by its descriptor."""

    def __init__(self, descriptor: int) -> None:
        self.stream: BinaryIO = os.fdopen(descriptor, "wb")

    def close(self) -> None:
        self.stream.close()

    def ignore(self) -> None:
        """Nothing: writing to a disk takes no time."""

    def abort(self) -> None:
        with suppress(OSError):  # the disk may be full, which is why the file is given up
            self.stream.close()


class _LocalIO(FileIO):
    """The files of a warehouse as pyiceberg wants them."""

    def __init__(self, warehouse: "LocalWarehouse") -> None:
        super().__init__()
        self.warehouse = warehouse

    def new_input(self, location: str) -> InputFile:
        """A file to be read."""
        return PyArrowFile(location, str(locations.path(location)), self.warehouse.filesystem)

    def new_output(self, location: str) -> OutputFile:
        """A file to be written."""
        return PyArrowFile(location, str(locations.path(location)), self.warehouse.filesystem)

    def delete(self, location: str | InputFile | OutputFile) -> None:
        """Remove a file, if it is there."""
        self.warehouse.unlink(locations.path(location if isinstance(location, str) else location.location))


class _Handler(FileSystemHandler):  # type: ignore[misc]  # pyarrow ships no types
    """The files of a warehouse as pyarrow wants them: what it opens is the file that was checked."""

    def __init__(self, warehouse: "LocalWarehouse") -> None:
        self._warehouse = warehouse

    def __eq__(self, other: object) -> bool:
        return isinstance(other, _Handler) and other._warehouse == self._warehouse

    def __hash__(self) -> int:
        return hash(self._warehouse)

    def get_type_name(self) -> str:
        return "warehouse"

    def normalize_path(self, path: str) -> str:
        return path

    def get_file_info(self, paths: list[str]) -> list[FileInfo]:
        return [self._info(path) for path in paths]

    def _info(self, path: str) -> FileInfo:
        try:
            return FileInfo(path, FileType.File, size=self._warehouse.status(Path(path)).st_size)
        except FileNotFoundError:
            return FileInfo(path, FileType.NotFound)

    def open_input_file(self, path: str) -> pa.NativeFile:
        return self._opened(self._warehouse.descriptor(Path(path)))

    def open_input_stream(self, path: str) -> pa.NativeFile:
        return self.open_input_file(path)

    def _opened(self, descriptor: int) -> pa.NativeFile:
        """The file of the descriptor, opened natively: reading through Python would hold its lock."""
        try:
            return LocalFileSystem().open_input_file(f"/dev/fd/{descriptor}")
        finally:
            os.close(descriptor)

    def open_output_stream(self, path: str, metadata: Any) -> pa.NativeFile:
        del metadata
        return pa.PythonFile(os.fdopen(self._warehouse.new(Path(path)), "wb"), mode="w")

    def delete_file(self, path: str) -> None:
        self._warehouse.unlink(Path(path))

    def _unused(self, *_: Any) -> NoReturn:
        raise NotImplementedError("a warehouse's files are opened, created and removed one by one")

    get_file_info_selector = create_dir = delete_dir = delete_dir_contents = _unused
    delete_root_dir_contents = move = copy_file = open_append_stream = _unused
