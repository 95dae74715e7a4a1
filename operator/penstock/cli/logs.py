"""`penstock logs`: what the newest run of an object said."""

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import click

from penstock.api import objects
from penstock.api.errors import InvalidSpec
from penstock.api.objects import Key
from penstock.cli import connection, feed
from penstock.cli.connection import Target
from penstock.runs import places

if TYPE_CHECKING:
    from penstock.control.cluster.client import HttpCluster

_GONE = "{}: the Pod of its newest run is gone, and the log with it. Status still knows"

_EXAMPLES = """Examples:

\b
  penstock logs flights
  penstock logs dataset/flights
  penstock logs subscription/delays -f
"""


@click.command(epilog=_EXAMPLES)
@click.argument("words", nargs=-1, required=True, metavar="[KIND/]NAME")
@click.option("-f", "--follow", is_flag=True, help="Go on until the run is over.")
@connection.command
async def logs(target: Target, words: tuple[str, ...], follow: bool) -> None:
    """Show the log of the newest Pod that worked for an object: a Pipeline's load, a Dataset's migration, and so on."""
    key = connection.key(target, words, "Pipeline")
    selector = f"{objects.OWNER_KIND}={key.kind},{objects.OWNER_NAME}={key.name}"
    async with target.open() as cluster:
        pods = (await cluster.list("Pod", key.namespace, selector)).items
        started = [pod for pod in pods if (pod.get("status") or {}).get("phase") not in (None, "Pending")]
        if not started:
            manifest = await _manifest(cluster, key)
            raise InvalidSpec(f"{key}: its Pod is starting" if pods else without_pods(key, manifest))
        newest = max(started, key=lambda pod: str(pod["metadata"]["creationTimestamp"]))
        name = newest["metadata"]["name"]
        click.echo(f"# {name}", err=True)
        if follow:
            async for line in cluster.follow(key.namespace, name):
                _show(line)
        else:
            for line in (await cluster.log(key.namespace, name)).splitlines():
                _show(line)


def without_pods(key: Key, manifest: Mapping[str, Any]) -> str:
    """Why there is no log, and what status knows of the newest run all the same."""
    status = manifest.get("status") or {}
    run = status.get("lastRun")
    upkeep = status.get("inspection") or status.get("migration")
    if run is not None and run["state"] == "Waiting":
        told = feed.outcome(run)
        return f"{key}: no log yet: {feed.named(run['id'])} is {told}"
    if run is not None:
        at = f" at {run['finishedAt']}" if run.get("finishedAt") else ""
        return f"{_GONE.format(key)}: {feed.named(run['id'])}{at}: {feed.outcome(run)}"
    if upkeep is not None and upkeep["state"] != "Running":
        return f"{_GONE.format(key)}: attempt {upkeep['attempt']}: {feed.outcome(upkeep)}"
    return f"nothing has run for {key} yet"


async def _manifest(cluster: "HttpCluster", key: Key) -> Mapping[str, Any]:
    """The object. Raises `InvalidSpec` if there is none."""
    from penstock.control.cluster.port import NotFound, Ref

    try:
        return await cluster.get(Ref(key.kind, key.namespace, key.name))
    except NotFound as error:
        raise InvalidSpec(f"there is no {key}") from error


def _show(line: str) -> None:
    """Print a line, less what a worker tells programs: a catalog, or the rows of a preview."""
    if not any(mark in line for mark in (places.CATALOG_LINE, places.PREVIEW_LINE)):
        click.echo(line)
