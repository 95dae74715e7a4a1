"""CSV records that were cut become columns of text, by Arrow's reader; those that are no rows are set aside."""

from collections.abc import Sequence
from dataclasses import dataclass

import pyarrow as pa
from pyarrow import csv

from penstock.connectors.files.formats.block import Block, CutRecords, WrittenRecords, payloads
from penstock.connectors.files.formats.dialect import Dialect
from penstock.connectors.files.spec import CsvFormat
from penstock.language import words
from penstock.worker.ports.chunks import BROKEN, MASK, BrokenReason, Chunk

_MARK = b"\xef\xbb\xbf"
_Fault = tuple[BrokenReason, str]


@dataclass(frozen=True)
class Layout:
    """How the rows of a file are read: its dialect, the names of its columns, and which of them are wanted.

    The wanted columns become c0, c1, … in their order in the file.
    """

    form: CsvFormat
    dialect: Dialect
    names: tuple[str, ...]

    def masked(self, record: bytes, hidden: frozenset[str]) -> bytes:
        """The record with `MASK` in the place of the values of the hidden columns."""
        parts, at = list[bytes](), 0
        for name, (start, end) in zip(self.names, self.dialect.cells(record), strict=False):
            if name in hidden:
                parts += [record[at:start], MASK.encode()]
                at = end
        return b"".join([*parts, record[at:]])


def chunk(block: Block, layout: Layout) -> Chunk:
    """The block's records as columns of text c0, c1, …, one for each of the file's columns."""
    faults: dict[int, _Fault] = {}
    data, indices = block.data, range(block.records)
    if not _is_utf8(data):
        faults = dict.fromkeys(_not_utf8(block), _not_text(block))
        indices = [index for index in indices if index not in faults]  # type: ignore[assignment] # or a list
        data = b"".join(block.data[start:end] for start, end in (block.spans[index] for index in indices))
    ragged: list[tuple[int, int]] = []
    data = layout.dialect.with_doubled_quotes(data)
    table = _table(data, len(indices), layout, ragged, flat=block.record is None)
    for row, columns in ragged:
        faults[indices[row]] = _ragged(block.written(indices[row]), columns, layout)
    return with_faults(block, table, faults, WrittenRecords(block, layout.masked))


def with_faults(block: CutRecords, table: pa.Table, faults: dict[int, _Fault], written: WrittenRecords) -> Chunk:
    """The chunk, whose table lacks the block's records with these indices: they are added to its broken lines."""
    missing = tuple(sorted(faults))
    tables = [block.broken.table()] if len(block.broken) else []
    if missing:
        texts, encodings = payloads(block, missing)
        reasons = pa.array([faults[index][0] for index in missing], pa.string())
        errors = pa.array([faults[index][1] for index in missing], pa.string())
        lines, complete = pa.array(block.of(missing), pa.int64()), pa.repeat(True, len(missing))
        columns = [lines, reasons, errors, texts, encodings, complete]
        tables.append(pa.table(columns, schema=BROKEN))
    every = pa.concat_tables(tables).sort_by("line") if tables else None
    return Chunk(table, block.read, block, every, missing, written=written)


def _not_text(block: Block) -> _Fault:
    if block.charset.is_utf8:
        return "NotUtf8", "the row is not UTF-8; if the file has another encoding, set format.csv.encoding"
    return "NotDecodable", f"the row has bytes that mean nothing in {block.charset.name}"


def _is_utf8(data: bytes) -> bool:
    try:
        data.decode()
    except UnicodeDecodeError:
        return False
    return True


def _not_utf8(block: Block) -> list[int]:
    return [index for index, (start, end) in enumerate(block.spans) if not _is_utf8(block.data[start:end])]


def _ragged(record: bytes, columns: int, layout: Layout) -> _Fault:
    expected = len(layout.names)
    error = f"{words.count(columns, 'column')} where {expected} are expected"
    more = columns - expected
    if more > 0 and record.endswith(layout.dialect.delimiter * more):
        said = "the header" if layout.form.header else "the first row"
        error += f": the row ends in {words.count(more, 'delimiter')} more than {said}"
    elif more > 0 and layout.dialect.delimiter + b" " + layout.dialect.quote in record:
        error += ": a field with a blank before its quote is not quoted"
    return "WrongColumnCount", error


def _table(data: bytes, records: int, layout: Layout, ragged: list[tuple[int, int]], *, flat: bool) -> pa.Table:
    """The records as columns of text. `flat`: no line ends stand in fields."""
    names = [f"c{index}" for index in range(len(layout.names))]
    if not records:
        return pa.table({name: pa.array([], pa.string()) for name in names})

    def set_aside(row: csv.InvalidRow) -> str:
        ragged.append((row.number - 1, row.actual_columns))
        return "skip"

    form = layout.form
    if data.startswith(_MARK):  # Arrow would leave it out, and here it is part of a row
        data = b"\n" + data
    return csv.read_csv(
        pa.BufferReader(data),
        read_options=csv.ReadOptions(use_threads=False, block_size=len(data) + 1, column_names=names),
        parse_options=csv.ParseOptions(
            delimiter=form.delimiter,
            quote_char=form.quote,
            double_quote=True,
            escape_char=False,
            newlines_in_values=not flat,  # it costs a pass over all bytes
            ignore_empty_lines=True,
            invalid_row_handler=set_aside,
        ),
        convert_options=csv.ConvertOptions(
            column_types=dict.fromkeys(names, pa.string()),
            check_utf8=False,  # the whole block has been
            strings_can_be_null=True,
            quoted_strings_can_be_null=False,
            null_values=list(form.null_values),
        ),
    )


def header(record: bytes, dialect: Dialect) -> Sequence[bytes]:
    """What the fields of the first record say."""
    return [dialect.value(record[start:end]) for start, end in dialect.cells(record)]
