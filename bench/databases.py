"""`python -m bench.databases [ROWS]`: PostgreSQL into the lake, against what must be done at least, in one run.

The least is COPY in binary form to nowhere, and writing the same rows as Parquet. Rounds alternate; medians.
"""

import os
import shutil
import statistics
import sys
import time
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

sys.path.insert(0, str(Path(__file__).parents[1] / "tests"))
from bench import pods

from support import postgres
from support.postgres import Server

FOLDER = Path(os.environ.get("PENSTOCK_BENCH_FOLDER", "/tmp/penstock-bench")) / "databases"
ROUNDS = 3
_TABLE = """CREATE TABLE orders AS SELECT i::bigint AS id, (i % 50000)::bigint AS customer,
  timestamp '2020-01-01' + i * interval '1 second' AS placed, timestamp '2020-01-02' + i * interval '7 second' AS sent,
  (i * 7 % 100000 / 100.0)::numeric(12,2) AS amount, (i % 2500 / 100.0)::numeric(12,2) AS tax, i % 3 = 0 AS gift,
  'customer ' || i % 50000 AS name, 'item ' || md5(i::text) AS item, CASE WHEN i % 10 = 0 THEN 'a note, "quoted"' END
  AS note FROM generate_series(1, {rows}) i"""
_FIELDS = {
    "id": "long",
    "customer": "long",
    "placed": "timestamp",
    "sent": "timestamp",
    "amount": "decimal(12,2)",
    "tax": "decimal(12,2)",
    "gift": "boolean",
    "name": "string",
    "item": "string",
    "note": "string",
}


def copy_to_nowhere(server: Server) -> float:
    """Seconds to read the table in binary form, and to forget it."""
    begun = time.perf_counter()
    with (
        server.connect() as connection,
        connection.cursor() as cursor,
        cursor.copy("COPY orders TO STDOUT (FORMAT binary)") as rows,
    ):
        for _ in rows:
            pass
    return time.perf_counter() - begun


def write_parquet(table: pa.Table) -> float:
    """Seconds to write the rows as one Parquet file."""
    begun = time.perf_counter()
    pq.write_table(table, FOLDER / "raw.parquet", compression="zstd", compression_level=1)
    return time.perf_counter() - begun


def load(server: Server) -> tuple[float, float]:
    """Seconds of a worker that loads the table into the lake, as a whole process, and its peak megabytes."""
    pods.prepare(FOLDER, _order(server), empty=("volumes/lake",))
    cost = pods.work(FOLDER)
    return cost.wall, cost.peak


def _order(server: Server) -> dict[str, Any]:
    place = {"host": server.host, "port": server.port, "database": "postgres", "sslMode": "disable"}
    lake = {"warehouse": "file:///volumes/lake/wh", "volume": {"claimName": "lake"}}
    return {
        "version": "penstock.dev/order-v1",
        "kind": "ingest",
        "subject": {"kind": "Pipeline", "namespace": "bench", "name": "orders"},
        "identity": "bench/orders",
        "deadlineSeconds": 600,
        "source": {
            "name": "shop",
            "connector": {"postgres": place},
            "auth": {"basic": {"secretRef": {"name": "login"}}},
        },
        "datasets": [
            {
                "owner": {"kind": "Dataset", "namespace": "bench", "name": "orders"},
                "destination": {"name": "lake", "connector": {"lake": lake}},
                "table": "orders",
                "schema": {"fields": [{"name": name, "type": kind} for name, kind in _FIELDS.items()]},
                "writeMode": "replace",
                "quality": {},
                "stream": "orders",
                "sync": "full",
            }
        ],
    }


def main(rows: int) -> None:
    """Measure in alternating rounds and print the medians and their ratio."""
    shutil.rmtree(FOLDER, ignore_errors=True)
    FOLDER.mkdir(parents=True)
    with postgres.serve() as server:
        server.execute(_TABLE.format(rows=rows), "VACUUM ANALYZE orders")
        load(server)  # warm
        [lake_file] = (FOLDER / "volumes/lake").rglob("*orders/data/*-000.parquet")
        files = sorted(lake_file.parent.glob("*.parquet"))
        table = pa.concat_tables(pq.read_table(file, columns=[*_FIELDS]) for file in files)
        least, ours, peaks = [], [], []
        for _ in range(ROUNDS):
            least.append((copy_to_nowhere(server), write_parquet(table)))
            wall, peak = load(server)
            ours.append(wall)
            peaks.append(peak)
    copied, written = (statistics.median(pair[which] for pair in least) for which in (0, 1))
    wall = statistics.median(ours)
    print(f"PostgreSQL to lake, {rows:,} rows: COPY binary to nowhere {copied:.2f} s + raw Parquet {written:.2f} s; ")
    print(f"Penstock {wall:.2f} s, {max(peaks):.0f} MB: {wall / (copied + written):.2f}x")


if __name__ == "__main__":
    main(int(sys.argv[1]) if len(sys.argv) > 1 else 5_000_000)
