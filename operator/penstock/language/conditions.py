"""Conditions after the Kubernetes API conventions and kstatus: a type, a status, a typed reason, one clear sentence."""

from collections.abc import Iterable, Mapping
from typing import Annotated, Literal, get_args

from pydantic import Field

from penstock.language import visible
from penstock.language.model import Model
from penstock.language.scalars import Time, Word

ConditionType = Literal[
    "Ready",
    "Reconciling",
    "Stalled",
    "Reachable",
    "Discovered",
    "SchemaCurrent",
    "QualityOK",
    "Fresh",
    "LastRunSucceeded",
    "AccessGranted",
    "WithinBudget",
]

TYPES: Mapping[ConditionType, str] = {
    "Ready": "The manifest is accepted and what it needs is in place. An unreachable system or a failed run does "
    "not change it.",
    "Reconciling": "The operator is working on it; absent otherwise.",
    "Stalled": "It cannot continue until the user changes something; absent otherwise.",
    "Reachable": "The Source or Destination answered when it was last inspected.",
    "Discovered": "The streams and fields of the Source were read; `status.catalog` names the ConfigMap that lists "
    "them.",
    "SchemaCurrent": "The Dataset's table has the schema of the manifest.",
    "QualityOK": "The newest run had no more bad rows than `quality.maxBadRatio` allows.",
    "Fresh": "A run has loaded the Dataset, or found nothing new for it, within its `freshness`; absent without it.",
    "LastRunSucceeded": "The newest finished run succeeded.",
    "WithinBudget": "The newest delivery cost no more than `budget` allows. Absent without a budget.",
    "AccessGranted": "The Dataset offers what the Subscription delivers and uses in its rules, by `access`.",
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
    "AccessDenied",
    "BudgetExceeded",
    "AlreadyLoaded",
    "OrderTooLarge",
    "SchemaChanged",
    "RowRefused",
    "SecretMissing",
    "WrongCredentials",
    "ResourceNotFound",
    "WrongSpecification",
    "Unreachable",
    "TlsFailed",
    "Timeout",
    "StorageFull",
    "TooManyBadRows",
    "Stale",
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
    "Succeeded": "The state is the one that the manifest describes.",
    "Progressing": "The operator is working on it.",
    "Waiting": "It waits: another run writes the same Dataset, a reference is not ready, or its Pod cannot start. The "
    "message says which.",
    "Suspended": "`suspend: true` is set here or on a referenced object: nothing new is started.",
    "NeverRan": "There has been no run yet.",
    "InvalidSpec": "The manifest is not valid, or does not fit the system. The message says what to change.",
    "SourceNotFound": "The Source named by `sourceRef` does not exist in this namespace.",
    "DestinationNotFound": "The Destination named by `destinationRef` does not exist in this namespace.",
    "DatasetNotFound": "The Dataset named by a `datasetRef` does not exist in this namespace.",
    "DatasetNotReady": "The Dataset has no table, no data or an old schema; its own conditions say why. Or a "
    "delivery was retried after a later load had removed rows, and the store has no snapshots.",
    "NameConflict": "An object with the name that the operator needs exists and was not created by it. The "
    "operator never takes over such an object. Rename one of the two.",
    "TableConflict": "The table belongs to another Dataset or Subscription, which may have been deleted, or Penstock "
    "did not create it. Choose another `table`.",
    "DeliveryConflict": "An older Subscription delivers into the same folder or table, and the two would overwrite "
    "each other's deliveries. Choose another `settings.suffix` or `settings.table`, or another Destination.",
    "AccessDenied": "The Dataset does not offer what the Subscription asks for. The message names the rule of "
    "`access`. Leave it out, or ask the owner of the Dataset.",
    "BudgetExceeded": "The delivery would have cost more than is left of `budget` in this period. Nothing was "
    "delivered. Raise the budget, or wait for the next period.",
    "AlreadyLoaded": "Another Pipeline has loaded these files into this Dataset; their rows would be loaded twice. "
    "Set the `identity` that the message names, or read other files.",
    "OrderTooLarge": "The RunOrder of its runs does not fit into a ConfigMap. Use fewer fields, or use several "
    "objects.",
    "SchemaChanged": "The Dataset's schema has changes that rows in its table may not fit, such as a field removed or "
    "another type. Undo the changes, or create a new Dataset. See docs/schema-changes.md. Or another "
    "program has altered the table that a Subscription delivers into.",
    "RowRefused": "The receiving system cannot store a value of a row that is to be delivered. Nothing was delivered. "
    "The message says which field of which row. Correct the row, or set `onRefusedRow: skip`.",
    "SecretMissing": "The Secret, or a key in it, does not exist in the namespace of the run.",
    "WrongCredentials": "The system refused the credentials.",
    "ResourceNotFound": "The system answered, but the bucket, path or file does not exist.",
    "WrongSpecification": "The data does not match the manifest: its format, columns or encoding are different.",
    "Unreachable": "The system did not answer.",
    "TlsFailed": "There is no TLS connection: the server's certificate is not trusted, has expired or is for another "
    "name, or the server does not speak TLS. The message says which. See `caBundle` and `sslMode` of the connector.",
    "Timeout": "The system began to answer and did not finish in time.",
    "StorageFull": "No space is left where data is written. Free some space; the run is tried again.",
    "TooManyBadRows": "More rows were bad than `quality.maxBadRatio` allows. Nothing was committed to that "
    "Dataset; other Datasets of the run may have been loaded.",
    "Stale": "No run has loaded the Dataset, or found nothing new for it, within its `freshness`. The Pipelines that "
    "load it say why: they are suspended, wait, or fail.",
    "CountMismatch": "The counts of a run do not add up. Nothing was committed to that Dataset. This is a defect "
    "of Penstock; please report it.",
    "LeaseHeld": "Another run is writing this Dataset. The run is tried again.",
    "OutOfMemory": "The worker exceeded its memory limit. Raise `worker.resources.limits.memory` of the Dataset.",
    "DeadlineExceeded": "The run took longer than `deadline`.",
    "ReportLost": "The Pod was deleted before its report was read. The result is known after the next run "
    "or the next attempt of this run.",
    "Cancelled": "The run's Job was deleted before it finished.",
    "BackoffLimitExceeded": "The run failed, and so did all its retries.",
    "UnknownError": "An unexpected error, most likely a defect of Penstock. The message is that of the "
    "original error; see the log.",
}
"""Each reason with its meaning, for the reference documentation."""


class Condition(Model):
    """One aspect of an object's state, as `metav1.Condition` has it."""

    type: Annotated[
        str, Field(max_length=64, description="Type of the condition: Ready, Reachable, LastRunSucceeded, …")
    ]
    status: Annotated[ConditionStatus, Field(description="True, False, or Unknown while neither has been determined.")]
    reason: Annotated[str, Field(max_length=64, description="Why, in one word; docs/conditions.md lists them.")]
    message: Annotated[str, Field(max_length=1024, description="Why, in a sentence, and what to do.")] = ""
    last_transition_time: Annotated[Time, Field(description="When the status last changed; RFC 3339.")]
    observed_generation: Annotated[int, Field(description="The metadata.generation that the condition is about.")] = 0


Conditions = Annotated[
    list[Condition], Field(max_length=16, description="The state, one entry for each type of condition.")
]


class Verdict(Model):
    """A condition before it meets the previous one: without the time of its last transition."""

    type: Word
    """A `ConditionType`, or that of another version, read from status."""
    status: ConditionStatus
    reason: Word
    """A `Reason`, or the word of another version, read from status or from a report."""
    message: str = ""
    generation: int | None = None
    """The generation that it is about, where that is not the one of now."""

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
