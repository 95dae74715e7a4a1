"""Orders over a system's adapter, and workers that carry them out: in this process, or as one that is killed."""

import contextlib
import io
import json
import subprocess
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from connectors.contract import forks, worker
from connectors.contract.adapters import Adapter, Json, Row, SourceAdapter, StoreAdapter
from penstock.runs import report as reports
from penstock.runs.order import RunOrder
from penstock.runs.report import RunReport
from penstock.worker import run
from penstock.worker.pod import here
from penstock.worker.ports.source import Source
from support import memory
from worker.pods import APod, a_pod, field, secret

FIELDS = (field("id", "long", required=True), field("word", "string"))
LAKE: Json = {"lake": {"warehouse": "file:///volumes/lake/wh", "volume": {"claimName": "lake"}}}
_TESTS = Path(__file__).parents[2]


def words(stream: str, count: int, start: int = 0) -> list[Row]:
    """Rows of a stream, with the ids from `start` on."""
    return [{"id": str(number), "word": f"{stream} {number}"} for number in range(start, start + count)]


@dataclass
class Rig:
    """A Pod that loads the streams of a Source into the tables of a Destination; by default a lake.

    `datasets` overrides what orders say of the Datasets.
    """

    pod: APod
    source: SourceAdapter
    store: StoreAdapter | None = None
    output: str = ""
    """What the newest worker has printed."""

    @property
    def adapters(self) -> list[Adapter]:
        """Whose Secrets the Pod has."""
        return [self.source, *([] if self.store is None else [self.store])]

    def prepare(self, streams: Sequence[str] = (), kind: str = "ingest", **dataset: object) -> None:
        """Write the order, and the Secrets, as the adapters say now; `dataset` is what it says of each Dataset."""
        streams = streams or self.source.streams
        destination: Json = {"name": "store", "connector": LAKE}
        if self.store is not None:
            destination = {"name": "store", "connector": {self.store.system: self.store.connector}}
            destination |= {"auth": self.store.auth} if self.store.auth else {}
        source: Json = {"name": streams[0], "connector": {self.source.system: self.source.connector}}
        source |= {"auth": self.source.auth} if self.source.auth else {}
        datasets = [
            {
                "owner": {"kind": "Dataset", "namespace": "demo", "name": f"d{number}"},
                "destination": destination,
                "table": f"d{number}",
                "schema": {"fields": [*FIELDS]},
                "writeMode": self.source.write_mode,
                "quality": {"maxBadRatio": "100%"},
                "stream": stream,
                "sync": self.source.sync,
                **dataset,
            }
            for number, stream in enumerate(streams)
        ]
        self.pod.kind = kind
        self.pod.more = {"source": source, "datasets": datasets}
        for adapter in self.adapters:
            for name, keys in adapter.secrets.items():
                secret(self.pod, name, **keys)
        self.pod.prepare()

    @property
    def _replaced(self) -> dict[str, str]:
        implementation = self.source.implementation
        return {} if implementation is None else {self.source.system: implementation}

    def work(self, run_id: str) -> int:
        """Carry the order out in this process; the exit code."""
        log = io.StringIO()
        with contextlib.redirect_stdout(log):
            code = run.main(self.pod.environment(run_id), worker.connectors(self._replaced))
        self._finished(log.getvalue())
        return code

    def _environment(self, run_id: str, step: str, action: str, **environment: str) -> dict[str, str]:
        own = {worker.SOURCES: json.dumps(self._replaced), worker.STEP: step, worker.ACTION: action}
        return self.pod.environment(run_id, PYTHONPATH=str(_TESTS), **own, **environment)

    def start(self, run_id: str, step: str = "", action: str = "kill") -> forks.Worker:
        """Carry it out in a process of its own, which acts at a step as `connectors.contract.worker` says."""
        return forks.start(self._environment(run_id, step, action))

    def wait(self, started: forks.Worker) -> int:
        """Its exit code when it has ended, -9 if it was killed."""
        output, code = started.wait()
        self._finished(output)
        return code

    def killed(self, run_id: str, step: str, action: str = "kill") -> int:
        """Start it and wait for its end."""
        return self.wait(self.start(run_id, step, action))

    def measured(self, run_id: str, **environment: str) -> int:
        """Carry it out in a process that has imported what it needs and nothing else; the exit code."""
        finished = subprocess.run(
            [sys.executable, "-m", "connectors.contract.worker"],
            env=self._environment(run_id, "", "", **environment),
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            timeout=240,
            check=False,
        )
        self._finished(finished.stdout.decode())
        return finished.returncode

    def _finished(self, output: str) -> None:
        """Nothing secret may be in anything that a worker has let out."""
        self.output = output
        print(output, end="")
        left = self.pod.root / "dev/termination-log"
        shown = output + (left.read_text(encoding="utf-8") if left.exists() else "")
        for adapter in self.adapters:
            assert not any(text in shown for text in adapter.hidden), "a secret was shown"

    @property
    def peak_memory(self) -> int:
        """MiB that the newest worker of a process of its own had at most."""
        return memory.printed(self.output)

    def port(self) -> Source:
        """The Source itself, as an order describes it."""
        order = RunOrder.model_validate(self.pod.order())
        assert order.source is not None
        connectors = worker.connectors(self._replaced)
        return connectors.source_of(order.source, here(self.pod.environment("port")))

    def report(self, run_id: str) -> RunReport:
        """The report that the newest worker has left."""
        return reports.with_details(self.pod.report(run_id), self.output)

    def rows(self, number: int = 0, suffix: str = "") -> list[Json]:
        """The rows of the Dataset with this number, or of its quarantine."""
        table = f"d{number}{suffix}"
        return self.pod.rows(table, lineage=True) if self.store is None else self.store.rows(table)

    def loaded(self) -> list[list[int]]:
        """The ids in the table of each stream, in order."""
        return [sorted(row["id"] for row in self.rows(number)) for number in range(len(self.source.streams))]

    def fill(self, count: int) -> None:
        """Let each stream have so many rows."""
        for stream in self.source.streams:
            self.source.fill(stream, words(stream, count))

    def add(self, count: int, start: int) -> None:
        """Let each stream have so many rows more."""
        for stream in self.source.streams:
            self.source.add(stream, words(stream, count, start))

    def expected(self, count: int) -> list[list[int]]:
        """What `loaded` is when each row is there once."""
        return [[*range(count)] for _ in self.source.streams]


def a_rig(root: Path, source: SourceAdapter, store: StoreAdapter | None = None) -> Rig:
    """A rig in this folder."""
    return Rig(a_pod(root), source, store)


@contextmanager
def reading(adapter: type[SourceAdapter], root: Path, count: int = 25) -> Iterator[Rig]:
    """A rig over a running Source, whose streams have so many rows, and whose order is prepared."""
    pod = a_pod(root)
    with adapter.running(root) as source:
        rig = Rig(pod, source)
        rig.fill(count)
        rig.prepare()
        yield rig
