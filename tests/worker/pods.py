"""Pods for the worker's tests: a folder that stands for `/`, orders in it, the worker called or started."""

import contextlib
import io
import json
import os
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import duckdb
from pyiceberg.catalog.sql import SqlCatalog
from pyiceberg.table import Table

from penstock.connectors.lake.catalogs.sqlite import SqliteDatabase
from penstock.runs import places, summary
from penstock.runs import report as reports
from penstock.runs.order import RunOrder
from penstock.runs.report import RunReport
from penstock.worker import run
from penstock.worker.ledger import SqlLedger
from penstock.worker.ports.tablestore import LINEAGE
from penstock.worker.rows import engine

Json = dict[str, Any]


def field(name: str, kind: str, **more: Any) -> Json:
    """A schema field; `from_` for `from`."""
    return {"name": name, "type": kind, **{key.rstrip("_"): value for key, value in more.items()}}


def csv(**more: Any) -> Json:
    """The CSV format with these settings."""
    return {"csv": more}


@dataclass
class APod:
    """A Pod with the claims `data`, `lake` and `out`, one Source, one Dataset, and where deliveries go."""

    root: Path
    fields: list[Json]
    connector: Json
    dataset: Json
    auth: Json | None = None
    kind: str = "ingest"
    more: Json | None = None
    deadline: int = 600

    @property
    def data(self) -> Path:
        return self.root / "volumes/data"

    @property
    def out(self) -> Path:
        return self.root / "volumes/out"

    def order(self) -> Json:
        destination = {"lake": {"warehouse": "file:///volumes/lake/wh", "volume": {"claimName": "lake"}}}
        owner = {"kind": "Dataset", "namespace": "demo", "name": "things"}
        dataset = {
            "owner": owner,
            "destination": {"name": "lake", "connector": destination},
            "table": "things",
            "schema": {"fields": self.fields},
            "writeMode": "append",
            "quality": {"maxBadRatio": "100%"},
            "stream": "things",
            "sync": "incremental",
            **self.dataset,
        }
        source: Json = {"name": "things", "connector": {"files": self.connector}}
        if self.auth:
            source["auth"] = self.auth
        return {
            "version": "penstock.dev/order-v1",
            "kind": self.kind,
            "subject": {"kind": "Pipeline", "namespace": "demo", "name": "load"},
            "identity": "demo/load",
            "deadlineSeconds": self.deadline,
            "source": source,
            "datasets": [dataset],
            **(self.more or {}),
        }

    def prepare(self) -> None:
        """Write the order where the worker looks for it."""
        order = RunOrder.model_validate(self.order())
        (self.root / places.ORDER.lstrip("/")).write_bytes(order.compress())

    def environment(self, run_id: str, **more: str) -> dict[str, str]:
        return {**os.environ, places.POD_ROOT: str(self.root), places.RUN_ID: run_id, **more}

    def work(self, run_id: str = "r1", **more: Any) -> RunReport:
        """Carry an order out in this process; its report."""
        for key, value in more.items():
            setattr(self, key, value)
        self.prepare()
        log = io.StringIO()
        with contextlib.redirect_stdout(log):
            self.code = run.main(self.environment(run_id))
        print(log.getvalue(), end="")
        return reports.with_details(self.report(run_id), log.getvalue())

    def report(self, run_id: str = "r1") -> RunReport:
        """The report as the termination message has it."""
        names = [dataset["owner"]["name"] for dataset in self.order()["datasets"]]
        text = (self.root / "dev/termination-log").read_text(encoding="utf-8")
        assert len(text.encode()) <= summary.LIMIT
        found = summary.decode(text, run_id, names)
        assert found is not None
        return found

    def start(self, run_id: str, **more: str) -> "subprocess.Popen[bytes]":
        """The worker as a process of its own."""
        self.prepare()
        return subprocess.Popen(
            [sys.executable, "-m", "penstock.worker"],
            env=self.environment(run_id, **more),
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
        )

    @property
    def warehouse(self) -> Path:
        return self.root / "volumes/lake/wh"

    def table(self, name: str = "things") -> Table:
        """The table as plain pyiceberg reads it."""
        catalog = SqlCatalog(
            "penstock", uri=f"sqlite:///{self.warehouse}/catalog.db", warehouse=self.warehouse.as_uri()
        )
        return catalog.load_table(f"main.{name}")

    def rows(self, name: str = "things", *, lineage: bool = False) -> list[Json]:
        """The table's rows, as plain pyiceberg reads them; without the columns of lineage unless asked."""
        rows: list[Json] = self.table(name).scan().to_arrow().to_pylist()
        return rows if lineage else [{key: row[key] for key in row if key not in LINEAGE.names} for row in rows]

    @property
    def ledger(self) -> SqlLedger:
        """The ledger of the lake."""
        return SqlLedger(SqliteDatabase(self.warehouse, "catalog.db", "Destination lake"))

    def bad(self) -> list[Json]:
        """The quarantine's entries, by input and position."""
        return sorted(self.rows("things_quarantine"), key=lambda row: (row["input"], row["position"] or 0))

    def checksum(self, name: str = "things") -> tuple[int, int]:
        """Rows, and a sum over their hashes that does not depend on their order; read by DuckDB."""
        files = [task.file.file_path.removeprefix("file://") for task in self.table(name).scan().plan_files()]
        if not files:
            return 0, 0
        with duckdb.connect() as connection:
            unsteady = ["run", "at", "load_id"] if name.endswith("_quarantine") else LINEAGE.names[1:]
            exclude = f"EXCLUDE ({', '.join(engine.name(column) for column in unsteady)})"
            row = connection.execute(
                f"SELECT count(*), sum(hash(t)::HUGEINT) FROM (SELECT * {exclude} FROM read_parquet(?)) t", [files]
            ).fetchone()
        assert row is not None
        return int(row[0]), int(row[1])


def a_pod(root: Path, *fields: Json, form: Json | None = None, connector: Json | None = None, **dataset: Any) -> APod:
    """A Pod whose Source is the folder of the claim `data`, read as CSV unless said otherwise."""
    for folder in ("etc/penstock/order", "etc/penstock/secrets", "volumes/data", "volumes/lake", "volumes/out", "dev"):
        (root / folder).mkdir(parents=True, exist_ok=True)
    files = {
        "url": "file:///volumes/data/",
        "volume": {"claimName": "data"},
        "format": form or csv(),
        **(connector or {}),
    }
    if not files["url"].startswith("file:"):
        del files["volume"]
    return APod(root, list(fields), files, dataset)


def secret(pod: APod, name: str, **keys: str) -> None:
    """Put a Secret into the Pod."""
    folder = pod.root / "etc/penstock/secrets" / name
    folder.mkdir(parents=True, exist_ok=True)
    for key, value in keys.items():
        (folder / key).write_text(value, encoding="utf-8")


def loads(line: str) -> Json:
    """A JSON object."""
    found: Json = json.loads(line)
    return found
