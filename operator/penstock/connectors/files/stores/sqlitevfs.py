"""A VFS of SQLite that opens a database and what belongs to it in a folder that is open already.

SQLite's own VFS resolves the links in a path, and later opens the journal and the WAL by the name that it got so:
whoever can replace a folder meanwhile leads it elsewhere. Under this VFS a path is `/proc/self/fd/N/name`, where N is
a descriptor of the folder, and it is used as it stands. The system goes from the descriptor to the folder itself,
wherever it has been moved, and SQLite opens the last part with O_NOFOLLOW. So no link is followed.

A journal may name another file, which SQLite removes after it has rolled the journal back (a "super-journal"). This VFS
removes only the files that belong to an open database.

It is a copy of SQLite's own, with two of its functions replaced. See https://www.sqlite.org/c3ref/vfs.html.
"""

import ctypes
import os
import sqlite3
import sys
from contextlib import suppress
from typing import Any
from urllib.parse import quote

BESIDE = ("-journal", "-wal", "-shm")
"""What SQLite adds to the name of a database for the files that belong to it."""
_NAME = b"penstock-in-open-folder"
_OK, _REFUSED = 0, 14  # SQLITE_OK, SQLITE_CANTOPEN
_FULL_PATHNAME = ctypes.CFUNCTYPE(ctypes.c_int, ctypes.c_void_p, ctypes.c_char_p, ctypes.c_int, ctypes.c_void_p)
_DELETE = ctypes.CFUNCTYPE(ctypes.c_int, ctypes.c_void_p, ctypes.c_char_p, ctypes.c_int)


class _Vfs(ctypes.Structure):
    """`sqlite3_vfs`, of version 3."""

    _fields_ = (
        ("iVersion", ctypes.c_int),
        ("szOsFile", ctypes.c_int),
        ("mxPathname", ctypes.c_int),
        ("pNext", ctypes.c_void_p),
        ("zName", ctypes.c_char_p),
        ("pAppData", ctypes.c_void_p),
        ("xOpen", ctypes.c_void_p),
        ("xDelete", _DELETE),
        ("xAccess", ctypes.c_void_p),
        ("xFullPathname", _FULL_PATHNAME),
        *((f"further{number}", ctypes.c_void_p) for number in range(12)),
    )


class _InOpenFolder:
    """The VFS, registered with the SQLite that Python uses. It must live as long as the process."""

    def __init__(self, library: ctypes.CDLL) -> None:
        """Raises AttributeError where SQLite's functions cannot be reached: they are built into Python itself."""
        library.sqlite3_vfs_find.restype = ctypes.c_void_p
        library.sqlite3_vfs_find.argtypes = [ctypes.c_char_p]
        library.sqlite3_vfs_register.argtypes = [ctypes.c_void_p, ctypes.c_int]
        original = library.sqlite3_vfs_find(b"unix")
        if not original:
            raise AttributeError("sqlite3_vfs_find")
        self._removable: set[bytes] = set()
        self._original = _Vfs.from_address(original)
        self._vfs = _Vfs.from_buffer_copy(self._original)
        self._vfs.zName, self._vfs.pNext = _NAME, None
        self._vfs.xFullPathname = _FULL_PATHNAME(_unchanged)
        self._vfs.xDelete = _DELETE(self._delete)
        if library.sqlite3_vfs_register(ctypes.addressof(self._vfs), 0) != _OK:
            raise AttributeError("sqlite3_vfs_register")

    def _delete(self, _: int, path: bytes, durably: int) -> int:
        if path not in self._removable:
            return _REFUSED
        original: int = self._original.xDelete(ctypes.addressof(self._vfs), path, durably)
        return original

    def add(self, path: str) -> None:
        """Let the files that belong to the database be removed."""
        self._removable.update(os.fsencode(path + suffix) for suffix in BESIDE)

    def discard(self, path: str) -> None:
        """Let them be removed no more."""
        self._removable.difference_update(os.fsencode(path + suffix) for suffix in BESIDE)


def _unchanged(_: int, path: bytes, size: int, place: int) -> int:
    """The path as it stands, where it has room."""
    if len(path) >= size:
        return _REFUSED
    ctypes.memmove(place, path + b"\0", len(path) + 1)
    return _OK


def _registered() -> _InOpenFolder | None:
    import _sqlite3

    if sys.platform != "linux" or not os.path.isdir("/proc/self/fd"):
        return None
    with suppress(AttributeError, OSError):
        return _InOpenFolder(ctypes.CDLL(getattr(_sqlite3, "__file__", None)))
    return None


_vfs = _registered()
AVAILABLE = _vfs is not None
"""Whether there is the VFS: on Linux, with a Python whose SQLite is a shared library, as in Debian's and Docker's."""


class _Connection(sqlite3.Connection):
    """A connection that keeps the folder of its files open, and closes it after itself."""

    folder: int | None = None
    path = ""

    def close(self) -> None:
        super().close()  # it may still write and remove the journal
        folder, self.folder = self.folder, None
        if folder is not None and _vfs is not None:
            _vfs.discard(self.path)
            os.close(folder)

    def __del__(self) -> None:
        with suppress(sqlite3.Error):  # of another thread: its folder stays open, so that N is no other folder's
            self.close()


def connect(parent: int, file: str, *, mode: str, **settings: Any) -> sqlite3.Connection:
    """A connection to the database `file` in the open folder, where AVAILABLE. Raises sqlite3.Error, for a link too."""
    assert _vfs is not None  # noqa: S101 - the caller has looked
    folder = os.dup(parent)
    path = f"/proc/self/fd/{folder}/{file}"
    _vfs.add(path)
    try:
        uri = f"file:{quote(path)}?mode={mode}&vfs={_NAME.decode()}"
        connection = sqlite3.connect(uri, uri=True, factory=_Connection, **settings)
    except BaseException:
        _vfs.discard(path)
        os.close(folder)
        raise
    connection.folder, connection.path = folder, path
    return connection
