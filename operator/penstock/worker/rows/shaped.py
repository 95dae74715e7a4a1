# ruff: noqa: S608 - SQL is built here; every name and literal in it goes through engine.name and engine.text
"""A Dataset's fields as SQL over a chunk of a stream's columns, and what can go wrong in shaping them.

Each field is computed in steps, each a column of its own so that nothing is computed twice: what its expression gives,
the source value, the attempt at the field's type, and the value that was accepted. What did not become a value, and
why, is a Fault. Fields whose cells Arrow can read have `direct` too, which answers for most rows without SQL.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from penstock.api.fields import SchemaField
from penstock.worker.rows import direct, engine
from penstock.worker.rows.casts import Cast

EXACT = "exact"
"""The column, beside a chunk's own, with the texts of its exact cells: a JSON object by column, null without any."""
_WRITTEN = {
    "date": "2026-01-31",
    "timestamp": "2026-01-31 13:45:00",
    "timestamptz": "2026-01-31 13:45:00+01",
}
"""How dates and times are written where a field sets no `formats`."""
_NO_VALUE = ("na", "n/a", "#n/a", "null", "none", "nil", "nan", "-", "--", "?", "\\n", "unknown", "")
"""Texts that often mean that there is no value, in lower case."""
HINTED = 100
"""Fields of a Dataset up to which messages have hints that depend on the value: in DuckDB, each takes memory."""
_NULLS = "; if this means no value, add it to nullValues"
_COMMAS = "; if numbers are written with commas, set decimal or thousands"
_ISO_DATE = r"^\s*\d{4}-\d{2}-\d{2}"


@dataclass(frozen=True)
class Fault:
    """One way a row can be bad: an SQL condition over the shaped columns, what to say, and what it is in general.

    `reason` is a code, `kind` the same as a sentence with the field's name; neither holds a value of a row.
    """

    stage: str
    field: str | None
    reason: str
    condition: str
    message: str
    kind: str


@dataclass(frozen=True)
class ShapedField:
    """A field as SQL. Its steps are columns that end with its number among the fields."""

    field: SchemaField
    number: int
    expression_sql: str | None
    """What `from` computes; None where it names a column."""
    source_sql: str
    """The value before it is cast: the column, or what the expression gave; null where it is one of the null values."""
    cast: Cast
    source_columns: tuple[str, ...]
    """Names of the columns that it is made of."""
    chunk_columns: tuple[str, ...]
    """The same as they are called in a chunk: c0, c1, …"""
    direct: "direct.Reading | None" = None
    may_be_exact: bool = False
    """Whether the chunk may have exact cells (ExactCell) in these columns."""
    exact_is_value: bool = False
    """Whether the exact text is the value: a string takes what no date can hold."""
    texts: int = 0
    """How many long texts its expression may make from a row: see growth."""
    share: float = 0
    """Bytes that its expression may make for each byte of the row, where it makes long texts."""
    forbidden: str = ""
    """Characters that the Dataset's store cannot hold in a text."""
    longest: int | None = None
    """Bytes that the text can have at most, where the store cannot hold a longer one."""
    has_hints: bool = True
    """Whether messages say what to do about a value that is often found in files. Each of them takes memory."""
    is_text: bool = False
    """Whether the source value is a text."""
    may_have_commas: bool = False
    """Whether it is a number in a text file for which no other separators are set."""
    null_on_mismatch: bool = False
    """Whether a value that is not of the field's type is no value, and does not make the row bad."""
    masked: bool = False
    """Whether messages must not show the source value: a sensitive field is made from one of the same columns."""

    @property
    def expression(self) -> str:
        """The column of what the expression gave: a struct with `v`, or null where it failed."""
        return f"expression_{self.number}"

    @property
    def source(self) -> str:
        """The column of the value before it is cast."""
        return f"source_{self.number}"

    @property
    def attempt(self) -> str:
        """The column of the cast's attempt."""
        return f"attempt_{self.number}"

    @property
    def value(self) -> str:
        """The column of the accepted value."""
        return f"value_{self.number}"

    @property
    def direct_value(self) -> str:
        """The column of values that were read directly, where there are some."""
        return f"direct_{self.number}"

    @property
    def exact(self) -> str:
        """The column of the exact text of a cell that the field is made of; null where no cell has one."""
        return f"exact_{self.number}"

    @property
    def shown(self) -> str:
        """The source value for messages, as an SQL text; masked where it is sensitive."""
        if self.masked:
            return "'the value'"
        text = f"CAST({self.source} AS VARCHAR)"
        text = f"coalesce({self.exact}, {text})" if self.may_be_exact else text
        return f"""'"' || left({text}, 64) || '"'"""


