"""MySQL: what a Source says of a database."""

from typing import Annotated, ClassVar, Literal, Self

from pydantic import Field, model_validator

from penstock.language.databases import Query, TableSelection
from penstock.language.traits import ConnectorSpec, Traits

_HOST = r"^[A-Za-z0-9]([A-Za-z0-9._:-]*[A-Za-z0-9])?$"


class MysqlSource(ConnectorSpec):
    """Tables and queries of a MySQL or MariaDB database."""

    traits: ClassVar[Traits] = Traits(
        title="MySQL",
        description="Tables, views and queries of a MySQL or MariaDB database.",
        source="penstock.connectors.mysql.source:MysqlSource",
        auth=("basic",),
        sync=("full",),
        types=(
            ("`TINYINT` to `BIGINT`, `YEAR`", "`long`", "everything fits"),
            ("`BIGINT UNSIGNED`, `BIT(n)`", "`decimal(20,0)`, or `long` where it fits", "what the field's type says"),
            ("`DECIMAL(p,s)` with p up to 38", "`decimal(p,s)`", "everything fits"),
            ("`DECIMAL(p,s)` with p over 38", "any type, from its text", "what the field's type says"),
            ("`FLOAT`, `DOUBLE`", "`double`", "everything fits; a `FLOAT` is the double that it is stored as"),
            (
                "`DATE`, `DATETIME`",
                "`date`, `timestamp`",
                "`0000-00-00` and dates with a part that is zero make their row bad, with their text; a `string` takes "
                "them",
            ),
            ("`TIMESTAMP`", "`timestamptz`", "as for `DATETIME`"),
            ("`TIME`", "`string`", "everything fits: `-838:59:59`"),
            ("`CHAR`, `VARCHAR`, `TEXT`, `ENUM`, `SET`, `JSON`", "`string`", "everything fits"),
            ("`BINARY`, `VARBINARY`, `BLOB`, spatial types", "`string`", "bytes that are not UTF-8 make their row bad"),
        ),
        notes=(
            "`auth.basic` names a Secret with the keys `username` and `password`, and `ca.crt` where `sslMode` is to "
            "verify the server by another certificate authority than those of the system.",
            "All streams of a run are read in one transaction (REPEATABLE READ, WITH CONSISTENT SNAPSHOT, READ ONLY). "
            "Tables of engines without transactions, such as MyISAM, are read as they are at that moment.",
            "A table that is altered while it is read fails the run, which is tried again.",
        ),
        example="examples/08-mysql",
    )

    host: Annotated[
        str,
        Field(
            min_length=1,
            max_length=253,
            pattern=_HOST,
            json_schema_extra={"pattern": _HOST},
            description="Name or IP address of the server.",
        ),
    ]
    port: Annotated[int, Field(ge=1, le=65535, description="TCP port of the server.")] = 3306
    database: Annotated[str, Field(min_length=1, max_length=64, description="Name of the database.")]
    ssl_mode: Annotated[
        Literal["disable", "require", "verify-ca", "verify-full"],
        Field(
            description="TLS: disable is plain text; require encrypts; verify-ca also checks the server's certificate, "
            "and verify-full its host name too."
        ),
    ] = "require"
    tables: Annotated[TableSelection, Field(description="Which tables and views are streams. Default: all.")] = (
        TableSelection()
    )
    queries: Annotated[list[Query], Field(max_length=64, description="Queries that are streams, too.")] = []

    @property
    def location(self) -> str:
        host = f"[{self.host}]" if ":" in self.host else self.host
        return f"mysql://{host}:{self.port}/{self.database}"

    def auth_fault(self, member: str | None) -> str | None:
        if member is None:
            return f"{self.traits.title} needs auth.basic: a Secret with the keys `username` and `password`"
        return super().auth_fault(member)

    @model_validator(mode="after")
    def _names_are_unique(self) -> Self:
        names = [query.name for query in self.queries]
        if len(set(names)) < len(names):
            raise ValueError("two queries have one name; a stream's name is unique")
        return self


SOURCE = MysqlSource
