# ruff: noqa: S608 - SQL is built here; every name in it is made here
"""The upsert: staged rows are merged into a table by copying the data files that have some of their keys.

1. The staged rows go into DuckDB, which spills to disk, and of rows with one key the latest stays.
2. Files whose statistics exclude all staged keys are left alone. Of the others the key columns are read, and joined
   with the staged rows: a match is a file, a row in it, and the staged row with the same key.
3. Each file with matches is read beside them, both in the order of its rows. Rows with other values replace those
   that are there, and the file is written again; a file in which nothing changes stays as it is.
4. Staged rows without a match are new, and are written into files of their own.
"""

from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from functools import cached_property

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
from pyiceberg.manifest import DataFile
from pyiceberg.table import FileScanTask, Table

from penstock.connectors.lake import pruning, reading
from penstock.connectors.lake.datafiles import DataFiles
from penstock.connectors.lake.warehouses.port import Warehouse
from penstock.language.errors import InvalidSpec
from penstock.runs.order import DatasetOrder
from penstock.worker.pod import Pod
from penstock.worker.ports.tablestore import INPUT_ID, ORDER, Merged
from penstock.worker.rows import arrays, engine

_ENGINE_SHARE, _ENGINE_MEMORY = 0.15, 64 << 20
"""Share of the Pod's memory that DuckDB may use, and bytes where that has no limit."""
_BATCH = 65_536
_JOINED = 1 << 19
"""Keys of the table that are joined at once."""
_SORTED = 250_000
"""Rows of the table whose matches are sorted at once."""


