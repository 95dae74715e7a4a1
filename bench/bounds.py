"""What one load may cost: hostile, large and wide inputs. `python -m bench.bounds [CASE …]`; the cases: boundcases.py.

Each case is a whole worker process, with the memory limit of a Pod, at two sizes, of which the second is twice the
first: time should double, and the memory stay below the limit. Ends with 1 where a case takes more memory than the
limit, or ends otherwise than it should.
"""

import argparse
import json
import multiprocessing
import os
import shutil
import subprocess
import sys
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from bench.boundcases import CASES, Case

from penstock.runs import places, summary

FOLDER = Path(os.environ.get("PENSTOCK_BENCH_FOLDER", "/tmp/penstock-bench")) / "bounds"
MB = 1 << 20
LIMIT = 512
"""Megabytes that no case may exceed."""
_POLL = 0.02
"""Seconds between two looks at the memory of a process."""


@dataclass(frozen=True)
class Cost:
    """Processor seconds, peak resident megabytes, megabytes of input, and how the run ended: its reason or state."""

    seconds: float
    peak: float
    read: float
    ended: str


def main(arguments: Sequence[str]) -> int:
    """Measure the cases of these names, or all, and print; the exit code."""
    parser = argparse.ArgumentParser(prog="python -m bench.bounds")
    parser.add_argument("cases", nargs="*", metavar="CASE", help=", ".join(case.name for case in CASES))
    names = parser.parse_args(arguments).cases
    failed = 0
    print(
        f"{'case':>40}  {'MB read':>8}  {'cpu s':>6}  {'twice that':>10}  {'ratio':>5}  {'peak MB':>7}  ended",
        flush=True,
    )
    for case in CASES:
        if names and case.name not in names:
            continue
        costs = [measured(case, size) for size in case.sizes]
        peak = max(cost.peak for cost in costs)
        wrong = peak > LIMIT or any(cost.ended != case.ended for cost in costs)
        failed += wrong
        first, second = (cost.seconds for cost in costs)
        numbers = f"{costs[1].read:8.1f}  {first:6.1f}  {second:10.1f}  {second / first:5.1f}  {peak:7.0f}"
        print(f"{case.name:>40}  {numbers}  {costs[1].ended}{'  <<<' if wrong else ''}", flush=True)
    return 1 if failed else 0


def measured(case: Case, size: int) -> Cost:
    """What the case costs at this size."""
    shutil.rmtree(FOLDER, ignore_errors=True)
    for folder in ("etc/penstock/order", "volumes/lake", "volumes/data", "dev"):
        (FOLDER / folder).mkdir(parents=True)
    data = FOLDER / "volumes/data"
    maker = multiprocessing.get_context("spawn").Process(target=case.make, args=(data, size))
    maker.start()
    maker.join()
    assert maker.exitcode == 0, f"{case.name} could not be made"
    (FOLDER / "etc/penstock/order/order.json").write_text(json.dumps(_order(case)))
    seconds, peak = _run()
    report = summary.decode((FOLDER / "dev/termination-log").read_text(encoding="utf-8"), "bench", ["bounds"])
    ended = "no report" if report is None else report.reason or report.state
    return Cost(seconds, peak, sum(file.stat().st_size for file in data.rglob("*") if file.is_file()) / MB, ended)


def _run() -> tuple[float, float]:
    """Run the worker; its processor seconds and peak megabytes.

    The kernel's own peak for a child begins with the memory of its parent, so the process is watched from outside.
    """
    environment = {
        **os.environ,
        places.POD_ROOT: str(FOLDER),
        places.RUN_ID: "bench",
        places.MEMORY_LIMIT: str(LIMIT * MB),
    }
    process = subprocess.Popen([sys.executable, "-m", "penstock.worker"], env=environment, stdout=subprocess.DEVNULL)
    peak = 0.0
    while True:
        ended, _, usage = os.wait4(process.pid, os.WNOHANG)
        if ended:
            process.returncode = 0
            return usage.ru_utime + usage.ru_stime, peak
        for line in Path(f"/proc/{process.pid}/status").read_text().splitlines():
            if line.startswith("VmHWM:"):
                peak = int(line.split()[1]) / 1024
        time.sleep(_POLL)


def _order(case: Case) -> dict[str, Any]:
    lake = {"warehouse": "file:///volumes/lake/wh", "volume": {"claimName": "lake"}}
    source = {"url": "file:///volumes/data/", "volume": {"claimName": "data"}, "format": case.form}
    if case.glob is not None:
        source["glob"] = case.glob
    return {
        "version": "penstock.dev/order-v1",
        "kind": case.job,
        "subject": {"kind": "Pipeline", "namespace": "bench", "name": "bounds"},
        "identity": "bench/bounds",
        "deadlineSeconds": 600,
        "source": {"name": "bounds", "connector": {"files": source}},
        "datasets": [
            {
                "owner": {"kind": "Dataset", "namespace": "bench", "name": "bounds"},
                "destination": {"name": "lake", "connector": {"lake": lake}},
                "table": "bounds",
                "schema": {"fields": [*case.fields]},
                "writeMode": "append",
                "quality": {"maxBadRatio": case.bad},
                "stream": "bounds",
                "sync": "incremental",
            }
        ],
    }


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
