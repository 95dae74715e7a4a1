"""Pipeline: moves a Source's streams into Datasets."""

from typing import Annotated, Literal, Self

from pydantic import Field, model_validator

from penstock.api.source import Failure, PodWaits
from penstock.api.trigger import DatasetRef, HandledLoad, Trigger
from penstock.api.waiting import RunWaits
from penstock.language.conditions import Conditions
from penstock.language.model import Model
from penstock.language.scalars import (
    Cron,
    Delay,
    Duration,
    Generation,
    Lookback,
    Name,
    Nonce,
    ShortText,
    Time,
    TimeZone,
    Word,
)


class SourceRef(Model):
    """A Source in this namespace."""

    name: Annotated[Name, Field(description="Name of the Source.")]


class PipelineDataset(Model):
    """One stream and the Dataset it is loaded into."""

    stream: Annotated[
        ShortText | None,
        Field(
            description="The stream to read. Default: the only stream of the Source; that of a files Source has "
            "the Source's name."
        ),
    ] = None
    dataset_ref: Annotated[DatasetRef, Field(description="The Dataset that receives the rows.")]
    sync: Annotated[
        Literal["full", "incremental"],
        Field(
            description="full: each run reads everything; for writeMode replace, upsert or snapshot. incremental: a "
            "run reads what is new or has changed since the last commit; for writeMode append or upsert. With a "
            "database, `cursor` says which column finds that."
        ),
    ]
    cursor: Annotated[
        str | None,
        Field(
            min_length=1,
            max_length=255,
            description="For sync incremental with a database: the source column whose value grows with each new or "
            "changed row, such as updated_at or a sequence number. A run reads the rows with at least the greatest "
            "value that was loaded. Its type: whole number, decimal, date, timestamp, or text.",
        ),
    ] = None
    lookback: Annotated[
        Lookback | None,
        Field(
            description="How far before the cursor's mark each run reads again, for rows that appear late: a duration "
            "(1h, 2d), or for numeric cursors a whole number (1000). Needs a Dataset with writeMode upsert.",
        ),
    ] = None
    delay: Annotated[
        Delay | None,
        Field(
            description="How long rows are left at the source before they are read (10m), so that transactions which "
            "commit late are not missed; at least as long as the longest transaction. 0s: no transaction commits late. "
            "Required where the open transactions cannot be seen.",
        ),
    ] = None

    @model_validator(mode="after")
    def _cursor_is_complete(self) -> Self:
        if self.cursor is not None and self.sync != "incremental":
            raise ValueError("cursor goes with sync incremental")
        for name in ("lookback", "delay"):
            if getattr(self, name) is not None and self.cursor is None:
                raise ValueError(f"{name} goes with cursor")
        return self


class PipelineSpec(Model):
    """Loads a Source into Datasets, on a schedule or on request."""

    source_ref: Annotated[SourceRef, Field(description="The Source to read.")]
    identity: Annotated[
        str | None,
        Field(
            min_length=1,
            max_length=253,
            description="Name under which the ledger records runs and loaded files. Default: <namespace>/<name>. "
            "Keep it "
            "when you rename the Pipeline, so that no file is loaded twice.",
        ),
    ] = None
    datasets: Annotated[
        list[PipelineDataset],
        Field(min_length=1, max_length=16, description="What to load into which Dataset; each Dataset once."),
    ]
    schedule: Annotated[
        list[Cron],
        Field(max_length=8, description='When to run, as cron expressions: "15 * * * *". Empty: only on request.'),
    ] = []
    time_zone: Annotated[TimeZone | None, Field(description="Time zone of `schedule`, an IANA name. Default: UTC.")] = (
        None
    )
    trigger: Annotated[Trigger | None, Field(description="Loads of Datasets that start a run. Default: none does.")] = (
        None
    )
    run_nonce: Annotated[
        Nonce,
        Field(description="Any text; change it to run once now. Copied to status.handledRunNonce when that run ends."),
    ] = ""
    retries: Annotated[
        int,
        Field(
            ge=0,
            le=10,
            description="How often the Job of a run is retried at once. Independently of this number, a run that "
            "failed for an outside cause, such as Unreachable, is tried again later.",
        ),
    ] = 3
    deadline: Annotated[
        Duration, Field(description="How long one run may take, including its retries: 90s, 15m, 1h30m.")
    ] = "1h"
    history: Annotated[
        int, Field(ge=1, le=50, description="How many finished runs to keep, as Jobs with their logs.")
    ] = 10
    suspend: Annotated[bool, Field(description="Start no run. Runs that have started continue.")] = False

    @model_validator(mode="after")
    def _consistent(self) -> Self:
        names = [entry.dataset_ref.name for entry in self.datasets]
        if twice := next((name for name in names if names.count(name) > 1), None):
            raise ValueError(f'datasets: the Dataset "{twice}" occurs twice')
        if self.time_zone is not None and not self.schedule:
            raise ValueError("timeZone goes with a schedule")
        return self


