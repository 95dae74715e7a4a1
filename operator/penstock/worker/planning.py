"""What a run reads, decided once and then never changed: retries read the same versions of the same files."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

from penstock.api import checks
from penstock.connectors.files import stores as storage
from penstock.connectors.files.spec import Format
from penstock.connectors.files.stores import Found, Store
from penstock.connectors.lake import ledger
from penstock.connectors.lake.ledger import Claim, FileEntry
from penstock.language.errors import InvalidSpec
from penstock.language.model import Model
from penstock.runs.order import DatasetOrder, SourceOrder
from penstock.worker.pod import Pod


class PlannedFile(Model):
    """One version of one file. `size` is in bytes, -1 where the server did not tell."""

    url: str
    etag: str
    size: int

    @property
    def found(self) -> Found:
        """What a store opens."""
        return Found(self.url, self.etag, self.size)


class Shard(Model):
    """What one process stages: files, each of which ends up in data files of its own."""

    files: list[PlannedFile]


class Plan(Model):
    """The recorded plan of one run for one Dataset."""

    mode: Literal["append", "replace"]
    shards: list[Shard]
    changed: list[str] = []
    """URLs that were read before in another version: their earlier rows leave with this commit."""

    @property
    def files(self) -> int:
        """How many files the run reads."""
        return sum(len(shard.files) for shard in self.shards)


@dataclass(frozen=True)
class Input:
    """What a Dataset is loaded from: files of one format at one place."""

    where: str
    store: Store
    glob: str | None
    format: Format
    compression: str


def source(order: SourceOrder, pod: Pod) -> Input:
    """The Source, ready to be listed and read. Raises InvalidSpec (SecretMissing)."""
    files = order.connector.files
    if files is None:
        raise InvalidSpec(f"Source {order.name}: there is nothing to read; choose connector.files.")
    subject = f"Source {order.name}"
    store = storage.at(files, order.auth, pod, subject)
    where = f"{subject}: {files.url}{files.glob or ''}"
    return Input(where, store, files.glob, files.format, files.compression)


def recorded(claim: Claim, identity: str, dataset: DatasetOrder, given: Input) -> Plan:
    """The plan of this run: the one an earlier attempt recorded, or a new one, recorded before anything is read.

    Raises InvalidSpec: AlreadyLoaded, and what `make` raises.
    """
    entries = ledger.files(claim.database, claim.subject)
    plan = claim.plan
    if plan is None:
        check(dataset)
        known = {url: entry for (by, url), entry in entries.items() if by == identity}
        plan = claim.record(make(dataset, given.store.find(given.glob), known, given.where).model_dump_json())
    decided = Plan.model_validate_json(plan)
    if decided.mode == "append":
        _check_not_doubled(dataset, decided, entries, identity)
    return decided


def check(dataset: DatasetOrder) -> None:
    """Raise InvalidSpec unless sync and writeMode go together."""
    if dataset.write_mode != checks.WRITE_MODE_OF.get(dataset.sync or ""):
        message = (
            f"Dataset {dataset.owner.name}: sync {dataset.sync} does not go with writeMode {dataset.write_mode}. "
            f"Use {' or '.join(f'sync: {sync} with writeMode: {mode}' for sync, mode in checks.WRITE_MODE_OF.items())}."
        )
        raise InvalidSpec(message)


def _check_not_doubled(
    dataset: DatasetOrder, plan: Plan, entries: Mapping[tuple[str, str], FileEntry], identity: str
) -> None:
    """Raise InvalidSpec (AlreadyLoaded) if another identity has loaded rows of one of the plan's files before.

    Whichever version of it: a URL names one file, since a claim's name is in the path where it is mounted.
    """
    planned = {file.url for shard in plan.shards for file in shard.files}
    others = {by: url for (by, url), entry in entries.items() if by != identity and url in planned and entry.rows}
    if not others:
        return
    by, url = min(others.items())
    known = any(own == identity for own, _ in entries)
    message = (
        f"Dataset {dataset.owner.name}: identity {by} has loaded {url} already, and its rows would be loaded twice. "
        f"Nothing was committed to {dataset.owner.name}. "
    ) + (
        "Choose a glob or a Source without that file, or load another Dataset."
        if known or len(others) > 1
        else f"If this Pipeline takes that one's place, set `identity: {by}`; else choose a glob or a Source without "
        "that file, or load another Dataset."
    )
    raise InvalidSpec(message, "AlreadyLoaded")


def make(dataset: DatasetOrder, found: Sequence[Found], known: Mapping[str, FileEntry], where: str) -> Plan:
    """The plan: every file for a replace, files that are new or changed since for an append.

    `known` are the files of earlier runs by URL. `where` names the Source and its URL, for messages.
    Raises InvalidSpec (ResourceNotFound) when a replace finds nothing: a table is never emptied by a typo.
    """
    check(dataset)
    if dataset.write_mode == "replace":
        if not found:
            raise InvalidSpec(f"{where} has no matching file; the table stays as it is.", "ResourceNotFound")
        return Plan(mode="replace", shards=[_shard(found)])
    fresh = [file for file in found if _differs(file, known.get(file.url))]
    changed = [file.url for file in fresh if file.url in known]
    return Plan(mode="append", shards=[_shard(fresh)] if fresh else [], changed=changed)


def _differs(file: Found, entry: FileEntry | None) -> bool:
    return entry is None or (entry.etag, entry.size) != (file.etag, file.size)


def _shard(files: Sequence[Found]) -> Shard:
    return Shard(files=[PlannedFile(url=file.url, etag=file.etag, size=file.size) for file in files])
