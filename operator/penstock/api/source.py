"""Source: where data comes from."""

from typing import Annotated, Self

from pydantic import Field, model_validator

from penstock.connectors.files.spec import FilesSource
from penstock.language.auth import Auth
from penstock.language.conditions import Conditions
from penstock.language.model import Model, OneOf
from penstock.language.scalars import Generation, Name, ShortText, Time, Word


class SourceConnector(OneOf):
    """What kind of system the Source is; exactly one member."""

    files: Annotated[FilesSource | None, Field(description="Files in a folder, on a web server, or in a bucket.")] = (
        None
    )


class SourceSpec(Model):
    """A place where data comes from. It is inspected when its spec changes, and read when a Pipeline runs."""

    connector: Annotated[SourceConnector, Field(description="The system; exactly one member.")]
    auth: Annotated[Auth | None, Field(description="How to authenticate; absent means anonymous.")] = None
    suspend: Annotated[bool, Field(description="Start nothing that reads from here; what runs already goes on.")] = (
        False
    )

    @model_validator(mode="after")
    def _auth_fits(self) -> Self:
        files = self.connector.files
        if self.auth is not None and files is not None and files.scheme != "s3":
            raise ValueError(f"auth.aws goes with an s3:// url, not with {files.scheme}://")
        return self


class Stream(Model):
    """A stream that inspection found; the full catalog is in the ConfigMap that `status.catalog` names."""

    name: Annotated[Name, Field(description="What Pipelines call it.")]
    fields: Annotated[int, Field(description="How many fields it has.")]
    files: Annotated[int | None, Field(description="How many files it has.")] = None


class Inspection(Model):
    """How the newest inspection stands; what a retry goes on from after a restart."""

    order: Annotated[str, Field(max_length=64, description="Hash of the order that was carried out.")]
    attempt: Annotated[int, Field(description="Counts up with every attempt at the same order, from 1.")]
    state: Annotated[
        Word, Field(description="Running, Succeeded or Failed: of the attempt. Later versions may add words.")
    ]
    retry_time: Annotated[Time | None, Field(description="When a failed one is tried again; RFC 3339.")] = None
    reason: Annotated[ShortText | None, Field(description="Why it failed, in one word.")] = None
    message: Annotated[str | None, Field(max_length=1024, description="Why it failed, and what to do.")] = None


class SourceStatus(Model):
    """What is known of a Source."""

    observed_generation: Generation = -1
    conditions: Conditions = []
    last_check_time: Annotated[Time | None, Field(description="When it was last inspected; RFC 3339.")] = None
    inspection: Annotated[Inspection | None, Field(description="The newest inspection.")] = None
    streams: Annotated[list[Stream], Field(max_length=64, description="What can be read, at most 64 streams.")] = []
    catalog: Annotated[
        str | None, Field(max_length=253, description="ConfigMap with every stream's fields and their types.")
    ] = None
