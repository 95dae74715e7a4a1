"""A lake: Iceberg tables whose files lie in a warehouse, and whose catalog lies in a database with the ledger.

A Dataset is two tables, its rows and its quarantine. Both carry the owner's marker; those of another owner are not
touched.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property

import pyarrow as pa
from pyiceberg.exceptions import CommitFailedException, NoSuchTableError, TableAlreadyExistsError
from pyiceberg.io.pyarrow import schema_to_pyarrow
from pyiceberg.schema import Schema
from pyiceberg.table import Table

from penstock.api import checks
from penstock.connectors.files.stores import beneath, objects, sqlitefile
from penstock.connectors.lake import columns
from penstock.connectors.lake.catalogs.sql import SqlTables
from penstock.connectors.lake.spec import LakeDestination
from penstock.connectors.lake.warehouses.local import DATABASE, LocalWarehouse
from penstock.connectors.lake.warehouses.port import Warehouse
from penstock.language.errors import InvalidSpec, NotYet
from penstock.language.volumes import Volume
from penstock.runs.order import DatasetOrder, DestinationOrder
from penstock.worker import ledger
from penstock.worker.pod import Pod
from penstock.worker.ports import differences, tablestore
from penstock.worker.ports.differences import Change
from penstock.worker.ports.ledger import Database

CATALOG = "penstock"
"""The catalog's name inside its database; a plain reader needs it: `SqlCatalog("penstock", uri=…, warehouse=…)`."""
NAMESPACE = "main"
OWNER = "penstock.owner"


@dataclass(frozen=True)
class Lake:
    """An open lake. `database` holds the catalog and the ledger."""

    warehouse: Warehouse
    catalog: SqlTables
    database: Database

    def table(self, name: str) -> Table | None:
        """The table of that name as it is now, None where there is none."""
        try:
            return self.catalog.load_table((NAMESPACE, name))
        except NoSuchTableError:
            return None


@dataclass(frozen=True)
class Tables:
    """A Dataset's two tables as they were when they were loaded, and the Arrow schemas of their files."""

    data: Table
    quarantine: Table

    @cached_property
    def data_schema(self) -> pa.Schema:
        """Arrow schema with Iceberg field ids."""
        return schema_to_pyarrow(self.data.schema())

    @cached_property
    def quarantine_schema(self) -> pa.Schema:
        """Arrow schema with Iceberg field ids."""
        return schema_to_pyarrow(self.quarantine.schema())

    @property
    def both(self) -> tuple[Table, Table]:
        """The data, then the quarantine."""
        return self.data, self.quarantine


def connect(destination: DestinationOrder, pod: Pod) -> Lake:
    """Open the lake, creating its catalog on first use. Raises InvalidSpec when its volume or a Secret is missing."""
    place = destination.connector.spec
    if not isinstance(place, LakeDestination):
        raise InvalidSpec(f"Destination {destination.name} holds no tables: a Dataset needs connector.lake.")
    subject = f"Destination {destination.name}"
    warehouse: Warehouse
    if place.volume is None:
        from penstock.connectors.lake.warehouses.objects import ObjectWarehouse  # its clients take half a second

        store = objects(place.prefix, place.endpoint_url, destination.auth, pod, subject, place.ca_bundle)
        warehouse = ObjectWarehouse(store, subject)
    else:
        warehouse = _folder(place, place.volume, pod, subject)
    database = _database(place, warehouse, pod, subject)
    catalog = SqlTables(CATALOG, NAMESPACE, database, warehouse)
    catalog.create()
    return Lake(warehouse, catalog, database)


def _folder(place: LakeDestination, volume: Volume, pod: Pod, subject: str) -> LocalWarehouse:
    """The folder of a claim, created where it is missing. Raises InvalidSpec for a link in it, before it is read.

    Links that are put there later are refused when they are met.
    """
    mount = pod.path(volume.mount_path)
    if not mount.is_dir():
        message = f"{subject}: claim {volume.claim_name} is not mounted. Create it."
        raise InvalidSpec(message, "ResourceNotFound")
    inside = place.warehouse.removeprefix(f"file://{volume.mount_path}").strip("/")
    warehouse = LocalWarehouse(mount, inside, subject)
    with warehouse.refusals(), beneath.folder(mount, inside, create=True) as folder:
        for file in (DATABASE, *(f"{DATABASE}{suffix}" for suffix in sqlitefile.BESIDE)):
            beneath.check_file(folder, file)
        for table in beneath.folders(folder, NAMESPACE):
            for part in ("data", "metadata"):
                beneath.check_folder(folder, f"{NAMESPACE}/{table}/{part}")
    return warehouse


def _database(place: LakeDestination, warehouse: Warehouse, pod: Pod, subject: str) -> Database:
    if place.catalog is not None and place.catalog.postgres is not None:
        from penstock.connectors.lake.catalogs import postgres  # a lake in a folder needs no client of PostgreSQL

        return postgres.database(place.catalog.postgres, pod, subject)
    assert isinstance(warehouse, LocalWarehouse)  # noqa: S101 - the spec wants a catalog with every bucket
    return warehouse.database


def ensure(lake: Lake, dataset: DatasetOrder) -> Tables:
    """The Dataset's two tables, created where they are missing.

    Raises InvalidSpec with TableConflict (another owner's table) or SchemaChanged, NotYet (DatasetNotReady) when the
    table's columns have yet to be changed.
    """
    return Tables(
        data=_ensure(lake, dataset, dataset.table, columns.table(dataset)),
        quarantine=_ensure(lake, dataset, checks.quarantine_table(dataset.table), columns.quarantine()),
    )


