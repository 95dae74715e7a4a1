"""Iceberg's SQL catalog in the database of the ledger, so that both change in one transaction.

The tables are those of Iceberg's JdbcCatalog and pyiceberg's SqlCatalog, which read and write them too.
"""

import uuid
from dataclasses import dataclass

from pyiceberg.catalog import Catalog
from pyiceberg.catalog.noop import NoopCatalog
from pyiceberg.exceptions import CommitFailedException, NoSuchTableError, TableAlreadyExistsError
from pyiceberg.io import FileIO
from pyiceberg.partitioning import UNPARTITIONED_PARTITION_SPEC, PartitionSpec
from pyiceberg.schema import Schema
from pyiceberg.serializers import FromInputFile, ToOutputFile
from pyiceberg.table import CommitTableResponse, Table
from pyiceberg.table.locations import load_location_provider
from pyiceberg.table.metadata import TableMetadata, new_table_metadata
from pyiceberg.table.sorting import UNSORTED_SORT_ORDER, SortOrder
from pyiceberg.table.update import TableRequirement, TableUpdate, update_table_metadata
from pyiceberg.typedef import EMPTY_DICT, Identifier, Properties

from penstock.connectors.lake.warehouses.port import Warehouse
from penstock.language.errors import InvalidSpec
from penstock.worker.ports.ledger import Cursor, Database

_OWN_CODE = "write.py-location-provider.impl"
"""A table property that names a Python class, which pyiceberg would import."""
_TABLES = (
    """CREATE TABLE IF NOT EXISTS iceberg_tables (
  catalog_name VARCHAR(255) NOT NULL, table_namespace VARCHAR(255) NOT NULL, table_name VARCHAR(255) NOT NULL,
  metadata_location VARCHAR(1000), previous_metadata_location VARCHAR(1000), iceberg_type VARCHAR(5),
  PRIMARY KEY (catalog_name, table_namespace, table_name))""",
    """CREATE TABLE IF NOT EXISTS iceberg_namespace_properties (
  catalog_name VARCHAR(255) NOT NULL, namespace VARCHAR(255) NOT NULL, property_key VARCHAR(255) NOT NULL,
  property_value VARCHAR(1000) NOT NULL, PRIMARY KEY (catalog_name, namespace, property_key))""",
)


@dataclass(frozen=True)
class Pointer:
    """A change of the metadata that a table has."""

    table: str
    before: str
    after: str


