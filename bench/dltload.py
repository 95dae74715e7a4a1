"""CSV files into an Iceberg table by dlt, as fast as it goes: read by DuckDB in Arrow batches, loaded as Parquet.

Started by `bench.ingest` with the Python of dlt's own environment: python dltload.py FROM TO TYPES
"""

import json
import os
import sys
from pathlib import Path

os.environ["RUNTIME__DLTHUB_TELEMETRY"] = "false"

import dlt
from dlt.sources.filesystem import filesystem, read_csv_duckdb

BATCH = 100_000
"""Rows. dlt's default of 5,000 is slower."""


def main(files: Path, folder: Path, types: dict[str, str]) -> None:
    """Load the folder's files, all of whose rows are good: dlt would end at the first that is not."""
    reader = read_csv_duckdb(chunk_size=BATCH, use_pyarrow=True, columns=types, header=True, auto_detect=False)
    rows = (filesystem(bucket_url=str(files), file_glob="*.csv") | reader).with_name("orders")
    lake = dlt.destinations.filesystem(bucket_url=str(folder))
    pipeline = dlt.pipeline("bench", destination=lake, dataset_name="bench", pipelines_dir=str(folder / "state"))
    pipeline.run(rows, loader_file_format="parquet", table_format="iceberg", write_disposition="replace")


if __name__ == "__main__":
    main(Path(sys.argv[1]), Path(sys.argv[2]), json.loads(sys.argv[3]))
