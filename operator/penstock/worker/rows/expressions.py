"""Expressions in `from`: parsed by sqlglot, refused unless every part is on a list, casts of text made exact.

What is written is parsed and checked by `grammar`, printed, parsed again, and checked to be the same. At last DuckDB
parses the SQL that it is to run: it must be one statement that calls nothing else than the functions on the list.
"""

import re
from collections.abc import Mapping
from dataclasses import dataclass

import sqlglot
from sqlglot import exp

from penstock.language.errors import InvalidSpec
from penstock.worker.ports.chunks import PLAIN_NUMBERS, NumberFormat
from penstock.worker.rows import grammar, growth, lossless, parsetree

_MARK = "__penstock"
"""Begins the names that stand in for columns, exact casts and guards while sqlglot writes the SQL."""
_STANDS_FOR = re.compile(rf'"{_MARK}_(\d+)"')
_SHOWN = 80
_MOST_TEXTS = 256.0
"""Times the bytes of a row that all steps of an expression together may make."""
_MOST_GUARDED = 16


@dataclass(frozen=True)
class Parsed:
    """An allowed expression and the columns it names, as they are written."""

    written: str
    tree: exp.Expr
    columns: tuple[str, ...]

    @property
    def column(self) -> str | None:
        """The column's name, where the expression is nothing else."""
        return self.columns[0] if isinstance(self.tree, exp.Column) else None

    @property
    def rows_at_once(self) -> int | None:
        """How many rows are to be computed at once, so that their texts fit into memory; None for any number."""
        return growth.measure(self.tree).rows_at_once


def allowed() -> str:
    """The names of all functions, for the reference."""
    return ", ".join(grammar.names())


def parse(written: str, where: str) -> Parsed:
    """The expression, or InvalidSpec that names what is not allowed. `where` names the field, for messages."""
    try:
        if len(written) > grammar.LONGEST:
            raise _Fault(f"an expression has at most {grammar.LONGEST:,} characters, and this has {len(written):,}")
        tree = _checked(_tree(written), written)
        again = _checked(_tree(_sql(tree)), written)
        if _tree(_sql(again)) != again:
            raise _Fault("is read in two ways; write it in a simpler way")
        if found := parsetree.fault(_sql(again)) or parsetree.constant_fault(again):
            raise _Fault(found)
    except RecursionError:
        raise InvalidSpec(f"{where}: {_too_deep(written)}") from None
    except _Fault as fault:
        said = str(fault)
        raise InvalidSpec(f"{where}: {said}{'' if said.endswith(('.', '?')) else '.'}") from None
    names = dict.fromkeys(column.name for column in again.find_all(exp.Column))
    return Parsed(written, again, tuple(names))


class _Fault(Exception):
    """What is wrong with the expression."""


def shown(written: str) -> str:
    """The expression for messages, cut where it is long."""
    return written if len(written) <= _SHOWN else f"{written[:_SHOWN]}…"


def _too_deep(written: str) -> str:
    return f"{shown(written)} is nested more than {grammar.DEEPEST} levels deep. Write it in a simpler way."


def _tree(written: str) -> exp.Expr:
    """What sqlglot reads. Raises _Fault for what is too long or no expression, RecursionError for what is too deep."""
    if _MARK in written:
        raise _Fault(f"{_MARK} is not allowed in expressions")
    try:
        written.encode()
        tokens = sqlglot.tokenize(written, dialect="duckdb")
        if len(tokens) > grammar.MOST_TOKENS:
            raise _Fault(f"{shown(written)} has more than {grammar.MOST_TOKENS} words and signs")
        trees = sqlglot.parse(written, dialect="duckdb")
    except UnicodeEncodeError:
        raise _Fault("the expression has half a character, a lone surrogate, which is no text") from None
    except sqlglot.errors.SqlglotError as error:
        raise _Fault(f"{shown(written)} is not an SQL expression{_reason(error)}") from None
    except (ValueError, TypeError, AttributeError, IndexError, KeyError):  # sqlglot stumbles over some wrong input
        raise _Fault(f"{shown(written)} is not an SQL expression") from None
    if len(trees) != 1 or not isinstance(trees[0], exp.Expr):
        raise _Fault(f"{shown(written)} is not one SQL expression")
    return trees[0]


