"""What manifests say of databases, whichever it is: which tables are read, and queries that are read like tables."""

import fnmatch
from typing import Annotated

from pydantic import Field

from penstock.language.model import Model
from penstock.language.scalars import ShortText

LONGEST_SQL = 16_384
"""Characters of a query."""

TableName = Annotated[str, Field(min_length=1, max_length=255)]


class TableSelection(Model):
    """Which tables are streams; by default all that the user may read."""

    include: Annotated[
        list[TableName],
        Field(max_length=256, description="Names or patterns (`*`, `?`) of tables that are streams. Default: all."),
    ] = []
    exclude: Annotated[
        list[TableName],
        Field(max_length=256, description="Names or patterns (`*`, `?`) of tables that are no streams."),
    ] = []

    def selects(self, name: str) -> bool:
        """Whether a table of that name is a stream."""
        included = not self.include or any(fnmatch.fnmatchcase(name, pattern) for pattern in self.include)
        return included and not any(fnmatch.fnmatchcase(name, pattern) for pattern in self.exclude)


class Query(Model):
    """A query whose rows are a stream."""

    name: Annotated[ShortText, Field(min_length=1, description="The name of the stream.")]
    sql: Annotated[
        str,
        Field(
            min_length=1,
            max_length=LONGEST_SQL,
            description="One SELECT statement in the database's own SQL. It only reads; its columns need names.",
        ),
    ]
