"""`penstock forecast`: how much a Subscription would deliver now, counted by a worker in the cluster."""

from decimal import Decimal

import click
from rich.text import Text

from penstock.api import objects
from penstock.cli import arguments, connection, preview, progress, terminal
from penstock.cli.connection import Target
from penstock.language import visible
from penstock.language import words as language
from penstock.language.errors import InvalidSpec
from penstock.runs.report import Forecast

_EXAMPLES = """Examples:

\b
  penstock forecast delays
"""


@click.command(epilog=_EXAMPLES)
@click.argument("words", nargs=-1, required=True, metavar="NAME")
@click.option(
    "--timeout", type=arguments.Duration(), default="2m", show_default=True, help="How long to wait for the worker."
)
@connection.command
async def forecast(target: Target, words: tuple[str, ...], timeout: int) -> None:  # noqa: ASYNC109 - an option's name
    """Count the rows that a Subscription would deliver now, and what they would cost. Nothing is delivered.

    Rows that deduplication.period leaves out are not counted. The size is that of the values before they are written
    in the format of the delivery.
    """
    async with target.open() as cluster:
        key = objects.key_of(await arguments.find(cluster, target.namespace, words, (("Subscription",),)))
        shown = await preview.read_within(cluster, key, 1, timeout)
    if shown.forecast is None:
        raise InvalidSpec("the worker has made no forecast. Is it of an earlier version?")
    terminal.console().print(Text(visible.line(f"{key.name}: {in_words(shown.forecast)}")))


def in_words(counted: Forecast) -> str:
    """A forecast in a line."""
    parts = [language.count(counted.rows, "row"), f"about {progress.size(counted.bytes)}"]
    if counted.cost is not None:
        parts.append(f"{counted.cost} {counted.currency}")
    text = ", ".join(parts)
    if counted.left is not None:
        text += f"; {counted.left} {counted.currency} of the budget are left"
        if counted.cost is not None and Decimal(counted.cost) > Decimal(counted.left):
            text += ", so nothing would be delivered"
    return text
