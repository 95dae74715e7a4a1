"""Workers that are killed, or that are two: whatever happens to them, each row is there once.

PENSTOCK_KILLS says how many workers of each system are killed at random instants; `make kills` kills 50.
"""

import os
import random
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from connectors.contract.adapters import SOURCES, STORES, TARGETS, SourceAdapter, StoreAdapter, TargetAdapter
from connectors.contract.deliveries import delivering
from connectors.contract.rig import Rig, reading
from penstock.runs import places
from penstock.worker import steps
from worker.pods import a_pod

KILLS = int(os.environ.get("PENSTOCK_KILLS", "5"))

_WHOLE = {name: each for name, each in SOURCES.items() if not each.another_login}
each_source = pytest.mark.parametrize("adapter", _WHOLE.values(), ids=_WHOLE)
each_store = pytest.mark.parametrize("adapter", STORES.values(), ids=STORES)
each_target = pytest.mark.parametrize("adapter", TARGETS.values(), ids=TARGETS)
at_each_step = pytest.mark.parametrize("step", steps.STEPS)
many = pytest.mark.timeout(120 + 30 * KILLS)
Source = type[SourceAdapter]
Store = type[StoreAdapter]
Target = type[TargetAdapter]


@contextmanager
def loading(adapter: Store, root: Path, count: int) -> Iterator[Rig]:
    """A worker that loads two streams, each of which can be read once, into the store."""
    pod = a_pod(root)
    with SOURCES["read-once"].running(root) as source, adapter.running(root) as store:
        rig = Rig(pod, source, store)
        rig.fill(count)
        rig.prepare()
        yield rig


def kill_at_random_instants(rig: Rig, name: str, finished: Callable[[], None]) -> int:
    """Kill KILLS workers between the claim and the end of a run; how many runs have succeeded before the newest.

    `finished` is called after each run that has ended before it was killed, which then is followed by another.
    """
    begun = time.monotonic()
    assert rig.work("r0") == 0
    whole = time.monotonic() - begun
    finished()
    chance, killed, runs = random.Random(name), 0, 1
    while killed < KILLS:
        code = rig.killed(f"r{runs}", "claimed", f"kill after {chance.uniform(0, whole):.4f}")
        assert code in (places.EXIT_DONE, -9), rig.output
        killed += code == -9
        if code == places.EXIT_DONE:
            finished()
            runs += 1
    assert rig.work(f"r{runs}") == 0
    return runs


def kill_while_rows_come(rig: Rig, name: str, count: int) -> int:
    """Kill workers as above, with a row more after each run that ends; how many rows there are then."""
    counts = [count]

    def add() -> None:
        rig.add(1, counts[-1])
        counts.append(counts[-1] + 1)

    kill_at_random_instants(rig, name, add)
    return counts[-1]


def load_from_two_workers(rig: Rig) -> None:
    """Two workers carry one run out: one of them at least succeeds, the other may be told to try again."""
    codes = [rig.wait(worker) for worker in [rig.start("r1") for _ in range(2)]]
    assert 0 in codes
    assert {*codes} <= {places.EXIT_DONE, places.EXIT_AGAIN}


@at_each_step
@each_source
def test_a_source_killed_at_any_step(adapter: Source, step: str, tmp_path: Path) -> None:
    with reading(adapter, tmp_path) as rig:
        assert rig.killed("r1", step) == -9
        assert rig.work("r1") == 0
        assert rig.loaded() == rig.expected(25)
        rig.add(3, 25)
        assert rig.work("r2") == 0
        assert rig.loaded() == rig.expected(28)
        rig.source.acknowledged()


@many
@each_source
def test_a_source_killed_at_random_instants(adapter: Source, tmp_path: Path) -> None:
    """There is a row more after each run that ends."""
    with reading(adapter, tmp_path, 400) as rig:
        count = kill_while_rows_come(rig, adapter.__name__, 400)
        assert rig.loaded() == rig.expected(count)
        rig.source.acknowledged()


@each_source
def test_a_source_with_two_workers_of_one_run(adapter: Source, tmp_path: Path) -> None:
    with reading(adapter, tmp_path, 400) as rig:
        load_from_two_workers(rig)
        assert rig.loaded() == rig.expected(400)


@at_each_step
@each_store
def test_a_store_killed_at_any_step(adapter: Store, step: str, tmp_path: Path) -> None:
    with loading(adapter, tmp_path, 25) as rig:
        assert rig.killed("r1", step) == -9
        assert rig.work("r1") == 0
        assert rig.loaded() == rig.expected(25)
        assert rig.store is not None
        assert rig.store.staged() == 0


@many
@each_store
def test_a_store_killed_at_random_instants(adapter: Store, tmp_path: Path) -> None:
    """There is a row more after each run that ends."""
    with loading(adapter, tmp_path, 400) as rig:
        count = kill_while_rows_come(rig, adapter.__name__, 400)
        assert rig.loaded() == rig.expected(count)


@each_store
def test_a_store_with_two_workers_of_one_run(adapter: Store, tmp_path: Path) -> None:
    with loading(adapter, tmp_path, 400) as rig:
        load_from_two_workers(rig)
        assert rig.loaded() == rig.expected(400)


@each_store
def test_a_worker_that_was_taken_over_leaves_the_rest_to_its_successor(adapter: Store, tmp_path: Path) -> None:
    """Else two workers could take each other's Datasets, and both would fail."""
    with loading(adapter, tmp_path, 25) as rig:
        folder = tmp_path / "step"
        folder.mkdir()
        first = rig.start("r1", "claimed", f"wait {folder}")
        while not (folder / "waiting").exists():
            assert first.poll() is None
            time.sleep(0.02)
        assert rig.wait(rig.start("r1")) == places.EXIT_DONE
        (folder / "go").touch()
        assert rig.wait(first) == places.EXIT_AGAIN
        [report] = rig.report("r1").datasets
        assert (report.name, report.reason) == ("d0", "LeaseHeld")
        assert rig.loaded() == rig.expected(25)


@pytest.mark.parametrize("step", steps.DELIVERY_STEPS)
@each_target
def test_a_target_killed_at_any_step(adapter: Target, step: str, tmp_path: Path) -> None:
    with delivering(adapter, tmp_path) as rig:
        assert rig.killed("d1", step) == -9
        rig.prepare()
        rig.add(5, 25)
        assert rig.work("more") == 0, "what is loaded meanwhile changes nothing of the batch once it is recorded"
        rig.prepare_delivery()
        assert rig.work("d1") == 0
        rig.require([*range(30 if step == "claimed" else 25)])


@many
@each_target
def test_a_target_killed_at_random_instants(adapter: Target, tmp_path: Path) -> None:
    with delivering(adapter, tmp_path, 400) as rig:
        runs = kill_at_random_instants(rig, adapter.__name__, lambda: None)
        rig.require([*range(400)], times=runs + 1)


@each_target
def test_a_target_with_two_workers_of_one_run(adapter: Target, tmp_path: Path) -> None:
    with delivering(adapter, tmp_path, 400) as rig:
        load_from_two_workers(rig)
        rig.require([*range(400)])
