"""`python -m bench.deliveryrules [ROWS]`: a delivery under rules from a lake, against DuckDB's query with COPY.

The rules are a projection, a filter, a frequency and a deduplication. Measured are CPU seconds and the peak memory of
a process of its own: the whole worker, with reading the order, the ledger and the checksums; and DuckDB alone over the
same Parquet files, with the rules as window functions. Both have two threads and the same limit of memory.
"""

import contextlib
import io
import json
import os
import sys
import tempfile
import time
from collections.abc import Callable
from concurrent.futures import ProcessPoolExecutor
from multiprocessing import get_context
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).parents[1] / "tests"))
import duckdb

from penstock.runs import places
from worker.pods import APod, a_pod, field

_LIMIT = 480 << 20
"""Bytes of memory that each is told it has."""
_KINDS = {"id": "long", "customer": "long", "country": "string", "amount": "double", "day": "date", "note": "string"}
_ROWS = (
    "SELECT i::BIGINT AS id, (hash(i) % 1500000)::BIGINT AS customer, 'C' || hash(i + 1) % 40 AS country, "
    "(hash(i + 2) % 100000 / 7)::DOUBLE AS amount, DATE '2026-01-01' + (i % 300)::INTEGER AS day, "
    "'note ' || md5(i::VARCHAR) AS note FROM range({rows}) t(i)"
)
_RULES = {
    "fields": [
        {"name": "id"},
        {"name": "customer"},
        {"name": "country", "exported": False, "filter": {"exclude": ["C1", "C2"]}},
        {"name": "amount", "as": "price", "filter": {"range": {"min": "100", "max": "14000"}}},
        {"name": "day"},
        {"name": "note"},
    ],
    "frequency": {"by": ["customer"], "min": 2, "max": 6},
    "deduplication": {"by": ["customer", "day"]},
}
_BARE = (
    "COPY (SELECT id, customer, amount AS price, day, note FROM ("
    "SELECT * FROM read_parquet({files}) WHERE country NOT IN ('C1', 'C2') AND amount BETWEEN 100 AND 14000 "
    "QUALIFY count(*) OVER (PARTITION BY customer) BETWEEN 2 AND 6) "
    "QUALIFY row_number() OVER (PARTITION BY customer, day ORDER BY _penstock_load_id DESC, id) = 1) "
    "TO {target} ({how})"
)
_FORMATS = {"parquet": "FORMAT parquet, COMPRESSION zstd", "csv": "FORMAT csv, HEADER"}


def loaded(root: Path, rows: int) -> APod:
    """A lake with that many rows."""
    pod = a_pod(root, *(field(name, kind) for name, kind in _KINDS.items()))
    pod.connector = {**pod.connector, "format": {"parquet": {}}, "glob": "*.parquet"}
    with duckdb.connect() as connection:
        connection.execute(f"COPY ({_ROWS.format(rows=rows)}) TO '{pod.data}/rows.parquet' (FORMAT parquet)")
    report = pod.work("load")
    assert report.datasets[0].counts.loaded == rows, report
    return pod


def deliver(root: str, environment: dict[str, str]) -> int:
    """Carry the order in this root out; the rows delivered."""
    from penstock.worker import run

    log = io.StringIO()
    with contextlib.redirect_stdout(log):
        assert run.main(environment) == 0, log.getvalue()
    return int(json.loads((Path(root) / "volumes/out/manifest.json").read_text())["rows"])


def bare(files: list[str], target: str, how: str) -> int:
    """DuckDB's query; the rows it wrote."""
    with duckdb.connect(config={"memory_limit": f"{_LIMIT // 1024}KiB", "threads": "2"}) as connection:
        connection.execute("SET enable_progress_bar = false")
        connection.execute(f"SET temp_directory = '{target}.tmp'")
        statement = _BARE.format(files=files, target=f"'{target}'", how=how)
        row = connection.execute(statement).fetchone()
    return int(row[0]) if row else 0


def measured(work: Callable[..., int], *given: Any) -> tuple[int, float, int]:
    """What the work returns, CPU seconds, and the MiB that this process has had at most."""
    begun = time.process_time()
    rows = work(*given)
    status = Path("/proc/self/status").read_text()
    peak = next(int(line.split()[1]) for line in status.splitlines() if line.startswith("VmHWM:"))
    return rows, time.process_time() - begun, peak >> 10


def in_a_process(work: Callable[..., int], *given: Any) -> tuple[int, float, int]:
    """The same in a process that has done nothing before."""
    with ProcessPoolExecutor(1, mp_context=get_context("spawn")) as pool:
        return pool.submit(measured, work, *given).result()


def main(rows: int) -> None:
    """Print a line for each format."""
    with tempfile.TemporaryDirectory(dir=os.environ.get("BENCH_TMP")) as folder:
        pod = loaded(Path(folder), rows)
        files = [str(path) for path in pod.warehouse.rglob("*.parquet") if "quarantine" not in str(path)]
        limit = {places.MEMORY_LIMIT: str(_LIMIT)}
        for form, how in _FORMATS.items():
            place = {"url": "file:///volumes/out/", "volume": {"claimName": "out"}}
            there = {"name": "partner", "connector": {"files": place}}
            pod.kind = "deliver"
            pod.more = {"delivery": {"destination": there, "format": {form: {}}, **_RULES}, "identity": "demo/daily"}
            pod.prepare()
            ours = in_a_process(deliver, str(pod.root), pod.environment(f"run-{form}", **limit))
            least = in_a_process(bare, files, f"{folder}/bare.{form}", how)
            assert ours[0] == least[0], (ours, least)
            print(
                f"{form}: {ours[0]:,} of {rows:,} rows; CPU {ours[1]:.1f} s against {least[1]:.1f} s: "
                f"{ours[1] / least[1]:.2f}; peak {ours[2]} MiB against {least[2]} MiB",
                flush=True,
            )


if __name__ == "__main__":
    main(int(sys.argv[1]) if len(sys.argv) > 1 else 5_000_000)
