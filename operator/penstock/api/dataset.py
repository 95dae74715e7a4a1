"""Dataset: one governed table in a Destination."""

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Annotated, Any, Literal, Self, cast

from pydantic import Field, ModelWrapValidatorHandler, ValidationError, model_validator
from pydantic_core import ErrorDetails, InitErrorDetails

from penstock.api.source import Inspection
from penstock.language import literals, scalars
from penstock.language.conditions import Conditions
from penstock.language.model import Faults, Model
from penstock.language.scalars import (
    Bound,
    Expression,
    FieldName,
    Generation,
    LongText,
    Name,
    Percent,
    Quantity,
    ShortText,
    TableName,
    Time,
)
from penstock.language.traits import WriteMode

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


class DestinationRef(Model):
    """A Destination in this namespace."""

    name: Annotated[Name, Field(description="Name of the Destination.")]


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
        elif bare != "timestamptz" and any(
            re.search("%[zZ]", written.replace("%%", "")) for written in self.formats or []
        ):
            yield f"formats: %z and %Z go with timestamptz; a {self.type} would lose the offset"
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
        """Told beside whatever else is wrong with the fields, and so read from what was given."""
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
                ("fields", field.index), field.name, f'the name "{field.name}" stands twice (case does not count)'
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
            fault = f'"{field.renamed_from}" stands twice as renamedFrom; one column becomes one field'
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
            yield _fault(place, name, f'the field "{name}" stands twice')
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


class Quality(Model):
    """Which share of bad rows is too large, and what happens with inputs that cannot be read."""

    max_bad_ratio: Annotated[
        Percent,
        Field(
            description='Largest share of the rows of a run that may be bad, as a percentage: "5%". Above it the '
            "run fails with TooManyBadRows, nothing is committed to this Dataset, and the next run reads the same "
            'files again. With "100%" no run fails for its bad rows.'
        ),
    ] = "50%"
    refused_inputs: Annotated[
        Literal["setAside", "fail"] | None,
        Field(
            description="What happens with an input that cannot be read at all, such as a file with another header. "
            "setAside: it becomes one entry in the quarantine and the other inputs are loaded; it is read again "
            "when it or the schema changes. fail: the run fails. With writeMode replace or snapshot the run always "
            "fails. Default: setAside."
        ),
    ] = None


SCRATCH_SIZE = "20Gi"
"""The most that a run may write into its scratch folder where `worker.resources` does not say."""


class ResourceList(Model):
    """Amounts of compute resources in Kubernetes notation."""

    cpu: Annotated[Quantity | None, Field(description='Cores: "2" or "500m".')] = None
    memory: Annotated[Quantity | None, Field(description='Bytes: "512Mi", "4Gi".')] = None
    ephemeral_storage: Annotated[
        Quantity | None,
        Field(
            alias="ephemeral-storage",
            description='Temporary files on disk, such as copies of Parquet files, in bytes: "10Gi". The limit '
            f"also limits the temporary folder of a run; without a limit the folder has at most {SCRATCH_SIZE}.",
        ),
    ] = None


class Resources(Model):
    """What a worker container asks for and may use at most."""

    requests: Annotated[ResourceList | None, Field(description="What the scheduler reserves.")] = None
    limits: Annotated[
        ResourceList | None,
        Field(description="The most that it may use; a worker that exceeds the memory limit is killed."),
    ] = None

    @model_validator(mode="after")
    def _requests_within_limits(self) -> Self:
        asked, most = (part.to_object() if part else {} for part in (self.requests, self.limits))
        faults = [
            f"requests.{name} {asked[name]} is more than limits.{name} {most[name]}"
            for name in asked
            if name in most and scalars.quantity(asked[name]) > scalars.quantity(most[name])  # type: ignore[operator] # by its pattern each is a number
        ]
        if faults:
            raise Faults(faults)
        return self


class Toleration(Model):
    """A taint that worker Pods tolerate, as `core/v1.Toleration` has it."""

    key: Annotated[
        str | None, Field(max_length=316, description="Key of the taint. With Exists and without a key: every taint.")
    ] = None
    operator: Annotated[
        Literal["Exists", "Equal"] | None, Field(description="How key and value are compared. Default: Equal.")
    ] = None
    value: Annotated[str | None, Field(max_length=63, description="The taint's value, with Equal.")] = None
    effect: Annotated[
        Literal["NoSchedule", "PreferNoSchedule", "NoExecute"] | None,
        Field(description="Effect of the taint. Default: every effect."),
    ] = None
    toleration_seconds: Annotated[
        int | None, Field(description="How long a NoExecute taint is tolerated, in seconds. Default: without limit.")
    ] = None


