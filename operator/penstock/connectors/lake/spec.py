"""Lake: what a Destination says of a warehouse of Apache Iceberg tables, and of the catalog that names them."""

from collections.abc import Mapping
from typing import Annotated, ClassVar, Self

from pydantic import Field, model_validator

from penstock.connectors.files.spec import check_encrypted
from penstock.connectors.postgres.spec import ServerSchema
from penstock.language.auth import Basic
from penstock.language.certificates import CA_BUNDLE, CaBundle
from penstock.language.model import OneOf
from penstock.language.scalars import Url
from penstock.language.traits import ConnectorSpec, Traits
from penstock.language.volumes import Volume

_WAREHOUSE = r"^(file://|(s3|gs)://[^/?#@]+)/[^?#]*$"
_ENDPOINT = r"^https?://[^/?#@]+(/[^?#]*)?$"
_AUTH: Mapping[str, str] = {"s3": "aws", "gs": "googleServiceAccount"}
"""The member of `auth` that goes with a warehouse, by its scheme."""
_LONGEST = 700
"""Characters of the URL of a warehouse in a bucket: a catalog holds locations of up to 1,000."""


class CatalogAuth(OneOf):
    """How to log in to the catalog's database."""

    basic: Annotated[
        Basic | None,
        Field(description="User and password, from a Secret of this namespace, with `ca.crt` if it is needed."),
    ] = None


class PostgresCatalog(ServerSchema):
    """A schema of a PostgreSQL database, which holds the catalog's tables and the ledger of runs."""

    auth: Annotated[
        CatalogAuth,
        Field(description="How to log in to the database. It is separate from `auth`, which is for the warehouse."),
    ]


class Catalog(OneOf):
    """The catalog that names the tables; exactly one."""

    postgres: Annotated[
        PostgresCatalog | None,
        Field(description="Iceberg's JDBC catalog in a PostgreSQL database, with the name `penstock`."),
    ] = None


class LakeDestination(ConnectorSpec):
    """Apache Iceberg tables under one warehouse: a folder with a SQLite catalog in it, or a bucket and a catalog."""

    traits: ClassVar[Traits] = Traits(
        title="Lake",
        description="Apache Iceberg tables, for Datasets.",
        store="penstock.connectors.lake.store:LakeStore",
        auth=tuple(_AUTH.values()),
        guarantee="Exactly once: rows, quarantine and the run's entry in the ledger are one database transaction.",
        notes=(
            "The user of `catalog.postgres` needs `USAGE` and `CREATE` on the schema, which must exist.",
            "`auth` is for the warehouse, and `catalog.postgres.auth` is for the catalog. They are independent.",
            "`s3://` and `gs://`: each table has its own prefix, `<warehouse>/main/<table>-<random>/`. Other "
            "programs open it through the JDBC catalog, whose name is `penstock`: SqlCatalog in pyiceberg, the JDBC "
            "catalog in Spark and Trino. The tables of the ledger, `penstock_…`, are in the same schema as those of "
            "the catalog.",
            "A killed run can leave data files, metadata files and unfinished uploads in the warehouse. The next "
            "attempt of the run removes them. If there is no other attempt, another run removes them a day later.",
        ),
        write_modes=("append", "replace", "upsert", "snapshot"),
        example="examples/10-lake-on-s3",
    )

    warehouse: Annotated[
        Url,
        Field(
            pattern=_WAREHOUSE,
            json_schema_extra={"pattern": _WAREHOUSE},
            description="Where the files of all tables are: a folder file:///volumes/<claimName>/…, or a prefix "
            "s3://<bucket>/… or gs://<bucket>/…, which needs `catalog`. Without `catalog`, the Iceberg SQL catalog and "
            "the ledger of runs are in catalog.db in the folder.",
        ),
    ]
    volume: Annotated[Volume | None, Field(description="The PersistentVolumeClaim of a file:// warehouse.")] = None
    endpoint_url: Annotated[
        Url | None,
        Field(
            pattern=_ENDPOINT,
            json_schema_extra={"pattern": _ENDPOINT},
            description="Address of the server if the bucket is not on AWS or Google Cloud: http://minio:9000.",
        ),
    ] = None
    ca_bundle: Annotated[
        CaBundle | None,
        Field(description=f"{CA_BUNDLE} For the bucket; `catalog` has its own."),
    ] = None
    catalog: Annotated[
        Catalog | None,
        Field(description="The Iceberg catalog; required for a bucket. Default: catalog.db in the folder."),
    ] = None

    @property
    def scheme(self) -> str:
        """What stands before `://`."""
        return self.warehouse.partition("://")[0]

    @property
    def prefix(self) -> str:
        """The URL of a warehouse in a bucket, which ends in a slash."""
        return f"{self.warehouse.rstrip('/')}/"

    @model_validator(mode="after")
    def _authorities_are_used(self) -> Self:
        if self.ca_bundle is not None:
            check_encrypted(self.scheme, self.endpoint_url)
        return self

    @model_validator(mode="after")
    def _is_a_folder_or_a_bucket(self) -> Self:
        if self.scheme == "file":
            return self._a_folder()
        if self.volume is not None:
            raise ValueError(f"volume goes with a file:// warehouse, not with {self.scheme}://")
        if self.catalog is None:
            raise ValueError(
                f"a warehouse on {self.scheme}:// needs a catalog: add `catalog.postgres`, a PostgreSQL database that "
                "names the tables. Only a file:// warehouse has its catalog in itself"
            )
        if "//" in self.warehouse.partition("://")[2] or len(self.warehouse) > _LONGEST:
            raise ValueError(f"the path of a warehouse in a bucket has no // and at most {_LONGEST} characters")
        return self

    def _a_folder(self) -> Self:
        if self.volume is None:
            raise ValueError("a file:// warehouse needs a volume: the claim that it lies in")
        if self.endpoint_url is not None:
            raise ValueError("endpointUrl goes with an s3:// or gs:// warehouse")
        path = self.warehouse.removeprefix("file://")
        if ".." in path.split("/") or not f"{path}/".startswith(f"{self.volume.mount_path}/"):
            raise ValueError(f"warehouse must lie beneath its volume: file://{self.volume.mount_path}/…")
        return self

    @property
    def location(self) -> str:
        return self.warehouse

    @property
    def claims(self) -> tuple[str, ...]:
        return () if self.volume is None else (self.volume.claim_name,)

    @property
    def config_maps(self) -> tuple[str, ...]:
        own = () if self.ca_bundle is None else (self.ca_bundle.config_map_ref.name,)
        postgres = self.catalog.postgres if self.catalog is not None else None
        return own if postgres is None else (*own, *postgres.config_maps)

    @property
    def secrets(self) -> tuple[str, ...]:
        """The Secret of the catalog."""
        if self.catalog is None or self.catalog.postgres is None or self.catalog.postgres.auth.basic is None:
            return ()
        return (self.catalog.postgres.auth.basic.secret_ref.name,)

    def auth_fault(self, member: str | None) -> str | None:
        wanted = _AUTH.get(self.scheme)
        if member == wanted or (member is None and self.endpoint_url is not None):
            return None
        if wanted is None:
            return "a file:// warehouse takes no auth"
        return f"a warehouse on {self.scheme}:// takes auth.{wanted}"

    def table_place(self, namespace: str) -> str:
        """Tables are the same where the catalog is the same; a bucket's belongs to no namespace."""
        if self.catalog is None or self.catalog.postgres is None:
            return super().table_place(namespace)
        return self.catalog.postgres.location


DESTINATION = LakeDestination