@dataclass
class Upsert:
    """What an upsert changes: files that go, files that come, rows overwritten, rows not needed."""

    dropped: list[DataFile] = field(default_factory=list)
    added: list[str] = field(default_factory=list)
    rows: int = 0
    superseded: Counter[int] = field(default_factory=Counter)
    unchanged: Counter[int] = field(default_factory=Counter)

    @property
    def merged(self) -> Merged:
        """What became of the staged rows that were not written."""
        return Merged(self.superseded, self.unchanged)


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
        memory = int(self.pod.memory * _ENGINE_SHARE) if self.pod.memory else _ENGINE_MEMORY
        connection = engine.connect(memory, self.pod.processors, self.pod.scratch)
        try:
            return self._merged(connection, staged)
        finally:
            connection.close()
            self.warehouse.discard(staged)

    def _merged(self, connection: engine.Connection, staged: Sequence[str]) -> Upsert:
        done = Upsert()
        if self._take_in(connection, staged):
            done.superseded.update(self._drop_superseded(connection))
            connection.execute("CREATE TABLE matches (file BIGINT, line BIGINT, place BIGINT)")
            tasks = pruning.candidates(self.table, self.dataset.schema_.key, self._staged_keys(connection))
            self._match(connection, tasks)
            self._rewrite(connection, tasks, done)
            self._add_new(connection, done)
        return done

    @cached_property
    def _places(self) -> dict[str, str]:
        """The names of the staged columns in DuckDB, which no field's name can hide: a field may be called `rowid`."""
        return {name: f"c{place}" for place, name in enumerate([*self.schema.names, ORDER.name])}

    @cached_property
    def _key(self) -> list[str]:
        return [self._places[name] for name in self.dataset.schema_.key]

    def _take_in(self, connection: engine.Connection, staged: Sequence[str]) -> int:
        """Put the staged rows into the table `staged`; how many there are."""
        rows = 0
        for location in staged:
            with (
                self.warehouse.failures(location),
                self.warehouse.read(location) as source,
                pq.ParquetFile(source) as file,
            ):
                for batch in file.iter_batches(_BATCH):
                    connection.register(
                        "batch", pa.Table.from_batches([batch]).rename_columns([*self._places.values()])
                    )
                    verb = "INSERT INTO staged" if rows else "CREATE TABLE staged AS"
                    connection.execute(f"{verb} SELECT * FROM batch")
                    rows += batch.num_rows
        connection.execute("DROP VIEW IF EXISTS batch")
        return rows

    def _drop_superseded(self, connection: engine.Connection) -> dict[int, int]:
        """Leave the latest row of each key in `staged`; how many went, by input."""
        key, input_id = ", ".join(self._key), self._places[INPUT_ID]
        twice = f"SELECT count(*) FROM (SELECT 1 FROM staged GROUP BY {key} HAVING count(*) > 1)"
        if _one(connection, twice) == 0:
            return {}
        version = self.dataset.schema_.version_field
        latest = f"{self._places[version]} DESC NULLS LAST, " if version else ""
        rank = (
            f"row_number() OVER (PARTITION BY {key} ORDER BY {latest}{input_id} DESC, {self._places[ORDER.name]} DESC)"
        )
        connection.execute(
            f"CREATE TABLE superseded AS SELECT place, input FROM "
            f"(SELECT rowid AS place, {input_id} AS input, {rank} AS rank FROM staged) WHERE rank > 1"
        )
        connection.execute("DELETE FROM staged WHERE rowid IN (SELECT place FROM superseded)")
        return dict(connection.execute("SELECT input, count(*) FROM superseded GROUP BY input").fetchall())

    def _staged_keys(self, connection: engine.Connection) -> pruning.Keys:
        """The staged keys, as the statistics of files have them."""
        written = [
            pruning.as_statistics(name, self.schema.field(key).type)
            for name, key in zip(self._key, self.dataset.schema_.key, strict=True)
        ]
        bounds = connection.execute(f"SELECT {', '.join(f'min({each}), max({each})' for each in written)} FROM staged")
        [row] = bounds.fetchall()
        ranges = [*zip(row[::2], row[1::2], strict=True)]
        first = f"SELECT DISTINCT {written[0]} AS k FROM staged ORDER BY k LIMIT {pruning.MOST_KEYS + 1}"
        values = connection.sql(first).to_arrow_table().column(0)
        return pruning.Keys(ranges, values if len(values) <= pruning.MOST_KEYS else None)

    def _match(self, connection: engine.Connection, tasks: Sequence[FileScanTask]) -> None:
        """Enter into `matches` which rows of the files have the keys of staged rows.

        Raises InvalidSpec (WrongSpecification) where the table has a key twice: another program has written it.
        """
        same = " AND ".join(f"k.{name} = s.{name}" for name in self._key)
        for keys in self._keys_of(tasks):
            connection.register("keys", keys)
            connection.execute(
                f"INSERT INTO matches SELECT k.file, k.line, s.rowid FROM keys k JOIN staged s ON {same}"
            )
        connection.execute("DROP VIEW IF EXISTS keys")
        twice = _one(connection, "SELECT count(*) - count(DISTINCT place) FROM matches")
        if twice:
            name = self.dataset.owner.name
            raise InvalidSpec(
                f"Dataset {name}: table {self.dataset.table} has {twice:,} more rows than keys among those that this "
                f"run writes: another program has added them. Remove them. Nothing was committed to {name}.",
                "WrongSpecification",
            )

    def _keys_of(self, tasks: Sequence[FileScanTask]) -> Iterator[pa.Table]:
        """The keys in the files, with the file's number and the row's, in tables of about _JOINED rows."""
        waiting, rows = list[pa.Table](), 0
        for number, task in enumerate(tasks):
            line = 0
            for batch in reading.live_rows(self.warehouse, self.table, task, self.dataset.schema_.key):
                keys = batch.rename_columns(self._key)
                keys = keys.append_column("file", pa.repeat(pa.scalar(number, pa.int64()), keys.num_rows))
                keys = keys.append_column("line", pa.arange(line, line + keys.num_rows))
                waiting.append(keys)
                line += keys.num_rows
                rows += keys.num_rows
                if rows >= _JOINED:
                    yield pa.concat_tables(waiting)
                    waiting, rows = [], 0
        if rows:
            yield pa.concat_tables(waiting)

    def _rewrite(self, connection: engine.Connection, tasks: Sequence[FileScanTask], done: Upsert) -> None:
        """Write again the files in which a match changes something."""
        matches = _Matches(self._sorted(connection, tasks), self.schema)
        files = DataFiles(self.warehouse, f"{self.name}kept", self.schema)
        for number, task in enumerate(tasks):
            if matches.has(number):
                copy = _Copy(self, task, files, done)
                if copy.make(matches, number):
                    done.dropped.append(task.file)
        done.added += files.close()[0]

    def _sorted(self, connection: engine.Connection, tasks: Sequence[FileScanTask]) -> Iterator[pa.RecordBatch]:
        """The matches with their staged rows, in the order of files and lines; some files or lines at a time."""
        columns = ", ".join(f"s.{self._places[name]}" for name in self.schema.names)
        query = f"SELECT m.file, m.line, {columns} FROM matches m JOIN staged s ON s.rowid = m.place"
        for part in _parts(tasks):
            rows = connection.sql(f"{query} WHERE {part} ORDER BY m.file, m.line").to_arrow_table()
            yield from rows.to_batches(_BATCH)

    def _add_new(self, connection: engine.Connection, done: Upsert) -> None:
        """Write the staged rows without a match."""
        columns = ", ".join(self._places[name] for name in self.schema.names)
        query = f"SELECT {columns} FROM staged s WHERE NOT EXISTS (SELECT 1 FROM matches m WHERE m.place = s.rowid)"
        files = DataFiles(self.warehouse, f"{self.name}new", self.schema)
        for batch in connection.sql(query).to_arrow_reader(_BATCH):
            files.write(pa.Table.from_batches([batch]))
        done.added += files.close()[0]


