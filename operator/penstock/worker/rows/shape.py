# ruff: noqa: S608 - SQL is built here; every name and literal in it goes through engine.name and engine.text
"""From a stream's columns to the Dataset's fields: which column or expression, which type, as SQL over a chunk.

Three steps a field, each a column of its own so that nothing is computed twice: the source value, the attempt at its
type, and the value that was accepted. What did not become a value, and why, is told as faults.
"""

import difflib
import hashlib
import json
import re
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import duckdb

from penstock.api.dataset import SchemaField
from penstock.connectors.files.formats import Columns, Measure
from penstock.language.errors import InvalidSpec
from penstock.worker.rows import engine, lossless

if TYPE_CHECKING:
    from penstock.worker.rows import expressions

_TEXT = "VARCHAR"
_WORDS = re.compile(r"[\w .-]+")
_DELIMITERS = ",;\t|"
_NEVER = ("No function matches", "does not support the supplied arguments")
"""What DuckDB says of arguments that no column's type would make right."""


@dataclass(frozen=True)
class Fault:
    """One way a row can be bad: an SQL condition over the shaped columns, what to say, and what it is in general."""

    stage: str
    field: str
    condition: str
    message: str
    kind: str


@dataclass(frozen=True)
class ShapedField:
    """A field as SQL. Its columns are e, s, t and v with its number: expression, source, attempt, value."""

    field: SchemaField
    number: int
    expression: str | None
    source: str
    cast: lossless.Cast
    columns: tuple[str, ...]
    same: str | None
    """The chunk's column that is the value as it stands, which is so for plain text."""
    plainly: str | None
    """The chunk's column whose plainly written values are to be beside it as column k with this number."""
    masked: bool = False
    """Whether messages must not show the source value: a sensitive field is made from one of the same columns."""

    @property
    def value(self) -> str:
        """The column of the accepted value."""
        return f"v{self.number}"

    @property
    def shown(self) -> str:
        """The source value for messages, as an SQL text; masked where it is sensitive."""
        if self.masked:
            return "'the value'"
        return f"""'"' || left(CAST(s{self.number} AS VARCHAR), 64) || '"'"""


@dataclass(frozen=True)
class Shape:
    """All fields over one set of columns. `columns` are those that chunks must have, in order, as c0, c1, …

    Beside them lie, as k0, k1, …, what `plain` says: (name, column, type) for `lossless.plainly`.
    """

    fields: tuple[ShapedField, ...]
    columns: tuple[str, ...]
    open: bool

    @property
    def relation(self) -> str:
        """SQL for the table `chunk` with every field's steps beside its columns."""
        expressions_ = [f"{field.expression} AS e{field.number}" for field in self.fields if field.expression]
        sources = [f"{field.source} AS s{field.number}" for field in self.fields]
        attempts = [f"{field.cast.attempt} AS t{field.number}" for field in self.fields]
        values = [f"{field.cast.accept} AS v{field.number}" for field in self.fields]
        steps = [step for step in (expressions_, sources, attempts, values) if step]
        sql = "chunk"
        for step in steps:
            sql = f"(SELECT *, {', '.join(step)} FROM {sql})"
        return sql

    @property
    def plain(self) -> tuple[tuple[str, str, str], ...]:
        """Which columns are to be read plainly."""
        return tuple((f"k{f.number}", f.plainly, f.field.type) for f in self.fields if f.plainly is not None)

    @property
    def faults(self) -> list[Fault]:
        """What can go wrong in shaping, in the order of the fields."""
        return [fault for field in self.fields for fault in _faults(field)]

    @property
    def sensitive(self) -> frozenset[str]:
        """The columns that a sensitive field is made from."""
        return frozenset(name for field in self.fields if field.field.sensitive for name in field.columns)


@dataclass(frozen=True)
class _Origin:
    """What `from` says: an expression over columns, or, without one, the one column itself."""

    written: str
    columns: tuple[str, ...]
    expression: "expressions.Parsed | None" = None


def compile(fields: Sequence[SchemaField], columns: Columns, where: str) -> Shape:
    """The fields over these columns. `where` names the file, for messages.

    Raises InvalidSpec: with WrongSpecification for a column that is not there or can never be of the field's type.
    """
    parsed = [_origin(field, columns) for field in fields]
    names = columns.names
    if columns.open:
        names = tuple(dict.fromkeys(name for origin in parsed for name in origin.columns))
        columns = Columns(names, (_TEXT,) * len(names), open=True)
    shaped = [
        _shaped(number, field, origin, columns, where)
        for number, (field, origin) in enumerate(zip(fields, parsed, strict=True))
    ]
    asked = _marked(names, fields, parsed) if columns.open else names
    bare = Shape(tuple(shaped), asked, columns.open)
    hidden = bare.sensitive
    return replace(bare, fields=tuple(replace(each, masked=not hidden.isdisjoint(each.columns)) for each in shaped))


def _marked(names: Sequence[str], fields: Sequence[SchemaField], origins: Sequence[_Origin]) -> tuple[str, ...]:
    """The names, each marked that no string and no expression is made of: those may see how a number is written."""
    seen = {
        name
        for field, origin in zip(fields, origins, strict=True)
        for name in origin.columns
        if field.type == "string" or origin.expression is not None
    }
    return tuple(name if name in seen else Measure(name) for name in names)


