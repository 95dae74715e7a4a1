"""A SQLite journal that names another file, as a cut transaction over several databases leaves one."""

import sqlite3
from pathlib import Path

_MAGIC = bytes.fromhex("d9d505f920a163d7")


def cut(database: Path, names: Path) -> bytes:
    """The journal of a transaction over several databases that was cut, and that names its common journal."""
    connection = sqlite3.connect(database, isolation_level=None)
    connection.execute("BEGIN IMMEDIATE")
    connection.execute("CREATE TABLE cut (a)")
    connection.execute("PRAGMA cache_spill = 1")
    connection.execute("PRAGMA cache_size = 1")
    for _ in range(50):
        connection.execute("INSERT INTO cut VALUES (randomblob(3000))")
    hot = Path(f"{database}-journal").read_bytes()
    connection.execute("ROLLBACK")
    connection.close()
    name = str(names).encode()
    return hot + b"".join((b"\0\0\0\0", name, len(name).to_bytes(4), sum(name).to_bytes(4), _MAGIC))
