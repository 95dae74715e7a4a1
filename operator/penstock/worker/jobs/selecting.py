"""Which columns and rows a Subscription delivers from a snapshot: for deliveries, previews and forecasts."""

import json
import logging
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import cast

from penstock.language import periods, times, words
from penstock.language.errors import InvalidSpec, NotYet
from penstock.runs.order import DatasetOrder, DeliveryOrder, RunOrder
from penstock.worker import steps
from penstock.worker.pod import Pod
from penstock.worker.ports.ledger import DeliveredKeys, KeyPeriod
from penstock.worker.ports.tablestore import Scan, TableStore
from penstock.worker.ports.target import DeliveredColumn
from penstock.worker.rows import delivery as rules
from penstock.worker.rows import engine
from penstock.worker.rows.delivery import Scanned

log = logging.getLogger(__name__)

_NO_LIMIT = 2 << 30
"""Bytes of memory that count as the limit where a Pod has none."""


def subject(order: RunOrder) -> str:
    """What the ledger enters the deliveries of a Subscription under."""
    return f"{order.identity} of {order.datasets[0].owner.marker}"


@dataclass(frozen=True)
class Basis:
    """What every attempt of a run delivers from: the snapshot, and the moment that counts as now."""

    snapshot: str
    moment: datetime


def newest(dataset: DatasetOrder, store: TableStore) -> Basis:
    """The newest snapshot, and now. Raises NotYet (DatasetNotReady) without a table or data."""
    standing = store.standing(dataset)
    if standing is None:
        raise NotYet(f"Dataset {dataset.owner.name} has no table yet.", "DatasetNotReady")
    if standing.snapshot is None:
        raise NotYet(f"Dataset {dataset.owner.name} has no data yet.", "DatasetNotReady")
    return Basis(standing.snapshot, datetime.now(UTC))


@dataclass(frozen=True)
class Selection:
    """The rows that pass the rules: what scans columns of them, and the keys that later deliveries need."""

    scan: Scanned
    count: Callable[[], int]
    """How many rows there are. Without rules the store is asked."""
    keys: DeliveredKeys | None = None


def select(order: RunOrder, store: TableStore, subject: str, basis: Basis, pod: Pod) -> Selection:
    """Apply the rules, which takes one scan of the columns that they need.

    `subject` is that of the ledger, for the keys that earlier deliveries have had.
    """
    delivery, dataset = cast(DeliveryOrder, order.delivery), order.datasets[0]

    def whole(columns: Sequence[str]) -> Scan:
        return store.scan(dataset, columns, basis.snapshot)

    asked = rules.query(delivery, dataset, basis.moment)
    if asked is None:
        return Selection(whole, lambda: whole([dataset.schema_.fields[0].name]).total)
    period, remembered = _remembered(delivery, basis), None
    if period is not None:
        remembered = rules.unpacked(store.ledger.delivered_keys(subject, period))
    with engine.connect((pod.memory or _NO_LIMIT) // 2, pod.processors, pod.scratch) as connection:
        selected = rules.select(asked, whole, connection, remembered)
    steps.reached("rows selected")
    log.info("%s pass the rules", words.count(selected.rows, "row"))  # how many there are, access.filter may hide
    keys = DeliveredKeys(period, times.text(basis.moment), rules.packed(selected.keys)) if period is not None else None
    return Selection(lambda columns: rules.taken(whole(columns), selected), lambda: selected.rows, keys)


def _remembered(delivery: DeliveryOrder, basis: Basis) -> KeyPeriod | None:
    """Which keys of earlier deliveries count; None where none are remembered."""
    deduplication = delivery.deduplication
    if deduplication is None or deduplication.period is None:
        return None
    since = periods.read(deduplication.period).before(basis.moment)
    return KeyPeriod(json.dumps(deduplication.by), times.text(since))


def columns_of(order: DeliveryOrder, dataset: DatasetOrder) -> tuple[DeliveredColumn, ...]:
    """What is delivered, in order. Without `fields`, all that are not sensitive."""
    offered = rules.offered(dataset)
    there = {field.name: field.type for field in offered}
    former = dataset.schema_.renamed
    if not order.fields:
        chosen = [field.name for field in offered if not field.sensitive]
        if not chosen:
            raise InvalidSpec(f"Dataset {dataset.owner.name} has sensitive fields only; name some in `fields`.")
        return tuple(DeliveredColumn(name, name, there[name], former.get(name)) for name in chosen)
    for field in order.fields:
        if field.name not in there:
            raise rules.no_field(dataset, field.name)
    exported = [field for field in order.fields if field.exported is not False]
    return tuple(
        DeliveredColumn(field.name, field.as_ or field.name, there[field.name], former.get(field.name))
        for field in exported
    )
