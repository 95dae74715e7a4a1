"""SQLite files on a claim, opened so that no link leads out of it.

On Linux the folder of a database is opened without following links, and SQLite opens the database, its journal, its WAL
and its shared memory in that very folder (see `sqlitevfs`): nothing that is put there afterwards leads elsewhere.

Where that VFS cannot be had (macOS, or a Python with SQLite built in), SQLite opens a database, and its journal and WAL
beside it, by their names. It resolves the links in the path first, and then opens each file with O_NOFOLLOW. So the
path is walked without following links before, and afterwards it is checked that SQLite has resolved it to the same path
and that this process has that very file open. Somebody who replaces a folder of the path by a link after that check can
still lead the journal and the WAL elsewhere. Only `penstock up` runs there, whose workers are processes of the user.
"""

import os
import sqlite3
from pathlib import Path
from typing import Any
from urllib.parse import quote

from penstock.connectors.files.stores import beneath, sqlitevfs

BESIDE = sqlitevfs.BESIDE
_JOURNAL_MAGIC = bytes.fromhex("d9d505f920a163d7")


def connect(
    root: Path, name: str, *, mode: str = "rwc", in_open_folder: bool = sqlitevfs.AVAILABLE, **settings: Any
) -> sqlite3.Connection:
    """A connection to the database `name` beneath the folder `root`, which is created for the mode `rwc`.

    `in_open_folder` says which of the two ways is used. Raises FileNotFoundError, `beneath.Refused`, sqlite3.Error.
    """
    above, _, file = name.rpartition("/")
    with beneath.folder(root, above) as parent:
        _check_files(parent, file, mode)
        if mode != "rwc":
            os.stat(file, dir_fd=parent, follow_symlinks=False)
        _check_journal(parent, f"{file}-journal")
        if not in_open_folder:
            return _by_name(Path(os.path.realpath(root)).joinpath(*beneath.parts(name)), parent, mode, settings)
        try:
            return sqlitevfs.connect(parent, file, mode=mode, **settings)
        except sqlite3.Error:
            _check_files(parent, file, mode)  # a link was put there meanwhile
            raise


def _check_files(parent: int, file: str, mode: str) -> None:
    for each in (file, *(file + suffix for suffix in BESIDE)):
        beneath.check_file(parent, each, second_name=mode == "ro")


def _by_name(path: Path, parent: int, mode: str, settings: dict[str, Any]) -> sqlite3.Connection:
    file = path.name
    connection: sqlite3.Connection = sqlite3.connect(f"file:{quote(str(path))}?mode={mode}", uri=True, **settings)
    try:
        ((_, _, resolved),) = connection.execute("PRAGMA database_list").fetchall()
        if resolved != str(path):
            raise beneath.Refused(file, "is a link, and links in a claim are not followed")
        beneath.check_file(parent, file, second_name=mode == "ro")
        beneath.require_opened(path, parent, file)
    except BaseException:
        connection.close()
        raise
    return connection


def _check_journal(parent: int, journal: str) -> None:
    """Raise Refused for a journal that names another one, which SQLite would read and remove wherever it is.

    Only a transaction over several databases leaves such a journal, and there are none of those.
    """
    try:
        opened = os.open(journal, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC, dir_fd=parent)
    except FileNotFoundError:
        return
    with os.fdopen(opened, "rb") as content:
        end = content.seek(0, os.SEEK_END)
        content.seek(max(end - len(_JOURNAL_MAGIC), 0))
        if end > len(_JOURNAL_MAGIC) and content.read() == _JOURNAL_MAGIC:
            raise beneath.Refused(journal, "belongs to a transaction over several databases")
