"""JSON lines that are alike, read by Arrow: the same names in the same order, and no values but plain ones.

Most files of JSON lines are written by one program, and all of their lines look like the first but for the values. Such
a line is cut where the beginning of a name follows a value, by Arrow's CSV reader without quotes. A cell has to begin
with exactly what stands before the value in the first line, and the rest of it has to be one whole value: a number,
`true`, `false`, `null`, or a text without escapes. As nothing but cells and the cuts between them make up the line, it
is then an object of RFC 8259, whose values are known. Whatever is not so says nothing: the line is read by itself.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import reduce

import pyarrow as pa
import pyarrow.compute as pc
from pyarrow import csv

_FEW = 32
"""Lines fewer than which are read one by one."""
_LAYOUTS = 16
"""How many layouts are tried for the lines of a block."""
_CUT = "\x1f"
"""Stands between the cells; a control character stands in no JSON that is read here."""
_NUMBER = r"^-?(0|[1-9][0-9]*)(\.[0-9]+)?([eE][+-]?[0-9]+)?$"
_WORDS = pa.array(["true", "false", "null"])
_SPACE = 0x20
_END = 1 << 30
"""Bytes past the end of any cell. Without an end, Arrow's slice counts the bytes wrongly and fails."""


@dataclass(frozen=True)
class LineLayout:
    """What stands around the values of a line: before each of them, and after the last. `names` are all different."""

    names: tuple[str, ...]
    before: tuple[str, ...]
    after: str

    @property
    def cut(self) -> str | None:
        """What separates two values, as far as the quote of the next name; None where that differs."""
        cuts = {text[: text.find('"') + 1] for text in self.before[1:]}
        return cuts.pop() if len(cuts) == 1 else None if cuts else f'{_CUT}"'


@dataclass(frozen=True)
class Part:
    """Lines of one layout: their indices in the block, and a column of texts for each name; null for null."""

    rows: pa.Array
    names: tuple[str, ...]
    columns: tuple[pa.Array, ...]


def read(
    lines: Sequence[bytes] | bytes, count: int, layout_of: Callable[[bytes], LineLayout | None]
) -> tuple[list[Part], list[int]]:
    """The lines that are alike, and the indices of all others, ascending.

    `lines` are `count` whole lines, none of them blank, together or as a list. `layout_of` yields the layout of a line
    that is an object of plain values with different names, else None.
    """
    parts: list[Part] = []
    data = lines if isinstance(lines, bytes) else b"".join(lines)
    if count < _FEW or not _readable(data):
        return parts, [*range(count)]
    data = data.replace(b"\r\n", b"\n") if b"\r" in data else data
    indices: list[int] | None = None
    for _ in range(_LAYOUTS):
        layout = layout_of(data[: data.find(b"\n")])
        if layout is None or layout.cut is None:
            break
        matched, part = _matching(data, layout, indices)
        if matched.false_count == len(matched) or not part.columns:
            break
        parts.append(part)
        rest = [place for place, fits in enumerate(matched.to_pylist()) if not fits] if matched.false_count else []
        before = indices if indices is not None else range(len(matched))
        few = len(rest) < _FEW or len(rest) > len(matched) * 3 / 4
        indices = [before[place] for place in rest]
        if few:
            break
        every = data.split(b"\n")
        data = b"".join(every[place] + b"\n" for place in rest)
    return parts, [*range(count)] if indices is None else indices


def _readable(data: bytes) -> bool:
    """Whether it is UTF-8 without control characters but line ends: these stand in no JSON, or between its parts."""
    try:
        data.decode()
    except UnicodeDecodeError:
        return False
    codes = pa.Array.from_buffers(pa.uint8(), len(data), [None, pa.py_buffer(data)])
    controls = pc.less(codes, pa.scalar(_SPACE, pa.uint8())).true_count
    ends = pc.equal(codes, pa.scalar(ord("\n"), pa.uint8())).true_count
    pairs = data.count(b"\r\n") if controls != ends else 0
    return controls == ends + pairs and not data.startswith(b"\xef\xbb\xbf")


