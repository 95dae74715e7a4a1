"""Subscription: delivers a Dataset to a Destination under rules."""

from typing import Annotated, Literal, Self

from pydantic import Field, model_validator

from penstock.api.budget import Budget, Spend
from penstock.api.dataset import Column, DestinationRef
from penstock.api.deliveryrules import Deduplication, FieldFilter, Frequency
from penstock.api.pipeline import Run
from penstock.api.receiving import OnRefusedRow, Settings
from penstock.api.trigger import DatasetRef, HandledLoad, Trigger
from penstock.language.conditions import Conditions
from penstock.language.model import Model
from penstock.language.scalars import Cron, Expression, FieldName, Generation, Nonce, Time, TimeZone

CADENCES = {"hourly": "0 * * * *", "daily": "0 0 * * *", "weekly": "0 0 * * 0", "monthly": "0 0 1 * *"}
"""What each cadence means as a cron expression, as Kubernetes' `@hourly` … `@monthly` do."""


class SubscriptionField(Model):
    """One field of the Dataset and what becomes of it."""

    name: Annotated[FieldName, Field(description="The field in the Dataset.")]
    as_: Annotated[FieldName | None, Field(alias="as", description="Its name in the delivery. Default: its name.")] = (
        None
    )
    exported: Annotated[
        bool | None,
        Field(description="Whether it is delivered. A field that is not can still have a filter. Default: true."),
    ] = None
    filter: Annotated[
        FieldFilter | None, Field(description="Which rows are delivered, by their value in this field. Default: all.")
    ] = None


class SubscriptionSpec(Model):
    """Delivers a Dataset's rows as files or into a table: when it first has data, then by cadence, or on request."""

    dataset_ref: Annotated[DatasetRef, Field(description="The Dataset to deliver.")]
    destination_ref: Annotated[DestinationRef, Field(description="The Destination that receives it.")]
    settings: Annotated[Settings, Field(description="Folder and format of the delivered files, or the table.")] = (
        Settings()
    )
    fields: Annotated[
        list[SubscriptionField],
        Field(
            max_length=2000,
            description="What to deliver, in this order. Empty: every field that is not sensitive.",
        ),
    ] = []
    filter: Annotated[
        Expression | None,
        Field(
            description="Only rows for which this SQL expression over the Dataset's fields is true: dep_delay > 0 AND "
            "carrier <> 'UA'. docs/expressions.md lists what is allowed."
        ),
    ] = None
    deduplication: Annotated[
        Deduplication | None, Field(description="Deliver one of several rows that are the same in some fields.")
    ] = None
    frequency: Annotated[
        Frequency | None,
        Field(description="Deliver rows by how often their values occur among the rows that pass the filters."),
    ] = None
    cadence: Annotated[
        Literal["once", "hourly", "daily", "weekly", "monthly"] | None,
        Field(description="How often to deliver. once: when the Dataset first has data. Default: once."),
    ] = None
    schedule: Annotated[
        Cron | None, Field(description='When to deliver, as a cron expression; instead of cadence: "0 6 * * *".')
    ] = None
    time_zone: Annotated[
        TimeZone | None, Field(description="Time zone of cadence and schedule, an IANA name. Default: UTC.")
    ] = None
    delivery: Annotated[Literal["full"], Field(description="full: each delivery has all rows of the Dataset.")] = "full"
    on_refused_row: Annotated[
        OnRefusedRow,
        Field(
            description="What happens with a row that the receiving system cannot store, such as a text with the "
            "character U+0000 in PostgreSQL. fail: nothing is delivered, and the run names the row. skip: the other "
            "rows are delivered, and such rows are counted."
        ),
    ] = "fail"
    trigger: Annotated[Trigger | None, Field(description="Loads of Datasets that start a run. Default: none does.")] = (
        None
    )
    budget: Annotated[
        Budget | None,
        Field(
            description="The most that deliveries may cost in a period, by the Dataset's access.pricePerThousand. A "
            "delivery that would exceed it delivers nothing and fails with BudgetExceeded."
        ),
    ] = None
    run_nonce: Annotated[
        Nonce,
        Field(
            description="Any text; change it to deliver once now. Copied to status.handledRunNonce when that run ends."
        ),
    ] = ""
    suspend: Annotated[bool, Field(description="Start no delivery. Runs that have started continue.")] = False

    @model_validator(mode="after")
    def _consistent(self) -> Self:
        if self.cadence is not None and self.schedule is not None:
            raise ValueError("choose cadence or schedule, not both")
        names = [(field.as_ or field.name).lower() for field in self.fields if field.exported is not False]
        if twice := next((name for name in names if names.count(name) > 1), None):
            raise ValueError(f'fields: two delivered fields are named "{twice}"')
        if self.fields and not names:
            raise ValueError("fields: at least one must be exported")
        return self

    @property
    def cron(self) -> str | None:
        """When to deliver again, as a cron expression; None is once."""
        return self.schedule or CADENCES.get(self.cadence or "once")


class Delivery(Model):
    """One delivery that a receiver can read."""

    run: Annotated[str, Field(max_length=253, description="Id of the run that made it.")]
    manifest: Annotated[
        str | None, Field(max_length=2048, description="For files: URL of the manifest that lists them.")
    ] = None
    table: Annotated[
        str | None, Field(max_length=512, description="For a table: its name, with the schema before it.")
    ] = None
    rows: Annotated[int, Field(description="Rows delivered.")]
    refused: Annotated[
        int | None, Field(description="Rows that were left out because the receiving system cannot store them.")
    ] = None
    bytes: Annotated[int, Field(description="Size of the files, or of the rows as they were sent, in bytes.")]
    files: Annotated[int | None, Field(description="How many files.")] = None
    cost: Annotated[
        str | None, Field(max_length=64, description="What it cost, where the Dataset has a price; in its currency.")
    ] = None
    at: Annotated[Time, Field(description="When it could be read for the first time; RFC 3339.")]


class SubscriptionStatus(Model):
    """How a Subscription stands."""

    observed_generation: Generation = -1
    conditions: Conditions = []
    phase: Annotated[
        Literal["Pending", "Active", "Cancelled"] | None,
        Field(
            description="Pending: it cannot deliver yet, because something is missing or its Dataset has no data. "
            "Active: it delivers. Cancelled: it has suspend: true or is being deleted."
        ),
    ] = None
    spend: Annotated[
        Spend | None, Field(description="What was spent in the budget's period of the newest delivery.")
    ] = None
    schema_: Annotated[
        list[Column],
        Field(alias="schema", max_length=64, description="The columns that are delivered, at most 64."),
    ] = []
    last_run: Annotated[Run | None, Field(description="The newest delivery run that began.")] = None
    runs: Annotated[list[Run], Field(max_length=50, description="The newest runs, newest first.")] = []
    deliveries: Annotated[list[Delivery], Field(max_length=20, description="The newest deliveries, newest first.")] = []
    next_delivery_time: Annotated[Time | None, Field(description="Time of the next delivery; RFC 3339, UTC.")] = None
    handled_run_nonce: Annotated[
        str | None, Field(max_length=128, description="The newest runNonce whose run has ended.")
    ] = None
    handled_requested_at: Annotated[
        str | None, Field(max_length=256, description="The newest penstock.dev/requestedAt whose run has ended.")
    ] = None
    handled_loads: Annotated[
        list[HandledLoad] | None,
        Field(max_length=16, description="For each Dataset of trigger.after, the newest load that a run has handled."),
    ] = None
