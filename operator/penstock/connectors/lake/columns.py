"""The columns of a Dataset's two tables, as Iceberg types, and how those of a table differ from them."""

from collections.abc import Mapping

import pyarrow as pa
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
from penstock.worker.ports import tablestore
from penstock.worker.ports.tablestore import Change

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
_OF_ARROW: Mapping[pa.DataType, IcebergType] = {
    pa.string(): StringType(),
    pa.int64(): LongType(),
    pa.bool_(): BooleanType(),
    pa.timestamp("us", "UTC"): TimestamptzType(),
}
_LINEAGE = {
    tablestore.INPUT_ID: "Penstock's id of the input that the row came from, in penstock_inputs",
    tablestore.LOAD_ID: "the load that last changed the row's values; only grows",
    tablestore.LOADED_AT: "when that was",
}


def table(dataset: DatasetOrder) -> Schema:
    """The Iceberg schema that the Dataset's fields describe, and the columns of lineage after them."""
    own = [_column(number, field) for number, field in enumerate(dataset.schema_.fields, start=1)]
    return Schema(*own, *_from_arrow(tablestore.LINEAGE, len(own) + 1))


def quarantine() -> Schema:
    """The Iceberg schema of every quarantine table."""
    return Schema(*_from_arrow(tablestore.QUARANTINE, 1))


def _from_arrow(schema: pa.Schema, first: int) -> list[NestedField]:
    return [
        NestedField(
            number, field.name, _OF_ARROW[field.type], required=not field.nullable, doc=_LINEAGE.get(field.name)
        )
        for number, field in enumerate(schema, start=first)
    ]


def _column(number: int, field: SchemaField) -> NestedField:
    kind = _TYPES.get(field.type) or _decimal(field.type)
    return NestedField(number, field.name, kind, required=bool(field.required), doc=field.description)


def _decimal(written: str) -> DecimalType:
    precision, _, scale = written.removeprefix("decimal(").removesuffix(")").partition(",")
    if not int(precision) >= 1 or int(scale) > int(precision):
        raise InvalidSpec(f"{written} is not a decimal type: precision is 1 to 38, scale 0 to precision.")
    return DecimalType(int(precision), int(scale))


def changes(there: Schema, wanted: Schema) -> list[Change]:
    """How the table's columns differ from the wanted ones; descriptions do not count."""
    old = {field.name: field for field in there.fields}
    new = {field.name: field for field in wanted.fields}
    differences = [Change("AddColumn", name, after=str(new[name].field_type)) for name in new if name not in old]
    differences += [Change("DropColumn", name, before=str(old[name].field_type)) for name in old if name not in new]
    for name, field in new.items():
        if name not in old:
            continue
        if old[name].field_type != field.field_type:
            differences.append(Change("Retype", name, str(old[name].field_type), str(field.field_type)))
        elif old[name].required != field.required:
            differences.append(Change("Require" if field.required else "Relax", name))
    if not differences and [*old] != [*new]:
        differences.append(Change("Reorder"))
    return differences
