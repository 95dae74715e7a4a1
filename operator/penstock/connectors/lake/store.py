"""The lake as a TableStore: what the worker asks of it, carried out by the modules beside this one."""

from collections.abc import Iterable, Iterator, Sequence
from contextlib import AbstractContextManager, nullcontext

import pyarrow as pa
import pyarrow.dataset as ds
from pyiceberg.expressions import AlwaysTrue
from pyiceberg.io.pyarrow import ArrowScan, schema_to_pyarrow
from pyiceberg.table import Table

from penstock.api import checks
from penstock.connectors.lake import commit, reading, staging, tables
from penstock.connectors.lake.datafiles import DataFiles
from penstock.connectors.lake.tables import Lake, Tables
from penstock.connectors.lake.warehouses.port import Warehouse
from penstock.language.errors import NotYet
from penstock.language.traits import WriteMode
from penstock.runs.order import DatasetOrder, DestinationOrder
from penstock.runs.report import ColumnReport, DatasetReport
from penstock.worker.ledger import LEASE, SqlLedger
from penstock.worker.pod import Pod
from penstock.worker.ports import tablestore
from penstock.worker.ports.differences import Change
from penstock.worker.ports.ledger import Attempt, Claim, Ledger
from penstock.worker.ports.tablestore import LINEAGE, Publication, Scan, Staged, Standing, Traits

_BATCH, _READAHEAD = 32_768, 1
"""Rows of a batch, and batches that are read from a bucket before they are asked for; Arrow's own 16 are too many."""


class LakeStore:
    """Iceberg tables under one warehouse."""

    traits = Traits(
        snapshots=True,
        access="by the statistics of the data files; files that hold other rows too are rewritten",
    )
    ledger: Ledger

    def __init__(self, destination: DestinationOrder, pod: Pod) -> None:
        """Raises InvalidSpec (ResourceNotFound) when the claim is not mounted."""
        self._pod = pod
        self.lake = tables.connect(destination, pod)
        self.ledger = SqlLedger(self.lake.database)
        self._loaded: dict[str, Tables] = {}

    def check(self) -> None:
        """Write a file into the warehouse and remove it again."""
        self.ledger.create()
        self.lake.warehouse.check(f"penstock-probe-{self._pod.name}")

    def claim(self, dataset: DatasetOrder, attempt: Attempt, lease: float = LEASE) -> AbstractContextManager[Claim]:
        """The right to write the Dataset."""
        return self.ledger.claim(dataset.owner.marker, attempt, lease)

    def ensure(self, dataset: DatasetOrder) -> None:
        """Create the Dataset's two tables where they are missing, and the ledger."""
        self.ledger.create()
        self._loaded[dataset.table] = tables.ensure(self.lake, dataset)

    def changes(self, dataset: DatasetOrder) -> list[Change]:
        """How the table differs from the Dataset's schema."""
        return tables.changes(self.lake, dataset)

    def alter(self, dataset: DatasetOrder, claim: Claim) -> list[Change]:
        """Bring the table's columns to the Dataset's schema, in one commit of the catalog."""
        self._loaded.pop(dataset.table, None)
        claim.require()
        return tables.alter(self.lake, dataset)

    def describe(self, dataset: DatasetOrder, claim: Claim | None) -> bool:
        """Bring the descriptions to what the Dataset says; without a claim, say whether they differ."""
        differ = tables.describe(self.lake, dataset, write=claim is not None)
        self._loaded.pop(dataset.table, None)
        return differ

    def sweep(self, claim: Claim, dataset: DatasetOrder) -> int:
        """Remove what killed attempts of this run have left, and what is old and of no snapshot."""
        return sum(staging.sweep(self.lake.warehouse, table, claim) for table in self._tables(dataset).both)

    def writer(self, claim: Claim, dataset: DatasetOrder, part: str) -> "LakeWriter":
        """Files beside the tables that no snapshot names yet."""
        return LakeWriter(self.lake, self._tables(dataset), staging.data_name(claim, part), dataset.write_mode)

    def publish(self, claim: Claim, publication: Publication) -> DatasetReport:
        """Commit in one transaction of the catalog's database."""
        report = commit.publish(self.lake, claim, self._tables(publication.dataset), publication, self._pod)
        self._loaded.pop(publication.dataset.table, None)
        return report

    def standing(self, dataset: DatasetOrder) -> Standing | None:
        """How the tables stand; None while there is none."""
        data, quarantine = self.lake.table(dataset.table), self.lake.table(checks.quarantine_table(dataset.table))
        if data is None:
            return None
        snapshot = data.current_snapshot()
        return Standing(
            table=f"{tables.NAMESPACE}.{dataset.table}",
            rows=tables.total(data, "total-records"),
            bytes=tables.total(data, "total-files-size"),
            quarantined=tables.total(quarantine, "total-records") if quarantine is not None else 0,
            snapshot=str(snapshot.snapshot_id) if snapshot is not None else None,
            columns=tuple(
                ColumnReport(name=field.name, type=str(field.field_type))
                for field in data.schema().fields
                if field.name not in LINEAGE.names
            ),
        )

    def scan(self, dataset: DatasetOrder, columns: Sequence[str], at: str | None = None) -> Scan:
        """The rows of a snapshot, in the order of the names of the files."""
        return _scan(self.lake.warehouse, tables.existing(self.lake, dataset).data, columns, at)

    def same_order(self, dataset: DatasetOrder) -> AbstractContextManager[None]:
        """A snapshot names its files, which nobody changes, and they are read in the order of their names."""
        del dataset
        return nullcontext()

    def scan_quarantine(self, dataset: DatasetOrder) -> Scan:
        """The entries of the quarantine."""
        table = tables.existing(self.lake, dataset).quarantine
        return _scan(self.lake.warehouse, table, table.schema().column_names, None)

    def _tables(self, dataset: DatasetOrder) -> Tables:
        if dataset.table not in self._loaded:
            self._loaded[dataset.table] = tables.ensure(self.lake, dataset)
        return self._loaded[dataset.table]


