"""Start a cluster of the end-to-end tests, with the operator in it, and keep it until Ctrl-C; or only build its parts.

PYTHONPATH=tests python -m support {embedded|real|node} FOLDER
PYTHONPATH=tests python -m support build
"""

import contextlib
import signal
import sys
from pathlib import Path

from support import clusters, controlplane, gobuild, images, node

KINDS = {"embedded": clusters.embedded, "real": clusters.real, "node": node.cluster}


def _build() -> None:
    """The binaries of the control plane and the images of a node, into the cache."""
    try:
        controlplane.binaries("kube-scheduler", "kubelet")
        images.archives()
    except gobuild.Missing as missing:
        sys.exit(str(missing))


def _keep(kind: str, folder: Path) -> None:
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    with contextlib.suppress(KeyboardInterrupt), KINDS[kind](folder.absolute()) as cluster:
        print(f"export KUBECONFIG={cluster.kubeconfig}", flush=True)
        signal.pause()


if __name__ == "__main__":
    match sys.argv[1:]:
        case ["build"]:
            _build()
        case [kind, folder] if kind in KINDS:
            _keep(kind, Path(folder))
        case _:
            sys.exit(__doc__)
