"""Delivering: the rows of a Dataset's current snapshot that pass a Subscription's rules, once for a run id.

The snapshot and the moment that recency is measured from are recorded before anything is written, so that every attempt
of the run delivers the same rows.
"""

import hashlib
import json
import logging
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import partial
from typing import cast

from penstock.language import periods, times, words
from penstock.language.errors import InvalidSpec, NotYet
from penstock.runs.order import DatasetOrder, DeliveryOrder, RunOrder
from penstock.runs.report import DeliveryReport
from penstock.worker import spending, steps
from penstock.worker.connectors import Connectors
from penstock.worker.pod import Pod
from penstock.worker.ports.ledger import Attempt, Charge, Claim, DeliveredKeys, Delivery, KeyPeriod, Ledger, Settlement
from penstock.worker.ports.tablestore import Scan, TableStore
from penstock.worker.ports.target import Batch, DeliveredColumn
from penstock.worker.rows import delivery as rules
from penstock.worker.rows import engine
from penstock.worker.rows.delivery import Scanned

log = logging.getLogger(__name__)

_NO_LIMIT = 2 << 30
"""Bytes of memory that count as the limit where a Pod has none."""


def deliver(order: RunOrder, pod: Pod, connectors: Connectors) -> tuple[DeliveryReport, int]:
    """Deliver once for this run id; the report and the attempt.

    Raises NotYet (DatasetNotReady) while the Dataset has no data.
    """
    if order.delivery is None or len(order.datasets) != 1:
        raise InvalidSpec("The order to deliver names one Dataset and a delivery.")
    dataset = order.datasets[0]
    store = connectors.store_of(dataset.destination, pod)
    subject = f"{order.identity} of {dataset.owner.marker}"
    with store.ledger.claim(subject, Attempt(pod.run, pod.name)) as claim:
        if claim.report is not None:
            done = DeliveryReport.model_validate_json(claim.report).model_copy(update={"earlier": True})
            return done, claim.attempt
        steps.reached("claimed")
        basis = _basis(dataset, store, claim)
        steps.reached("snapshot recorded")
        columns = _columns(order.delivery, dataset)
        account = spending.account(order, store.ledger, claim, basis.moment)
        selection = _selection(order, store, claim, basis, pod)
        if account is not None:
            account.require(selection.rows)
        batch = _batch(order, store.ledger, claim, basis, columns, selection.scan)
        delivered = connectors.target_of(order.delivery.destination, pod).deliver(batch)
        steps.reached("delivered")
        if account is not None:
            delivered = delivered.model_copy(update={"spend": account.report(delivered.rows)})
        charge = account.charge(delivered.rows) if account is not None else None
        _settle(store, claim, delivered, basis.snapshot, selection.keys, charge)
        steps.reached("delivery settled")
        log.info("%s: %s delivered to %s", subject, words.count(delivered.rows, "row"), _place(delivered))
        if delivered.refused:
            log.info("%s: %s left out, as onRefusedRow says", subject, words.count(delivered.refused, "row"))
        return delivered, claim.attempt


def _place(done: DeliveryReport) -> str:
    """The manifest or the table of a delivery."""
    return done.manifest or done.table or ""


@dataclass(frozen=True)
class _Basis:
    """What every attempt of a run delivers from: the snapshot, and the moment that counts as now."""

    snapshot: str
    moment: datetime


def _basis(dataset: DatasetOrder, store: TableStore, claim: Claim) -> _Basis:
    """The basis that an earlier attempt recorded, or the newest snapshot and now."""
    recorded = claim.plan
    if recorded is None:
        standing = store.standing(dataset)
        if standing is None:
            raise NotYet(f"Dataset {dataset.owner.name} has no table yet.", "DatasetNotReady")
        if standing.snapshot is None:
            raise NotYet(f"Dataset {dataset.owner.name} has no data yet.", "DatasetNotReady")
        plan = {"snapshot": standing.snapshot, "moment": times.text(datetime.now(UTC))}
        recorded = store.ledger.record(claim, json.dumps(plan))
    read = json.loads(recorded)
    # A plan of an earlier version has no moment, and no rules that need one.
    return _Basis(str(read["snapshot"]), times.parse(read.get("moment") or times.text(datetime.now(UTC))))


@dataclass(frozen=True)
class _Selection:
    """The rows that pass the rules: what scans columns of them, and the keys that later deliveries need."""

    scan: Scanned
    rows: int
    keys: DeliveredKeys | None = None


def _selection(order: RunOrder, store: TableStore, claim: Claim, basis: _Basis, pod: Pod) -> _Selection:
    """Apply the rules, which takes one scan of the columns that they need."""
    delivery, dataset = cast(DeliveryOrder, order.delivery), order.datasets[0]

    def whole(columns: Sequence[str]) -> Scan:
        return store.scan(dataset, columns, basis.snapshot)

    asked = rules.query(delivery, dataset, basis.moment)
    if asked is None:
        return _Selection(whole, whole([dataset.schema_.fields[0].name]).total)
    period, remembered = _remembered(delivery, basis), None
    if period is not None:
        remembered = rules.unpacked(store.ledger.delivered_keys(claim.subject, period))
    with engine.connect((pod.memory or _NO_LIMIT) // 2, pod.processors, pod.scratch) as connection:
        selected = rules.select(asked, whole, connection, remembered)
    steps.reached("rows selected")
    log.info("%s pass the rules", words.count(selected.rows, "row"))  # how many there are, access.filter may hide
    keys = DeliveredKeys(period, times.text(basis.moment), rules.packed(selected.keys)) if period is not None else None
    return _Selection(lambda columns: rules.taken(whole(columns), selected), selected.rows, keys)


def _remembered(delivery: DeliveryOrder, basis: _Basis) -> KeyPeriod | None:
    """Which keys of earlier deliveries count; None where none are remembered."""
    deduplication = delivery.deduplication
    if deduplication is None or deduplication.period is None:
        return None
    since = periods.read(deduplication.period).before(basis.moment)
    return KeyPeriod(json.dumps(deduplication.by), times.text(since))


def _batch(
    order: RunOrder, ledger: Ledger, claim: Claim, basis: _Basis, columns: tuple[DeliveredColumn, ...], scan: Scanned
) -> Batch:
    dataset, delivery = order.datasets[0], cast(DeliveryOrder, order.delivery)
    return Batch(
        id=hashlib.sha256(claim.run.encode()).hexdigest()[:16],
        run=claim.run,
        identity=order.identity,
        dataset=dataset.owner.marker,
        table=dataset.table,
        snapshot=basis.snapshot,
        order=delivery,
        columns=columns,
        scan=partial(scan, [*dict.fromkeys(column.source for column in columns)]),
        require=partial(ledger.require, claim),
    )


def _columns(order: DeliveryOrder, dataset: DatasetOrder) -> tuple[DeliveredColumn, ...]:
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


def _settle(
    store: TableStore,
    claim: Claim,
    done: DeliveryReport,
    snapshot: str,
    keys: DeliveredKeys | None,
    charge: Charge | None,
) -> None:
    settlement = Settlement(done.model_dump_json(), loaded=done.rows, quarantined=0, committed_at=done.at)
    delivery = Delivery(_place(done), snapshot, done.rows, done.bytes, done.files or 0, done.at, keys, charge)
    store.ledger.delivered(claim, settlement, delivery)
