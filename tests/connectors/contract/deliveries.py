"""A rig whose first Dataset is delivered to a Target."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from connectors.contract.adapters import SOURCES, Adapter, Json, TargetAdapter
from connectors.contract.rig import Rig
from worker.pods import a_pod


class Deliveries(Rig):
    """A rig whose Dataset is delivered."""

    target: TargetAdapter

    @property
    def adapters(self) -> list[Adapter]:
        """Whose Secrets the Pod has."""
        return [*super().adapters, self.target]

    def prepare_delivery(self, kind: str = "deliver") -> None:
        """Write the order to deliver the first Dataset."""
        self.prepare(kind=kind)
        destination: Json = {"name": "partner", "connector": {self.target.system: self.target.connector}}
        destination |= {"auth": self.target.auth} if self.target.auth else {}
        more = self.pod.more or {}
        if kind == "deliver":
            self.pod.more = {
                "datasets": more["datasets"][:1],
                "delivery": {"destination": destination, **self.target.settings},
            }
        else:
            self.pod.more = {"destination": destination, "datasets": [], "source": None}
        self.pod.prepare()

    def received(self) -> list[list[int]]:
        """The ids of each batch."""
        return sorted(sorted(row["id"] for row in batch) for batch in self.target.batches())

    def require(self, batch: list[int], times: int = 1) -> None:
        """Assert that this batch was delivered, so many times, and nothing else."""
        assert self.target.delivered() == times
        assert self.received() == [batch] * (1 if self.target.replaces else times)


@contextmanager
def delivering(adapter: type[TargetAdapter], root: Path, count: int = 25) -> Iterator[Deliveries]:
    """A Dataset with so many rows, and the order to deliver it."""
    pod = a_pod(root)
    with SOURCES["read-once"].running(root) as source, adapter.running(root) as target:
        rig = Deliveries(pod, source)
        rig.target = target
        rig.fill(count)
        rig.prepare()
        assert rig.work("load") == 0
        rig.prepare_delivery()
        yield rig
