"""`penstock deliveries`: what a Subscription has delivered, from its status."""

import click
from rich.table import Table

from penstock.api.subscription import Delivery, SubscriptionStatus
from penstock.cli import arguments, connection, progress, terminal
from penstock.cli.connection import Target
from penstock.language import lenient, visible

_EXAMPLES = """Examples:

\b
  penstock deliveries delays
  penstock deliveries subscription/delays
"""


@click.command(epilog=_EXAMPLES)
@click.argument("words", nargs=-1, required=True, metavar="NAME")
@connection.command
async def deliveries(target: Target, words: tuple[str, ...]) -> None:
    """Show the newest deliveries of a Subscription: when, how many rows, their size and cost, and where."""
    async with target.open() as cluster:
        manifest = await arguments.find(cluster, target.namespace, words, (("Subscription",),))
    status = lenient.read(SubscriptionStatus, manifest.get("status") or {})
    console = terminal.console()
    if not status.deliveries:
        console.print("no deliveries yet")
        return
    if console.is_terminal:
        console.print(_table(status.deliveries))
        return
    for line in ([*HEADINGS], *map(cells, status.deliveries)):
        terminal.echo("\t".join(line))


HEADINGS = ("AT", "ROWS", "SIZE", "FILES", "COST", "RUN", "PLACE")


def cells(delivery: Delivery) -> list[str]:
    """A delivery as the texts of a line."""
    files = "" if delivery.files is None else f"{delivery.files:,}"
    place = delivery.manifest or delivery.table or ""
    texts = [delivery.at, f"{delivery.rows:,}", progress.size(delivery.bytes), files, delivery.cost or ""]
    return [visible.line(text) for text in (*texts, delivery.run, place)]


def _table(every: list[Delivery]) -> Table:
    table = Table(box=None, padding=(0, 3, 0, 0), pad_edge=False, header_style="dim")
    for heading in HEADINGS:
        is_number = heading in ("ROWS", "SIZE", "FILES", "COST")
        table.add_column(heading, justify="right" if is_number else "left", overflow="fold")
    for delivery in every:
        table.add_row(*cells(delivery))
    return table
