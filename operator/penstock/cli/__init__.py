"""The command line: one module per command, and nothing in them but reading options and showing what came out.

In: arguments and a terminal. Out: text, exit codes (0 done, 1 the user must change something, 2 wrong usage).
Never: decisions about data or objects; imports of a program's dependencies at the top of a module, for the operator's
image carries no duckdb and the worker's no kopf, and both are started from here.
"""

from penstock.cli.commands import main

__all__ = ["main"]
