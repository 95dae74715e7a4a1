"""The files of a warehouse: every one that is read, written or removed goes through here.

A claim may be shared, and an Iceberg catalog says by absolute locations where metadata and data files are. So a
location is opened only where it lies beneath the warehouse, and its path is walked from the mounted claim on without
following any link (see `beneath`). pyiceberg and pyarrow get these files through their own interfaces, `WarehouseIO`
and `file_system`.
"""

import os
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any, NoReturn

import pyarrow as pa
from pyarrow.fs import FileInfo, FileSystemHandler, FileType, LocalFileSystem, PyFileSystem
from pyiceberg.catalog.sql import SqlCatalog
from pyiceberg.io import FileIO, InputFile, OutputFile
from pyiceberg.io.pyarrow import PyArrowFile
from pyiceberg.table import Table
from pyiceberg.typedef import EMPTY_DICT, Properties
from sqlalchemy import NullPool, create_engine

from penstock.connectors.files.stores import beneath
from penstock.connectors.lake import locations
from penstock.connectors.lake.catalogs.sqlite import SqliteDatabase
from penstock.language.errors import InvalidSpec

DATABASE = "catalog.db"
_IO = "penstock.connectors.lake.warehouse.WarehouseIO"
_MOUNT, _INSIDE, _SUBJECT = "penstock.mount", "penstock.inside", "penstock.subject"
_OWN_CODE = "write.py-location-provider.impl"
"""A table property that names a Python class, which pyiceberg would import."""


@dataclass(frozen=True)
class Warehouse:
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
    def file_system(self) -> PyFileSystem:
        """These files as pyarrow wants them; paths are absolute."""
        return PyFileSystem(_Handler(self))

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

    def read(self, path: Path) -> int:
        """A descriptor of the regular file, to be closed by the caller. Raises FileNotFoundError and InvalidSpec."""
        with self._checked(path) as relative:
            return beneath.read(self.mount, relative)

    def create(self, path: Path) -> int:
        """A descriptor of a new file, to be closed by the caller. Raises FileExistsError and InvalidSpec."""
        with self._checked(path) as relative:
            return beneath.create(self.mount, relative)

    def status(self, path: Path) -> os.stat_result:
        """The status of a file or of a link itself. Raises FileNotFoundError and InvalidSpec."""
        with self._checked(path) as relative:
            return beneath.status(self.mount, relative)

    def remove(self, path: Path) -> None:
        """Remove the file, or the link of that name itself, if it is there. Raises InvalidSpec."""
        with self._checked(path) as relative:
            beneath.remove(self.mount, relative)

    def discard(self, path: Path) -> None:
        """Remove a file that no snapshot names; one that cannot be removed is left."""
        with suppress(OSError, InvalidSpec):
            self.remove(path)

    def files(self, folder: Path, suffix: str) -> list[Path]:
        """What lies in the folder and has the suffix, links included; nothing where it is missing."""
        with self._checked(folder) as relative:
            try:
                with beneath.folder(self.mount, relative) as opened:
                    return [folder / name for name in sorted(os.listdir(opened)) if name.endswith(suffix)]
            except FileNotFoundError:
                return []


def files_of(table: Table) -> Warehouse:
    """The warehouse that the table was loaded from."""
    if not isinstance(table.io, WarehouseIO):
        raise TypeError("a table of the lake reads and writes its files through its warehouse")
    return table.io.warehouse


class Catalog(SqlCatalog):
    """pyiceberg's SQL catalog, whose database and files are those of the warehouse alone."""

    def __init__(self, name: str, warehouse: Warehouse) -> None:
        self._database = warehouse.database
        super().__init__(
            name,
            uri="sqlite://",
            warehouse=locations.location(warehouse.root),
            **{"py-io-impl": _IO},
            **{_MOUNT: str(warehouse.mount), _INSIDE: warehouse.inside, _SUBJECT: warehouse.subject},
        )

    def _init_catalog(self) -> None:
        self.engine.dispose()
        self.engine = create_engine("sqlite://", creator=self._database.connect, poolclass=NullPool)
        super()._init_catalog()

    def _load_file_io(self, properties: Properties = EMPTY_DICT, location: str | None = None) -> FileIO:
        """The warehouse's, whatever class the properties of a table name."""
        del properties, location
        return WarehouseIO(self.properties)

    def _convert_orm_to_iceberg(self, orm_table: Any) -> Table:
        table = super()._convert_orm_to_iceberg(orm_table)
        if _OWN_CODE in table.properties:
            message = f"Table {table.name()[-1]} has the property {_OWN_CODE}, which names code to execute. Remove it."
            raise InvalidSpec(message, "WrongSpecification")
        return table


class WarehouseIO(FileIO):
    """The files of a warehouse as pyiceberg wants them."""

    def __init__(self, properties: Properties = EMPTY_DICT) -> None:
        super().__init__(properties)
        self.warehouse = Warehouse(Path(properties[_MOUNT]), properties[_INSIDE], properties[_SUBJECT])

    def new_input(self, location: str) -> InputFile:
        """A file to be read."""
        return PyArrowFile(location, str(locations.path(location)), self.warehouse.file_system)

    def new_output(self, location: str) -> OutputFile:
        """A file to be written."""
        return PyArrowFile(location, str(locations.path(location)), self.warehouse.file_system)

    def delete(self, location: str | InputFile | OutputFile) -> None:
        """Remove a file, if it is there."""
        self.warehouse.remove(locations.path(location if isinstance(location, str) else location.location))


class _Handler(FileSystemHandler):  # type: ignore[misc]  # pyarrow ships no types
    """The files of a warehouse as pyarrow wants them: what it opens is the file that was checked."""

    def __init__(self, warehouse: Warehouse) -> None:
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
        return self._opened(self._warehouse.read(Path(path)))

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
        return pa.PythonFile(os.fdopen(self._warehouse.create(Path(path)), "wb"), mode="w")

    def delete_file(self, path: str) -> None:
        self._warehouse.remove(Path(path))

    def _unused(self, *_: Any) -> NoReturn:
        raise NotImplementedError("a warehouse's files are opened, created and removed one by one")

    get_file_info_selector = create_dir = delete_dir = delete_dir_contents = _unused
    delete_root_dir_contents = move = copy_file = open_append_stream = _unused
