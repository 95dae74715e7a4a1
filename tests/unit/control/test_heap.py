"""The garbage collector passes over what the store holds, and still collects garbage."""

import gc
import weakref
from collections.abc import Iterator

import pytest

from penstock.control import heap
from penstock.control.heap import Heap


@pytest.fixture(autouse=True)
def _collector() -> Iterator[None]:
    yield
    gc.unfreeze()
    gc.enable()


class Cycle:
    """Refers to itself, so that only the collector can free it."""

    def __init__(self) -> None:
        self.me = self


class Clock:
    """Says that a collection took as long as the test wants."""

    def __init__(self) -> None:
        self.now = 0.0
        self.step = 0.0

    def __call__(self) -> float:
        self.now += self.step
        return self.now


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def loaded(clock: Clock) -> Iterator[Heap]:
    heap = Heap(clock)
    heap.begin_loading()
    heap.loaded()
    yield heap
    heap.end()


def test_nothing_is_collected_while_everything_is_loaded_and_all_of_it_is_set_aside_then() -> None:
    loading = Heap()
    loading.begin_loading()
    assert not gc.isenabled()
    before = gc.get_freeze_count()
    loading.loaded()
    assert gc.isenabled()
    assert gc.get_freeze_count() > before
    loading.end()


@pytest.mark.usefixtures("loaded")
def test_garbage_that_is_made_afterwards_is_collected() -> None:
    garbage = weakref.ref(Cycle())
    gc.collect()
    assert garbage() is None


@pytest.mark.usefixtures("loaded")
def test_what_survives_a_costly_full_collection_is_set_aside_and_after_a_cheap_one_it_is_not(clock: Clock) -> None:
    kept = [[number] for number in range(1000)]
    clock.step = heap.COSTLY_SECONDS / 2
    before = gc.get_freeze_count()
    gc.collect(2)
    assert gc.get_freeze_count() <= before
    clock.step = 2 * heap.COSTLY_SECONDS
    gc.collect(1)
    assert gc.get_freeze_count() <= before
    gc.collect(2)
    assert gc.get_freeze_count() >= before + len(kept)


def test_garbage_among_what_was_set_aside_is_looked_for_after_many_times(loaded: Heap, clock: Clock) -> None:
    clock.step = 2 * heap.COSTLY_SECONDS
    cycle = Cycle()
    garbage = weakref.ref(cycle)
    gc.collect()
    del cycle
    for _ in range(heap.TIMES - 1):
        assert not loaded.overdue
        gc.collect()
    assert loaded.overdue
    assert garbage() is not None
    loaded.clean()
    assert garbage() is None
    assert not loaded.overdue


def test_objects_that_replace_others_do_not_make_the_young_generation_grow(loaded: Heap) -> None:
    kept = [[number] for number in range(20_000)]
    gc.collect()
    for number in range(len(kept)):
        kept[number] = [number]  # one container is made and one is freed, so Python sees no reason to collect
        if number % 1000 == 0:
            loaded.collect_young()
    assert len(gc.get_objects(generation=0)) + len(gc.get_objects(generation=1)) < 10_000


def test_it_leaves_the_collector_as_it_was() -> None:
    callbacks, thresholds = len(gc.callbacks), gc.get_threshold()
    loading = Heap()
    loading.begin_loading()
    loading.loaded()
    assert gc.get_threshold() != thresholds
    loading.end()
    assert gc.isenabled()
    assert gc.get_freeze_count() == 0
    assert (len(gc.callbacks), gc.get_threshold()) == (callbacks, thresholds)
