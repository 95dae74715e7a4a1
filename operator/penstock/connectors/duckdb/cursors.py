# ruff: noqa: S608 - columns by position, quoted literals, and a query that has been checked
"""A stream of a DuckDB file and its cursor: the SQL for `worker.ports.cursors`, over the columns x0, x1, …

While the file is open to be read, nobody writes it, so no transaction is open.
"""

from collections.abc import Callable
from typing import Any

from penstock.connectors.duckdb.cells import Column, Relation
from penstock.language.scalars import seconds
from penstock.worker.ports import cursors
from penstock.worker.ports.cursors import Expressions, Fingerprint, Kind, Limit
from penstock.worker.rows import engine

_KINDS: dict[str, Kind] = {
    **dict.fromkeys(("TINYINT", "SMALLINT", "INTEGER", "BIGINT", "HUGEINT"), "number"),
    **dict.fromkeys(("UTINYINT", "USMALLINT", "UINTEGER", "UBIGINT", "UHUGEINT"), "number"),
    "DATE": "date",
    **dict.fromkeys(("TIMESTAMP", "TIMESTAMP_S", "TIMESTAMP_MS", "TIMESTAMP_NS"), "timestamp"),
    "TIMESTAMP WITH TIME ZONE": "timestamptz",
    "VARCHAR": "string",
}


class DuckdbCursor:
    """A stream and its cursor, see `worker.ports.cursors.CursorStream`."""

    def __init__(
        self,
        ask: Callable[[str], list[tuple[Any, ...]]],
        relation: Relation,
        fingerprint: tuple[str, str, str],
        where: str,
    ) -> None:
        """`ask` executes a statement; `fingerprint` are the file, the stream and the column. Raises InvalidSpec."""
        self._ask, self._relation, self.where = ask, relation, where
        server, stream, name = fingerprint
        place = cursors.find_column([column.name for column in relation.columns], name, where)
        column = relation.columns[place]
        kind = "number" if column.kind == "decimal" else _KINDS.get(column.type)
        if kind is None:
            raise cursors.not_comparable(name, where)
        stream = cursors.identified(stream, relation.sql if relation.query else None)
        self.fingerprint = Fingerprint(server=server, stream=stream, column=name, kind=kind)
        self.sql = self._expressions(f"x{place}", column, kind)

    def _expressions(self, x: str, column: Column, kind: Kind) -> Expressions:
        moment = kind in ("date", "timestamp", "timestamptz")
        ordinary = f"({x} IS NOT NULL AND isfinite({x}))" if moment else f"({x} IS NOT NULL)"

        def literal(text: str) -> str:
            return f"CAST({engine.text(text)} AS {column.type})"

        def back(text: str, lookback: str) -> str:
            given = f"INTERVAL {seconds(lookback)} SECONDS" if moment else f"{lookback}::HUGEINT"
            return f"({literal(text)} - {given})"

        return Expressions(
            column=x,
            ordinary=ordinary,
            without=f"(NOT {ordinary})",
            order=f"{x} NULLS FIRST",
            text=f"CAST({x} AS VARCHAR)",
            key=self._key(),
            literal=literal,
            back=back,
        )

    def _key(self) -> str | None:
        """A hash of the key's values, each with its length before it, so that no two keys make the same text."""
        cells = [f"CAST(x{place} AS VARCHAR)" for place in self._relation.key]
        written = " || ".join(f"length({cell}) || ':' || {cell}" for cell in cells)
        return f"left(sha256({written}), 16)" if cells else None

    def rows(self, selected: str, condition: str, tail: str = "") -> list[tuple[Any, ...]]:
        """The rows of this SELECT over the stream."""
        return self._ask(f"SELECT {selected} FROM {self._relation.source} WHERE {condition} {tail}")

    def limit(self, delay: int | None) -> Limit:
        """There is none: nobody writes the file while it is read."""
        del delay
        return Limit()
