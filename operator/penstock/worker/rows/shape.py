# ruff: noqa: S608 - SQL is built here; every name and literal in it goes through engine.name and engine.text
"""From a stream's columns to the Dataset's fields: which column or expression, which type, as SQL over a chunk.

Each field is computed in steps, each a column of its own so that nothing is computed twice: what its expression gives,
the source value, the attempt at the field's type, and the value that was accepted. What did not become a value, and
why, is a Fault. Fields whose cells Arrow can read have `direct` too, which answers for most rows without SQL.
"""

import difflib
import hashlib
import json
import re
from collections.abc import Collection, Iterable, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import duckdb

from penstock.api.fields import SchemaField
from penstock.language import paths
from penstock.language.errors import InvalidSpec
from penstock.worker.ports.chunks import PLAIN_NUMBERS, Columns, NumberFormat
from penstock.worker.rows import direct, engine, lossless, portions, sourcenames

if TYPE_CHECKING:
    from penstock.worker.rows import expressions

EXACT = "exact"
"""The column, beside a chunk's own, with the texts of its exact cells: a JSON object by column, null without any."""
UNKNOWN = "UNKNOWN "
"""Begins the type of a column that no field can be made of."""

_TEXT = "VARCHAR"
_WORDS = re.compile(r"[\w .-]+")
_LIKE_A_NAME = re.compile(r"(?=.*[^!-~])[^'\";:\0]{1,64}")
"""What a person may have meant as a column's name: it has a blank or a letter past ASCII, and no quotes."""
_NEVER = ("No function matches", "does not support the supplied arguments")
"""What DuckDB says of arguments that no column's type would make right."""


_WRITTEN = {
    "date": "2026-01-31",
    "timestamp": "2026-01-31 13:45:00",
    "timestamptz": "2026-01-31 13:45:00+01",
}
"""How dates and times are written where a field sets no `formats`."""
_ISO_DATE = r"^\s*\d{4}-\d{2}-\d{2}"


@dataclass(frozen=True)
class Fault:
    """One way a row can be bad: an SQL condition over the shaped columns, what to say, and what it is in general.

    `reason` is a code, `kind` the same as a sentence with the field's name; neither holds a value of a row.
    """

    stage: str
    field: str
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
    cast: lossless.Cast
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


@dataclass(frozen=True)
class _Origin:
    """What `from` says: an expression over columns, or, without one, the one column itself."""

    written: str
    columns: tuple[str, ...]
    expression: "expressions.Parsed | None" = None


@dataclass(frozen=True)
class Limits:
    """What the Dataset's store cannot hold: characters in any text, and texts longer than so many bytes, by field."""

    forbidden: str = ""
    longest: tuple[tuple[str, int], ...] = ()


NO_LIMITS = Limits()


def compiled(fields: Sequence[SchemaField], columns: Columns, where: str, limits: Limits = NO_LIMITS) -> Shape:
    """The fields over these columns. `where` names the file, for messages.

    Raises InvalidSpec: with WrongSpecification for a column that is not there or can never be of the field's type.
    """
    origins = [_origin(field, columns) for field in fields]
    if columns.open:
        names = tuple(dict.fromkeys(name for origin in origins for name in origin.columns))
        columns = replace(columns, names=names, types=(_TEXT,) * len(names))
    elif columns.partial:
        columns = _needed(columns, fields, origins, where)
    shaped = [
        _shaped(number, field, origin, columns, where)
        for number, (field, origin) in enumerate(zip(fields, origins, strict=True))
    ]
    _require_bounded(shaped)
    shape = Shape(tuple(shaped), columns.names, columns.open, columns.types, columns.as_written)
    hidden = shape.sensitive
    finished = [
        replace(
            each,
            masked=not hidden.isdisjoint(each.source_columns),
            forbidden=limits.forbidden if each.field.type == "string" else "",
            longest=dict(limits.longest).get(each.field.name),
        )
        for each in shaped
    ]
    return replace(shape, fields=tuple(finished))


def _require_bounded(fields: Sequence[ShapedField]) -> None:
    """Raise InvalidSpec where expressions together may make more text of one row than memory holds."""
    large = [each.field.name for each in fields if each.texts]
    if large and sum(each.texts for each in fields) > portions.MOST_TEXTS:
        listed = ", ".join(large[:5]) + (" and others" if len(large) > 5 else "")
        message = (
            f"The expressions of {len(large)} fields, {listed}, may make more than {portions.MOST_TEXTS} MiB of text "
        )
        message += "from one row. Use replace and regexp_replace in fewer fields."
        raise InvalidSpec(message)


