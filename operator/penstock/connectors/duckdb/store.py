"""DuckDB as a TableStore: what the worker asks of it, carried out by the modules beside this one."""

from collections.abc import Sequence
from contextlib import AbstractContextManager, nullcontext
from typing import cast

from penstock.api import checks
from penstock.connectors.duckdb import commit, database, scan, staging, tables
from penstock.connectors.duckdb.spec import DuckdbDestination
from penstock.connectors.duckdb.staging import DuckdbWriter, Place
from penstock.connectors.duckdb.writing import DuckdbDatabase
from penstock.runs.order import DatasetOrder, DestinationOrder
from penstock.runs.report import DatasetReport
from penstock.worker import ledger, sqltables
from penstock.worker.ledger import LEASE, SqlLedger
from penstock.worker.pod import Pod
from penstock.worker.ports.differences import Change
from penstock.worker.ports.ledger import Attempt, Claim, Ledger
from penstock.worker.ports.tablestore import Publication, Scan, Standing, Traits


class DuckdbStore:
    """Tables in the schema main of a database file on a claim."""

    traits = Traits(
        snapshots=False,
        access="by the least and greatest `_penstock_input_id` of each row group: the rows of an input lie together",
    )
    ledger: Ledger

    def __init__(self, destination: DestinationOrder, pod: Pod) -> None:
        """Raises InvalidSpec (ResourceNotFound) when the claim is not mounted."""
        spec = cast(DuckdbDestination, destination.connector.spec)
        file = database.at(spec.path, spec.volume, pod, f"Destination {destination.name}", writable=True)
        self.database = DuckdbDatabase(file)
        self.ledger = SqlLedger(self.database)
        self._place = Place(file.root, f"{file.name}.penstock", file.subject)

    def check(self) -> None:
        """Create a table in the file, and do not commit it; then the ledger."""
        self.database.check()
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
        with self.database.transaction() as cursor:
            return tables.changes(cursor, dataset)

    def alter(self, dataset: DatasetOrder, claim: Claim) -> list[Change]:
        """Bring the table's columns to the Dataset's schema, in one transaction."""
        return tables.change(self.database, claim, dataset)

    def describe(self, dataset: DatasetOrder, claim: Claim | None) -> bool:
        """Bring the descriptions to what the Dataset says; without a claim, say whether they differ."""
        return tables.describe(self.database, dataset, write=claim is not None)

    def sweep(self, claim: Claim, dataset: DatasetOrder) -> int:
        """Remove what earlier claims have staged, and what runs of other Datasets have left behind.

        A claim with an earlier load id can commit nothing. The folders are listed before the leases are read, so one of
        a claim that is not among these is of an earlier one.
        """
        del claim, dataset
        there = self._place.folders()
        if not there:
            return 0
        with self.database.transaction() as cursor:
            used = {staging.folder_name(subject, load_id) for subject, load_id in ledger.recent_claims(cursor)}
        return sum(self._place.remove(name) for name in there if name not in used)

    def writer(self, claim: Claim, dataset: DatasetOrder, part: str) -> DuckdbWriter:
        """Files beside the database."""
        return DuckdbWriter(self._place, claim, part, sqltables.arrow(sqltables.columns_of_table(dataset)))

    def publish(self, claim: Claim, publication: Publication) -> DatasetReport:
        """Commit in one transaction. Staged rows are removed in any case: a retry stages them again."""
        try:
            return commit.publish(self.database, self._place, claim, publication)
        except Exception:
            self._place.remove(staging.folder_name(claim.subject, claim.load_id))
            raise

    def standing(self, dataset: DatasetOrder) -> Standing | None:
        """How the tables stand; None while there is none."""
        with self.database.transaction() as cursor:
            table = tables.existing(cursor, dataset.table)
            if table is None:
                return None
            sqltables.create_commits(cursor)
            newest = sqltables.commits(cursor, dataset.table)
            size = tables.size(cursor, table.name)
        return sqltables.standing(table, f"main.{table.name}", size, newest)

    def scan(self, dataset: DatasetOrder, columns: Sequence[str], at: str | None = None) -> Scan:
        """The rows of a load, in the order in which they lie."""
        return scan.scan(self.database, dataset, columns, at)

    def same_order(self, dataset: DatasetOrder) -> AbstractContextManager[None]:
        """Rows stay in the order of their insertion unless another program writes them again."""
        del dataset
        return nullcontext()

    def scan_quarantine(self, dataset: DatasetOrder) -> Scan:
        """The entries of the quarantine."""
        every = sqltables.columns_of_quarantine()
        return scan.scan_all(self.database, dataset, checks.quarantine_table(dataset.table), every)
