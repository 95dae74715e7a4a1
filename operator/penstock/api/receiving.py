"""What a Subscription says of the place that it delivers to: a folder for files, or a table."""

from typing import Annotated, Literal, Self

from pydantic import Field, model_validator

from penstock.connectors.files.spec import Format, check_delivered
from penstock.language.model import Model
from penstock.language.scalars import TableName

OnRefusedRow = Literal["fail", "skip"]


class Settings(Model):
    """Where in the Destination a delivery goes: folder and format of files, or a table."""

    suffix: Annotated[
        str | None,
        Field(
            max_length=256,
            pattern=r"^(/?[A-Za-z0-9_=-][A-Za-z0-9._=-]*)+/?$",
            description="For files: the folder beneath the Destination's URL, such as daily/flights.",
        ),
    ] = None
    format: Annotated[
        Format | None, Field(description="For files: their format. Default: that of the Destination.")
    ] = None
    table: Annotated[
        TableName | None,
        Field(
            description="For a Destination that receives tables: the name of the table. The first delivery creates it; "
            "a table that this Subscription did not create is never changed."
        ),
    ] = None

    @model_validator(mode="after")
    def _options_are_those_of_writing(self) -> Self:
        if self.format is not None:
            check_delivered(self.format)
        return self
