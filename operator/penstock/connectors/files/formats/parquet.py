"""Reading Parquet: only the columns that are asked for, in chunks bounded by bytes, as types that lose nothing.

A file of a few kilobytes can hold gigabytes: one long text in a dictionary and a million references to it. So columns
of text stay dictionaries until the rows have been divided by the bytes that they unfold to, and a file whose pages are
larger than memory allows is refused before one of them is decoded. Where only some values are in a dictionary, Arrow
would gather all others in it too, for as long as it reads the row group: such a column is read as values, few enough at
once for each of them to be the longest of the dictionary.
"""

import json
import uuid
from bisect import bisect_left, bisect_right
from collections.abc import Iterable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, replace
from itertools import chain
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from penstock.connectors.files.formats import carriers, copies, nestedcells, oldcalendar, pages
from penstock.connectors.files.formats.block import SHOWN, BrokenLines, Work
from penstock.connectors.files.formats.records import LONGEST
from penstock.connectors.files.stores import Open, StoredFile
from penstock.language.errors import InvalidSpec
from penstock.worker.ports.chunks import Chunk, Columns, ExactCell, Lines
from penstock.worker.rows import engine, rowsizes

_ROWS = 65_536
"""Rows of a chunk, at most."""
_BYTES = 4 << 20
"""Bytes of a chunk, at most, unless one row alone has more."""
_BUFFERS = 16 << 20
"""Bytes read ahead from the file, over all columns."""
_PAGES = 48 << 20
"""Bytes of pages that are in memory together, unpacked."""
_MOST_BYTES = 16 << 20
"""Bytes of a batch where each of its texts is the longest that there may be."""


