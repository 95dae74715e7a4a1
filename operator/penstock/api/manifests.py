"""Manifests: objects of the five kinds as people write them, read into typed specs."""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pydantic import ValidationError

from penstock.api import documents, findings, objects
from penstock.api.documents import Document, Position, Unreadable
from penstock.api.findings import Finding
from penstock.language.errors import InvalidSpec, ManyFaults
from penstock.language.model import Model

_NULL_IS_A_WORD = ("spec", "schema", "onTypeMismatch")
"""The one field of the five kinds whose value can be the word null."""

SUFFIXES = (".json", ".yaml", ".yml")
"""The files of a folder that kubectl reads."""


@dataclass(frozen=True)
class Manifest:
    """One object of any kind, and where in which file each of its fields stands."""

    object: Mapping[str, Any]
    document: Document
    prefix: findings.Path = ()

    def at(self, path: findings.Path) -> Position:
        """Where a field stands, or the nearest one around it that is there."""
        return self.document.at((*self.prefix, *path))

    @property
    def kind(self) -> str:
        """Its kind, or nothing."""
        return str(self.object.get("kind") or "")

    @property
    def name(self) -> str:
        """Its name, or nothing."""
        metadata = self.object.get("metadata")
        return str(metadata.get("name") or "") if isinstance(metadata, Mapping) else ""

    @property
    def namespace(self) -> str:
        """The namespace it names; nothing means the one that kubectl uses."""
        metadata = self.object.get("metadata")
        return str(metadata.get("namespace") or "") if isinstance(metadata, Mapping) else ""


def parse(manifest: Mapping[str, Any]) -> Model:
    """The typed spec of an object of one of the five kinds.

    Raises `InvalidSpec` with one line per fault, at most five: `spec.datasets[0].sync: "incrementl" is not one of
    full, incremental; did you mean incremental?`
    """
    spec, faults = read(manifest)
    if spec is None:
        raise ManyFaults(findings.listed(faults))
    return spec


def read(manifest: Mapping[str, Any]) -> tuple[Model | None, list[Finding]]:
    """The typed spec, or every fault in it."""
    name = str(manifest.get("kind"))
    kind = next((kind for kind in objects.KINDS.values() if kind.name == name), None)
    if kind is None and manifest.get("kind") is None:
        return None, [Finding(("kind",), f"is missing; {findings.suggestion('', objects.KINDS)}")]
    if kind is None:
        return None, [
            Finding(("kind",), f'"{name}" is not a Penstock kind; {findings.suggestion(name, objects.KINDS)}')
        ]
    if "spec" not in manifest:
        return None, [Finding(("spec",), "is missing")]
    if faults := list(_unquoted_null(manifest)):
        return None, faults
    try:
        # As the API server reads: "3" is no number, 3 is no string, and time_zone is not timeZone.
        return kind.spec.model_validate(manifest.get("spec"), strict=True, by_alias=True, by_name=False), []
    except ValidationError as error:
        return None, findings.of(error, kind.spec)


def _unquoted_null(manifest: Mapping[str, Any]) -> Iterator[Finding]:
    """A null where the word null was meant. The API server drops it, and the field would silently have its default."""
    value: Any = manifest
    for name in _NULL_IS_A_WORD:
        if not isinstance(value, Mapping) or name not in value:
            return
        value = value[name]
    if value is None:
        message = 'is empty: without quotes YAML reads null as no value. Write "null" in quotes, or leave the field out'
        yield Finding(_NULL_IS_A_WORD, message)


def load(paths: Iterable[Path], *, recursive: bool = False) -> list[Manifest | Unreadable]:
    """Every object in files and folders, as `kubectl apply -f` finds them, in order; lists are taken apart.

    Raises `InvalidSpec` for a path that does not exist, and for a folder without manifests.
    """
    entries: list[Manifest | Unreadable] = []
    for path in paths:
        for file in _files(path, recursive=recursive):
            try:
                entries.extend(loads(file.read_text(encoding="utf-8"), str(file)))
            except UnicodeDecodeError:
                entries.append(Unreadable(Position(str(file), 1, 1), "is not UTF-8 text"))
    return entries


def loads(text: str, file: str) -> Iterator[Manifest | Unreadable]:
    """Every object in a text; `file` is what positions call it."""
    for document in documents.read(text, file):
        if isinstance(document, Unreadable):
            yield document
        else:
            yield from _apart(document, document.value, ())


def _apart(document: Document, value: Any, prefix: findings.Path) -> Iterator[Manifest | Unreadable]:
    if not isinstance(value, Mapping):
        yield Unreadable(document.at(prefix), "is not an object: apiVersion, kind, metadata and spec are expected")
    elif str(value.get("kind")).endswith("List") and isinstance(items := value.get("items"), Sequence):
        for index, item in enumerate(items):
            yield from _apart(document, item, (*prefix, "items", index))
    else:
        yield Manifest(value, document, prefix)


def _files(path: Path, *, recursive: bool) -> list[Path]:
    if path.is_file():
        return [path]
    if not path.is_dir():
        raise InvalidSpec(f"{path}: no such file or folder")
    inside = sorted(path.rglob("*") if recursive else path.iterdir())
    files = [file for file in inside if file.is_file() and file.suffix in SUFFIXES]
    if not files:
        raise InvalidSpec(f"{path}: no manifest here (*.yaml, *.yml, *.json); -R looks into folders, too")
    return files
