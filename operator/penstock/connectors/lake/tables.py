"""A lake: Iceberg tables under a warehouse folder, their SQL catalog in SQLite beside them.

A Dataset is two tables, its rows and its quarantine. Both carry the owner's marker; those of another
owner are not touched.
"""

import contextlib
import uuid
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
from pyiceberg.catalog.sql import SqlCatalog
from pyiceberg.exceptions import NamespaceAlreadyExistsError, NoSuchTableError, TableAlreadyExistsError
from pyiceberg.io.pyarrow import (
    compute_statistics_plan,
    data_file_statistics_from_parquet_metadata,
    parquet_file_to_data_file,
    parquet_path_to_id_mapping,
    schema_to_pyarrow,
)
from pyiceberg.manifest import DataFile, DataFileContent, FileFormat
from pyiceberg.schema import Schema
from pyiceberg.table import Table

from penstock.api import checks
from penstock.connectors.files.stores import beneath
from penstock.connectors.lake import columns, locations
from penstock.language.errors import InvalidSpec, NotYet
from penstock.runs.order import DatasetOrder, DestinationOrder
from penstock.worker.pod import Pod

CATALOG = "penstock"
"""The catalog's name inside its database; a plain reader needs it: `SqlCatalog("penstock", uri=…, warehouse=…)`."""
NAMESPACE = "main"
DATABASE = "catalog.db"
OWNER = "penstock.owner"


@dataclass(frozen=True)
class Lake:
    """An open lake."""

    root: Path
    catalog: SqlCatalog

    @property
    def database(self) -> Path:
        """The SQLite file that holds the catalog and the ledger."""
        return self.root / DATABASE

    def table(self, name: str) -> Table | None:
        """The table of that name as it is now, None where there is none."""
        try:
            return self.catalog.load_table((NAMESPACE, name))
        except NoSuchTableError:
            return None


@dataclass(frozen=True)
class Tables:
    """A Dataset's two tables as they were when it was claimed, and the Arrow schemas of their files."""

    data: Table
    quarantine: Table

    @cached_property
    def data_schema(self) -> pa.Schema:
        """Arrow schema with Iceberg field ids."""
        return arrow_schema(self.data)

    @cached_property
    def quarantine_schema(self) -> pa.Schema:
        """Arrow schema with Iceberg field ids."""
        return arrow_schema(self.quarantine)


@dataclass(frozen=True)
class Swap:
    """A table's next metadata, written and not yet visible: to be put in the place of `before` in the catalog."""

    table: str
    before: str
    after: str
    snapshot: int
    written: tuple[str, ...]


def open(destination: DestinationOrder, pod: Pod) -> Lake:
    """Open the lake, creating its folder and catalog on first use. Raises InvalidSpec when its volume is missing."""
    place = destination.connector.lake
    if place is None:
        raise InvalidSpec(f"Destination {destination.name} holds no tables: a Dataset needs connector.lake.")
    mount = pod.path(place.volume.mount_path)
    if not mount.is_dir():
        message = f"Destination {destination.name}: claim {place.volume.claim_name} is not mounted. Create it."
        raise InvalidSpec(message, "ResourceNotFound")
    root = _warehouse(mount, place.warehouse.removeprefix(f"file://{place.volume.mount_path}"), destination.name)
    catalog = SqlCatalog(CATALOG, uri=locations.database_url(root / DATABASE), warehouse=locations.location(root))
    with contextlib.suppress(NamespaceAlreadyExistsError):  # another worker was a moment faster
        catalog.create_namespace_if_not_exists(NAMESPACE)
    return Lake(root, catalog)