class ParquetFile:
    """A local copy of one Parquet file. `columns` are all that it has; `works` read those that are asked for."""

    def __init__(self, opened: Open, stored: StoredFile, scratch: Path) -> None:
        """Copy the file into `scratch` and read its footer. Raises InvalidSpec when it is not whole or not Parquet."""
        self._url = stored.url
        self._path = copies.local_copy(opened, stored, scratch, ".parquet")
        self._files: list[pq.ParquetFile] = []
        self._has_unread_types = False
        self._known_sizes: dict[int, pages.Sizes] = {}
        try:
            with damage(self._url):
                self._read_footer()
        except BaseException:
            self.close()
            raise

    def _read_footer(self) -> None:
        pages.check_footer(self._path, self._url)
        try:
            file = self._file()
        except pa.ArrowNotImplementedError:  # polars says in Arrow's schema which columns are integers of 128 bits
            if not pages.leave_arrow_schema_out(self._path):
                raise
            self._has_unread_types = True
            file = self._file()
        self._metadata = file.metadata
        self._fields = [*file.schema_arrow]
        self._leaves = _leaves(self._fields)
        self._carriers = []
        for field, leaves in zip(self._fields, self._leaves, strict=True):
            if self._has_unread_types and any(_may_be_a_wide_integer(file.schema.column(each)) for each in leaves):
                self._carriers.append(carriers.WIDE_INTEGER)
                continue
            self._carriers.append(self._carrier(field.type, [file.schema.column(each) for each in leaves]))
        names = tuple(field.name for field in self._fields)
        self.columns = Columns(names, tuple(carrier.name for carrier in self._carriers), partial=True)
        self.rows = int(self._metadata.num_rows)
        self._encrypted = pages.encrypted_leaves(self._path, self._metadata.serialized_size)

    def _carrier(self, stored: pa.DataType, leaves: Sequence[Any]) -> carriers.Carrier:
        """The carrier of a column with these leaves."""
        if nestedcells.is_leaf(stored):
            return self._leaf(stored, leaves[0])[0]
        return nestedcells.carrier(stored, lambda kind, number: self._leaf(kind, leaves[number]))

    def _leaf(self, stored: pa.DataType, leaf: Any) -> nestedcells.Leaf:
        """How a leaf is read. What Spark wrote in the calendar of its old versions is moved first."""
        physical, logical = leaf.physical_type, leaf.logical_type.type
        if leaf.converted_type == "INTERVAL":  # pyarrow has no logical type for it
            logical = "INTERVAL"
        carrier = carriers.carrier(stored, physical, logical)
        metadata, int96 = self._metadata.metadata or {}, physical == carriers.INT96
        zoned = pa.types.is_timestamp(stored) and stored.tz is not None
        moment = pa.types.is_date(stored) or (pa.types.is_timestamp(stored) and (int96 or zoned))
        if not moment or not oldcalendar.applies(metadata, int96=int96):
            return carrier, nestedcells.must_be_carried(stored, physical)
        return replace(carrier, carry=oldcalendar.carried(carrier.carry, metadata, stored)), True

    def close(self) -> None:
        """Remove the copy."""
        for file in self._files:
            file.close()
        self._path.unlink(missing_ok=True)

    def works(self, names: Sequence[str]) -> Iterator[Work]:
        """The file's rows, in order, with the columns of these names. Raises InvalidSpec where it is damaged."""
        asked = [self.columns.names.index(name) for name in names]
        self._require_plain(asked)
        row = 1
        with damage(self._url):
            for pieces in _grouped(piece for batch in self._batches(asked) for piece in _pieces(batch)):
                yield self._work(pieces, asked, row)
                row += sum(piece.batch.num_rows for piece in pieces)
        rest = int(self._metadata.num_rows) - (row - 1)  # none, or the counts do not balance
        yield lambda *_: Chunk(pa.table({}), rest, Lines(row))

    def _require_plain(self, asked: Sequence[int]) -> None:
        """Raise InvalidSpec where one of the columns is encrypted."""
        for number in asked:
            if not self._encrypted.isdisjoint(self._leaves[number]):
                message = f'{self._url}: the column "{self._fields[number].name}" is encrypted, which cannot be read.'
                raise InvalidSpec(f"{message} Decrypt it before it is uploaded.", "WrongSpecification")

    def _batches(self, asked: Sequence[int]) -> Iterator[pa.RecordBatch]:
        """The columns as they are stored, text as dictionaries; moments of 96 bits made whole."""
        if not asked:
            yield from _rows_alone(int(self._metadata.num_rows))
            return
        referring = [number for number in asked if self._is_referring(number)]
        rows = self._rows_at_once(asked, referring)
        twice = [number for number in asked if self._carriers[number].twice]
        texts = [self._fields[number].name for number in referring]
        fine = _Rows(self._read(twice, rows, coerce_int96_timestamp_unit="ns") if twice else iter(()))
        for batch in self._bounded(asked, rows, read_dictionary=texts, coerce_int96_timestamp_unit="s"):
            columns = batch.columns
            for number, nanoseconds in zip(twice, fine.take(batch.num_rows) if twice else (), strict=True):
                columns[asked.index(number)] = _both(columns[asked.index(number)], nanoseconds)
            yield pa.record_batch(columns, names=[str(number) for number in asked])

    def _bounded(self, asked: Sequence[int], rows: int, **options: Any) -> Iterator[pa.RecordBatch]:
        """As `_read`, with no more pages in memory than their bound: Arrow keeps one or two of each column.

        Where that is too much, columns are read one group after another onto disk, and from there together.
        """
        groups = self._groups(asked)
        if len(groups) == 1:
            yield from self._read(asked, rows, **options)
            return
        with ExitStack() as stack:
            spools = [stack.enter_context(_spooled(self._path, self._read(group, rows, **options))) for group in groups]
            first, *others = [_Rows(spool) for spool in spools]
            while (batch := first.next()) is not None:
                columns = [*batch.columns]
                for other in others:
                    columns += other.take(batch.num_rows)
                yield pa.record_batch(columns, names=[str(number) for number in asked])

    def _groups(self, asked: Sequence[int]) -> list[list[int]]:
        """The columns in groups whose largest pages fit into memory together."""
        groups: list[list[int]] = [[]]
        size = 0
        for number in asked:
            pages_ = sum(self._sizes(leaf).largest for leaf in self._leaves[number])
            if groups[-1] and size + pages_ > _PAGES:
                groups.append([])
                size = 0
            groups[-1].append(number)
            size += pages_
        return groups

    def _sizes(self, leaf: int) -> pages.Sizes:
        if leaf not in self._known_sizes:
            self._known_sizes[leaf] = pages.check_sizes(self._path, self._metadata, leaf, self._url)
        return self._known_sizes[leaf]

    def _read(self, asked: Sequence[int], rows: int, **options: Any) -> Iterator[pa.RecordBatch]:
        """Arrow's batches of these columns, in this order, of at most so many rows."""
        leaves = [leaf for number in sorted(asked) for leaf in self._leaves[number]]
        buffer = max(16 << 10, min(1 << 20, _BUFFERS // len(leaves)))
        file = self._file(buffer_size=buffer, **options)
        order = [sorted(asked).index(number) for number in asked]
        for batch in file.reader.iter_batches(rows, [*range(file.num_row_groups)], leaves, False):
            columns = batch.columns
            yield pa.record_batch([columns[place] for place in order], names=[str(number) for number in asked])

    def _rows_at_once(self, asked: Sequence[int], referring: Sequence[int]) -> int:
        """Rows of a batch, so that none is much larger than its bound: a batch is decoded as a whole.

        The columns `referring` are read as dictionaries.
        """
        width, widest, most = 1.0, 1.0, _ROWS
        for number in asked:
            stored = self._fields[number].type
            for leaf in self._leaves[number]:
                sizes, text = self._sizes(leaf), self._is_text(leaf)
                longest = 0 if number in referring or not text else self._longest(leaf)
                each = max(sizes.density if text else 0, rowsizes.width(stored))
                width += each
                widest += max(each, max(sizes.density, longest, rowsizes.VALUE) * sizes.values_per_row)
                if text and number not in referring and self._is_delta(leaf):
                    most = min(most, max(pages.LARGEST // max(sizes.largest, 1), 1))
        return int(max(1, min(most, _BYTES / width, _MOST_BYTES / widest)))

    def _is_text(self, leaf: int) -> bool:
        return str(self._metadata.schema.column(leaf).physical_type) == "BYTE_ARRAY"

    def _is_referring(self, number: int) -> bool:
        """Whether the column is text, and all of its values refer to a dictionary."""
        if not self._carriers[number].text:
            return False
        return pages.are_references(self._path, self._metadata, self._leaves[number][0])

    def _longest(self, leaf: int) -> int:
        """Bytes of the longest text in the dictionaries of a column; 0 where it has none.

        Read as a dictionary, the first row comes with the whole of it.
        """
        groups = [self._metadata.row_group(number).column(leaf) for number in range(self._metadata.num_row_groups)]
        wanted = [number for number, chunk in enumerate(groups) if chunk.has_dictionary_page and chunk.num_values]
        if not wanted:
            return 0
        file = self._file(read_dictionary=[groups[0].path_in_schema])
        longest = 0
        for group in wanted:
            [column] = next(file.reader.iter_batches(1, [group], [leaf], False)).columns
            longest = max(longest, _longest_of(column))
        return longest

    def _is_delta(self, leaf: int) -> bool:
        """Whether a value may be written as the beginning of the one before it: such a page unfolds without a bound."""
        groups = range(self._metadata.num_row_groups)
        return any("DELTA_BYTE_ARRAY" in self._metadata.row_group(group).column(leaf).encodings for group in groups)

    def _file(self, **options: Any) -> pq.ParquetFile:
        file = pq.ParquetFile(
            self._path,
            metadata=self._files[0].metadata if self._files else None,
            memory_map=False,
            pre_buffer=False,
            page_checksum_verification=True,
            arrow_extensions_enabled=False,
            **options,
        )
        self._files.append(file)
        return file

    def _work(self, pieces: Sequence["_Piece"], asked: Sequence[int], first: int) -> Work:
        return lambda *_: self._chunk(pieces, asked, first)

    def _chunk(self, pieces: Sequence["_Piece"], asked: Sequence[int], first: int) -> Chunk:
        """Rows as Arrow tables; those that are too long are set aside."""
        tables, exact = [], list[ExactCell]()
        broken, missing, row = BrokenLines(), list[int](), 0
        with damage(self._url):
            for piece in pieces:
                for index in piece.too_long:
                    missing.append(row + index)
                    error = f"the row is longer than {LONGEST} bytes"
                    beginning = self._beginning(piece.batch.slice(index, 1), asked)
                    broken.add(first + row + index, "RowTooLong", error, beginning, complete=False)
                tables.append(self._carried(piece.kept(), asked, exact, row + len(piece.too_long) - len(missing)))
                row += piece.batch.num_rows
        return Chunk(pa.concat_tables(tables), row, Lines(first), broken.table(), tuple(missing), tuple(exact))

    def _carried(self, batch: pa.RecordBatch, asked: Sequence[int], exact: list[ExactCell], first: int) -> pa.Table:
        """The columns as their carriers have them; the cells that these cannot hold are added to `exact`."""
        columns: dict[str, pa.Array] = {}
        for position, (number, column) in enumerate(zip(asked, batch.columns, strict=bool(asked))):
            columns[f"c{position}"], texts = self._carriers[number].carry(column)
            exact += [ExactCell(first + row, f"c{position}", text) for row, text in texts.items()]
        return pa.table(columns or {"none": batch.column(0)})

    def _beginning(self, row: pa.RecordBatch, asked: Sequence[int]) -> bytes:
        """The row with the beginning of each value, as JSON."""
        room = max(SHOWN // (2 * len(asked)), 16)
        shown = {}
        for number, column in zip(asked, row.columns, strict=True):
            shown[self._fields[number].name] = _beginning_of(column, room)
        return json.dumps(shown, ensure_ascii=False).encode()


@dataclass(frozen=True)
class _Piece:
    """Consecutive rows as they are stored, some of which are too long to be rows."""

    batch: pa.RecordBatch
    bytes: int
    too_long: tuple[int, ...]

    def kept(self) -> pa.RecordBatch:
        """The rows that are not too long."""
        if not self.too_long:
            return self.batch
        long = frozenset(self.too_long)
        return self.batch.filter(pa.array([row not in long for row in range(self.batch.num_rows)]))


class _Rows:
    """The rows of batches, to be taken in other numbers than they come in."""

    def __init__(self, batches: Iterator[pa.RecordBatch]) -> None:
        self._batches = batches
        self._rest: list[pa.RecordBatch] = []

    def next(self) -> pa.RecordBatch | None:
        """The next batch; None after the last."""
        return next(self._batches, None)

    def take(self, rows: int) -> list[pa.Array]:
        """The columns of the next so many rows."""
        there = sum(batch.num_rows for batch in self._rest)
        while there < rows:
            self._rest.append(next(self._batches))
            there += self._rest[-1].num_rows
        table = pa.Table.from_batches(self._rest).combine_chunks()
        self._rest = table.slice(rows).to_batches()
        return [column.chunk(0) if column.num_chunks else column.combine_chunks() for column in table.slice(0, rows)]


@contextmanager
def _spooled(beside: Path, batches: Iterator[pa.RecordBatch]) -> Iterator[Iterator[pa.RecordBatch]]:
    """The batches, written to a file beside this one and read back one after another."""
    path = beside.with_name(f"{beside.name}.{uuid.uuid4().hex}")
    try:
        first = next(batches)
        options = pa.ipc.IpcWriteOptions(compression="lz4")
        with pa.OSFile(str(path), "wb") as file, pa.ipc.new_stream(file, first.schema, options=options) as writer:
            for batch in chain([first], batches):
                writer.write_batch(batch)
        with pa.OSFile(str(path), "rb") as file, pa.ipc.open_stream(file) as reader:
            yield iter(reader)
    finally:
        path.unlink(missing_ok=True)


def _both(seconds: pa.Array, nanoseconds: pa.Array) -> pa.Array:
    """The two readings of a column as one, until they are carried over."""
    return pa.StructArray.from_arrays([seconds, nanoseconds], ["seconds", "nanoseconds"])


def _pieces(batch: pa.RecordBatch) -> Iterator[_Piece]:
    """The batch's rows in pieces, each of which unfolds to a bounded number of bytes."""
    fixed = sum(rowsizes.fixed_width(kind) or 0 for kind in batch.schema.types)
    texts = sum(kind.byte_width for kind in batch.schema.types if pa.types.is_fixed_size_binary(kind))
    varying = [column for column in batch.columns if rowsizes.fixed_width(column.type) is None]
    if not varying and texts <= LONGEST:
        yield _Piece(batch, int(fixed * batch.num_rows), ())
        return
    lengths = rowsizes.of_rows(varying, batch.num_rows)
    long = pc.greater(pc.add(lengths, texts), LONGEST)
    ends = pc.cumulative_sum(pc.add(pc.if_else(long, 0, lengths), int(fixed) + 1)).to_pylist()
    too_long = pc.indices_nonzero(long).to_pylist()
    start = before = 0
    while start < len(ends):
        end = max(bisect_right(ends, before + _BYTES), start + 1)
        inside = tuple(row - start for row in too_long[bisect_left(too_long, start) : bisect_left(too_long, end)])
        yield _Piece(batch.slice(start, end - start), ends[end - 1] - before, inside)
        start, before = end, ends[end - 1]


def _beginning_of(column: pa.Array, room: int) -> str:
    """The one value of the column as text, cut to about so many characters. What is nested may be too large to show."""
    size = rowsizes.row_bytes(column)[0].as_py()
    if pa.types.is_nested(column.type) and size > room:
        return f"… ({size} bytes)"
    value = column[0].as_py()
    text = value.decode(errors="replace") if isinstance(value, bytes) else str(value)
    return text if len(text) <= room else f"{text[:room]}… ({len(text)} characters)"


def _grouped(pieces: Iterable[_Piece]) -> Iterator[list[_Piece]]:
    """Pieces together, as many as one chunk takes: row groups may be tiny."""
    group: list[_Piece] = []
    rows = size = 0
    for piece in pieces:
        if group and (rows + piece.batch.num_rows > _ROWS or size + piece.bytes > _BYTES):
            yield group
            group, rows, size = [], 0, 0
        group.append(piece)
        rows, size = rows + piece.batch.num_rows, size + piece.bytes
    if group:
        yield group


def _longest_of(column: pa.Array) -> int:
    """Bytes of the longest text in the dictionary, which may lie in lists and structures."""
    while pa.types.is_nested(column.type):
        column = column.field(0) if pa.types.is_struct(column.type) else column.values
    if not pa.types.is_dictionary(column.type) or not len(column.dictionary):
        return 0
    return int(pc.max(pc.binary_length(column.dictionary)).as_py() or 0)


def _rows_alone(rows: int) -> Iterator[pa.RecordBatch]:
    """Rows of which no column is asked for."""
    for start in range(0, rows, _ROWS):
        yield pa.record_batch([pa.nulls(min(_ROWS, rows - start))], names=["none"])


def _may_be_a_wide_integer(leaf: Any) -> bool:
    """Whether the column has 16 bytes a value, of which Parquet's own schema does not say what they are."""
    return bool(leaf.physical_type == "FIXED_LEN_BYTE_ARRAY" and leaf.length == 16 and leaf.logical_type.type == "NONE")


def _leaves(fields: Sequence[pa.Field]) -> list[list[int]]:
    """The numbers of each column's leaves: those that Parquet counts."""
    leaves, first = [], 0
    for field in fields:
        count = _count(field.type)
        leaves.append([*range(first, first + count)])
        first += count
    return leaves


def _count(stored: pa.DataType) -> int:
    if pa.types.is_nested(stored) and not pa.types.is_dictionary(stored) and not pa.types.is_run_end_encoded(stored):
        return sum(_count(stored.field(number).type) for number in range(stored.num_fields))
    return 1


@contextmanager
def damage(url: str) -> Iterator[None]:
    """What Arrow says of a file that it cannot read, as InvalidSpec that names the file."""
    try:
        yield
    except (pa.ArrowException, ValueError, OverflowError) as error:
        raise _damaged(url, error) from None
    except OSError as error:
        if error.errno is not None:  # of the disk, not of the file
            raise
        raise _damaged(url, error) from None


def _damaged(url: str, error: Exception) -> InvalidSpec:
    words = engine.one_line(error).rstrip(".")
    message = f"{url} cannot be read as Parquet: {words}. It may be damaged: write or upload it again."
    return InvalidSpec(message[:1000], "WrongSpecification")
