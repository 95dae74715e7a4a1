"""A worker with a source that is for tests alone, which ends itself at a named step: `worker.py SOURCE [STEP]`."""

import os
import signal
import sys

from penstock.worker import run, steps
from penstock.worker.connectors import Connectors


def main() -> int:
    """Carry out the order of the Pod."""
    source, *step = sys.argv[1:]

    def kill(reached: str) -> None:
        if [reached] == step:
            os.kill(os.getpid(), signal.SIGKILL)

    steps.observe(kill)
    return run.main(connectors=Connectors(sources={"files": f"connectors.sources:{source}"}))


if __name__ == "__main__":
    sys.exit(main())
