"""Destination: a place that holds tables or receives files."""

from typing import TYPE_CHECKING, Annotated, Self

from pydantic import Field, model_validator

from penstock.api.source import Inspection, Location
from penstock.api.waiting import MaxConcurrentRuns
from penstock.connectors.registry import DESTINATIONS
from penstock.language.auth import Auth
from penstock.language.conditions import Conditions
from penstock.language.model import Model
from penstock.language.scalars import Generation, Time
from penstock.language.traits import ConnectorUnion, union

if TYPE_CHECKING:
    DestinationConnector = ConnectorUnion
else:  # its members come from the registry, so no type checker can know them
    DestinationConnector = union(
        "DestinationConnector", "The system of the Destination; exactly one member.", DESTINATIONS
    )


class DestinationSpec(Model):
    """A place that holds the tables of Datasets or receives deliveries. It is inspected when its spec changes."""

    connector: Annotated[DestinationConnector, Field(description="The system; exactly one member.")]
    auth: Annotated[Auth | None, Field(description="How to authenticate. Default: without credentials.")] = None
    max_concurrent_runs: MaxConcurrentRuns = None
    suspend: Annotated[bool, Field(description="Start no run that writes to it. Runs that have started continue.")] = (
        False
    )

    @model_validator(mode="after")
    def _auth_fits(self) -> Self:
        fault = self.connector.spec.auth_fault(self.auth.member if self.auth is not None else None)
        if fault is not None:
            raise ValueError(fault)
        return self


class DestinationStatus(Model):
    """What is known of a Destination."""

    observed_generation: Generation = -1
    conditions: Conditions = []
    location: Location = None
    last_check_time: Annotated[Time | None, Field(description="When it was last inspected; RFC 3339.")] = None
    inspection: Annotated[Inspection | None, Field(description="The newest inspection.")] = None
