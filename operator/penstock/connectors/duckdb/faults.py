"""What DuckDB's failures mean to a user: which file, what is wrong with it, and what to do."""

import re
from collections.abc import Callable, Iterator
from contextlib import contextmanager

import duckdb

from penstock.language.errors import InvalidSpec, NotYet, PenstockError
from penstock.worker.rows import engine

_HOLDER = re.compile(r"Conflicting lock is held in (?P<program>.+?) \(PID (?P<pid>[1-9]\d*)\)")


class FileLocked(NotYet):
    """Another process has the file open, and this one cannot have it meanwhile."""


def locked(subject: str, message: str = "") -> FileLocked:
    """The failure to open a file that another process has open, with its program where DuckDB names it."""
    holder = _HOLDER.search(message)
    program = f", {holder['program']} (PID {holder['pid']})" if holder else ""
    return FileLocked(f"{subject} is open in another process{program}. It is tried again.", "Unreachable")


def is_lock(error: Exception) -> bool:
    """Whether the file could not be opened because another process has it open."""
    return "could not set lock on file" in str(error).lower()


def _wrong(what: str) -> Callable[[str], PenstockError]:
    return lambda subject: InvalidSpec(f"{subject} {what}", "WrongSpecification")


_DAMAGED = _wrong("is damaged. Restore a copy of it.")
_OUTSIDE = _wrong("reads another file or uses what is switched off here: only the tables of this file can be read.")
_MEANINGS: tuple[tuple[tuple[str, ...], Callable[[str], PenstockError]], ...] = (
    (("encrypted database", "encryption key"), _wrong("is encrypted, and encrypted databases cannot be read.")),
    (
        ("created with a newer version",),
        _wrong(
            f"was written by a newer DuckDB than {duckdb.__version__}, which Penstock has. Write it with an earlier "
            "STORAGE_VERSION."
        ),
    ),
    (
        ("storage version number",),
        _wrong(
            f"was written by a DuckDB that is too old for {duckdb.__version__}, which Penstock has. EXPORT DATABASE "
            "with the old one, and IMPORT DATABASE into a new file."
        ),
    ),
    (("not a valid duckdb database file",), _wrong("is not a DuckDB database.")),
    (("corrupt", "checksum", "could not read enough bytes", "wal file", "replaying wal"), _DAMAGED),
    (
        ("no space left", "disk full", "disk quota", "file too large", "max_temp_directory_size"),
        lambda subject: NotYet(f"{subject}: no space is left on the volume or for temporary files.", "StorageFull"),
    ),
    (
        ("permission denied", "read-only file system"),
        lambda subject: InvalidSpec(f"{subject} may not be opened. Check the permissions.", "WrongCredentials"),
    ),
    (("is a directory",), _wrong("is a folder.")),
    (("file system operations are disabled", "cannot be loaded", "extension"), _OUTSIDE),
)
"""What DuckDB's messages mean, by parts of them: it has no codes that tell these apart."""

_NO_MEMORY = ("failed to pin block", "failed to allocate")
"""Parts of DuckDB's messages where memory was short, also in those of other failures: of a commit, for example."""


def meaning(error: Exception, subject: str) -> PenstockError:
    """What the failure means. A failure of a query keeps DuckDB's own sentence, which quotes the query alone."""
    message = str(error).lower()
    if is_lock(error):
        return locked(subject, str(error))
    for parts, make in _MEANINGS:
        if any(part in message for part in parts):
            return make(subject)
    if isinstance(error, OSError | duckdb.IOException):
        return NotYet(f"{subject} could not be read from its volume, or written to it.", "Unreachable")
    return InvalidSpec(f"{subject}: {engine.one_line(error).rstrip('.')[:300]}.", "WrongSpecification")


@contextmanager
def translated(subject: str) -> Iterator[None]:
    """Translate what DuckDB raises. `subject` names the object, the file, and the table or query."""
    try:
        yield
    except duckdb.OutOfMemoryException:
        raise  # the worker says how to raise its memory
    except (duckdb.Error, OSError) as error:
        if isinstance(error, duckdb.Error) and any(part in str(error).lower() for part in _NO_MEMORY):
            raise duckdb.OutOfMemoryException(str(error)) from None
        raise meaning(error, subject) from None