class Run(Model):
    """One run, newest attempt."""

    id: Annotated[str, Field(max_length=253, description="Id of the run, the same for all retries.")]
    state: Annotated[
        Word,
        Field(
            description="Waiting, Running, Succeeded, Failed, or Cancelled (its Job was deleted). Later "
            "versions may add states."
        ),
    ]
    job: Annotated[str | None, Field(max_length=253, description="Name of its Job.")] = None
    attempt: Annotated[
        int | None,
        Field(description="Number of the Job of this run, from 1: each later attempt has a new Job."),
    ] = None
    pods: Annotated[
        int | None, Field(description="Number of Pods that the Job has started; each after the first is a retry.")
    ] = None
    scheduled_time: Annotated[Time | None, Field(description="End of the interval that it covers; RFC 3339.")] = None
    started_at: Annotated[Time | None, Field(description="When its Job began; RFC 3339.")] = None
    finished_at: Annotated[
        Time | None,
        Field(
            description="When it ended; RFC 3339. If an earlier run with this id had committed its rows: the time "
            "of that commit."
        ),
    ] = None
    reason: Annotated[ShortText | None, Field(description="Why it failed, in one word.")] = None
    message: Annotated[
        str | None,
        Field(max_length=1024, description="Why it failed, and what to do; or that an earlier run had done its work."),
    ] = None
    trigger: Annotated[
        Word | None, Field(description="What started it: nonce, requested, schedule, after, manual or first.")
    ] = None
    waiting: Annotated[RunWaits | None, Field(description="What it waits for, while its state is Waiting.")] = None
    pod_waits: Annotated[PodWaits | None, Field(description="Why its Pod does not start.")] = None
    last_failure: Annotated[
        Failure | None, Field(description="How the previous attempt failed, while an attempt runs.")
    ] = None
    rows_read: Annotated[
        int | None,
        Field(description="Rows read: loaded + unchanged + superseded + quarantined + ignored, checked in every run."),
    ] = None
    rows_loaded: Annotated[int | None, Field(description="Rows that it added to the table.")] = None
    rows_quarantined: Annotated[int | None, Field(description="Bad rows, in quarantine.")] = None
    rows_ignored: Annotated[int | None, Field(description="Rows that are not to be loaded, such as deletions.")] = None
    rows_unchanged: Annotated[
        int | None, Field(description="With writeMode upsert: rows that were in the table already, with equal values.")
    ] = None
    rows_superseded: Annotated[
        int | None,
        Field(
            description="With writeMode upsert: rows that were not loaded because a later row has the same key, in "
            "this run or in the table."
        ),
    ] = None
    rows_replaced: Annotated[
        int | None,
        Field(
            description="Earlier rows that this commit removed: the rows of changed files; with writeMode replace, all "
            "rows; with writeMode upsert, the rows that got new values."
        ),
    ] = None
    bytes: Annotated[int | None, Field(description="Bytes read from the source.")] = None
    files: Annotated[int | None, Field(description="Files read.")] = None
    inputs_refused: Annotated[
        int | None,
        Field(description="New inputs that could not be read; each is one entry in the quarantine."),
    ] = None

    @property
    def over(self) -> bool:
        """Whether it has ended. A word of a newer version counts as an end: where a Job is left, that tells."""
        return self.state not in ("Waiting", "Running")


class PipelineDatasetStatus(Model):
    """What the newest run did to one Dataset."""

    name: Annotated[ShortText, Field(description="Name of the Dataset.")]
    state: Annotated[
        Word,
        Field(
            description="Waiting, Running, Written, Unchanged (nothing new at the Source), Failed, or Cancelled. Later "
            "versions may add states."
        ),
    ]
    rows: Annotated[int | None, Field(description="Rows it loaded.")] = None
    quarantined: Annotated[int | None, Field(description="Bad rows it put into quarantine.")] = None
    cursor: Annotated[
        str | None,
        Field(
            max_length=256,
            description="How far rows have been loaded by the cursor: its greatest value, as the database prints it. "
            "*** if a sensitive field is made of it.",
        ),
    ] = None


class PipelineStatus(Model):
    """How a Pipeline stands."""

    observed_generation: Generation = -1
    conditions: Conditions = []
    last_run: Annotated[Run | None, Field(description="The newest run that began.")] = None
    runs: Annotated[
        list[Run], Field(max_length=50, description="The newest runs, newest first, `history` of them.")
    ] = []
    datasets: Annotated[
        list[PipelineDatasetStatus], Field(max_length=16, description="What the newest run did to each Dataset.")
    ] = []
    next_run_time: Annotated[Time | None, Field(description="The next time of the schedule; RFC 3339, UTC.")] = None
    handled_run_nonce: Annotated[
        str | None, Field(max_length=128, description="The newest runNonce whose run has ended.")
    ] = None
    handled_requested_at: Annotated[
        str | None, Field(max_length=256, description="The newest penstock.dev/requestedAt whose run has ended.")
    ] = None
    handled_loads: Annotated[
        list[HandledLoad] | None,
        Field(max_length=16, description="For each Dataset of trigger.after, the newest load that a run has handled."),
    ] = None
