"""MySQL: what a Source says of a database."""

from typing import Annotated, ClassVar

from pydantic import Field

from penstock.language.databases import DatabaseServer, Selection
from penstock.language.traits import Traits


class MysqlSource(Selection, DatabaseServer):
    """Tables and queries of a MySQL or MariaDB database."""

    traits: ClassVar[Traits] = Traits(
        title="MySQL",
        description="Tables, views and queries of a MySQL or MariaDB database.",
        source="penstock.connectors.mysql.source:MysqlSource",
        auth=("basic",),
        sync=("full", "incremental"),
        cursors=True,
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
            "`auth.basic` names a Secret with the keys `username` and `password`. Set `caBundle`, or add `ca.crt` to "
            "the Secret, if `sslMode` verifies the server and its certificate authority is not one of the system.",
            "All streams of a run are read in one transaction (REPEATABLE READ, WITH CONSISTENT SNAPSHOT, READ ONLY). "
            "Tables of engines without transactions, such as MyISAM, are not part of this snapshot.",
            "If a table is altered while it is read, the run fails and is tried again.",
            "With `sync: incremental`, the `cursor` is a column of whole numbers, `DECIMAL`, `DATE`, `DATETIME`, "
            "`TIMESTAMP` or text. For dates and times `delay` is required. See "
            "[incremental reading](../incremental.md).",
        ),
        example="examples/08-mysql",
    )

    scheme: ClassVar[str] = "mysql"

    port: Annotated[int, Field(ge=1, le=65535, description="TCP port of the server.")] = 3306


SOURCE = MysqlSource
