"""The lake as a TableStore: in a folder with SQLite in it, and on S3 with its catalog in PostgreSQL."""

import atexit
import itertools
import shutil
import tempfile
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager, suppress
from functools import cache
from pathlib import Path
from typing import Any, Self

import s3fs
from pyiceberg.catalog.sql import SqlCatalog
from pyiceberg.exceptions import NoSuchTableError
from pyiceberg.table import Table

from connectors.contract.adapters import Fault, Json, StoreAdapter
from connectors.systems import objectstores, postgres
from support import gcs, s3
from support import postgres as servers


class Lake(StoreAdapter):
    system = "lake"

    def __init__(self, root: Path) -> None:
        super().__init__(root)
        self.warehouse = self.claim("lake") / "wh"
        self.connector = {"warehouse": "file:///volumes/lake/wh", "volume": {"claimName": "lake"}}

    @property
    def catalog(self) -> SqlCatalog:
        """Plain pyiceberg's."""
        url = f"sqlite:///{self.warehouse}/catalog.db"
        return SqlCatalog("penstock", uri=url, warehouse=self.warehouse.as_uri())

    def table(self, name: str) -> Table | None:
        """The table as plain pyiceberg reads it."""
        with suppress(NoSuchTableError):
            return self.catalog.load_table(f"main.{name}")
        return None

    def drop(self, table: str) -> None:
        self.catalog.drop_table(f"main.{table}")

    def rows(self, table: str) -> list[Json]:
        there = self.table(table)
        rows: list[dict[str, Any]] = [] if there is None else there.scan().to_arrow().to_pylist()
        return rows

    def staged(self) -> int:
        committed: set[str] = set()
        for folder in (self.warehouse / "main").iterdir():
            if (table := self.table(folder.name)) is not None:
                committed |= {Path(task.file.file_path).name for task in table.scan().plan_files()}
        return len({path.name for path in self.warehouse.rglob("*.parquet")} - committed)


def _not_mounted(adapter: Lake) -> None:
    shutil.rmtree(adapter.warehouse.parent)


def _a_file(adapter: Lake) -> None:
    adapter.warehouse.write_text("in the way")


Lake.faults = (
    Fault("no claim", "ResourceNotFound", _not_mounted),
    Fault("a file in the way", "WrongSpecification", _a_file),
)


@cache
def buckets() -> s3.Server:
    """The S3 server, which ends with the process."""
    stack = ExitStack()
    atexit.register(stack.close)
    folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="penstock-s3-")))
    return stack.enter_context(s3.serve(folder / "buckets"))


_numbers = itertools.count()


