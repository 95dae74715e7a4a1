"""The upsert: staged rows are merged into a table by copying the data files that have some of their keys.

1. The keys of the staged rows go into DuckDB, which spills to disk, and of rows with one key the latest stays.
2. Files whose statistics exclude all staged keys are left alone. Of the others the key columns are read, and joined
   with the staged keys: a match is a file, a line in it, and the staged row with the same key.
3. The staged rows are read again. Those without a match are new, and are written into files of their own. Those with
   one are put on the Pod's disk, in portions that follow the order of files and lines.
4. Each file with matches is read beside them, a portion at a time. Rows with other values replace those that are
   there, and the file is written again; a file in which nothing changes stays as it is.

At no time more than some portions are in memory, whatever the rows and keys look like; one row has to fit.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import partial

import pyarrow as pa
import pyarrow.compute as pc
from pyiceberg.table import FileScanTask, Table

from penstock.connectors.lake import pruning, reading
from penstock.connectors.lake.copying import Copy, Matches, Upsert
from penstock.connectors.lake.datafiles import DataFiles
from penstock.connectors.lake.matching import Key, StagedKeys
from penstock.connectors.lake.spill import Spill
from penstock.connectors.lake.warehouses.port import Warehouse
from penstock.language.errors import InvalidSpec
from penstock.runs.order import DatasetOrder
from penstock.worker.pod import Pod
from penstock.worker.ports.tablestore import INPUT_ID, ORDER
from penstock.worker.rows import arrays, engine, rowsizes

_ENGINE_SHARE, _ENGINE_MEMORY = 0.15, 64 << 20
"""Share of the Pod's memory that DuckDB may use, and bytes where that has no limit."""
_PORTION = 16 << 20
"""Bytes of staged rows that are in memory together."""


@dataclass(frozen=True)
class Upserting:
    """A table that rows are merged into. `name` begins the locations of files that are written."""

    warehouse: Warehouse
    table: Table
    dataset: DatasetOrder
    pod: Pod
    name: str
    schema: pa.Schema
    """Of the table's files, with the columns of lineage."""

    def upsert(self, staged: Sequence[str]) -> Upsert:
        """Merge the staged files, which are removed then. Raises InvalidSpec (WrongSpecification): see `_match`."""
        done = Upsert()
        spill = Spill(self.pod.scratch, _PORTION)
        try:
            tasks = self._place(staged, spill, done)
            self._rewrite(tasks, spill, done)
        finally:
            spill.close()
            self.warehouse.discard(staged)
        return done

    def _place(self, staged: Sequence[str], spill: Spill, done: Upsert) -> list[FileScanTask]:
        """Write the new rows, and put the others into `spill`; the files that these are for."""
        memory = int(self.pod.memory * _ENGINE_SHARE) if self.pod.memory else _ENGINE_MEMORY
        connection = engine.connect(memory, self.pod.processors, self.pod.scratch)
        try:
            keys = self._keys(connection, staged)
            if not keys.rows:
                return []
            done.superseded.update(keys.drop_superseded())
            tasks = []
            if self.table.current_snapshot() is not None:
                tasks = pruning.candidates(self.table, self.dataset.schema_.key, keys.for_pruning())
            self._match(keys, tasks)
            self._distribute(keys, staged, spill, done)
            return tasks
        finally:
            connection.close()

    def _keys(self, connection: engine.Connection, staged: Sequence[str]) -> StagedKeys:
        """The keys of the staged rows. Besides them, texts are read, to see how long the rows are."""
        schema = self.dataset.schema_
        key = Key(pa.schema([self.schema.field(name) for name in schema.key]), schema.version_field)
        keys = StagedKeys(connection, key, _PORTION)
        texts = [field.name for field in self.schema if rowsizes.fixed_width(field.type) is None]
        needed = {*schema.key, *([key.version] if key.version else []), INPUT_ID, ORDER.name, *texts}
        fixed = int(sum(rowsizes.fixed_width(field.type) or 0 for field in self.schema))
        for batch in self._staged(staged, [name for name in self._staged_names if name in needed]):
            texts_bytes = rowsizes.of_rows([batch[name] for name in texts], batch.num_rows)
            keys.add(batch, pc.add(texts_bytes, fixed))
        return keys

    @property
    def _staged_names(self) -> list[str]:
        return [*self.schema.names, ORDER.name]

    def _staged(self, staged: Sequence[str], columns: Sequence[str]) -> Iterator[pa.RecordBatch]:
        """The staged rows, in the same order each time, with these columns."""
        for location in staged:
            with self.warehouse.failures(location), self.warehouse.read(location) as source:
                yield from reading.bounded(source, self.warehouse.footer(location).metadata, columns)

    def _match(self, keys: StagedKeys, tasks: Sequence[FileScanTask]) -> None:
        """Find the matches.

        Raises InvalidSpec (WrongSpecification) where the table has a key twice: another program has written it.
        """
        key = self.dataset.schema_.key
        twice = keys.match(reading.live_rows(self.warehouse, self.table, task, key) for task in tasks)
        if twice:
            name = self.dataset.owner.name
            raise InvalidSpec(
                f"Dataset {name}: table {self.dataset.table} has {twice:,} more rows than keys among those that this "
                f"run writes: another program has added them. Remove them. Nothing was committed to {name}.",
                "WrongSpecification",
            )

    def _distribute(self, keys: StagedKeys, staged: Sequence[str], spill: Spill, done: Upsert) -> None:
        """Write the new rows, and put those that match into `spill`."""
        starts, destinations = keys.portions(), keys.destinations()
        files = DataFiles(self.warehouse, f"{self.name}new", self.schema)
        first = 0
        for batch in self._staged(staged, self.schema.names):
            rows = pa.Table.from_batches([batch]).cast(self.schema)
            new, matches = destinations.of_rows(first, batch.num_rows)
            first += batch.num_rows
            files.write(rows if len(new) == batch.num_rows else rows.take(new))
            if matches.num_rows:
                matches = matches.sort_by("position")
                matched = rows.take(matches["place"]).add_column(0, "position", matches["position"])
                spill.add(pc.search_sorted(starts, arrays.one(matches["position"]), side="right"), matched)
        done.added += files.close()[0]

    def _rewrite(self, tasks: Sequence[FileScanTask], spill: Spill, done: Upsert) -> None:
        """Write again the files in which a match changes something."""
        matches = Matches(spill)
        files = DataFiles(self.warehouse, f"{self.name}kept", self.schema)
        for number, task in enumerate(tasks):
            if matches.has(number):
                read = partial(reading.live_rows, self.warehouse, self.table, task, self.schema.names)
                if Copy(self.dataset, read, files, done).make(matches, number):
                    done.dropped.append(task.file)
        done.added += files.close()[0]
