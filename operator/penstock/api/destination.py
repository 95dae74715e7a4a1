"""Destination: a place that holds tables or receives files."""

from typing import Annotated, Self

from pydantic import Field, model_validator

from penstock.api.conditions import Conditions
from penstock.api.model import Model, OneOf
from penstock.api.places import Auth, Compression, Format, Located, Volume
from penstock.api.scalars import Generation, Time, Url
from penstock.api.source import Inspection

_WAREHOUSE = r"^file:///[^?#]*$"
_FOLDER = r"^(file://|s3://[^/?#@]+)/([^?#]*/)?$"


class LakeDestination(Model):
    """Apache Iceberg tables under one warehouse folder, with their SQL catalog in SQLite beside them."""

    warehouse: Annotated[
        Url,
        Field(
            pattern=_WAREHOUSE,
            json_schema_extra={"pattern": _WAREHOUSE},
            description="The folder of all tables, file:///volumes/<claimName>/…; its catalog.db is the Iceberg SQL "
            "catalog and the ledger of runs.",
        ),
    ]
    volume: Annotated[Volume, Field(description="The claim that holds the warehouse.")]

    @model_validator(mode="after")
    def _beneath_its_volume(self) -> Self:
        path = self.warehouse.removeprefix("file://")
        if ".." in path.split("/") or not f"{path}/".startswith(f"{self.volume.mount_path}/"):
            raise ValueError(f"warehouse must lie beneath its volume: file://{self.volume.mount_path}/…")
        return self


class FilesDestination(Located):
    """A folder or bucket that Subscriptions deliver files to."""

    url: Annotated[
        Url,
        Field(
            pattern=_FOLDER,
            json_schema_extra={"pattern": _FOLDER},
            description="The folder that receives files: file:///volumes/<claimName>/…/ or s3://bucket/prefix/. "
            "It ends in /.",
        ),
    ]
    format: Annotated[
        Format, Field(description="The format of delivered files; a Subscription may choose another. Default: parquet.")
    ] = Format.model_validate({"parquet": {}})
    compression: Annotated[
        Compression, Field(description="How delivered CSV and JSON files are compressed; Parquet compresses itself.")
    ] = "none"


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
