"""The ledger: which run did what to which Dataset. It lies in the database that commits the data, and commits with it.

`subject` is what one run at a time may change: a Dataset, or a Subscription of it. `identity` is who loads: a
Pipeline's, kept over renaming. Both are `<namespace>/<name>`.
"""

import threading
from collections.abc import Mapping, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass, field
from typing import Any, Literal, Protocol

from penstock.language.errors import NotYet
from penstock.runs.report import Commit

Json = Any


class Cursor(Protocol):
    """A cursor of a database transaction. Parameters stand as `?` in the SQL, whatever the driver's own style is."""

    @property
    def rowcount(self) -> int:
        """How many rows the newest statement changed."""

    def execute(self, sql: str, parameters: Sequence[Any] = (), /) -> Any:
        """Execute one statement."""

    def fetchone(self) -> Any:
        """The next row of the result, None at its end."""

    def fetchall(self) -> list[Any]:
        """The rest of the result."""


class Database(Protocol):
    """The database that the ledger lies in: SQLite or PostgreSQL. The ledger's SQL is what both have in common."""

    def transaction(self) -> AbstractContextManager[Cursor]:
        """One transaction, committed at the end of the block, rolled back on any exception.

        Transactions of the ledger exclude each other from their beginning (SQLite: BEGIN IMMEDIATE; PostgreSQL: an
        advisory lock), so that what one has read stays true until it commits. Raises errors for which `is_failure` is
        true.
        """

    def is_failure(self, error: Exception) -> bool:
        """Whether the error is one of this database, such as a lost connection or a full disk."""


@dataclass(frozen=True)
class Attempt:
    """Who wants to write for which run.

    `basis` is what a plan rests on, the order and the Job's attempt: the Pods of one Job share its plan, and a new
    attempt plans anew, since what failed may lie in the plan. What is committed stays committed either way.
    """

    run: str
    worker: str
    basis: str = ""


@dataclass(frozen=True)
class Claim:
    """The right to commit one run for one subject, as long as no claim with a higher `load_id` exists.

    `load_id` is the fencing token: each claim of a subject gets the next number, and rows carry it. `attempt` counts
    the claims of this run id, from 1. `plan` and `report` are what earlier attempts left; `committed_at` is RFC 3339.
    """

    subject: str
    run: str
    load_id: int
    attempt: int
    plan: str | None = None
    report: str | None = None
    committed_at: str | None = None
    basis: str = ""
    lost: threading.Event = field(default_factory=threading.Event)
    """Set when a heartbeat saw that another worker has taken the run over."""

    def require(self) -> None:
        """Raise NotYet (LeaseHeld) when the claim is known to be lost: work for nothing can stop here."""
        if self.lost.is_set():
            raise taken_over(self)


class TakenOver(NotYet):
    """Another worker of the same run has the claim now."""


def taken_over(claim: Claim) -> TakenOver:
    """What a worker says whose claim is lost."""
    return TakenOver(f"{claim.subject}: another worker has taken run {claim.run} over; this one stops.", "LeaseHeld")


def state_moved(subject: str, stream: str) -> NotYet:
    """What a worker says whose stream has another state than the one that it began with."""
    message = f"{subject}: another run has moved the state of stream {stream} meanwhile. The run is tried again."
    return NotYet(message, "LeaseHeld")


InputState = Literal["loaded", "refused", "replaced"]


@dataclass(frozen=True)
class InputEntry:
    """A version of an input, as a commit left it. `id` is what its rows carry as `_penstock_input_id`.

    `rows` is how many rows of the table name it. `refused`: it could not be read as a whole, and has no rows.
    `replaced`: an upsert has merged a later version into the table, and rows still name this one. `schema` is the hash
    of the Dataset's schema then.
    """

    id: int
    identity: str
    stream: str
    name: str
    version: str
    size: int
    rows: int
    quarantined: int
    state: InputState
    schema: str


