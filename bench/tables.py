"""`python -m bench.tables [ROWS]`: dirty CSV into a table of PostgreSQL, against COPY of the same rows, in one run.

The least is COPY in binary form, of the rows that were loaded, into a table of the same columns. Rounds alternate;
medians of wall time, and of CPU seconds of the client and of the server.
"""

import os
import shutil
import statistics
import sys
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).parents[1] / "tests"))
from bench import ingest, pods

from support import postgres
from support.postgres import Server

FOLDER = Path(os.environ.get("PENSTOCK_BENCH_FOLDER", "/tmp/penstock-bench")) / "tables"
ROUNDS = int(os.environ.get("PENSTOCK_BENCH_ROUNDS", "3"))
_BLOCK = 1 << 20
_TICKS = os.sysconf("SC_CLK_TCK")


@dataclass(frozen=True)
class Cost:
    """Seconds: by the clock, and of processors, of the client and of the server."""

    wall: float
    client: float
    server: float

    @property
    def cpu(self) -> float:
        """Of both."""
        return self.client + self.server


def server_seconds(server: Server) -> float:
    """CPU seconds of the server's processes so far, also of those that have ended."""
    root = server.processes[-1].pid
    children = Path(f"/proc/{root}/task/{root}/children").read_text(encoding="ascii").split()
    total = _seconds(str(root), reaped=True)
    for child in children:
        try:
            total += _seconds(child, reaped=False)
        except FileNotFoundError:
            continue
    return total


def _seconds(pid: str, *, reaped: bool) -> float:
    fields = Path(f"/proc/{pid}/stat").read_text(encoding="ascii").rpartition(")")[2].split()
    user, system, child_user, child_system = (int(field) for field in fields[11:15])
    return (user + system + (child_user + child_system if reaped else 0)) / _TICKS


def copy_binary(server: Server, file: Path, like: str = "orders") -> Cost:
    """COPY the file into an empty table that is like another one."""
    server.execute("DROP TABLE IF EXISTS raw", f"CREATE TABLE raw (LIKE {like})", "CHECKPOINT")
    before, begun, own = server_seconds(server), time.perf_counter(), time.process_time()
    with (
        server.connect() as connection,
        connection.cursor() as cursor,
        cursor.copy("COPY raw FROM STDIN (FORMAT binary)") as copy,
        file.open("rb") as content,
    ):
        while block := content.read(_BLOCK):
            copy.write(block)
    return Cost(time.perf_counter() - begun, time.process_time() - own, server_seconds(server) - before)


def load(server: Server) -> tuple[Cost, float]:
    """A worker that loads the CSV, as a whole process; and its peak megabytes."""
    pods.prepare(FOLDER, _order(server))
    server.execute("DROP TABLE IF EXISTS orders, orders_quarantine", "DROP SCHEMA public CASCADE; CREATE SCHEMA public",
                   "CHECKPOINT")  # fmt: skip
    before = server_seconds(server)
    cost = pods.work(FOLDER)
    return Cost(cost.wall, cost.cpu, server_seconds(server) - before), cost.peak


def _order(server: Server) -> dict[str, Any]:
    place = {"host": server.host, "port": server.port, "database": "postgres", "sslMode": "disable"}
    files = {"url": "file:///volumes/data/", "volume": {"claimName": "data"}, "format": {"csv": {}}}
    auth = {"basic": {"secretRef": {"name": "login"}}}
    return {
        "version": "penstock.dev/order-v1",
        "kind": "ingest",
        "subject": {"kind": "Pipeline", "namespace": "bench", "name": "orders"},
        "identity": "bench/orders",
        "deadlineSeconds": 600,
        "source": {"name": "orders", "connector": {"files": files}},
        "datasets": [ingest.dataset({"name": "store", "connector": {"postgres": place}, "auth": auth})],
    }


def main(rows: int) -> None:
    """Measure in alternating rounds and print the medians and their ratios."""
    shutil.rmtree(FOLDER, ignore_errors=True)
    ingest.write(FOLDER / "volumes/data", rows, 1, dirty=True)
    with postgres.serve() as server:
        load(server)  # warm
        binary = FOLDER / "orders.bin"
        with (
            server.connect() as connection,
            binary.open("wb") as file,
            connection.cursor() as cursor,
            cursor.copy("COPY orders TO STDOUT (FORMAT binary)") as copy,
        ):
            for block in copy:
                file.write(block)
        least: list[Cost] = []
        loads: list[Cost] = []
        peaks: list[float] = []
        for _ in range(ROUNDS):
            least.append(copy_binary(server, binary))
            cost, peak = load(server)
            loads.append(cost)
            peaks.append(peak)
            server.execute("DROP TABLE IF EXISTS raw")
    print(f"dirty CSV to PostgreSQL, {rows:,} rows, against COPY binary of what was loaded:")
    for name in ("wall", "cpu", "client", "server"):
        raw, penstock = (statistics.median(getattr(cost, name) for cost in costs) for costs in (least, loads))
        print(f"  {name:6} COPY binary {raw:6.2f} s, Penstock {penstock:6.2f} s: {penstock / raw:.2f}x")
    print(f"  peak memory of the worker {max(peaks):.0f} MB")


if __name__ == "__main__":
    main(int(sys.argv[1]) if len(sys.argv) > 1 else 5_000_000)
