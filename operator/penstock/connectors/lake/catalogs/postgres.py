"""PostgreSQL: the catalog and the ledger in one schema of a database."""

from penstock.connectors.lake.spec import PostgresCatalog
from penstock.connectors.postgres.connection import Place
from penstock.connectors.postgres.database import PostgresDatabase
from penstock.language.auth import Auth
from penstock.worker.pod import Pod


def database(spec: PostgresCatalog, pod: Pod, subject: str) -> PostgresDatabase:
    """The database that a Destination names. Raises InvalidSpec (SecretMissing)."""
    place = Place(spec, Auth(basic=spec.auth.basic), pod, f"{subject}, its catalog")
    return PostgresDatabase(place, spec.schema_)
