# ruff: noqa: S608 - SQL is built here; every name and literal in it goes through engine.name and engine.text
"""One field as SQL over a stream's columns: its source value and the cast to its type."""

from dataclasses import replace
from typing import TYPE_CHECKING

import duckdb

from penstock.api.fields import SchemaField
from penstock.language import paths
from penstock.language.errors import InvalidSpec
from penstock.worker.ports.chunks import PLAIN_NUMBERS, Columns, NumberFormat
from penstock.worker.rows import direct, engine, lossless, sourcenames
from penstock.worker.rows.casts import Cast
from penstock.worker.rows.origins import Origin
from penstock.worker.rows.shaped import ShapedField

if TYPE_CHECKING:
    from penstock.worker.rows import expressions

_TEXT = "VARCHAR"
_NOTHING = '"NULL"'
"""DuckDB's type of what is null in all rows of a file."""


def shaped_field(number: int, field: SchemaField, origin: Origin, columns: Columns, where: str) -> ShapedField:
    places = {name: sourcenames.index(name, columns, field.name, where) for name in origin.columns}
    shaped = ShapedField(
        field,
        number,
        expression_sql=None,
        source_sql="",
        cast=Cast("", ""),
        source_columns=tuple(columns.names[place] for place in places.values()),
        chunk_columns=tuple(f"c{place}" for place in places.values()),
        may_be_exact=columns.partial and bool(places),
    )
    if origin.expression is None:
        place = places[origin.columns[0]]
        path = None if columns.open else paths.of_column(origin.columns[0])
        if path is not None:
            return _from_path(shaped, path, columns, where)
        numbers = numbers_of(field, columns)
        column = _from_column(shaped, columns.types[place], numbers, origin.written, where)
        if columns.as_written and numbers == PLAIN_NUMBERS:
            column = replace(column, may_have_commas=lossless.is_number(field.type))
        return _with_exponents(column, numbers) if columns.open and field.type in ("int", "long") else column
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
    value = _trimmed_or_null(value, source, field)
    other = source == _TEXT and not is_plain(numbers) and lossless.is_number(field.type)
    cast = _cast(shaped, source, written, where, numbers)
    words = None if field.booleans is None else (field.booleans.true_values, field.booleans.false_values)
    reader = None if exact_is_text or other or field.formats else direct.reader(source, field.type, words)
    reading = None
    if reader is not None:
        read, always = reader
        is_text = lossless.comes_as_text(source)
        nulls = direct.texts(field.null_values) if is_text else None
        trim = bool(field.trim) and is_text
        reading = direct.Reading(read, column, always, bool(field.required), trim=trim, null_values=nulls)
        cast = cast.unless(shaped.direct_value)
    return replace(
        shaped, source_sql=value, cast=cast, direct=reading, exact_is_value=exact_is_text, is_text=source == _TEXT
    )


def _from_path(shaped: ShapedField, path: paths.Path, columns: Columns, where: str) -> ShapedField:
    """The field as what a path into a column leads to."""
    sql, source = _inside(path, columns, shaped.field, where)
    value = _trimmed_or_null(sql, source, shaped.field)
    numbers = _own_numbers(shaped.field, columns)
    cast = _cast(shaped, source, path.shown, where, numbers)
    return replace(shaped, source_sql=value, cast=cast, is_text=source == _TEXT)


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
    return (f"CAST({sql} AS VARCHAR)", _TEXT) if kind == _NOTHING else (sql, kind)


def _with_exponents(shaped: ShapedField, numbers: NumberFormat) -> ShapedField:
    """The same of JSON, in which 1E5 is as good a way to write a whole number as 100000."""
    plain = lossless.plain_number(shaped.source, numbers)
    cast = lossless.from_text("decimal(38,0)", plain, shaped.attempt, _texts(shaped.field))
    cast = Cast(cast.attempt, f"TRY_CAST({cast.accept} AS {lossless.sql_type(shaped.field.type)})")
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

    sql = expressions.sql(expression, stands_for, type_of, numbers_of(shaped.field, columns))
    source = _type_of(sql, columns, shaped.field, expression.written)
    value = _trimmed_or_null(f"{shaped.expression}.v", source, shaped.field)
    cast = _cast(shaped, source, expression.written, where, _own_numbers(shaped.field, columns))
    computed = f"TRY(struct_pack(v := {sql}))"
    grown = expression.growth
    share = grown.total.share if grown.texts else 0
    return replace(
        shaped,
        expression_sql=computed,
        source_sql=value,
        cast=cast,
        texts=grown.texts,
        share=share,
        is_text=source == _TEXT,
    )


def _trimmed_or_null(value: str, source: str, field: SchemaField) -> str:
    if not lossless.comes_as_text(source):
        return value
    if field.trim:
        value = lossless.trimmed(value)
    if not field.null_values:
        return value
    return f"CASE WHEN NOT {lossless.one_of(value, field.null_values)} THEN {value} END"


def _cast(shaped: ShapedField, source: str, written: str, where: str, numbers: NumberFormat) -> Cast:
    """The cast from the source type to the field's. Raises InvalidSpec where there is none."""
    field = shaped.field
    if source == _TEXT:
        text = lossless.plain_number(shaped.source, numbers) if lossless.is_number(field.type) else shaped.source
        return lossless.from_text(field.type, text, shaped.attempt, _texts(field))
    rounding = field.rounding is not None
    cast = lossless.from_type(source, field.type, shaped.source, shaped.attempt, rounding=rounding)
    if cast is None:
        message = f"{where}: field {field.name} is {field.type}, and {written} is {source}, which never is one."
        raise InvalidSpec(f"{message} Change the type, or convert it in `from`.", "WrongSpecification")
    return cast


def _texts(field: SchemaField) -> lossless.Texts:
    """How texts of the field write days, times, and true and false."""
    texts = lossless.Texts(tuple(field.formats or ()), field.time_zone, rounding=field.rounding is not None)
    if field.booleans is None:
        return texts
    return replace(texts, true=tuple(field.booleans.true_values), false=tuple(field.booleans.false_values))


def numbers_of(field: SchemaField, columns: Columns) -> NumberFormat:
    """How texts write the field's numbers: by its own settings, else by the format's.

    Raises InvalidSpec where its one separator is the format's other one.
    """
    if field.decimal is None and field.thousands is None:
        return columns.numbers
    decimal = field.decimal or columns.numbers.decimal
    thousands = columns.numbers.thousands if field.thousands is None else field.thousands
    if decimal == thousands:
        message = f'field {field.name}: "{decimal}" is the decimal and the thousands separator'
        raise InvalidSpec(f"{message}: one is the field's, the other that of the format. Set both.")
    return NumberFormat(decimal, thousands, or_plain=columns.open)


def _own_numbers(field: SchemaField, columns: Columns) -> NumberFormat:
    """The same where the format has no say: in what an expression gives, and in nested values."""
    return PLAIN_NUMBERS if field.decimal is None and field.thousands is None else numbers_of(field, columns)


def is_plain(numbers: NumberFormat) -> bool:
    """Whether numbers are written with a point and without groups."""
    return (numbers.decimal, numbers.thousands) == (PLAIN_NUMBERS.decimal, PLAIN_NUMBERS.thousands)


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
