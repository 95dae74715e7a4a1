"""Delivering: a Dataset's current snapshot to a Target, once for a run id.

The snapshot is recorded before anything is written, so that every attempt of the run delivers the same rows.
"""

import difflib
import hashlib
import json
import logging
from functools import partial

from penstock.language import words
from penstock.language.errors import InvalidSpec, NotYet
from penstock.runs.order import DatasetOrder, DeliveryOrder, RunOrder
from penstock.runs.report import DeliveryReport
from penstock.worker import steps
from penstock.worker.connectors import Connectors
from penstock.worker.pod import Pod
from penstock.worker.ports.ledger import Attempt, Claim, Delivery, Settlement
from penstock.worker.ports.tablestore import TableStore
from penstock.worker.ports.target import Batch, DeliveredColumn

log = logging.getLogger(__name__)


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
        snapshot = _snapshot(dataset, store, claim)
        steps.reached("snapshot recorded")
        batch = _batch(order, order.delivery, store, claim, snapshot)
        delivered = connectors.target_of(order.delivery.destination, pod).deliver(batch)
        steps.reached("delivered")
        _settle(store, claim, delivered, snapshot)
        steps.reached("delivery settled")
        rows, files = words.count(delivered.rows, "row"), words.count(delivered.files, "file")
        log.info("%s: %s in %s, %s", subject, rows, files, delivered.manifest)
        return delivered, claim.attempt


def _snapshot(dataset: DatasetOrder, store: TableStore, claim: Claim) -> str:
    """The snapshot that this run delivers: the one an earlier attempt recorded, or the newest."""
    recorded = claim.plan
    if recorded is None:
        standing = store.standing(dataset)
        if standing is None:
            raise NotYet(f"Dataset {dataset.owner.name} has no table yet.", "DatasetNotReady")
        if standing.snapshot is None:
            raise NotYet(f"Dataset {dataset.owner.name} has no data yet.", "DatasetNotReady")
        recorded = store.ledger.record(claim, json.dumps({"snapshot": standing.snapshot}))
    return str(json.loads(recorded)["snapshot"])


def _batch(order: RunOrder, delivery: DeliveryOrder, store: TableStore, claim: Claim, snapshot: str) -> Batch:
    dataset = order.datasets[0]
    columns = _columns(delivery, dataset)
    return Batch(
        id=hashlib.sha256(claim.run.encode()).hexdigest()[:16],
        run=claim.run,
        identity=order.identity,
        dataset=dataset.owner.marker,
        table=dataset.table,
        snapshot=snapshot,
        order=delivery,
        columns=columns,
        scan=partial(store.scan, dataset, [*dict.fromkeys(column.source for column in columns)], snapshot),
        require=claim.require,
    )


def _columns(order: DeliveryOrder, dataset: DatasetOrder) -> tuple[DeliveredColumn, ...]:
    """What is delivered, in order. Without `fields`, all that are not sensitive."""
    there = {field.name: field.type for field in dataset.schema_.fields}
    if not order.fields:
        chosen = [field.name for field in dataset.schema_.fields if not field.sensitive]
        if not chosen:
            raise InvalidSpec(f"Dataset {dataset.owner.name} has sensitive fields only; name some in `fields`.")
        return tuple(DeliveredColumn(name, name, there[name]) for name in chosen)
    for field in order.fields:
        if field.name not in there:
            near = difflib.get_close_matches(field.name, there, n=1)
            hint = f' Did you mean "{near[0]}"?' if near else f" It has {', '.join([*there][:20])}."
            raise InvalidSpec(f'fields: Dataset {dataset.owner.name} has no field "{field.name}".{hint}')
    exported = [field for field in order.fields if field.exported is not False]
    return tuple(DeliveredColumn(field.name, field.as_ or field.name, there[field.name]) for field in exported)


def _settle(store: TableStore, claim: Claim, done: DeliveryReport, snapshot: str) -> None:
    settlement = Settlement(done.model_dump_json(), loaded=done.rows, quarantined=0, committed_at=done.at)
    delivery = Delivery(done.manifest or "", snapshot, done.rows, done.bytes, done.files, done.at)
    store.ledger.delivered(claim, settlement, delivery)
