"""`penstock get`: all objects as one diagram."""

import asyncio
from collections.abc import Sequence
from contextlib import suppress
from datetime import UTC, datetime
from typing import Any

import click
from rich.live import Live

from penstock.api import objects
from penstock.cli import connection, picture, terminal
from penstock.cli.connection import Target

_EXAMPLES = """Examples:

\b
  penstock get
  penstock get -A --watch
"""


@click.command(epilog=_EXAMPLES)
@click.option("-A", "--all-namespaces", "everywhere", is_flag=True, help="All namespaces.")
@click.option("-w", "--watch", is_flag=True, help="Keep the output up to date until Ctrl-C.")
@connection.command
async def get(target: Target, everywhere: bool, watch: bool) -> None:
    """Show Sources, Pipelines, Datasets, Subscriptions and Destinations, their state and how they are connected.

    Works on any cluster with the CRDs of Penstock. It only reads from the API.
    """
    console = terminal.console()
    namespace = None if everywhere else target.namespace
    if not watch or not console.is_terminal:
        items = await objects_of(target, namespace)
        if not items:
            terminal.echo(f"No Penstock objects in {'any namespace' if everywhere else f'namespace {namespace}'}.")
            return
        console.print(picture.of(items, datetime.now(UTC), console.width))
        return
    with suppress(asyncio.CancelledError), Live(console=console, auto_refresh=False) as live:
        while True:
            live.update(picture.of(await objects_of(target, namespace), datetime.now(UTC), console.width), refresh=True)
            await asyncio.sleep(1)


async def objects_of(target: Target, namespace: str | None) -> Sequence[dict[str, Any]]:
    """Every object of ours in a namespace, or (None) in all."""
    async with target.open() as cluster:
        listings = await asyncio.gather(*(cluster.list(kind, namespace) for kind in objects.KINDS))
    return [item for listing in listings for item in listing.items]
