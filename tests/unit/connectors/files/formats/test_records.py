"""Cutting text into records: the same records, lines and broken lines wherever the pieces of a file end."""

import pytest

from penstock.connectors.files.formats import records
from penstock.connectors.files.spec import CsvFormat

TEXT = (
    b'a,b\n1,"x\ny"\n\n2,un"q\r\n3,"open\n4,"bad"x\n5,"a ""b"""\n\r\n6,"1\n2\n3","4\n5"\n'
    b'7,\xff\n8,lone\rreturn\n9,""\n"10",","\n'
)


def cut(pieces: list[bytes]) -> tuple[bytes, int, list[int], list[int]]:
    """All blocks together: their bytes, how many records, on which lines these begin, and which lines are broken."""
    blocks = list(records.csv_blocks(iter(pieces), records.dialect(CsvFormat())))
    lines = [line for block in blocks for line in block.lines.of(range(block.records))]
    broken = [entry.line for block in blocks for entry in block.broken]
    return b"".join(block.data for block in blocks), sum(block.records for block in blocks), lines, broken


def test_records_begin_on_their_lines() -> None:
    _, count, lines, broken = cut([TEXT])
    assert lines == [1, 2, 5, 8, 10, 14, 16, 17]
    assert (count, broken) == (8, [6, 7, 15])


@pytest.mark.parametrize("size", [1, 2, 3, 7, 20, 50])
def test_where_pieces_end_does_not_matter(size: int) -> None:
    pieces = [TEXT[at : at + size] for at in range(0, len(TEXT), size)]
    assert cut(pieces) == cut([TEXT])
