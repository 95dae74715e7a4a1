"""What manifests say of databases, whichever it is: which tables are read, and queries that are read like tables."""

import fnmatch
from typing import Annotated, ClassVar, Literal, Self

from pydantic import Field, model_validator

from penstock.language.certificates import CA_BUNDLE, CaBundle
from penstock.language.model import Model
from penstock.language.scalars import ShortText
from penstock.language.traits import ConnectorSpec
from penstock.language.volumes import Volume

LONGEST_SQL = 16_384
"""Characters of a query."""

_HOST = r"^[A-Za-z0-9]([A-Za-z0-9._:-]*[A-Za-z0-9])?$"
_PATH = r"^/volumes/[^/?#]+/[^?#]*[^/?#]$"

TableName = Annotated[str, Field(min_length=1, max_length=255)]


class TableSelection(Model):
    """Which tables are streams; by default all that the user may read."""

    include: Annotated[
        list[TableName],
        Field(max_length=256, description="Names or patterns (`*`, `?`) of tables that are streams. Default: all."),
    ] = []
    exclude: Annotated[
        list[TableName],
        Field(max_length=256, description="Names or patterns (`*`, `?`) of tables that are not streams."),
    ] = []

    def selects(self, name: str) -> bool:
        """Whether a table of that name is a stream."""
        included = not self.include or any(fnmatch.fnmatchcase(name, pattern) for pattern in self.include)
        return included and not any(fnmatch.fnmatchcase(name, pattern) for pattern in self.exclude)

    @property
    def named(self) -> list[str]:
        """The tables that `include` names without a pattern, and that `exclude` does not leave out."""
        names = [name for name in self.include if not any(letter in name for letter in "*?[")]
        return [name for name in names if self.selects(name)]


class Query(Model):
    """A query whose rows are a stream."""

    name: Annotated[ShortText, Field(min_length=1, description="The name of the stream.")]
    sql: Annotated[
        str,
        Field(
            min_length=1,
            max_length=LONGEST_SQL,
            description="One SELECT statement in the SQL dialect of the database. It may only read, and its columns "
            "need names.",
        ),
    ]


class Selection(ConnectorSpec):
    """A database of which tables are chosen, and queries are asked."""

    tables: Annotated[TableSelection, Field(description="Which tables and views are streams. Default: all.")] = (
        TableSelection()
    )
    queries: Annotated[list[Query], Field(max_length=64, description="Queries whose results are streams.")] = []

    @model_validator(mode="after")
    def _names_are_unique(self) -> Self:
        names = [query.name for query in self.queries]
        if len(set(names)) < len(names):
            raise ValueError("two queries have one name; a stream's name is unique")
        return self


class DatabaseServer(ConnectorSpec):
    """A database of a server. A subclass has the server's own `port` and `database`."""

    scheme: ClassVar[str]
    """How the server's URLs begin: `postgres`."""

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
    port: Annotated[int, Field(ge=1, le=65535, description="TCP port of the server.")]
    database: Annotated[str, Field(min_length=1, max_length=64, description="Name of the database.")]
    ssl_mode: Annotated[
        Literal["disable", "require", "verify-ca", "verify-full"],
        Field(
            description="TLS mode, as sslmode in libpq. disable: no encryption. require: encryption without a check "
            "of the certificate. verify-ca: also checks the certificate. verify-full: also checks the host name."
        ),
    ] = "require"

    ca_bundle: Annotated[
        CaBundle | None, Field(description=f"{CA_BUNDLE} Needs `sslMode` verify-ca or verify-full.")
    ] = None

    @property
    def config_maps(self) -> tuple[str, ...]:
        return () if self.ca_bundle is None else (self.ca_bundle.config_map_ref.name,)

    @model_validator(mode="after")
    def _authorities_are_used(self) -> Self:
        if self.ca_bundle is not None and not self.ssl_mode.startswith("verify"):
            raise ValueError(f"caBundle needs sslMode: verify-full or verify-ca; {self.ssl_mode} checks no certificate")
        return self

    @property
    def location(self) -> str:
        host = f"[{self.host}]" if ":" in self.host else self.host
        return f"{self.scheme}://{host}:{self.port}/{self.database}"

    def auth_fault(self, member: str | None) -> str | None:
        if member is None:
            return f"{self.traits.title} needs auth.basic: a Secret with the keys `username` and `password`"
        return super().auth_fault(member)


class DatabaseFile(ConnectorSpec):
    """A database that is a file, and the claim that holds it."""

    path: Annotated[
        str,
        Field(
            max_length=1024,
            pattern=_PATH,
            json_schema_extra={"pattern": _PATH},
            description="Path of the database file in the claim: /volumes/<claimName>/….",
        ),
    ]
    volume: Annotated[Volume, Field(description="The claim that holds the file.")]

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
        return self
