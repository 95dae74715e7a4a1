"""The names of what a run writes before its commit, by which its next attempt, or a later run, removes it.

A name begins with, or has in it, a hash of the run id and the load id of the claim.
"""

import hashlib
import re
import uuid

from pyiceberg.table import Table

from penstock.connectors.lake import snapshots, tables
from penstock.connectors.lake.warehouses.port import Warehouse
from penstock.worker.ports.ledger import Claim

_ABANDONED = 24 * 3600.0
"""Seconds after which what another run has staged, and not committed, is waste."""
_DATA = re.compile(r"([0-9a-f]{16})-(\d+)-[0-9a-z]+-\d{3}\.parquet$")
_METADATA = re.compile(
    r"(?:.*-)?([0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12})(?:-m\d+)?\.(?:avro|metadata\.json)$"
)
_STAGED = re.compile(f"(?:{_DATA.pattern})|(?:{_METADATA.pattern})")
"""The names that staging gives; those of metadata are given by other engines too."""


def data_name(claim: Claim, part: str) -> str:
    """How the names of data files begin."""
    return f"{_run(claim)}-{claim.load_id}-{part}"


def commit_id(claim: Claim) -> uuid.UUID:
    """What the names of a commit's metadata have in them: the hash of the run, then the load id."""
    return uuid.UUID(hex=f"{_run(claim)}{claim.load_id & (1 << 64) - 1:016x}")


def sweep(warehouse: Warehouse, table: Table, claim: Claim) -> int:
    """Remove what earlier claims of this run, and runs that were given up, have left of the table; how much it was.

    That is what earlier claims of this uncommitted run have staged, and of other runs what is older than a day and not
    the table's. What a later claim has staged stays: it may be committed by now, if this worker was taken over and has
    not noticed.
    """
    entries = [*warehouse.entries(tables.folder(table)), *warehouse.entries(tables.folder(table, "metadata"))]
    loads = [(entry, _load_id(entry.name, _run(claim))) for entry in entries]
    gone = [entry for entry, load in loads if load is not None and load < claim.load_id]
    others = [entry for entry, load in loads if load is None and _STAGED.match(entry.name)]
    if old := [entry for entry in others if entry.age > _ABANDONED]:
        needed = snapshots.all_files(warehouse, table)
        gone += [entry for entry in old if warehouse.path(entry.location) not in needed]
    if gone:
        warehouse.remove(gone)
    return len(gone)


def _load_id(name: str, run: str) -> int | None:
    """The load id in the name of what this run has staged; None for what it has not."""
    if data := _DATA.match(name):
        return int(data[2]) if data[1] == run else None
    if metadata := _METADATA.match(name):
        commit = uuid.UUID(metadata[1]).hex
        return int(commit[16:], 16) if commit[:16] == run else None
    return None


def _run(claim: Claim) -> str:
    return hashlib.sha256(claim.run.encode()).hexdigest()[:16]
