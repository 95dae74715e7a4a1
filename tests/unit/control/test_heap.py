"""The garbage collector passes over what the store holds, and still collects garbage."""

import gc
import weakref
from collections.abc import Iterator

import pytest

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


def test_nothing_is_collected_while_everything_is_loaded_and_all_of_it_is_set_aside_then() -> None:
    heap = Heap()
    heap.begin_loading()
    assert not gc.isenabled()
    before = gc.get_freeze_count()
    heap.loaded(1000)
    assert gc.isenabled()
    assert gc.get_freeze_count() > before


def test_garbage_that_is_made_afterwards_is_collected() -> None:
    heap = Heap()
    heap.loaded(1000)
    garbage = weakref.ref(Cycle())
    gc.collect()
    assert garbage() is None


def test_it_is_set_aside_again_only_after_it_has_grown() -> None:
    heap = Heap()
    heap.loaded(1000)
    count = gc.get_freeze_count()
    kept = [[number] for number in range(1000)]
    heap.loaded(1100)
    assert gc.get_freeze_count() <= count
    heap.loaded(1300)
    assert gc.get_freeze_count() >= count + len(kept)


def test_it_leaves_the_collector_as_it_was() -> None:
    heap = Heap()
    heap.begin_loading()
    heap.loaded(10)
    heap.end()
    assert gc.isenabled()
    assert gc.get_freeze_count() == 0
