"""Dataset: one governed table in a Destination."""

from typing import Annotated, Any, Self

from pydantic import Field, model_validator

from penstock.api.access import Access
from penstock.api.fields import Schema
from penstock.api.parsedfields import faults_together
from penstock.api.parsing import Parsing
from penstock.api.pods import Worker
from penstock.api.quality import Quality
from penstock.api.source import Inspection
from penstock.language.conditions import Conditions
from penstock.language.model import Faults, Model
from penstock.language.scalars import (
    Duration,
    Generation,
    LongText,
    Name,
    ShortText,
    TableName,
    Time,
)
from penstock.language.traits import WriteMode


class DestinationRef(Model):
    """A Destination in this namespace."""

    name: Annotated[Name, Field(description="Name of the Destination.")]


class DatasetSpec(Model):
    """One governed table: its columns, what makes a row good, and how it is written."""

    destination_ref: Annotated[DestinationRef, Field(description="The Destination that holds the table. Immutable.")]
    table: Annotated[
        TableName,
        Field(description="The table's name in the Destination. No other Dataset can use it. Immutable."),
    ]
    description: Annotated[LongText | None, Field(description="Description of the table; stored with it.")] = None
    schema_: Annotated[Schema, Field(alias="schema", description="The table's columns.")]
    parsing: Annotated[
        Parsing | None,
        Field(
            description="How texts of the source become values, for all fields. A field's own setting takes precedence."
        ),
    ] = None
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
    access: Annotated[
        Access | None, Field(description="What Subscriptions can deliver. Default: all rows and fields.")
    ] = None
    freshness: Annotated[
        Duration | None,
        Field(
            description="How old the data may be: 26h. The condition Fresh is False when the newest run that loaded "
            "the Dataset, or found nothing new for it, ended longer ago. Default: no limit, and no such condition."
        ),
    ] = None
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

    @model_validator(mode="after")
    def _separators_differ(self) -> Self:
        faults = [*faults_together(self.schema_, self.parsing)]
        if faults:
            raise Faults(faults)
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
    last_confirmed_time: Annotated[
        Time | None,
        Field(
            description="When the newest run ended that loaded the Dataset or found nothing new for it; RFC 3339. The "
            "condition Fresh is computed from it."
        ),
    ] = None
    last_run: Annotated[str | None, Field(max_length=253, description="Id of the run that loaded them.")] = None
    last_report_time: Annotated[
        Time | None, Field(description="When the run or migration that reported this status ended; RFC 3339.")
    ] = None
