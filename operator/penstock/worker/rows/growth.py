"""How much text an expression can make from a row, worked out before any row is read.

`size_of` gives an upper bound for the text that a node returns: bytes for each byte of the columns that it uses, and
bytes beside them. Most functions return about what they are given. `replace` and `regexp_replace` can multiply it, and
nested ones can fill any memory, so those past `_MOST` are guarded: they measure each row's text first.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field

from sqlglot import exp

from penstock.worker.rows import engine, grammar
from penstock.worker.rows.portions import LONGEST_TEXT

_MOST = 8.0
"""Times the bytes of the row that a function may make without being guarded."""
_MOST_CONSTANT = 8192
_OF_NUMBER = 64
"""Bytes of a number, a date or a time written as text."""
_PER_SPECIFIER = 12
"""Bytes that one character of a strftime format may become."""

_Both = Callable[[float, float], float]

_SAME = (
    *(exp.Upper, exp.Lower, exp.Trim, exp.Substring, exp.Left, exp.Right, exp.SplitPart, exp.RegexpExtract, exp.Paren),
    *(exp.Anonymous, exp.Cast, exp.TryCast, exp.AtTimeZone, exp.StrToTime),
)
_LARGEST = (exp.Case, exp.If, exp.Coalesce, exp.Nullif, exp.Greatest, exp.Least)
_SUM = (exp.Concat, exp.ConcatWs, exp.DPipe)


@dataclass(frozen=True)
class Size:
    """At most `shares[column]` bytes for each byte of the column, and `constant` bytes."""

    shares: Mapping[str, float] = field(default_factory=dict)
    constant: float = 0

    @property
    def share(self) -> float:
        """Bytes for each byte of the row."""
        return max(self.shares.values(), default=0)

    def plus(self, other: "Size") -> "Size":
        """Both, one after the other."""
        return self._with(other, lambda a, b: a + b)

    def or_(self, other: "Size") -> "Size":
        """The larger of the two, whichever that is for a row."""
        return self._with(other, max)

    def times(self, factor: float) -> "Size":
        """So many times as much."""
        return Size({name: share * factor for name, share in self.shares.items()}, self.constant * factor)

    def _with(self, other: "Size", both: "_Both") -> "Size":
        names = {**self.shares, **other.shares}
        shares = {name: both(self.shares.get(name, 0), other.shares.get(name, 0)) for name in names}
        return Size(shares, both(self.constant, other.constant))


@dataclass(frozen=True)
class Growth:
    """What an expression costs. `guarded` are the nodes that need a guard, the inner ones first."""

    guarded: tuple[exp.Expr, ...]
    total: Size
    """The texts of all steps together."""

    @property
    def texts(self) -> int:
        """How many texts of LONGEST_TEXT bytes a row may make; 0 where they are no larger than rows are anyway."""
        if self.guarded:
            return len(self.guarded)
        return 1 if self.total.share > _MOST or self.total.constant > _MOST_CONSTANT else 0


def measure(tree: exp.Expr) -> Growth:
    """The growth of an allowed expression."""
    guarded: list[exp.Expr] = []
    sizes: list[Size] = []
    _visit(tree, guarded, sizes)
    total = Size()
    for size in sizes:
        total = total.plus(size)
    return Growth(tuple(guarded), total)


def _visit(node: exp.Expr, guarded: list[exp.Expr], sizes: list[Size]) -> Size:
    """The size of the node; adds it, and those of its children, to `sizes`."""
    children = [_visit(child, guarded, sizes) for child in node.iter_expressions()]
    size = _size(node, children)
    if isinstance(node, exp.Replace | exp.RegexpReplace) and _is_too_much(size, children[0]):
        guarded.append(node)
        size = Size({}, LONGEST_TEXT)
    if isinstance(node, exp.Column | exp.Identifier | exp.DataType | exp.Literal):
        return size  # makes no text of its own
    sizes.append(size)
    return size


def _is_too_much(size: Size, given: Size) -> bool:
    grown = size.share > given.share or size.constant > given.constant
    return grown and (size.share > _MOST or size.constant > _MOST_CONSTANT)


def _size(node: exp.Expr, children: list[Size]) -> Size:
    match node:
        case exp.Column():
            size = Size({node.name: 1}, _OF_NUMBER)
        case exp.Literal():
            size = Size({}, _bytes(node.name))
        case exp.Replace():
            size = _replaced(node, children)
        case exp.RegexpReplace():
            size = _regexp_replaced(node, children)
        case exp.TimeToStr():
            size = Size({}, _PER_SPECIFIER * _bytes(node.args["format"].name))
        case exp.Pad():
            size = children[0].or_(Size({}, 4 * grammar.LONGEST_PAD))
        case _ if isinstance(node, _SAME):
            size = children[0] if children else Size()
        case _:
            size = _combined(node, children)
    return size


def _combined(node: exp.Expr, children: list[Size]) -> Size:
    together = Size()
    if isinstance(node, _SUM):
        separators = children[0].times(len(children)) if isinstance(node, exp.ConcatWs) else Size()
        for child in [*children, separators]:
            together = together.plus(child)
    elif isinstance(node, _LARGEST):
        for child in children:
            together = together.or_(child)
    else:  # a number, a date, a time, true or false
        return Size({}, _OF_NUMBER)
    return together


def _replaced(node: exp.Expr, children: list[Size]) -> Size:
    searched, replacement = node.expression, node.args.get("replacement")
    if not (_is_text(replacement) and isinstance(replacement, exp.Literal)):
        return Size({}, float("inf"))
    each = max(1, _bytes(searched.name)) if _is_text(searched) else 1
    return children[0].times(max(1, _bytes(replacement.name) / each))


def _regexp_replaced(node: exp.Expr, children: list[Size]) -> Size:
    replacement, options = node.args.get("replacement"), node.args.get("modifiers")
    if not (_is_text(replacement) and isinstance(replacement, exp.Literal)):
        return Size({}, float("inf"))
    length, groups = _bytes(replacement.name), replacement.name.count("\\")
    if options is not None and "g" in options.name:
        return children[0].plus(Size({}, 1)).times(1 + length + groups)
    return children[0].times(1 + groups).plus(Size({}, length))


def _is_text(node: object) -> bool:
    return isinstance(node, exp.Literal) and bool(node.is_string)


def _bytes(text: str) -> int:
    return len(text.encode())


def guard(node: exp.Expr, sql: Callable[[exp.Expr], str]) -> str:
    """SQL that computes a guarded node, and fails for a row where its text would have more than LONGEST_TEXT bytes.

    `sql` writes an argument. A list of one entry binds the arguments, so that each is computed once.
    """
    given = [node.this, node.expression, node.args.get("replacement") or exp.Literal.string("")]
    bound = ", ".join(f"{name} := {sql(part)}" for name, part in zip("xyz", given, strict=True))
    if isinstance(node, exp.Replace):
        call = "replace(w.x, w.y, w.z)"
        matches = "(strlen(w.x) - strlen(replace(w.x, w.y, ''))) // greatest(strlen(w.y), 1)"
        size = f"strlen(w.x) + ({matches}) * strlen(w.z)"
    else:  # the engine wants pattern and options as constants
        pattern, written = sql(node.expression), node.args.get("modifiers")
        options = written.name if written is not None else ""
        call = f"regexp_replace(w.x, {pattern}, w.z, {engine.text(options)})"
        matches = f"len(regexp_extract_all(w.x, {pattern}, 0, {engine.text(options.replace('g', ''))}))"
        size = f"strlen(w.x) * (1 + strlen(w.z) // 2) + ({matches}) * strlen(w.z)"
    fail = "CAST(CAST('too long' || left(w.x, 0) AS INTEGER) AS VARCHAR)"
    checked = f"CASE WHEN ({size}) > {LONGEST_TEXT} THEN {fail} ELSE {call} END"
    return f"list_transform([struct_pack({bound})], lambda w: {checked})[1]"
