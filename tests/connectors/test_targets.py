"""The contract of every Target: a receiver who goes by its guarantee reads each batch once, whatever is killed."""

import os
import random
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from connectors.contract.adapters import SOURCES, TARGETS, Adapter, Fault, Json, TargetAdapter
from connectors.contract.rig import Rig
from penstock.connectors import registry
from penstock.runs import places
from penstock.worker import steps
from worker.pods import a_pod

KILLS = int(os.environ.get("PENSTOCK_KILLS", "3"))
MISSING: set[str] = set()
"""Targets of the registry that are not in the suite yet."""

every = pytest.mark.parametrize("adapter", TARGETS.values(), ids=TARGETS)


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
            self.pod.more = {"datasets": more["datasets"][:1], "delivery": {"destination": destination}}
        else:
            self.pod.more = {"destination": destination, "datasets": [], "source": None}
        self.pod.prepare()

    def received(self) -> list[list[int]]:
        """The ids of each batch."""
        return sorted(sorted(row["id"] for row in batch) for batch in self.target.batches())


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


def test_every_target_of_the_registry_is_in_the_suite() -> None:
    there = {name for name, spec in registry.DESTINATIONS.items() if spec.traits.target} - MISSING
    assert {each.system for each in TARGETS.values()} == there
    assert all(each.faults for each in TARGETS.values())


@pytest.mark.parametrize(
    ("adapter", "fault"),
    [
        pytest.param(each, fault, id=f"{name}-{fault.name.replace(' ', '-')}")
        for name, each in TARGETS.items()
        for fault in each.faults
    ],
)
def test_what_is_wrong_is_said_before_and_during_a_delivery(
    adapter: type[TargetAdapter], fault: Fault, tmp_path: Path
) -> None:
    with delivering(adapter, tmp_path) as rig:
        fault.bring_about(rig.target)
        for run_id, kind in (("check", "inspect-destination"), ("d1", "deliver")):
            rig.prepare_delivery(kind)
            assert rig.work(run_id) in (places.EXIT_CONFIGURATION, places.EXIT_AGAIN)
            assert rig.report(run_id).reason == fault.reason


@pytest.mark.parametrize("count", [1, 25, 3000])
@every
def test_each_run_delivers_a_batch_once(adapter: type[TargetAdapter], count: int, tmp_path: Path) -> None:
    with delivering(adapter, tmp_path, count) as rig:
        for run_id in ("d1", "d1", "d2"):
            assert rig.work(run_id) == 0
        assert rig.received() == [[*range(count)]] * 2


@pytest.mark.parametrize("step", steps.DELIVERY_STEPS)
@every
def test_killed_at_any_step_the_batch_is_there_once(adapter: type[TargetAdapter], step: str, tmp_path: Path) -> None:
    with delivering(adapter, tmp_path) as rig:
        assert rig.killed("d1", step) == -9
        rig.prepare()
        rig.add(5, 25)
        assert rig.work("more") == 0, "what is loaded meanwhile changes nothing of the batch once it is recorded"
        rig.prepare_delivery()
        assert rig.work("d1") == 0
        [batch] = rig.received()
        assert batch == [*range(30 if step == "claimed" else 25)]


@pytest.mark.timeout(60 + 60 * KILLS)
@every
def test_killed_at_random_instants_each_batch_is_there_once(adapter: type[TargetAdapter], tmp_path: Path) -> None:
    with delivering(adapter, tmp_path, 400) as rig:
        begun = time.monotonic()
        assert rig.work("d0") == 0
        whole = time.monotonic() - begun
        chance, killed, number = random.Random(adapter.__name__), 0, 1
        while killed < KILLS:
            code = rig.killed(f"d{number}", "claimed", f"kill after {chance.uniform(0, whole):.4f}")
            assert code in (0, -9), rig.output
            killed += code == -9
            number += code == 0
        assert rig.work(f"d{number}") == 0
        assert rig.received() == [[*range(400)]] * (number + 1)


@every
def test_two_workers_of_one_run_deliver_once(adapter: type[TargetAdapter], tmp_path: Path) -> None:
    with delivering(adapter, tmp_path, 400) as rig:
        codes = [rig.wait(worker) for worker in [rig.start("d1") for _ in range(2)]]
        assert 0 in codes
        assert {*codes} <= {places.EXIT_DONE, places.EXIT_AGAIN}
        assert rig.received() == [[*range(400)]]