@dataclass(frozen=True)
class Shape:
    """All fields over one set of columns. `columns` are those that chunks must have, in order, as c0, c1, …"""

    fields: tuple[ShapedField, ...]
    columns: tuple[str, ...]
    open: bool
    types: tuple[str, ...] = ()
    """The source types of the columns, where they have some."""
    as_written: bool = False
    """Whether chunks keep their records as they were written, for payloads."""

    @property
    def sensitive(self) -> frozenset[str]:
        """The columns that a sensitive field is made from."""
        return frozenset(name for field in self.fields if field.field.sensitive for name in field.source_columns)


def relation(fields: Sequence[ShapedField], table: str) -> str:
    """SQL for the table with these fields' steps beside its columns."""
    exact = [f"{_exact_text(each)} AS {each.exact}" for each in fields if each.may_be_exact]
    expressions_ = [f"{each.expression_sql} AS {each.expression}" for each in fields if each.expression_sql]
    sources = [f"{each.source_sql} AS {each.source}" for each in fields]
    attempts = [f"{each.cast.attempt} AS {each.attempt}" for each in fields]
    values = [f"{each.cast.accept} AS {each.value}" for each in fields]
    sql = table
    for step in filter(None, (exact, expressions_, sources, attempts, values)):
        sql = f"(SELECT *, {', '.join(step)} FROM {sql})"
    return sql


def _exact_text(shaped: ShapedField) -> str:
    texts = [f"json_extract_string({EXACT}, '{column}')" for column in shaped.chunk_columns]
    return f"CASE WHEN {EXACT} IS NOT NULL THEN coalesce({', '.join(texts)}) END"


def _format_hint(shaped: ShapedField) -> str:
    """What to do about texts that are no dates as we write them; "" where `formats` are set, or for other types."""
    written = _WRITTEN.get(shaped.field.type)
    if written is None or shaped.field.formats or not shaped.is_text:
        return ""
    return f"; set formats if the values are not written {written}"


def _hints(shaped: ShapedField) -> str:
    """SQL that continues the message about a text that is not of the field's type."""
    text, sql = f"CAST({shaped.source} AS VARCHAR)", ""
    if hint := _format_hint(shaped):
        sql += f" || CASE WHEN regexp_matches({text}, {engine.text(_ISO_DATE)}) THEN '' ELSE {engine.text(hint)} END"
    if shaped.field.type != "string" and shaped.is_text and not shaped.masked and shaped.has_hints:
        words = ", ".join(engine.text(word) for word in _NO_VALUE)
        sql += f" || CASE WHEN lower(trim({text})) IN ({words}) THEN {engine.text(_NULLS)} ELSE '' END"
    return sql


def faults(shaped: ShapedField) -> Iterable[Fault]:
    """What can go wrong in shaping the field."""
    field = shaped.field
    if shaped.expression_sql is not None:
        message = f"cannot be computed from {field.from_}"
        text = engine.text(f"{field.name}: {message}")
        kind = f"{field.name} {message}"
        yield Fault("shape", field.name, "NotComputable", f"{shaped.expression} IS NULL", text, kind)
    if shaped.null_on_mismatch and not field.required:
        if shaped.may_be_exact and shaped.expression_sql is not None:
            yield _out_of_range(shaped, "lies outside what can be computed with")
        return
    not_one = f"is not {'an' if field.type == 'int' else 'a'} {field.type}"
    message = f"{engine.text(field.name + ': ')} || {shaped.shown} || {engine.text(' ' + not_one)}"
    kind = f"{field.name} {not_one}"
    no_value = f"{shaped.source} IS NOT NULL AND {shaped.value} IS NULL"
    if shaped.may_have_commas and shaped.has_hints:
        condition = f"{no_value} AND contains({shaped.source}, ',')"
        yield Fault("shape", field.name, "WrongType", condition, f"{message} || {engine.text(_COMMAS)}", kind + _COMMAS)
        no_value += f" AND NOT contains({shaped.source}, ',')"
    yield Fault("shape", field.name, "WrongType", no_value, message + _hints(shaped), kind + _format_hint(shaped))
    if shaped.may_be_exact and not shaped.exact_is_value:
        yield _out_of_range(shaped, "lies outside what can be computed with" if shaped.expression_sql else not_one)


def _out_of_range(shaped: ShapedField, reason: str) -> Fault:
    """That an exact cell is no value."""
    name = shaped.field.name
    message = f"{engine.text(name + ': ')} || {shaped.shown} || {engine.text(' ' + reason)}"
    return Fault("shape", name, "OutOfRange", f"{shaped.exact} IS NOT NULL", message, f"{name} {reason}")
