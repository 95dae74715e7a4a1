"""What one load takes at the most: hostile and wide files, each a whole process under a limit of 512 MiB.

A case makes a Pod's files in a process of its own, so that what that takes is not counted. `bench/values.py` has the
cases of Parquet and of wide tables.
"""

import json
import multiprocessing
import os
import shutil
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from penstock.runs import summary

FOLDER = Path(os.environ.get("PENSTOCK_BENCH_FOLDER", "/tmp/penstock-bench")) / "loads"
LIMIT = 512 << 20


@dataclass(frozen=True)
class Case:
    """A file to be loaded: `make` writes into the folder it is given."""

    name: str
    fields: Sequence[dict[str, Any]]
    form: dict[str, Any]
    make: Callable[[Path], None]


def measure(case: Case) -> tuple[str, ...]:
    """Name, wall seconds, processor seconds, peak resident megabytes, and how it ended."""
    shutil.rmtree(FOLDER, ignore_errors=True)
    for folder in ("etc/penstock/order", "volumes/lake", "volumes/data", "dev"):
        (FOLDER / folder).mkdir(parents=True)
    maker = multiprocessing.get_context("spawn").Process(target=case.make, args=(FOLDER / "volumes/data",))
    maker.start()
    maker.join()
    (FOLDER / "etc/penstock/order/order.json").write_text(json.dumps(_order(case)))
    environment = {"PENSTOCK_POD_ROOT": str(FOLDER), "PENSTOCK_RUN_ID": "bench", "PENSTOCK_MEMORY_LIMIT": str(LIMIT)}
    begun = time.perf_counter()
    command = [sys.executable, "-m", "penstock.worker"]
    process = subprocess.Popen(command, env={**os.environ, **environment}, stdout=subprocess.DEVNULL)
    _, _, usage = os.wait4(process.pid, 0)
    wall = time.perf_counter() - begun
    report = summary.decode((FOLDER / "dev/termination-log").read_text(encoding="utf-8"), "bench", ["bounds"])
    ended = "no report" if report is None else report.reason or report.state
    cpu, peak = usage.ru_utime + usage.ru_stime, usage.ru_maxrss / 1024
    return case.name, f"{wall:.1f}", f"{cpu:.1f}", f"{peak:.0f}", ended


def main(cases: Sequence[Case], names: Sequence[str]) -> None:
    """Measure the cases of these names, or all, and print."""
    print(f"{'case':>40}  wall s   cpu s  peak MB  ended")
    for case in cases:
        if not names or case.name in names:
            name, wall, cpu, peak, ended = measure(case)
            print(f"{name:>40}  {wall:>6}  {cpu:>6}  {peak:>7}  {ended}", flush=True)


def _order(case: Case) -> dict[str, Any]:
    lake = {"warehouse": "file:///volumes/lake/wh", "volume": {"claimName": "lake"}}
    source = {"url": "file:///volumes/data/", "volume": {"claimName": "data"}, "format": case.form}
    return {
        "version": "penstock.dev/order-v1",
        "kind": "ingest",
        "subject": {"kind": "Pipeline", "namespace": "bench", "name": "bounds"},
        "identity": "bench/bounds",
        "deadlineSeconds": 600,
        "source": {"name": "bounds", "connector": {"files": source}},
        "datasets": [
            {
                "owner": {"kind": "Dataset", "namespace": "bench", "name": "bounds"},
                "destination": {"name": "lake", "connector": {"lake": lake}},
                "table": "bounds",
                "schema": {"fields": case.fields},
                "writeMode": "append",
                "quality": {"maxBadRatio": "100%"},
                "stream": "bounds",
                "sync": "incremental",
            }
        ],
    }
