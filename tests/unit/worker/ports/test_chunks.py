"""Parts of chunks: each row and each record counts once."""

import pyarrow as pa
import pytest

from penstock.worker.ports.chunks import Chunk, Lines


@pytest.mark.parametrize("table", [pa.table({}), pa.table({"c0": pa.array([], pa.string())})], ids=["bare", "empty"])
def test_a_part_of_no_rows_has_none(table: pa.Table) -> None:
    part = Chunk(table, 0, Lines(1)).part(0, 1)
    assert (part.read, part.table.num_rows) == (0, 0)


def test_parts_have_each_row_once() -> None:
    chunk = Chunk(pa.table({"c0": [*"abcde"]}), 7, Lines(1))  # two records are no rows
    parts = [chunk.part(0, 3), chunk.part(3, 9)]
    assert [part.read for part in parts] == [5, 2]
    assert [part.table["c0"].to_pylist() for part in parts] == [[*"abc"], [*"de"]]
