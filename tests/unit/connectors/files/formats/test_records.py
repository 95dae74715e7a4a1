"""Cutting text into records: the same records, lines and broken lines wherever the pieces of a file end."""

import random
from itertools import pairwise

import pytest

from penstock.connectors.files.formats import csvrows, jsonlines, records
from penstock.connectors.files.formats.dialect import dialect
from penstock.connectors.files.spec import CsvFormat
from penstock.worker.ports.chunks import Chunk

SMALL = records.Limits(block=64, longest=40, sought=160, rows=6)
"""A row of 41 bytes is too long, and what has not ended after 160 does not end."""
TEXT = (
    b'a,b\n1,"x\ny"\n\n2,un"q\r\n3,"open\n4,"bad"x\n5,"a ""b"""\n\r\n6,"1\n2\n34\n5"\n'
    b'7,\xff\n8,lone\rreturn\n9,""\n"10",","\n\n\n\n' + b"11,%b\n" % (b"y" * 37) + b"12,%b\r\n" % (b"y" * 38)
    + b'13,"' + b"line\n" * 20 + b'"\n' + b'14,"' + b"line\n" * 30 + b'"\n15,z\n' + b"16," + b"z" * 500 + b"\n17,z\n"
    + b'"18","' + b'x""\n' * 8 + b'"\n19,ragged,row\n20,"open to the end\n21'
)  # fmt: skip


def chunks(pieces: list[bytes], limits: records.Limits, form: CsvFormat) -> list[Chunk]:
    layout = csvrows.Layout(form, dialect(form), ("a", "b"))
    return [csvrows.chunk(block, layout) for block in records.csv_blocks(iter(pieces), layout.dialect, limits)]


Read = tuple[list[tuple[int, str | None, str | None]], list[tuple[int, str, str, str, bool]], int]


def read(pieces: list[bytes], limits: records.Limits, form: CsvFormat | None = None) -> Read:
    """All rows with their lines, all broken lines, and how many were read."""
    rows: list[tuple[int, str | None, str | None]] = []
    broken: list[tuple[int, str, str, str, bool]] = []
    count = 0
    for chunk in chunks(pieces, limits, form or CsvFormat()):
        count += chunk.read
        lines = chunk.lines_of(range(chunk.table.num_rows))
        rows += zip(lines, chunk.table["c0"].to_pylist(), chunk.table["c1"].to_pylist(), strict=True)
        if chunk.broken is not None:
            columns = [chunk.broken[name].to_pylist() for name in chunk.broken.column_names]
            broken += [(row[0], row[1], row[3], row[4], row[5]) for row in zip(*columns, strict=True)]
    assert count == len(rows) + len(broken)
    return rows, sorted(broken), count


def split(text: bytes, size: int) -> list[bytes]:
    return [text[at : at + size] for at in range(0, len(text), size)]


def test_records_begin_on_their_lines_and_what_is_none_is_set_aside() -> None:
    rows, broken, _ = read([TEXT], SMALL)
    assert [(line, a) for line, a, _ in rows] == [
        *((1, "a"), (2, "1"), (5, "2"), (8, "5"), (10, "6"), (16, "9"), (17, "10"), (21, "11"), (75, "15"), (77, "17")),
        *((78, "18"),),
    ]
    assert rows[-1][2] == 'x"\n' * 8
    assert [(line, reason, complete) for line, reason, _, _, complete in broken if line < 45] == [
        (6, "BrokenQuoting", True),
        (7, "BrokenQuoting", True),
        (14, "NotUtf8", True),
        (15, "LoneCarriageReturn", True),
        (22, "RowTooLong", False),
        (23, "RowTooLong", False),
        (44, "RowTooLong", False),
    ]
    assert [(line, reason) for line, reason, *_ in broken if line > 75] == [
        (76, "RowTooLong"),
        (87, "WrongColumnCount"),
        (88, "BrokenQuoting"),
        (89, "WrongColumnCount"),
    ]


