"""A worker that ends itself, or waits, at a named step of its run; the environment says which.

PENSTOCK_TEST_SOURCES   JSON: implementations that take the place of those in the registry, by name
PENSTOCK_TEST_STEP      the step; empty: none
PENSTOCK_TEST_ACTION    kill · kill after SECONDS · wait FOLDER (makes FOLDER/waiting, waits for FOLDER/go)
"""

import json
import os
import signal
import sys
import threading
import time
from pathlib import Path

from penstock.worker import run, steps
from penstock.worker.connectors import Connectors
from support import memory

SOURCES, STEP, ACTION = "PENSTOCK_TEST_SOURCES", "PENSTOCK_TEST_STEP", "PENSTOCK_TEST_ACTION"


def connectors(replaced: dict[str, str]) -> Connectors:
    """The connectors of the registry, some Sources replaced."""
    every = Connectors()
    return Connectors({**every.sources, **replaced}, every.stores, every.targets)


def main() -> int:
    """Carry out the order of the Pod."""
    step, action = os.environ.get(STEP, ""), os.environ.get(ACTION, "kill")
    steps.observe(lambda reached: _act(action) if reached == step else None)
    code = run.main(connectors=connectors(json.loads(os.environ.get(SOURCES, "{}"))))
    memory.say(memory.own_peak())
    return code


def _act(action: str) -> None:
    word, _, argument = action.partition(" ")
    if word == "wait":
        folder = Path(argument)
        (folder / "waiting").touch()
        while not (folder / "go").exists():
            time.sleep(0.02)
    elif argument:
        seconds = float(argument.removeprefix("after "))
        timer = threading.Timer(seconds, os.kill, (os.getpid(), signal.SIGKILL))
        timer.daemon = True
        timer.start()
    else:
        os.kill(os.getpid(), signal.SIGKILL)


if __name__ == "__main__":
    code = main()
    sys.stdout.flush()
    os._exit(code)