class SqlTables(NoopCatalog):
    """The tables of one namespace, whose files lie in a warehouse."""

    def __init__(self, name: str, namespace: str, database: Database, warehouse: Warehouse) -> None:
        super().__init__(name)
        self.database, self.warehouse, self._namespace = database, warehouse, namespace

    def create(self) -> None:
        """Create the catalog's tables and the namespace where they are missing."""
        with self.database.transaction() as cursor:
            for statement in _TABLES:
                cursor.execute(statement)
            cursor.execute(
                "INSERT INTO iceberg_namespace_properties (catalog_name, namespace, property_key, property_value) "
                "VALUES (?, ?, 'exists', 'true') ON CONFLICT (catalog_name, namespace, property_key) DO NOTHING",
                (self.name, self._namespace),
            )

    def load_table(self, identifier: str | Identifier) -> Table:
        """The table as it is now. Raises NoSuchTableError."""
        name = Catalog.table_name_from(identifier)
        with self.database.transaction() as cursor:
            cursor.execute(
                "SELECT metadata_location FROM iceberg_tables "
                "WHERE catalog_name = ? AND table_namespace = ? AND table_name = ?",
                (self.name, self._namespace, name),
            )
            row = cursor.fetchone()
        if row is None or not row[0]:
            raise NoSuchTableError(f"There is no table {name}")
        return self._table(name, str(row[0]))

    def _table(self, name: str, location: str) -> Table:
        io = self.warehouse.io
        metadata = FromInputFile.table_metadata(io.new_input(location))
        if _OWN_CODE in metadata.properties:
            message = f"Table {name} has the property {_OWN_CODE}, which names code to execute. Remove it."
            raise InvalidSpec(message, "WrongSpecification")
        return Table((self._namespace, name), metadata, location, io, self)

    def create_table(
        self,
        identifier: str | Identifier,
        schema: Schema,
        location: str | None = None,
        partition_spec: PartitionSpec = UNPARTITIONED_PARTITION_SPEC,
        sort_order: SortOrder = UNSORTED_SORT_ORDER,
        properties: Properties = EMPTY_DICT,
    ) -> Table:
        """A new table without rows. Raises TableAlreadyExistsError."""
        name = Catalog.table_name_from(identifier)
        location = location or self.warehouse.new_table(self._namespace, name)
        metadata = new_table_metadata(schema, partition_spec, sort_order, location, properties)
        file = f"{location}/metadata/00000-{metadata.table_uuid}.metadata.json"
        self.write(metadata, file)
        with self.database.transaction() as cursor:
            cursor.execute(
                "INSERT INTO iceberg_tables (catalog_name, table_namespace, table_name, metadata_location) "
                "VALUES (?, ?, ?, ?) ON CONFLICT (catalog_name, table_namespace, table_name) DO NOTHING",
                (self.name, self._namespace, name, file),
            )
            created = cursor.rowcount == 1
        if not created:
            self.warehouse.discard([file])
            raise TableAlreadyExistsError(f"Table {name} exists already")
        return self._table(name, file)

    def commit_table(
        self, table: Table, requirements: tuple[TableRequirement, ...], updates: tuple[TableUpdate, ...]
    ) -> CommitTableResponse:
        """Commit changes of one table by themselves. Raises CommitFailedException when it has changed meanwhile."""
        current = self.load_table(table.name())
        for requirement in requirements:
            requirement.validate(current.metadata)
        metadata, location = self.stage(current, updates, uuid.uuid4())
        with self.database.transaction() as cursor:
            swapped = self.swap(cursor, Pointer(table.name()[-1], current.metadata_location, location))
        if not swapped:
            self.warehouse.discard([location])
            raise CommitFailedException(f"Table {table.name()[-1]} was changed by another program meanwhile")
        return CommitTableResponse(metadata=metadata, metadata_location=location)

    def stage(self, table: Table, updates: tuple[TableUpdate, ...], commit: uuid.UUID) -> tuple[TableMetadata, str]:
        """Write the table's next metadata, which no catalog names yet; it, and its location."""
        metadata = update_table_metadata(table.metadata, updates, metadata_location=table.metadata_location)
        version = table.metadata_location.rpartition("/")[2].partition("-")[0]
        number = int(version) + 1 if version.isdigit() else 0  # other engines may name it otherwise
        provider = load_location_provider(metadata.location, metadata.properties)
        location = provider.new_metadata_location(f"{number:05d}-{commit}.metadata.json")
        self.write(metadata, location)
        return metadata, location

    def write(self, metadata: TableMetadata, location: str) -> None:
        """Write a metadata file."""
        ToOutputFile.table_metadata(metadata, self.warehouse.io.new_output(location))

    def swap(self, cursor: Cursor, pointer: Pointer) -> bool:
        """Put the new metadata in the old one's place; False if that is no longer the old one."""
        cursor.execute(
            "UPDATE iceberg_tables SET metadata_location = ?, previous_metadata_location = ? "
            "WHERE catalog_name = ? AND table_namespace = ? AND table_name = ? AND metadata_location = ?",
            (pointer.after, pointer.before, self.name, self._namespace, pointer.table, pointer.before),
        )
        return cursor.rowcount == 1

    def used(self, locations: list[str]) -> bool:
        """Whether a table has one of these as its metadata, now."""
        marks = ", ".join("?" * len(locations))
        with self.database.transaction() as cursor:
            cursor.execute(f"SELECT 1 FROM iceberg_tables WHERE metadata_location IN ({marks})", locations)  # noqa: S608 - marks only
            return cursor.fetchone() is not None

    def _load_file_io(self, properties: Properties = EMPTY_DICT, location: str | None = None) -> FileIO:
        """The warehouse's, whatever the properties of a table say: they may name another program's."""
        del properties, location
        return self.warehouse.io