def _reason(error: Exception) -> str:
    """What sqlglot says is wrong, without its line and without the names of its classes."""
    said = str(error).partition("\n")[0].partition(". Line")[0].rstrip(".")
    return "" if "<class" in said or not said else f": {said}"


def _checked(tree: exp.Expr, written: str) -> exp.Expr:
    """The tree without comments. Raises _Fault for what is not allowed in it, and for what would cost too much."""
    if "\0" in written:
        raise _Fault("the expression has a NUL character")
    levels = [(tree, 1)]
    while levels:
        node, level = levels.pop()
        if level > grammar.DEEPEST:
            raise RecursionError
        node.comments = None
        if found := grammar.fault(node):
            raise _Fault(found)
        levels += [(child, level + 1) for child in node.iter_expressions()]
    grown = growth.measure(tree)
    if grown.total.share > _MOST_TEXTS or len(grown.guarded) > _MOST_GUARDED:
        raise _Fault(f"{shown(written)} would make too much text from each row. Use fewer functions")
    return tree


def _sql(tree: exp.Expr) -> str:
    """The SQL of a checked tree, every name in quotes."""
    return tree.sql(dialect="duckdb", identify=True, comments=False)


def sql(parsed: Parsed, columns: Mapping[str, tuple[str, bool]], numbers: NumberFormat = PLAIN_NUMBERS) -> str:
    """DuckDB's SQL for the expression.

    `columns` gives for each column it names the SQL that stands for it and whether it is text; casts of text become
    exact, and fail where they are not. `numbers` is how texts write numbers. Raises InvalidSpec when what sqlglot
    prints is not what was checked.
    """
    stands_for: list[str] = []

    def placeholder(replacement: str) -> exp.Expr:
        stands_for.append(replacement)
        return exp.column(f"{_MARK}_{len(stands_for) - 1}", quoted=True)

    def translate(node: exp.Expr) -> exp.Expr:
        if isinstance(node, exp.Cast) and isinstance(node.this, exp.Column) and columns[node.this.name][1]:
            return placeholder(lossless.guarded(_target(node.to), columns[node.this.name][0], numbers))
        if isinstance(node, exp.Column) and not node.name.startswith(_MARK):
            return placeholder(columns[node.name][0])
        return node

    def printed(node: exp.Expr) -> str:
        return _STANDS_FOR.sub(lambda match: stands_for[int(match.group(1))], _verified(node, parsed.written))

    tree = parsed.tree.copy()
    guarded = growth.measure(tree).guarded
    tree = tree.transform(translate, copy=False)
    for node in guarded:
        replacement = placeholder(growth.guard(node, printed))
        if node is tree:
            tree = replacement
        else:
            node.replace(replacement)
    return printed(tree)


def _verified(tree: exp.Expr, written: str) -> str:
    """The SQL of a part of a checked tree, read again by both parsers."""
    printed = _sql(tree)
    again = sqlglot.parse(printed, dialect="duckdb")
    if len(again) != 1 or again[0] != tree or parsetree.fault(printed):
        raise InvalidSpec(f"{shown(written)} is read in two ways. Write it in a simpler way.")
    return printed


def _target(to: exp.DataType) -> str:
    name = grammar.CASTS[to.this]
    if name != "DECIMAL":
        return name
    given: list[str] = [parameter.name for parameter in to.expressions]
    precision, scale = [*given, "0"][:2] if given else ["18", "3"]  # DuckDB's own defaults
    return f"DECIMAL({precision},{scale})"
