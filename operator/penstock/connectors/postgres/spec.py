"""PostgreSQL: what a Source says of a database."""

from typing import Annotated, ClassVar

from pydantic import Field

from penstock.language.databases import DatabaseServer, Selection
from penstock.language.traits import Traits

_CREDENTIALS = (
    "`auth.basic` names a Secret with the keys `username` and `password`, and `ca.crt` where `sslMode` is to verify "
    "the server by another certificate authority than those of the system."
)


class Server(DatabaseServer):
    """A database of a server."""

    scheme: ClassVar[str] = "postgres"

    port: Annotated[int, Field(ge=1, le=65535, description="TCP port of the server.")] = 5432
    database: Annotated[str, Field(min_length=1, max_length=63, description="Name of the database.")]


class PostgresSource(Selection, Server):
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


SOURCE = PostgresSource
