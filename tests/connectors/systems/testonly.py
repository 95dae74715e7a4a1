"""The three Sources that exist in tests alone; each has a file as its server."""

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from connectors.contract import testonly
from connectors.contract.adapters import Row, SourceAdapter


class _FileServer(SourceAdapter):
    system = "files"

    def __init__(self, root: Path) -> None:
        super().__init__(root)
        self._file = self.claim("data") / testonly.SERVER
        self.connector = {"url": "file:///volumes/data/", "volume": {"claimName": "data"}, "format": {"csv": {}}}

    @property
    def content(self) -> dict[str, Any]:
        """All that the server has."""
        if not self._file.exists():
            return {"streams": {}, "log": [], "slot": 0, "spool": {}}
        content: dict[str, Any] = json.loads(self._file.read_text(encoding="utf-8"))
        return content

    def save(self, content: dict[str, Any]) -> None:
        """Replace it as a whole, for readers at the same time."""
        new = self._file.with_suffix(".new")
        new.write_text(json.dumps(content), encoding="utf-8")
        new.replace(self._file)


class ReadOnce(_FileServer):
    name = "read-once"
    implementation = "connectors.contract.testonly:ReadOnce"
    consistent = False  # it reads what there is when it is read

    def fill(self, stream: str, rows: Sequence[Row]) -> None:
        content = self.content
        content["streams"][stream] = [*rows]
        self.save(content)

    def add(self, stream: str, rows: Sequence[Row]) -> None:
        content = self.content
        content["streams"][stream] += rows
        self.save(content)


class ChangeStream(_FileServer):
    name = "change-stream"
    implementation = "connectors.contract.testonly:ChangeStream"

    def fill(self, stream: str, rows: Sequence[Row]) -> None:
        content = self.content
        content["streams"][stream] = []
        content["log"] = [entry for entry in content["log"] if entry[0] != stream]
        self.save(content)
        self.add(stream, rows)

    def add(self, stream: str, rows: Sequence[Row]) -> None:
        content = self.content
        content["log"] += [[stream, row] for row in rows]
        self.save(content)

    def acknowledged(self) -> None:
        assert self.content["slot"] == len(self.content["log"])


class PushSpool(_FileServer):
    name = "push-spool"
    implementation = "connectors.contract.testonly:PushSpool"

    def fill(self, stream: str, rows: Sequence[Row]) -> None:
        content = self.content
        content["streams"][stream] = []
        content["spool"][stream] = {}
        self.save(content)
        self.add(stream, rows)

    def add(self, stream: str, rows: Sequence[Row]) -> None:
        content = self.content
        content["pushes"] = content.get("pushes", 0) + 1
        content["spool"][stream][str(content["pushes"])] = [*rows]
        self.save(content)

    def acknowledged(self) -> None:
        assert not any(self.content["spool"].values())


SOURCES = (ReadOnce, ChangeStream, PushSpool)
