"""Conditions after the Kubernetes API conventions and kstatus: a type, a status, a typed reason, one clear sentence."""

from collections.abc import Iterable, Mapping
from typing import Annotated, Literal, get_args

from pydantic import Field

from penstock.language import visible
from penstock.language.model import Model
from penstock.language.scalars import Time, Word

ConditionType = Literal[
    "Ready", "Reconciling", "Stalled", "Reachable", "Discovered", "SchemaCurrent", "QualityOK", "LastRunSucceeded"
]

TYPES: Mapping[ConditionType, str] = {
    "Ready": "The manifest is accepted and what it needs is in place. An unreachable remote or a failed run leaves it.",
    "Reconciling": "Work is under way to make it so; absent otherwise.",
    "Stalled": "It goes no further until somebody changes something; absent otherwise.",
    "Reachable": "The Source or Destination answered when it was last inspected.",
    "Discovered": "The Source's streams and fields are known; `status.catalog` names them.",
    "SchemaCurrent": "The Dataset's table has the schema of the manifest.",
    "QualityOK": "The newest run had no more bad rows than `quality.maxBadRatio` allows.",
    "LastRunSucceeded": "The newest finished run succeeded.",
}
"""Each condition with what makes it true, for the reference documentation."""

ConditionStatus = Literal["True", "False", "Unknown"]

Reason = Literal[
    "Succeeded",
    "Progressing",
    "Waiting",
    "Suspended",
    "NeverRan",
    "InvalidSpec",
    "SourceNotFound",
    "DestinationNotFound",
    "DatasetNotFound",
    "DatasetNotReady",
    "NameConflict",
    "TableConflict",
    "DeliveryConflict",
    "AlreadyLoaded",
    "OrderTooLarge",
    "SchemaChanged",
    "SecretMissing",
    "WrongCredentials",
    "ResourceNotFound",
    "WrongSpecification",
    "Unreachable",
    "Timeout",
    "StorageFull",
    "TooManyBadRows",
    "CountMismatch",
    "LeaseHeld",
    "OutOfMemory",
    "DeadlineExceeded",
    "ReportLost",
    "Cancelled",
    "BackoffLimitExceeded",
    "UnknownError",
]

REASONS: Mapping[Reason, str] = {
    "Succeeded": "It is as the manifest says.",
    "Progressing": "Work towards it is under way.",
    "Waiting": "It waits for its turn: another run writes the same Dataset, or a reference is not ready. Or its Pod "
    "cannot start; the message says what is missing.",
    "Suspended": "`suspend: true` here or on what it refers to: nothing new is started.",
    "NeverRan": "There has been no run yet.",
    "InvalidSpec": "The manifest asks for something impossible; the message names the field and the remedy.",
    "SourceNotFound": "The Source named by `sourceRef` does not exist in this namespace.",
    "DestinationNotFound": "The Destination named by `destinationRef` does not exist in this namespace.",
    "DatasetNotFound": "The Dataset named by a `datasetRef` does not exist in this namespace.",
    "DatasetNotReady": "The Dataset exists and has no table yet; its own conditions say why.",
    "NameConflict": "An object of the name we need exists and is not ours; we never adopt it. Rename one of the two.",
    "TableConflict": "The table belongs to another Dataset, be it a deleted one. Make a Dataset with another `table`.",
    "DeliveryConflict": "An older Subscription delivers into the same folder, and each would replace the other's "
    "`manifest.json`. Choose another `settings.suffix`, or another Destination.",
    "AlreadyLoaded": "Another Pipeline has loaded these files into this Dataset; their rows would stand there twice. "
    "Set the `identity` that the message names, or read other files.",
    "OrderTooLarge": "What its runs have to be told does not fit into a ConfigMap. Use fewer fields, or split it.",
    "SchemaChanged": "The Dataset's schema differs from its table's; changing an existing table is not supported yet.",
    "SecretMissing": "The Secret, or a key in it, does not exist in the namespace where the run happens.",
    "WrongCredentials": "The remote refused the credentials.",
    "ResourceNotFound": "The remote is there and has no such bucket, path, or file.",
    "WrongSpecification": "The remote was read and is not what the manifest says: other format, columns, or encoding.",
    "Unreachable": "The remote did not answer.",
    "Timeout": "The remote began to answer and did not finish in time.",
    "StorageFull": "No space is left where data is written. Nothing was committed.",
    "TooManyBadRows": "More rows were bad than `quality.maxBadRatio` allows. Nothing was committed.",
    "CountMismatch": "Rows read were not all accounted for. Nothing was committed; please report it.",
    "LeaseHeld": "Another run is writing this Dataset; the run is tried again.",
    "OutOfMemory": "The worker exceeded its memory limit. Raise `worker.resources.limits.memory` of the Dataset.",
    "DeadlineExceeded": "The run took longer than `deadline`.",
    "ReportLost": "The Pod was gone, and its report with it, before it was read; a repetition, or the next run, tells.",
    "Cancelled": "The run's Job was deleted before it finished.",
    "BackoffLimitExceeded": "Every retry of the run failed.",
    "UnknownError": "Something we did not foresee; the message is the original one. The log tells more.",
}
"""Each reason with its meaning, for the reference documentation."""