def _parts(tasks: Sequence[FileScanTask]) -> Iterator[str]:
    """Conditions that select all matches one after the other, those of at most _SORTED rows of the table at once."""
    first, rows = 0, 0
    for number, task in enumerate(tasks):
        count = int(task.file.record_count)
        if rows and rows + count > _SORTED:
            yield f"m.file BETWEEN {first} AND {number - 1}"
            first, rows = number, 0
        if count <= _SORTED:
            rows += count
            continue
        for line in range(0, count, _SORTED):
            yield f"m.file = {number} AND m.line >= {line} AND m.line < {line + _SORTED}"
        first = number + 1
    if rows:
        yield f"m.file BETWEEN {first} AND {len(tasks) - 1}"


class _Matches:
    """Staged rows with their places in files, in the order of these; they are read once."""

    def __init__(self, batches: Iterator[pa.RecordBatch], schema: pa.Schema) -> None:
        self._batches, self._schema = batches, schema
        self._rest = self._next()

    def _next(self) -> pa.Table | None:
        for batch in self._batches:
            if batch.num_rows:
                table = pa.Table.from_batches([batch])
                columns = [column.cast(each.type) for column, each in zip(table.columns[2:], self._schema, strict=True)]
                return pa.table([*table.columns[:2], *columns], names=["file", "line", *self._schema.names])
        return None

    def has(self, file: int) -> bool:
        """Whether the next match is in this file."""
        return self._rest is not None and self._rest["file"][0].as_py() == file

    def until(self, file: int, line: int) -> pa.Table | None:
        """The next matches that are in this file and before this line; None where there are none."""
        taken = []
        while self._rest is not None:
            before = pc.and_(pc.equal(self._rest["file"], file), pc.less(self._rest["line"], line))
            count = pc.sum(before).as_py() or 0
            if count:
                taken.append(self._rest.slice(0, count))
            if count < self._rest.num_rows:
                self._rest = self._rest.slice(count)
                break
            self._rest = self._next()
        return pa.concat_tables(taken).combine_chunks() if taken else None


