"""A folder that stands for a Pod whose worker logs in to a PostgreSQL of the tests, and the cost of that worker."""

import json
import os
import shutil
import subprocess
import sys
import time
from pathlib import Path
from typing import Any, NamedTuple

from support import postgres

LIMIT = 512 << 20
"""Bytes of memory that the worker may have."""


class Cost(NamedTuple):
    """Of a whole process: seconds by the clock, seconds of processors, and peak resident megabytes."""

    wall: float
    cpu: float
    peak: float


def prepare(folder: Path, order: dict[str, Any], *, empty: tuple[str, ...] = ()) -> None:
    """A new Pod with this order and the Secret `login`; the folders `empty` are emptied, too."""
    for inside in ("etc/penstock/order", "etc/penstock/secrets/login", "dev", *empty):
        shutil.rmtree(folder / inside, ignore_errors=True)
        (folder / inside).mkdir(parents=True)
    (folder / "etc/penstock/secrets/login/username").write_text(postgres.SUPERUSER)
    (folder / "etc/penstock/secrets/login/password").write_text(postgres.PASSWORD)
    (folder / "etc/penstock/order/order.json").write_text(json.dumps(order))


def work(folder: Path, run: str = "bench") -> Cost:
    """Run the worker of the Pod. Raises RuntimeError, with its report, where it fails."""
    environment = {"PENSTOCK_POD_ROOT": str(folder), "PENSTOCK_RUN_ID": run, "PENSTOCK_MEMORY_LIMIT": str(LIMIT)}
    begun = time.perf_counter()
    command = [sys.executable, "-m", "penstock.worker"]
    process = subprocess.Popen(command, env={**os.environ, **environment}, stdout=subprocess.DEVNULL)
    _, status, usage = os.wait4(process.pid, 0)
    process.returncode = os.waitstatus_to_exitcode(status)
    if process.returncode:
        raise RuntimeError((folder / "dev/termination-log").read_text(encoding="utf-8"))
    return Cost(time.perf_counter() - begun, usage.ru_utime + usage.ru_stime, usage.ru_maxrss / 1024)