def _warehouse(mount: Path, inside: str, name: str) -> Path:
    """The warehouse's folder, created where it is missing. Raises InvalidSpec where a link would lead out of it.

    What is opened later by its name are the catalog's database and files with the names that this process gives.
    """
    inside = inside.strip("/")
    try:
        with beneath.folder(mount, inside, create=True) as folder:
            for file in (DATABASE, f"{DATABASE}-journal", f"{DATABASE}-wal", f"{DATABASE}-shm"):
                beneath.check_file(folder, file)
            for table in beneath.folders(folder, NAMESPACE):
                for part in ("data", "metadata"):
                    beneath.check_folder(folder, f"{NAMESPACE}/{table}/{part}")
    except beneath.Refused as refused:
        message = f"Destination {name}: {refused.path} in the warehouse {refused.what}. Remove it."
        raise InvalidSpec(message, "WrongSpecification") from None
    return mount.joinpath(*beneath.parts(inside))


def ensure(lake: Lake, dataset: DatasetOrder) -> Tables:
    """The Dataset's two tables, created where they are missing.

    Raises InvalidSpec with TableConflict (another owner's table) or SchemaChanged (the table has other columns).
    """
    return Tables(
        data=_ensure(lake, dataset, dataset.table, columns.of(dataset)),
        quarantine=_ensure(lake, dataset, checks.quarantine_table(dataset.table), columns.QUARANTINE),
    )


def described(tables: Tables, dataset: DatasetOrder) -> bool:
    """Whether the table tells of itself and of its columns what the Dataset says."""
    comment, docs = _descriptions(tables, dataset)
    return comment is None and not docs


def describe(lake: Lake, tables: Tables, dataset: DatasetOrder) -> Tables:
    """Bring the descriptions of the table and of its columns to what the Dataset says; the tables as they are then.

    The lease must be held: a run that commits meanwhile would find the table changed.
    """
    comment, docs = _descriptions(tables, dataset)
    if comment is None and not docs:
        return tables
    with tables.data.transaction() as transaction:
        if comment is not None:
            transaction.set_properties({"comment": comment})
        with transaction.update_schema() as update:
            for name, doc in docs.items():
                update.update_column(name, doc=doc)
    return Tables(lake.catalog.load_table((NAMESPACE, dataset.table)), tables.quarantine)