class LakeWriter:
    """Stages rows and quarantine entries as Parquet files."""

    def __init__(self, lake: Lake, into: Tables, name: str, mode: WriteMode) -> None:
        self.schema: pa.Schema = tablestore.staged_schema(into.data_schema, mode)
        self._good = DataFiles(lake.warehouse, f"{tables.folder(into.data)}/{name}", self.schema)
        self._bad = DataFiles(lake.warehouse, f"{tables.folder(into.quarantine)}/{name}", into.quarantine_schema)

    def write(self, rows: pa.Table) -> None:
        """Stage rows; any thread may."""
        self._good.write(rows)

    def reject(self, rows: pa.Table) -> None:
        """Stage entries of the quarantine; any thread may."""
        self._bad.write(rows)

    def close(self) -> Staged:
        """The files, and the rows in them as their footers say."""
        data, rows = self._good.close()
        quarantine, rejected = self._bad.close()
        return Staged({"data": data, "quarantine": quarantine}, rows, rejected)

    def discard(self) -> None:
        """Remove what was staged."""
        self._good.discard()
        self._bad.discard()


def _scan(warehouse: Warehouse, table: Table, columns: Sequence[str], at: str | None) -> Scan:
    """Rows of a snapshot. Files with delete files, which other engines write, are read by pyiceberg."""
    current = table.current_snapshot()
    number = int(at) if at is not None else (current.snapshot_id if current is not None else None)
    schema = schema_to_pyarrow(table.schema().select(*columns), include_field_ids=False)
    schema = pa.schema([schema.field(name) for name in columns])
    if number is None:
        return Scan(pa.RecordBatchReader.from_batches(schema, []), 0, None)
    if table.snapshot_by_id(number) is None:
        name = table.name()[-1]
        raise NotYet(f"Snapshot {number} of table {name} has expired. The next run takes a new one.", "DatasetNotReady")
    tasks = sorted(table.scan(snapshot_id=number).plan_files(), key=lambda task: task.file.file_path)
    if any(task.delete_files for task in tasks):
        arrow = ArrowScan(table.metadata, table.io, table.schema().select(*columns), AlwaysTrue())
        rows = pa.Table.from_batches(arrow.to_record_batches(tasks)).select(list(columns)).cast(schema)
        return Scan(rows.to_reader(), rows.num_rows, str(number))
    if not tasks:
        return Scan(pa.RecordBatchReader.from_batches(schema, []), 0, str(number))
    total = sum(task.file.record_count for task in tasks)
    if table.location().startswith("file:") or not reading.unchanged(table, columns):
        # One batch after the other: reading ahead gains nothing on a volume, and takes memory.
        files = (task.file.file_path for task in tasks)
        # what is read by field ids has their numbers in its schema
        batches = (batch.cast(schema) for file in files for batch in reading.batches(warehouse, table, file, columns))
        return Scan(_reader(warehouse, table, schema, batches), total, str(number))
    paths = [warehouse.path(task.file.file_path) for task in tasks]
    with warehouse.failures(table.location()):
        dataset = ds.dataset(paths, schema=schema, format="parquet", filesystem=warehouse.filesystem)
        scanner = dataset.scanner(
            columns=[*columns], batch_size=_BATCH, batch_readahead=_READAHEAD, fragment_readahead=1
        )
        reader = scanner.to_reader()
    return Scan(_reader(warehouse, table, schema, reader), total, str(number))


def _reader(
    warehouse: Warehouse, table: Table, schema: pa.Schema, batches: Iterable[pa.RecordBatch]
) -> pa.RecordBatchReader:
    def each() -> Iterator[pa.RecordBatch]:
        with warehouse.failures(table.location()):
            yield from batches

    return pa.RecordBatchReader.from_batches(schema, each())
