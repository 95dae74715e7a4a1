"""`penstock operate`: the operator."""

import json
import logging
import sys
from pathlib import Path

import click


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
    "-n", "--namespace", "namespaces", multiple=True, help="Watch this namespace only; again for more. Default: all."
)
@click.option("--worker-image", metavar="IMAGE", help="Image of every worker Pod; a manifest cannot choose another.")
@click.option("--liveness", metavar="URL", help="Serve the probe here, for instance http://0.0.0.0:8080/healthz.")
@click.option("--kubeconfig", type=click.Path(path_type=Path), help="Default: the Pod's own account, or KUBECONFIG.")
@click.option("--log-format", type=click.Choice(["text", "json"]), default="text", show_default=True)
def operate(
    namespaces: tuple[str, ...],
    worker_image: str | None,
    liveness: str | None,
    kubeconfig: Path | None,
    log_format: str,
) -> None:
    """Run the operator against the cluster that it is in, or that KUBECONFIG names, until it is told to stop."""
    from penstock.control import handlers
    from penstock.control.settings import Settings

    handler = logging.StreamHandler(sys.stderr)
    plain = logging.Formatter("%(asctime)s %(levelname)-7s %(message)s", "%H:%M:%S")
    handler.setFormatter(JsonLines() if log_format == "json" else plain)
    logging.basicConfig(level=logging.INFO, handlers=[handler])
    settings = Settings(namespaces=namespaces, worker_image=worker_image or Settings.worker_image)
    handlers.main(settings, handlers.Connection(kubeconfig, liveness=liveness))
