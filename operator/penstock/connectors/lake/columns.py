"""The columns of a Dataset's two tables, as Iceberg types, and how those of a table differ from them."""

from collections.abc import Mapping, Sequence

import pyarrow as pa
from pyiceberg.schema import Schema
from pyiceberg.table import Table
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
from penstock.worker.ports import differences, tablestore
from penstock.worker.ports.differences import Change

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


def plain(schema: Schema) -> list[differences.Column]:
    """The columns of a schema, to be compared with others."""
    return [differences.Column(field.name, str(field.field_type), field.required) for field in schema.fields]


def alter(table: Table, wanted: Schema, made: Sequence[Change]) -> None:
    """Make the changes in one commit. Columns keep their ids, also under another name; a new type has a new id."""
    new = {field.name: field for field in wanted.fields}
    added = {change.column for change in made if change.kind in ("AddColumn", "Retype")}
    with table.transaction() as transaction:
        with transaction.update_schema(allow_incompatible_changes=True) as update:
            for change in made:
                match change.kind:
                    case "Rename":
                        update.rename_column(change.before, change.column)
                    case "DropColumn" | "Retype":
                        update.delete_column(change.column)
        with transaction.update_schema(allow_incompatible_changes=True) as update:
            for change in made:
                field = new.get(change.column)
                if field is None:
                    continue
                match change.kind:
                    case "AddColumn" | "Retype":
                        update.add_column(field.name, field.field_type, field.doc, required=field.required)
                    case "Widen":
                        update.update_column(field.name, field.field_type)
                    case "Require" | "Relax" if change.column not in added:
                        update.update_column(field.name, required=field.required)
        with transaction.update_schema() as update:
            for name in reversed(new):
                update.move_first(name)
