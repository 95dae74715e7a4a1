"""The rules of a Subscription: which rows it delivers. `deliverychecks` checks them against the Dataset's fields."""

from typing import Annotated, Literal, Self

from pydantic import Field, model_validator

from penstock.language.model import Model
from penstock.language.periods import PeriodText
from penstock.language.scalars import Bound, Expression, FieldName, ShortText

Values = Annotated[list[ShortText], Field(min_length=1, max_length=1000)]
FieldNames = Annotated[list[FieldName], Field(min_length=1, max_length=16)]


class Range(Model):
    """Values from `min` to `max`; either may be left out."""

    min: Annotated[
        Bound | None,
        Field(description='The smallest value, as a string of the field\'s type: "0", "2026-01-31".'),
    ] = None
    max: Annotated[Bound | None, Field(description="The largest value, as a string of the field's type.")] = None
    min_exclusive: Annotated[bool | None, Field(description="Whether min itself is left out. Default: false.")] = None
    max_exclusive: Annotated[bool | None, Field(description="Whether max itself is left out. Default: false.")] = None

    @model_validator(mode="after")
    def _has_a_bound(self) -> Self:
        if self.min is None and self.max is None:
            raise ValueError("a range needs min or max")
        for bound in ("min", "max"):
            if getattr(self, f"{bound}_exclusive") is not None and getattr(self, bound) is None:
                raise ValueError(f"{bound}Exclusive goes with {bound}, which is missing")
        return self


class FieldFilter(Model):
    """What a row must have in this field to be delivered. With several members, all of them must hold."""

    is_null: Annotated[Literal[True] | None, Field(description="true: only rows that have no value in this field.")] = (
        None
    )
    not_null: Annotated[Literal[True] | None, Field(description="true: only rows that have a value in this field.")] = (
        None
    )
    include: Annotated[
        Values | None,
        Field(
            description="Only rows with one of these values. Texts are compared with case; a row without a value is "
            "not delivered."
        ),
    ] = None
    exclude: Annotated[
        Values | None,
        Field(
            description="No rows with one of these values. A row without a value is delivered; add notNull to leave "
            "it out."
        ),
    ] = None
    range: Annotated[
        Range | None,
        Field(
            description="Only rows with a value in this range; of numbers, dates and times. Neither a missing value "
            "nor NaN is in any range."
        ),
    ] = None
    recency: Annotated[
        PeriodText | None,
        Field(
            description="Only rows whose date or time is not older than this when the delivery begins: 30d, or P30D, "
            "P1M, PT12H by ISO 8601. A time without a zone counts as UTC; of dates, the day on which the period "
            "begins counts in full. Later dates and times are delivered, too. A row without a value is not."
        ),
    ] = None
    expression: Annotated[
        Expression | None,
        Field(
            description="Only rows for which this SQL expression over the Dataset's fields is true: origin LIKE 'J%'. "
            "docs/expressions.md lists what is allowed. A row for which it is null or cannot be computed is not "
            "delivered."
        ),
    ] = None

    @model_validator(mode="after")
    def _has_a_member(self) -> Self:
        if not self.model_fields_set or all(getattr(self, name) is None for name in type(self).model_fields):
            raise ValueError(
                "a filter needs at least one of isNull, notNull, include, exclude, range, recency, expression"
            )
        if self.is_null and any(
            getattr(self, name) is not None for name in type(self).model_fields if name not in ("is_null", "expression")
        ):
            raise ValueError("isNull goes with expression alone: a row without a value passes no other filter, or any")
        return self


class Deduplication(Model):
    """Delivers one row of those that have the same values in some fields."""

    by: Annotated[
        FieldNames,
        Field(
            description="The fields that must be the same. Missing values are equal to each other here. Of such rows, "
            "the one that was loaded last is delivered."
        ),
    ]
    period: Annotated[
        PeriodText | None,
        Field(
            description="Do not deliver these values again before this time has passed: 90d, P3M. Default: rows are "
            "compared within each delivery alone."
        ),
    ] = None


class Frequency(Model):
    """Delivers rows by how many others have the same values in some fields. Counted after all filters."""

    by: Annotated[FieldNames, Field(description="The fields that must be the same. Missing values are equal here.")]
    min: Annotated[
        int | None, Field(ge=1, le=1_000_000_000, description="Only rows whose values are in at least so many rows.")
    ] = None
    max: Annotated[
        int | None, Field(ge=1, le=1_000_000_000, description="Only rows whose values are in at most so many rows.")
    ] = None

    @model_validator(mode="after")
    def _has_a_bound(self) -> Self:
        if self.min is None and self.max is None:
            raise ValueError("frequency needs min or max")
        if self.min is not None and self.max is not None and self.min > self.max:
            raise ValueError(f"min {self.min} is above max {self.max}, so no row would be delivered")
        return self
