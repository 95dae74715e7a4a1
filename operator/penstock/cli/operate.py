"""`penstock operate`: the operator."""

import json
import logging
import os
import secrets
import socket
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from penstock.cli.connection import Target
from penstock.language import visible

if TYPE_CHECKING:  # the worker's image has no kubernetes
    from penstock.control.settings import Election

log = logging.getLogger(__name__)


class JsonLines(logging.Formatter):
    """One JSON object a line, for log collectors."""

    def format(self, record: logging.LogRecord) -> str:
        """The record as JSON; a traceback goes into `exception`."""
        line = {
            "time": self.formatTime(record, "%Y-%m-%dT%H:%M:%S%z"),
            "level": record.levelname.lower(),
            "logger": record.name,
            "message": record.getMessage(),
        }
        if record.exc_info:
            line["exception"] = self.formatException(record.exc_info)
        return json.dumps(line)


@click.command(epilog="Example: penstock operate --namespace ops --worker-image registry.example/penstock-worker:1.0")
@click.option(
    "-n", "--namespace", "namespaces", multiple=True, help="Watch only this namespace; repeat for more. Default: all."
)
@click.option("--worker-image", metavar="IMAGE", help="Image of every worker Pod; a manifest cannot choose another.")
@click.option(
    "--health-probe-bind-address",
    "probes",
    metavar="[HOST]:PORT",
    help="Serve /healthz, /readyz and /metrics here: :8080.",
)
@click.option(
    "--leader-elect/--no-leader-elect",
    default=True,
    show_default=True,
    help="Use leader election: work only while this operator holds the Lease.",
)
@click.option(
    "--leader-elect-resource-namespace", "namespace", metavar="NAMESPACE", help="Default: the operator's own."
)
@click.option("--leader-elect-resource-name", "lease", metavar="NAME", default="penstock-operator", show_default=True)
@click.option("--kubeconfig", type=click.Path(path_type=Path), help="Default: the Pod's own account, or KUBECONFIG.")
@click.option("--log-format", type=click.Choice(["text", "json"]), default="text", show_default=True)
def operate(
    namespaces: tuple[str, ...],
    worker_image: str | None,
    kubeconfig: Path | None,
    log_format: str,
    probes: str | None,
    **election: Any,
) -> None:
    """Run the operator until SIGTERM, in its own cluster or in the cluster of KUBECONFIG.

    It waits for CRDs, permissions and its Lease. Its log and /readyz say what is missing.
    """
    from penstock.control import handlers, lease
    from penstock.control.settings import Settings

    Target(kubeconfig).require()
    handler = logging.StreamHandler(sys.stderr)
    plain = visible.Formatter("%(asctime)s %(levelname)-7s %(message)s", "%H:%M:%S")
    handler.setFormatter(JsonLines() if log_format == "json" else plain)
    logging.basicConfig(level=logging.INFO, handlers=[handler])
    settings = Settings(
        namespaces=namespaces,
        worker_image=worker_image or Settings.worker_image,
        election=_election(kubeconfig, **election),
    )
    try:
        handlers.main(settings, handlers.Connection(kubeconfig, probes=probes))
    except* lease.Lost as lost:
        log.error("%s; the operator stops, so that it never acts beside another", lost.exceptions[0])
        sys.exit(1)
    except* handlers.Ended as ended:
        log.error("%s; the operator stops, to be started again", ended.exceptions[0])
        sys.exit(1)


def _election(kubeconfig: Path | None, *, leader_elect: bool, namespace: str | None, lease: str) -> "Election | None":
    from penstock.control.cluster import client
    from penstock.control.settings import Election

    if not leader_elect:
        return None
    # A container that is restarted in its Pod takes its own Lease at once; elsewhere each start is a new identity.
    identity = os.environ.get("POD_NAME") or f"{socket.gethostname()}_{secrets.token_hex(4)}"
    return Election(namespace or client.namespace_of(kubeconfig), lease, identity)