class Worker(Model):
    """Where the runs that write or deliver this Dataset run."""

    resources: Annotated[Resources | None, Field(description="Requests and limits of the worker container.")] = None
    node_selector: Annotated[
        dict[ShortText, ShortText] | None,
        Field(max_length=32, description="Labels that a node must have to run the Pod."),
    ] = None
    tolerations: Annotated[
        list[Toleration] | None, Field(max_length=16, description="Taints that the Pod tolerates.")
    ] = None
    service_account_name: Annotated[
        Name | None,
        Field(description="ServiceAccount of the Pod; its token is never mounted. Default: the namespace's default."),
    ] = None


class DatasetSpec(Model):
    """One governed table: its columns, what makes a row good, and how it is written."""

    destination_ref: Annotated[DestinationRef, Field(description="The Destination that holds the table. Immutable.")]
    table: Annotated[
        TableName,
        Field(description="The table's name in the Destination. No other Dataset can use it. Immutable."),
    ]
    description: Annotated[LongText | None, Field(description="Description of the table; stored with it.")] = None
    schema_: Annotated[Schema, Field(alias="schema", description="The table's columns.")]
    write_mode: Annotated[
        WriteMode,
        Field(
            description="append: each run adds its rows to the table; the rows of a changed file replace its "
            "earlier rows. replace: the rows of a run replace all rows of the table, in one commit. upsert: each "
            "row replaces the row with the same schema.primaryKey, or is added; a row with equal values changes "
            "nothing. snapshot: each run adds its rows and keeps those of earlier runs; each load has its own "
            "_penstock_loaded_at."
        ),
    ] = "append"
    quality: Annotated[Quality, Field(description="Limits for bad rows and for inputs that cannot be read.")] = (
        Quality()
    )
    worker: Annotated[Worker | None, Field(description="Nodes and resources of the Pods that load or deliver it.")] = (
        None
    )
    suspend: Annotated[
        bool, Field(description="Start no run that loads or delivers it. Runs that have started continue.")
    ] = False

    @model_validator(mode="after")
    def _key_goes_with_upsert(self) -> Self:
        if self.write_mode == "upsert" and not self.schema_.key:
            raise ValueError("writeMode: upsert needs schema.primaryKey, the fields that identify a row")
        if self.write_mode != "upsert" and self.schema_.key:
            raise ValueError(f"schema.primaryKey goes with writeMode: upsert, not with {self.write_mode}")
        return self


DATASET_RULES: list[dict[str, Any]] = [
    {
        "rule": "self.table == oldSelf.table",
        "message": "table is immutable; create another Dataset",
        "fieldPath": ".table",
    },
    {
        "rule": "self.destinationRef.name == oldSelf.destinationRef.name",
        "message": "destinationRef is immutable; create another Dataset",
        "fieldPath": ".destinationRef",
    },
]


class Column(Model):
    """A column as the table has it."""

    name: Annotated[ShortText, Field(description="Name of the column.")]
    type: Annotated[ShortText, Field(description="Type of the column, by its Iceberg name.")]


class DatasetStatus(Model):
    """What is known of a Dataset."""

    observed_generation: Generation = -1
    conditions: Conditions = []
    migration: Annotated[
        Inspection | None, Field(description="The newest migration: creating the table, or checking its columns.")
    ] = None
    table: Annotated[str | None, Field(max_length=512, description="The table's full name in its catalog.")] = None
    columns: Annotated[list[Column], Field(max_length=64, description="Columns of the table, at most 64.")] = []
    rows: Annotated[int | None, Field(description="Rows in the table after the newest commit.")] = None
    bytes: Annotated[int | None, Field(description="Size of the table's data, in bytes.")] = None
    quarantined_rows: Annotated[int | None, Field(description="Rows in its quarantine table.")] = None
    snapshot: Annotated[
        str | None,
        Field(
            max_length=64, description="Id of the newest Iceberg snapshot; in a database, number of the newest load."
        ),
    ] = None
    last_load_time: Annotated[Time | None, Field(description="When rows were last loaded; RFC 3339.")] = None
    last_run: Annotated[str | None, Field(max_length=253, description="Id of the run that loaded them.")] = None
    last_report_time: Annotated[
        Time | None, Field(description="When the run or migration that reported this status ended; RFC 3339.")
    ] = None
