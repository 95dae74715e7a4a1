# ruff: noqa: S608 - quoted names and literals, and a query that has been checked
"""A stream of SQLite and its cursor: the SQL for `worker.ports.cursors`.

SQLite has one writer at a time, so no transaction commits a value that was taken before that of a committed one.
"""

from typing import Any

from penstock.connectors.sqlite import cells
from penstock.connectors.sqlite import database as sqlite_database
from penstock.connectors.sqlite.database import KEY_HASH, Database
from penstock.worker.ports import cursors
from penstock.worker.ports.cursors import Expressions, Fingerprint, Kind, Limit

_KINDS: dict[str, Kind] = {"integer": "number", "text": "string"}
_ROWS = 1000


class SqliteCursor:
    """A stream and its cursor, see `worker.ports.cursors.CursorStream`. `server` says which file it is."""

    def __init__(self, database: Database, relation: cells.Relation, fingerprint: tuple[str, str, str], where: str):
        """`fingerprint` are the file, the stream and the column. Raises InvalidSpec, sqlite3.Error."""
        self._database, self._relation, self.where = database, relation, where
        server, stream, name = fingerprint
        place = cursors.find_column(relation.names, name, where)
        self._column = sqlite_database.name(relation.names[place])
        stored = self._stored(relation.affinities[place])
        if stored not in _KINDS:
            raise cursors.not_comparable(name, where)
        kind = _KINDS[stored]
        stream = cursors.identified(stream, relation.sql if relation.query else None)
        self.fingerprint = Fingerprint(server=server, stream=stream, column=name, kind=kind)
        self.sql = self._expressions(stored)

    def _stored(self, affinity: str) -> str:
        """The type of the values: what the column declares or, where it declares none, that of its greatest value."""
        declared = {cells.INTEGER: "integer", cells.TEXT: "text", cells.REAL: "real"}.get(affinity)
        if declared is not None:
            return declared
        rows = self.rows(
            f"typeof({self._column})", f"{self._column} IS NOT NULL", f"ORDER BY {self._column} DESC LIMIT 1"
        )
        return str(rows[0][0]) if rows else "text"

    def _expressions(self, stored: str) -> Expressions:
        column = self._column
        ordinary = f"(typeof({column}) = '{stored}'" + (
            f" AND instr({column}, char(0)) = 0)" if stored == "text" else ")"
        )
        quoted = [f"quote({sqlite_database.name(self._relation.names[place])})" for place in self._relation.key]

        def literal(text: str) -> str:
            return str(int(text)) if stored == "integer" else "'" + text.replace("'", "''") + "'"

        return Expressions(
            column=column,
            ordinary=ordinary,
            without=f"NOT {ordinary}",
            order=column,
            text=column,
            key=f"{KEY_HASH}({' || char(44) || '.join(quoted)})" if quoted else None,
            literal=literal,
            back=lambda text, lookback: f"({literal(text)} - {int(lookback)})",
        )

    def rows(self, selected: str, condition: str, tail: str = "") -> list[tuple[Any, ...]]:
        """The rows of this SELECT over the stream."""
        sql = f"SELECT {selected} FROM (\n{sqlite_database.statement(self._relation.sql)}\n) WHERE {condition} {tail}"
        return [tuple(row) for batch in self._database.batches(sql, _ROWS) for row in batch]

    def limit(self, delay: int | None) -> Limit:
        """There is none: what is committed later has later values."""
        del delay
        return Limit()
