"""One reader for each format: the file's columns first, then its blocks in order, each parsed by whichever thread."""

import csv as plain_csv
import io
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import BinaryIO, Self

from penstock.connectors.files.formats import parquet, parsing, records, streams
from penstock.connectors.files.formats.block import ANY, Block, Columns, Lines, Work
from penstock.connectors.files.spec import CsvFormat, Format
from penstock.connectors.files.stores import Found, Open
from penstock.language.errors import InvalidSpec


@dataclass(frozen=True)
class Reader:
    """A file being read. Its works are to be taken in order, by one thread, and may be done in any."""

    columns: Columns
    works: Iterator[Work]
    close: Callable[[], None] = lambda: None
    partial_works: Callable[[Sequence[str]], Iterator[Work]] | None = None
    """The works that read the columns of these names, where others can be left out."""

    def works_for(self, names: Sequence[str]) -> Iterator[Work]:
        """The works; `names` are those of the columns that are needed, in the order that chunks are to have them."""
        return self.works if self.partial_works is None else self.partial_works(names)

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
    file = parquet.ParquetFile(opened, found, scratch)
    return Reader(file.columns, iter(()), file.close, file.works)