@dataclass
class _Copy:
    """A file being written again. Nothing is written before the first change, and what lies before it is read twice."""

    of: Upserting
    task: FileScanTask
    files: DataFiles
    done: Upsert
    changed: bool = False

    def make(self, matches: _Matches, number: int) -> bool:
        """Copy the file, with the matches in the places of its rows; whether anything changed."""
        line = 0
        for batch in self._batches():
            staged = matches.until(number, line + batch.num_rows)
            new = batch if staged is None else self._replaced(batch, staged, line)
            if new is not batch and not self.changed:
                self._write_before(line)
                self.changed = True
            if self.changed:
                self.files.write(new)
            line += batch.num_rows
        return self.changed

    def _batches(self) -> Iterator[pa.Table]:
        return reading.live_rows(self.of.warehouse, self.of.table, self.task, self.of.schema.names)

    def _write_before(self, line: int) -> None:
        """Write the rows before this line as they are."""
        written = 0
        for batch in self._batches() if line else ():
            self.files.write(batch.slice(0, min(batch.num_rows, line - written)))
            written += batch.num_rows
            if written >= line:
                return

    def _replaced(self, batch: pa.Table, staged: pa.Table, line: int) -> pa.Table:
        """The batch, whose first row is that line of the file, with the staged rows that change something."""
        there = batch.take(pc.subtract(staged["line"], line))
        older = self._older(there, staged)
        same = pc.and_(self._same(there, staged), pc.invert(older))
        change = pc.invert(pc.or_(older, same))
        self.done.superseded.update(_by_input(staged, older))
        self.done.unchanged.update(_by_input(staged, same))
        new = staged.filter(change)
        if not new.num_rows:
            return batch
        self.done.rows += new.num_rows
        mask = pc.is_in(pa.arange(line, line + batch.num_rows), value_set=arrays.one(new["line"]))
        columns = [
            pc.replace_with_mask(arrays.one(column.cast(each.type)), mask, arrays.one(new[each.name]))
            for column, each in zip(batch.columns, self.of.schema, strict=True)
        ]
        return pa.Table.from_arrays(columns, names=batch.column_names)

    def _older(self, there: pa.Table, staged: pa.Table) -> pa.BooleanArray:
        """Which staged rows are earlier than the table's; a version of null is the earliest."""
        version = self.of.dataset.schema_.version_field
        if version is None:
            return pa.repeat(pa.scalar(False), staged.num_rows)
        before, now = arrays.one(there[version]), arrays.one(staged[version])
        greater = pc.fill_null(pc.greater(before, now.cast(before.type)), False)
        if pa.types.is_floating(before.type):  # not a number is the greatest, as where the staged rows are ranked
            greatest = pc.and_(pc.is_nan(before), pc.invert(pc.is_nan(now)))
            greater = pc.or_(greater, pc.fill_null(greatest, False))
        return pc.or_(greater, pc.and_(pc.is_null(now), pc.is_valid(before)))

    def _same(self, there: pa.Table, staged: pa.Table) -> pa.BooleanArray:
        """Which staged rows have the values of the table's."""
        same = pa.repeat(pa.scalar(True), staged.num_rows)
        for each in self.of.dataset.schema_.fields:
            if each.name not in self.of.dataset.schema_.key:
                now = arrays.one(staged[each.name])
                same = pc.and_(same, _equal(arrays.one(there[each.name]).cast(now.type), now))
        return same


def _equal(before: pa.Array, now: pa.Array) -> pa.BooleanArray:
    """Where both are equal, both null, or both not a number."""
    same = pc.or_(pc.fill_null(pc.equal(before, now), False), pc.and_(pc.is_null(before), pc.is_null(now)))
    if pa.types.is_floating(now.type):
        same = pc.or_(same, pc.fill_null(pc.and_(pc.is_nan(before), pc.is_nan(now)), False))
    return same


def _by_input(staged: pa.Table, which: pa.BooleanArray) -> Counter[int]:
    """How many of the rows there are of each input."""
    counted = pc.value_counts(staged[INPUT_ID].filter(which))
    return Counter({each["values"]: each["counts"] for each in counted.to_pylist()})


def _one(connection: engine.Connection, query: str) -> int:
    [(number,)] = connection.execute(query).fetchall()
    return int(number)