class LakeOnS3(StoreAdapter):
    """A bucket, and a database with a role that may create tables in it."""

    system = "lake"
    name = "lake-on-s3"

    @classmethod
    @contextmanager
    def running(cls, root: Path) -> Iterator[Self]:
        yield cls(root)

    def __init__(self, root: Path, server: s3.Server | None = None) -> None:
        super().__init__(root)
        self.server, self.database_server = server or buckets(), postgres.server()
        number = next(_numbers)
        self.bucket = f"lake{number}"
        self.server.bucket(self.bucket)
        self.database = self.database_server.database(f"catalog{number}")
        self.user = f"catalog_of_tests_{number}"
        self.database_server.execute(
            f"CREATE ROLE {self.user} LOGIN PASSWORD 'catalog-tests-secret'",
            f"GRANT CREATE ON SCHEMA public TO {self.user}",
            database=self.database,
        )
        self.connector = {
            "warehouse": f"s3://{self.bucket}/wh",
            "endpointUrl": self.server.endpoint,
            "catalog": {
                "postgres": {
                    "host": self.database_server.host,
                    "port": self.database_server.port,
                    "database": self.database,
                    "sslMode": "disable",
                    "auth": {"basic": {"secretRef": {"name": "catalog"}}},
                }
            },
        }
        self.auth = {"aws": {"secretRef": {"name": "warehouse"}}}
        self.secrets = {
            "warehouse": {"access_key_id": s3.ACCESS, "secret_access_key": s3.SECRET},
            "catalog": {"username": self.user, "password": "catalog-tests-secret"},
        }

    @property
    def files(self) -> s3fs.S3FileSystem:
        """The server's objects, as a plain client sees them."""
        keys = self.secrets["warehouse"]
        return s3fs.S3FileSystem(
            key=keys["access_key_id"],
            secret=keys["secret_access_key"],
            endpoint_url=self.server.endpoint,
            skip_instance_cache=True,
            use_listings_cache=False,
        )

    @property
    def reader(self) -> dict[str, str]:
        """The properties that plain pyiceberg reads the warehouse with."""
        return {
            "s3.endpoint": self.server.endpoint,
            "s3.access-key-id": s3.ACCESS,
            "s3.secret-access-key": self.secrets["warehouse"]["secret_access_key"],
            "s3.region": "us-east-1",
        }

    @contextmanager
    def catalog(self) -> Iterator[SqlCatalog]:
        """Plain pyiceberg's."""
        login = "{username}:{password}".format(**self.secrets["catalog"])
        address = f"{self.database_server.host}:{self.database_server.port}"
        uri = f"postgresql+psycopg://{login}@{address}/{self.database}"
        catalog = SqlCatalog("penstock", uri=uri, **self.reader)
        try:
            yield catalog
        finally:
            catalog.close()

    def table(self, name: str) -> Table | None:
        """The table as plain pyiceberg reads it."""
        with suppress(NoSuchTableError), self.catalog() as catalog:
            return catalog.load_table(f"main.{name}")
        return None

    def drop(self, table: str) -> None:
        with self.catalog() as catalog:
            catalog.drop_table(f"main.{table}")

    def rows(self, table: str) -> list[Json]:
        there = self.table(table)
        rows: list[dict[str, Any]] = [] if there is None else there.scan().to_arrow().to_pylist()
        return rows

    def objects(self) -> set[str]:
        """All objects of the warehouse."""
        return {f"s3://{path}" for path in self.files.find(f"{self.bucket}/wh")}

    def uploads(self) -> list[str]:
        """Uploads that were not finished."""
        return [upload["Key"] for upload in self.files.list_multipart_uploads(self.bucket)]

    def needed(self) -> set[str]:
        """The objects that the tables of the catalog refer to, by their own metadata."""
        names = self.database_server.rows("SELECT table_name FROM iceberg_tables", self.database)
        used: set[str] = set()
        for (name,) in names:
            table = self.table(name)
            assert table is not None
            used |= {table.metadata_location, *(entry.metadata_file for entry in table.metadata.metadata_log)}
            for snapshot in table.snapshots():
                used.add(snapshot.manifest_list)
                for manifest in snapshot.manifests(table.io):
                    used.add(manifest.manifest_path)
                    used |= {entry.data_file.file_path for entry in manifest.fetch_manifest_entry(table.io)}
        return used

    def staged(self) -> int:
        """Metadata of a commit that did not come about counts, too, and so do uploads that were not finished."""
        return len(self.objects() - self.needed()) + len(self.uploads())


class LakeOnGcs(LakeOnS3):
    """A bucket of fake-gcs-server behind a gate that wants the token of a service account."""

    name = "lake-on-gcs"
    place: gcs.Server

    @classmethod
    @contextmanager
    def running(cls, root: Path) -> Iterator[Self]:
        adapter = cls(root)
        adapter.place = objectstores.gcs_server()
        adapter.place.bucket(adapter.bucket)
        with gcs.gate(adapter.place) as gate:
            gate.key_id = "first"
            adapter.connector |= {"warehouse": f"gs://{adapter.bucket}/wh", "endpointUrl": gate.endpoint}
            adapter.auth = {"googleServiceAccount": {"secretRef": {"name": "warehouse"}}}
            adapter.secrets["warehouse"] = {"key.json": gate.key(private_key_id="first")}
            yield adapter

    @property
    def reader(self) -> dict[str, str]:
        io = "pyiceberg.io.fsspec.FsspecFileIO"
        return {
            "py-io-impl": io,
            "gcs.service.host": self.place.endpoint,
            "gcs.oauth2.token": "anon",
            "gcs.project-id": "x",
        }

    def objects(self) -> set[str]:
        return {f"gs://{self.bucket}/{name}" for name in self.place.names(self.bucket)}

    def uploads(self) -> list[str]:
        return []


