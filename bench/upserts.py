"""`python -m bench.upserts lake|postgres [ROWS]`: ROWS rows by key into five times as many, against the bare system.

Four of five rows are in the table already, with other values, and lie in all of its files. The least is, for a lake,
DuckDB's copy of the joined Parquet files; for PostgreSQL, INSERT ... ON CONFLICT DO UPDATE from a table of the same
rows. Measured is the commit alone: CPU seconds of the process and of the server, and the peak memory of the process.
"""

import json
import sys
import tempfile
import time
from collections.abc import Iterator
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from multiprocessing import get_context
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).parents[1] / "tests"))
import duckdb
import pyarrow as pa
from bench.tables import server_seconds

from connectors.contract.adapters import STORES
from connectors.test_stores import Bench, bench, entry, publication
from penstock.runs.order import DatasetOrder, DestinationOrder
from penstock.runs.report import Counts
from penstock.worker.connectors import Connectors
from penstock.worker.pod import here
from penstock.worker.ports.ledger import Attempt, Claim
from penstock.worker.ports.tablestore import Staged, TableStore
from worker.pods import field

_KINDS = {"id": "long", "customer": "string", "amount": "decimal(12,2)", "at": "timestamp", "state": "string"}
_VALUES = (
    "{id}::BIGINT AS id, md5(({id})::VARCHAR) AS customer, (({id} + {salt}) % 100000 / 7)::DECIMAL(12,2) AS amount, "
    "TIMESTAMP '2026-01-01' + to_seconds(({id})::BIGINT) AS at, 'state ' || ({id} + {salt}) % 9 AS state"
)
_OLD, _NEW = "i", "CASE WHEN i % 5 = 0 THEN 5 * {rows} + i ELSE 5 * i + i % 5 END"


def rows(of: str, count: int, salt: int, claim: Claim) -> Iterator[pa.Table]:
    """The rows whose ids are that expression over i, in pieces, with their lineage and order."""
    values = _VALUES.format(id=f"({of})", salt=salt)
    lineage = f"{claim.load_id}::BIGINT, {claim.load_id}::BIGINT, TIMESTAMPTZ '2026-11-27 00:00:00Z', i::BIGINT"
    with duckdb.connect() as connection:
        reader = connection.sql(f"SELECT {values}, {lineage} FROM range({count}) t(i)").to_arrow_reader(65_536)
        for batch in reader:
            yield pa.Table.from_batches([batch])


def staged(store: TableStore, claim: Claim, dataset: DatasetOrder, of: str, count: int) -> Staged:
    """The rows, staged."""
    writer = store.writer(claim, dataset, "00000")
    for table in rows(of, count, 3 if of == _OLD else 4, claim):
        writer.write(table)
    return writer.close()


@dataclass(frozen=True)
class Commit:
    """What a process of its own publishes, so that its memory is that of the commit alone."""

    destination: str
    dataset: str
    """Both as JSON."""
    environment: dict[str, str]
    claim: tuple[str, str, int, int]
    staged: Staged


def publish(commit: Commit) -> tuple[Counts, float, float, int]:
    """Publish it: the counts, CPU seconds, seconds by the clock, and the MiB that the process has had at most."""
    destination = DestinationOrder.model_validate_json(commit.destination)
    dataset = DatasetOrder.model_validate_json(commit.dataset)
    store, claim = Connectors().store_of(destination, here(commit.environment)), Claim(*commit.claim)
    store.ensure(dataset)
    entries = [entry(claim.load_id, claim.run, commit.staged.rows)]
    own, begun = time.process_time(), time.perf_counter()
    report = store.publish(claim, publication(dataset, commit.staged, entries, mode="upsert"))
    cpu, wall = time.process_time() - own, time.perf_counter() - begun
    [line] = [line for line in Path("/proc/self/status").read_text().splitlines() if line.startswith("VmHWM")]
    return report.counts, cpu, wall, int(line.split()[1]) // 1024


def commit(there: Bench, dataset: DatasetOrder, of: str, count: int, run: str) -> None:
    """Stage the rows, and measure their commit."""
    store = there.store()
    with store.claim(dataset, Attempt(run, "bench")) as claim:
        store.ensure(dataset)
        measure(there, dataset, claim, staged(store, claim, dataset, of, count))


