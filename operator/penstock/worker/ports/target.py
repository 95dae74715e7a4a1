"""What the worker asks of a system that a Subscription delivers to."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Protocol

from penstock.runs.order import DeliveryOrder, DestinationOrder
from penstock.runs.report import DeliveryReport
from penstock.worker.pod import Pod
from penstock.worker.ports.tablestore import Scan


@dataclass(frozen=True)
class DeliveredColumn:
    """One column of a delivery: its name in the Dataset, its name for the receiver, its type."""

    source: str
    target: str
    type: str
    former: str | None = None
    """The name that the field had in the Dataset before."""


@dataclass(frozen=True)
class Batch:
    """One delivery. `id` is the same for every attempt of one run, and no other run has it."""

    id: str
    run: str
    identity: str
    dataset: str
    table: str
    snapshot: str
    order: DeliveryOrder
    """Where and how: the Subscription's settings."""
    columns: tuple[DeliveredColumn, ...]
    scan: Callable[[], Scan]
    """The rows, of the same snapshot and in the same order at each call; the columns have their source names."""
    require: Callable[[], None]
    """Raises NotYet (LeaseHeld) when another worker has the lease, by the ledger itself, which is asked each time.

    Called before anything becomes visible. The Target must not have a transaction open then: both may use one database.
    """


class Target(Protocol):
    """A system that receives deliveries. Made as `Implementation(destination, pod)`. Raises InvalidSpec and NotYet."""

    def __init__(self, destination: DestinationOrder, pod: Pod) -> None: ...

    def check(self) -> None:
        """Raise InvalidSpec or NotYet unless deliveries can be made here."""

    def deliver(self, batch: Batch) -> DeliveryReport:
        """Deliver the batch as a whole, once for its id where the system allows it.

        The report is marked as earlier when an earlier attempt of the same batch had delivered it.
        """
