"""A stream of PostgreSQL and its cursor: the SQL for `worker.ports.cursors`, over the columns p0, p1, …"""

from dataclasses import replace
from typing import Any

from psycopg import sql

from penstock.connectors.postgres import connection as connections
from penstock.connectors.postgres import failures
from penstock.connectors.postgres.connection import Connection
from penstock.connectors.postgres.relations import Column, Relation
from penstock.connectors.postgres.transactions import Transactions
from penstock.language.scalars import seconds
from penstock.worker.ports import cursors
from penstock.worker.ports.cursors import Expressions, Fingerprint, Kind, Limit

_KINDS: dict[str, Kind] = {
    "int2": "number", "int4": "number", "int8": "number", "numeric": "number", "date": "date",
    "timestamp": "timestamp", "timestamptz": "timestamptz", "text": "string", "varchar": "string", "bpchar": "string",
}  # fmt: skip
_COMPARED_AS = {"int2": "int8", "int4": "int8", "varchar": "text"}
"""Types to which a cursor's values and the mark are cast, so that the operators are those of PostgreSQL itself."""
_IDENTITY = "SELECT system_identifier::text || '/' || current_database() FROM pg_control_system()"


class PostgresCursor:
    """A stream and its cursor, see `worker.ports.cursors.CursorStream`."""

    def __init__(
        self, connection: Connection, relation: Relation, name: str, where: str, seen: Transactions | None
    ) -> None:
        """Raises InvalidSpec where there is no such column, or its type cannot be compared."""
        self._connection, self._relation, self._seen = connection, relation, seen
        self.where = f"{where}, {relation.where}"
        place, column, kind = self._column(name)
        server = str((connection.execute(_IDENTITY.encode()).fetchone() or ("",))[0])
        query = relation.origin.as_string(connection) if relation.query else None
        stream = cursors.identified(relation.stream, query)
        self.fingerprint = Fingerprint(server=server, stream=stream, column=column.name, kind=kind)
        self.sql = self._expressions(f"p{place}", column.type, kind)

    def _column(self, name: str) -> tuple[int, Column, Kind]:
        place = cursors.find_column([column.name for column in self._relation.columns], name, self.where)
        column = self._relation.columns[place]
        kind = _KINDS.get(column.type)
        if kind is None:
            raise cursors.not_comparable(name, self.where)
        return place, column, kind

    def _expressions(self, column: str, type_name: str, kind: Kind) -> Expressions:
        compared = _COMPARED_AS.get(type_name, type_name)
        value = f"{column}::pg_catalog.text" if type_name == "varchar" else column
        extremes = ", ".join(f"'{each}'::pg_catalog.{type_name}" for each in self._extremes(type_name))
        ordinary, without = f"{value} IS NOT NULL", f"{value} IS NULL"
        if extremes:
            ordinary, without = f"{ordinary} AND {value} NOT IN ({extremes})", f"{without} OR {value} IN ({extremes})"

        def literal(text: str) -> str:
            return f"{sql.Literal(text).as_string(self._connection).strip()}::pg_catalog.{compared}"

        def back(text: str, lookback: str) -> str:
            if kind == "number":
                return f"({literal(text)} - '{lookback}'::pg_catalog.{compared})"
            return f"({literal(text)} - '{seconds(lookback)} seconds'::pg_catalog.interval)"

        return Expressions(
            column=value,
            ordinary=f"({ordinary})",
            without=f"({without})",
            order=f"{value} NULLS FIRST",
            text=f"{column}::pg_catalog.text",
            key=self._key(),
            literal=literal,
            back=back,
        )

    def _extremes(self, type_name: str) -> tuple[str, ...]:
        """The values that cannot be compared as others can."""
        if type_name != "numeric":
            return ("infinity", "-infinity") if type_name in ("date", "timestamp", "timestamptz") else ()
        return ("NaN", "Infinity", "-Infinity") if self._connection.info.server_version >= 140_000 else ("NaN",)

    def _key(self) -> str | None:
        if not self._relation.key:
            return None
        cells = ", ".join(f"p{place}::pg_catalog.text" for place in self._relation.key)
        text = f"pg_catalog.jsonb_build_array({cells})::pg_catalog.text"
        digest = f"pg_catalog.encode(pg_catalog.sha256(pg_catalog.convert_to({text}, 'UTF8')), 'hex')"
        return f"pg_catalog.left({digest}, 16)"

    def rows(self, selected: str, condition: str, tail: str = "") -> list[tuple[Any, ...]]:
        """The rows of this SELECT of one expression over the stream.

        The expression gets a name of its own. Without it, `p0::text` would be named p0, and ORDER BY p0 would order
        numbers as texts: 99 after 128.
        """
        origin = self._relation.origin.as_string(self._connection)
        text = f"SELECT {selected} AS selected FROM {origin} WHERE {condition} {tail}"  # noqa: S608 - quoted names and literals
        with (
            failures.translated(self.where),
            connections.attempted(self._connection),
            connections.searching_as_the_user(self._connection),
        ):
            return self._connection.execute(text.encode()).fetchall()

    def limit(self, delay: int | None) -> Limit:
        """How far the mark may go, by the transactions that are open."""
        if self._seen is None:
            return Limit()
        seen = replace(self._seen, copied=self._relation.copied)
        return seen.limit(self._connection, self.fingerprint.kind, delay, self.where)
