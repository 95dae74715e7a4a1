"""Text files, CSV and JSON lines: their columns first, then their blocks, each parsed by whichever thread."""

import itertools
from collections.abc import Iterator, Sequence
from dataclasses import replace
from typing import BinaryIO

from penstock.connectors.files.formats import (
    charsets,
    csvrows,
    documents,
    jsonlines,
    jsonrecords,
    kinds,
    packed,
    records,
    streams,
)  # fmt: skip
from penstock.connectors.files.formats.block import Block, CutRecords, Work
from penstock.connectors.files.formats.charsets import Charset
from penstock.connectors.files.formats.counting import Rows
from penstock.connectors.files.formats.dialect import dialect
from penstock.connectors.files.spec import CsvFormat, Format, JsonFormat
from penstock.language import paths
from penstock.language.errors import InvalidSpec
from penstock.worker.ports.chunks import ANY, Chunk, Columns, NumberFormat
from penstock.worker.rows import engine

_SHORTEST_OBJECT = len(b"{}\n")
"""Bytes of the shortest row of JSON, with its line end or comma."""
_WIDENED = 3
"""Bytes of UTF-8 that one byte of another encoding becomes at most."""
_SHORTEST_CELL = len(b"x\n")
"""Bytes of the shortest row of one column: a blank line is none."""


def read(stream: BinaryIO, url: str, form: Format, compression: str, rows: Rows) -> tuple[Columns, Iterator[Work]]:
    """The columns of a file, and what parses its blocks, which count themselves in `rows` where that is possible.

    Raises InvalidSpec (WrongSpecification).
    """
    start, stream = packed.beginning(stream)
    counted = rows if packed.is_plain(start, compression) else None
    content = packed.content(stream, url, compression)
    if form.csv is not None:
        return _csv(content, form.csv, url, counted)
    return ANY, _json(streams.text(content, url), form.json_ or JsonFormat(), url, counted)


def _json(content: Iterator[bytes], form: JsonFormat, url: str, counted: Rows | None) -> Iterator[Work]:
    """The works of JSON lines, or of a document: its records are the elements of the first list on the way to rows."""
    steps = () if form.records is None else paths.records(form.records).steps
    blocks: Iterator[CutRecords]
    if form.lines:
        rows = jsonrecords.Rows(inside=steps)
        limits = replace(records.JSON_LIMITS, longest=documents.LARGEST) if steps else records.JSON_LIMITS
        lines = records.line_blocks(content, limits)
        blocks = lines if steps or counted is None else counted.count(lines, _SHORTEST_OBJECT)
    else:
        steps = steps or (None,)
        first = steps.index(None) + 1
        rows = jsonrecords.Rows(around=steps[:first], inside=steps[first:], what="element")
        longest = documents.LARGEST if rows.inside else records.LONGEST
        elements = documents.blocks(content, rows.around, longest, url)
        blocks = elements if rows.inside or counted is None else counted.count(elements, _SHORTEST_OBJECT)
    return (_json_work(block, rows) for block in blocks)


def _json_work(block: CutRecords, rows: jsonrecords.Rows) -> Work:
    def work(keys: tuple[str, ...], _: engine.Connection) -> Chunk:
        if isinstance(block, Block) and not jsonrecords.is_nested(rows, keys):
            return jsonlines.chunk(block, keys)
        return jsonrecords.chunk(block, keys, rows)

    return work


def _csv(content: Iterator[bytes], form: CsvFormat, url: str, counted: Rows | None) -> tuple[Columns, Iterator[Work]]:
    speaking, skipped = dialect(form), form.skip_lines or 0
    charset, content = charsets.text(content, form.encoding or "utf-8", url)
    beginning = records.Beginning(skipped + 1, charset)
    blocks = records.csv_blocks(records.after_lines(content, skipped), speaking, beginning=beginning)
    first = next(blocks, None)
    if first is None:
        return Columns((), ()), iter(())
    _check_beginning(first, form, url)
    cells = csvrows.header(first.data[slice(*first.spans[0])], speaking)
    if form.header:
        first = first.without_first()
        names = _names(cells, charset, url)
    else:
        names = tuple(f"column{index}" for index in range(len(cells)))
    layout = csvrows.Layout(form, speaking, names)
    every: Iterator[Block] = itertools.chain([first], blocks)
    if counted is not None:
        every = counted.count(every, max(len(names), _SHORTEST_CELL), 1 if charset.is_utf8 else _WIDENED)

    numbers = NumberFormat(form.decimal or ".", form.thousands or "")
    advice = kinds.header(names, form.delimiter) if form.header else ""
    columns = Columns(names, ("VARCHAR",) * len(names), as_written=True, numbers=numbers, advice=advice)
    return columns, (_csv_work(block, layout) for block in every)


def _csv_work(block: Block, layout: csvrows.Layout) -> Work:
    return lambda *_: csvrows.chunk(block, layout)


def _check_beginning(first: Block, form: CsvFormat, url: str) -> None:
    """Raise InvalidSpec where the header is broken, or no line can be read at all."""
    broken = first.broken.table().slice(0, 1).to_pylist()
    if not broken:
        return
    line, error = broken[0]["line"], broken[0]["error"]
    remedy = _REMEDIES.get(broken[0]["reason"], "Check delimiter and quote, or the file")
    if not first.records:
        message = f"{url}: no line can be read as CSV; line {line}: {error}. {remedy}."
        raise InvalidSpec(message, "WrongSpecification")
    if form.header and line < first.of([0])[0]:
        message = f"{url}: the header, line {line}, cannot be read: {error}. {remedy}."
        raise InvalidSpec(message, "WrongSpecification")


_REMEDIES = {
    "LoneCarriageReturn": "Convert the line ends: with dos2unix for CR CR LF, with dos2unix -c mac for CR",
    "RowTooLong": "Check quote, and that lines end in LF or CRLF",
}
"""What to do where the first line of a file is no row, by the reason."""


def _names(cells: Sequence[bytes], charset: Charset, url: str) -> tuple[str, ...]:
    try:
        return tuple(cell.decode() for cell in cells)
    except UnicodeDecodeError:
        remedy = "Set format.csv.encoding" if charset.is_utf8 else "Check format.csv.encoding"
        message = f"{url}: the header is not {charset.name.upper()}. {remedy}, or have the file exported as UTF-8."
        raise InvalidSpec(message, "WrongSpecification") from None
