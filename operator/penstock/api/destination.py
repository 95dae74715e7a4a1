"""Destination: a place that holds tables or receives files."""

from typing import Annotated, Self

from pydantic import Field, model_validator

from penstock.api.source import Inspection
from penstock.connectors.files.spec import FilesDestination
from penstock.connectors.lake.spec import LakeDestination
from penstock.language.auth import Auth
from penstock.language.conditions import Conditions
from penstock.language.model import Model, OneOf
from penstock.language.scalars import Generation, Time


class DestinationConnector(OneOf):
    """What kind of system the Destination is; exactly one member."""

    lake: Annotated[LakeDestination | None, Field(description="Iceberg tables; what Datasets live in.")] = None
    files: Annotated[FilesDestination | None, Field(description="Delivered files; what Subscriptions write.")] = None


class DestinationSpec(Model):
    """A place that holds tables (`lake`) or receives files (`files`). It is inspected when its spec changes."""

    connector: Annotated[DestinationConnector, Field(description="The system; exactly one member.")]
    auth: Annotated[Auth | None, Field(description="How to authenticate; absent means anonymous.")] = None
    suspend: Annotated[bool, Field(description="Start nothing that writes here; what runs already goes on.")] = False

    @model_validator(mode="after")
    def _auth_fits(self) -> Self:
        files = self.connector.files
        if self.auth is not None and (files is None or files.scheme != "s3"):
            raise ValueError("auth.aws goes with an s3:// url")
        return self


class DestinationStatus(Model):
    """What is known of a Destination."""

    observed_generation: Generation = -1
    conditions: Conditions = []
    last_check_time: Annotated[Time | None, Field(description="When it was last inspected; RFC 3339.")] = None
    inspection: Annotated[Inspection | None, Field(description="The newest inspection.")] = None
