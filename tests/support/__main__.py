"""Start a cluster of the end-to-end tests, with the operator in it, and keep it until Ctrl-C.

PYTHONPATH=tests python -m support {embedded|real|node} FOLDER
"""

import contextlib
import signal
import sys
from pathlib import Path

from support import clusters, node

KINDS = {"embedded": clusters.embedded, "real": clusters.real, "node": node.cluster}

if __name__ == "__main__":
    if len(sys.argv) != 3 or sys.argv[1] not in KINDS:
        sys.exit(__doc__)
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    with contextlib.suppress(KeyboardInterrupt), KINDS[sys.argv[1]](Path(sys.argv[2]).absolute()) as cluster:
        print(f"export KUBECONFIG={cluster.kubeconfig}", flush=True)
        signal.pause()