def _needed(columns: Columns, fields: Sequence[SchemaField], origins: Sequence["_Origin"], where: str) -> Columns:
    """The columns that the fields are made of, in the order of the stream."""
    places = {
        sourcenames.index(name, columns, field.name, where)
        for field, origin in zip(fields, origins, strict=True)
        for name in origin.columns
    }
    ordered = sorted(places)
    names, types = (tuple(entries[place] for place in ordered) for entries in (columns.names, columns.types))
    for name, kind in zip(names, types, strict=True):
        if kind.startswith(UNKNOWN):
            message = f'{where}: the column "{name}" is of the type {kind.removeprefix(UNKNOWN)}, which cannot be read.'
            raise InvalidSpec(f"{message} Leave it out, or write it as another type.", "WrongSpecification")
    return replace(columns, names=names, types=types)


def check_expression(written: str, where: str) -> None:
    """Raise InvalidSpec for a `from` that can work over no columns whatever. `where` names the field, for messages.

    Words are left alone: a column may have that name. What depends on the columns and their types, a run tells.
    """
    if _WORDS.fullmatch(written) or paths.parse(written) or paths.of_row(written):
        return
    from penstock.worker.rows import expressions

    try:
        parsed = expressions.parse(written, where)
        sql = expressions.sql(parsed, dict.fromkeys(parsed.columns, ("NULL", False)))
    except InvalidSpec as refused:
        hint = " A column of that name is written in double quotes." if _LIKE_A_NAME.fullmatch(written) else ""
        raise InvalidSpec(refused.message + hint) from None
    try:
        with engine.small() as connection:
            connection.execute(f"SELECT TRY(struct_pack(v := {sql}))").fetchall()
    except duckdb.Error as error:
        said = engine.one_line(error)
        if not isinstance(error, duckdb.BinderException) or any(words in said for words in _NEVER):
            raise InvalidSpec(f"{where}: {expressions.shown(written)} cannot be computed: {said}") from None


def digest(fields: Sequence[SchemaField]) -> str:
    """The first 12 hex digits of the schema's SHA-256."""
    canonical = json.dumps([field.to_object() for field in fields], sort_keys=True, separators=(",", ":"))
    return hashlib.sha256(canonical.encode()).hexdigest()[:12]


def _origin(field: SchemaField, columns: Columns) -> _Origin:
    """What `from` says: a column wherever one has that very name, else a path, else an expression.

    Of open columns, any name may come: what is written with the characters of a name alone is one, unless it is a path.
    """
    written = field.from_ or field.name
    if field.from_ is None or written in sourcenames.places_of(columns.names)[0]:
        return _Origin(written, (written,))
    path = paths.parse(written) or paths.of_row(written)
    if path is not None and (columns.open or sourcenames.leads_into(path, columns)):
        return _Origin(written, (path.column,))
    if path is not None or (columns.open and _WORDS.fullmatch(written)):
        return _Origin(written, (written,))
    from penstock.worker.rows import expressions  # sqlglot takes a tenth of a second: most Datasets go without

    try:
        parsed = expressions.parse(written, f"field {field.name}")
    except InvalidSpec:
        if " " in written and _WORDS.fullmatch(written):  # no SQL, as Customer E-Mail: a column that is to be there
            return _Origin(written, (written,))
        raise
    if parsed.column is not None:
        return _Origin(written, (parsed.column,))
    return _Origin(written, parsed.columns, parsed)


def require_names(shaped: Shape, absent: Collection[str], names: Sequence[str], where: str) -> None:
    """Raise InvalidSpec (WrongSpecification) for a field that is one of the names that no row of an input has.

    `names` are some of those that are there, for the message. Names in expressions may be absent.
    """
    for each in shaped.fields:
        if each.expression_sql is not None or each.source_columns[0] not in absent:
            continue
        name = each.source_columns[0]
        path = paths.of_column(name)
        near = difflib.get_close_matches(name, names, n=1, cutoff=0.5) if path is None else []
        listed = ", ".join(f'"{there}"' for there in names[:20])
        hint = f'did you mean "{near[0]}"?' if near else f"there are {listed}."
        key, quoted = (path.shown, path.shown) if path else (name, engine.name(name))
        message = f'{where}: field {each.field.name} needs the key "{key}", which no line has; {hint} Keys that whole '
        message += f"files may lack are written as an expression: coalesce({quoted})."
        raise InvalidSpec(message, "WrongSpecification")


