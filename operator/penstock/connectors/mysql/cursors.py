# ruff: noqa: S608 - quoted names and literals, and a query that has been checked
"""A stream of MySQL and its cursor: the SQL for `worker.ports.cursors`.

Which transactions are open can be seen by administrators alone, and NOW() is the time of a statement. So `delay` says
how far dates and times may be read.
"""

from datetime import datetime, timedelta
from typing import Any

from pymysql.constants import FIELD_TYPE, FLAG

from penstock.connectors.mysql import columns
from penstock.connectors.mysql.server import Server
from penstock.language.errors import InvalidSpec
from penstock.language.scalars import seconds
from penstock.worker.ports import cursors
from penstock.worker.ports.cursors import Expressions, Fingerprint, Kind, Limit

_BINARY = 63
"""The character set of bytes."""
_TEXTS = (FIELD_TYPE.VARCHAR, FIELD_TYPE.VAR_STRING, FIELD_TYPE.STRING, FIELD_TYPE.BLOB)
_NUMBERS = (
    *(FIELD_TYPE.TINY, FIELD_TYPE.SHORT, FIELD_TYPE.INT24, FIELD_TYPE.LONG, FIELD_TYPE.LONGLONG, FIELD_TYPE.YEAR),
    *(FIELD_TYPE.DECIMAL, FIELD_TYPE.NEWDECIMAL),
)
_KINDS: dict[int, Kind] = {
    **dict.fromkeys(_NUMBERS, "number"),
    FIELD_TYPE.DATE: "date",
    FIELD_TYPE.NEWDATE: "date",
    FIELD_TYPE.DATETIME: "timestamp",
    FIELD_TYPE.TIMESTAMP: "timestamptz",
    **dict.fromkeys(_TEXTS, "string"),
}


class MysqlCursor:
    """A stream and its cursor, see `worker.ports.cursors.CursorStream`."""

    def __init__(
        self, server: Server, origin: str, key: tuple[str, ...], fingerprint: tuple[str, str, str], where: str
    ):
        """`origin` is what stands after FROM; `fingerprint` are the place, the stream and the column."""
        self._server, self._origin, self._key, self.where = server, origin, key, where
        place, stream, name = fingerprint
        kind = self._kind(name)
        stream = cursors.identified(stream, origin if origin.startswith("(") else None)
        self.fingerprint = Fingerprint(server=place, stream=stream, column=name, kind=kind)
        self.sql = self._expressions(columns.name(name), kind)

    def _kind(self, name: str) -> Kind:
        """Raises InvalidSpec where there is no such column, or its type cannot be compared."""
        fields = self._server.described(f"SELECT * FROM {self._origin} LIMIT 0", self.where)
        field = fields[cursors.find_column([field.name for field in fields], name, self.where)]
        kind = _KINDS.get(field.type_code)
        listed = field.flags & (FLAG.ENUM | FLAG.SET)  # these are compared by their position or by their name
        if kind is None or listed or (kind == "string" and field.charsetnr == _BINARY):
            raise cursors.not_comparable(name, self.where)
        return kind

    def _expressions(self, column: str, kind: Kind) -> Expressions:
        ordinary, without = f"{column} IS NOT NULL", f"{column} IS NULL"
        if kind in ("date", "timestamp", "timestamptz"):  # 0000-00-00, 2024-00-15 and 2024-02-31 are no dates
            date = f"CAST(CAST({column} AS CHAR) AS DATETIME(6))"
            parts = f"YEAR({column}) * MONTH({column}) * DAYOFMONTH({column})"
            # The server may convert 2024-02-31 (ALLOW_INVALID_DATES), so the length of the month is asked for.
            month = f"MAKEDATE(YEAR({column}), 1) + INTERVAL MONTH({column}) - 1 MONTH"
            beyond = f"DAYOFMONTH({column}) > DAYOFMONTH(LAST_DAY({month}))"
            ordinary = f"{date} IS NOT NULL AND {parts} > 0 AND NOT {beyond}"
            without = f"{date} IS NULL OR {parts} = 0 OR {beyond}"

        def literal(text: str) -> str:
            if kind == "number":
                return text  # a text would be compared as a floating-point number
            quoted = self._server.quoted(text)
            return quoted if kind == "string" else f"CAST({quoted} AS {'DATE' if kind == 'date' else 'DATETIME(6)'})"

        def back(text: str, lookback: str) -> str:
            if kind == "number":
                return f"(CAST({text} AS DECIMAL(65,10)) - {lookback})"
            return f"({literal(text)} - INTERVAL {seconds(lookback)} SECOND)"

        return Expressions(
            column=column,
            ordinary=f"({ordinary})",
            without=f"({without})",
            order=column,
            text=f"CAST({column} AS CHAR)",
            key=self._hash(),
            literal=literal,
            back=back,
        )

    def _hash(self) -> str | None:
        cells = ", ".join(f"HEX(CONCAT({columns.name(each)}))" for each in self._key)
        return f"LEFT(SHA2(CONCAT_WS(',', {cells}), 256), 16)" if cells else None

    def rows(self, selected: str, condition: str, tail: str = "") -> list[tuple[Any, ...]]:
        """The rows of this SELECT over the stream."""
        return [
            tuple(row) for row in self._server.rows(f"SELECT {selected} FROM {self._origin} WHERE {condition} {tail}")
        ]

    def limit(self, delay: int | None) -> Limit:
        """How far the mark may go: with dates and times, the time that is `delay` ago."""
        kind = self.fingerprint.kind
        if kind in ("number", "string"):
            return Limit()
        if delay is None:
            raise InvalidSpec(
                f"{self.where}: MySQL does not show which transactions are open. Set `delay` to the time that the "
                "longest transaction takes, or 0s if there is only one writer.",
                "WrongSpecification",
            )
        universal, local = self._server.clock
        until: datetime = (universal if kind == "timestamptz" else local) - timedelta(seconds=delay)
        return Limit(until.date().isoformat() if kind == "date" else until.isoformat(" ", "microseconds"))
