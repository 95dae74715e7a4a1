"""What an upsert into a lake has in memory at once: bounded by bytes, whatever the rows and the keys look like."""

import os
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

import pyarrow as pa
import pytest

from connectors.contract.adapters import STORES, Json
from connectors.test_stores import NOW, Bench, bench, entry, publication
from penstock.connectors.lake.store import LakeStore
from penstock.runs import places
from penstock.runs.report import Counts
from penstock.worker.ports.ledger import Attempt
from worker.pods import field

MB = 1 << 20
MOST = 96 * MB
"""Bytes that Arrow may have allocated at once. Each case has more than that in what is staged, or in the table."""
TEXT = os.urandom(8 << 10).hex() * 128  # which is compressed fast
Things = Sequence[tuple[object, str]]
"""Rows, as the id and the word of each."""


@contextmanager
def most_memory() -> Iterator[pa.MemoryPool]:
    """A pool that counts what Arrow allocates in the block."""
    before = pa.default_memory_pool()
    pool = pa.proxy_memory_pool(before)
    pa.set_memory_pool(pool)
    try:
        yield pool
    finally:
        pa.set_memory_pool(before)


def wide(numbers: Sequence[int], load: int) -> Things:
    """Rows of a megabyte."""
    return [(number, TEXT[number + load : number + load + MB]) for number in numbers]


def long_keys(numbers: Sequence[int], load: int) -> Things:
    """Rows with a key of a megabyte, of which only the end differs."""
    return [(f"{TEXT[:MB]}{number}", f"{load}") for number in numbers]


def few_wide(numbers: Sequence[int], load: int) -> Things:
    """Narrow rows that become wide ones: what is staged for one batch of the table is larger than that batch."""
    return wide(numbers, load) if load else [(number, "x") for number in range(1000)]


def one_key(numbers: Sequence[int], load: int) -> Things:
    """One key very often."""
    return [(7, text) for _, text in wide(numbers, load)]


def upsert(there: Bench, rows: Things, run: str, kind: str) -> tuple[Counts, int]:
    """Load the rows by key: the counts, and the bytes that the commit had allocated at once."""
    dataset = there.dataset(writeMode="upsert", schema=schema(kind))
    store = there.store()
    with store.claim(dataset, Attempt(run, "worker")) as claim:
        store.ensure(dataset)
        [number] = store.ledger.new_input_ids(claim, 1)
        writer = store.writer(claim, dataset, "00000")
        for start in range(0, len(rows), 4):
            some = [
                (*row, number, claim.load_id, NOW, start + place) for place, row in enumerate(rows[start : start + 4])
            ]
            writer.write(
                pa.Table.from_pylist([dict(zip(writer.schema.names, row, strict=True)) for row in some], writer.schema)
            )
        staged = writer.close()
        with most_memory() as pool:
            report = store.publish(claim, publication(dataset, staged, [entry(number, run, len(rows))], mode="upsert"))
        return report.counts, pool.max_memory()


def schema(kind: str) -> Json:
    return {"fields": [field("id", kind, required=True), field("word", "string")], "primaryKey": ["id"]}


@pytest.mark.parametrize(
    ("rows", "kind", "replaced"),
    [(wide, "long", 60), (long_keys, "string", 60), (few_wide, "long", 60), (one_key, "long", 1)],
    ids=lambda each: getattr(each, "__name__", None),
)
def test_memory_is_bounded(
    rows: Callable[[Sequence[int], int], Things],
    kind: str,
    replaced: int,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv(places.MEMORY_LIMIT, str(512 * MB))
    with bench(STORES["lake"], tmp_path) as there:
        _, filling = upsert(there, rows(range(0, 120), 0), "r1", kind)
        counts, changing = upsert(there, rows(range(0, 120, 2), 2), "r2", kind)
        assert counts.replaced == replaced
        assert max(filling, changing) < MOST


def test_a_file_of_another_program_that_unfolds_to_much(tmp_path: Path) -> None:
    """Of a text that stands in all rows, a Parquet file has one copy."""
    with bench(STORES["lake"], tmp_path) as there:
        upsert(there, [(0, "x")], "r1", "long")
        store = there.store()
        assert isinstance(store, LakeStore)
        table = store.lake.table("things")
        assert table is not None
        count = 4000
        words = pa.DictionaryArray.from_arrays(pa.repeat(pa.scalar(0, pa.int32()), count), pa.array([TEXT[: 64 << 10]]))
        whole = pa.schema([pa.field("id", pa.int64(), nullable=False), pa.field("word", pa.string())])
        table.append(pa.table({"id": pa.arange(1, count + 1), "word": words.cast(pa.string())}, schema=whole))
        counts, most = upsert(there, [(5, "y"), (count, "z")], "r2", "long")
        assert counts.replaced == 2
        assert most < MOST
