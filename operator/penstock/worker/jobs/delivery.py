"""Delivering: a Dataset's current snapshot as files, and last a manifest that lists them.

For readers of the manifest each delivery is there whole, once: file names follow from the run id, the same run writes
the same rows again until the manifest exists, and the manifest is put on condition that there is none.
"""

import difflib
import hashlib
import json
import logging
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pyiceberg.table import Table

from penstock.connectors.files import stores as storage
from penstock.connectors.files.spec import Format
from penstock.connectors.lake import ledger
from penstock.connectors.lake import tables as lake
from penstock.connectors.lake.ledger import Claim
from penstock.language import words
from penstock.language.errors import InvalidSpec, NotYet
from penstock.runs.order import DatasetOrder, DeliveryOrder, RunOrder
from penstock.runs.report import DeliveryReport
from penstock.worker import report
from penstock.worker.jobs import writing
from penstock.worker.jobs.writing import Column
from penstock.worker.pod import Pod
from penstock.worker.rows import engine, stage

log = logging.getLogger(__name__)

VERSION = "penstock.dev/manifest-v1"
NEWEST = "manifest.json"
"""The manifest of the newest delivery, replaced as a whole; each delivery's own is `manifest-<run>.json`."""
_ROWS_PER_FILE = 2_000_000
_NO_LIMIT = 2 << 30


@dataclass(frozen=True)
class _Job:
    """One delivery: what, from which snapshot, where to."""

    dataset: DatasetOrder
    order: DeliveryOrder
    columns: tuple[Column, ...]
    snapshot: int
    format: Format
    compression: str
    name: str

    @property
    def extension(self) -> str:
        """What the files' names end in."""
        kind = {"csv": ".csv", "json_": ".jsonl", "parquet": ".parquet"}[self.format.choice]
        return kind + (".gz" if self.compression == "gzip" and kind != ".parquet" else "")


def deliver(order: RunOrder, pod: Pod) -> tuple[DeliveryReport, int]:
    """Deliver once for this run id; the report and the attempt.

    Raises NotYet (DatasetNotReady) while the Dataset has no data.
    """
    if order.delivery is None or len(order.datasets) != 1:
        raise InvalidSpec("The order to deliver names one Dataset and a delivery.")
    dataset = order.datasets[0]
    home = lake.open(dataset.destination, pod)
    subject = f"{order.identity} of {dataset.owner.marker}"
    with ledger.claim(home.database, subject, ledger.Bid(pod.run, pod.name)) as claim:
        if claim.report is not None:
            done = DeliveryReport.model_validate_json(claim.report).model_copy(update={"earlier": True})
            return done, claim.attempt
        table = lake.existing(home, dataset).data
        job = _job(order.delivery, dataset, table, claim)
        done = _carried_out(job, table, claim, pod, order.identity)
        _settle(claim, done, job.snapshot)
        rows, files = words.count(done.rows, "row"), words.count(done.files, "file")
        log.info("%s: %s in %s, %s", subject, rows, files, done.manifest)
        return done, claim.attempt


def _job(order: DeliveryOrder, dataset: DatasetOrder, table: Table, claim: Claim) -> _Job:
    files = order.destination.connector.files
    if files is None:
        raise InvalidSpec(f"Destination {order.destination.name} receives no files: choose connector.files.")
    current = table.current_snapshot()
    if current is None:
        raise NotYet(f"Dataset {dataset.owner.name} has no data yet.", "DatasetNotReady")
    recorded = json.loads(claim.plan or claim.record(json.dumps({"snapshot": current.snapshot_id})))
    return _Job(
        dataset=dataset,
        order=order,
        columns=_columns(order, dataset),
        snapshot=int(recorded["snapshot"]),
        format=order.format or files.format,
        compression=files.compression,
        name=f"{dataset.table}-{stage.prefix(claim.run)}",
    )


def _columns(order: DeliveryOrder, dataset: DatasetOrder) -> tuple[Column, ...]:
    """What is delivered, in order. Without `fields`, all that are not sensitive."""
    there = {field.name: field.type for field in dataset.schema_.fields}
    if not order.fields:
        chosen = [field.name for field in dataset.schema_.fields if not field.sensitive]
        if not chosen:
            raise InvalidSpec(f"Dataset {dataset.owner.name} has sensitive fields only; name some in `fields`.")
        return tuple(Column(name, name, there[name]) for name in chosen)
    for field in order.fields:
        if field.name not in there:
            near = difflib.get_close_matches(field.name, there, n=1)
            hint = f' Did you mean "{near[0]}"?' if near else f" It has {', '.join([*there][:20])}."
            raise InvalidSpec(f'fields: Dataset {dataset.owner.name} has no field "{field.name}".{hint}')
    exported = [field for field in order.fields if field.exported is not False]
    return tuple(Column(field.name, field.as_ or field.name, there[field.name]) for field in exported)