def _change(**more: object) -> Callable[[LakeOnS3], None]:
    def bring_about(adapter: LakeOnS3) -> None:
        adapter.connector |= more

    return bring_about


def _catalog(**more: object) -> Callable[[LakeOnS3], None]:
    def bring_about(adapter: LakeOnS3) -> None:
        adapter.connector["catalog"]["postgres"] |= more

    return bring_about


def _secret(name: str, key: str, value: str) -> Callable[[LakeOnS3], None]:
    def bring_about(adapter: LakeOnS3) -> None:
        adapter.secrets[name][key] = value

    return bring_about


def _incomplete_warehouse(adapter: LakeOnS3) -> None:
    adapter.secrets["incomplete"] = {"access_key_id": s3.ACCESS}
    adapter.auth = {"aws": {"secretRef": {"name": "incomplete"}}}


def _incomplete_catalog(adapter: LakeOnS3) -> None:
    adapter.secrets["incomplete"] = {"username": adapter.user}
    _catalog(auth={"basic": {"secretRef": {"name": "incomplete"}}})(adapter)


def _may_not_use(adapter: LakeOnS3) -> None:
    adapter.database_server.execute(
        f"CREATE SCHEMA closed AUTHORIZATION {servers.SUPERUSER}", database=adapter.database
    )
    adapter.connector["catalog"]["postgres"] |= {"schema": "closed"}


def _may_not_create(adapter: LakeOnS3) -> None:
    adapter.database_server.execute(
        f"REVOKE CREATE ON SCHEMA public FROM {adapter.user}, PUBLIC", database=adapter.database
    )


LakeOnS3.faults = (
    Fault("no such bucket", "ResourceNotFound", _change(warehouse="s3://no-such-bucket/wh")),
    Fault("nothing listens at the warehouse", "Unreachable", _change(endpointUrl="http://127.0.0.1:1")),
    Fault("no such host of the warehouse", "Unreachable", _change(endpointUrl="http://nowhere.invalid:9000")),
    Fault("wrong key of the warehouse", "WrongCredentials", _secret("warehouse", "secret_access_key", "wrong-tests")),
    Fault("unknown key id", "WrongCredentials", _secret("warehouse", "access_key_id", "nobody-of-tests")),
    Fault("no key of the warehouse", "SecretMissing", _incomplete_warehouse),
    Fault("nothing listens at the catalog", "Unreachable", _catalog(port=1)),
    Fault("no such host of the catalog", "Unreachable", _catalog(host="nowhere.invalid")),
    Fault("no such database", "ResourceNotFound", _catalog(database="nothing")),
    Fault("no such schema", "ResourceNotFound", _catalog(schema="nothing")),
    Fault("no Secret of the catalog", "SecretMissing", _catalog(auth={"basic": {"secretRef": {"name": "nowhere"}}})),
    Fault("no TLS at the catalog", "TlsFailed", _catalog(sslMode="require")),
    Fault("wrong password of the catalog", "WrongCredentials", _secret("catalog", "password", "wrong-tests")),
    Fault("no password of the catalog", "SecretMissing", _incomplete_catalog),
    Fault("may not use the schema", "WrongCredentials", _may_not_use),
    Fault("may not create tables", "WrongCredentials", _may_not_create),
)


LakeOnGcs.faults = (
    Fault("no such bucket", "ResourceNotFound", _change(warehouse="gs://no-such-bucket/wh")),
    Fault("nothing listens at the warehouse", "Unreachable", _change(endpointUrl="http://127.0.0.1:1")),
    Fault("no key", "WrongCredentials", _secret("warehouse", "key.json", "{}")),
    Fault("wrong password of the catalog", "WrongCredentials", _secret("catalog", "password", "wrong-tests")),
)

STORES = (Lake, LakeOnS3, LakeOnGcs)
