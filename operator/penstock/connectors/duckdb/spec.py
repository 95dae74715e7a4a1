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
        sync=("full", "incremental"),
        cursors=True,
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
            "All streams of a run are read in one transaction, so they are consistent with each other.",
            "In DuckDB either one process writes a file or several processes read it. If another process has opened "
            "the file to write, the run is tried again. While a run reads the file, no other process can write to "
            "it.",
            "The file is opened read-only, so the volume may be read-only. Symbolic links in the volume are not "
            "followed.",
            "Known limit, for a volume that other programs can write to: DuckDB opens the write-ahead log by its "
            "name, and Penstock cannot check which file it has read. A program that replaces the log by a link at "
            "that moment can make DuckDB read another log. From STORAGE_VERSION 1.4 on, DuckDB refuses the log of "
            "another database. With an older version, rows of that log are added to the tables of the same names.",
            "DuckDB reads 2,048 rows at once. Rows of more than about 50 KB may need more memory than a worker has.",
            "Queries and views can read only the tables of this file: no other files, no extensions, no settings.",
        ),
        example="examples/07-duckdb",
    )


class DuckdbDestination(DatabaseFile):
    """A DuckDB database file on a claim, for the tables of Datasets and of Subscriptions."""

    traits: ClassVar[Traits] = Traits(
        title="DuckDB",
        description="Tables in a DuckDB database file, for Datasets and Subscriptions.",
        store="penstock.connectors.duckdb.store:DuckdbStore",
        target="penstock.connectors.duckdb.target:DuckdbTarget",
        receives="tables",
        guarantee="Exactly once: rows, quarantine and the run's entry in the ledger are one transaction of the file, "
        "and so are the rows of a delivery and its entry in `penstock_batches`.",
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
            "The file and its parent folders are created if they do not exist. Tables are in the schema `main`, and "
            "so is the ledger (`penstock_runs`, `penstock_inputs`, …).",
            "While a process writes a DuckDB file, no other process can open it. A run opens the file for short "
            "checks and for its commit. While it reads its Source, it stages rows in the folder `<path>.penstock` "
            "beside the file, and other programs can open the file. A run that cannot open the file within 15 "
            "seconds (5 minutes for the commit) fails with `Unreachable` and is tried again. A delivery keeps the "
            "file open until it has read all rows.",
            "A program that keeps the file open blocks runs. Read a copy of the file, or open it for each query.",
            "DuckDB needs file locks. A volume that several nodes mount may not support them.",
            "A run cannot read and write the same DuckDB file: the Source and the Destination need different files.",
            "Symbolic links in the volume are refused when the file is opened. DuckDB opens its write-ahead log by "
            "its name later: a program that replaces the folder by a link during a run can make DuckDB write the "
            "log to another place. Use a volume that only Penstock writes to.",
            "The comment on the column `_penstock_input_id` stores which Dataset owns the table. Indexes, keys and "
            "views that another program creates on a table can prevent a migration from altering its columns.",
            "The space of removed rows is reused, but the file does not become smaller.",
            "DuckDB keeps no snapshots. If a later load has removed rows, the retry of an earlier delivery fails, "
            "and the next delivery delivers the rows of that time.",
        ),
    )


SOURCE = DuckdbSource
DESTINATION = DuckdbDestination
