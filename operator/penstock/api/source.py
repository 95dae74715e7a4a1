"""Source: where data comes from."""

from typing import TYPE_CHECKING, Annotated, Self

from pydantic import Field, model_validator

from penstock.api.waiting import MaxConcurrentRuns
from penstock.connectors.registry import SOURCES
from penstock.language.auth import Auth
from penstock.language.conditions import Conditions
from penstock.language.model import Model
from penstock.language.scalars import Generation, Name, ShortText, Time, Word
from penstock.language.traits import ConnectorUnion, union

if TYPE_CHECKING:
    SourceConnector = ConnectorUnion
else:  # its members come from the registry, so no type checker can know them
    SourceConnector = union("SourceConnector", "The system of the Source; exactly one member.", SOURCES)


class SourceSpec(Model):
    """A place where data comes from. It is inspected when its spec changes, and read when a Pipeline runs."""

    connector: Annotated[SourceConnector, Field(description="The system; exactly one member.")]
    auth: Annotated[Auth | None, Field(description="How to authenticate. Default: without credentials.")] = None
    max_concurrent_runs: MaxConcurrentRuns = None
    suspend: Annotated[
        bool, Field(description="Start no run that reads this Source. Runs that have started continue.")
    ] = False

    @model_validator(mode="after")
    def _auth_fits(self) -> Self:
        fault = self.connector.spec.auth_fault(self.auth.member if self.auth is not None else None)
        if fault is not None:
            raise ValueError(fault)
        return self


class Stream(Model):
    """A stream that inspection found; the full catalog is in the ConfigMap that `status.catalog` names."""

    name: Annotated[Name, Field(description="Name of the stream, as Pipelines refer to it.")]
    fields: Annotated[int, Field(description="Number of fields.")]
    files: Annotated[int | None, Field(description="Number of files.")] = None


class PodWaits(Model):
    """What keeps a Pod from starting, in the words of the scheduler or the kubelet."""

    pod: Annotated[str, Field(max_length=253, description="The Pod.")]
    reason: Annotated[Word, Field(description="Why it does not start, in one word: Unschedulable, ImagePullBackOff.")]
    message: Annotated[str, Field(max_length=512, description="Why, in a sentence.")] = ""

    @property
    def text(self) -> str:
        """It as a sentence."""
        return f"Pod {self.pod} waits: {self.reason}: {self.message}"


class Failure(Model):
    """How the attempt before this one failed: it counts until this one has ended."""

    reason: Annotated[Word, Field(description="Why, in one word.")]
    message: Annotated[str, Field(max_length=1024, description="Why, and what to do.")] = ""


class Inspection(Model):
    """The state of the newest inspection, from which retries continue after a restart."""

    order: Annotated[str, Field(max_length=64, description="Hash of the order that was carried out.")]
    attempt: Annotated[int, Field(description="Number of the attempt at the same order, from 1.")]
    state: Annotated[
        Word, Field(description="State of the attempt: Running, Succeeded or Failed. Later versions may add states.")
    ]
    retry_time: Annotated[Time | None, Field(description="When a failed inspection is tried again; RFC 3339.")] = None
    reason: Annotated[ShortText | None, Field(description="Why it failed, in one word.")] = None
    message: Annotated[str | None, Field(max_length=1024, description="Why it failed, and what to do.")] = None
    pod_waits: Annotated[PodWaits | None, Field(description="Why its Pod does not start.")] = None
    last_failure: Annotated[
        Failure | None, Field(description="How the previous attempt failed, while an attempt runs.")
    ] = None


Location = Annotated[str | None, Field(max_length=2048, description="Where the system is, from its spec.")]


class SourceStatus(Model):
    """What is known of a Source."""

    observed_generation: Generation = -1
    conditions: Conditions = []
    location: Location = None
    last_check_time: Annotated[Time | None, Field(description="When it was last inspected; RFC 3339.")] = None
    inspection: Annotated[Inspection | None, Field(description="The newest inspection.")] = None
    streams: Annotated[list[Stream], Field(max_length=64, description="The streams that can be read, at most 64.")] = []
    catalog: Annotated[
        str | None,
        Field(max_length=253, description="Name of the ConfigMap that lists every stream's fields and their types."),
    ] = None
