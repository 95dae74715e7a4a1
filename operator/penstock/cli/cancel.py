"""`penstock cancel`: cancel the runs of a Pipeline or a Subscription, also those that wait."""

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import click

from penstock.api import objects
from penstock.cli import arguments, connection, terminal
from penstock.cli.connection import Target
from penstock.language import words
from penstock.language.errors import InvalidSpec
from penstock.runs.order import RUNS

if TYPE_CHECKING:
    from penstock.control.cluster.port import Cluster

Object = Mapping[str, Any]

_EXAMPLES = """Examples:

\b
  penstock cancel flights
  penstock cancel subscription/delays
"""


@click.command(epilog=_EXAMPLES)
@click.argument("names", nargs=-1, required=True, metavar="[KIND/]NAME")
@connection.command
async def cancel(target: Target, names: tuple[str, ...]) -> None:
    """Cancel the runs of a Pipeline or a Subscription that are active, wait, or would be tried again.

    It deletes their Jobs. For each Dataset a run has committed everything or nothing. A cancelled run is not tried
    again; the next run of the schedule starts as usual.
    """
    async with target.open() as cluster:
        manifest = await arguments.find(cluster, target.namespace, names)
        key = objects.key_of(manifest)
        if key.kind not in ("Pipeline", "Subscription"):
            raise InvalidSpec(f"{key}: only a Pipeline or a Subscription has runs to cancel")
        ended = await end_runs(cluster, manifest)
    terminal.echo(f"{key}: {'; '.join(ended) or 'no run is active, waits or would be tried again'}")


async def end_runs(cluster: "Cluster", manifest: Object) -> list[str]:
    """Delete the Jobs of an object's runs that have not ended, or of one that will be tried again; what was done."""
    from penstock.control.cluster.port import Ref
    from penstock.control.cluster.store import finished

    key = objects.key_of(manifest)
    selector = f"{objects.OWNER_KIND}={key.kind},{objects.OWNER_NAME}={key.name}"
    jobs = [
        job
        for job in (await cluster.list("Job", key.namespace, selector)).items
        if job["metadata"]["labels"].get(objects.PURPOSE) in RUNS and "deletionTimestamp" not in job["metadata"]
    ]
    live = [job for job in jobs if not finished(job)]
    for job in live:
        await cluster.delete(Ref.of({**job, "kind": "Job"}), job["metadata"]["uid"])
    if live:
        listed = ", ".join(job["metadata"]["name"] for job in live)
        return [f"{words.count(len(live), 'run')} cancelled (Job {listed})"]
    failed = _tried_again(manifest)
    for job in jobs:
        if job["metadata"]["name"] == failed:
            await cluster.delete(Ref.of({**job, "kind": "Job"}), job["metadata"]["uid"])
            return [f"the failed run of Job {failed} is not tried again"]
    return []


def _tried_again(manifest: Object) -> str | None:
    """The Job of the newest run, if that failed for a cause for which the operator tries again by itself."""
    from penstock.control import due

    runs = (manifest.get("status") or {}).get("runs") or []
    newest = next(iter(runs), None)
    if newest is None or newest.get("state") != "Failed" or newest.get("reason") not in due.OUTSIDE:
        return None
    job: str | None = newest.get("job")
    return job
