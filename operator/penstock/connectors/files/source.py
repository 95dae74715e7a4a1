"""Files as a Source: one stream, whose inputs are files, each version of each file read at most once."""

from collections.abc import Callable, Generator, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from typing import Any, BinaryIO, cast

from penstock.connectors.files import formats, stores
from penstock.connectors.files.discovery import sniff
from penstock.connectors.files.spec import FilesSource as FilesSpec
from penstock.connectors.files.spec import Format
from penstock.connectors.files.stores import Open, Store, StoredFile
from penstock.language.errors import InvalidSpec
from penstock.runs.order import SourceOrder
from penstock.worker.pod import Pod
from penstock.worker.ports.source import (
    CursorRequest,
    Input,
    Json,
    OpenReader,
    Plan,
    Reader,
    Stream,
    StreamRequest,
    Work,
)


@dataclass(frozen=True)
class Place:
    """Files of one format at one place. `where` names the Source and its URL, for messages."""

    where: str
    store: Store
    glob: str | None
    format: Format
    compression: str
    pod: Pod


class FilesSource:
    """The files that a Source describes."""

    def __init__(self, order: SourceOrder, pod: Pod) -> None:
        """Raises InvalidSpec (SecretMissing, ResourceNotFound)."""
        files = order.connector.spec
        if not isinstance(files, FilesSpec):
            raise InvalidSpec(f"Source {order.name}: there is nothing to read; choose connector.files.")
        subject = f"Source {order.name}"
        store = stores.at(files, order.auth, pod, subject)
        self._name = order.name
        self._place = Place(
            f"{subject}: {files.url}{files.glob or ''}", store, files.glob, files.format, files.compression, pod
        )

    def check(self) -> None:
        """Raises InvalidSpec (ResourceNotFound) when there is no file, so that a misspelt glob is seen at once."""
        self._stored_file()

    def discover(self) -> Iterable[Stream]:
        """The one stream, named like the Source, with the columns of its first file."""
        stored = self._stored_file()
        place = self._place
        opened = partial(self._reader, stored[0], place.store.open)
        fields = sniff(stored[0], place.format, opened, place.pod.scratch)
        size = sum(max(file.size, 0) for file in stored)
        return [Stream(self._name, tuple(fields), inputs=len(stored), bytes=size)]

    @contextmanager
    def session(self, _: Sequence[StreamRequest]) -> Iterator["FilesSession"]:
        """A session; files need nothing to be kept open."""
        yield FilesSession(self._place, self._reader)

    def _stored_file(self) -> list[StoredFile]:
        stored = self._place.store.list_files(self._place.glob)
        if not stored:
            raise InvalidSpec(f"{self._place.where} matches no file. Check url and glob.", "ResourceNotFound")
        return stored

    def _reader(self, stored: StoredFile, opened: Open) -> formats.Reader:
        place = self._place
        room = formats.Room(place.pod.scratch, place.pod.memory)
        return formats.reader(opened, stored, place.format, place.compression, room)


class FilesSession:
    """Files being read."""

    ordered = False

    def __init__(self, place: Place, reader: Callable[[StoredFile, Open], formats.Reader]) -> None:
        self._place, self._reader = place, reader

    def plan(self, stream: str, cursor: CursorRequest | None = None) -> Plan:
        """Every file that there is now; its version is what its store says changes with its content."""
        del stream, cursor
        return Plan(tuple(_input(stored) for stored in self._place.store.list_files(self._place.glob)))

    def readers(self, _: str, parts: Sequence[Json]) -> Generator[OpenReader, None, None]:
        """What opens each file. Small files are fetched ahead, many at once."""
        files = [StoredFile(**part) for part in parts]
        if all(0 <= stored.size <= stores.SMALL for stored in files):
            with stores.ahead(self._place.store, files) as opened:
                for stored, content in zip(files, opened, strict=True):
                    yield partial(self._open, stored, content)
            return
        for stored in files:
            yield partial(self._open, stored, self._place.store.open)

    def _open(self, stored: StoredFile, opened: Open) -> Reader:
        counter = _Counter()
        reader = self._reader(stored, lambda file: cast(BinaryIO, _Counted(opened(file), counter)))
        return Reader(
            reader.columns, partial(_works, reader), reader.close, reader.most_rows, bytes_read=lambda: counter.bytes
        )

    def acknowledge(self, states: Mapping[str, Json]) -> None:
        """Files stay as they are."""


def _input(stored: StoredFile) -> Input:
    part: dict[str, Any] = {"url": stored.url, "etag": stored.etag, "size": stored.size}
    return Input(stored.url, f"{stored.etag} {stored.size}", (part,), stored.size)


def _works(reader: formats.Reader, names: Sequence[str]) -> Iterator[Work]:
    for work in reader.works_for(names):
        yield partial(work, tuple(names))


@dataclass
class _Counter:
    """Bytes that were read of a file as it lies at the source."""

    bytes: int = 0


class _Counted:
    """A stream whose bytes are counted."""

    def __init__(self, stream: BinaryIO, counter: _Counter) -> None:
        self._stream, self._counter = stream, counter

    def read(self, size: int = -1) -> bytes:
        """The next bytes, at most `size` of them."""
        block = self._stream.read(size)
        self._counter.bytes += len(block)
        return block

    def close(self) -> None:
        """Close the stream."""
        self._stream.close()

    def __enter__(self) -> "_Counted":
        return self

    def __exit__(self, *_: object) -> None:
        self.close()
