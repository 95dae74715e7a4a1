"""A prefix of a bucket. Each metadata file is one request to read and one to write; data files are put whole."""

import io
import uuid
from collections.abc import Iterable, Iterator, Mapping
from contextlib import AbstractContextManager, contextmanager, suppress
from datetime import UTC, datetime
from typing import Any, BinaryIO, cast

import pyarrow.parquet as pq
from pyarrow.fs import FileSystem, FSSpecHandler, PyFileSystem
from pyiceberg.io import FileIO, InputFile, OutputFile

from penstock.connectors.files.stores.port import ObjectStore, trouble
from penstock.connectors.lake.warehouses.port import Entry, Footer
from penstock.language.errors import InvalidSpec, PenstockError

_PARQUET = ".parquet"
_KEPT = 32 << 20
"""Bytes of manifests that are kept in memory."""
_WRITTEN = ("LastModified", "updated", "mtime")
"""What stores call the time at which an object was written."""


class ObjectWarehouse:
    """A prefix of a bucket, which exists. `url` is the prefix, which ends in a slash."""

    def __init__(self, store: ObjectStore, subject: str) -> None:
        self._store, self._subject = store, subject
        self._files, self._root = store.files, store.url.partition("://")[2]
        with self.failures(store.url):
            store.log_in()
        self._footers: dict[str, Footer] = {}
        self._sizes: dict[str, int] = {}
        self._manifests: dict[str, bytes] = {}
        self._kept = 0
        self.io: FileIO = _ObjectIO(self)
        self.filesystem: FileSystem = PyFileSystem(FSSpecHandler(self._files))

    @property
    def table_properties(self) -> Mapping[str, str]:
        """Few manifests: to remove rows, each of them is read, which takes a request."""
        return {"commit.manifest-merge.enabled": "true", "commit.manifest.min-count-to-merge": "5"}

    def check(self, name: str) -> None:
        """Put a small object, and remove it again."""
        location = self._store.url + name
        self.put(location, b"Penstock wrote this to see whether it may. It can be deleted.\n")
        self._delete([location])

    def new_table(self, namespace: str, table: str) -> str:
        """A prefix that no other table has: several catalogs may name tables alike in one warehouse."""
        return f"{self._store.url}{namespace}/{table}-{uuid.uuid4().hex[:12]}"

    def create(self, location: str) -> "_NewObject":
        """Begin a new object."""
        with self.failures(location):
            return _NewObject(self, location, self._files.open(location, "wb"))

    def sized(self, location: str, size: int) -> None:
        """Remember the size of an object that was written."""
        self._sizes[self.path(location)] = size

    def size(self, location: str) -> int:
        """Bytes of the object."""
        size = self._sizes.get(self.path(location))
        if size is not None:
            return size
        with self.failures(location):
            return int(self._files.size(location))

    def written(self, location: str, metadata: pq.FileMetaData) -> None:
        """Remember the footer: an object is stored as it was sent, or not at all."""
        self._footers[self.path(location)] = Footer(metadata, self.size(location))

    def footer(self, location: str) -> Footer:
        """The footer of an object, read where it was not written by this process."""
        path = self.path(location)
        if path not in self._footers:
            with self.failures(location), self.read(location) as file:
                self._footers[path] = Footer(pq.read_metadata(file), self.size(location))
        return self._footers[path]

    def read(self, location: str) -> AbstractContextManager[Any]:
        """The open object."""
        with self.failures(location):
            file: AbstractContextManager[Any] = self._files.open(location, "rb")
            return file

    def path(self, location: str) -> str:
        """The bucket and the key; engines write s3://, s3a:// and s3n:// for the same.

        Raises InvalidSpec (TableConflict) for what does not lie in the warehouse: another program's table names it.
        """
        path = location.partition("://")[2]
        if not path.startswith(self._root):
            message = f"{self._subject}: the catalog names an object outside of the warehouse {self._store.url}. "
            message += "If `warehouse` was changed, restore it; if another program made the table, use another `table`."
            raise InvalidSpec(message, "TableConflict")
        return path

    def entries(self, folder: str) -> list[Entry]:
        """The objects directly beneath the folder, and uploads there that were not finished."""
        prefix = f"{folder.rstrip('/')}/"
        scheme = prefix.partition("://")[0]
        with self.failures(prefix):
            listing: dict[str, Any] = self._files.find(prefix, detail=True)
            unfinished = self._store.unfinished(prefix)
        there: list[tuple[str, datetime, str | None]]
        there = [(f"{scheme}://{path}", _modified(seen), None) for path, seen in listing.items()]
        there += [(upload.url, upload.begun, upload.id) for upload in unfinished]
        now = datetime.now(UTC)
        return [
            Entry(url, url.removeprefix(prefix), (now - begun).total_seconds(), upload)
            for url, begun, upload in there
            if "/" not in url.removeprefix(prefix)
        ]

    def remove(self, entries: Iterable[Entry]) -> None:
        """Remove objects, and end uploads."""
        entries = [*entries]
        self._delete([entry.location for entry in entries if entry.upload is None])
        for entry in entries:
            if entry.upload is not None:
                with self.failures(entry.location):
                    self._store.abort(entry.location, entry.upload)

    def _delete(self, locations: Iterable[str]) -> None:
        paths = [self.path(location) for location in locations]
        if paths:
            with self.failures(self._store.url):
                self._store.remove_all(paths)

    def discard(self, locations: Iterable[str]) -> None:
        """Remove objects that nobody needs. Where that fails they are left: a later run sweeps."""
        with suppress(PenstockError):
            self._delete(locations)

    def get(self, location: str) -> bytes:
        """A whole metadata file. Manifests and their lists, which never change, are read once."""
        content = self._manifests.get(location)
        if content is None:
            with self.failures(location):
                content = cast(bytes, self._files.cat_file(self.path(location), start=0))  # else s3fs asks for the size
            self._keep(location, content)
        return content

    def _keep(self, location: str, content: bytes) -> None:
        if location.endswith(".avro") and self._kept + len(content) <= _KEPT:
            self._kept += len(content)
            self._manifests[location] = content

    def put(self, location: str, content: bytes) -> None:
        """Store a whole object."""
        with self.failures(location):
            self._files.pipe_file(self.path(location), content)
        self.sized(location, len(content))
        self._keep(location, content)

    def exists(self, location: str) -> bool:
        """Whether there is such an object."""
        with self.failures(location):
            return bool(self._files.exists(self.path(location)))

    @contextmanager
    def failures(self, location: str) -> Iterator[None]:
        """Translate what the store's client raises."""
        with trouble(self._subject, location, self._store.translate):
            yield


