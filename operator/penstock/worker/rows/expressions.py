"""Expressions in `from`: parsed by sqlglot, refused unless every part is on a list, casts of text made exact.

What is written is parsed and checked by `grammar`, printed, parsed again, and checked to be the same. At last DuckDB
parses the SQL that it is to run: it must be one statement that calls nothing else than the functions on the list, and
mean the same to DuckDB as what was written.
"""

import logging
import re
from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass

import sqlglot
from sqlglot import exp

from penstock.language import paths
from penstock.language.errors import InvalidSpec
from penstock.worker.ports.chunks import PLAIN_NUMBERS, NumberFormat
from penstock.worker.rows import agreement, engine, grammar, growth, lossless, parsetree

logging.getLogger("sqlglot").setLevel(logging.CRITICAL)  # it logs what it drops; here that is refused with a message

_MARK = "__penstock"
"""Begins the names that stand in for columns, exact casts and guards while sqlglot writes the SQL."""
_STANDS_FOR = re.compile(rf'"{_MARK}_(\d+)"')
_SHOWN = 80
_MOST_TEXTS = 64.0
"""Times the bytes of a row that all steps of an expression together may make."""
_MOST_GUARDED = 16


@dataclass(frozen=True)
class Parsed:
    """An allowed expression and the columns it names, as they are written."""

    written: str
    tree: exp.Expr
    columns: tuple[str, ...]
    where: str
    """The field that it belongs to, for messages."""

    @property
    def column(self) -> str | None:
        """The column's name, where the expression is nothing else."""
        return self.columns[0] if isinstance(self.tree, exp.Column) else None

    @property
    def growth(self) -> growth.Growth:
        """How much text it can make from a row."""
        return growth.measure(self.tree)


def allowed() -> str:
    """The names of all functions, for the reference."""
    return ", ".join(grammar.names())


def parse(written: str, where: str) -> Parsed:
    """The expression, or InvalidSpec that names what is not allowed. `where` names the field, for messages."""
    try:
        if len(written) > grammar.LONGEST:
            raise _Fault(f"an expression has at most {grammar.LONGEST:,} characters, and this has {len(written):,}")
        read = _tree(written)
        if isinstance(read, exp.Column) and written.strip() == engine.name(read.name):
            return Parsed(written, read, (read.name,), where)  # a name in quotes, which may be empty
        folded = _with_paths(read)
        tree = _checked(folded.copy(), written)
        again = _checked(_tree(_sql(tree)), written)
        if _tree(_sql(again)) != again:
            raise _Fault("is read in two ways; write it in a simpler way")
        if message := parsetree.fault(_sql(again)) or parsetree.constant_fault(again):
            raise _Fault(message)
        _require_agreement(written, again if folded == read else read)  # a path is folded after both have read it
    except RecursionError:
        raise InvalidSpec(f"{where}: {_too_deep(written)}") from None
    except _Fault as fault:
        said = str(fault)
        raise InvalidSpec(f"{where}: {said}{'' if said.endswith(('.', '?')) else '.'}") from None
    names = dict.fromkeys(column.name for column in again.find_all(exp.Column))
    return Parsed(written, again, tuple(names), where)


def _require_agreement(written: str, tree: exp.Expr) -> None:
    """Raise _Fault where the checked tree is not all that DuckDB reads in what was written."""
    if isinstance(tree, exp.Column) and written.strip() in (tree.name, engine.name(tree.name)):
        return  # a bare name may be a word of SQL, such as "desc"
    printed, read = _sql(tree), parsetree.selected(written)
    if isinstance(read, str):
        quoted = _with_names_quoted(written, {column.name for column in tree.find_all(exp.Column)})
        if isinstance(parsetree.selected(quoted), str):
            raise _Fault(f"{shown(written)} is not allowed: {read}")
        written = quoted
    if not agreement.agree(written, printed):
        raise _Fault(
            f"{shown(written)} would be read as {shown(printed)}, which is not the same. If that is what you mean, "
            "write it so; docs/expressions.md lists what is allowed"
        )


def _with_names_quoted(written: str, names: Collection[str]) -> str:
    """The same with these names of columns in quotes, where they stand without: DuckDB reserves some, such as `at`."""
    quoted, end = "", 0
    for token in sqlglot.tokenize(written, dialect="duckdb"):
        if token.text in names and written[token.start : token.end + 1] == token.text:
            quoted += written[end : token.start] + engine.name(token.text)
            end = token.end + 1
    return quoted + written[end:]


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


