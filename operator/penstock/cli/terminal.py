"""How output looks: colours on a terminal, plain and unbroken lines anywhere else."""

import sys

from rich.console import Console

UNBROKEN = 400
"""Columns when nobody watches: a log's reader searches lines, and does not want them folded."""


def console(*, stderr: bool = False) -> Console:
    """A console for standard output, or standard error."""
    stream = sys.stderr if stderr else sys.stdout
    width = None if stream.isatty() else UNBROKEN
    return Console(stderr=stderr, width=width, highlight=False, emoji=False, markup=False)
