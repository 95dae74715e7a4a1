"""`python -m bench.wideupserts lake|postgres [MIB]`: a fifth of a table of MIB (2048) by key, in wide rows.

Measured is the commit in a Pod of 512 MiB: CPU seconds, and the most memory that its process had. Each case is a row's
bytes, then the bytes of its key, which is a number where that is 0.
"""

import os
import sys
import tempfile
from collections.abc import Iterator
from functools import cache
from pathlib import Path

import pyarrow as pa
from bench.upserts import measure

from connectors.contract.adapters import STORES
from connectors.test_stores import Bench, bench
from penstock.runs import places
from penstock.runs.order import DatasetOrder
from penstock.worker.ports.ledger import Attempt, Claim
from penstock.worker.ports.tablestore import Staged, TableStore
from worker.pods import field

_CASES = ((256, 0), (2 << 10, 0), (64 << 10, 0), (1 << 20, 0), (1 << 20, 1 << 20), (2 << 10, 1 << 10))
_BATCH = 4 << 20


@cache
def text() -> str:
    """A text that does not shrink much, of which rows have parts; made in the process that stages them."""
    return os.urandom(51 << 20).hex()


def rows(numbers: Iterator[int], width: int, key: int, claim: Claim, schema: pa.Schema) -> Iterator[pa.Table]:
    """Rows with these numbers, in pieces of about _BATCH bytes, with their lineage and order."""
    waiting: list[dict[str, object]] = []
    for order, number in enumerate(numbers):
        begin = (number * 7919 + claim.load_id * 31) % (len(text()) // 2)
        identity = f"{number:010}{text()[number : number + max(0, key - 10)]}" if key else number
        values = (identity, text()[begin : begin + max(0, width - key)], claim.load_id, claim.load_id, None, order)
        waiting.append(dict(zip(schema.names, values, strict=True)))
        if len(waiting) * width >= _BATCH:
            yield pa.Table.from_pylist(waiting, schema)
            waiting = []
    if waiting:
        yield pa.Table.from_pylist(waiting, schema)


def staged(
    store: TableStore, claim: Claim, dataset: DatasetOrder, numbers: Iterator[int], case: tuple[int, int]
) -> Staged:
    """The rows, staged."""
    writer = store.writer(claim, dataset, "00000")
    for table in rows(numbers, *case, claim, writer.schema):
        writer.write(table)
    return writer.close()


def commit(there: Bench, dataset: DatasetOrder, numbers: Iterator[int], case: tuple[int, int], run: str) -> None:
    """Stage the rows, and measure their commit."""
    store = there.store()
    with store.claim(dataset, Attempt(run, "bench")) as claim:
        store.ensure(dataset)
        waiting = staged(store, claim, dataset, numbers, case)
        measure(there, dataset, claim, waiting, **{places.MEMORY_LIMIT: str(512 << 20)})


def main(system: str, mebibytes: int) -> None:
    """Each case: a table is filled, then a fifth of its rows, which lie all over it, get other values."""
    for case in _CASES:
        with tempfile.TemporaryDirectory(prefix="penstock-bench-") as name, bench(STORES[system], Path(name)) as there:
            kind = "string" if case[1] else "long"
            schema = {"fields": [field("id", kind), field("body", "string")], "primaryKey": ["id"]}
            dataset = there.dataset(writeMode="upsert", schema=schema)
            count = (mebibytes << 20) // case[0]
            print(f"rows of {case[0]:,} bytes, {case[1]:,} of them in the key", flush=True)
            commit(there, dataset, iter(range(count)), case, "old")
            commit(there, dataset, iter(range(0, count, 5)), case, "newer")


if __name__ == "__main__":
    main(sys.argv[1], int(sys.argv[2]) if sys.argv[2:] else 2048)
