"""The columns of a Dataset's two tables, as Iceberg types, and how those of a table differ from them."""

from collections.abc import Mapping, Sequence

import pyarrow as pa
from pyiceberg.schema import Schema
from pyiceberg.table import Table
from pyiceberg.table.update.schema import UpdateSchema
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

from penstock.api.fields import SchemaField
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
    """The Iceberg schema that the Dataset's fields describe, and the columns of lineage after them.

    The fields of its primary key are the identifier fields.
    """
    own = [_column(number, field) for number, field in enumerate(dataset.schema_.fields, start=1)]
    key = [column.field_id for column in own if column.name in dataset.schema_.key]
    return Schema(*own, *_from_arrow(tablestore.LINEAGE, len(own) + 1), identifier_field_ids=key)


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


def key(schema: Schema) -> list[str]:
    """The names of the columns of the primary key."""
    return [field.name for field in schema.fields if field.field_id in schema.identifier_field_ids]


def alter(table: Table, wanted: Schema, made: Sequence[Change]) -> None:
    """Make the changes in one commit. Columns keep their ids, also under another name; a new type has a new id."""
    new = {field.name: field for field in wanted.fields}
    added = [change.column for change in made if change.kind in ("AddColumn", "Retype")]
    in_them = {(kind, name) for name in added for kind in ("Require", "Relax")}
    again = any(change.kind in ("Key", "DropColumn", "Retype") for change in made)
    with table.transaction() as transaction:
        if again and key(table.schema()):  # a column of the key cannot be dropped
            with transaction.update_schema(allow_incompatible_changes=True) as update:
                update.set_identifier_fields()
        with transaction.update_schema(allow_incompatible_changes=True) as update:
            for change in made:
                match change.kind:
                    case "Rename":
                        update.rename_column(change.before, change.column)
                    case "DropColumn" | "Retype":
                        update.delete_column(change.column)
        with transaction.update_schema(allow_incompatible_changes=True) as update:
            for change in made:
                if (field := new.get(change.column)) is not None and (change.kind, change.column) not in in_them:
                    _make(update, change, field)
        with transaction.update_schema() as update:
            for name in reversed(new):
                update.move_first(name)
            if again:
                update.set_identifier_fields(*key(wanted))


def _make(update: UpdateSchema, change: Change, field: NestedField) -> None:
    """Make a change of a column that is to be as this field."""
    match change.kind:
        case "AddColumn" | "Retype":
            update.add_column(field.name, field.field_type, field.doc, required=field.required)
        case "Widen":
            update.update_column(field.name, field.field_type)
        case "Require" | "Relax":
            update.update_column(field.name, required=field.required)
