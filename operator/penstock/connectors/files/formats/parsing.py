# ruff: noqa: S608 - SQL is built here; every name and literal in it goes through engine.name and engine.text
"""Parsing what was cut, by Arrow's CSV reader and DuckDB's JSON functions, into columns of text."""

import json
import re
from bisect import bisect_right
from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc
from pyarrow import csv

from penstock.connectors.files.formats.block import Block, Broken, Chunk, Measure
from penstock.connectors.files.formats.records import LONGEST, SHOWN
from penstock.connectors.files.spec import CsvFormat
from penstock.language import words
from penstock.worker.rows import engine

_MANY_DIGITS = re.compile(rb"[0-9][0-9.]{15}")
"""A number of so many digits may lose some of them in DuckDB's JSON parser, which reads numbers as doubles."""
_REWRITTEN = r"^(0|-?[0-9]+(\.[0-9]+([eE][+-]?[0-9]+)?|[eE][+-]?[0-9]+))$"
"""A number of DuckDB's that may have been written in another way: 1.10 becomes 1.1, 1E5 becomes 100000.0, -0 is 0."""
_SPELT_ONE_WAY = re.compile(r'[^"/\\\x00-\x1f]+')
"""A key that stands in a line as it is, unless its characters are written by their numbers."""


def csv_chunk(block: Block, form: CsvFormat, width: int) -> Chunk:
    """The block's records as `width` columns of text."""
    ragged: list[tuple[int, str, str]] = []
    if _is_utf8(block.data):
        table = _csv_table(block, form, width, ragged)
        unreadable = _too_long(table)
    else:  # which rows are not, is seen in their bytes
        table, ragged = _bytewise(block, form, width)
        unreadable = _not_utf8(table)
    if unreadable:
        rows = {row for row, _, _ in unreadable}
        table = table.filter(pa.array([row not in rows for row in range(table.num_rows)]))
        unreadable = _renumbered(unreadable, [index for index, _, _ in ragged])
    table = table.cast(pa.schema([(name, pa.string()) for name in table.column_names]))
    return _without(block, table, sorted([*ragged, *unreadable]))


def _renumbered(unreadable: list[tuple[int, str, str]], missing: Sequence[int]) -> list[tuple[int, str, str]]:
    """The same by the index of the record in the block, of which those `missing` are not in the table."""
    shifted = [index - position for position, index in enumerate(missing)]
    return [(row + bisect_right(shifted, row), shown, error) for row, shown, error in unreadable]


def _without(block: Block, table: pa.Table, bad: Sequence[tuple[int, str, str]]) -> Chunk:
    """The chunk, told which of the block's records are not in its table: (index, what is written, error)."""
    missing = tuple(index for index, _, _ in bad)
    lines = block.lines.of(missing)
    broken = [Broken(line, shown, error) for line, (_, shown, error) in zip(lines, bad, strict=True)]
    everything = tuple(sorted([*block.broken, *broken], key=lambda entry: entry.line))
    return Chunk(table, block.records + len(block.broken), block.lines, everything, missing)


def _is_utf8(data: bytes) -> bool:
    try:
        data.decode()
    except UnicodeDecodeError:
        return False
    return True


def _bytewise(block: Block, form: CsvFormat, width: int) -> tuple[pa.Table, list[tuple[int, str, str]]]:
    """The block's records as columns of bytes, and the ragged ones.

    Arrow shows a ragged row as text, and gives up where that is none. So each byte is made a character, and back.
    """
    ragged: list[tuple[int, str, str]] = []
    characters = replace(block, data=block.data.decode("latin-1").encode())
    nulls = tuple(value.encode().decode("latin-1") for value in form.null_values)
    table = _csv_table(characters, form.model_copy(update={"null_values": nulls}), width, ragged)
    columns = [
        pa.array([value if value is None else value.encode("latin-1") for value in column.to_pylist()], pa.binary())
        for column in table.columns
    ]
    shown = [(row, text.encode("latin-1").decode(errors="replace"), error) for row, text, error in ragged]
    return pa.table(columns, names=table.column_names), shown


