"""PostgreSQL as a Target: a delivery replaces the rows of one table, in one transaction with the record of it.

Readers see the earlier rows until the commit: rows leave by DELETE, which neither waits for readers nor makes them
wait. Only where the columns differ, the table is locked against readers for the end of the transaction. Its rows come
from a table beside it then, into which they were copied before. The table itself stays, and with it its privileges,
indexes, and the views over it.
"""

from typing import cast

import psycopg
from psycopg import sql

from penstock.connectors.postgres import alter, columns, copying, probe, tables
from penstock.connectors.postgres.alter import Key
from penstock.connectors.postgres.connection import Place
from penstock.connectors.postgres.copying import Refusals, Sent
from penstock.connectors.postgres.database import PostgresCursor, PostgresDatabase
from penstock.connectors.postgres.spec import PostgresDestination
from penstock.connectors.postgres.staging import PREFIX
from penstock.language.errors import NotYet
from penstock.runs.order import DestinationOrder
from penstock.runs.report import DeliveryReport
from penstock.worker import deliveredtables, report, steps
from penstock.worker.deliveredtables import Claim
from penstock.worker.pod import Pod
from penstock.worker.ports.differences import Change
from penstock.worker.ports.target import Batch


class PostgresTarget:
    """Tables in one schema of a database."""

    def __init__(self, destination: DestinationOrder, pod: Pod) -> None:
        """Raises InvalidSpec (SecretMissing)."""
        spec = cast(PostgresDestination, destination.connector.spec)
        place = Place(spec, destination.auth, pod, f"Destination {destination.name}")
        self.database = PostgresDatabase(place, spec.schema_)

    def check(self) -> None:
        """Create a table in the schema, and do not keep it."""
        probe.check(self.database)

    def deliver(self, batch: Batch) -> DeliveryReport:
        """Replace the table's rows, unless an earlier attempt has."""
        name = deliveredtables.name_of(batch)
        with self.database.transaction() as cursor:
            probe.require_every_text(cursor, self.database)
            claim = deliveredtables.begin(cursor, tables.existing(cursor, self.database.schema, name), batch)
        if claim.earlier is not None:
            return claim.earlier
        batch.require()
        with self.database.unlocked() as cursor:
            self.database.lock(cursor, f"delivery into {name}")
            done = _Delivery(cursor, self.database, batch, claim).carry_out()
            steps.reached("rows delivered")
            deliveredtables.finish(cursor, claim, batch, done)
        return done


class _Delivery:
    """One delivery, within its transaction."""

    def __init__(self, cursor: PostgresCursor, database: PostgresDatabase, batch: Batch, claim: Claim) -> None:
        self._cursor, self._batch, self._claim, self._schema = cursor, batch, claim, database.schema
        self._name = deliveredtables.name_of(batch)
        self._table = sql.Identifier(database.schema, self._name)
        subject = f"{deliveredtables.title(batch)}, {database.place.spec.location}, table {self._name}"
        self._refusals = Refusals(subject, batch.order.on_refused_row or "fail", batch.columns)

    def carry_out(self) -> DeliveryReport:
        """Replace the rows. Raises InvalidSpec and NotYet, also where the table has changed since it was claimed."""
        table = tables.existing(self._cursor, self._schema, self._name)
        if table is None:
            self._create(self._table, permanent=True)
            sent = self._copy(self._table)
        else:
            self._execute("LOCK TABLE {} IN ROW EXCLUSIVE MODE")  # nobody alters it from here on
            table = tables.existing(self._cursor, self._schema, self._name) or table
            deliveredtables.require_owner(table, self._batch)
            changes = deliveredtables.changes(table, self._batch, self._claim.layout)
            sent = self._replace(changes)
        return DeliveryReport(
            table=f"{self._schema}.{self._name}",
            rows=sent.rows,
            refused=self._refusals.rows or None,
            bytes=sent.bytes,
            at=report.timestamp(),
        )

    def _replace(self, changes: list[Change]) -> Sent:
        if not changes:
            self._execute("DELETE FROM {}")
            return self._copy(self._table)
        aside = sql.Identifier(self._schema, f"{PREFIX}delivery_{self._claim.token[:16]}")
        self._create(aside, permanent=False)
        sent = self._copy(aside)
        self._execute("DELETE FROM {}")
        wanted = deliveredtables.columns(self._batch)
        alter.alter(self._cursor, self._table, wanted, changes, (Key(), Key()))
        names = columns.names(wanted)
        moved = sql.SQL("INSERT INTO {} ({}) SELECT {} FROM {}").format(self._table, names, names, aside)
        self._cursor.own.execute(moved)
        deliveredtables.require_count(self._batch, sent.rows, self._cursor.rowcount)
        self._cursor.own.execute(sql.SQL("DROP TABLE {}").format(aside))
        return sent

    def _create(self, table: sql.Identifier, *, permanent: bool) -> None:
        definitions = sql.SQL(", ").join(map(columns.definition, deliveredtables.columns(self._batch)))
        kind = sql.SQL("" if permanent else "UNLOGGED ")
        try:
            self._cursor.own.execute(sql.SQL("CREATE {}TABLE {} ({})").format(kind, table, definitions))
        except (psycopg.errors.UniqueViolation, psycopg.errors.DuplicateTable):
            message = f"{deliveredtables.title(self._batch)}: another program has just created table {self._name}. "
            raise NotYet(f"{message}The run is tried again.", "TableConflict") from None
        if permanent:
            comment = sql.Literal(deliveredtables.marker(self._batch))
            self._cursor.own.execute(sql.SQL("COMMENT ON TABLE {} IS {}").format(table, comment))

    def _copy(self, table: sql.Identifier) -> Sent:
        rows = self._batch.scan().rows
        sent, arrived = copying.copy_in(self._cursor, table, self._batch.columns, rows, self._refusals)
        deliveredtables.require_count(self._batch, sent.rows, arrived)
        return sent

    def _execute(self, statement: str) -> None:
        """Execute a statement about the table, in which it stands as `{}`."""
        self._cursor.own.execute(sql.SQL(statement).format(self._table))