def _modified(seen: dict[str, Any]) -> datetime:
    value = next(seen[key] for key in _WRITTEN if seen.get(key))
    moment = datetime.fromisoformat(value) if isinstance(value, str) else cast(datetime, value)
    return moment if moment.tzinfo else moment.replace(tzinfo=UTC)


class _NewObject:
    """An object that is being written. Dropped without `close`, nothing of it is stored."""

    def __init__(self, warehouse: ObjectWarehouse, location: str, file: Any) -> None:
        self._warehouse, self._location, self._file = warehouse, location, file
        self._written = _Translated(warehouse, location, file)
        self.stream = cast(BinaryIO, self._written)

    def close(self) -> None:
        if not self._file.closed:
            size = self._file.tell()
            with self._warehouse.failures(self._location):
                self._file.close()
            self._warehouse.sized(self._location, size)

    def ignore(self) -> None:
        self._written.ignored = True

    def abort(self) -> None:
        if self._file.closed:
            return
        try:
            with self._warehouse.failures(self._location):
                self._file.discard()
        except PenstockError:
            pass  # the store does not answer; what was sent is swept by the next run
        finally:
            self._file.closed = True  # else its finalizer would store what was written so far


class _Translated:
    """What pyarrow writes to. Closing it leaves the object open: who created it decides whether it is stored."""

    def __init__(self, warehouse: ObjectWarehouse, location: str, file: Any) -> None:
        self._warehouse, self._location, self._file = warehouse, location, file
        self.closed = self.ignored = False

    def write(self, content: Any) -> int:
        if self.ignored:
            return len(content)
        with self._warehouse.failures(self._location):
            return int(self._file.write(bytes(content)))

    def tell(self) -> int:
        return int(self._file.tell())

    def flush(self) -> None:
        """Nothing: parts of an upload have a least size."""

    def close(self) -> None:
        self.closed = True


class _ObjectIO(FileIO):
    """Metadata files, each read and written whole."""

    def __init__(self, warehouse: ObjectWarehouse) -> None:
        super().__init__()
        self._warehouse = warehouse

    def new_input(self, location: str) -> "_ObjectInput":
        return _ObjectInput(self._warehouse, location)

    def new_output(self, location: str) -> "_ObjectOutput":
        return _ObjectOutput(self._warehouse, location)

    def delete(self, location: str | InputFile | OutputFile) -> None:
        self._warehouse.discard([location if isinstance(location, str) else location.location])


class _Object:
    """What reading and writing an object have in common. To come before pyiceberg's classes, which are abstract."""

    location: str

    def __init__(self, warehouse: ObjectWarehouse, location: str) -> None:
        super().__init__(location)  # type: ignore[call-arg] # that of InputFile or OutputFile
        self._warehouse = warehouse

    def __len__(self) -> int:
        return self._warehouse.size(self.location)

    def exists(self) -> bool:
        """Whether there is such an object."""
        return self._warehouse.exists(self.location)


class _ObjectInput(_Object, InputFile):
    def open(self, seekable: bool = True) -> Any:
        """A metadata file as a whole; of a data file, what is asked for."""
        del seekable
        if self.location.endswith(_PARQUET):
            return self._warehouse.read(self.location)
        return io.BytesIO(self._warehouse.get(self.location))


class _ObjectOutput(_Object, OutputFile):
    def to_input_file(self) -> _ObjectInput:
        return _ObjectInput(self._warehouse, self.location)

    def create(self, overwrite: bool = False) -> Any:
        """Names of metadata files have a UUID, so that nothing is ever overwritten."""
        del overwrite
        return _Whole(self._warehouse, self.location)


class _Whole:
    """Content that is stored when it is closed, but not when an exception ends its block."""

    def __init__(self, warehouse: ObjectWarehouse, location: str) -> None:
        self._warehouse, self._location = warehouse, location
        self._content = io.BytesIO()
        self.closed = False

    def write(self, content: bytes) -> int:
        return self._content.write(content)

    def tell(self) -> int:
        return self._content.tell()

    def close(self) -> None:
        if not self.closed:
            self.closed = True
            self._warehouse.put(self._location, self._content.getvalue())

    def __enter__(self) -> "_Whole":
        return self

    def __exit__(self, kind: object, *_: object) -> None:
        if kind is None:
            self.close()
