"""`penstock logs`: the log of an object's newest run."""

import asyncio
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import click

from penstock.api import objects
from penstock.api.objects import Key
from penstock.cli import arguments, connection, feed, progress, terminal
from penstock.cli.connection import Patience, Target
from penstock.language import visible
from penstock.language.errors import InvalidSpec
from penstock.runs import places, report

if TYPE_CHECKING:  # the worker's image has no kubernetes
    from penstock.control.cluster.client import HttpCluster
    from penstock.control.cluster.port import Ref

Pod = Mapping[str, Any]

_FOR_PROGRAMS = (places.CATALOG_LINE, places.PREVIEW_LINE, places.REPORT_LINE)
_MEANWHILE = "The run continues in the cluster; see its log later with: penstock logs"
_GONE = "{}: the Pod of its newest run was deleted, and its log with it. From the status"

_EXAMPLES = """Examples:

\b
  penstock logs flights
  penstock logs dataset/flights
  penstock logs subscription/delays -f
"""


@click.command(epilog=_EXAMPLES)
@click.argument("words", nargs=-1, required=True, metavar="[KIND/]NAME")
@click.option("-f", "--follow", is_flag=True, help="Follow the log until the run ends.")
@connection.command
async def logs(target: Target, words: tuple[str, ...], follow: bool) -> None:
    """Show the log of an object's newest Pod: for example the load of a Pipeline or the migration of a Dataset.

    A NAME without a KIND is a Pipeline or a Subscription; if there is none, it is the only other object with that
    name.
    """
    async with target.open() as cluster:
        manifest = await arguments.find(cluster, target.namespace, words)
        key = objects.key_of(manifest)
        selector = f"{objects.OWNER_KIND}={key.kind},{objects.OWNER_NAME}={key.name}"
        pods = (await cluster.list("Pod", key.namespace, selector)).items
        started = _started(pods)
        if not started:
            raise InvalidSpec(f"{key}: its Pod is starting" if pods else without_pods(key, manifest))
        *before, newest = started
        if follow:
            await Following(cluster, newest, {_name(pod) for pod in before}).show()
            return
        _show_name(newest)
        for line in lines_of(await cluster.log(key.namespace, _name(newest))):
            _show(line)


@dataclass
class Following:
    """The log of a Pod as it is written, then of each Pod with which its Job tries again, until the Job is over."""

    cluster: "HttpCluster"
    first: Pod
    done: set[str]
    """The Pods, by name, of which nothing is to be shown, or nothing any more."""
    poll_seconds: float = 0.5
    _shown: dict[str, int] = field(default_factory=dict)
    """How many lines of each Pod were shown."""

    async def show(self) -> None:
        """Show it; where the API server was away, on from the line that was the last."""
        patience = Patience(_MEANWHILE)
        while True:
            pod, over = None, False
            with patience.bears():
                pod, over = await self._next()
            if pod is not None:
                with patience.bears():
                    await self._read(pod)
            elif over:
                return
            await asyncio.sleep(self.poll_seconds)

    async def _next(self) -> tuple[Pod | None, bool]:
        """The Pod to show now, if one has started, and whether the Job is over, so that none follows."""
        from penstock.control.cluster.port import Ref
        from penstock.control.cluster.store import JOB_NAME

        metadata = self.first["metadata"]
        namespace, job = metadata["namespace"], metadata["labels"][JOB_NAME]
        over = await self._over(Ref("Job", namespace, job))  # looked at first: no Pod starts after it
        pods = (await self.cluster.list("Pod", namespace, f"{JOB_NAME}={job}")).items
        return next((pod for pod in _started(pods) if _name(pod) not in self.done), None), over

    async def _over(self, job: "Ref") -> bool:
        from penstock.control.cluster.port import NotFound

        try:
            conditions = ((await self.cluster.get(job)).get("status") or {}).get("conditions") or []
        except NotFound:
            return True
        return any(entry["type"] in ("Complete", "Failed") and entry["status"] == "True" for entry in conditions)

    async def _read(self, pod: Pod) -> None:
        """Show what was not shown yet of a Pod's log, until the Pod ends or the API server breaks off."""
        from penstock.control.cluster.port import NotFound

        name, number = _name(pod), 0
        if name not in self._shown:
            _show_name(pod)
            self._shown[name] = 0
        try:
            async for line in self.cluster.follow(pod["metadata"]["namespace"], name):
                number += 1
                if number > self._shown[name]:
                    self._shown[name] = number
                    _show(line)
        except NotFound:
            self.done.add(name)
        if pod["status"]["phase"] in ("Succeeded", "Failed"):  # was over before we read, so that was all
            self.done.add(name)


def without_pods(key: Key, manifest: Mapping[str, Any]) -> str:
    """Why there is no log, and what status knows of the newest run all the same."""
    status = manifest.get("status") or {}
    run = status.get("lastRun")
    upkeep = status.get("inspection") or status.get("migration")
    if run is not None and run["state"] == "Waiting":
        shown = feed.outcome(run)
        return f"{key}: no log yet: {feed.named(run['id'])} is {shown}"
    if run is not None:
        at = f" at {run['finishedAt']}" if run.get("finishedAt") else ""
        return f"{_GONE.format(key)}: {feed.named(run['id'])}{at}: {feed.outcome(run)}"
    if upkeep is not None and upkeep["state"] != "Running":
        return f"{_GONE.format(key)}: attempt {upkeep['attempt']}: {feed.outcome(upkeep)}"
    return f"{key} has had no run yet"


def lines_of(log: str) -> list[str]:
    """The lines of a log. Only "\\n" ends one: a preview's values may hold U+2028, where `splitlines` would cut."""
    return log.removesuffix("\n").split("\n") if log else []


def _started(pods: Iterable[Pod]) -> list[Pod]:
    """The Pods that have a log, the newest last."""
    started = (pod for pod in pods if (pod.get("status") or {}).get("phase") not in (None, "Pending"))
    return sorted(started, key=lambda pod: str(pod["metadata"]["creationTimestamp"]))


def _name(pod: Pod) -> str:
    return str(pod["metadata"]["name"])


def _show_name(pod: Pod) -> None:
    terminal.echo(f"# {_name(pod)}", err=True)


def _show(line: str) -> None:
    """Print a line of a worker; one for programs in words, if it says how far the load is, and else not at all."""
    if (state := report.after_mark(line, places.PROGRESS_LINE)) is not None:
        terminal.echo(line.removesuffix(places.PROGRESS_LINE + state) + progress.in_log(line))
    elif all(report.after_mark(line, mark) is None for mark in _FOR_PROGRAMS):
        terminal.echo(visible.line(line))
