"""One reader for each format: the file's columns first, then its blocks in order, each parsed by whichever thread."""

import csv as plain_csv
import io
import shutil
import tempfile
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from functools import lru_cache
from pathlib import Path
from typing import BinaryIO, Self

import duckdb
import pyarrow as pa
import pyarrow.parquet as pq

from penstock.connectors.files.formats import parsing, records, streams
from penstock.connectors.files.formats.block import ANY, Block, Chunk, Columns, Lines
from penstock.connectors.files.spec import CsvFormat, Format
from penstock.connectors.files.stores import BLOCK, Found, Open
from penstock.language.errors import InvalidSpec
from penstock.worker.rows import engine

_BATCH = 65_536
"""Rows of a chunk of a Parquet file."""

Work = Callable[[tuple[str, ...], engine.Connection], Chunk]
"""Parses one block into the columns asked for; any thread may do it, each with its own connection."""


@dataclass(frozen=True)
class Reader:
    """A file being read. `works` are to be taken in order, by one thread, and may be done in any."""

    columns: Columns
    works: Iterator[Work]
    close: Callable[[], None] = lambda: None

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


def reader(opened: Open, found: Found, form: Format, compression: str, scratch: Path) -> Reader:
    """Open a file, with `opened`, and read as far as its column names.

    Raises InvalidSpec (WrongSpecification) when the file is not of that format at all.
    """
    if form.parquet is not None:
        return _parquet(opened, found, scratch)
    stream = opened(found)
    try:
        return _lines(stream, found.url, form, compression)
    except BaseException:
        stream.close()
        raise


def _lines(stream: BinaryIO, url: str, form: Format, compression: str) -> Reader:
    content = streams.unzipped(stream, url) if streams.gzipped(url, compression) else streams.plain(stream)
    content = streams.text(content, url)
    if form.csv is not None:
        return replace(_csv(content, form.csv, url), close=stream.close)
    return Reader(ANY, (_json_work(block) for block in records.line_blocks(content)), stream.close)


def _json_work(block: Block) -> Work:
    return lambda keys, connection: parsing.json_chunk(block, keys, connection)


def _csv(content: Iterator[bytes], form: CsvFormat, url: str) -> Reader:
    speaking = records.dialect(form)
    blocks = records.csv_blocks(content, speaking)
    first = next(blocks, None)
    if first is None:
        return Reader(Columns((), ()), iter(()))
    match = speaking.record.match(first.data.lstrip(b"\r\n"))
    if match is None:
        message = f"{url}: no line can be read as CSV: {first.broken[0].error}. Check delimiter and quote."
        raise InvalidSpec(message, "WrongSpecification")
    names = _fields(match.group(), form, url)
    if form.header:
        first = _without_header(first, match.group())
    else:
        names = [f"column{index}" for index in range(len(names))]
    _check(names, url)

    def works() -> Iterator[Work]:
        yield _csv_work(first, form, len(names))
        for block in blocks:
            yield _csv_work(block, form, len(names))

    return Reader(Columns(tuple(names), ("VARCHAR",) * len(names)), works())


def _csv_work(block: Block, form: CsvFormat, width: int) -> Work:
    return lambda *_: parsing.csv_chunk(block, form, width)


def _fields(record: bytes, form: CsvFormat, url: str) -> list[str]:
    try:
        text = record.decode()
    except UnicodeDecodeError:
        message = f"{url}: the first line is not UTF-8. Convert the file, or have it exported as UTF-8."
        raise InvalidSpec(message, "WrongSpecification") from None
    doubled = form.escape == form.quote
    rows = plain_csv.reader(
        io.StringIO(text, newline=""),
        delimiter=form.delimiter,
        quotechar=form.quote,
        doublequote=doubled,
        escapechar=None if doubled else form.escape,
    )
    return next(rows)


def _check(names: list[str], url: str) -> None:
    seen: set[str] = set()
    for name in names:
        if name in seen:
            message = f'{url}: the column "{name}" stands twice in the header. Rename one, or set header: false.'
            raise InvalidSpec(message, "WrongSpecification")
        seen.add(name)


def _without_header(block: Block, header: bytes) -> Block:
    start = len(block.data) - len(block.data.lstrip(b"\r\n")) + len(header)
    later = tuple((max(index - 1, 0), lines) for index, lines in block.lines.extra)
    lines = Lines(block.lines.first + 1, later)
    return Block(block.data[start:], block.records - 1, lines, block.broken)


def _parquet(opened: Open, found: Found, scratch: Path) -> Reader:
    spooled = _spool(opened, found, scratch)
    try:
        file = pq.ParquetFile(spooled, memory_map=False)
    except pa.ArrowInvalid as error:
        Path(spooled).unlink()
        message = f"{found.url} is not Parquet: {engine.one_line(error).rstrip('.')}."
        raise InvalidSpec(message, "WrongSpecification") from None
    schema = file.schema_arrow
    _check(schema.names, found.url)

    def close() -> None:
        file.close()
        Path(spooled).unlink(missing_ok=True)

    return Reader(Columns(tuple(schema.names), _types(schema.remove_metadata())), _parquet_works(file), close)


def _spool(opened: Open, found: Found, scratch: Path) -> str:
    """A local copy: Parquet is read from its end, in jumps, by several threads."""
    with tempfile.NamedTemporaryFile(dir=scratch, suffix=".parquet", delete=False) as copy, opened(found) as stream:
        shutil.copyfileobj(stream, copy, BLOCK)
    return copy.name


@lru_cache(maxsize=64)
def _types(schema: pa.Schema) -> tuple[str, ...]:
    empty = pa.Table.from_batches([], schema)
    with duckdb.connect() as connection:
        connection.register("columns", empty)
        return tuple(str(row[1]) for row in connection.execute("DESCRIBE columns").fetchall())


def _parquet_works(file: pq.ParquetFile) -> Iterator[Work]:
    row = 1
    expected = int(file.metadata.num_rows)
    for batch in file.iter_batches(_BATCH):
        table = pa.Table.from_batches([batch])
        table = table.rename_columns([f"c{index}" for index in range(table.num_columns)])
        yield _parquet_work(table, row)
        row += table.num_rows
    yield _parquet_rest(expected - (row - 1), row)


def _parquet_work(table: pa.Table, row: int) -> Work:
    return lambda *_: Chunk(table, table.num_rows, Lines(row))


def _parquet_rest(rows: int, row: int) -> Work:
    """What the footer promised and no batch held: nothing, or the counts do not balance."""
    return lambda *_: Chunk(pa.table({}), rows, Lines(row))