@dataclass(frozen=True)
class Settlement:
    """What a commit enters, beside the rows."""

    report: str
    loaded: int
    quarantined: int
    committed_at: str
    identity: str = ""
    stream: str = ""
    inputs: tuple[InputEntry, ...] = ()
    leaving: tuple[int, ...] = ()
    """Ids of inputs whose rows leave with this commit."""
    keep: bool = False
    """Whether those inputs are kept as `replaced` while rows name them; else they are forgotten."""
    displaced: Mapping[int, int] = field(default_factory=dict)
    """How many rows of the table named an input and do not any more, by its id."""
    emptied: bool = False
    """Whether no row that was in the table before is there now: no input is kept as `replaced` then."""
    state_before: Json = None
    """The stream's state that the run began with; None where there was none."""
    state: Json = None
    """The stream's state from now on; None leaves it."""


@dataclass(frozen=True)
class KeyPeriod:
    """Which keys of earlier deliveries count: those of the same fields, delivered since then (RFC 3339)."""

    fields: str
    since: str


@dataclass(frozen=True)
class DeliveredKeys:
    """The keys of the rows of a delivery, as texts that the ledger keeps until they have left the period.

    `moment` is when the delivery counts as made, RFC 3339.
    """

    period: KeyPeriod
    moment: str
    content: tuple[str, ...]


@dataclass(frozen=True)
class Charge:
    """What a delivery cost, as an exact decimal number, at a moment (RFC 3339)."""

    moment: str
    amount: str
    currency: str


@dataclass(frozen=True)
class Delivery:
    """A delivery that was made. `at` is RFC 3339."""

    place: str
    """The URL of the manifest, or the name of the table."""
    snapshot: str
    rows: int
    bytes: int
    files: int
    at: str
    keys: DeliveredKeys | None = None
    charge: Charge | None = None


class Ledger(Protocol):
    """Runs, plans, inputs, states, leases and deliveries."""

    def create(self) -> None:
        """Create the ledger's tables where they are missing."""

    def claim(self, subject: str, attempt: Attempt, lease: float = 60.0) -> AbstractContextManager[Claim]:
        """Hold the subject's lease, with a heartbeat, until the block ends.

        The same run id takes a lease over at once, with a higher load id. Another run id waits until the lease is given
        back or has had no heartbeat for `lease` seconds. Raises NotYet (LeaseHeld) when it is still alive then.
        """

    def require(self, claim: Claim) -> None:
        """Raise NotYet (LeaseHeld) when another claim has taken this one over since."""

    def record(self, claim: Claim, plan: str) -> str:
        """Record the plan for every Pod to come on the same basis, and return it; an earlier one of that basis wins."""

    def new_input_ids(self, claim: Claim, count: int) -> range:
        """So many ids that no input of the subject has had or will have again."""

    def inputs(self, subject: str) -> list[InputEntry]:
        """The inputs whose rows are in the table, and those that were refused; without those that are `replaced`."""

    def state(self, subject: str, identity: str, stream: str) -> Json:
        """The state that the last commit of this stream left, None before the first."""

    def applied_schema(self, subject: str) -> str | None:
        """The schema that was recorded last, as it was given; None before the first."""

    def record_schema(self, subject: str, applied: str, *, replace: bool) -> None:
        """Record the schema that the subject's table has; without `replace` only where none is recorded.

        With `replace`, the subject's lease must be held.
        """

    def tail(self, subject: str, length: int = 3) -> list[Commit]:
        """The newest commits that loaded rows, newest first."""

    def settle(self, cursor: Cursor, claim: Claim, settlement: Settlement) -> None:
        """Enter the run as committed, in the transaction that publishes its rows; happens once for (subject, run).

        Raises NotYet (LeaseHeld) when the claim has been taken over, the run is committed, or the stream's state is no
        longer `state_before`.
        """

    def delivered_keys(self, subject: str, period: KeyPeriod) -> list[str]:
        """The keys that earlier deliveries have left, as they were given, of the deliveries that count."""

    def charges(self, subject: str, since: str, until: str) -> list[Charge]:
        """What the deliveries from one moment to before another have cost."""

    def delivered(self, claim: Claim, settlement: Settlement, delivery: Delivery) -> None:
        """Enter a delivery with its cost and keys in a transaction of its own; forget the keys whose period is over.

        Raises as `settle` does.
        """


States = Mapping[str, Json]
"""A state by stream."""
