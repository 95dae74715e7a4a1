"""The columns of a Dataset: their names, types and rules, and the key."""

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Annotated, Any, Literal, Self, cast

from pydantic import Field, ModelWrapValidatorHandler, ValidationError, model_validator
from pydantic_core import ErrorDetails, InitErrorDetails

from penstock.api import parsing
from penstock.language import literals
from penstock.language.model import Faults, Model
from penstock.language.scalars import (
    Bound,
    Expression,
    FieldName,
    LongText,
    ShortText,
)

FieldType = Annotated[
    str,
    Field(
        max_length=32,
        pattern=r"^(string|boolean|int|long|double|date|timestamp|timestamptz|"
        r"decimal\((3[0-8]|[12][0-9]|[1-9]), ?(3[0-8]|[12]?[0-9])\))$",
        description="The column's type, by its Apache Iceberg name: string, boolean, int (32 bits), long (64 bits), "
        "double, decimal(precision,scale) of at most 38 digits, date, timestamp (microseconds, no zone), "
        "timestamptz (microseconds, UTC).",
    ),
]
ORDERED = ("int", "long", "double", "decimal", "date", "timestamp", "timestamptz")


class SchemaField(Model):
    """One column of the table: where its value comes from and what makes a value good."""

    name: Annotated[FieldName, Field(description="The column's name in the table.")]
    type: FieldType
    from_: Annotated[
        Expression | None,
        Field(
            alias="from",
            description="Where the value comes from: a column of the stream, or an SQL expression over its columns, "
            "such as make_date(year::int, month::int, day::int); docs/expressions.md lists what is allowed. Columns "
            "of text formats are strings. A path such as user.geo.country or items[0].id selects a nested value; "
            "see docs/nested.md. A cast that would change a value, such as 3.7 to int, makes the row bad. Write a "
            "column name in double quotes if it has other characters than letters, digits, blanks, _ and -. Keys of "
            "JSON are case-sensitive. Columns of CSV are not, unless two names differ only in case. Default: the "
            "column of the same name.",
        ),
    ] = None
    required: Annotated[bool | None, Field(description="A row without a value here is bad. Default: false.")] = None
    enum: Annotated[
        list[ShortText] | None,
        Field(min_length=1, max_length=256, description="The only values allowed; any other makes the row bad."),
    ] = None
    minimum: Annotated[
        Bound | None,
        Field(
            description='The smallest allowed value, as a string of the column\'s type: "-120", "2013-01-01", '
            '"2013-01-01T00:00:00Z".'
        ),
    ] = None
    maximum: Annotated[
        Bound | None, Field(description='The largest allowed value, as a string of the column\'s type: "2000".')
    ] = None
    check: Annotated[
        Expression | None,
        Field(
            description="A boolean SQL expression over the Dataset's fields that must not be false, such as "
            "length(tail) < 8. Null counts as true, as with CHECK in SQL. If it is false or cannot be computed, the "
            "row is bad (CheckFailed). Rows with a bad value are not checked."
        ),
    ] = None
    formats: Annotated[
        list[ShortText] | None,
        Field(
            min_length=1,
            max_length=8,
            description='Format of dates and times in the source, in strftime notation: "%d.%m.%Y". The first '
            "that fits is used. "
            "Default: ISO 8601.",
        ),
    ] = None
    null_values: Annotated[
        list[ShortText] | None,
        Field(max_length=32, description='Texts that mean no value in this column, for instance "NA".'),
    ] = None
    trim: parsing.Trim = None
    booleans: parsing.BooleanWords = None
    time_zone: parsing.Zone = None
    decimal: parsing.DecimalSeparator = None
    thousands: parsing.ThousandsSeparator = None
    rounding: Annotated[
        Literal["allow"] | None,
        Field(
            description="allow: round a number that has more digits than the type holds to the nearest value, and a "
            "half away from zero: 2.345 becomes 2.35 in decimal(9,2), and 3.7 becomes 4 in an int. A number that is "
            "too large is bad. Default: a number that the type cannot hold exactly is bad."
        ),
    ] = None
    sensitive: Annotated[
        bool | None,
        Field(
            description="Mask the value in previews, in the quarantine and in messages. The quarantine and messages "
            "also mask the columns that it is computed from. Default: false."
        ),
    ] = None
    renamed_from: Annotated[
        FieldName | None,
        Field(
            description="The previous name of the column. If the table has a column with that name and none with "
            "the new name, the column is renamed and keeps its values. It does not change `from`."
        ),
    ] = None
    description: Annotated[LongText | None, Field(description="Description of the column; stored with the table.")] = (
        None
    )

    @model_validator(mode="after")
    def _rules_fit_the_type(self) -> Self:
        if faults := [*self._faults()]:
            raise Faults(faults)
        return self

    def _faults(self) -> Iterator[str]:
        bare = self.type.partition("(")[0]
        if bare == "decimal" and (wrong := _scale_beyond_precision(self.type)):
            yield wrong
            return  # nothing can be read as a type that is none
        ordered, listed = bare in ORDERED, bare in ("string", "int", "long")
        if (self.minimum is not None or self.maximum is not None) and not ordered:
            yield f"minimum and maximum go with numbers, dates and times, not with {self.type}"
        if self.enum is not None and not listed:
            yield f"enum goes with string, int and long, not with {self.type}"
        if self.formats is not None and bare not in ("date", "timestamp", "timestamptz"):
            yield f"formats go with date, timestamp and timestamptz, not with {self.type}"
        elif bare != "timestamptz" and any(literals.has_offset(written) for written in self.formats or []):
            yield f"formats: %z and %Z go with timestamptz; a {self.type} would lose the offset"
        yield from _faults_of_parsing(self)
        yield from (f"formats: {fault}" for written in self.formats or [] if (fault := _format_fault(written)))
        values = [("enum", value) for value in self.enum or [] if listed]
        values += [(of, value) for of in ("minimum", "maximum") if ordered and (value := getattr(self, of)) is not None]
        read: dict[str, literals.Value] = {}
        for rule, written in values:
            try:
                read[rule] = literals.read(self.type, written)
            except ValueError as error:
                yield f"{rule} {error}"
        if "minimum" in read and "maximum" in read and read["minimum"] > read["maximum"]:  # type: ignore[operator] # of one type
            yield f'minimum "{self.minimum}" is above maximum "{self.maximum}", so no value would be good'


