"""`python -m bench.values`: what Parquet and wide tables take at the most, see bench/loads.py."""

import random
import sys
from functools import partial
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
from bench.loads import Case, main

LETTERS = [*"abcdefgh"]


def fields(count: int, kind: str, **more: Any) -> list[dict[str, Any]]:
    """So many fields of the same kind."""
    return [{"name": f"f{number}", "type": kind, **more} for number in range(count)]


def csv(folder: Path, columns: int, rows: int, good: str, bad: float = 0) -> None:
    """A wide CSV file, so many of whose rows have one bad value."""
    chance = random.Random(1)  # noqa: S311 - the same data every time, not secrets
    with (folder / "a.csv").open("w") as file:
        file.write(",".join(f"f{number}" for number in range(columns)) + "\n")
        for _ in range(rows):
            values = [good] * columns
            if chance.random() < bad:
                values[chance.randrange(columns)] = "NOPE"
            file.write(",".join(values) + "\n")


def numbers(folder: Path, columns: int, rows: int) -> None:
    """Columns of different whole numbers in one row group."""
    column = pa.array(range(rows))
    table = pa.table({f"f{number}": column for number in range(columns)})
    pq.write_table(table, folder / "a.parquet", row_group_size=rows)


def texts(folder: Path, text: str, rows: int, **options: Any) -> None:
    """The same text in every row."""
    pq.write_table(pa.table({"f0": [text] * rows}), folder / "a.parquet", compression="zstd", **options)


def dictionary(folder: Path, length: int, rows: int) -> None:
    """A long text once, and many references to it."""
    column = pa.array(["x" * length]).dictionary_encode().take(pa.array([0] * rows))
    pq.write_table(pa.table({"f0": column}), folder / "a.parquet", compression="zstd")


def bad_values(folder: Path, rows: int) -> None:
    """Texts that are no numbers."""
    column = pa.array([f"bad value {number}" for number in range(rows)])
    pq.write_table(pa.table({"f0": column}), folder / "a.parquet", row_group_size=rows)


CSV: dict[str, Any] = {"csv": {}}
PARQUET: dict[str, Any] = {"parquet": {}}
STRING, LONG = fields(1, "string"), fields(1, "long")
CASES = [
    Case(
        "80 columns with an enum",
        fields(80, "string", enum=LETTERS),
        CSV,
        partial(csv, columns=80, rows=20_000, good="a"),
    ),
    Case(
        "80 with an enum, 30% bad",
        fields(80, "string", enum=LETTERS),
        CSV,
        partial(csv, columns=80, rows=20_000, good="a", bad=0.3),
    ),
    Case(
        "100 with null values",
        fields(100, "string", nullValues=["NA", "-"]),
        CSV,
        partial(csv, columns=100, rows=20_000, good="a"),
    ),
    Case("600 columns, 10% bad", fields(600, "long"), CSV, partial(csv, columns=600, rows=10_000, good="1", bad=0.1)),
    Case(
        "2,000 columns, 10% bad", fields(2000, "long"), CSV, partial(csv, columns=2000, rows=5_000, good="1", bad=0.1)
    ),
    Case("2,000 columns of Parquet", fields(2000, "long"), PARQUET, partial(numbers, columns=2000, rows=20_000)),
    Case("a dictionary of one long text", STRING, PARQUET, partial(dictionary, length=65_000, rows=65_536)),
    Case("the same, all bad", LONG, PARQUET, partial(dictionary, length=65_000, rows=20_000)),
    Case("a text of 100 MB", STRING, PARQUET, partial(texts, text="x" * 100_000_000, rows=2)),
    Case("rows of 1 MB", STRING, PARQUET, partial(texts, text="x" * 1_000_000, rows=500, use_dictionary=False)),
    Case(
        "rows of 1 MB as differences",
        STRING,
        PARQUET,
        partial(
            texts, text="x" * 1_000_000, rows=2000, use_dictionary=False, column_encoding={"f0": "DELTA_BYTE_ARRAY"}
        ),
    ),
    Case("5 M rows in one row group", LONG, PARQUET, partial(numbers, columns=1, rows=5_000_000)),
    Case("2 M rows, all bad", LONG, PARQUET, partial(bad_values, rows=2_000_000)),
]

if __name__ == "__main__":
    main(CASES, sys.argv[1:])
