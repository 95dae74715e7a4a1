# ruff: noqa: S608 - SQL is built here; every name in it is made here
"""The keys of staged rows, and which rows of the table have them: narrow tables in DuckDB, which spills to disk.

Nothing wide comes here: a row is its place in what is staged, its key, what orders rows of one key, and its size in
bytes. Of a long text in a key, the beginning and a SHA-256 stand for it.
"""

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass

import pyarrow as pa
import pyarrow.compute as pc

from penstock.connectors.lake import pruning
from penstock.worker.ports.tablestore import INPUT_ID, ORDER
from penstock.worker.rows import arrays, engine

_LONGEST_TEXT = 64
"""Bytes of a text that is compared as it is."""
_FEWEST_JOINED = 1 << 19
"""Rows of the table that are joined at once, at least."""
_CELL = 8192
"""Positions that are counted together, where portions are made."""
_BATCH = 65_536
LINES = 1 << 40
"""Positions of each file: that of a row is the file's number times this, and the row's number."""


@dataclass(frozen=True)
class Key:
    """The columns of a key, with their types, and of the version, where there is one."""

    columns: pa.Schema
    version: str | None

    @property
    def names(self) -> list[str]:
        """What the key's columns are called in DuckDB: a field may be called `rowid`."""
        return [f"k{number}" for number in range(len(self.columns))]

    def compared(self) -> list[str]:
        """SQL of what stands for each column."""
        return [
            f"CASE WHEN strlen({name}) <= {_LONGEST_TEXT} THEN {name} "
            f"ELSE left({name}, {pruning.LONGEST_TEXT}) || sha256({name}) END AS {name}"
            if pruning.is_text(field.type)
            else name
            for name, field in zip(self.names, self.columns, strict=True)
        ]


