"""What reading Parquet takes at once, by what Arrow has allocated: bounded, however much a small file unfolds to."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from penstock.connectors.files.formats import parquet
from penstock.connectors.files.stores import StoredFile
from penstock.worker.rows import engine
from worker import judging
from worker.pods import field

MB = 1 << 20
MOST = 48 * MB
"""Bytes that Arrow may have allocated between two chunks."""
ROWS = 300_000


def different() -> pa.Array:
    """Texts that are all different: a writer begins a dictionary of them, and gives it up."""
    return pa.array([f"{number:08}-of-a-text-of-some-length-{number * 7:012}" for number in range(ROWS)])


def references(length: int, rows: int) -> pa.Array:
    """Many references to one long text."""
    return pa.DictionaryArray.from_arrays(pa.repeat(pa.scalar(0, pa.int32()), rows), pa.array(["x" * length]))


def in_lists(values: pa.Array) -> pa.Array:
    """Each value in a list of its own."""
    return pa.ListArray.from_arrays(pa.array(range(len(values) + 1), pa.int32()), values)


COLUMNS: dict[str, tuple[Callable[[], pa.Array], dict[str, Any]]] = {
    "a dictionary that is given up": (different, {}),
    "no dictionary": (different, {"use_dictionary": False}),
    "a long text in a dictionary that is given up": (
        lambda: pa.concat_arrays([pa.array(["x" * 600_000, *["y" * 500_000] * 200]), different()]),
        {},
    ),
    "references to a long text": (lambda: references(60_000, 50_000), {}),
    "references in lists": (lambda: in_lists(references(60_000, 50_000)), {}),
    "references in structures": (lambda: pa.StructArray.from_arrays([references(60_000, 20_000)], ["a"]), {}),
}


@pytest.mark.parametrize("case", COLUMNS)
def test_no_more_is_kept_than_a_chunk_needs(case: str, tmp_path: Path) -> None:
    make, options = COLUMNS[case]
    path = tmp_path / "a.parquet"
    column = make()
    pq.write_table(pa.table({"v": column}), path, compression="zstd", row_group_size=1 << 22, **options)
    rows = len(column)
    del column
    before, most, read = pa.total_allocated_bytes(), 0, 0
    file = parquet.ParquetFile(lambda _: path.open("rb"), StoredFile(str(path), "1", path.stat().st_size), tmp_path)
    try:
        with engine.connect(1 << 28, 1, tmp_path) as connection:
            for work in file.works(["v"]):
                chunk = work((), connection)
                most = max(most, pa.total_allocated_bytes() - before)
                read += chunk.read
                del chunk, work
    finally:
        file.close()
    assert read == rows
    assert most < MOST


def test_a_list_longer_than_a_row_may_be_is_bad_and_the_others_are_read(tmp_path: Path) -> None:
    lists = [["short"], ["x" * 1000] * 1100, None, [], ["x" * 1000] * 1000]
    pq.write_table(pa.table({"v": pa.array(lists, pa.list_(pa.string()))}), tmp_path / "a.parquet")
    good, bad = judging.parquet(tmp_path / "a.parquet", [field("v", "long", from_="len(v)")], tmp_path)
    assert {number: row["v"] for number, row in good.items()} == {0: 1, 2: None, 3: 0, 4: 1000}
    assert [(number, row["reason"]) for number, row in bad.items()] == [(1, "RowTooLong")]