def existing(lake: Lake, dataset: DatasetOrder) -> Tables:
    """The Dataset's two tables, as they are.

    Raises NotYet (DatasetNotReady) when one is missing, InvalidSpec (TableConflict) when they are another's.
    """
    data, quarantine = lake.table(dataset.table), lake.table(checks.quarantine_table(dataset.table))
    if data is None or quarantine is None:
        raise NotYet(f"Dataset {dataset.owner.name} has no table yet.", "DatasetNotReady")
    _check_owner(data, dataset)
    return Tables(data, quarantine)


def changes(lake: Lake, dataset: DatasetOrder) -> list[Change]:
    """How the Dataset's table differs from its schema; empty while there is no table.

    Raises InvalidSpec (TableConflict) when it is another's.
    """
    table = lake.table(dataset.table)
    if table is None:
        return []
    _check_owner(table, dataset)
    return _differences(table, columns.table(dataset), dataset.schema_.renamed)


def alter(lake: Lake, dataset: DatasetOrder) -> list[Change]:
    """Bring the table's columns to the Dataset's schema; the changes made. The lease must be held.

    Raises InvalidSpec (SchemaChanged) and NotYet (LeaseHeld); nothing is changed then.
    """
    table = existing(lake, dataset).data
    wanted = columns.table(dataset)
    made = _differences(table, wanted, dataset.schema_.renamed)
    subject = f"Dataset {dataset.owner.name}"
    differences.check(subject, dataset.table, made, has_rows=total(table, "total-records") > 0)
    if made:
        try:
            columns.alter(table, wanted, made)
        except CommitFailedException:
            message = f"{subject}: table {dataset.table} was changed by another program meanwhile. Nothing was changed."
            raise NotYet(message, "LeaseHeld") from None
    return made


def describe(lake: Lake, dataset: DatasetOrder, *, write: bool) -> bool:
    """Whether the table's or a column's description differs from the Dataset's; with `write`, it is changed then.

    To write, the lease must be held: a run that commits meanwhile would find the table changed.
    """
    table = existing(lake, dataset).data
    comment = dataset.description or ""
    there = {field.name: field.doc or "" for field in table.schema().fields}
    docs = {
        field.name: field.description or ""
        for field in dataset.schema_.fields
        if there[field.name] != (field.description or "")
    }
    renamed = table.properties.get("comment", "") != comment
    if write and (renamed or docs):
        try:
            with table.transaction() as transaction:
                if renamed:
                    transaction.set_properties({"comment": comment})
                with transaction.update_schema() as update:
                    for name, doc in docs.items():
                        update.update_column(name, doc=doc)
        except CommitFailedException:
            message = f"Dataset {dataset.owner.name}: table {dataset.table} was changed by another program meanwhile."
            raise NotYet(message, "LeaseHeld") from None
    return renamed or bool(docs)


def _check_owner(table: Table, dataset: DatasetOrder) -> None:
    owner = table.properties.get(OWNER, "no Dataset")
    if owner != dataset.owner.marker:
        name = table.name()[-1]
        message = f"Dataset {dataset.owner.name}: table {name} belongs to {owner}. Make a Dataset with another `table`."
        raise InvalidSpec(message, "TableConflict")


def _ensure(lake: Lake, dataset: DatasetOrder, name: str, schema: Schema) -> Table:
    table = lake.table(name)
    if table is None:
        if name == dataset.table:
            with lake.database.transaction() as cursor:  # before there is a table that a run could commit to
                ledger.forget(cursor, dataset.owner.marker)
        properties = {
            OWNER: dataset.owner.marker,
            "comment": dataset.description or "",
            "commit.retry.num-retries": "0",  # a retry that rebases made one run commit twice
            "write.parquet.compression-codec": "zstd",
            # any engine that rewrites the files keeps the statistics by which the rows of an input are removed
            f"write.metadata.metrics.column.{tablestore.INPUT_ID}": "full",
            **lake.warehouse.table_properties,
        }
        try:
            table = lake.catalog.create_table((NAMESPACE, name), schema, properties=properties)
        except TableAlreadyExistsError:
            table = lake.catalog.load_table((NAMESPACE, name))
    _check_owner(table, dataset)
    renamed = dataset.schema_.renamed if name == dataset.table else {}
    differ = _differences(table, schema, renamed)
    has_rows = total(table, "total-records") > 0
    differences.require_none(f"Dataset {dataset.owner.name}", name, differ, has_rows=has_rows)
    return table


def _differences(table: Table, wanted: Schema, renamed: Mapping[str, str]) -> list[Change]:
    there = table.schema()
    return [
        *differences.between(columns.plain(there), columns.plain(wanted), renamed),
        *differences.of_keys(columns.key(there), columns.key(wanted), renamed),
    ]


def total(table: Table, key: str) -> int:
    """A total of the current snapshot's summary, such as total-records; 0 where there is no snapshot."""
    snapshot = table.current_snapshot()
    if snapshot is None or snapshot.summary is None:
        return 0
    return int(snapshot.summary[key] or 0)


def folder(table: Table, part: str = "data") -> str:
    """The location of the table's data files, or of its metadata."""
    return f"{table.location()}/{part}"
