"""PostgreSQL: what a Source and a Destination say of a database."""

from typing import Annotated, ClassVar, Self

from pydantic import Field, model_validator

from penstock.language.databases import DatabaseServer, Selection
from penstock.language.traits import TableLimits, Traits

_LONGEST_NAME = 63
"""Bytes of an identifier; PostgreSQL cuts longer ones off without an error."""
_SCHEMA = r"^[A-Za-z_][A-Za-z0-9_$-]*$"
_SYSTEM_COLUMNS = ("tableoid", "xmin", "cmin", "xmax", "cmax", "ctid")
"""Columns that every table of PostgreSQL has already."""
_COLUMNS = 1590
"""Columns of a Dataset's table: PostgreSQL allows 1,600, among them those of lineage and of staging."""

_CREDENTIALS = (
    "`auth.basic` names a Secret with the keys `username` and `password`. Set `caBundle`, or add `ca.crt` to the "
    "Secret, if `sslMode` verifies the server and its certificate authority is not one of the system."
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
        sync=("full", "incremental"),
        cursors=True,
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
            ("domains", "as their base type", "as for the base type"),
            ("all other types, of extensions too", "`string`", "everything fits, as PostgreSQL prints it"),
        ),
        notes=(
            _CREDENTIALS,
            "A stream has the name of its table, with the schema before it unless that is `public`: "
            "`orders`, `sales.orders`. Tables, partitioned tables, views, materialized views and foreign tables that "
            "the user may read are streams; partitions are not.",
            "All streams of a run are read in one READ ONLY transaction with REPEATABLE READ, so they are "
            "consistent with each other. While tables are read, they are locked with ACCESS SHARE: DDL and "
            "`TRUNCATE` wait.",
            "A query must not read tables that are truncated during the run: PostgreSQL would show them as empty.",
            "With `sync: incremental`, the `cursor` is a column of whole numbers, `numeric`, `date`, `timestamp`, "
            "`timestamptz` or text. For dates and times, the mark does not pass the start of the oldest open "
            "transaction; grant `pg_read_all_stats` to the user, or set `delay`. On a standby `delay` is required. See "
            "[incremental reading](../incremental.md).",
        ),
    )


class ServerSchema(Server):
    """A schema of a database."""

    schema_: Annotated[
        str,
        Field(
            alias="schema",
            min_length=1,
            max_length=_LONGEST_NAME,
            pattern=_SCHEMA,
            json_schema_extra={"pattern": _SCHEMA},
            description="Name of the schema with the tables; it must exist.",
        ),
    ] = "public"

    @model_validator(mode="after")
    def _schema_is_not_of_the_system(self) -> Self:
        if self.schema_.startswith("pg_") or self.schema_ == "information_schema":
            raise ValueError(f"schema {self.schema_} belongs to PostgreSQL itself; name another one")
        return self

    @property
    def location(self) -> str:
        return f"{super().location}/{self.schema_}"


class PostgresDestination(ServerSchema):
    """A schema of a PostgreSQL database, for the tables of Datasets and of Subscriptions."""

    traits: ClassVar[Traits] = Traits(
        title="PostgreSQL",
        description="Tables in a schema of a PostgreSQL database, for Datasets and Subscriptions.",
        store="penstock.connectors.postgres.store:PostgresStore",
        target="penstock.connectors.postgres.target:PostgresTarget",
        receives="tables",
        auth=("basic",),
        guarantee="Exactly once: rows, quarantine and the run's entry in the ledger are one database transaction, and "
        "so are the rows of a delivery and its entry in `penstock_batches`.",
        write_modes=("append", "replace", "upsert", "snapshot"),
        example="examples/09-postgres-tables",
        limits=TableLimits(
            name_bytes=_LONGEST_NAME,
            columns=_COLUMNS,
            reserved_columns=_SYSTEM_COLUMNS,
            reserved_tables=("penstock_",),
        ),
        types=(
            ("`text`", "`string`", "a text with the character U+0000 makes its row bad; a delivery refuses it"),
            ("`boolean`", "`boolean`", "everything fits"),
            ("`integer`, `bigint`", "`int`, `long`", "everything fits"),
            ("`double precision`", "`double`", "everything fits, also `NaN` and infinity"),
            ("`numeric(p,s)`", "`decimal(p,s)`", "everything fits"),
            (
                "`date`, `timestamp`, `timestamptz`",
                "the same",
                "everything fits: a field holds the years 1 to 9999, and PostgreSQL more",
            ),
        ),
        notes=(
            _CREDENTIALS,
            "The user needs `USAGE` and `CREATE` on the schema, which must exist, and becomes the owner of the "
            "tables. The encoding of the database must be `UTF8`.",
            "Besides the tables of Datasets, the schema holds the ledger (`penstock_runs`, `penstock_inputs`, …) "
            "and, while a run is loading, unlogged staging tables (`penstock_staging_…`). The next run removes "
            "those of a killed run.",
            "A row can have about 8 kB of numbers, times and short texts; a long text counts as 18 bytes. So a row "
            "of a Dataset with more than about 400 fields may not fit.",
            "Rows are removed with `DELETE`, also with `writeMode: replace`, so that readers see the old rows until "
            "the commit. Autovacuum frees the space later.",
            "The comment on the column `_penstock_input_id` stores which Dataset owns the table.",
            "PostgreSQL keeps no snapshots. If a later load has removed rows, the retry of an earlier delivery "
            "fails, and the next delivery delivers the rows of that time.",
        ),
    )

    def table_place(self, namespace: str) -> str:
        del namespace  # the server is the same for all
        return self.location


SOURCE = PostgresSource
DESTINATION = PostgresDestination