def _faults_of_parsing(field: SchemaField) -> Iterator[str]:
    """Settings of a field that do not go with its type, or with one another."""
    bare = field.type.partition("(")[0]
    if field.booleans is not None and bare != "boolean":
        yield f"booleans goes with boolean, not with {field.type}"
    if field.time_zone is not None and bare != "timestamptz":
        yield f"timeZone goes with timestamptz, not with {field.type}"
    if (field.decimal is not None or field.thousands is not None) and not literals.is_number(field.type):
        yield f"decimal and thousands go with numbers, not with {field.type}"
    if field.rounding is not None and not literals.is_number(field.type):
        yield f"rounding goes with numbers, not with {field.type}"
    yield from parsing.separators_fault(field.decimal, field.thousands)


def _scale_beyond_precision(decimal: str) -> str | None:
    precision, scale = (int(number) for number in re.findall(r"\d+", decimal))
    if scale <= precision:
        return None
    return f"{decimal} is not a type: at most {precision} of its {precision} digits can be behind the point"


def _format_fault(written: str) -> str | None:
    try:
        literals.check_format(written)
    except ValueError as error:
        return str(error)
    return None


class Schema(Model):
    """The table's columns, in order."""

    fields: Annotated[
        list[SchemaField],
        Field(min_length=1, max_length=2000, description="The columns, in the table's order; names are unique."),
    ]

    primary_key: Annotated[
        list[FieldName] | None,
        Field(
            min_length=1,
            max_length=8,
            description="The fields that identify a row, with writeMode: upsert. They are required: a row without a "
            "value in one of them is bad. A double cannot be one of them.",
        ),
    ] = None
    version_field: Annotated[
        FieldName | None,
        Field(
            description="The field that decides which of two rows with the same primaryKey is the later one: the "
            "row with the greater number, date or time. A row without a value in this field is older than all "
            "others. If the values are equal, the row that was read last wins. Default: the row that was read last "
            "wins."
        ),
    ] = None

    on_type_mismatch: Annotated[
        Literal["quarantine", "null"] | None,
        Field(
            description="What happens with a value that is not of its field's type. quarantine: the row is bad. "
            '"null", in quotes: the field has no value in this row, and the row is loaded; a row without a value in a '
            "field that is required is bad. An expression in `from` that cannot be computed makes the row bad in both "
            "cases. Default: quarantine."
        ),
    ] = None

    @property
    def key(self) -> tuple[str, ...]:
        """The names of the fields of the primary key; empty where there is none."""
        return tuple(self.primary_key or ())

    def with_required_key(self) -> Self:
        """The schema, with the fields of its primary key required."""
        if not self.key:
            return self
        fields = [
            field.model_copy(update={"required": True}) if field.name in self.key else field for field in self.fields
        ]
        return self.model_copy(update={"fields": fields})

    @property
    def renamed(self) -> dict[str, str]:
        """By a field's name, the name that its column had before."""
        return {field.name: field.renamed_from for field in self.fields if field.renamed_from is not None}

    @model_validator(mode="wrap")
    @classmethod
    def _names_are_unique(cls, given: Any, validate: ModelWrapValidatorHandler[Self]) -> Self:
        """Reported together with all other faults of the fields, and therefore read from what was given."""
        try:
            schema, faults = validate(given), list[InitErrorDetails]()
        except ValidationError as error:
            schema, faults = None, [_without_words(details) for details in error.errors()]
        fields = _named(given if schema is None else {"fields": schema.fields})
        faults += [*_names_that_stand_twice(fields), *_renames_of_fields(fields)]
        if schema is not None:
            faults += _faults_of_key(schema)
        if schema is None or faults:
            raise ValidationError.from_exception_data(cls.__name__, faults)
        return schema.with_required_key()


