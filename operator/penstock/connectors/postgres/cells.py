"""From rows as COPY prints them to a chunk: typed by Arrow, and beside it what Arrow cannot hold.

PostgreSQL prints every value exactly. A block is read at once with its columns' types; where a cell is not one of its
type (`NaN`, `infinity`, the year 20000), the block is read again as text, and such cells are listed one by one.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.csv

from penstock.connectors.postgres import relations
from penstock.connectors.postgres.relations import Relation
from penstock.worker.ports.chunks import Chunk, ExactCell, Lines
from penstock.worker.ports.source import Connection

_ARROW = {
    "SMALLINT": pa.int16(),
    "INTEGER": pa.int32(),
    "BIGINT": pa.int64(),
    "FLOAT": pa.float32(),
    "DOUBLE": pa.float64(),
    "BOOLEAN": pa.bool_(),
    "DATE": pa.date32(),
    "TIMESTAMP": pa.timestamp("us"),
    "TIMESTAMP WITH TIME ZONE": pa.timestamp("us", "UTC"),
    "VARCHAR": pa.string(),
}
_DAY, _CLOCK = r"[0-9]{4}-[0-9]{2}-[0-9]{2}", r"[0-9]{2}:[0-9]{2}:[0-9]{2}(\.[0-9]{1,6})?"
_ORDINARY = {
    "DATE": f"^{_DAY}$",
    "TIMESTAMP": f"^{_DAY} {_CLOCK}$",
    "TIMESTAMP WITH TIME ZONE": rf"^{_DAY} {_CLOCK}\+00$",
    "DECIMAL": r"^-?[0-9]+(\.[0-9]+)?$",
}
"""How cells look that Arrow holds; all cells of the other types do."""


@dataclass(frozen=True)
class Block:
    """Rows of a relation as COPY printed them: the columns at `wanted`, then those of the key that are not among them.

    `first` is the number of its first row, from 1. `rows` is how many the server sent.
    """

    relation: Relation
    wanted: tuple[int, ...]
    content: bytes
    rows: int
    first: int

    @property
    def printed(self) -> tuple[int, ...]:
        """The positions of all columns that are in it."""
        return printed(self.relation, self.wanted)


def printed(relation: Relation, wanted: Sequence[int]) -> tuple[int, ...]:
    """The positions of the columns to select: those wanted, and those of the key."""
    return (*wanted, *(position for position in relation.key if position not in wanted))


def chunk(block: Block, _: Connection) -> Chunk:
    """The block's rows as a chunk."""
    sources = [block.relation.columns[position].source for position in block.printed] or ["BIGINT"]
    table, exact = typed(block.content, sources)
    count = len(block.wanted) or 1  # a table of no columns would have no rows
    return Chunk(
        table.select(range(count)),
        block.rows,
        Lines(block.first),
        exact=tuple(cell for cell in exact if int(cell.column[1:]) < count),
        keys=_keys(block, table),
    )


def typed(content: bytes, sources: Sequence[str]) -> tuple[pa.Table, list[ExactCell]]:
    """Rows as COPY printed them, with the columns c0, c1, … of these types, and the cells that Arrow cannot hold."""
    try:
        return _read(content, [_arrow(source) for source in sources]), []
    except pa.ArrowInvalid:
        return _cell_by_cell(content, sources)


def _arrow(source: str) -> pa.DataType:
    return _ARROW.get(source) or pa.decimal128(*relations.decimal_of(source))


def _read(content: bytes, types: Sequence[pa.DataType]) -> pa.Table:
    """The rows as a table of the columns c0, c1, … Only an empty cell without quotes is null."""
    names = [f"c{number}" for number in range(len(types))]
    return pyarrow.csv.read_csv(
        pa.BufferReader(content),
        pyarrow.csv.ReadOptions(use_threads=False, block_size=len(content) + 1, column_names=names),
        pyarrow.csv.ParseOptions(newlines_in_values=True, ignore_empty_lines=False),
        pyarrow.csv.ConvertOptions(
            column_types=dict(zip(names, types, strict=True)),
            null_values=[""],
            strings_can_be_null=True,
            quoted_strings_can_be_null=False,
            true_values=["t"],
            false_values=["f"],
        ),
    )


def _cell_by_cell(content: bytes, sources: Sequence[str]) -> tuple[pa.Table, list[ExactCell]]:
    raw = _read(content, [pa.binary()] * len(sources))
    exact: list[ExactCell] = []
    arrays = []
    for name, source in zip(raw.column_names, sources, strict=True):
        array, unusual = _column(raw[name].combine_chunks(), source)
        arrays.append(array)
        exact += [ExactCell(row, name, text) for row, text in unusual]
    return pa.Table.from_arrays(arrays, names=raw.column_names), exact


def _column(raw: pa.BinaryArray, source: str) -> tuple[pa.Array, list[tuple[int, str]]]:
    """The cells as an array, in which those that it cannot hold are null; and these, by their rows."""
    unusual: list[tuple[int, str]] = []
    try:
        texts = raw.cast(pa.string())
    except pa.ArrowInvalid:  # a database with the encoding SQL_ASCII holds any bytes
        texts, unusual = _not_text(raw)
    if source == "VARCHAR":
        return texts, unusual
    if source == "BOOLEAN":
        return pc.equal(texts, "t"), unusual
    pattern = _ORDINARY.get(source.partition("(")[0])
    if pattern is not None:
        ordinary = pc.match_substring_regex(texts, pattern)
        rows = pc.indices_nonzero(pc.invert(ordinary).fill_null(False)).to_pylist()
        unusual += [(row, texts[row].as_py()) for row in rows]
        texts = pc.if_else(ordinary, texts, None)
    return texts.cast(_arrow(source)), unusual


def _not_text(raw: pa.BinaryArray) -> tuple[pa.StringArray, list[tuple[int, str]]]:
    cells: list[str | None] = []
    unusual: list[tuple[int, str]] = []
    for row, cell in enumerate(raw.to_pylist()):
        try:
            cells.append(None if cell is None else cell.decode())
        except UnicodeDecodeError:
            cells.append(None)
            unusual.append((row, cell.decode(errors="backslashreplace")))
    return pa.array(cells, pa.string()), unusual


def _keys(block: Block, table: pa.Table) -> pa.StringArray | None:
    """The rows' primary keys as text, None where there is none."""
    places = [block.printed.index(position) for position in block.relation.key]
    if not places:
        return None
    texts = [table.column(place).cast(pa.string()).fill_null("?") for place in places]
    keys = texts[0] if len(texts) == 1 else pc.binary_join_element_wise(*texts, ", ")
    return keys.combine_chunks()