def _shaped(number: int, field: SchemaField, origin: _Origin, columns: Columns, where: str) -> ShapedField:
    places = {name: sourcenames.index(name, columns, field.name, where) for name in origin.columns}
    shaped = ShapedField(
        field,
        number,
        expression_sql=None,
        source_sql="",
        cast=lossless.Cast("", ""),
        source_columns=tuple(columns.names[place] for place in places.values()),
        chunk_columns=tuple(f"c{place}" for place in places.values()),
        may_be_exact=columns.partial and bool(places),
    )
    if origin.expression is None:
        place = places[origin.columns[0]]
        path = None if columns.open else paths.of_column(origin.columns[0])
        if path is not None:
            return _from_path(shaped, path, columns, where)
        column = _from_column(shaped, columns.types[place], columns.numbers, origin.written, where)
        return _with_exponents(column) if columns.open and field.type in ("int", "long") else column
    return _from_expression(shaped, origin.expression, places, columns, where)


def _from_column(shaped: ShapedField, source: str, numbers: NumberFormat, written: str, where: str) -> ShapedField:
    """The field as one column of the source type."""
    field, column = shaped.field, shaped.chunk_columns[0]
    value = column
    in_words = source in lossless.MOMENTS or source.startswith("DECIMAL")
    exact_is_text = field.type == "string" and in_words and shaped.may_be_exact
    if exact_is_text:  # the year 84107 is no date and NaN no decimal, and each a text like any other
        value = f"coalesce({shaped.exact}, {lossless.as_text(source, column)})"
        source = _TEXT
    value = _without_null_values(value, source, field)
    other = source == _TEXT and numbers != PLAIN_NUMBERS and lossless.is_number(field.type)
    if other:
        plain = lossless.plain_number(shaped.source, numbers)
        cast = lossless.from_text(field.type, plain, shaped.attempt)
    else:
        cast = _cast(shaped, source, written, where)
    reader = None if exact_is_text or other or field.formats else direct.reader(source, field.type)
    reading = None
    if reader is not None:
        read, always = reader
        nulls = direct.texts(field.null_values) if lossless.comes_as_text(source) else None
        reading = direct.Reading(read, column, always, bool(field.required), null_values=nulls)
        cast = cast.unless(shaped.direct_value)
    return replace(shaped, source_sql=value, cast=cast, direct=reading, exact_is_value=exact_is_text)


def _from_path(shaped: ShapedField, path: paths.Path, columns: Columns, where: str) -> ShapedField:
    """The field as what a path into a column leads to."""
    sql, source = _inside(path, columns, shaped.field, where)
    value = _without_null_values(sql, source, shaped.field)
    return replace(shaped, source_sql=value, cast=_cast(shaped, source, path.shown, where))


def _inside(path: paths.Path, columns: Columns, field: SchemaField, where: str) -> tuple[str, str]:
    """SQL for what a path into a column leads to, null where it is not there, and its type.

    Raises InvalidSpec (WrongSpecification) where the column has nothing of that name.
    """
    place = sourcenames.index(path.column, columns, field.name, where)
    sql, kind = f"c{place}", columns.types[place]
    for step in path.steps[1:]:
        if isinstance(step, int) and kind.endswith("]"):
            sql = f"list_extract({sql}, {step + 1})"
        elif isinstance(step, str) and kind.startswith("STRUCT(") and not kind.endswith("]"):
            sql = f"struct_extract({sql}, {engine.text(step)})"
        elif isinstance(step, str) and kind.startswith("MAP(VARCHAR,") and not kind.endswith("]"):
            sql = f"map_extract_value({sql}, {engine.text(step)})"
        else:
            message = f"{where}: field {field.name} needs {path.shown}, which leads into a {kind[:64]}."
            raise InvalidSpec(f"{message} Check `from`.", "WrongSpecification")
        try:
            kind = _type_of(sql, columns, field, path.shown)
        except InvalidSpec:
            message = f"{where}: field {field.name} needs {path.shown}, which is not there: it is a {kind[:200]}."
            raise InvalidSpec(message, "WrongSpecification") from None
    return sql, kind


def _with_exponents(shaped: ShapedField) -> ShapedField:
    """The same of JSON, in which 1E5 is as good a way to write a whole number as 100000."""
    cast = lossless.from_text("decimal(38,0)", shaped.source, shaped.attempt)
    cast = lossless.Cast(cast.attempt, f"TRY_CAST({cast.accept} AS {lossless.sql_type(shaped.field.type)})")
    return replace(shaped, cast=cast.unless(shaped.direct_value) if shaped.direct else cast)


