"""Migrating: a Dataset's table and quarantine are created, or brought to what its schema says."""

import logging

from penstock.language.errors import NotYet
from penstock.runs.order import DatasetOrder, RunOrder
from penstock.runs.report import DatasetReport
from penstock.worker import report
from penstock.worker.connectors import Connectors
from penstock.worker.jobs import applied
from penstock.worker.pod import Pod
from penstock.worker.ports.ledger import Attempt
from penstock.worker.ports.tablestore import TableStore
from penstock.worker.rows import origins, rowrules

log = logging.getLogger(__name__)

PATIENCE = 5.0
"""Seconds that a migration waits for the lease of a Dataset that is being written; then it is tried again."""


def migrate(order: RunOrder, pod: Pod, connectors: Connectors) -> list[DatasetReport]:
    """Bring every Dataset's table to what its schema says; how each stands.

    Raises InvalidSpec: an expression that can work over no columns, a rule that cannot be asked,
    TableConflict, SchemaChanged.
    """
    return [_migrate(order, dataset, pod, connectors) for dataset in order.datasets]


def _migrate(order: RunOrder, dataset: DatasetOrder, pod: Pod, connectors: Connectors) -> DatasetReport:
    for field in dataset.schema_.fields:
        if field.from_ is not None:
            origins.check_expression(field.from_, f"field {field.name}")
    if dataset.access is not None and dataset.access.filter is not None:
        from penstock.worker.rows import delivery  # sqlglot takes a tenth of a second: most Datasets go without

        delivery.check_filter(dataset.access.filter, "access.filter", dataset.schema_.fields)
    rowrules.check_all(dataset.schema_.fields, dataset.quality.rules or [])
    store = connectors.store_of(dataset.destination, pod)
    store.ledger.create()
    if store.changes(dataset):
        _alter(order, dataset, store, pod)
    store.ensure(dataset)
    applied.record_first(store, dataset)
    _describe(order, dataset, store, pod)
    entry = report.standing(store, dataset, DatasetReport(name=dataset.owner.name, state="Ready"))
    log.info("%s: table %s is ready", dataset.owner.name, entry.table)
    return entry.model_copy(update={"tail": store.ledger.tail(dataset.owner.marker)})


def _alter(order: RunOrder, dataset: DatasetOrder, store: TableStore, pod: Pod) -> None:
    """Change the table's columns. A load that is writing ends first: NotYet (LeaseHeld) has this tried again."""
    attempt = Attempt(pod.run, pod.name, f"{order.digest}/{pod.attempt}")
    with store.claim(dataset, attempt, PATIENCE) as claim:
        for change in store.alter(dataset, claim):
            log.info("%s: changed table %s: %s", dataset.owner.name, dataset.table, change.sentence)
        applied.record(store, claim, dataset)


def _describe(order: RunOrder, dataset: DatasetOrder, store: TableStore, pod: Pod) -> None:
    """Update the table's descriptions, unless a run is writing: it is not worth waiting for, and the next run will."""
    if not store.describe(dataset, None):
        return
    attempt = Attempt(pod.run, pod.name, f"{order.digest}/{pod.attempt}")
    try:
        with store.claim(dataset, attempt, PATIENCE) as claim:
            store.describe(dataset, claim)
    except NotYet as busy:
        log.info("%s The table's descriptions are left to the next run.", busy.message)
