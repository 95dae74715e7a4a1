"""Workers as processes of their own, without a second of imports for each: one process has imported all, and forks.

python -m connectors.contract.forks reads requests from its input, one JSON object a line, and ends with it. For each it
forks a process that watches over a worker, which it forks in turn, and writes the worker's exit code when it has ended.
"""

import atexit
import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import cache
from importlib import import_module
from itertools import count
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from connectors.contract import worker
from penstock.worker import run

_TESTS = Path(__file__).parents[2]
_PRELOADED = (
    *(f"penstock.worker.jobs.{name}" for name in ("ingest", "deliver", "migrate", "inspection")),
    *(f"penstock.connectors.files.stores.{name}" for name in ("web", "bucket", "gcs", "azure", "sftp")),
)
_POLL = 0.01


@dataclass
class Worker:
    """A worker that was started."""

    output_file: Path
    code_file: Path

    def poll(self) -> int | None:
        """Its exit code, -9 if it was killed; None while it runs."""
        return int(self.code_file.read_text(encoding="ascii")) if self.code_file.exists() else None

    def wait(self, seconds: float = 240) -> tuple[str, int]:
        """What it has printed, and its exit code, when it has ended. Raises TimeoutError."""
        until = time.monotonic() + seconds
        while (code := self.poll()) is None:
            if time.monotonic() > until:
                raise TimeoutError(self.output_file.read_text(encoding="utf-8", errors="replace"))
            time.sleep(_POLL)
        return self.output_file.read_text(encoding="utf-8", errors="replace"), code


class _Forks:
    """The process that forks, which ends with ours."""

    def __init__(self) -> None:
        self._folder = TemporaryDirectory(prefix="penstock-forks-", ignore_cleanup_errors=True)
        self._numbers = count()
        self._process = subprocess.Popen(
            [sys.executable, "-m", "connectors.contract.forks"],
            env={**os.environ, "PYTHONPATH": str(_TESTS)},
            stdin=subprocess.PIPE,
            text=True,
        )

    def start(self, environment: Mapping[str, str]) -> Worker:
        """Start a worker with this environment."""
        number = next(self._numbers)
        started = Worker(Path(self._folder.name) / f"{number}.log", Path(self._folder.name) / f"{number}.code")
        request = {"environment": {**environment}, "output": str(started.output_file), "code": str(started.code_file)}
        assert self._process.stdin is not None
        self._process.stdin.write(json.dumps(request) + "\n")
        self._process.stdin.flush()
        return started

    def close(self) -> None:
        """End the process."""
        assert self._process.stdin is not None
        self._process.stdin.close()
        self._process.wait()


@cache
def _forks() -> _Forks:
    forks = _Forks()
    atexit.register(forks.close)
    return forks


def start(environment: Mapping[str, str]) -> Worker:
    """A worker with this environment, in a process of its own."""
    return _forks().start(environment)


def _main() -> None:
    implementations = (*run.ALL.sources.values(), *run.ALL.stores.values(), *run.ALL.targets.values())
    for name in (*_PRELOADED, *(each.partition(":")[0] for each in implementations)):
        import_module(name)
    signal.signal(signal.SIGCHLD, signal.SIG_IGN)  # who watches over a worker is waited for by nobody
    for line in _lines():
        if os.fork() == 0:
            _watch(json.loads(line))


def _lines() -> Iterator[bytes]:
    """The lines of the input, read without a buffer that a child would have, too."""
    line = b""
    while letter := os.read(0, 65_536):
        *lines, line = (line + letter).split(b"\n")
        yield from lines


def _watch(request: dict[str, Any]) -> None:
    signal.signal(signal.SIGCHLD, signal.SIG_DFL)
    worker_id = os.fork()
    if worker_id == 0:
        _work(request)
    code = os.waitstatus_to_exitcode(os.waitpid(worker_id, 0)[1])
    new = Path(f"{request['code']}.new")
    new.write_text(str(code), encoding="ascii")
    new.rename(request["code"])
    os._exit(0)


def _work(request: dict[str, Any]) -> None:
    output = os.open(request["output"], os.O_WRONLY | os.O_CREAT, 0o600)
    for number, descriptor in enumerate((os.open(os.devnull, os.O_RDONLY), output, output)):
        os.dup2(descriptor, number)
    os.environ.clear()
    os.environ.update(request["environment"])
    code = 1
    try:
        code = worker.main()
    finally:
        sys.stdout.flush()
        os._exit(code)


if __name__ == "__main__":
    _main()
