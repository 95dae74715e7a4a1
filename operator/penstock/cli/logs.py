"""`penstock logs`: what the newest run of an object said."""

import click

from penstock.api import objects
from penstock.api.errors import InvalidSpec
from penstock.cli import connection
from penstock.cli.connection import Target

_EXAMPLES = """Examples:

\\b
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
            raise InvalidSpec(f"{key} has no Pod that has started" + (", yet" if pods else ""))
        newest = max(started, key=lambda pod: str(pod["metadata"]["creationTimestamp"]))
        name = newest["metadata"]["name"]
        click.echo(f"# {name}", err=True)
        if follow:
            async for line in cluster.follow(key.namespace, name):
                click.echo(line)
        else:
            click.echo(await cluster.log(key.namespace, name), nl=False)