class Condition(Model):
    """One aspect of an object's state, as `metav1.Condition` has it."""

    type: Annotated[str, Field(max_length=64, description="Which aspect: Ready, Reachable, LastRunSucceeded, …")]
    status: Annotated[ConditionStatus, Field(description="Whether it holds; Unknown before it could be told.")]
    reason: Annotated[
        str, Field(max_length=64, description="Why, in one word of a closed list; see docs/conditions.md.")
    ]
    message: Annotated[str, Field(max_length=1024, description="Why, in a sentence: what is wrong and what to do.")] = (
        ""
    )
    last_transition_time: Annotated[Time, Field(description="When the status last changed; RFC 3339.")]
    observed_generation: Annotated[int, Field(description="The metadata.generation that it was told of.")] = 0


Conditions = Annotated[list[Condition], Field(max_length=16, description="How it stands, one entry an aspect.")]


class Verdict(Model):
    """A condition before it meets the previous one: without the time of its last transition."""

    type: Word
    """A `ConditionType`, or that of another version, read from status."""
    status: ConditionStatus
    reason: Word
    """A `Reason`, or the word of another version, read from status or from a report."""
    message: str = ""
    generation: int | None = None
    """Of which generation it is told, where that is not the one of now."""

    @property
    def holds(self) -> bool:
        """Whether the status is `True`."""
        return self.status == "True"


def merge(previous: Iterable[Condition], verdicts: Iterable[Verdict], generation: int, now: str) -> list[Condition]:
    """The conditions to publish: in the verdicts' order, `lastTransitionTime` moving only where the status changed.

    `now` is RFC 3339 in UTC, in whole seconds. A condition without a verdict is dropped.
    """
    before = {condition.type: condition for condition in previous}

    def published(verdict: Verdict) -> Condition:
        old = before.get(verdict.type)
        since = old.last_transition_time if old is not None and old.status == verdict.status else now
        return Condition(
            type=verdict.type,
            status=verdict.status,
            reason=verdict.reason,
            message=visible.text(verdict.message)[:1024],
            last_transition_time=since,
            observed_generation=generation if verdict.generation is None else verdict.generation,
        )

    return [published(verdict) for verdict in verdicts]


def find(conditions: Iterable[Condition], kind: str) -> Condition | None:
    """The condition of that type, if there is one."""
    return next((condition for condition in conditions if condition.type == kind), None)


if missing := {*get_args(Reason), *get_args(ConditionType)} ^ {*REASONS, *TYPES}:  # a typo is caught at import
    raise AssertionError(f"reasons or conditions without a meaning, or meanings without one: {sorted(missing)}")
