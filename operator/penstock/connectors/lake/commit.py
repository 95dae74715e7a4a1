"""The commit: counts checked, then rows, quarantine, files and ledger in one database transaction, or nothing.

Everything before that transaction only writes files that nobody sees; everything after it is told from the ledger.
"""

import json
import sqlite3
from collections import Counter
from collections.abc import Sequence
from datetime import UTC, datetime
from pathlib import Path

from penstock.connectors.lake import ledger, locations
from penstock.connectors.lake import tables as lake
from penstock.connectors.lake.ledger import Claim, FileEntry
from penstock.language import words
from penstock.language.errors import InvalidSpec, NotYet
from penstock.language.scalars import ratio
from penstock.runs.order import DatasetOrder
from penstock.runs.report import Counts, DatasetReport
from penstock.worker.planning import Plan
from penstock.worker.rows.stage import Staged, StagedFile

_SAMPLES = 3
"""How many reasons a message has."""


def all(
    claim: Claim, tables: lake.Tables, job: tuple[DatasetOrder, str], plan: Plan, staged: Sequence[Staged]
) -> DatasetReport:
    """Commit the staged shards; what the ledger will answer for this run from now on.

    `job` is the Dataset and the identity whose files these are. Raises NotYet (CountMismatch, LeaseHeld) and
    InvalidSpec (TooManyBadRows); nothing is committed then.
    """
    dataset, identity = job
    files = [file for shard in staged for file in shard.files]
    known = ledger.files(claim.database, claim.subject)
    leaving = _leaving(plan, known, identity)
    counts = _counts(files, leaving)
    _check(dataset, counts, staged)
    if not files:
        return _settle(claim, DatasetReport(name=dataset.owner.name, state="Unchanged"))
    swaps = _swaps(claim, tables, plan, files, leaving)
    report = DatasetReport(name=dataset.owner.name, state="Written", counts=counts)
    try:
        with ledger.transaction(claim.database) as cursor:
            ledger.settle(cursor, claim, report.model_dump_json(), (counts.loaded, counts.quarantined), _now())
            for swap in swaps:
                _swap(cursor, swap, claim)
            _enter(cursor, claim, identity, plan, files)
    except BaseException:
        _discard(claim, swaps)
        raise
    return report


def _discard(claim: Claim, swaps: Sequence[lake.Swap]) -> None:
    """Remove the metadata of a commit that failed, after asking the catalog whether it really did.

    A signal may arrive when the database has committed and we do not know it yet; metadata in use is never removed.
    """
    try:
        with ledger.transaction(claim.database) as cursor:
            used = {row[0] for row in cursor.execute("SELECT metadata_location FROM iceberg_tables")}
    except sqlite3.Error:
        return  # a few small files are left behind
    if not any(swap.after in used for swap in swaps):
        for swap in swaps:
            lake.discard(swap)


def _leaving(plan: Plan, known: dict[tuple[str, str], FileEntry], identity: str) -> list[FileEntry]:
    """The files whose earlier rows go: all that is known for a replace, those that changed for an append."""
    if plan.mode == "replace":
        return [*known.values()]
    return [known[identity, url] for url in plan.changed if (identity, url) in known]


def _counts(files: Sequence[StagedFile], leaving: Sequence[FileEntry]) -> Counts:
    return Counts(
        read=sum(file.read for file in files),
        loaded=sum(file.loaded for file in files),
        quarantined=sum(file.quarantined for file in files),
        replaced=sum(entry.rows for entry in leaving),
        bytes=sum(max(file.planned.size, 0) for file in files),
        files=len(files),
    )


