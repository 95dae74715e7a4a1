"""The next snapshot of a table: its metadata is written, and becomes visible when the catalog names it.

Private parts of pyiceberg 0.12 are used, because its own commit can swap one table only and retries by rebasing; the
version is pinned and tests watch over it.
"""

import uuid
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass

from pyiceberg.io.pyarrow import (
    _check_pyarrow_schema_compatible,
    compute_statistics_plan,
    data_file_statistics_from_parquet_metadata,
    parquet_path_to_id_mapping,
    schema_to_pyarrow,
)
from pyiceberg.manifest import DataFile, DataFileContent, FileFormat
from pyiceberg.table import Table

from penstock.connectors.lake.catalogs.sql import Pointer, SqlTables
from penstock.connectors.lake.warehouses.port import Warehouse
from penstock.language.errors import NotYet


@dataclass(frozen=True)
class Swap:
    """A table's next metadata, written and not yet visible: to be put in the place of the old one in the catalog."""

    pointer: Pointer
    written: tuple[str, ...]


def prepare(
    catalog: SqlTables,
    table: Table,
    files: tuple[Sequence[DataFile], Sequence[DataFile]],
    properties: Mapping[str, str],
    commit: uuid.UUID,
) -> Swap:
    """Write the metadata of the table's next snapshot: the first of `files` come, the second go, in one step.

    The names of what is written have `commit` in them. Raises NotYet (CountMismatch) when a file that is to go is not
    in the table.
    """
    added, dropped = files
    transaction = table.transaction()
    update = transaction.update_snapshot(snapshot_properties=dict(properties))
    producer = update.overwrite(commit) if dropped else update.merge_append()
    producer.commit_uuid = commit
    for file in added:
        producer.append_data_file(file)
    for file in dropped:
        producer.delete_data_file(file)
    producer.commit()
    metadata, location = catalog.stage(table, transaction._updates, commit)
    written = (*producer._written_manifests, *producer._written_manifest_lists, location)
    swap = Swap(Pointer(table.name()[-1], table.metadata_location, location), written)
    snapshot = metadata.current_snapshot()
    gone = int((snapshot.summary["deleted-data-files"] if snapshot and snapshot.summary else None) or 0)
    if gone != len(dropped):
        catalog.warehouse.discard(swap.written)
        message = f"Table {swap.pointer.table}: {len(dropped)} data files were to go and {gone} were there. "
        raise NotYet(f"{message}The run is tried again.", "CountMismatch")
    return swap


def all_files(warehouse: Warehouse, table: Table) -> set[str]:
    """The paths of all files that the table still needs: data of every snapshot, and the metadata of it."""
    metadata = table.metadata
    locations = {table.metadata_location, *(entry.metadata_file for entry in metadata.metadata_log)}
    locations |= {file.statistics_path for file in (*metadata.statistics, *metadata.partition_statistics)}
    manifests = {}
    for snapshot in table.snapshots():
        locations.add(snapshot.manifest_list)
        manifests.update({manifest.manifest_path: manifest for manifest in snapshot.manifests(table.io)})
    for path, manifest in manifests.items():
        locations.add(path)
        locations |= {entry.data_file.file_path for entry in manifest.fetch_manifest_entry(table.io)}
    return {warehouse.path(location) for location in locations}


def data_files(warehouse: Warehouse, table: Table, locations: Iterable[str]) -> Iterator[DataFile]:
    """What the table is to know of these files, by their footers.

    Files with the same schema as the one before are not compared with the table's again, which takes 5 ms a file. Most
    have just the schema that the table's files are written with: pyiceberg's own comparison takes a tenth of a second,
    because it imports what draws tables for terminals.
    """
    schema, checked = table.schema(), None
    usual = schema_to_pyarrow(schema)
    plan, ids = compute_statistics_plan(schema, table.properties), parquet_path_to_id_mapping(schema)
    for location in locations:
        footer = warehouse.footer(location)
        parquet = footer.metadata.schema
        if checked is None or not parquet.equals(checked):
            columns = parquet.to_arrow_schema().remove_metadata()
            if not columns.equals(usual, check_metadata=True):
                _check_pyarrow_schema_compatible(schema, columns, format_version=table.metadata.format_version)
            checked = parquet
        statistics = data_file_statistics_from_parquet_metadata(footer.metadata, plan, ids)
        yield DataFile.from_args(
            content=DataFileContent.DATA,
            file_path=location,
            file_format=FileFormat.PARQUET,
            partition=statistics.partition(table.spec(), schema),
            file_size_in_bytes=footer.size,
            sort_order_id=None,
            spec_id=table.metadata.default_spec_id,
            equality_ids=None,
            key_metadata=None,
            **statistics.to_serialized_dict(),
        )