def _with_paths(tree: exp.Expr) -> exp.Expr:
    """The tree with each path, such as user.geo or items[0].id, as a column of that name."""

    def folded(node: exp.Expr) -> exp.Expr:
        steps = _steps(node) if isinstance(node, exp.Column | exp.Dot | exp.Bracket) else None
        return exp.column(paths.Path("@", steps).column, quoted=True) if steps and len(steps) > 1 else node

    return tree.transform(folded)


def _steps(node: exp.Expr) -> tuple[paths.Step, ...] | None:
    """The names and indices, from 0, of a path; None where the node is none."""
    if isinstance(node, exp.Column):
        parts = [part for part in node.parts if isinstance(part, exp.Identifier)]
        return tuple(part.name for part in parts) if len(parts) == len(node.parts) else None
    before = _steps(node.this) if isinstance(node, exp.Dot | exp.Bracket) else None
    if before is None:
        return None
    if isinstance(node, exp.Dot):
        return (*before, node.expression.name) if isinstance(node.expression, exp.Identifier) else None
    place = node.expressions[0] if len(node.expressions) == 1 else None
    if isinstance(place, exp.Literal) and place.is_string:
        return (*before, place.name)
    # sqlglot takes 1 away from an index, because DuckDB counts from 1; paths count from 0
    if isinstance(place, exp.Neg) and place.this.name == "1":
        return (*before, 0)
    whole = isinstance(place, exp.Literal) and place.name.isdigit() and len(place.name) <= 9
    return (*before, int(place.name) + 1) if whole and isinstance(place, exp.Literal) else None


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
        if message := grammar.fault(node, written):
            raise _Fault(message)
        levels += [(child, level + 1) for child in node.iter_expressions()]
    grown = growth.measure(tree)
    if grown.total.share > _MOST_TEXTS or len(grown.guarded) > _MOST_GUARDED:
        raise _Fault(f"{shown(written)} would make too much text from each row. Use fewer functions")
    return tree


def _sql(tree: exp.Expr) -> str:
    """The SQL of a checked tree, every name in quotes."""
    return tree.sql(dialect="duckdb", identify=True, comments=False)


def sql(
    parsed: Parsed,
    columns: Mapping[str, tuple[str, bool]],
    type_of: Callable[[str], str] | None = None,
    numbers: NumberFormat = PLAIN_NUMBERS,
) -> str:
    """DuckDB's SQL for the expression.

    `columns` gives for each column it names the SQL that stands for it and whether it is text. Casts become exact, and
    fail where they are not. `type_of` gives the DuckDB type of SQL over these columns, of which a cast's exactness
    depends; without it, only casts of text columns are exact: enough to see whether it can be computed at all.
    `numbers` is how columns of text write numbers. Raises InvalidSpec for a cast that there is none for, and when what
    sqlglot prints is not what was checked.
    """
    stands_for: list[str] = []

    def printed(node: exp.Expr) -> str:
        return _STANDS_FOR.sub(lambda match: stands_for[int(match.group(1))], _verified(node, parsed.written))

    def translated(node: exp.Expr) -> str | None:
        if isinstance(node, exp.Column):
            return columns[node.name][0]
        if id(node) in guarded:
            return growth.guard(node, printed)
        if not isinstance(node, exp.Cast):
            return None
        if id(node) in of_columns:
            return lossless.guarded(_target(node.to), printed(node.this), numbers, try_=isinstance(node, exp.TryCast))
        return None if type_of is None else _cast(node, printed(node.this), type_of, parsed)

    tree = parsed.tree.copy()
    guarded = {id(node) for node in growth.measure(tree).guarded}
    of_columns = {
        id(node) for node in tree.find_all(exp.Cast) if isinstance(node.this, exp.Column) and columns[node.this.name][1]
    }
    for node in reversed([*tree.bfs()]):  # what it is made of comes first
        replacement = translated(node)
        if replacement is None:
            continue
        stands_for.append(replacement)
        name = exp.column(f"{_MARK}_{len(stands_for) - 1}", quoted=True)
        if node is tree:
            tree = name
        else:
            node.replace(name)
    return printed(tree)


def _cast(node: exp.Cast, given: str, type_of: Callable[[str], str], parsed: Parsed) -> str:
    """SQL for a cast of what `given` computes. Raises InvalidSpec for a pair of types that no value fits."""
    target, source = _target(node.to), type_of(given)
    cast = lossless.computed(source, target, given, try_=isinstance(node, exp.TryCast))
    if cast is not None:
        return cast
    remedy = ""
    if source in lossless.MOMENTS:
        remedy = " Name the zone: write AT TIME ZONE 'UTC', or another, before the cast."
    message = f"{parsed.where}: {shown(parsed.written)} casts {source} to {target}, which can change the value.{remedy}"
    raise InvalidSpec(message, "WrongSpecification")


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
