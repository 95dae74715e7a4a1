"""An operator whose work loop can be blocked from outside: SIGUSR1 blocks it for as long as it is told.

python -m support.blocked KUBECONFIG IDENTITY PORT SECONDS

Its Lease is the default one with all times divided by ten, and its workers' image is named after it.
"""

import logging
import signal
import sys
import time
from pathlib import Path

from penstock.control import handlers, lease
from penstock.control.settings import Election, Settings


def _main(kubeconfig: str, identity: str, port: str, seconds: str) -> None:
    # Python runs a signal's handler in the main thread, which is that of the work loop, and in no other.
    signal.signal(signal.SIGUSR1, lambda *_: time.sleep(float(seconds)))
    logging.basicConfig(level=logging.INFO, stream=sys.stderr)
    election = Election(
        "default", identity=identity, lease_duration=3, renew_deadline=2, retry_period=0.4, heartbeat_limit=1
    )
    settings = Settings(election=election, worker_image=f"{identity}:test")
    try:
        handlers.main(settings, handlers.Connection(Path(kubeconfig), probes=f"127.0.0.1:{port}"))
    except* lease.Lost as lost:
        logging.error("%s", lost.exceptions[0])
        sys.exit(1)


if __name__ == "__main__":
    _main(*sys.argv[1:])
