"""SQLite: what a Source says of a database file."""

from typing import ClassVar

from penstock.language.databases import DatabaseFile, Selection
from penstock.language.traits import Traits


class SqliteSource(Selection, DatabaseFile):
    """A SQLite database file on a claim."""

    traits: ClassVar[Traits] = Traits(
        title="SQLite",
        description="Tables and queries of a SQLite database file.",
        source="penstock.connectors.sqlite.source:SqliteSource",
        sync=("full", "incremental"),
        cursors=True,
        types=(
            ("INTEGER affinity (INT, BIGINT, …)", "`long`", "a cell that is not an integer makes its row bad"),
            ("REAL affinity (REAL, DOUBLE, FLOAT)", "`double`", "a cell that is not a number makes its row bad"),
            ("TEXT affinity (TEXT, VARCHAR, CLOB)", "`string`", "a blob makes its row bad"),
            (
                "NUMERIC affinity (DECIMAL, DATE, BOOLEAN, …) and columns without a type",
                "any type, from the value's text: `1`, `2.5`, `2026-01-31`",
                "text that is not of the field's type, or a blob, makes its row bad",
            ),
        ),
        notes=(
            "All streams of a run are read in one transaction, so they are consistent with each other.",
            "If another process has locked the database, the run is tried again. Changes that another process commits "
            "during the run are not read.",
            "With `sync: incremental`, the `cursor` is a column of integers or text. A cell of another type is treated "
            "like a null. See [incremental reading](../incremental.md).",
            "Symbolic links in the volume are not followed, also not links that are created during a run: the "
            "database, its journal and its WAL are opened in the folder that was checked.",
            "The volume may be read-only, unless the database is in WAL mode: then SQLite must create the `-shm` file "
            "beside it.",
        ),
        example="examples/04-sqlite",
    )


SOURCE = SqliteSource
