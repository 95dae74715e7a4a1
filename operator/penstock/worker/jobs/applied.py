"""The schema that a Dataset's runs use: its own, or the one applied last, while the table cannot take the new one.

A change of a schema that its table's rows may not fit is refused by the migration. It must not stop the Pipelines that
load the table. So the ledger keeps the schema that was applied last, with the write mode and the rules that go with it.
"""

import json
import logging
from collections.abc import Collection
from typing import cast

from penstock.api.fields import Schema
from penstock.api.quality import RowRule
from penstock.language import lenient
from penstock.language.errors import InvalidSpec
from penstock.language.model import Model
from penstock.language.traits import WriteMode
from penstock.runs.order import DatasetOrder, DeliveryOrder, RunOrder
from penstock.worker.ports import differences
from penstock.worker.ports.ledger import Claim
from penstock.worker.ports.tablestore import TableStore

log = logging.getLogger(__name__)


class Applied(Model):
    """What the ledger keeps: all of a Dataset that depends on the columns of its table."""

    schema_: Schema
    write_mode: WriteMode
    rules: list[RowRule] | None = None


def record_first(store: TableStore, dataset: DatasetOrder) -> None:
    """Record the Dataset's schema where none is recorded: the table is as it says."""
    store.ledger.record_schema(dataset.owner.marker, _text(dataset), replace=False)


def record(store: TableStore, claim: Claim, dataset: DatasetOrder) -> None:
    """Record the Dataset's schema as the one that was applied last: the table has just been changed to it."""
    store.ledger.record_schema(claim.subject, _text(dataset), replace=True)


def ensured(store: TableStore, claim: Claim, dataset: DatasetOrder) -> DatasetOrder:
    """The Dataset as its table is: with its own schema, or else with the one that was applied last.

    The table is created where it is missing. Raises as `TableStore.ensure` where it is as neither of them says.
    """
    recorded = store.ledger.applied_schema(claim.subject)
    try:
        store.ensure(dataset)
    except InvalidSpec as refused:
        previous = None if recorded is None else _with_recorded(dataset, recorded)
        if refused.reason != "SchemaChanged" or previous is None:
            raise
        store.ensure(previous)
        log.warning("%s This run uses the schema that was applied last.", refused.message)
        return previous
    if recorded != _text(dataset):
        record(store, claim, dataset)
    return dataset


def readable(store: TableStore, dataset: DatasetOrder, used: Collection[str]) -> DatasetOrder:
    """The Dataset with the schema that its table has: its own, or else the one that was applied last.

    `used` are fields that the reader names. Raises InvalidSpec (SchemaChanged) and NotYet (DatasetNotReady) where the
    table is as neither of them says, or has not all of these fields.
    """
    differ = store.changes(dataset)
    if not differ:
        return dataset
    store.ledger.create()  # one of an earlier version has no schemas
    recorded = store.ledger.applied_schema(dataset.owner.marker)
    previous = None if recorded is None else _with_recorded(dataset, recorded)
    subject = f"Dataset {dataset.owner.name}"
    if previous is None or store.changes(previous) or not {*used} <= {field.name for field in previous.schema_.fields}:
        standing = store.standing(dataset)
        differences.require_none(subject, dataset.table, differ, has_rows=standing is not None and standing.rows > 0)
        return dataset
    log.warning("%s: its new schema is not applied yet. This run uses the schema that was applied last.", subject)
    return previous


def delivery(store: TableStore, order: RunOrder) -> RunOrder:
    """The order of a delivery, or of its preview, with its Dataset as `readable` has it."""
    asked = cast(DeliveryOrder, order.delivery)
    used = {field.name for field in asked.fields}
    for rule in (asked.deduplication, asked.frequency):
        used |= {*rule.by} if rule is not None else set()
    return order.model_copy(update={"datasets": [readable(store, order.datasets[0], used)]})


def _text(dataset: DatasetOrder) -> str:
    applied = Applied(schema_=dataset.schema_, write_mode=dataset.write_mode, rules=dataset.quality.rules)
    return applied.model_dump_json(by_alias=True, exclude_none=True)


def _with_recorded(dataset: DatasetOrder, recorded: str) -> DatasetOrder | None:
    """The Dataset with the schema, write mode and rules that were recorded; None where they cannot be read."""
    try:
        applied = lenient.read(Applied, json.loads(recorded))
    except ValueError:  # of another version
        return None
    schema = _with_sensitive(applied.schema_, dataset.schema_)
    quality = dataset.quality.model_copy(update={"rules": applied.rules})
    return dataset.model_copy(update={"schema_": schema, "write_mode": applied.write_mode, "quality": quality})


def _with_sensitive(previous: Schema, wanted: Schema) -> Schema:
    """The previous schema, with the fields marked as sensitive that `wanted` marks: that needs no other table."""
    hidden = {field.name for field in wanted.fields if field.sensitive}
    hidden |= {earlier for name, earlier in wanted.renamed.items() if name in hidden}
    fields = [
        field.model_copy(update={"sensitive": True}) if field.name in hidden else field for field in previous.fields
    ]
    return previous.model_copy(update={"fields": fields})