def _csv_table(block: Block, form: CsvFormat, width: int, ragged: list[tuple[int, str, str]]) -> pa.Table:
    names = [f"c{index}" for index in range(width)]

    def set_aside(row: csv.InvalidRow) -> str:
        error = f"{words.count(row.actual_columns, 'column')} where {row.expected_columns} are expected"
        ragged.append((row.number - 1, row.text[:SHOWN], error))
        return "skip"

    if not block.records:
        return pa.table({name: pa.array([], pa.string()) for name in names})
    return csv.read_csv(
        pa.BufferReader(block.data),
        read_options=csv.ReadOptions(use_threads=False, block_size=len(block.data) + 1, column_names=names),
        parse_options=csv.ParseOptions(
            delimiter=form.delimiter,
            quote_char=form.quote,
            double_quote=form.escape == form.quote,
            escape_char=False if form.escape == form.quote else form.escape,
            newlines_in_values=True,
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


def _not_utf8(table: pa.Table) -> list[tuple[int, str, str]]:
    found: list[tuple[int, str, str]] = []
    for row, values in enumerate(zip(*(column.to_pylist() for column in table.columns), strict=True)):
        written = b",".join(value or b"" for value in values)
        try:
            written.decode()
        except UnicodeDecodeError:
            found.append((row, written[:SHOWN].decode(errors="replace"), "the row is not UTF-8"))
    return found


def _too_long(table: pa.Table) -> list[tuple[int, str, str]]:
    if table.nbytes <= LONGEST:
        return []
    longest = sum(pc.max(pc.binary_length(column)).as_py() or 0 for column in table.columns)
    if longest <= LONGEST:
        return []
    lengths = [sum(len(value or "") for value in row.values()) for row in table.to_pylist()]
    shown = [",".join(value or "" for value in row.values())[:SHOWN] for row in table.to_pylist()]
    error = f"the row is longer than {LONGEST} bytes"
    return [(row, shown[row], error) for row, length in enumerate(lengths) if length > LONGEST]


def json_chunk(block: Block, keys: Sequence[str], connection: engine.Connection) -> Chunk:
    """The block's lines as columns of text, one for each key, and the column `line`."""
    written = [line for line in block.data.split(b"\n") if line and line != b"\r"]
    lines: list[str | None] = []
    errors: dict[int, str] = {}
    for index, line in enumerate(written):
        try:
            lines.append(line.decode())
        except UnicodeDecodeError:
            lines.append(None)
            errors[index] = "the line is not UTF-8"
    found = _extracted(lines, keys, connection)
    for index, fine in enumerate(found["fine"].to_pylist()):
        if not fine:
            errors.setdefault(index, "the line is not a JSON object")
    table, unclear = _as_written(found.drop_columns(["fine"]), block.data, keys)
    if _MANY_DIGITS.search(block.data):
        unclear.update(row for row, line in enumerate(written) if _MANY_DIGITS.search(line))
    unclear.difference_update(errors)  # they are bad anyway, and may hold what is no text, such as half a character
    if unclear:
        table = _with_every_digit(table, written, keys, unclear)
    if errors:
        table = table.filter(pa.array([index not in errors for index in range(table.num_rows)]))
    shown = {index: written[index][:SHOWN].decode(errors="replace") for index in errors}
    return _without(block, table, [(index, shown[index], errors[index]) for index in sorted(errors)])


def _extracted(lines: list[str | None], keys: Sequence[str], connection: engine.Connection) -> pa.Table:
    chunk = pa.table({"line": pa.array(lines, pa.string())})
    paths = ", ".join(engine.text(f"$.{engine.name(key)}") for key in keys)
    columns = "".join(f", found[{index}] AS c{index - 1}" for index in range(1, len(keys) + 1))
    values = f"TRY(json_extract_string(line, [{paths}]))" if keys else "CASE WHEN json_valid(line) THEN ['x'] END"
    connection.register("lines", chunk)
    return connection.sql(
        f"SELECT line, found IS NOT NULL AND ltrim(line, ' \t')[1] = '{{' AS fine{columns} "
        f"FROM (SELECT line, {values} AS found FROM lines)"
    ).to_arrow_table()


def _as_written(table: pa.Table, data: bytes, keys: Sequence[str]) -> tuple[pa.Table, set[int]]:
    """The numbers as they stand in their lines, and the rows for which only a parser can say how that is.

    A number is sought behind its key, which costs a small part of parsing all the lines once more.
    """
    unclear: set[int] = set()
    plain = b"\\u" not in data
    for index, key in enumerate(keys):
        if isinstance(key, Measure):
            continue
        values = table[f"c{index}"].combine_chunks()
        rewritten = pc.fill_null(pc.match_substring_regex(values, _REWRITTEN), False)
        rows = pc.indices_nonzero(rewritten)
        if not len(rows):
            continue
        lines = table["line"].take(rows).combine_chunks()
        clear = _clear(lines, key, once=plain and data.count(_quoted(key).encode()) == len(values) - values.null_count)
        pattern = rf"[{{,]\s*{re.escape(_quoted(key))}\s*:\s*(?P<number>-?[0-9][0-9.eE+-]*)"
        numbers = pc.struct_field(pc.extract_regex(lines, pattern), 0)
        numbers = pc.coalesce(pc.if_else(clear, numbers, None), values.take(rows))
        table = table.set_column(index + 1, f"c{index}", pc.replace_with_mask(values, rewritten, numbers))
        unclear.update(pc.filter(rows, pc.invert(clear)).to_pylist())
    return table, unclear


def _quoted(key: str) -> str:
    return f'"{key}"'


def _clear(lines: pa.Array, key: str, *, once: bool) -> pa.Array:
    """Which of the lines hold the key only once, spelt without escapes. `once` says that it is so for all."""
    if not _SPELT_ONE_WAY.fullmatch(key):
        return pa.repeat(False, len(lines))
    if once:
        return pa.repeat(True, len(lines))
    escapes = r"\\u00[2-7]" if key.isascii() else r"\\u"
    return pc.and_(
        pc.equal(pc.count_substring(lines, _quoted(key)), 1),
        pc.invert(pc.match_substring_regex(lines, escapes)),
    )


def _with_every_digit(table: pa.Table, written: Sequence[bytes], keys: Sequence[str], rows: set[int]) -> pa.Table:
    """Read these lines once more, with Python, which keeps each number as it is written."""
    columns = {f"c{index}": table[f"c{index}"].to_pylist() for index in range(len(keys))}
    for row in rows:
        try:
            found = json.loads(written[row], parse_float=str, parse_int=str, object_pairs_hook=_first_wins)
        except ValueError:
            continue  # DuckDB has read it, or has not: its word stands
        for index, key in enumerate(keys):
            value = found.get(key) if isinstance(found, dict) else None
            if isinstance(value, str) and (not isinstance(key, Measure) or _MANY_DIGITS.search(value.encode())):
                columns[f"c{index}"][row] = value
    texts = {name: pa.array(values, pa.string()) for name, values in columns.items()}
    return pa.table({"line": table["line"], **texts})


def _first_wins(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found: dict[str, Any] = {}
    for key, value in pairs:
        found.setdefault(key, value)
    return found
