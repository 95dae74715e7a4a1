"""What Sources over databases have in common: their streams are the selected tables and the queries, all read whole."""

from collections.abc import Collection, Iterable, Sequence
from dataclasses import dataclass

from penstock.language.databases import Query, TableSelection
from penstock.language.errors import InvalidSpec

_NAMED = 20
"""Streams that a message names."""


@dataclass(frozen=True)
class Streams:
    """The streams of one database. `where` names the Source and the database, for messages."""

    where: str
    tables: TableSelection
    queries: Sequence[Query]
    also: str = ""
    """What a table must be besides selected, for messages: " and that the user may read"."""

    def names(self, tables: Iterable[str]) -> list[str]:
        """The selected ones of these tables, then the queries. Raises InvalidSpec where both have a name in common."""
        selected = [name for name in tables if self.tables.selects(name)]
        queries = [query.name for query in self.queries]
        both = sorted({*queries} & {*selected})
        if both:
            message = f'{self.where}: "{both[0]}" is a table and a query. Give the query another name.'
            raise InvalidSpec(message, "WrongSpecification")
        return selected + queries

    def query(self, stream: str) -> Query | None:
        """The query of that name, None where the stream is a table."""
        return next((query for query in self.queries if query.name == stream), None)

    def require_included(self, there: Collection[str]) -> None:
        """Raise InvalidSpec (ResourceNotFound) for a table that `tables.include` names and that is not there."""
        for name in self.tables.named:
            self.require(name, there)

    def require(self, stream: str, there: Collection[str]) -> None:
        """Raise InvalidSpec (ResourceNotFound) unless the stream is one of those that are there."""
        if stream in there:
            return
        listed = ", ".join([*there][:_NAMED]) or "no table"
        message = f'{self.where} has no table "{stream}" that is selected{self.also}; it has {listed}.'
        raise InvalidSpec(message, "ResourceNotFound")
