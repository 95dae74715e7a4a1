"""Folders and files of a mounted claim. No path leaves the claim: see `beneath`."""

import io
import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any, BinaryIO, cast

from penstock.connectors.files.stores import beneath
from penstock.connectors.files.stores.globs import matcher
from penstock.connectors.files.stores.port import BLOCK, StoredFile, gone, trouble
from penstock.language.errors import InvalidSpec


class Folder:
    """A folder or file of a mounted claim.

    `mount` is where the claim is mounted, in this process's file system; `path` is what the URL names beneath it.
    """

    def __init__(self, url: str, mount: Path, path: str, subject: str, ignore: Sequence[str] = ()) -> None:
        self.url, self._subject, self._ignore = url, subject, ignore
        self._mount, self._path = mount, path.strip("/")

    def list_files(self, pattern: str | None) -> list[StoredFile]:
        """The regular files beneath the folder that fit, sorted by URL; or the one file. Links are left out."""
        with trouble(self._subject, self.url, self._refused):
            if not self.url.endswith("/"):
                return [self._one()]
            fits = matcher(pattern, self._ignore)
            entries = [entry for entry in beneath.walk(self._mount, self._path) if fits(entry.name)]
            return [
                _stored_file(self.url + entry.name, entry.status) for entry in sorted(entries, key=lambda e: e.name)
            ]

    def _one(self) -> StoredFile:
        try:
            opened = beneath.read(self._mount, self._path)
        except beneath.Refused as refused:
            if refused.what != "is no regular file" or not self._is_folder():
                raise
            message = f"{self._subject}: {self.url} is a folder. End the URL with a slash: {self.url}/"
            raise InvalidSpec(message, "WrongSpecification") from None
        try:
            return _stored_file(self.url, os.fstat(opened))
        finally:
            os.close(opened)

    def _is_folder(self) -> bool:
        try:
            with beneath.folder(self._mount, self._path):
                return True
        except OSError:
            return False

    def open(self, stored: StoredFile) -> BinaryIO:
        """The content of the version that was listed; the descriptor that was checked is the one that is read."""
        with trouble(self._subject, stored.url, self._refused):
            try:
                opened = beneath.read(self._mount, self._inside(stored.url))
            except FileNotFoundError:
                raise gone(self._subject, stored.url) from None
            if _stored_file(stored.url, os.fstat(opened)) != stored:
                os.close(opened)
                raise gone(self._subject, stored.url)
            return cast(BinaryIO, _Reading(opened, stored, self._subject))

    def _inside(self, url: str) -> str:
        if url == self.url:
            return self._path
        return f"{self._path}/{url.removeprefix(self.url)}".lstrip("/")

    def put(self, name: str, source: Path, *, exclusive: bool = False) -> str:
        """Files appear whole: written under a random name, then renamed, or linked where `exclusive`."""
        url = self.url + name
        with (
            trouble(self._subject, url, self._refused),
            beneath.written(self._mount, self._inside(url)) as (part, placed),
        ):
            with source.open("rb") as content:
                while block := content.read(BLOCK):
                    part.write(block)
            part.flush()
            os.fsync(part.fileno())
            if exclusive:
                placed.new()  # fails when the name is taken, and the file is whole when it appears
            else:
                placed.replace()
        return url

    def read(self, name: str) -> bytes | None:
        """A small file, None where there is none."""
        with trouble(self._subject, self.url + name, self._refused):
            try:
                opened = beneath.read(self._mount, self._inside(self.url + name))
            except FileNotFoundError:
                return None
            with os.fdopen(opened, "rb") as stream:
                return stream.read()

    def remove(self, name: str) -> None:
        """Remove a file, if it is there."""
        with trouble(self._subject, self.url + name, self._refused):
            beneath.remove(self._mount, self._inside(self.url + name))

    def _refused(self, error: Exception) -> InvalidSpec | None:
        if not isinstance(error, beneath.Refused):
            return None
        message = f"{self._subject}: {self.url}: {error.path} in its claim {error.what}. Put a file or folder there."
        return InvalidSpec(message, "WrongSpecification")


class _Reading(io.RawIOBase):
    """The content of an open file. Raises InvalidSpec at its end when it has changed while it was read."""

    def __init__(self, opened: int, stored: StoredFile, subject: str) -> None:
        self._opened, self._file, self._subject = opened, stored, subject

    def readable(self) -> bool:
        return True

    def fileno(self) -> int:
        return self._opened

    def readinto(self, buffer: Any) -> int:
        with trouble(self._subject, self._file.url):
            count = os.readv(self._opened, [buffer])
            if not count and _stored_file(self._file.url, os.fstat(self._opened)) != self._file:
                raise gone(self._subject, self._file.url)
        return count

    def close(self) -> None:
        if not self.closed:
            os.close(self._opened)
        super().close()


def _stored_file(url: str, status: os.stat_result) -> StoredFile:
    """The version is the time of the last change and the size.

    The inode is no part of it: on network file systems and after a remount the same file may have another one, and
    every file would be read again.
    """
    return StoredFile(url, f"{status.st_mtime_ns:x}-{status.st_size:x}", status.st_size)
