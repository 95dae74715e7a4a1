"""PostgreSQL as a TableStore: what the worker asks of it, carried out by the modules beside this one."""

import threading
from collections.abc import Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager, suppress
from dataclasses import dataclass, field
from functools import partial
from typing import cast

from psycopg import sql

from penstock.api import checks
from penstock.connectors.postgres import commit, probe, scan, staging, tables
from penstock.connectors.postgres.connection import Place
from penstock.connectors.postgres.database import PostgresDatabase
from penstock.connectors.postgres.spec import PostgresDestination
from penstock.connectors.postgres.staging import PostgresWriter
from penstock.language.errors import PenstockError
from penstock.runs.order import DatasetOrder, DestinationOrder
from penstock.runs.report import DatasetReport
from penstock.worker import ledger, sqltables
from penstock.worker.ledger import LEASE, SqlLedger
from penstock.worker.pod import Pod
from penstock.worker.ports.differences import Change
from penstock.worker.ports.ledger import Attempt, Claim, Ledger
from penstock.worker.ports.tablestore import Publication, Scan, Standing, Traits

_LONGEST_KEY = 2400
"""Bytes of text in a row of an index of the kind btree, which has 2,704; eight columns need up to 24 each besides."""


@dataclass
class _Staging:
    """The Writers of one claim that are not discarded."""

    writers: set[str] = field(default_factory=set)
    lock: threading.Lock = field(default_factory=threading.Lock)


class PostgresStore:
    """Tables in one schema of a database."""

    traits = Traits(
        snapshots=False,
        access="by an index of the kind BRIN on `_penstock_input_id`: the rows of an input lie together",
        forbidden_characters="\0",
        longest_key=_LONGEST_KEY,
    )
    ledger: Ledger

    def __init__(self, destination: DestinationOrder, pod: Pod) -> None:
        """Raises InvalidSpec (SecretMissing)."""
        self.spec = cast(PostgresDestination, destination.connector.spec)
        place = Place(self.spec, destination.auth, pod, f"Destination {destination.name}")
        self.database = PostgresDatabase(place, self.spec.schema_)
        self.ledger = SqlLedger(self.database)
        self._pod = pod
        self._stagings: dict[int, _Staging] = {}
        self._shared: str | None = None
        """The database snapshot that scans share, see `same_order`."""

    def check(self) -> None:
        """Create a table in the schema, and do not commit it; then the ledger."""
        probe.check(self.database)
        self.ledger.create()

    def claim(self, dataset: DatasetOrder, attempt: Attempt, lease: float = LEASE) -> AbstractContextManager[Claim]:
        """The right to write the Dataset."""
        return self.ledger.claim(dataset.owner.marker, attempt, lease)

    def ensure(self, dataset: DatasetOrder) -> None:
        """Create the Dataset's two tables where they are missing, and the ledger."""
        self.ledger.create()
        tables.ensure(self.database, dataset)

    def changes(self, dataset: DatasetOrder) -> list[Change]:
        """How the table differs from the Dataset's schema."""
        with self.database.unlocked() as cursor:
            return tables.changes(cursor, self.spec.schema_, dataset)

    def alter(self, dataset: DatasetOrder, claim: Claim) -> list[Change]:
        """Bring the table's columns to the Dataset's schema, in one transaction."""
        return tables.change(self.database, claim, dataset)

    def describe(self, dataset: DatasetOrder, claim: Claim | None) -> bool:
        """Bring the descriptions to what the Dataset says; without a claim, say whether they differ."""
        return tables.describe(self.database, dataset, write=claim is not None)

    def sweep(self, claim: Claim, dataset: DatasetOrder) -> int:
        """Drop the staging tables of earlier claims, and those that runs of other Datasets have left behind.

        A claim with an earlier load id can commit nothing. The tables are listed before the leases are read, so one of
        a claim that is not among these is of an earlier one.
        """
        del dataset
        with self.database.unlocked() as cursor:
            there = tables.beginning_with(cursor, self.spec.schema_, staging.PREFIX)
            claims = ledger.recent_claims(cursor)
        used = {name for subject, load_id in claims for name in staging.names(subject, load_id)}
        own = staging.names(claim.subject, claim.load_id)[0].rpartition("_")[0]
        swept = 0
        for name in there:
            if name.startswith(f"{own}_") and name not in used:
                self._drop(name)
                swept += 1
            elif name not in used:
                with suppress(PenstockError):  # it may belong to another user, and is not in the way
                    self._drop(name)
                    swept += 1
        return swept

    def _drop(self, name: str) -> None:
        with self.database.unlocked() as cursor:
            statement = sql.SQL("DROP TABLE IF EXISTS {}").format(sql.Identifier(self.spec.schema_, name))
            cursor.own.execute(statement)

    def writer(self, claim: Claim, dataset: DatasetOrder, part: str) -> PostgresWriter:
        """A part of the claim's staging tables."""
        both = staging.tables(self.database, claim, dataset)
        mine = self._stagings.setdefault(claim.load_id, _Staging())
        with mine.lock:
            if not mine.writers:
                with self.database.transaction() as cursor:
                    for table in both:
                        cursor.own.execute(table.create)
            mine.writers.add(part)
        return PostgresWriter(self.database, both, part, self._pod.processors, partial(self._discarded, claim, part))

    def _discarded(self, claim: Claim, part: str) -> None:
        """Drop the claim's staging tables when its last Writer is discarded; if that fails, the next run does it."""
        mine = self._stagings[claim.load_id]
        with mine.lock:
            mine.writers.discard(part)
            if not mine.writers:
                self._drop_staging(claim)

    def _drop_staging(self, claim: Claim) -> None:
        for name in staging.names(claim.subject, claim.load_id):
            with suppress(PenstockError):
                self._drop(name)

    def publish(self, claim: Claim, publication: Publication) -> DatasetReport:
        """Commit in one transaction. Staged rows are dropped in any case: a retry stages them again."""
        try:
            return commit.publish(self.database, claim, publication)
        except Exception:
            self._drop_staging(claim)
            raise

    def standing(self, dataset: DatasetOrder) -> Standing | None:
        """How the tables stand; None while there is none."""
        with self.database.transaction() as cursor:
            table = tables.existing(cursor, self.spec.schema_, dataset.table)
            if table is None:
                return None
            sqltables.create_commits(cursor)
            newest = sqltables.commits(cursor, dataset.table)
            size = tables.size(cursor, self.spec.schema_, dataset.table)
        return sqltables.standing(table, f"{self.spec.schema_}.{dataset.table}", size, newest)

    def scan(self, dataset: DatasetOrder, columns: Sequence[str], at: str | None = None) -> Scan:
        """The rows of a load, in the order in which they lie."""
        return scan.scan(self.database, dataset, columns, at, self._shared)

    @contextmanager
    def same_order(self, dataset: DatasetOrder) -> Iterator[None]:
        """Scans share a snapshot of the database, and nobody can rewrite the table."""
        with scan.share(self.database, dataset) as shared:
            self._shared = shared
            try:
                yield
            finally:
                self._shared = None

    def scan_quarantine(self, dataset: DatasetOrder) -> Scan:
        """The entries of the quarantine."""
        table = checks.quarantine_table(dataset.table)
        return scan.scan_all(self.database, dataset, table, sqltables.columns_of_quarantine())
