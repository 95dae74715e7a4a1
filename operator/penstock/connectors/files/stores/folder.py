"""Folders and files of a mounted claim."""

from pathlib import Path
from typing import BinaryIO

from penstock.connectors.files.stores.port import BLOCK, Found, gone, matcher, trouble
from penstock.language.errors import InvalidSpec


class Folder:
    """A folder or file of a mounted claim."""

    def __init__(self, url: str, path: Path, subject: str) -> None:
        self.url, self._path, self._subject = url, path, subject

    def find(self, pattern: str | None) -> list[Found]:
        with trouble(self._subject, self.url):
            if not self.url.endswith("/"):
                if self._path.is_dir():
                    message = f"{self._subject}: {self.url} is a folder. End the URL with a slash: {self.url}/"
                    raise InvalidSpec(message, "WrongSpecification")
                return [self._found(self._path, self.url)]
            if not self._path.is_dir():
                raise FileNotFoundError(self._path)
            fits = matcher(pattern)
            paths = (path for path in self._path.rglob("*") if path.is_file())
            named = sorted((path.relative_to(self._path).as_posix(), path) for path in paths)
            return [self._found(path, self.url + name) for name, path in named if fits(name)]

    def _found(self, path: Path, url: str) -> Found:
        seen = path.stat()
        return Found(url, f"{seen.st_mtime_ns:x}-{seen.st_size:x}-{seen.st_ino:x}", seen.st_size)

    def open(self, found: Found) -> BinaryIO:
        path = self._path if found.url == self.url else self._path / found.url.removeprefix(self.url)
        with trouble(self._subject, found.url):
            if not path.exists() or self._found(path, found.url) != found:
                raise gone(self._subject, found.url)
            return path.open("rb", buffering=0)

    def put(self, name: str, source: Path, *, exclusive: bool = False) -> str:
        target = self._path / name
        with trouble(self._subject, self.url + name):
            target.parent.mkdir(parents=True, exist_ok=True)
            beside = target.with_name(f".{target.name}.part")
            with source.open("rb") as content, beside.open("wb") as part:
                while block := content.read(BLOCK):
                    part.write(block)
                part.flush()
            try:
                if exclusive:
                    target.hardlink_to(beside)  # fails when the name is taken, and the file is whole when it appears
                else:
                    beside.replace(target)
            finally:
                beside.unlink(missing_ok=True)
        return self.url + name

    def read(self, name: str) -> bytes | None:
        path = self._path / name
        with trouble(self._subject, self.url + name):
            return path.read_bytes() if path.is_file() else None

    def remove(self, name: str) -> None:
        with trouble(self._subject, self.url + name):
            (self._path / name).unlink(missing_ok=True)
