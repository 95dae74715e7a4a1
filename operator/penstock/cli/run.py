"""`penstock run`: run a Pipeline or a Subscription now."""

import asyncio
import sys
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

import click
from rich.text import Text

from penstock.api import objects
from penstock.api.errors import InvalidSpec
from penstock.cli import connection, feed, glance, terminal
from penstock.cli.connection import Target

if TYPE_CHECKING:
    from penstock.control.cluster.client import HttpCluster
    from penstock.control.cluster.port import Ref

_POLL_SECONDS = 0.5
_OVER = ("Succeeded", "Failed", "Cancelled")

_EXAMPLES = """Examples:

\b
  penstock run flights --wait
  penstock run subscription/delays
"""


@click.command(epilog=_EXAMPLES)
@click.argument("words", nargs=-1, required=True, metavar="[KIND/]NAME")
@click.option("--wait", is_flag=True, help="Until the run is over; exit code 1 if it failed.")
@connection.command
async def run(target: Target, words: tuple[str, ...], wait: bool) -> None:
    """Run a Pipeline (or a Subscription) now; a Source, Destination or Dataset is looked at again.

    Sets the annotation penstock.dev/requestedAt, as `kubectl annotate` would. No manifest in git changes.
    """
    from penstock.control.cluster.port import NotFound, Ref

    key = connection.key(target, words, "Pipeline")
    ref = Ref(key.kind, key.namespace, key.name)
    requested = datetime.now(UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")
    async with target.open() as cluster:
        try:
            await cluster.patch(ref, {"metadata": {"annotations": {objects.REQUESTED_AT: requested}}})
        except NotFound as error:
            raise InvalidSpec(f"there is no {key}") from error
        if not wait or key.kind not in ("Pipeline", "Subscription"):
            click.echo(f"{key}: asked for at {requested}")
            return
        succeeded, told = await _over(cluster, ref, requested)
    terminal.console().print(Text(f"{key}: {told}", style="green" if succeeded else "red"))
    sys.exit(0 if succeeded else 1)


async def _over(cluster: "HttpCluster", ref: "Ref", requested: str) -> tuple[bool, str]:
    """Whether the run succeeded, once it is over, and how it ended in words."""
    while True:
        manifest = await cluster.get(ref)
        if (run := _outcome(manifest, requested)) is not None:
            deliveries = manifest["status"].get("deliveries") or []
            brought = [feed.delivered(delivery) for delivery in deliveries if delivery["run"] == run["id"]]
            return run["state"] == "Succeeded", ", ".join([feed.outcome(run), *brought])
        await asyncio.sleep(_POLL_SECONDS)


def _outcome(manifest: dict[str, Any], requested: str) -> dict[str, Any] | None:
    """The run that was asked for, once it is over. A manifest that cannot run says so itself: `InvalidSpec`."""
    status = manifest.get("status") or {}
    ready = glance.condition(manifest, "Ready")
    if ready is not None and ready["status"] == "False" and ready["reason"] not in ("Progressing", "Waiting"):
        raise InvalidSpec(f"{manifest['kind']} {manifest['metadata']['name']}: {ready['reason']}. {ready['message']}")
    runs: list[dict[str, Any]] = status.get("runs") or []
    asked = next((run for run in runs if run["id"].endswith(f"requested/{requested}")), None)
    return asked if asked is not None and asked["state"] in _OVER else None
