"""Delivering: the rows of a Dataset's current snapshot that pass a Subscription's rules, once for a run id.

The snapshot and the moment that recency is measured from are recorded before anything is written, so that every attempt
of the run delivers the same rows.
"""

import hashlib
import json
import logging
from datetime import UTC, datetime
from functools import partial
from typing import cast

from penstock.language import times, words
from penstock.language.errors import InvalidSpec
from penstock.runs.order import DatasetOrder, DeliveryOrder, RunOrder
from penstock.runs.report import DeliveryReport
from penstock.worker import spending, steps
from penstock.worker.connectors import Connectors
from penstock.worker.jobs import applied, selecting
from penstock.worker.jobs.selecting import Basis
from penstock.worker.pod import Pod
from penstock.worker.ports.ledger import Attempt, Charge, Claim, DeliveredKeys, Delivery, Ledger, Settlement
from penstock.worker.ports.tablestore import TableStore
from penstock.worker.ports.target import Batch, DeliveredColumn
from penstock.worker.rows.delivery import Scanned

log = logging.getLogger(__name__)


def deliver(order: RunOrder, pod: Pod, connectors: Connectors) -> tuple[DeliveryReport, int]:
    """Deliver once for this run id; the report and the attempt.

    Raises NotYet (DatasetNotReady) while the Dataset has no data.
    """
    delivery = order.delivery
    if delivery is None or len(order.datasets) != 1:
        raise InvalidSpec("The order to deliver names one Dataset and a delivery.")
    dataset = order.datasets[0]
    store = connectors.store_of(dataset.destination, pod)
    subject = selecting.subject(order)
    with store.ledger.claim(subject, Attempt(pod.run, pod.name)) as claim:
        if claim.report is not None:
            done = DeliveryReport.model_validate_json(claim.report).model_copy(update={"earlier": True})
            return done, claim.attempt
        steps.reached("claimed")
        order = applied.delivery(store, order)
        dataset = order.datasets[0]
        basis = _basis(dataset, store, claim)
        steps.reached("snapshot recorded")
        columns = selecting.columns_of(delivery, dataset)
        account = spending.account(order, store.ledger, subject, basis.moment)
        with store.same_order(dataset):
            selection = selecting.select(order, store, claim.subject, basis, pod)
            if account is not None:
                account.require(selection.count())
            batch = _batch(order, store.ledger, claim, basis, columns, selection.scan)
            delivered = connectors.target_of(delivery.destination, pod).deliver(batch)
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


def _basis(dataset: DatasetOrder, store: TableStore, claim: Claim) -> Basis:
    """The basis that an earlier attempt recorded, or the newest snapshot and now."""
    recorded = claim.plan
    if recorded is None:
        newest = selecting.newest(dataset, store)
        plan = {"snapshot": newest.snapshot, "moment": times.text(newest.moment)}
        recorded = store.ledger.record(claim, json.dumps(plan))
    read = json.loads(recorded)
    # A plan of an earlier version has no moment, and no rules that need one.
    return Basis(str(read["snapshot"]), times.parse(read.get("moment") or times.text(datetime.now(UTC))))


def _batch(
    order: RunOrder, ledger: Ledger, claim: Claim, basis: Basis, columns: tuple[DeliveredColumn, ...], scan: Scanned
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