class StagedKeys:
    """The keys of the rows of one upsert. `portion` is how many bytes of rows may be in memory together."""

    def __init__(self, connection: engine.Connection, key: Key, portion: int) -> None:
        self._connection, self._key, self._portion = connection, key, portion
        self.rows = 0
        """How many have been added."""
        connection.execute("CREATE TABLE matches (position BIGINT, place BIGINT, size BIGINT)")

    def add(self, rows: pa.RecordBatch, sizes: pa.Array) -> None:
        """Take in the next staged rows, each with its size in bytes. They have at least the columns that count here."""
        columns = {
            "place": pa.arange(self.rows, self.rows + rows.num_rows),
            "size": sizes,
            "input": rows[INPUT_ID],
            "number": rows[ORDER.name],
            "version": rows[self._key.version or INPUT_ID],
            **{name: rows[field.name] for name, field in zip(self._key.names, self._key.columns, strict=True)},
        }
        selected = ["place", "size", "input", "number", "version", *self._key.compared()]
        self._insert("staged", columns, selected, first=not self.rows)
        self.rows += rows.num_rows

    def _insert(self, table: str, columns: dict[str, pa.Array], selected: Sequence[str], *, first: bool) -> None:
        self._connection.register("batch", pa.table(columns))
        verb = f"CREATE OR REPLACE TABLE {table} AS" if first else f"INSERT INTO {table}"
        self._connection.execute(f"{verb} SELECT {', '.join(selected)} FROM batch")
        self._connection.execute("DROP VIEW batch")

    def drop_superseded(self) -> dict[int, int]:
        """Leave the latest row of each key; how many went, by input.

        The latest has the greatest version, a null being the least; then the last input; then the last number.
        """
        key, execute = ", ".join(self._key.names), self._connection.execute
        execute("CREATE TABLE superseded (place BIGINT)")
        execute(f"CREATE TABLE twice AS SELECT {key} FROM staged GROUP BY {key} HAVING count(*) > 1")
        if not self._one("SELECT count(*) FROM twice"):
            return {}
        rivals = f"SELECT place, {key}, version, input, number FROM staged SEMI JOIN twice USING ({key})"
        execute(f"CREATE TABLE rivals AS {rivals}")
        later = "input::HUGEINT * 9223372036854775808 + number"  # one number: states of a fixed size can be spilled
        if self._key.version:
            execute(f"CREATE TABLE newest AS SELECT {key}, max(version) AS version FROM rivals GROUP BY {key}")
            same = " AND ".join(
                [*(f"r.{name} = n.{name}" for name in self._key.names), "r.version IS NOT DISTINCT FROM n.version"]
            )
            source = f"(SELECT r.* FROM rivals r JOIN newest n ON {same})"
        else:
            source = "rivals"
        execute(f"CREATE TABLE latest AS SELECT arg_max(place, {later}) AS place FROM {source} GROUP BY {key}")
        execute("INSERT INTO superseded SELECT place FROM rivals ANTI JOIN latest USING (place) ORDER BY place")
        gone = "SELECT input, count(*) FROM rivals SEMI JOIN superseded USING (place) GROUP BY input"
        counts = dict(execute(gone).fetchall())
        execute("DELETE FROM staged WHERE place IN (SELECT place FROM superseded)")
        for table in ("twice", "rivals", "newest", "latest"):
            execute(f"DROP TABLE IF EXISTS {table}")
        return counts

    def for_pruning(self) -> pruning.Keys:
        """The keys as the statistics of files have them."""
        written = [
            pruning.as_statistics(name, field.type)
            for name, field in zip(self._key.names, self._key.columns, strict=True)
        ]
        bounds = ", ".join(f"min({each}), max({each})" for each in written)
        [row] = self._connection.execute(f"SELECT {bounds} FROM staged").fetchall()
        self._connection.execute(f"CREATE TABLE firsts AS SELECT DISTINCT {written[0]} AS k FROM staged ORDER BY k")
        longest = "max(strlen(k))" if pruning.is_text(self._key.columns[0].type) else "8"
        [(count, width)] = self._connection.execute(f"SELECT count(*), {longest} FROM firsts").fetchall()
        most = max(1, pruning.MOST_BYTES // (2 * (width + 8)))
        together = -(-count // most)
        lower, upper = (
            self._connection.sql(f"SELECT k FROM firsts WHERE {where} ORDER BY k").to_arrow_table().column(0)
            for where in (
                f"rowid % {together} = 0",
                f"rowid % {together} = {together - 1} OR rowid = {count - 1}",
            )
        )
        self._connection.execute("DROP TABLE firsts")
        return pruning.Keys([*zip(row[::2], row[1::2], strict=True)], lower, upper)

    def match(self, files: Iterable[Iterator[pa.Table]]) -> int:
        """Find out which rows of the files have staged keys; how many rows have a key that another row has too.

        Each file is given by its keys, in the order of its rows. As many of them are joined at once as there are
        staged ones at least, so that the work grows with the sum of both and not with their product.
        """
        waiting = 0
        for number, batches in enumerate(files):
            first = number * LINES
            for batch in batches:
                self._add_keys(batch, first, begin=not waiting)
                first += batch.num_rows
                waiting += batch.num_rows
                if waiting >= max(self.rows, _FEWEST_JOINED):
                    self._join()
                    waiting = 0
        if waiting:
            self._join()
        self._connection.execute("DROP TABLE staged")
        return self._one("SELECT count(*) - count(DISTINCT place) FROM matches")

    def _add_keys(self, keys: pa.Table, first: int, *, begin: bool) -> None:
        columns = {
            "position": pa.arange(first, first + keys.num_rows),
            **dict(zip(self._key.names, keys.columns, strict=True)),
        }
        self._insert("there", columns, ["position", *self._key.compared()], first=begin)

    def _join(self) -> None:
        same = " AND ".join(f"t.{name} = s.{name}" for name in self._key.names)
        self._connection.execute(
            f"INSERT INTO matches SELECT t.position, s.place, s.size FROM there t JOIN staged s ON {same}"
        )
        self._connection.execute("DROP TABLE there")

    def portions(self) -> pa.Int64Array:
        """The position at which each portion of the matches begins, ascending.

        A portion has at most as many bytes of staged rows as may be in memory together, and one row more.
        """
        starts, size = list[int](), 0
        cells = self._connection.execute(
            f"SELECT min(position), sum(size) FROM matches GROUP BY position // {_CELL} ORDER BY 1"
        )
        for first, total in cells.fetchall():
            if not starts or size + total > self._portion:
                starts.append(first)
                size = 0
            size += total
            if total > self._portion:
                starts += self._split(first)
                size = self._portion
        return pa.array(starts, pa.int64())

    def _split(self, first: int) -> list[int]:
        """Where more portions begin in the cell that begins at this position."""
        starts, size = list[int](), 0
        end = (first // _CELL + 1) * _CELL
        rows = self._connection.execute(
            f"SELECT position, size FROM matches WHERE position >= {first} AND position < {end} ORDER BY position"
        )
        for position, bytes_ in rows.fetchall():
            if size + bytes_ > self._portion and size:
                starts.append(position)
                size = 0
            size += bytes_
        return starts

    def destinations(self) -> "Destinations":
        """Where the staged rows go."""
        reading = self._connection.cursor()
        gone = reading.sql("SELECT place FROM superseded ORDER BY place").to_arrow_reader(_BATCH)
        matches = self._connection.sql("SELECT place, position FROM matches ORDER BY place").to_arrow_reader(_BATCH)
        return Destinations(_Ascending(gone), _Ascending(matches))

    def _one(self, query: str) -> int:
        [(number,)] = self._connection.execute(query).fetchall()
        return int(number)


@dataclass(frozen=True)
class Destinations:
    """Where staged rows go, asked for in the order of their places."""

    superseded: "_Ascending"
    matches: "_Ascending"

    def of_rows(self, first: int, count: int) -> tuple[pa.Array, pa.Table]:
        """Of the next so many rows, from this place on, which are new; and the others, with their positions.

        Both are by the index of a row, from 0; the table has the columns `place` and `position`.
        """
        end = first + count
        matches = self.matches.until(end)
        matches = matches.set_column(0, "place", pc.subtract(matches["place"], first))
        gone = pc.subtract(self.superseded.until(end)["place"], first)
        if not len(gone) and not matches.num_rows:
            return pa.arange(0, count), matches
        used = arrays.one(pa.chunked_array([*gone.chunks, *matches["place"].chunks], pa.int64()))
        new = pc.invert(pc.is_in(pa.arange(0, count), value_set=used))
        return pc.indices_nonzero(new), matches


class _Ascending:
    """Rows in the order of `place`, their first column, taken piece by piece."""

    def __init__(self, reader: pa.RecordBatchReader) -> None:
        self._reader = iter(reader)
        self._none = reader.schema.empty_table()
        self._rest: pa.Table | None = self._next()

    def _next(self) -> pa.Table | None:
        batch = next(self._reader, None)
        return None if batch is None else pa.Table.from_batches([batch])

    def until(self, place: int) -> pa.Table:
        """The next ones, of rows before this place."""
        taken = [self._none]
        while self._rest is not None:
            count = pc.sum(pc.less(self._rest["place"], place)).as_py() or 0
            taken.append(self._rest.slice(0, count))
            if count < self._rest.num_rows:
                self._rest = self._rest.slice(count)
                break
            self._rest = self._next()
        return pa.concat_tables(taken)
