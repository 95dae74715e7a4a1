"""Paths beneath a folder that other people can write to, opened without following any link.

A claim may be shared. Whoever can write to it can put a link in it, also while a run is reading: a path that was
checked and is then opened by its name may lead elsewhere. So every part of a path is opened by itself, relative to
the part before it and with O_NOFOLLOW, from the root of the claim on. A path that would pass a link is refused,
wherever the link leads. Only regular files are read: a FIFO blocks, and a device is no file.
"""

import os
import secrets
import stat
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import BinaryIO

DEEPEST = 100
"""How many folders may lie in one another: each that is entered takes an open file."""
_DIRECTORY = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC
_FILE = os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC
_NEW = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC


class Refused(OSError):
    """The path passes a link, or is no regular file. `path` is relative to the root, `what` says what is there."""

    def __init__(self, path: str, what: str) -> None:
        super().__init__(None, what)
        self.path, self.what = path, what


@dataclass(frozen=True)
class Entry:
    """A regular file: its path relative to the folder, and its status."""

    name: str
    status: os.stat_result


def check_file(parent: int, name: str, *, second_name: bool = False) -> None:
    """Raise Refused unless `name` in the open folder is a regular file or nothing.

    A file with a second name, a hard link, is refused too unless `second_name`: what is written to it is written there.
    """
    try:
        status = os.stat(name, dir_fd=parent, follow_symlinks=False)
    except FileNotFoundError:
        return
    if stat.S_ISLNK(status.st_mode):
        raise Refused(name, "is a link, and links in a claim are not followed")
    if not stat.S_ISREG(status.st_mode):
        raise Refused(name, "is no regular file")
    if status.st_nlink > 1 and not second_name:
        raise Refused(name, "has a second name, a hard link")


def check_folder(parent: int, name: str) -> None:
    """Raise Refused if a part of the path beneath the open folder is a link or no folder. It may be missing."""
    current = os.dup(parent)
    try:
        passed: list[str] = []
        for part in parts(name):
            passed.append(part)
            try:
                following = _enter(current, part, "/".join(passed), create=False)
            except FileNotFoundError:
                return
            os.close(current)
            current = following
    finally:
        os.close(current)


def folders(parent: int, name: str) -> list[str]:
    """The names in the folder `name` of the open folder, links to folders among them; none where it is missing."""
    check_folder(parent, name)
    try:
        opened = os.open(name, _DIRECTORY, dir_fd=parent)
    except FileNotFoundError:
        return []
    try:
        return sorted(os.listdir(opened))
    finally:
        os.close(opened)


def parts(name: str) -> tuple[str, ...]:
    """The parts of a relative path. Raises Refused for one that is absolute or goes up."""
    if "\0" in name or name.startswith("/") or ".." in name.split("/"):
        raise Refused(name, "is no path beneath the folder")
    return tuple(part for part in PurePosixPath(name).parts if part != ".")