def measure(there: Bench, dataset: DatasetOrder, claim: Claim, rows_staged: Staged, **environment: str) -> None:
    """Publish what is staged, and print the counts, the time, and the most memory that this took."""
    connector = {"name": "store", "connector": {there.adapter.system: there.adapter.connector}}
    connector |= {"auth": there.adapter.auth} if there.adapter.auth else {}
    given = Commit(
        json.dumps(connector),
        json.dumps(dataset.to_object()),
        there.place.environment("bench") | environment,
        (claim.subject, claim.run, claim.load_id, claim.attempt),
        rows_staged,
    )
    server = getattr(there.adapter, "server", None)
    before = server_seconds(server) if server else 0.0
    with ProcessPoolExecutor(1, get_context("spawn")) as processes:
        counts, cpu, wall, peak = processes.submit(publish, given).result()
    served = server_seconds(server) - before if server else 0.0
    print(f"{claim.run}: {counts.loaded:,} loaded, {counts.replaced:,} in place of others, {counts.unchanged:,} equal")
    print(f"  CPU {cpu + served:.1f} s ({served:.1f} s of the server), wall {wall:.1f} s, peak {peak} MB", flush=True)


def copy_on_write(folder: Path, count: int) -> None:
    """DuckDB alone: the joined files written again."""
    with duckdb.connect() as connection:
        connection.execute("SET preserve_insertion_order = false")
        old, new = (_VALUES.format(id=f"({of})", salt=salt) for of, salt in (("i", 3), (_NEW.format(rows=count), 4)))
        lineage = "1::BIGINT AS a, 1::BIGINT AS b, TIMESTAMPTZ '2026-11-27 00:00:00Z' AS c"
        for name, values, total in (("old", old, 5 * count), ("new", new, count)):
            target = f"'{folder}/{name}.parquet' (COMPRESSION zstd)"
            connection.execute(f"COPY (SELECT {values}, {lineage} FROM range({total}) t(i)) TO {target}")
        own, begun = time.process_time(), time.perf_counter()
        connection.execute(
            f"COPY (SELECT * FROM '{folder}/old.parquet' o ANTI JOIN '{folder}/new.parquet' n USING (id) "
            f"UNION ALL FROM '{folder}/new.parquet') TO '{folder}/all.parquet' (COMPRESSION zstd)"
        )
        print(
            f"bare DuckDB: CPU {time.process_time() - own:.1f} s, wall {time.perf_counter() - begun:.1f} s", flush=True
        )


def on_conflict(server: Any, count: int) -> None:
    """PostgreSQL alone: INSERT ... ON CONFLICT from an unlogged table into a table with the same columns."""
    columns = "id, customer, amount, at, state, a, b, c"
    for name, of, salt, total in (("old", "i", 3, 5 * count), ("new", _NEW.format(rows=count), 4, count)):
        values = (
            f"({of})::bigint AS id, md5(({of})::text) AS customer, "
            f"((({of}) + {salt}) % 100000 / 7.0)::numeric(12,2) AS amount, "
            f"timestamp '2026-01-01' + make_interval(secs => ({of})) AS at, "
            f"'state ' || (({of}) + {salt}) % 9 AS state, "
            "1::bigint AS a, 1::bigint AS b, timestamptz '2026-11-27' AS c"
        )
        kind = "UNLOGGED TABLE" if name == "new" else "TABLE"
        server.execute(f"CREATE {kind} bare_{name} AS SELECT {values} FROM generate_series(0, {total - 1}) s(i)")
    server.execute("ALTER TABLE bare_old ADD PRIMARY KEY (id)", "CREATE INDEX ON bare_old USING brin (a)", "CHECKPOINT")
    before, begun = server_seconds(server), time.perf_counter()
    assignments = ", ".join(f"{name} = excluded.{name}" for name in columns.split(", ")[1:])
    server.execute(
        f"INSERT INTO bare_old ({columns}) SELECT {columns} FROM bare_new ON CONFLICT (id) DO UPDATE SET {assignments}"
    )
    print(f"bare ON CONFLICT: CPU {server_seconds(server) - before:.1f} s, wall {time.perf_counter() - begun:.1f} s")


def main(system: str, count: int) -> None:
    """Measure the first load, the upsert, and the same upsert again, beside the bare system."""
    with tempfile.TemporaryDirectory(prefix="penstock-bench-") as name, bench(STORES[system], Path(name)) as there:
        schema = {"fields": [field(key, kind) for key, kind in _KINDS.items()], "primaryKey": ["id"]}
        dataset = there.dataset(writeMode="upsert", schema=schema)
        if system == "lake":
            copy_on_write(Path(name), count)
        commit(there, dataset, _OLD, 5 * count, "old")
        if system == "postgres":
            on_conflict(there.adapter.server, count)  # type: ignore[attr-defined] # that of PostgreSQL has one
        commit(there, dataset, _NEW.format(rows=count), count, "newer")
        commit(there, dataset, _NEW.format(rows=count), count, "again")


if __name__ == "__main__":
    main(sys.argv[1], int(sys.argv[2]) if sys.argv[2:] else 1_000_000)
