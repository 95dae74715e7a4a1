"""Which transactions are open: a mark must not pass the values that they may still commit.

`now()` is the time at which a transaction began, so an open transaction may commit rows as old as its beginning, and no
older ones. Transactions that begin later than this look at the server have later values.
"""

import time
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

from penstock.connectors.postgres.connection import Connection
from penstock.language.errors import InvalidSpec
from penstock.worker.ports.cursors import Kind, Limit

_SETTLING = 0.1
"""Seconds. A session shows its transaction a moment after it has taken its time; by then, it has."""
_NOW = "SELECT pg_catalog.clock_timestamp(), pg_catalog.current_setting('TimeZone')"
_OPEN = """
SELECT pg_is_in_recovery(), pg_last_xact_replay_timestamp(), pg_has_role(current_user, 'pg_read_all_stats', 'USAGE'),
       (SELECT min(prepared) FROM pg_prepared_xacts WHERE database = current_database()),
       min(xact_start) FILTER (WHERE pid <> pg_backend_pid()), coalesce(bool_or(state = 'disabled'), false)
FROM pg_stat_activity
WHERE datname = current_database() AND backend_type NOT IN ('autovacuum worker', 'parallel worker', 'walsender')"""


@dataclass(frozen=True)
class Transactions:
    """What was open at `now`, by the server's clock. `zone` is the time zone of the user's sessions.

    `oldest` is when the oldest open transaction began; `prepared` is when the first prepared transaction was prepared.
    `visible` is whether all transactions can be seen. `replayed` is the time of the newest transaction on a standby.
    `copied` is whether the rows come from other transactions: at the server of a foreign table, or before a
    materialized view was refreshed.
    """

    now: datetime
    zone: str
    standby: bool
    visible: bool
    oldest: datetime | None
    prepared: datetime | None
    replayed: datetime | None
    copied: bool = False

    def limit(self, connection: Connection, kind: Kind, delay: int | None, where: str) -> Limit:
        """How far a mark may go. Raises InvalidSpec where only `delay`, in seconds, can tell and it is None."""
        if kind in ("number", "string"):
            return Limit()
        if delay is None and (self.standby or self.copied or not self.visible):
            raise InvalidSpec(f"{where}: {self._cause} {_REMEDY}", "WrongSpecification")
        if delay is None and self.prepared is not None:
            why = "its place while there is a prepared transaction; see pg_prepared_xacts, or set `delay`"
            return Limit(why=why, blocked=True)
        if self.standby and self.replayed is None:
            return Limit(why="its place before the standby has replayed a transaction", blocked=True)
        until, why = self._instant(delay or 0)
        return Limit(self._printed(connection, kind, until), why)

    @property
    def _cause(self) -> str:
        if self.standby:
            return "the server is a standby, which does not show the open transactions of its primary."
        if self.copied:
            return "it is a foreign table or a materialized view, whose rows come from transactions that are not shown."
        return "the user cannot see the transactions of other users; GRANT pg_read_all_stats allows it."

    def _instant(self, delay: int) -> tuple[datetime, str]:
        """Up to when all rows are there, and why no further."""
        late = timedelta(seconds=delay)
        instants = [(self.now - late, "")]
        if self.standby and self.replayed is not None:
            instants.append((self.replayed - late, "what the standby has replayed"))
        if self.prepared is not None:
            instants.append((self.prepared - late, "a prepared transaction"))
        if self.oldest is not None and self.visible:
            instants.append((self.oldest, f"a transaction that is open since {self.oldest:%Y-%m-%d %H:%M:%S%z}"))
        return min(instants)

    def _printed(self, connection: Connection, kind: Kind, instant: datetime) -> str:
        """The instant as a value of the cursor's type, as PostgreSQL prints it."""
        shown = "%s" if kind == "timestamptz" else f"pg_catalog.timezone(%s, %s)::pg_catalog.{kind}"
        given = [instant] if kind == "timestamptz" else [self.zone, instant]
        row = connection.execute(f"SELECT ({shown})::pg_catalog.text".encode(), given).fetchone()
        return str(row[0]) if row is not None else ""


_REMEDY = "Set `delay` to the time that the longest transaction takes, or 0s if there is only one writer."


def look(connection: Connection) -> Transactions:
    """What is open now. To be called before the transaction that reads, whose snapshot must be later."""
    now, zone = connection.execute(_NOW.encode()).fetchone() or (datetime.now(UTC), "UTC")
    time.sleep(_SETTLING)
    row = connection.execute(_OPEN.encode()).fetchone()
    standby, replayed, all_users, prepared, oldest, disabled = row or (False, None, False, None, None, False)
    return Transactions(now, str(zone), standby, all_users and not disabled, oldest, prepared, replayed)
