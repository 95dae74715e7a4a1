"""Where a cluster listens: a port of the loopback that kubectl does not take for another cluster's."""

import os
import socket
from contextlib import ExitStack

HOST = "127.0.0.1"
_TRIES = 100


def listening(number: int) -> socket.socket:
    """A socket bound to this port of the loopback; OSError where it is taken."""
    bound = socket.socket()
    try:
        bound.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        bound.bind((HOST, number))
    except OSError:
        bound.close()
        raise
    return bound


def listening_anew() -> socket.socket:
    """A socket bound to a port that nobody listens on, nor did to kubectl's knowledge.

    kubectl remembers for six hours which kinds an address serves, by address alone, and a category that it does not
    remember (`kubectl get penstock`) it does not look up again: k8s.io/client-go/discovery/cached/disk.
    """
    with ExitStack() as passed_over:  # kept open while we look, or the same port could be given again
        for _ in range(_TRIES):
            bound = listening(0)
            if not _remembered(bound.getsockname()[1]):
                return bound
            passed_over.enter_context(bound)
        return listening(0)


def _remembered(port: int) -> bool:
    cache = os.environ.get("KUBECACHEDIR") or os.path.expanduser("~/.kube/cache")
    return os.path.exists(f"{cache}/discovery/{HOST}_{port}")  # unlike Path's, no error where it may not be seen
