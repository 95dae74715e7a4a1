"""Whether tables can be created in a schema, and can hold every text."""

import time

from psycopg import sql

from penstock.connectors.postgres import staging
from penstock.connectors.postgres.database import PostgresCursor, PostgresDatabase
from penstock.language.errors import InvalidSpec


def check(database: PostgresDatabase) -> None:
    """Create a table and drop it again. Raises InvalidSpec and NotYet, as `failures` says."""
    with database.unlocked() as cursor:
        require_every_text(cursor, database)
        table = sql.Identifier(database.schema, f"{staging.PREFIX}probe_{time.time_ns()}")
        cursor.own.execute(sql.SQL("CREATE UNLOGGED TABLE {} (probe text)").format(table))
        cursor.own.execute(sql.SQL("DROP TABLE {}").format(table))


def require_every_text(cursor: PostgresCursor, database: PostgresDatabase) -> None:
    """Raise InvalidSpec (WrongSpecification) unless the database's encoding has every character."""
    cursor.execute("SELECT pg_encoding_to_char(encoding) FROM pg_database WHERE datname = current_database()")
    [encoding] = cursor.fetchone()
    if encoding != "UTF8":
        message = f"{database.place.where}: the database's encoding is {encoding}, which does not hold every text. "
        raise InvalidSpec(f"{message}Use a database with the encoding UTF8.", "WrongSpecification")
