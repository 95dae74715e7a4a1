"""`python -m bench.deliveries [ROWS]`: lake to a table of PostgreSQL, against COPY of the same rows, in one run.

The least is COPY in binary form, of the rows that were delivered, from a file into a table of the same columns. Rounds
alternate; medians of wall time, and of CPU seconds of the client and of the server. A first delivery creates the table;
one after it also deletes the rows of the one before.
"""

import os
import shutil
import statistics
import subprocess
import sys
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).parents[1] / "tests"))
from bench import ingest, pods, tables
from bench.tables import Cost

from support import postgres
from support.postgres import Server

FOLDER = Path(os.environ.get("PENSTOCK_BENCH_FOLDER", "/tmp/penstock-bench")) / "deliveries"
ROUNDS = int(os.environ.get("PENSTOCK_BENCH_ROUNDS", "3"))
_VALUES = """
SELECT i AS id, hash(i) % 100000 AS customer, TIMESTAMP '2026-01-01' + to_seconds(i) AS ordered,
  CASE WHEN i % 7 > 0 THEN TIMESTAMP '2026-01-02' + to_seconds(i) END AS shipped,
  CAST(hash(i + 1) % 1000000 / 100 AS DECIMAL(12,2)) AS price, CAST(i % 100 / 10 AS DECIMAL(5,2)) AS discount,
  i % 3 = 0 AS paid, ['NO', 'SE', 'DE', 'FR'][i % 4 + 1] AS country, 'item ' || hash(i + 2) % 5000 AS item,
  CASE WHEN i % 5 = 0 THEN 'delivered to the neighbour on floor ' || i % 9 END AS note
FROM range(?) t(i)"""


def _order(kind: str, server: Server | None) -> dict[str, Any]:
    lake = {"lake": {"warehouse": "file:///volumes/lake/wh", "volume": {"claimName": "lake"}}}
    files = {"url": "file:///volumes/data/", "volume": {"claimName": "data"}, "format": {"parquet": {}}}
    order: dict[str, Any] = {
        "version": "penstock.dev/order-v1",
        "kind": kind,
        "subject": {"kind": "Pipeline", "namespace": "bench", "name": "orders"},
        "identity": "subscription:bench/orders",
        "deadlineSeconds": 1800,
        "datasets": [ingest.dataset({"name": "store", "connector": lake})],
    }
    if server is None:
        return {**order, "source": {"name": "orders", "connector": {"files": files}}}
    place = {"host": server.host, "port": server.port, "database": "postgres", "sslMode": "disable"}
    auth = {"basic": {"secretRef": {"name": "login"}}}
    destination = {"name": "partner", "connector": {"postgres": place}, "auth": auth}
    return {**order, "delivery": {"destination": destination, "table": "delivered"}}


def _deliver(server: Server, number: int, *, first: bool) -> tuple[Cost, float]:
    """A worker that delivers, as a whole process; and its peak megabytes."""
    pods.prepare(FOLDER, _order("deliver", server))
    if first:
        server.execute("DROP TABLE IF EXISTS delivered")
    server.execute("CHECKPOINT")
    before = tables.server_seconds(server)
    cost = pods.work(FOLDER, f"delivery-{number}")
    return Cost(cost.wall, cost.cpu, tables.server_seconds(server) - before), cost.peak


def _print(title: str, least: list[Cost], deliveries: list[Cost]) -> None:
    print(title)
    for name in ("wall", "cpu", "client", "server"):
        raw, penstock = (statistics.median(getattr(cost, name) for cost in costs) for costs in (least, deliveries))
        print(f"  {name:6} COPY binary {raw:6.2f} s, Penstock {penstock:6.2f} s: {penstock / raw:.2f}x")


def main(rows: int) -> None:
    """Measure in alternating rounds and print the medians and their ratios."""
    shutil.rmtree(FOLDER, ignore_errors=True)
    pods.prepare(FOLDER, _order("ingest", None), empty=("volumes/data", "volumes/lake"))
    statement = f"COPY ({_VALUES.replace('?', str(rows))}) TO '{FOLDER}/volumes/data/orders.parquet' (FORMAT parquet)"
    # In a process of its own: the peak memory of a worker begins with that of the process that starts it.
    subprocess.run(
        [
            sys.executable,
            "-c",
            "import duckdb, sys; duckdb.execute('SET enable_progress_bar = false'); duckdb.execute(sys.argv[1])",
            statement,
        ],
        check=True,
    )
    pods.work(FOLDER)
    with postgres.serve() as server:
        _deliver(server, 0, first=True)  # warm
        binary = FOLDER / "orders.bin"
        with (
            server.connect() as connection,
            binary.open("wb") as file,
            connection.cursor() as cursor,
            cursor.copy("COPY delivered TO STDOUT (FORMAT binary)") as copy,
        ):
            for block in copy:
                file.write(block)
        least: list[Cost] = []
        costs: dict[bool, list[Cost]] = {True: [], False: []}
        peaks: list[float] = []
        for number in range(ROUNDS):
            least.append(tables.copy_binary(server, binary, "delivered"))
            server.execute("DROP TABLE raw")
            for first in (True, False):
                cost, peak = _deliver(server, 2 * number + (1 if first else 2), first=first)
                costs[first].append(cost)
                peaks.append(peak)
    _print(f"lake to PostgreSQL, {rows:,} rows, first delivery:", least, costs[True])
    _print("the delivery after it:", least, costs[False])
    print(f"  peak memory of the worker {max(peaks):.0f} MB")


if __name__ == "__main__":
    main(int(sys.argv[1]) if len(sys.argv) > 1 else 5_000_000)
