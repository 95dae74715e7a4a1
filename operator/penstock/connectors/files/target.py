"""Files as a Target: a batch as files, and last a manifest that lists them.

For readers of the manifest each delivery is there whole, once: file names follow from the batch id, the same batch
writes the same rows again until the manifest exists, and the manifest is put on condition that there is none.
"""

import hashlib
import json
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

import pyarrow as pa

from penstock.connectors.files import stores, writing
from penstock.connectors.files.spec import FilesDestination, Format
from penstock.language.errors import InvalidSpec
from penstock.runs.order import DestinationOrder
from penstock.runs.report import DeliveryReport
from penstock.worker import steps
from penstock.worker.pod import Pod
from penstock.worker.ports.target import Batch
from penstock.worker.rows import engine

VERSION = "penstock.dev/manifest-v1"
NEWEST = "manifest.json"
"""The manifest of the newest delivery, replaced as a whole; each delivery's own is `manifest-<run>.json`."""
_ROWS_PER_FILE = 2_000_000
_NO_LIMIT = 2 << 30


class FilesTarget:
    """The folder or bucket that a Destination describes."""

    def __init__(self, destination: DestinationOrder, pod: Pod) -> None:
        """Raises InvalidSpec (SecretMissing, ResourceNotFound)."""
        files = destination.connector.spec
        if not isinstance(files, FilesDestination):
            raise InvalidSpec(f"Destination {destination.name} receives no files: choose connector.files.")
        self._place: FilesDestination = files
        self._pod = pod
        self._store = stores.at(files, destination.auth, pod, f"Destination {destination.name}")

    def check(self) -> None:
        """Write a file and remove it again."""
        probe = f"penstock-probe-{self._pod.name}"
        local = self._pod.scratch / probe
        local.write_text("Penstock wrote this to see whether it may. It can be deleted.\n", encoding="utf-8")
        try:
            self._store.put(probe, local)
            self._store.remove(probe)
        finally:
            local.unlink()

    def deliver(self, batch: Batch) -> DeliveryReport:
        """Write the files and their manifest, unless an earlier attempt has."""
        folder = f"{batch.order.suffix.strip('/')}/".lstrip("/")
        own = f"{folder}manifest-{batch.id}.json"
        if (there := self._store.read(own)) is not None:  # an earlier attempt got this far, and not to the ledger
            return _report(json.loads(there), self._store.url + own, earlier=True)
        manifest = _manifest(batch, batch.order.format or self._place.format, [*self._files(batch, folder)])
        steps.reached("rows delivered")
        batch.require()
        local = self._pod.scratch / "manifest.json"
        local.write_text(json.dumps(manifest, indent=2) + "\n", encoding="utf-8")
        try:
            self._store.put(own, local, exclusive=True)
        except FileExistsError:  # another worker of the same run was faster, with the same files
            there = self._store.read(own) or b"{}"
            return _report(json.loads(there), self._store.url + own, earlier=True)
        self._store.put(folder + NEWEST, local)
        return _report(manifest, self._store.url + own, earlier=False)

    def _files(self, batch: Batch, folder: str) -> Iterator[dict[str, Any]]:
        """Write the rows, a few million a file; the manifest's entry of each file."""
        rows = _Rows(batch.scan().rows)
        number = 0
        while not rows.at_end:
            yield self._file(batch, f"{batch.table}-{batch.id}-{number:05d}", rows, folder)
            number += 1

    def _file(self, batch: Batch, name: str, rows: "_Rows", folder: str) -> dict[str, Any]:
        form, compression = batch.order.format or self._place.format, self._place.compression
        name += _extension(form, compression)
        local = self._pod.scratch / name
        memory = (self._pod.memory or _NO_LIMIT) // 2
        part = rows.part(_ROWS_PER_FILE)
        with engine.connect(memory, self._pod.processors, self._pod.scratch, [self._pod.scratch]) as connection:
            connection.register("delivered", part)
            engine.run(connection, writing.statement(batch.columns, form, compression, local))
        with local.open("rb") as content:
            digest = hashlib.file_digest(content, "sha256").hexdigest()
        entry = {"name": name, "rows": rows.taken, "bytes": local.stat().st_size, "sha256": digest}
        self._store.put(folder + name, local)
        local.unlink()
        return entry


@dataclass
class _Rows:
    """A stream of rows that is taken in parts."""

    reader: pa.RecordBatchReader
    taken: int = 0
    """Rows of the newest part, once it has been read."""

    def __post_init__(self) -> None:
        self._next: pa.RecordBatch | None = self._read()

    @property
    def at_end(self) -> bool:
        """Whether no rows are left."""
        return self._next is None

    def part(self, rows: int) -> pa.RecordBatchReader:
        """The next rows, at most so many. It must be read to its end before the next part is taken."""
        self.taken = 0
        return pa.RecordBatchReader.from_batches(self.reader.schema, self._batches(rows))

    def _batches(self, rows: int) -> Iterator[pa.RecordBatch]:
        while self._next is not None and self.taken < rows:
            batch, room = self._next, rows - self.taken
            self._next = batch.slice(room) if batch.num_rows > room else self._read()
            batch = batch.slice(0, room)
            self.taken += batch.num_rows
            yield batch

    def _read(self) -> pa.RecordBatch | None:
        for batch in self.reader:
            if batch.num_rows:
                return batch
        return None


def _extension(form: Format, compression: str) -> str:
    kind = {"csv": ".csv", "json_": ".jsonl", "parquet": ".parquet"}[form.choice]
    return kind + ("" if kind == ".parquet" else {"none": "", "gzip": ".gz", "zstd": ".zst"}[compression])


def _manifest(batch: Batch, form: Format, files: list[dict[str, Any]]) -> dict[str, Any]:
    return {
        "version": VERSION,
        "run": batch.run,
        "subscription": batch.identity,
        "dataset": batch.dataset,
        "snapshot": batch.snapshot,
        "at": datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%SZ"),
        "format": form.choice.rstrip("_"),
        "schema": [{"name": column.target, "type": column.type} for column in batch.columns],
        "rows": sum(entry["rows"] for entry in files),
        "bytes": sum(entry["bytes"] for entry in files),
        "files": files,
    }


def _report(manifest: dict[str, Any], url: str, *, earlier: bool) -> DeliveryReport:
    return DeliveryReport(
        manifest=url,
        rows=manifest["rows"],
        bytes=manifest["bytes"],
        files=len(manifest["files"]),
        at=manifest["at"],
        earlier=earlier,
    )
