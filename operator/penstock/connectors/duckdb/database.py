"""A DuckDB file, opened to be read by several processes, or to be written by one alone.

A process opens a file once, whoever in it asks for it: DuckDB allows no second instance of one file in a process. Who
asks later gets a cursor of the same instance; when the last one is closed, the file and its lock are free again.

This module never opens a file that is in use itself, not even to look at it: closing any descriptor of a file ends the
locks that the process has on it (fcntl), also those of DuckDB.

DuckDB opens a file and its write-ahead log by their names, after it has resolved the links in them; it cannot be given
a descriptor, since it resolves `/proc/self/fd/N` too. So both are checked before and after it has opened them, and
that what it has open is the file that was checked. One thing remains: DuckDB closes the log after it has read it. Who
replaces the log by a link, or a folder above it, for just that moment, and puts everything back before the second
check, has DuckDB read another log. From storage version 1.4 (STORAGE_VERSION) on it refuses the log of another
database; the log of an older one adds the rows of that log to the tables that have the same names. A file that is
written has its log created and removed by name at commits and checkpoints, too: who puts a link in the place of a
folder above it during a run has the log written beside the file of that name there.
"""

import os
import secrets
import shutil
import stat
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor, wait
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import TypeVar

import duckdb

from penstock.connectors.duckdb import faults
from penstock.connectors.files.stores import beneath
from penstock.language.errors import InvalidSpec
from penstock.language.volumes import Volume
from penstock.worker.pod import Pod
from penstock.worker.rows import engine
from penstock.worker.rows.engine import Connection

_POLL = 0.05
_SHARE = 3
"""A third of the Pod's memory is the file's; the rest is for the rows on their way."""
_NO_LIMIT = 2 << 30
_SMALLEST = 64 << 20
_LOGS = (".wal", ".wal.checkpoint", ".wal.recovery")
"""What DuckDB adds to the name of a file for its write-ahead logs."""

_Result = TypeVar("_Result")


@dataclass
class _Instance:
    """A file that this process has open."""

    connection: Connection
    writable: bool
    users: int = 0


@dataclass(frozen=True)
class _Instances:
    """The files that this process has open, by their paths."""

    lock: threading.Lock = field(default_factory=threading.Lock)
    by_path: dict[Path, _Instance] = field(default_factory=dict)


_instances = _Instances()


