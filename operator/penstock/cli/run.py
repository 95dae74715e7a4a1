"""`penstock run`: run a Pipeline or a Subscription now."""

import asyncio
import sys
import time
from datetime import UTC, datetime
from typing import TYPE_CHECKING

import click
from rich.text import Text

from penstock.api import objects
from penstock.api.objects import Key
from penstock.cli import arguments, connection, progress, standing, terminal
from penstock.cli.connection import Patience, Target
from penstock.cli.progress import Display
from penstock.cli.standing import Object, Standing
from penstock.language.errors import InvalidSpec

if TYPE_CHECKING:
    from penstock.control.cluster.port import Cluster, Ref

_POLL_SECONDS = 0.5
_SILENCE_SECONDS = 10.0
"""When to ask whether there is an operator at all."""
_ANSWER_SECONDS = 10.0
"""How long one answer may take."""
_AWAY = "the API server does not answer; trying again"
_MEANWHILE = "The run continues in the cluster; see its state with: penstock get"
_SILENT = "the operator has not started it yet. Is the operator running?"

_EXAMPLES = """Examples:

\b
  penstock run flights --wait
  penstock run flights --wait --timeout 5m
  penstock run subscription/delays
"""


@click.command(epilog=_EXAMPLES)
@click.argument("words", nargs=-1, required=True, metavar="[KIND/]NAME")
@click.option("--wait", is_flag=True, help="Wait until the run ends and show its progress; exit code 1 if it failed.")
@click.option(
    "--timeout", type=arguments.Duration(), help="With --wait, the longest time to wait: 30s, 5m. Default: no limit."
)
@connection.command
async def run(target: Target, words: tuple[str, ...], wait: bool, timeout: int | None) -> None:  # noqa: ASYNC109 - an option's name
    """Run a Pipeline or a Subscription now, or inspect another object again.

    For a Source or a Destination it starts a new inspection, for a Dataset a new check of its table. A NAME without a
    KIND is a Pipeline or a Subscription; if there is none, it is the only other object with that name. The command
    sets the annotation penstock.dev/requestedAt, as `kubectl annotate` would. It changes no manifest in git.
    """
    if timeout is not None and not wait:
        raise click.UsageError("--timeout goes with --wait")
    async with target.open() as cluster:
        before = await arguments.find(cluster, target.namespace, words)
        key = objects.key_of(before)
        await _require_unsuspended(cluster, before)
        requested = datetime.now(UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")
        await cluster.patch(_ref(before), {"metadata": {"annotations": {objects.REQUESTED_AT: requested}}})
        if not wait:
            terminal.echo(f"{key}: requested at {requested}")
            return
        outcome = await _outcome(cluster, before, requested, timeout)
    terminal.console().print(Text(f"{key}: {outcome.words}", style="green" if outcome.succeeded else "red"))
    sys.exit(0 if outcome.succeeded else 1)


async def _require_unsuspended(cluster: "Cluster", manifest: Object) -> None:
    """Raise `InvalidSpec` for what is suspended: nothing would happen, and it would run when nobody expects it."""
    suspended_by = standing.suspended(manifest)
    if suspended_by and not manifest["spec"].get("suspend"):
        # What it refers to may have been resumed this moment, and the operator may not have reported it yet.
        await asyncio.sleep(_POLL_SECONDS)
        suspended_by = standing.suspended(await cluster.get(_ref(manifest)))
    if suspended_by:
        raise InvalidSpec(f"{suspended_by}: no run was requested. Set its spec.suspend to false and try again")


async def _outcome(cluster: "Cluster", before: Object, requested: str, timeout: int | None) -> Standing:  # noqa: ASYNC109 - told in our own words
    """How it ended. Shows on standard error how far it is, and what it waits for whenever that changes."""
    display = progress.Display(terminal.console(stderr=True))
    try:
        return await _watched(cluster, before, requested, timeout, display)
    finally:
        display.end()


async def _watched(
    cluster: "Cluster",
    before: Object,
    requested: str,
    seconds: int | None,
    display: Display,
) -> Standing:
    key, begun, patience = objects.key_of(before), time.monotonic(), Patience(_MEANWHILE)
    printed = standing.RUNNING  # while the run goes as expected, nothing is printed
    while True:
        await asyncio.sleep(_POLL_SECONDS)  # first, so that the operator has seen the request
        now = Standing(_AWAY)
        with patience.bears():
            async with asyncio.timeout(_ANSWER_SECONDS):
                now = standing.of(before, await cluster.get(_ref(before)), requested)
                if now.job is not None and now.words == standing.RUNNING:
                    display.show(await progress.of_job(cluster, key.namespace, now.job))
        if now.succeeded is not None:
            return now
        waited = time.monotonic() - begun
        words = now.words or (_SILENT if waited > _SILENCE_SECONDS else printed)
        if words != printed:
            display.end()
            display.console.print(Text(f"{key}: {words}", style="yellow"))
            printed = words
        if seconds is not None and waited > seconds:
            raise InvalidSpec(_not_over(key, seconds, now))


def _not_over(key: Key, timeout: int, now: Standing) -> str:
    """The message for a run that is not finished when the time is over that the user has given."""
    if now.words in (standing.RUNNING, _AWAY):
        return f"{key}: not finished after {timeout} s, {now.words}. {_MEANWHILE}"
    words = now.words.rstrip(".") or "not started yet"
    return f"{key}: not finished after {timeout} s, {words}. The request remains and is carried out as soon as possible"


def _ref(manifest: Object) -> "Ref":
    from penstock.control.cluster.port import Ref

    return Ref.of(manifest)
