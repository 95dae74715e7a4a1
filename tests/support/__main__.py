"""Start a cluster of the end-to-end tests, with the operator in it, and keep it until Ctrl-C; or only build its parts.

PYTHONPATH=tests python -m support {embedded|real|node} FOLDER
PYTHONPATH=tests python -m support build [embedded|real|node]
"""

import contextlib
import signal
import sys
from collections.abc import Callable
from functools import partial
from pathlib import Path

from support import azure, clusters, controlplane, gcs, gobuild, helm, images, node, s3

KINDS = {"embedded": clusters.embedded, "real": clusters.real, "node": node.cluster}


def _build(cluster: str | None) -> None:
    """What the tests build once, into the cache: all of it, or what the end-to-end tests on a cluster need."""
    parts = partial(controlplane.binaries, "kube-scheduler", "kubelet")
    of_cluster: dict[str | None, list[Callable[[], object]]] = {
        "embedded": [s3.program],
        "real": [parts, s3.program],
        "node": [parts, s3.program, images.archives],
        None: [parts, s3.program, gcs.program, azure.program, helm.program, images.archives],
    }
    missing = []
    for build in of_cluster.get(cluster, []):
        try:
            build()
        except gobuild.Missing as reason:  # the tests that need it say so, too
            missing.append(str(reason))
    if missing:
        sys.exit("\n".join(missing))


def _keep(kind: str, folder: Path) -> None:
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    with contextlib.suppress(KeyboardInterrupt), KINDS[kind](folder.absolute()) as cluster:
        print(f"export KUBECONFIG={cluster.kubeconfig}", flush=True)
        signal.pause()


if __name__ == "__main__":
    match sys.argv[1:]:
        case ["build", *cluster]:
            _build(cluster[0] if cluster else None)
        case [kind, folder] if kind in KINDS:
            _keep(kind, Path(folder))
        case _:
            sys.exit(__doc__)