def _check(dataset: DatasetOrder, counts: Counts, staged: Sequence[Staged]) -> None:
    name = dataset.owner.name
    uneven = [f for shard in staged for f in shard.files if f.read != f.loaded + f.quarantined]
    if uneven or not counts.balanced:
        where = f" The first of these files is {uneven[0].planned.url}." if uneven else ""
        message = (
            f"Dataset {name}: {counts.read} rows were read, {counts.loaded} of them are good and {counts.quarantined} "
            f"bad. Nothing was committed to {name}. This is a defect of Penstock; please report it.{where}"
        )
        raise NotYet(message, "CountMismatch")
    allowed = dataset.quality.max_bad_ratio
    if counts.quarantined > counts.read * ratio(allowed):
        message = (
            f"Dataset {name}: {counts.quarantined:,} of {words.count(counts.read, 'row')} "
            f"{'is' if counts.quarantined == 1 else 'are'} bad, and quality.maxBadRatio allows {allowed}. Nothing was "
            f"committed to {name}. {_samples(staged)}"
        )
        raise InvalidSpec(message, "TooManyBadRows")


def _samples(staged: Sequence[Staged]) -> str:
    """The rules that most rows break, with the first row of each; never a value."""
    kinds: Counter[str] = sum((shard.kinds for shard in staged), Counter())
    first: dict[str, str] = {}
    for shard in staged:
        first = {**shard.first, **first}
    frequent = sorted(kinds, key=lambda kind: (-kinds[kind], first[kind]))[:_SAMPLES]
    samples = [f"{words.count(kinds[kind], 'row')}: {kind[:100]}, first in {first[kind]}" for kind in frequent]
    more = len(kinds) - len(samples)
    return "; ".join(samples) + (f"; and {words.count(more, 'other reason')}." if more else ".")


def _swaps(
    claim: Claim, tables: lake.Tables, plan: Plan, files: Sequence[StagedFile], leaving: Sequence[FileEntry]
) -> list[lake.Swap]:
    """Write the next metadata of each table that changes."""
    properties = {"penstock.run": claim.run}
    swaps: list[lake.Swap] = []
    for table, which in ((tables.data, "data"), (tables.quarantine, "quarantine")):
        added = [path for file in files for path in getattr(file, which)]
        if plan.mode == "replace":
            dropped = frozenset(file.file_path for file in lake.files(table))
        else:
            dropped = frozenset(path for entry in leaving for path in getattr(entry, which))
        if added or dropped:
            swaps.append(lake.prepare(table, added, dropped, properties))
    return swaps


def _swap(cursor: sqlite3.Cursor, swap: lake.Swap, claim: Claim) -> None:
    """Put the new metadata in the old one's place, if that is still the old one."""
    changed = cursor.execute(
        "UPDATE iceberg_tables SET metadata_location = ?, previous_metadata_location = ? "
        "WHERE catalog_name = ? AND table_namespace = ? AND table_name = ? AND metadata_location = ?",
        (swap.after, swap.before, lake.CATALOG, lake.NAMESPACE, swap.table, swap.before),
    ).rowcount
    if changed != 1:
        message = f"{claim.subject}: table {swap.table} was changed by another program meanwhile. Nothing was "
        "committed to it."
        raise NotYet(message, "LeaseHeld")


def _enter(cursor: sqlite3.Cursor, claim: Claim, identity: str, plan: Plan, files: Sequence[StagedFile]) -> None:
    if plan.mode == "replace":
        cursor.execute("DELETE FROM penstock_files WHERE subject = ?", (claim.subject,))
    for file in files:
        planned = file.planned
        data, quarantine = (json.dumps([_uri(path) for path in paths]) for paths in (file.data, file.quarantine))
        cursor.execute(
            "INSERT OR REPLACE INTO penstock_files (subject, identity, url, etag, size, run, rows, data, quarantine) "
            "VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?)",
            (
                claim.subject,
                identity,
                planned.url,
                planned.etag,
                planned.size,
                claim.run,
                file.loaded,
                data,
                quarantine,
            ),
        )


def _settle(claim: Claim, report: DatasetReport) -> DatasetReport:
    with ledger.transaction(claim.database) as cursor:
        ledger.settle(cursor, claim, report.model_dump_json(), (0, 0), _now())
    return report


def _uri(path: Path) -> str:
    return locations.location(path)


def _now() -> str:
    return datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
