"""Why a run waits, as its status has it, and how many runs may use a system at once."""

from typing import Annotated, Literal

from pydantic import Field

from penstock.language.model import Model
from penstock.language.scalars import Time, Word

Cause = Literal[
    "MaxConcurrentRuns",
    "DatasetBusy",
    "Suspended",
    "Unreachable",
    "NotReady",
    "Invalid",
    "Deleted",
    "JobSuspended",
]
"""What a run can wait for."""

MaxConcurrentRuns = Annotated[
    int | None,
    Field(
        ge=1,
        le=1000,
        description="How many runs, loads and deliveries together, may use it at the same time. The others wait, and "
        "the oldest starts first. Default: no limit.",
    ),
]


class RunWaits(Model):
    """What a waiting run waits for."""

    cause: Annotated[
        Word,
        Field(
            description="MaxConcurrentRuns: as many runs use the Source or Destination as its maxConcurrentRuns "
            "allows. DatasetBusy: another run writes the same Dataset. Suspended, Unreachable, NotReady: this is the "
            "state of the Pipeline or Subscription, or of an object that it refers to. Invalid: the manifest must "
            "change. Deleted: it is being deleted. JobSuspended: a person has suspended the Job. Later versions may "
            "add causes."
        ),
    ]
    object: Annotated[
        str | None, Field(max_length=320, description="What it waits for, as Kind/name: Source/flights.")
    ] = None
    since: Annotated[Time, Field(description="Since when the run waits; RFC 3339.")]