def _without_words(details: ErrorDetails) -> InitErrorDetails:
    """An error as pydantic takes it; the words it makes itself."""
    return cast(InitErrorDetails, {key: value for key, value in details.items() if key not in ("msg", "url")})


@dataclass(frozen=True)
class _Named:
    """What a field is called and was called, empty where that cannot be read."""

    index: int
    name: str
    renamed_from: str


def _named(given: Any) -> list[_Named]:
    fields = given.get("fields") if isinstance(given, Mapping) else None
    return [
        _Named(index, _text(field, "name", "name"), _text(field, "renamed_from", "renamedFrom"))
        for index, field in enumerate(fields if isinstance(fields, list) else [])
    ]


def _text(field: Any, attribute: str, key: str) -> str:
    value = field.get(key) if isinstance(field, Mapping) else getattr(field, attribute, None)
    return value if isinstance(value, str) else ""


def _names_that_stand_twice(fields: Sequence[_Named]) -> Iterator[InitErrorDetails]:
    seen: set[str] = set()
    for field in fields:
        if field.name and field.name.lower() in seen:
            yield _fault(
                ("fields", field.index), field.name, f'the name "{field.name}" occurs twice (case does not count)'
            )
        seen.add(field.name.lower())


def _renames_of_fields(fields: Sequence[_Named]) -> Iterator[InitErrorDetails]:
    """A column that is renamed is no field any more, and becomes one column only."""
    names, seen = {field.name.lower() for field in fields}, set[str]()
    for field in fields:
        if not field.renamed_from:
            continue
        before, fault = field.renamed_from.lower(), None
        if before in names and before != field.name.lower():
            fault = f'"{field.renamed_from}" is still the name of a field, so no column can be renamed from it'
        elif before in seen:
            fault = f'"{field.renamed_from}" occurs twice as renamedFrom; one column becomes one field'
        if fault:
            yield _fault(("fields", field.index, "renamedFrom"), field.renamed_from, fault)
        seen.add(before)


def _no_field(name: str, fields: Mapping[str, object]) -> str:
    """That the schema has no such field, and the first of those that it has."""
    shown = ", ".join([*fields][:12]) + (", …" if len(fields) > 12 else "")
    return f'there is no field "{name}"; the fields are {shown}'


def _faults_of_key(schema: Schema) -> Iterator[InitErrorDetails]:
    """What is wrong with `primaryKey` and `versionField`."""
    fields = {field.name: field for field in schema.fields}
    for index, name in enumerate(schema.key):
        place, field = ("primaryKey", index), fields.get(name)
        if field is None:
            yield _fault(place, name, _no_field(name, fields))
        elif name in schema.key[:index]:
            yield _fault(place, name, f'the field "{name}" occurs twice')
        elif field.type == "double":
            yield _fault(place, name, f"{name} is a double, which has no exact equality; use a decimal or a long")
        elif field.required is False:
            yield _fault(place, name, f"{name} has required: false, and a field of the primary key is required")
    if schema.version_field is None:
        return
    version = fields.get(schema.version_field)
    if not schema.key:
        yield _fault(("versionField",), schema.version_field, "versionField goes with a primaryKey")
    elif version is None:
        yield _fault(("versionField",), schema.version_field, _no_field(schema.version_field, fields))
    elif version.type.partition("(")[0] not in ORDERED:
        message = f"a version is a number, a date or a time, and {version.name} is a {version.type}"
        yield _fault(("versionField",), schema.version_field, message)


def _fault(place: tuple[str | int, ...], value: str, message: str) -> InitErrorDetails:
    return InitErrorDetails(type="value_error", loc=place, input=value, ctx={"error": ValueError(message)})
