"""`penstock logs`: what the newest run of an object said."""

from collections.abc import Mapping
from typing import Any

import click

from penstock.api import objects
from penstock.api.errors import InvalidSpec
from penstock.api.objects import Key
from penstock.cli import arguments, connection, feed
from penstock.cli.connection import Target
from penstock.runs import places

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
    """Show the log of the newest Pod that worked for an object: a Pipeline's load, a Dataset's migration, and so on.

    NAME alone is a Pipeline or a Subscription; where there is none, the one other object of that name.
    """
    async with target.open() as cluster:
        manifest = await arguments.find(cluster, target.namespace, words)
        key = objects.key_of(manifest)
        selector = f"{objects.OWNER_KIND}={key.kind},{objects.OWNER_NAME}={key.name}"
        pods = (await cluster.list("Pod", key.namespace, selector)).items
        started = [pod for pod in pods if (pod.get("status") or {}).get("phase") not in (None, "Pending")]
        if not started:
            raise InvalidSpec(f"{key}: its Pod is starting" if pods else without_pods(key, manifest))
        newest = max(started, key=lambda pod: str(pod["metadata"]["creationTimestamp"]))
        name = newest["metadata"]["name"]
        click.echo(f"# {name}", err=True)
        if follow:
            async for line in cluster.follow(key.namespace, name):
                _show(line)
        else:
            for line in lines_of(await cluster.log(key.namespace, name)):
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


def lines_of(log: str) -> list[str]:
    """The lines of a log. Only "\\n" ends one: a preview's values may hold U+2028, where `splitlines` would cut."""
    return log.removesuffix("\n").split("\n") if log else []


def _show(line: str) -> None:
    """Print a line, less what a worker tells programs: a catalog, or the rows of a preview."""
    if not any(mark in line for mark in (places.CATALOG_LINE, places.PREVIEW_LINE)):
        click.echo(line)