def _from_expression(
    shaped: ShapedField, expression: "expressions.Parsed", places: dict[str, int], columns: Columns, where: str
) -> ShapedField:
    """The field as what its expression gives."""
    from penstock.worker.rows import expressions

    stands_for = dict[str, tuple[str, bool]]()
    for name, place in places.items():
        path = None if columns.open else paths.of_column(name)
        given = f"c{place}", columns.types[place]
        column, kind = _inside(path, columns, shaped.field, where) if path else given
        stands_for[name] = column, lossless.comes_as_text(kind)

    def type_of(part: str) -> str:
        return _type_of(part, columns, shaped.field, expression.written)

    sql = expressions.sql(expression, stands_for, type_of, columns.numbers)
    source = _type_of(sql, columns, shaped.field, expression.written)
    value = _without_null_values(f"{shaped.expression}.v", source, shaped.field)
    cast = _cast(shaped, source, expression.written, where)
    computed = f"TRY(struct_pack(v := {sql}))"
    grown = expression.growth
    share = grown.total.share if grown.texts else 0
    return replace(shaped, expression_sql=computed, source_sql=value, cast=cast, texts=grown.texts, share=share)


def _without_null_values(value: str, source: str, field: SchemaField) -> str:
    if not field.null_values or not lossless.comes_as_text(source):
        return value
    return f"CASE WHEN NOT {lossless.one_of(value, field.null_values)} THEN {value} END"


def _cast(shaped: ShapedField, source: str, written: str, where: str) -> lossless.Cast:
    """The cast from the source type to the field's. Raises InvalidSpec where there is none."""
    field = shaped.field
    if source == _TEXT:
        return lossless.from_text(field.type, shaped.source, shaped.attempt, field.formats or ())
    cast = lossless.from_type(source, field.type, shaped.source, shaped.attempt)
    if cast is None:
        message = f"{where}: field {field.name} is {field.type}, and {written} is {source}, which never is one."
        raise InvalidSpec(f"{message} Change the type, or convert it in `from`.", "WrongSpecification")
    return cast


def _type_of(sql: str, columns: Columns, field: SchemaField, written: str) -> str:
    """The DuckDB type of an expression over these columns."""
    types = [_TEXT if lossless.comes_as_text(kind) else kind for kind in columns.types]
    empty = ", ".join(f"CAST(NULL AS {kind}) AS c{index}" for index, kind in enumerate(types)) or "1"
    with engine.small() as connection:
        try:
            row = connection.execute(f"DESCRIBE SELECT TRY({sql}) AS v FROM (SELECT {empty})").fetchone()
        except duckdb.Error as error:
            message = f"field {field.name}: {written} cannot be computed: {engine.one_line(error)}"
            raise InvalidSpec(message) from None
    return str(row[1]) if row else _TEXT


def _format_hint(shaped: ShapedField) -> str:
    """SQL that continues a message about a text that is no date as we write them, where no `formats` are set."""
    written = _WRITTEN.get(shaped.field.type)
    if written is None or shaped.field.formats:
        return ""
    hint = engine.text(f"; set formats if the values are not written {written}")
    as_we_do = f"regexp_matches(CAST({shaped.source} AS VARCHAR), {engine.text(_ISO_DATE)})"
    return f" || CASE WHEN {as_we_do} THEN '' ELSE {hint} END"


def faults(shaped: ShapedField) -> Iterable[Fault]:
    """What can go wrong in shaping the field."""
    field = shaped.field
    if shaped.expression_sql is not None:
        message = f"cannot be computed from {field.from_}"
        text = engine.text(f"{field.name}: {message}")
        kind = f"{field.name} {message}"
        yield Fault("shape", field.name, "NotComputable", f"{shaped.expression} IS NULL", text, kind)
    not_one = f"is not {'an' if field.type == 'int' else 'a'} {field.type}"
    message = f"{engine.text(field.name + ': ')} || {shaped.shown} || {engine.text(' ' + not_one)}"
    message += _format_hint(shaped)
    kind = f"{field.name} {not_one}"
    no_value = f"{shaped.source} IS NOT NULL AND {shaped.value} IS NULL"
    yield Fault("shape", field.name, "WrongType", no_value, message, kind)
    if shaped.may_be_exact and not shaped.exact_is_value:
        reason = "lies outside what can be computed with" if shaped.expression_sql else not_one
        message = f"{engine.text(field.name + ': ')} || {shaped.shown} || {engine.text(' ' + reason)}"
        kind = f"{field.name} {reason}"
        yield Fault("shape", field.name, "OutOfRange", f"{shaped.exact} IS NOT NULL", message, kind)