@dataclass(frozen=True)
class DatabaseFile:
    """Where a file is: its path `name` relative to the mounted claim `root`.

    `subject` begins messages: the object of the user, and the path in the manifest. `claim` is the claim's name. With
    `writable`, the file is opened to be written, and created where it is missing.
    """

    root: Path
    name: str
    subject: str
    claim: str
    memory: int
    threads: int
    scratch: Path
    writable: bool = False

    @property
    def path(self) -> Path:
        """The file's path."""
        return self.root.joinpath(*beneath.parts(self.name))

    @contextmanager
    def opened(self, patience: float) -> Iterator[Connection]:
        """A connection to the file. It waits `patience` seconds for another process to close it.

        Raises FileLocked, InvalidSpec (the file is missing, damaged, of another version, …) and NotYet.
        """
        give_up = time.monotonic() + patience
        while True:
            try:
                with faults.translated(self.subject):
                    connection = self._acquire()
                break
            except faults.FileLocked:
                if time.monotonic() > give_up:
                    raise
            time.sleep(_POLL)
        try:
            yield connection
        finally:
            connection.close()
            self._release()

    def _acquire(self) -> Connection:
        with _instances.lock:
            there = _instances.by_path.get(self.path)
            if there is None:
                there = _Instance(self._connect(), self.writable)
                _instances.by_path[self.path] = there
            elif self.writable and not there.writable:
                message = f"{self.subject} is read by this run, too. Load into another file than is read."
                raise InvalidSpec(message, "WrongSpecification")
            there.users += 1
            return there.connection.cursor()

    def _connect(self) -> Connection:
        """Open the file. Raises InvalidSpec for what is no regular file, or is reached or accompanied by a link."""
        above, _, name = self.name.rpartition("/")
        try:
            with beneath.folder(self.root, above, create=self.writable) as parent:
                if self.writable:
                    self._create(parent, name)
                _check(parent, name, second_name=not self.writable)
                connection = engine.connect(
                    self.memory, self.threads, self.scratch, file=self.path, read_only=not self.writable
                )
                try:
                    _check(parent, name, second_name=not self.writable)
                    beneath.require_opened(self.path, parent, name)
                except BaseException:
                    connection.close()
                    raise
                return connection
        except beneath.Refused as refused:
            if refused.path == name:
                raise InvalidSpec(f"{self.subject} {refused.what}.", "WrongSpecification") from None
            message = f"{self.subject}: {refused.path} in claim {self.claim} {refused.what}."
            raise InvalidSpec(message, "WrongSpecification") from None
        except FileNotFoundError:
            raise InvalidSpec(f"{self.subject} does not exist. Check the path.", "ResourceNotFound") from None

    def _create(self, parent: int, name: str) -> None:
        """Create the file where it is missing: as a whole, since a worker may be killed meanwhile."""
        with suppress(FileNotFoundError):
            os.stat(name, dir_fd=parent, follow_symlinks=False)
            return
        empty = self.scratch / f"{secrets.token_hex(8)}.duckdb"
        engine.connect(self.memory, self.threads, self.scratch, file=empty).close()
        try:
            with beneath.written(self.root, self.name) as (file, placed):
                with empty.open("rb") as content:
                    shutil.copyfileobj(content, file)
                file.flush()
                os.fsync(file.fileno())
                with suppress(FileExistsError):  # another process was faster
                    placed.new()
        finally:
            empty.unlink()

    def _release(self) -> None:
        with _instances.lock:
            there = _instances.by_path[self.path]
            there.users -= 1
            if not there.users:
                del _instances.by_path[self.path]
                there.connection.close()


def at(path: str, volume: Volume, pod: Pod, owner: str, *, writable: bool = False) -> DatabaseFile:
    """The file at `path`. `owner` begins messages, such as "Source shop".

    Raises InvalidSpec when the claim is not mounted.
    """
    mount = pod.path(volume.mount_path)
    if not mount.is_dir():
        message = f"{owner}: claim {volume.claim_name} is not mounted. Create it."
        raise InvalidSpec(message, "ResourceNotFound")
    memory = max((pod.memory or _NO_LIMIT) // _SHARE, _SMALLEST)
    inside = path.removeprefix(f"{volume.mount_path}/")
    return DatabaseFile(
        mount, inside, f"{owner}: {path}", volume.claim_name, memory, pod.processors, pod.scratch, writable
    )


def _check(parent: int, name: str, *, second_name: bool) -> None:
    """Raise FileNotFoundError, or Refused for what is no regular file, or has a log that is none.

    With `second_name`, hard links are no fault: what is only read may have them.
    """
    if stat.S_ISDIR(os.stat(name, dir_fd=parent, follow_symlinks=False).st_mode):
        raise beneath.Refused(name, "is a folder")
    for each in (name, *(name + log for log in _LOGS)):
        beneath.check_file(parent, each, second_name=second_name)


class Worker:
    """The thread that executes the statements of one connection, so that a signal's handler can end them by raising.

    In the main thread DuckDB hears signals late.
    """

    def __init__(self, connection: Connection) -> None:
        self.connection = connection
        self._executor = ThreadPoolExecutor(1, thread_name_prefix="duckdb")

    def do(self, call: Callable[[], _Result]) -> _Result:
        """Do it in the thread, interrupted when the calling thread raises meanwhile."""
        running: Future[_Result] = self._executor.submit(call)
        try:
            return running.result()
        except BaseException:
            while not running.done():  # one that comes before the statement has begun is forgotten
                self.connection.interrupt()
                wait([running], timeout=0.1)
            raise

    def close(self) -> None:
        """End the thread, and the transaction of the connection."""
        with suppress(duckdb.Error):
            self.do(lambda: self.connection.execute("ROLLBACK"))
        self._executor.shutdown(wait=True)
