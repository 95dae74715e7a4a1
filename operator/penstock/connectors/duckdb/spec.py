"""DuckDB: what a Source and a Destination say of a database file."""

from typing import ClassVar

from penstock.language.databases import DatabaseFile, Selection
from penstock.language.traits import TableLimits, Traits


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


class DuckdbDestination(DatabaseFile):
    """A DuckDB database file on a claim, for the tables of Datasets."""

    traits: ClassVar[Traits] = Traits(
        title="DuckDB",
        description="Tables in a DuckDB database file, for Datasets.",
        store="penstock.connectors.duckdb.store:DuckdbStore",
        guarantee="Exactly once: rows, quarantine and the run's entry in the ledger are one transaction of the file.",
        example="examples/11-duckdb-tables",
        limits=TableLimits(
            name_bytes=255, columns=2000, reserved_columns=("rowid",), reserved_tables=("penstock_", "sqlite_")
        ),
        types=(
            ("`VARCHAR`", "`string`", "everything fits"),
            ("`BOOLEAN`", "`boolean`", "everything fits"),
            ("`INTEGER`, `BIGINT`", "`int`, `long`", "everything fits"),
            ("`DOUBLE`", "`double`", "everything fits, also `NaN` and infinity"),
            ("`DECIMAL(p,s)`", "`decimal(p,s)`", "everything fits"),
            (
                "`DATE`, `TIMESTAMP`, `TIMESTAMP WITH TIME ZONE`",
                "the same",
                "everything fits: a field holds the years 1 to 9999, and DuckDB more",
            ),
        ),
        notes=(
            "The file, and the folders above it, are created where they are missing. Tables are in the schema `main`; "
            "beside them is the ledger (`penstock_runs`, `penstock_inputs`, …).",
            "DuckDB lets one process write a file, and no other have it open meanwhile. A run has the file open for "
            "its commit and for moments before it; while it reads its Source it stages rows in the folder "
            "`<path>.penstock` beside the file, and others can open the file. A run that does not get it within 15 "
            "seconds (5 minutes for the commit) fails as `Unreachable` and is tried again. A delivery has the file "
            "open until it has read all rows.",
            "Programs that keep the file open keep runs out. Read a copy of it, or open it for each query.",
            "DuckDB needs a file system with locks: a volume that several nodes mount may have none.",
            "One run cannot read a DuckDB file and write to it: the Source and the Destination need different files.",
            "Links on the claim are refused when the file is opened, and DuckDB opens its write-ahead log by its name "
            "later. Who can replace the folder of the file by a link during a run has the log written elsewhere. Give "
            "the file a claim that only Penstock writes to.",
            "The owner of a table is kept in the comment on its column `_penstock_input_id`. Indexes, keys and views "
            "that another program makes on a table may keep its columns from being altered.",
            "The space of removed rows is used again, and the file does not become smaller.",
            "DuckDB keeps no snapshots. A delivery that is tried again after a later load has removed rows fails, and "
            "the next one delivers what is there then.",
        ),
    )


SOURCE = DuckdbSource
DESTINATION = DuckdbDestination
