"""DuckDB: what a Source says of a database file."""

from typing import ClassVar

from penstock.language.databases import DatabaseFile, Selection
from penstock.language.traits import Traits


class DuckdbSource(Selection, DatabaseFile):
    """A DuckDB database file on a claim."""

    traits: ClassVar[Traits] = Traits(
        title="DuckDB",
        description="Tables and queries of a DuckDB database file.",
        source="penstock.connectors.duckdb.source:DuckdbSource",
        sync=("full",),
        types=(
            ("BOOLEAN", "`boolean`", ""),
            ("TINYINT to INTEGER, UTINYINT, USMALLINT", "`int`", ""),
            ("BIGINT, UINTEGER", "`long`", ""),
            ("UBIGINT", "`decimal(20,0)`", "as a `long`: a number that is too large makes its row bad"),
            (
                "HUGEINT, UHUGEINT, BIGNUM",
                "`string`, or any number, from its digits",
                "a number that is too large makes its row bad",
            ),
            ("DECIMAL(p,s)", "`decimal(p,s)`", "as another number: a value that is not exactly one makes its row bad"),
            ("FLOAT, DOUBLE", "`double`", ""),
            ("DATE", "`date`", "infinity and years outside 1 to 9999 make their row bad"),
            (
                "TIMESTAMP, TIMESTAMP_S, _MS, _NS",
                "`timestamp`",
                "infinity, years outside 1 to 9999, and fractions of a microsecond make their row bad",
            ),
            ("TIMESTAMP WITH TIME ZONE", "`timestamptz`", "infinity and years outside 1 to 9999 make their row bad"),
            ("VARCHAR, JSON, ENUM", "`string`, or any type, from the text", ""),
            ("UUID, TIME, TIME WITH TIME ZONE, INTERVAL, BIT", "`string`: `10:00:00`, `1 day`, `0101`", ""),
            ("BLOB", "`string`", "bytes that are not UTF-8 make their row bad"),
            ("LIST, ARRAY, STRUCT, MAP, UNION, VARIANT", "`string`: JSON", ""),
        ),
        notes=(
            "Streams are the tables and views of the schema main by their names, and those of another schema as "
            "`schema.table`.",
            "All streams of a run are read in one transaction: they show the database at one moment.",
            "DuckDB lets one process write a file, or several read it. A file that another process writes is tried "
            "again; while a run reads it, no other process can write it.",
            "The file is opened read-only, so the claim may be read-only. Links in the claim are not followed.",
            "One gap remains on a claim that others can write to. DuckDB opens the write-ahead log by its name, and it "
            "cannot be seen afterwards which one it has read. Who replaces the log by a link for just that moment has "
            "it read another log. DuckDB refuses the log of another database from STORAGE_VERSION 1.4 on. The log of "
            "an older database adds its rows to the tables that have the same names.",
            "DuckDB reads 2,048 rows at once: rows of more than about 50 KB may need more memory than a worker has.",
            "Queries and views read the tables of this file alone: no other files, no extensions, no settings.",
        ),
        example="examples/07-duckdb",
    )


SOURCE = DuckdbSource
