"""`penstock validate`: what is wrong in manifests, with its place and what to do, without a cluster."""

import sys
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path

import click
from rich.table import Table
from rich.text import Text

from penstock.api import manifests, validation
from penstock.api.documents import Unreadable
from penstock.api.fields import SchemaField
from penstock.api.manifests import Manifest
from penstock.api.validation import Complaint, Verdict
from penstock.cli import sizes, terminal
from penstock.language import visible, words
from penstock.language.errors import InvalidSpec

_COLOURS = {"error": "bold red", "warning": "yellow"}


_EXAMPLES = """Examples:

\b
  penstock validate -f examples/01-quickstart
  kustomize build . | penstock validate -f -
"""


@click.command(epilog=_EXAMPLES)
@click.option(
    "files",
    "-f",
    "--filename",
    multiple=True,
    required=True,
    metavar="DIR|FILE|-",
    help="A manifest, a folder of manifests, or - for standard input; repeat for more.",
)
@click.option("-R", "--recursive", is_flag=True, help="Read subfolders as well.")
@click.option(
    "--complete", is_flag=True, help="Report references to objects that are not in these manifests as errors."
)
def validate(files: tuple[str, ...], recursive: bool, complete: bool) -> None:
    """Check manifests: every field, every value and every reference. Needs no cluster.

    Each error is printed as file:line, the field, what is wrong and what to do. Objects of other kinds are skipped:
    kubectl checks them. Exit code 1 if there is an error.
    """
    entries: list[Manifest | Unreadable] = []
    for name in files:
        there = (
            [*manifests.loads(sys.stdin.read(), "stdin")]
            if name == "-"
            else manifests.load([Path(name)], recursive=recursive)
        )
        if not there:  # as when what writes into our input has failed
            raise InvalidSpec(f"{'stdin' if name == '-' else name}: contains no object")
        entries += there
    verdict = validation.validate(entries, complete=complete, expressions=_expression, filters=_filter, rules=_rule)
    if not verdict.errors:
        verdict = replace(verdict, complaints=[*verdict.complaints, *sizes.complaints(verdict.checked)])
    show(verdict)
    sys.exit(1 if verdict.errors else 0)


def _expression(written: str, where: str) -> None:
    try:
        from penstock.worker.rows import origins
    except ImportError:  # the operator's image has no data libraries; the Dataset's migration looks at them, too
        return
    origins.check_expression(written, where)


def _filter(written: str, where: str, fields: Sequence[SchemaField]) -> None:
    try:
        from penstock.worker.rows import delivery
    except ImportError:  # as above; a delivery looks at them, too
        return
    delivery.check_filter(written, where, fields)


def _rule(written: str, types: Mapping[str, str], where: str) -> None:
    try:
        from penstock.worker.rows import rowrules
    except ImportError:
        return
    rowrules.check(written, types, where)


def show(verdict: Verdict) -> None:
    """Print every complaint, and one line that sums up."""
    console = terminal.console()
    if not console.is_terminal:
        for complaint in verdict.complaints:
            terminal.echo(visible.line(str(complaint)))
    elif verdict.complaints:
        table = Table.grid(padding=(0, 2))
        for complaint in verdict.complaints:
            table.add_row(*_cells(complaint))
        console.print(table)
    colour = "bold red" if verdict.errors else "yellow" if verdict.complaints else "green"
    console.print(Text(_summary(verdict), style=colour))


def _cells(complaint: Complaint) -> tuple[Text, Text, Text, Text]:
    place = Text(visible.line(f"{complaint.position}:"), style="cyan", no_wrap=True)
    severity = Text(complaint.severity, style=_COLOURS[complaint.severity], no_wrap=True)
    subject = Text(visible.line(complaint.subject), style="bold", no_wrap=True)
    return place, severity, subject, Text(visible.line(str(complaint.finding)))


def _summary(verdict: Verdict) -> str:
    warnings = len(verdict.complaints) - verdict.errors
    faults = " and ".join(
        words.count(number, word) for number, word in ((verdict.errors, "error"), (warnings, "warning")) if number
    )
    skipped = f", {verdict.others:,} skipped" if verdict.others else ""
    return f"{faults or 'OK'}: {len(verdict.checked):,} checked{skipped}"
