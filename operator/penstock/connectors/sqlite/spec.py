"""SQLite: what a Source says of a database file."""

from typing import Annotated, ClassVar, Self

from pydantic import Field, model_validator

from penstock.language.databases import Query, TableSelection
from penstock.language.traits import ConnectorSpec, Traits
from penstock.language.volumes import Volume

_PATH = r"^/volumes/[^/?#]+/[^?#]*[^/?#]$"


class SqliteSource(ConnectorSpec):
    """A SQLite database file on a claim."""

    traits: ClassVar[Traits] = Traits(
        title="SQLite",
        description="Tables and queries of a SQLite database file.",
        source="penstock.connectors.sqlite.source:SqliteSource",
        sync=("full",),
        types=(
            ("INTEGER affinity (INT, BIGINT, …)", "`long`", "a cell that is not an integer makes its row bad"),
            ("REAL affinity (REAL, DOUBLE, FLOAT)", "`double`", "a cell that is not a number makes its row bad"),
            ("TEXT affinity (TEXT, VARCHAR, CLOB)", "`string`", "a blob makes its row bad"),
            (
                "NUMERIC affinity (DECIMAL, DATE, BOOLEAN, …) and columns without a type",
                "any type, from the value's text: `1`, `2.5`, `2026-01-31`",
                "text that is not of the field's type, or a blob, makes its row bad",
            ),
        ),
        notes=(
            "All streams of a run are read in one transaction: they show the database at one moment.",
            "A database that another process has locked is tried again; one that is being written to is read as it "
            "was when the run began.",
            "The claim may be read-only, unless the database is in WAL mode: then SQLite needs to create the `-shm` "
            "file beside it.",
        ),
        example="examples/04-sqlite",
    )

    path: Annotated[
        str,
        Field(
            max_length=1024,
            pattern=_PATH,
            json_schema_extra={"pattern": _PATH},
            description="The database file, beneath the claim: /volumes/<claimName>/….",
        ),
    ]
    volume: Annotated[Volume, Field(description="The claim that holds the file.")]
    tables: Annotated[TableSelection, Field(description="Which tables and views are streams. Default: all.")] = (
        TableSelection()
    )
    queries: Annotated[list[Query], Field(max_length=64, description="Queries that are streams, too.")] = []

    @property
    def location(self) -> str:
        return self.path

    @property
    def claims(self) -> tuple[str, ...]:
        return (self.volume.claim_name,)

    @model_validator(mode="after")
    def _beneath_its_volume(self) -> Self:
        if ".." in self.path.split("/") or not self.path.startswith(f"{self.volume.mount_path}/"):
            raise ValueError(f"path must lie beneath its volume: {self.volume.mount_path}/…")
        names = [query.name for query in self.queries]
        if len(set(names)) < len(names):
            raise ValueError("two queries have one name; a stream's name is unique")
        return self


SOURCE = SqliteSource
