"""The columns of a Dataset's two tables, as Iceberg types, and how those of a table differ from them."""

from collections.abc import Mapping

from pyiceberg.schema import Schema
from pyiceberg.types import (
    BooleanType,
    DateType,
    DecimalType,
    DoubleType,
    IcebergType,
    IntegerType,
    LongType,
    NestedField,
    StringType,
    TimestampType,
    TimestamptzType,
)

from penstock.api.dataset import SchemaField
from penstock.language.errors import InvalidSpec
from penstock.runs.order import DatasetOrder

_TYPES: Mapping[str, IcebergType] = {
    "string": StringType(),
    "boolean": BooleanType(),
    "int": IntegerType(),
    "long": LongType(),
    "double": DoubleType(),
    "date": DateType(),
    "timestamp": TimestampType(),
    "timestamptz": TimestamptzType(),
}

QUARANTINE = Schema(
    NestedField(1, "file", StringType(), required=True, doc="URL of the file the row came from"),
    NestedField(2, "line", LongType(), required=True, doc="its first line in the file, from 1; Parquet: its row"),
    NestedField(3, "stage", StringType(), required=True, doc="where it failed: read, shape (types), quality (rules)"),
    NestedField(4, "field", StringType(), doc="the first field that failed; none when the line cannot be read"),
    NestedField(5, "error", StringType(), required=True, doc="every reason"),
    NestedField(6, "payload", StringType(), required=True, doc="the row as it was read; sensitive values are masked"),
    NestedField(7, "run", StringType(), required=True, doc="the run that read it"),
    NestedField(8, "at", TimestamptzType(), required=True, doc="when it was read"),
    NestedField(9, "schema", StringType(), required=True, doc="hash of the Dataset's schema then"),
)
"""The columns of every quarantine table."""


def of(dataset: DatasetOrder) -> Schema:
    """The Iceberg schema that the Dataset's fields describe."""
    return Schema(*(_column(number, field) for number, field in enumerate(dataset.schema_.fields, start=1)))


def _column(number: int, field: SchemaField) -> NestedField:
    kind = _TYPES.get(field.type) or _decimal(field.type)
    return NestedField(number, field.name, kind, required=bool(field.required), doc=field.description)


def _decimal(written: str) -> DecimalType:
    precision, _, scale = written.removeprefix("decimal(").removesuffix(")").partition(",")
    if not int(precision) >= 1 or int(scale) > int(precision):
        raise InvalidSpec(f"{written} is not a decimal type: precision is 1 to 38, scale 0 to precision.")
    return DecimalType(int(precision), int(scale))


def differences(there: Schema, wanted: Schema) -> list[str]:
    """What distinguishes the table's columns from the wanted ones; descriptions do not count."""
    old = {field.name: field for field in there.fields}
    new = {field.name: field for field in wanted.fields}
    found = [f"{name} is not in the table" for name in new if name not in old]
    found += [f"{name} is in the table only" for name in old if name not in new]
    for name, field in new.items():
        if name in old and old[name].field_type != field.field_type:
            found.append(f"{name} is {old[name].field_type} there and {field.field_type} here")
        elif name in old and old[name].required != field.required:
            found.append(f"{name} is {'' if old[name].required else 'not '}required there")
    if not found and [*old] != [*new]:
        found.append("the order of the columns")
    return found