def check_expression(written: str, where: str) -> None:
    """Raise InvalidSpec for a `from` that can work over no columns whatever. `where` names the field, for messages.

    Words are left alone: a column may have that name. What depends on the columns and their types, a run tells.
    """
    if _WORDS.fullmatch(written):
        return
    from penstock.worker.rows import expressions

    try:
        parsed = expressions.parse(written, where)
        sql = expressions.sql(parsed, dict.fromkeys(parsed.columns, ("NULL", False)))
        with duckdb.connect(":memory:", config={"enable_external_access": "false"}) as connection:
            connection.execute(f"DESCRIBE SELECT TRY({sql})")
    except duckdb.BinderException as error:
        said = engine.one_line(error)
        if any(words in said for words in _NEVER):  # else DuckDB wants to know the columns' types
            raise InvalidSpec(f"{where}: {written} cannot be computed: {said}") from None
    except InvalidSpec as refused:
        raise InvalidSpec(f"{refused.message} A column of that very name is written in double quotes.") from None


def digest(fields: Sequence[SchemaField]) -> str:
    """The first 12 hex digits of the schema's SHA-256."""
    canonical = json.dumps([field.to_object() for field in fields], sort_keys=True, separators=(",", ":"))
    return hashlib.sha256(canonical.encode()).hexdigest()[:12]


def _origin(field: SchemaField, columns: Columns) -> _Origin:
    """What `from` says: a column wherever one has that very name, else an expression."""
    written = field.from_ or field.name
    if field.from_ is None or written in columns.names:
        return _Origin(written, (written,))
    from penstock.worker.rows import expressions  # sqlglot takes a tenth of a second: most Datasets go without

    parsed = expressions.parse(written, f"field {field.name}")
    if parsed.column is not None:
        return _Origin(written, (parsed.column,))
    return _Origin(written, parsed.columns, parsed)


def _index(name: str, columns: Columns, field: str, where: str) -> int:
    """The column's position: of that name, or the only one that differs in case. Raises InvalidSpec when missing."""
    if name in columns.names:
        return columns.names.index(name)
    alike = [index for index, there in enumerate(columns.names) if there.lower() == name.lower()]
    if len(alike) == 1:
        return alike[0]
    near = difflib.get_close_matches(name, columns.names, n=1, cutoff=0.5)
    listed = ", ".join(f'"{there}"' for there in columns.names[:20])
    hint = f'did you mean "{near[0]}"?' if near and not _undivided(columns) else f"there are {listed}."
    hint += " Check delimiter." if _undivided(columns) else ""
    message = f'{where}: field {field} needs the column "{name}", which is not there; {hint}'
    raise InvalidSpec(message, "WrongSpecification")


def _undivided(columns: Columns) -> bool:
    """Whether the one column that there is looks like a header that another character divides."""
    return len(columns.names) == 1 and any(character in columns.names[0] for character in _DELIMITERS)


def _shaped(number: int, field: SchemaField, origin: _Origin, columns: Columns, where: str) -> ShapedField:
    places = {name: _index(name, columns, field.name, where) for name in origin.columns}
    named = tuple(columns.names[place] for place in places.values())
    expression, source, kind = None, "", _TEXT
    if origin.expression is None:
        place = places[origin.columns[0]]
        source, kind = f"c{place}", columns.types[place]
    else:
        from penstock.worker.rows import expressions

        stands_for = {name: (f"c{place}", columns.types[place] == _TEXT) for name, place in places.items()}
        sql = expressions.sql(origin.expression, stands_for)
        kind = _type_of(sql, columns, field, origin.written)
        expression, source = f"TRY(struct_pack(v := {sql}))", f"e{number}.v"
    if field.null_values and kind == _TEXT:
        listed = ", ".join(engine.text(value) for value in field.null_values)
        source = f"CASE WHEN {source} NOT IN ({listed}) THEN {source} END"
    s, t = f"s{number}", f"t{number}"
    cast = (
        lossless.from_text(field.type, s, t, field.formats or ())
        if kind == _TEXT
        else lossless.from_type(kind, field.type, s, t)
    )
    if cast is None:
        message = f"{where}: field {field.name} is {field.type}, and {origin.written} is {kind}, which never is one."
        raise InvalidSpec(f"{message} Change the type, or convert it in `from`.", "WrongSpecification")
    plain = expression is None and kind == _TEXT and not (field.null_values or field.formats)
    same = source if plain and field.type == "string" else None
    plainly = source if plain and lossless.plain(field.type) else None
    cast = cast.unless(f"k{number}") if plainly else cast
    return ShapedField(field, number, expression, source, cast, named, same, plainly)


def _type_of(sql: str, columns: Columns, field: SchemaField, written: str) -> str:
    """The DuckDB type of an expression over these columns."""
    empty = ", ".join(f"CAST(NULL AS {kind}) AS c{index}" for index, kind in enumerate(columns.types)) or "1"
    with duckdb.connect(":memory:", config={"enable_external_access": "false"}) as connection:
        try:
            row = connection.execute(f"DESCRIBE SELECT TRY({sql}) AS v FROM (SELECT {empty})").fetchone()
        except duckdb.Error as error:
            message = f"field {field.name}: {written} cannot be computed: {engine.one_line(error)}"
            raise InvalidSpec(message) from None
    return str(row[1]) if row else _TEXT


def _faults(shaped: ShapedField) -> list[Fault]:
    if shaped.same is not None:
        return []
    field, number = shaped.field, shaped.number
    article = "an" if field.type == "int" else "a"
    not_one = f"is not {article} {field.type}"
    faults = [
        Fault(
            "shape",
            field.name,
            f"s{number} IS NOT NULL AND v{number} IS NULL",
            f"{engine.text(field.name + ': ')} || {shaped.shown} || {engine.text(' ' + not_one)}",
            f"{field.name} {not_one}",
        )
    ]
    if shaped.expression is not None:
        message = f"cannot be computed from {field.from_}"
        kind = f"{field.name} {message}"
        faults.insert(
            0, Fault("shape", field.name, f"e{number} IS NULL", engine.text(f"{field.name}: {message}"), kind)
        )
    return faults
