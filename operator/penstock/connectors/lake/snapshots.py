"""The next snapshot of a table: its metadata is written, and becomes visible when the catalog names it.

Private parts of pyiceberg 0.12 are used, because its own commit can swap one table only and retries by rebasing; the
version is pinned and tests watch over it.
"""

import uuid
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from pyiceberg.catalog.sql import SqlCatalog
from pyiceberg.io.pyarrow import (
    compute_statistics_plan,
    data_file_statistics_from_parquet_metadata,
    parquet_file_to_data_file,
    parquet_path_to_id_mapping,
)
from pyiceberg.manifest import DataFile, DataFileContent, FileFormat
from pyiceberg.table import Table

from penstock.connectors.lake import datafiles, locations, warehouse
from penstock.connectors.lake.warehouse import Warehouse
from penstock.language.errors import NotYet


@dataclass(frozen=True)
class Swap:
    """A table's next metadata, written and not yet visible: to be put in the place of `before` in the catalog."""

    table: str
    before: str
    after: str
    written: tuple[str, ...]


def prepare(table: Table, added: Iterable[Path], dropped: Sequence[DataFile], properties: Mapping[str, str]) -> Swap:
    """Write the metadata of the table's next snapshot: `added` files come, `dropped` files go, in one step.

    Raises NotYet (CountMismatch) when a file that is to go is not in the table.
    """
    transaction = table.transaction()
    update = transaction.update_snapshot(snapshot_properties=dict(properties))
    producer = update.overwrite(uuid.uuid4()) if dropped else update.fast_append()
    for file in _data_files(table, added):
        producer.append_data_file(file)
    for file in dropped:
        producer.delete_data_file(file)
    producer.commit()
    catalog = table.catalog
    if not isinstance(catalog, SqlCatalog):
        raise TypeError("a lake's catalog is an SQL catalog")
    staged = catalog._update_and_stage_table(table, table.name(), transaction._requirements, transaction._updates)
    catalog._write_metadata(staged.metadata, staged.io, staged.metadata_location)
    written = (*producer._written_manifests, *producer._written_manifest_lists, staged.metadata_location)
    swap = Swap(table.name()[-1], table.metadata_location, staged.metadata_location, written)
    snapshot = staged.metadata.current_snapshot()
    gone = int((snapshot.summary["deleted-data-files"] if snapshot and snapshot.summary else None) or 0)
    if gone != len(dropped):
        discard(warehouse.files_of(table), swap)
        message = f"Table {swap.table}: {len(dropped)} data files were to go and {gone} were there. "
        raise NotYet(f"{message}The run is tried again.", "CountMismatch")
    return swap


def discard(files: Warehouse, swap: Swap) -> None:
    """Remove the metadata of a snapshot that will never be visible."""
    for location in swap.written:
        files.discard(locations.path(location))


def data_files(table: Table) -> list[DataFile]:
    """The data files of the current snapshot."""
    return [task.file for task in table.scan().plan_files()]


def all_paths(table: Table) -> set[Path]:
    """The data files of every snapshot that the table still has."""
    manifests = {manifest.manifest_path: manifest for s in table.snapshots() for manifest in s.manifests(table.io)}
    entries = (entry for manifest in manifests.values() for entry in manifest.fetch_manifest_entry(table.io))
    return {locations.path(entry.data_file.file_path) for entry in entries}


def _data_files(table: Table, paths: Iterable[Path]) -> Iterator[DataFile]:
    """What the table is to know of these files, by their footers.

    pyiceberg checks the first one against the table's schema. Those with the same schema need no such check, which
    takes 5 ms a file.
    """
    schema, checked, files = table.schema(), None, warehouse.files_of(table)
    plan, ids = compute_statistics_plan(schema, table.properties), parquet_path_to_id_mapping(schema)
    for path in paths:
        footer = datafiles.footer(files, path)
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
            file_size_in_bytes=files.status(path).st_size,
            sort_order_id=None,
            spec_id=table.metadata.default_spec_id,
            equality_ids=None,
            key_metadata=None,
            **statistics.to_serialized_dict(),
        )
