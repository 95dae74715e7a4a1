"""`penstock operate`: the operator."""

import logging
import sys
from pathlib import Path

import click

_FORMAT = '{"time":"%(asctime)s","level":"%(levelname)s","logger":"%(name)s","message":%(message)r}'


@click.command()
@click.option(
    "-n", "--namespace", "namespaces", multiple=True, help="Watch this namespace only; again for more. Default: all."
)
@click.option("--worker-image", metavar="IMAGE", help="Image of every worker Pod; a manifest cannot choose another.")
@click.option("--liveness", metavar="URL", help="Serve the probe here, for instance http://0.0.0.0:8080/healthz.")
@click.option("--kubeconfig", type=click.Path(path_type=Path), help="Default: the Pod's own account, or KUBECONFIG.")
@click.option("--context", help="A context of the kubeconfig. Default: its current one.")
def operate(
    namespaces: tuple[str, ...],
    worker_image: str | None,
    liveness: str | None,
    kubeconfig: Path | None,
    context: str | None,
) -> None:
    """Run the operator against the cluster that it is in, or that KUBECONFIG names, until it is told to stop."""
    from penstock.control import handlers
    from penstock.control.settings import Settings

    logging.basicConfig(level=logging.INFO, stream=sys.stderr, format=_FORMAT)
    settings = Settings(namespaces=namespaces, worker_image=worker_image or Settings.worker_image)
    handlers.main(settings, handlers.Connection(kubeconfig, context, liveness))
