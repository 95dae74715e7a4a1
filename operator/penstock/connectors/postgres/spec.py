"""PostgreSQL: what a Source says of a database."""

from typing import Annotated, ClassVar, Literal, Self

from pydantic import Field, model_validator

from penstock.language.databases import Query, TableSelection
from penstock.language.traits import ConnectorSpec, Traits

_HOST = r"^[A-Za-z0-9]([A-Za-z0-9._:-]*[A-Za-z0-9])?$"
SslMode = Literal["disable", "require", "verify-ca", "verify-full"]

_CREDENTIALS = (
    "`auth.basic` names a Secret with the keys `username` and `password`, and `ca.crt` where `sslMode` is to verify "
    "the server by another certificate authority than those of the system."
)


class Server(ConnectorSpec):
    """A database of a server."""

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
    port: Annotated[int, Field(ge=1, le=65535, description="TCP port of the server.")] = 5432
    database: Annotated[str, Field(min_length=1, max_length=63, description="Name of the database.")]
    ssl_mode: Annotated[
        SslMode,
        Field(
            description="TLS, as libpq's sslmode: disable is plain text; require encrypts; verify-ca also checks the "
            "server's certificate, and verify-full its host name too."
        ),
    ] = "require"

    @property
    def location(self) -> str:
        host = f"[{self.host}]" if ":" in self.host else self.host
        return f"postgres://{host}:{self.port}/{self.database}"

    def auth_fault(self, member: str | None) -> str | None:
        if member is None:
            return f"{self.traits.title} needs auth.basic: a Secret with the keys `username` and `password`"
        return super().auth_fault(member)


class PostgresSource(Server):
    """Tables and queries of a PostgreSQL database."""

    traits: ClassVar[Traits] = Traits(
        title="PostgreSQL",
        description="Tables, views and queries of a PostgreSQL database.",
        source="penstock.connectors.postgres.source:PostgresSource",
        auth=("basic",),
        sync=("full",),
        example="examples/05-postgres",
        types=(
            ("`smallint`, `integer`", "`int`", "everything fits"),
            ("`bigint`, `oid`", "`long`", "everything fits"),
            ("`numeric(p,s)` with p up to 38", "`decimal(p,s)`", "`NaN` makes its row bad, with its text"),
            ("`numeric` without precision, or with p over 38", "any type, from its text", "what the field's type says"),
            ("`real`, `double precision`", "`double`", "everything fits, also `NaN` and infinity"),
            ("`boolean`", "`boolean`", "everything fits"),
            (
                "`date`, `timestamp`, `timestamptz`",
                "the same",
                "`infinity` and years before 1 or after 9999 make their row bad, unless the field is a `string`",
            ),
            ("`text`, `varchar`, `char(n)`, `name`, enums", "`string`", "everything fits; `char(n)` keeps its blanks"),
            ("`json`, `jsonb`, `xml`, `uuid`, `time`, `timetz`, `inet`, …", "`string`", "everything fits"),
            ("`bytea`", "`string`", "everything fits, as `\\x` and hexadecimal digits"),
            ("`money`", "any type, from its digits: `1234.50`", "what the field's type says"),
            ("`interval`", "`string`", "everything fits, as ISO 8601: `P1Y2M3DT4H5M6.5S`"),
            ("arrays and composite types", "`string`", "everything fits, as JSON"),
            ("domains", "as the type beneath", "as there"),
            ("all other types, of extensions too", "`string`", "everything fits, as PostgreSQL prints it"),
        ),
        notes=(
            _CREDENTIALS,
            "The stream of a table is named like the table, with its schema before it unless that is `public`: "
            "`orders`, `sales.orders`. Tables, partitioned tables, views, materialized views and foreign tables that "
            "the user may read are streams; partitions are not.",
            "All streams of a run are read in one REPEATABLE READ transaction, which only reads: they show the "
            "database at one moment. Tables are locked against DDL, and against nothing else, while they are read; a "
            "`TRUNCATE` waits until then.",
            "A query must not read tables that are truncated meanwhile: PostgreSQL shows those as empty.",
        ),
    )

    tables: Annotated[TableSelection, Field(description="Which tables and views are streams. Default: all.")] = (
        TableSelection()
    )
    queries: Annotated[list[Query], Field(max_length=64, description="Queries that are streams, too.")] = []

    @model_validator(mode="after")
    def _names_are_unique(self) -> Self:
        names = [query.name for query in self.queries]
        if len(set(names)) < len(names):
            raise ValueError("two queries have one name; a stream's name is unique")
        return self


SOURCE = PostgresSource
