"""How long a worker takes from its start to the first rows that it has read, judged and handed to the writer.

A file of 1,000 rows is loaded into an empty table, which was created before. The load then runs to its end.
"""

import os
import statistics
import subprocess
import sys
import time

from bench import ingest

GOAL = 0.4
"""Seconds; from the start to the first row read."""
_WORKER = """
import os, time
from penstock.worker import run, steps

def tell(step):
    if step == "first bytes staged":
        times = os.times()
        os.write(3, f"{time.monotonic()} {times.user + times.system} ".encode())

steps.observe(tell)
run.main()
"""


def main() -> None:
    """Measure and print."""
    pod, _ = ingest.prepare(1000, 1, "clean")
    environment = {"PENSTOCK_POD_ROOT": str(pod), "PENSTOCK_RUN_ID": "first"}
    ingest.measured([sys.executable, "-m", "penstock.worker"], environment)
    runs = [_measured({**environment, "PENSTOCK_RUN_ID": f"first-rows/{time.time_ns()}"}) for _ in range(ingest.ROUNDS)]
    wall, cpu = (statistics.median(column) for column in zip(*runs, strict=True))
    print(f"start to the first rows: {wall:.2f} s, {cpu:.2f} s of CPU; goal {GOAL} s; median of {ingest.ROUNDS} starts")


def _measured(environment: dict[str, str]) -> tuple[float, float]:
    """Wall seconds and processor seconds until the first rows are staged."""
    reading, writing = os.pipe()
    begun = time.monotonic()
    process = subprocess.Popen(
        ["/bin/sh", "-c", f'exec "$0" "$@" 3>&{writing}', sys.executable, "-c", _WORKER],
        env={**os.environ, **environment},
        stdout=subprocess.DEVNULL,
        pass_fds=(writing,),
    )
    os.close(writing)
    with os.fdopen(reading) as end:
        moment, cpu = end.read().split()[:2]
    assert process.wait() == 0
    return float(moment) - begun, float(cpu)


if __name__ == "__main__":
    main()
