"""What every model of the language has in common: frozen, camelCase on the wire, nothing unknown accepted."""

from collections.abc import Sequence
from typing import Any, Self

from pydantic import BaseModel, ConfigDict, model_validator
from pydantic.alias_generators import to_camel


class Model(BaseModel):
    """A frozen value; attributes are snake_case here and camelCase in manifests."""

    model_config = ConfigDict(frozen=True, extra="forbid", alias_generator=to_camel, populate_by_name=True)

    def to_object(self) -> dict[str, Any]:
        """The JSON object as it stands in a manifest or a status: aliases, without what is not set."""
        return self.model_dump(mode="json", by_alias=True, exclude_none=True)


class Faults(ValueError):
    """Several faults that one validator found, so that none hides another; pydantic keeps one error a validator."""

    def __init__(self, faults: Sequence[str]) -> None:
        super().__init__("; ".join(faults))
        self.faults = tuple(faults)


class OneOf(Model):
    """A union written as an object with exactly one member, the member's name being the choice.

    In the CRD this is `minProperties: 1, maxProperties: 1`, which needs no CEL.
    """

    model_config = ConfigDict(json_schema_extra={"minProperties": 1, "maxProperties": 1})

    @model_validator(mode="before")
    @classmethod
    def _empty_member(cls, value: Any) -> Any:
        """`csv: null` is `csv: {}`: server-side apply turns the one into the other."""
        if isinstance(value, dict) and list(value.values()) == [None]:
            return {member: {} for member in value}
        return value

    @model_validator(mode="after")
    def _exactly_one(self) -> Self:
        members = [field.alias or name for name, field in type(self).model_fields.items()]
        chosen = [name for name in type(self).model_fields if getattr(self, name) is not None]
        if len(chosen) != 1:
            given = f", not {len(chosen)}" if chosen else ""
            raise ValueError(
                f"choose exactly one of {', '.join(members)}{given}" if members[1:] else f"name {members[0]}"
            )
        return self

    @property
    def choice(self) -> str:
        """The attribute name of the member that is set."""
        return next(name for name in type(self).model_fields if getattr(self, name) is not None)
