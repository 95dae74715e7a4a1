"""What the worker asks of a system that a Subscription delivers to."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Protocol

from penstock.runs.order import DeliveryOrder
from penstock.runs.report import DeliveryReport
from penstock.worker.pod import Pod
from penstock.worker.ports.tablestore import Scan


@dataclass(frozen=True)
class DeliveredColumn:
    """One column of a delivery: its name in the Dataset, its name for the receiver, its type."""

    source: str
    target: str
    type: str


@dataclass(frozen=True)
class Batch:
    """One delivery. `id` is the same for every attempt of one run, and no other run has it."""

    id: str
    run: str
    identity: str
    dataset: str
    table: str
    columns: tuple[DeliveredColumn, ...]
    scan: Callable[[], Scan]
    """The rows, of the same snapshot at each call, with the columns' source names in their order."""
    require: Callable[[], None]
    """Raises NotYet when another worker has taken the run over; called before anything becomes visible."""


@dataclass(frozen=True)
class Delivered:
    """What a Target made visible; `earlier` when an earlier attempt of the same batch had."""

    report: DeliveryReport
    snapshot: str


class Target(Protocol):
    """A system that receives deliveries. Made as `Implementation(delivery, pod)`. Raises InvalidSpec and NotYet."""

    def __init__(self, order: DeliveryOrder, pod: Pod) -> None: ...

    def check(self) -> None:
        """Raise InvalidSpec or NotYet unless deliveries can be made here."""

    def deliver(self, batch: Batch) -> Delivered:
        """Deliver the batch as a whole, at most once for its id where the system allows it."""