@contextmanager
def folder(root: Path, name: str, *, create: bool = False) -> Iterator[int]:
    """A descriptor of the folder `name` beneath `root`, created with its parents where `create` says so.

    `root` itself may be a link: it is where the claim is mounted. Raises FileNotFoundError and Refused.
    """
    current = os.open(root, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        passed: list[str] = []
        for part in parts(name):
            passed.append(part)
            following = _enter(current, part, "/".join(passed), create=create)
            os.close(current)
            current = following
        yield current
    finally:
        os.close(current)


def _enter(parent: int, part: str, path: str, *, create: bool) -> int:
    if create:
        with suppress(FileExistsError):
            os.mkdir(part, dir_fd=parent)
    try:
        return os.open(part, _DIRECTORY, dir_fd=parent)
    except OSError as error:
        if isinstance(error, FileNotFoundError):
            raise
        raise _why(parent, part, path, error, "is no folder") from None


def _why(parent: int, part: str, path: str, error: OSError, otherwise: str) -> OSError:
    """What to raise for a part that cannot be opened: Refused where it is a link or of another kind."""
    try:
        mode = os.stat(part, dir_fd=parent, follow_symlinks=False).st_mode
    except OSError:
        return error
    if stat.S_ISLNK(mode):
        return Refused(path, "is a link, and links in a claim are not followed")
    return Refused(path, otherwise) if isinstance(error, NotADirectoryError) else error


def read(root: Path, name: str) -> int:
    """A descriptor of the regular file `name` beneath `root`, to be closed by the caller.

    Raises FileNotFoundError, and Refused for what passes a link or is no regular file.
    """
    above, last = _split(name)
    with folder(root, above) as parent:
        try:
            opened = os.open(last, _FILE, dir_fd=parent)
        except OSError as error:
            if isinstance(error, FileNotFoundError):
                raise
            raise _why(parent, last, name, error, "is no file") from None
        try:
            if not stat.S_ISREG(os.fstat(opened).st_mode):
                raise Refused(name, "is no regular file")
        except BaseException:
            os.close(opened)
            raise
        return opened


def create(root: Path, name: str) -> int:
    """A descriptor of the new file `name` beneath `root`, to be written and closed by the caller.

    Folders that are missing are made. Raises FileExistsError for a name that is taken, also by a link, and Refused.
    """
    above, last = _split(name)
    with folder(root, above, create=True) as parent:
        return os.open(last, _NEW, 0o666, dir_fd=parent)


def status(root: Path, name: str) -> os.stat_result:
    """The status of what has the name, of the link itself where it is one. Raises FileNotFoundError and Refused."""
    above, last = _split(name)
    with folder(root, above) as parent:
        return os.stat(last, dir_fd=parent, follow_symlinks=False)


def _split(name: str) -> tuple[str, str]:
    path = parts(name)
    if not path:
        raise Refused(name, "is no file")
    return "/".join(path[:-1]), path[-1]


def walk(root: Path, name: str) -> Iterator[Entry]:
    """The regular files beneath the folder `name` of `root`, by the order of their names in each folder.

    Links, FIFOs, sockets and devices are left out, and no folder is entered through a link. A folder that vanishes
    meanwhile has no files. Raises Refused for a folder that lies deeper than DEEPEST.
    """
    with folder(root, name) as start:
        yield from _walk(start, "")


def _walk(current: int, prefix: str) -> Iterator[Entry]:
    with os.scandir(current) as listing:
        entries = sorted(listing, key=lambda entry: entry.name)
    for entry in entries:
        try:
            if entry.is_dir(follow_symlinks=False):
                if prefix.count("/") >= DEEPEST:
                    raise Refused(f"{prefix[:40]}…", f"has folders more than {DEEPEST} deep. Move the files up")
                inner = os.open(entry.name, _DIRECTORY, dir_fd=current)
                try:
                    yield from _walk(inner, f"{prefix}{entry.name}/")
                finally:
                    os.close(inner)
            elif entry.is_file(follow_symlinks=False):
                yield Entry(prefix + entry.name, entry.stat(follow_symlinks=False))
        except FileNotFoundError:
            continue


def require_opened(path: Path, parent: int, name: str) -> None:
    """Raise Refused unless `name` in the open folder is what `path` names, and this process has it open.

    It is for libraries that open a file by its path: the path may have led elsewhere at that moment.
    """
    there = os.stat(name, dir_fd=parent, follow_symlinks=False)
    if not (os.path.samestat(os.stat(path), there) and _is_open(there)):
        raise Refused(name, "was replaced while it was opened")


def _is_open(status: os.stat_result) -> bool:
    for descriptor in os.listdir("/dev/fd"):
        try:
            if os.path.samestat(os.fstat(int(descriptor)), status):
                return True
        except OSError:
            continue  # it was closed meanwhile
    return False


@contextmanager
def written(root: Path, name: str) -> Iterator[tuple[BinaryIO, "Placed"]]:
    """A new file of a random name beside `name`, to be written and then put into its place; removed at the end.

    Yields the file, to be flushed before it is placed, and what puts it into its place. O_EXCL refuses a random name
    that is taken already, also by a link.
    """
    above, last = _split(name)
    with folder(root, above, create=True) as parent:
        temporary = f".{secrets.token_hex(16)}.part"
        file = os.fdopen(os.open(temporary, _NEW, 0o666, dir_fd=parent), "wb")
        try:
            yield file, Placed(parent, temporary, last)
        finally:
            file.close()
            with suppress(FileNotFoundError):
                os.unlink(temporary, dir_fd=parent)


@dataclass(frozen=True)
class Placed:
    """Puts a file that has been written into its place, in the folder that was opened."""

    parent: int
    temporary: str
    name: str

    def replace(self) -> None:
        """Take the place of what has the name. A link there is replaced and not followed."""
        os.replace(self.temporary, self.name, src_dir_fd=self.parent, dst_dir_fd=self.parent)

    def new(self) -> None:
        """Take the name. Raises FileExistsError when it is taken, also by a link."""
        os.link(self.temporary, self.name, src_dir_fd=self.parent, dst_dir_fd=self.parent, follow_symlinks=False)


def remove(root: Path, name: str) -> None:
    """Remove the file `name` beneath `root`, or the link of that name itself, if it is there."""
    above, last = _split(name)
    try:
        with folder(root, above) as parent:
            os.unlink(last, dir_fd=parent)
    except FileNotFoundError:
        return