def _matching(data: bytes, layout: LineLayout, indices: Sequence[int] | None) -> tuple[pa.BooleanArray, Part]:
    """Which lines have the layout, and their values. `indices` are the lines' indices in the block; None: their own."""
    cells, skipped = _cells(data, layout)
    good: list[pa.BooleanArray] = []
    columns = []
    escapes = b"\\" in data
    for number, (cell, before) in enumerate(zip(cells, layout.before, strict=True)):
        begins = before if not number else before[before.find('"') :]
        fits, value = pc.starts_with(cell, pattern=begins), pc.binary_slice(cell, start=len(begins.encode()), stop=_END)
        if number == len(cells) - 1:
            fits = pc.and_(fits, pc.ends_with(value, pattern=layout.after))
            value = pc.binary_slice(value, start=0, stop=-len(layout.after.encode()))
        column, whole = _values(value.view(pa.string()), escapes)
        columns.append(column)
        good += [each for each in (fits, whole) if each is not None and each.true_count < len(each)]
    count = len(cells[0])
    fitting = reduce(pc.and_, good) if good else pa.repeat(True, count)
    if good:
        columns = [column.filter(fitting) for column in columns]
    if skipped:
        left_out = frozenset(skipped)
        places = [place for place in range(count + len(skipped)) if place not in left_out]
        matched_places = pa.array(places, pa.int64()).filter(fitting)
        matched = [False] * (count + len(skipped))
        for place in matched_places.to_pylist():
            matched[place] = True
        fitting = pa.array(matched)
    rows = pc.indices_nonzero(fitting).cast(pa.int64())
    if indices is not None:
        rows = pa.array(indices, pa.int64()).take(rows)
    return fitting, Part(rows, layout.names, tuple(columns) if len(rows) else ())


def _cells(data: bytes, layout: LineLayout) -> tuple[list[pa.Array], list[int]]:
    """The lines cut into as many cells as the layout has values; and the indices of those that have another number."""
    skipped: list[int] = []

    def skip(row: csv.InvalidRow) -> str:
        skipped.append(row.number - 1)
        return "skip"

    names = [str(number) for number in range(len(layout.names))]
    cut = layout.cut or ""
    data = data.replace(cut.encode(), f'{_CUT}"'.encode())
    table = csv.read_csv(
        pa.BufferReader(data),
        read_options=csv.ReadOptions(use_threads=False, block_size=len(data) + 1, column_names=names),
        parse_options=csv.ParseOptions(
            delimiter=_CUT, quote_char=False, double_quote=False, escape_char=False, invalid_row_handler=skip
        ),
        convert_options=csv.ConvertOptions(
            column_types=dict.fromkeys(names, pa.binary()), strings_can_be_null=False, null_values=[]
        ),
    )
    return [column.combine_chunks() for column in table.columns], skipped


def _values(value: pa.Array, escapes: bool) -> tuple[pa.Array, pa.BooleanArray | None]:
    """What the cells say, and which of them are one whole plain value; None: all. `escapes`: a backslash is about."""
    quoted = pc.starts_with(value, pattern='"')
    if quoted.true_count == len(value):
        return _texts(value, escapes)
    if not quoted.true_count:
        return _bare(value)
    (text, whole_text), (bare, whole_bare) = _texts(value, escapes), _bare(value)
    whole = pc.if_else(quoted, whole_text, True if whole_bare is None else whole_bare)
    return pc.if_else(quoted, text, bare), whole


def _texts(value: pa.Array, escapes: bool) -> tuple[pa.Array, pa.BooleanArray]:
    """Texts without their quotes."""
    text = pc.binary_slice(value.view(pa.binary()), start=1, stop=-1).view(pa.string())
    whole = pc.and_(pc.ends_with(value, pattern='"'), pc.greater(pc.binary_length(value), 1))
    for inside in ('"', "\\") if escapes else ('"',):
        whole = pc.and_not(whole, pc.match_substring(text, pattern=inside))
    return text, whole


def _bare(value: pa.Array) -> tuple[pa.Array, pa.BooleanArray | None]:
    """Numbers as they are written, true and false; null for null."""
    digits = pc.ascii_is_decimal(value)
    if digits.true_count == len(value) and not pc.starts_with(value, pattern="0").true_count:
        return value, None
    whole = pc.match_substring_regex(value, _NUMBER)
    if whole.true_count == len(value):
        return value, None
    whole = pc.or_(whole, pc.is_in(value, _WORDS))
    return pc.if_else(pc.equal(value, "null"), None, value), whole