def _descriptions(tables: Tables, dataset: DatasetOrder) -> tuple[str | None, dict[str, str]]:
    """What differs: the table's description, None if it does not, and those of columns by their names."""
    wanted = dataset.description or ""
    there = {field.name: field.doc or "" for field in tables.data.schema().fields}
    docs = {field.name: field.description or "" for field in dataset.schema_.fields}
    return (
        wanted if tables.data.properties.get("comment", "") != wanted else None,
        {name: doc for name, doc in docs.items() if there[name] != doc},
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


def _check_owner(table: Table, dataset: DatasetOrder) -> None:
    owner = table.properties.get(OWNER, "nobody known")
    if owner != dataset.owner.marker:
        name = table.name()[-1]
        message = f"Dataset {dataset.owner.name}: table {name} belongs to {owner}. Make a Dataset with another `table`."
        raise InvalidSpec(message, "TableConflict")


def _ensure(lake: Lake, dataset: DatasetOrder, name: str, schema: Schema) -> Table:
    table = lake.table(name)
    if table is None:
        properties = {
            OWNER: dataset.owner.marker,
            "comment": dataset.description or "",
            "commit.retry.num-retries": "0",  # a retry that rebases made one run commit twice
            "write.parquet.compression-codec": "zstd",
        }
        try:
            table = lake.catalog.create_table((NAMESPACE, name), schema, properties=properties)
        except TableAlreadyExistsError:
            table = lake.catalog.load_table((NAMESPACE, name))
    _check_owner(table, dataset)
    if differences := columns.differences(table.schema(), schema):
        message = f"Dataset {dataset.owner.name}: table {name} differs from the schema: {'; '.join(differences)}. "
        raise InvalidSpec(
            message + "Changing an existing table is not supported yet: restore the schema, or make a new Dataset with "
            "another `table`.",
            "SchemaChanged",
        )
    return table


def rows(table: Table) -> int:
    """Rows in the current snapshot."""
    return _total(table, "total-records")


def size(table: Table) -> int:
    """Bytes of the current snapshot's files."""
    return _total(table, "total-files-size")


def _total(table: Table, key: str) -> int:
    snapshot = table.current_snapshot()
    if snapshot is None or snapshot.summary is None:
        return 0
    return int(snapshot.summary[key] or 0)


def arrow_schema(table: Table) -> pa.Schema:
    """Arrow schema with Iceberg field ids."""
    return schema_to_pyarrow(table.schema())


def paths(table: Table, snapshot: int | None = None) -> list[Path]:
    """The data files of a snapshot, by default the current one, in the order of their names."""
    found = table.scan(snapshot_id=snapshot).plan_files()
    return sorted(locations.path(task.file.file_path) for task in found)


def files(table: Table) -> list[DataFile]:
    """The data files of the current snapshot."""
    return [task.file for task in table.scan().plan_files()]


def known(table: Table) -> set[Path]:
    """The data files of every snapshot that the table still has."""
    manifests = {manifest.manifest_path: manifest for s in table.snapshots() for manifest in s.manifests(table.io)}
    entries = (entry for manifest in manifests.values() for entry in manifest.fetch_manifest_entry(table.io))
    return {locations.path(entry.data_file.file_path) for entry in entries}


def prepare(table: Table, added: Iterable[Path], dropped: frozenset[str], properties: Mapping[str, str]) -> Swap:
    """Write the metadata of the table's next snapshot: `added` files come, `dropped` paths go, in one step.

    Nothing is visible until the catalog names the new metadata file. Private parts of pyiceberg 0.12 are used, because
    its own commit can swap one table only and retries by rebasing; the version is pinned and tests watch over it.
    """
    transaction = table.transaction()
    update = transaction.update_snapshot(snapshot_properties=dict(properties))
    producer = update.overwrite(uuid.uuid4()) if dropped else update.fast_append()
    for file in _data_files(table, added):
        producer.append_data_file(file)
    for old in files(table) if dropped else []:
        if old.file_path in dropped:
            producer.delete_data_file(old)
    producer.commit()
    catalog = table.catalog
    if not isinstance(catalog, SqlCatalog):
        raise TypeError("a lake's catalog is an SQL catalog")
    staged = catalog._update_and_stage_table(table, table.name(), transaction._requirements, transaction._updates)
    catalog._write_metadata(staged.metadata, staged.io, staged.metadata_location)
    snapshot = staged.metadata.current_snapshot_id or 0
    written = (*producer._written_manifests, *producer._written_manifest_lists, staged.metadata_location)
    return Swap(table.name()[-1], table.metadata_location, staged.metadata_location, snapshot, written)


def discard(swap: Swap) -> None:
    """Remove the metadata of a snapshot that will never be visible."""
    for location in swap.written:
        locations.path(location).unlink(missing_ok=True)


def _data_files(table: Table, paths: Iterable[Path]) -> Iterator[DataFile]:
    """What the table is to know of these files, by their footers.

    pyiceberg checks the first one against the table's schema. Those with the same schema need no such check, which
    takes 5 ms a file.
    """
    schema, checked = table.schema(), None
    plan, ids = compute_statistics_plan(schema, table.properties), parquet_path_to_id_mapping(schema)
    for path in paths:
        footer = pq.read_metadata(path)
        if checked is None or not footer.schema.equals(checked):
            yield parquet_file_to_data_file(table.io, table.metadata, locations.location(path))
            checked = footer.schema
            continue
        statistics = data_file_statistics_from_parquet_metadata(footer, plan, ids)
        yield DataFile.from_args(
            content=DataFileContent.DATA,
            file_path=locations.location(path),
            file_format=FileFormat.PARQUET,
            partition=statistics.partition(table.spec(), schema),
            file_size_in_bytes=path.stat().st_size,
            sort_order_id=None,
            spec_id=table.metadata.default_spec_id,
            equality_ids=None,
            key_metadata=None,
            **statistics.to_serialized_dict(),
        )


def folder(table: Table) -> Path:
    """Where the table's data files lie."""
    return locations.path(table.location()) / "data"


def footer_rows(path: Path) -> int:
    """Rows of a Parquet file, by its own footer."""
    return int(pq.read_metadata(path).num_rows)