def _carried_out(job: _Job, table: Table, claim: Claim, pod: Pod, identity: str) -> DeliveryReport:
    destination = job.order.destination
    place = destination.connector.files
    if place is None:
        raise InvalidSpec(f"Destination {destination.name} receives no files.")
    store = storage.at(place, destination.auth, pod, f"Destination {destination.name}")
    folder = f"{job.order.suffix.strip('/')}/".lstrip("/")
    own = f"{folder}manifest-{stage.prefix(claim.run)[:-1]}.json"
    there = store.read(own)
    if there is not None:  # an earlier attempt got this far, and not to the ledger
        return _told(json.loads(there), store.url + own, earlier=True)
    written = [
        _part(job, number, paths, store, folder, pod) for number, paths in enumerate(_groups(table, job.snapshot))
    ]
    claim.still_held()
    manifest = _manifest(job, claim, identity, written)
    local = pod.scratch / "manifest.json"
    local.write_text(json.dumps(manifest, indent=2) + "\n", encoding="utf-8")
    try:
        store.put(own, local, exclusive=True)
    except FileExistsError:  # another worker of the same run was faster, with the same files
        there = store.read(own) or b"{}"
        return _told(json.loads(there), store.url + own, earlier=True)
    store.put(folder + NEWEST, local)
    return _told(manifest, store.url + own, earlier=False)


def _groups(table: Table, snapshot: int) -> list[list[Path]]:
    """The snapshot's data files, in the order of their names, as many as make a file of a few million rows."""
    groups: list[list[Path]] = []
    room = 0
    for path in lake.paths(table, snapshot):
        if room <= 0:
            groups.append([])
            room = _ROWS_PER_FILE
        groups[-1].append(path)
        room -= lake.footer_rows(path)
    return groups


def _part(job: _Job, number: int, paths: Sequence[Path], store: storage.Store, folder: str, pod: Pod) -> dict[str, Any]:
    name = f"{job.name}{number:05d}{job.extension}"
    local = pod.scratch / name
    memory = (pod.memory or _NO_LIMIT) // 2
    with engine.connect(
        memory, pod.processors, pod.scratch, [pod.scratch, *{path.parent for path in paths}]
    ) as connection:
        engine.run(connection, writing.statement(job.columns, paths, job.format, job.compression, local))
    with local.open("rb") as content:
        digest = hashlib.file_digest(content, "sha256").hexdigest()
    entry = {
        "name": name,
        "rows": sum(lake.footer_rows(path) for path in paths),
        "bytes": local.stat().st_size,
        "sha256": digest,
    }
    store.put(folder + name, local)
    local.unlink()
    return entry


def _manifest(job: _Job, claim: Claim, identity: str, written: Sequence[dict[str, Any]]) -> dict[str, Any]:
    return {
        "version": VERSION,
        "run": claim.run,
        "subscription": identity,
        "dataset": job.dataset.owner.marker,
        "snapshot": str(job.snapshot),
        "at": report.now(),
        "format": job.format.choice.rstrip("_"),
        "schema": [{"name": column.target, "type": column.type} for column in job.columns],
        "rows": sum(entry["rows"] for entry in written),
        "bytes": sum(entry["bytes"] for entry in written),
        "files": list(written),
    }


def _told(manifest: dict[str, Any], url: str, *, earlier: bool) -> DeliveryReport:
    return DeliveryReport(
        manifest=url,
        rows=manifest["rows"],
        bytes=manifest["bytes"],
        files=len(manifest["files"]),
        at=manifest["at"],
        earlier=earlier,
    )


def _settle(claim: Claim, done: DeliveryReport, snapshot: int) -> None:
    with ledger.transaction(claim.database) as cursor:
        ledger.settle(cursor, claim, done.model_dump_json(), (done.rows, 0), done.at)
        cursor.execute(
            "INSERT INTO penstock_deliveries (subject, run, manifest, snapshot, rows, bytes, files, at) "
            "VALUES (?, ?, ?, ?, ?, ?, ?, ?)",
            (claim.subject, claim.run, done.manifest, str(snapshot), done.rows, done.bytes, done.files, done.at),
        )
