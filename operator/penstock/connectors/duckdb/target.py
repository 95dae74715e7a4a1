# ruff: noqa: S608 - SQL is built here; every name in it goes through engine.name
"""DuckDB as a Target: a delivery makes one table anew, in one transaction with the record of it.

The rows are first written into the Pod's own folder, so that the database file is open only for as long as its
transaction takes.
"""

from contextlib import suppress
from pathlib import Path
from typing import cast

import duckdb
import pyarrow as pa

from penstock.connectors.duckdb import columns, database, tables
from penstock.connectors.duckdb.spec import DuckdbDestination
from penstock.connectors.duckdb.writing import LONG_PATIENCE, DuckdbDatabase
from penstock.runs.order import DestinationOrder
from penstock.runs.report import DeliveryReport
from penstock.worker import deliveredtables, report, sqltables, steps
from penstock.worker.deliveredtables import Claim
from penstock.worker.pod import Pod
from penstock.worker.ports.target import Batch
from penstock.worker.rows import engine
from penstock.worker.rows.engine import Connection

_COMPRESSED = pa.ipc.IpcWriteOptions(compression="lz4")
_DELIVERED = "penstock_delivered"


class DuckdbTarget:
    """Tables in the schema main of a database file on a claim."""

    def __init__(self, destination: DestinationOrder, pod: Pod) -> None:
        """Raises InvalidSpec (ResourceNotFound) when the claim is not mounted."""
        spec = cast(DuckdbDestination, destination.connector.spec)
        file = database.at(spec.path, spec.volume, pod, f"Destination {destination.name}", writable=True)
        self.database = DuckdbDatabase(file)
        self._scratch = pod.scratch

    def check(self) -> None:
        """Create a table in the file, and do not commit it."""
        self.database.check()

    def deliver(self, batch: Batch) -> DeliveryReport:
        """Make the table anew with the batch's rows, unless an earlier attempt has."""
        name = deliveredtables.name_of(batch)
        with self.database.transaction() as cursor:
            claim = deliveredtables.begin(cursor, tables.existing(cursor, name), batch)
        if claim.earlier is not None:
            return claim.earlier
        batch.require()
        spooled = self._scratch / f"delivery-{claim.token}.arrow"
        try:
            rows, size = _spool(batch, spooled)
            with self.database.transaction(LONG_PATIENCE) as cursor:
                done = _replace(cursor, batch, claim, spooled, rows)
                done = done.model_copy(update={"bytes": size})
                steps.reached("rows delivered")
                deliveredtables.finish(cursor, claim, batch, done)
        finally:
            spooled.unlink(missing_ok=True)
        return done


def _spool(batch: Batch, file: Path) -> tuple[int, int]:
    """Write the rows into the file; how many there are, and their bytes in Arrow's form."""
    schema = sqltables.arrow(deliveredtables.columns(batch))
    rows = size = 0
    with pa.OSFile(str(file), "wb") as sink, pa.ipc.new_stream(sink, schema, options=_COMPRESSED) as writer:
        for each in batch.scan().rows:
            arrays = [
                each.column(column.source).cast(field.type) for column, field in zip(batch.columns, schema, strict=True)
            ]
            writer.write_batch(pa.RecordBatch.from_arrays(arrays, schema=schema))
            rows += each.num_rows
            size += sum(array.nbytes for array in arrays)
    return rows, size


def _replace(cursor: Connection, batch: Batch, claim: Claim, file: Path, rows: int) -> DeliveryReport:
    del claim
    name = deliveredtables.name_of(batch)
    table = tables.existing(cursor, name)
    if table is not None:
        deliveredtables.require_owner(table, batch)
        cursor.execute(f"DROP TABLE {tables.qualified(table.name)}")
    wanted = deliveredtables.columns(batch)
    cursor.execute(f"CREATE TABLE {tables.qualified(name)} ({', '.join(map(columns.definition, wanted))})")
    marker = engine.text(deliveredtables.marker(batch))
    cursor.execute(f"COMMENT ON TABLE {tables.qualified(name)} IS {marker}")
    names = columns.names(wanted)
    with pa.memory_map(str(file)) as content, pa.ipc.open_stream(content) as reader:
        cursor.register(_DELIVERED, reader)
        try:
            engine.run(cursor, f"INSERT INTO {tables.qualified(name)} ({names}) SELECT {names} FROM {_DELIVERED}")
            deliveredtables.require_count(batch, rows, cursor.rowcount)
        finally:
            with suppress(duckdb.Error):  # a failure has ended the transaction, and the view with it
                cursor.unregister(_DELIVERED)
    return DeliveryReport(table=f"main.{name}", rows=rows, bytes=0, at=report.timestamp())
