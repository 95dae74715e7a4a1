"""SQLite files on a claim, opened so that no link leads out of it.

SQLite opens a database, and its journal and WAL beside it, by their names. It resolves the links in the path first,
and then opens each file with O_NOFOLLOW. So the path is walked without following links before, and afterwards it is
checked that SQLite has resolved it to the same path and that this process has that very file open.
"""

import os
import sqlite3
from pathlib import Path
from typing import Any
from urllib.parse import quote

from penstock.connectors.files.stores import beneath

BESIDE = ("-journal", "-wal", "-shm")
"""What SQLite adds to the name of a database for the files that belong to it."""
_JOURNAL_MAGIC = bytes.fromhex("d9d505f920a163d7")


def connect(root: Path, name: str, *, mode: str = "rwc", **settings: Any) -> sqlite3.Connection:
    """A connection to the database `name` beneath the folder `root`, which is created for the mode `rwc`.

    Raises FileNotFoundError, `beneath.Refused`, and sqlite3.Error.
    """
    above, _, file = name.rpartition("/")
    path = Path(os.path.realpath(root)).joinpath(*beneath.parts(name))
    with beneath.folder(root, above) as parent:
        for each in (file, *(file + suffix for suffix in BESIDE)):
            beneath.check_file(parent, each, second_name=mode == "ro")
        if mode != "rwc":
            os.stat(file, dir_fd=parent, follow_symlinks=False)
        _check_journal(parent, f"{file}-journal")
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
