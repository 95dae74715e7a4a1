"""An auditor who trusts nobody: reads the files and the table with DuckDB and plain Iceberg, and none of our code.

Every good row must be in the table exactly as it is in its file, once; every other line must be in quarantine, once.
"""

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING
from urllib.parse import quote

if TYPE_CHECKING:
    import duckdb

# What the quickstart's Dataset makes of a line, written a second time and by other means.
_FROM_FILES = """
    SELECT make_date(year::INT, month::INT, day::INT) AS flight_date, carrier, flight::INT AS flight, tailnum AS tail,
           origin, dest, dep_time::INT AS dep_time, dep_delay::INT AS dep_delay, arr_delay::INT AS arr_delay,
           air_time::INT AS air_time, distance::INT AS distance, time_hour::TIMESTAMPTZ AS scheduled_hour
    FROM (SELECT *, parse_filename(filename) AS name,
                 row_number() OVER (PARTITION BY filename ORDER BY file_row_number) + 1 AS line
          FROM lines) AS numbered
    ANTI JOIN (SELECT parse_filename(input) AS name, position AS line FROM quarantine) USING (name, line)
"""

_CHECKSUM = """
    SELECT count(*), coalesce(sum(hash(flight_date, carrier, flight, tail, origin, dest, dep_time, dep_delay,
           arr_delay, air_time, distance, scheduled_hour)::HUGEINT), 0) % 1000000007
"""


@dataclass(frozen=True)
class Account:
    """Rows and a checksum over every value of every row; equal accounts hold equal rows, in whatever order."""

    rows: int
    checksum: int


@dataclass(frozen=True)
class Audit:
    """What the files hold and what the lake holds. `lines` are all rows of all files, `bad` those in quarantine."""

    lines: int
    bad: int
    files: Account
    table: Account

    @property
    def balanced(self) -> bool:
        """Whether nothing is missing, nothing is there twice, and no value has changed."""
        return self.files == self.table and self.lines == self.table.rows + self.bad


def audit(exports: Path, warehouse: Path, table: str) -> Audit:
    """Compare the files in `exports` with a table of the lake in `warehouse`."""
    import duckdb
    from pyiceberg.catalog.sql import SqlCatalog

    catalog = SqlCatalog(
        "penstock", uri=f"sqlite:///{quote(str(warehouse / 'catalog.db'))}", warehouse=f"file://{warehouse}"
    )

    def files_of(name: str) -> list[str]:
        return [task.file.file_path for task in catalog.load_table(("main", name)).scan().plan_files()]

    with duckdb.connect(config={"threads": 2}) as connection:
        connection.execute(
            "CREATE TEMP TABLE lines AS SELECT *, row_number() OVER () AS file_row_number FROM read_csv(?, "
            "all_varchar = true, nullstr = 'NA', filename = true)",
            [[str(path) for path in sorted(exports.glob("*.csv*"))]],
        )
        for view, name in (("loaded", table), ("quarantine", f"{table}_quarantine")):
            paths = [path.removeprefix("file://") for path in files_of(name)]
            connection.read_parquet(paths).create_view(view)
        return Audit(
            lines=_number(connection, "SELECT count(*) FROM lines"),
            bad=_number(connection, "SELECT count(*) FROM quarantine"),
            files=_account(connection, f"({_FROM_FILES})"),
            table=_account(connection, "loaded"),
        )


def _number(connection: "duckdb.DuckDBPyConnection", query: str) -> int:
    return int(connection.execute(query).fetchall()[0][0])


def _account(connection: "duckdb.DuckDBPyConnection", source: str) -> Account:
    rows, checksum = connection.execute(f"{_CHECKSUM} FROM {source} AS audited").fetchall()[0]
    return Account(int(rows), int(checksum))
