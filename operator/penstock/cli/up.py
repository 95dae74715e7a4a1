"""`penstock up`: a small Kubernetes with Penstock in it, on this machine."""

import asyncio
import time
from datetime import UTC, datetime
from pathlib import Path

import click
from rich.text import Text

from penstock.cli import feed, get, local, picture, terminal, watching
from penstock.cli.connection import Target
from penstock.cli.local import Local

_EXAMPLES = """Examples:

\b
  penstock up
  penstock up --folder .penstock/demo      # the cluster that `penstock demo` created
"""


@click.command(epilog=_EXAMPLES)
@click.option(
    "--folder",
    type=click.Path(path_type=Path, file_okay=False),
    default=Path(".penstock/up"),
    show_default=True,
    help="The folder with the cluster's state; the same folder gives the same cluster.",
)
def up(folder: Path) -> None:
    """Start a Kubernetes API and the operator on this machine, and show what happens. Ctrl-C stops both.

    For one user: it listens on loopback only, has one token, and runs workers as processes without isolation. Its state
    stays in the folder, and the next `penstock up` resumes from there.
    """
    local.run(folder, _watch)
    terminal.echo("Stopped.")


async def _watch(started: Local) -> None:
    console = terminal.console()
    console.print(Text("Penstock is up: a small Kubernetes API, and the operator in it.", style="bold green"))
    console.print("\nIn another terminal:\n")
    for line in (terminal.activation(), terminal.export(started.kubeconfig)):
        if line is not None:
            console.print(f"  {line}", soft_wrap=True)
    console.print(
        Text.assemble(
            ("\nA PersistentVolumeClaim is a folder: ", "dim"),
            f"{terminal.short(started.volumes)}/<namespace>/<name>",
            ("\nCtrl-C stops everything; the next `penstock up` resumes from the same state.\n", "dim"),
        )
    )

    def changed(before: feed.Object | None, after: feed.Object | None) -> None:
        for line in feed.lines(before, after) if before or after else ():
            console.print(line.text(time.strftime("%H:%M:%S")), soft_wrap=True)

    if items := await get.objects_of(Target(started.kubeconfig), None):
        console.print(picture.of(items, datetime.now(UTC), console.width))
        console.print()
    try:
        await watching.changes(started.kubeconfig, changed, from_the_start=False)
    except asyncio.CancelledError:
        console.print("\nStopping …")
        raise