@pytest.mark.parametrize("limits", [SMALL, records.Limits(block=1, longest=40, sought=160, rows=1)])
def test_a_row_is_the_same_wherever_it_stands(limits: records.Limits) -> None:
    """The input is shifted through the ends of blocks byte by byte: rows before it are longer by one each time."""
    expected = read([b"0," + b"-" * 20 + b"\n" + TEXT], records.Limits(longest=40, sought=160))
    for shift in range(1, 140):
        first, rest = min(shift, 30), max(shift - 30, 0)
        before = b"0," + b"-" * first + b"\n" + (b"0," + b"-" * min(rest, 30) + b"\n" if rest else b"")
        rows, broken, count = read([before + TEXT], limits)
        extra = before.count(b"\n") - 1
        assert [(line - extra, *row) for line, *row in rows if row[0] != "0"] == expected[0][1:]
        assert [(line - extra, *row) for line, *row in broken] == expected[1]
        assert count - extra == expected[2]


@pytest.mark.parametrize("size", [1, 2, 3, 7, 20, 50])
def test_where_pieces_end_does_not_matter(size: int) -> None:
    assert read(split(TEXT, size), SMALL) == read([TEXT], SMALL)


@pytest.mark.parametrize("seed", range(40))
def test_random_text_is_cut_in_the_same_way_whatever_the_sizes(seed: int) -> None:
    chosen = random.Random(seed)
    form = CsvFormat(escape=chosen.choice(['"', "\\"]))
    text = b"".join(chosen.choices([b"a", b",", b'"', b"\n", b"\r\n", b"\\", b"\xff", b'"x",', b"\r"], k=400))
    longest = chosen.randrange(8, 60)
    whole = read([text], records.Limits(longest=longest, sought=4 * longest), form)
    for size in (1, 5, 64):
        limits = records.Limits(block=chosen.randrange(1, 80), longest=longest, sought=4 * longest, rows=3)
        assert read(split(text, size), limits, form) == whole


def test_lines_of_json_are_the_same_wherever_they_stand() -> None:
    lines = [b'{"a":1}', b"", b'{"a":"' + b"x" * 60 + b'"}', b"{", b'{"a":\xff}', b"\r", b'{"a":2}\r']
    limits = records.Limits(block=16, longest=50, sought=50, rows=3)
    for shift in range(60):
        text = b'{"a":%b0}' % (b" " * (shift % 40)) + b"\n" * (1 + shift) + b"\n".join(lines)
        found = [jsonlines.chunk(block, ["a"]) for block in records.line_blocks(iter(split(text, 7)), limits)]
        good = [
            (line, value)
            for chunk in found
            for line, value in zip(
                chunk.lines_of(range(chunk.table.num_rows)), chunk.table["c0"].to_pylist(), strict=True
            )
        ]
        bad = [
            (line, reason)
            for chunk in found
            if chunk.broken is not None
            for line, reason in zip(chunk.broken["line"].to_pylist(), chunk.broken["reason"].to_pylist(), strict=True)
        ]
        first = 2 + shift
        assert good == [(1, "0"), (first, "1"), (first + 6, "2")]
        assert bad == [(first + 2, "RowTooLong"), (first + 3, "NotJson"), (first + 4, "NotUtf8")]


def test_masks_leave_the_rest_as_it_is_written() -> None:
    layout = csvrows.Layout(CsvFormat(), dialect(CsvFormat()), ("a", "b", "b", "c"))
    assert layout.masked(b'"x,""y",secret,"se""cret", z ', frozenset({"b"})) == b'"x,""y",***,***, z '
    line = b'{"a": 1.10, "B" : {"x": [1, "}"]}, "b":"\\u0041", "c": [ ]}'
    assert jsonlines.masked(line, frozenset({"b"})) == b'{"a": 1.10, "B" : "***", "b":"***", "c": [ ]}'


def test_blocks_are_bounded_in_rows_and_bytes() -> None:
    limits = records.Limits(block=100, longest=50, sought=100, rows=10)
    blocks = [*records.csv_blocks(iter([b"1,x\n" * 1000 + b"\n" * 5000 + b'"\n' * 999]), dialect(CsvFormat()), limits)]
    assert all(block.read <= 20 and len(block.data) <= 200 for block in blocks)
    assert all(earlier.first < later.first for earlier, later in pairwise(blocks))
