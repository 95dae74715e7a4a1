"""The queue: a key is in work at most once, is never forgotten, and comes back when its time has come."""

import asyncio
from collections.abc import Awaitable, Callable
from dataclasses import dataclass

from penstock.control.workqueue import WorkQueue


@dataclass
class Clock:
    """Seconds that pass when they are told to."""

    now: float = 0.0

    def __call__(self) -> float:
        return self.now


def _run(story: Callable[[WorkQueue[str], Clock], Awaitable[None]]) -> WorkQueue[str]:
    async def told() -> WorkQueue[str]:
        clock = Clock()
        queue: WorkQueue[str] = WorkQueue(clock)
        ticking = asyncio.create_task(queue.tick())
        await story(queue, clock)
        ticking.cancel()
        return queue

    return asyncio.run(told())


async def _next(queue: WorkQueue[str]) -> str | None:
    """The key that is ready once everything that can go on has gone on."""
    for _ in range(5):
        await asyncio.sleep(0)
    return None if not queue._waiting else await queue.get()


def test_a_key_that_waits_is_not_added_twice() -> None:
    async def story(queue: WorkQueue[str], _: Clock) -> None:
        queue.add("a")
        queue.add("a")
        assert await _next(queue) == "a"
        assert await _next(queue) is None

    _run(story)


def test_a_key_that_is_added_while_in_work_is_worked_on_again_afterwards_and_never_twice_at_once() -> None:
    async def story(queue: WorkQueue[str], _: Clock) -> None:
        queue.add("a")
        await queue.get()
        queue.add("a")
        assert await _next(queue) is None
        queue.done("a")
        assert await _next(queue) == "a"
        queue.done("a")
        assert queue.idle

    _run(story)


def test_a_key_set_for_later_comes_when_its_time_has_come() -> None:
    async def story(queue: WorkQueue[str], clock: Clock) -> None:
        queue.add_after("a", 10)
        assert await _next(queue) is None
        clock.now = 10
        queue.add_after("b", 99)  # wakes the clock; the test's own does not run by itself
        assert await _next(queue) == "a"
        assert await _next(queue) is None

    _run(story)


def test_the_newest_time_set_for_a_key_counts() -> None:
    async def story(queue: WorkQueue[str], clock: Clock) -> None:
        queue.add_after("a", 1)
        queue.add_after("a", 50)
        clock.now = 10
        queue.add_after("b", 99)
        assert await _next(queue) is None

    _run(story)


def test_what_is_forgotten_does_not_come() -> None:
    async def story(queue: WorkQueue[str], clock: Clock) -> None:
        queue.add_after("a", 1)
        queue.forget("a")
        clock.now = 10
        queue.add_after("b", 99)
        assert await _next(queue) is None

    _run(story)


def test_a_key_set_for_tomorrow_ten_thousand_times_lies_there_a_few_times() -> None:
    async def story(queue: WorkQueue[str], clock: Clock) -> None:
        for _ in range(10_000):
            clock.now += 1
            queue.add_after("a", 86_400)

    assert len(_run(story)._later) < 100


def test_a_closed_queue_gives_out_nothing_more_and_waits_for_what_is_in_work() -> None:
    async def story(queue: WorkQueue[str], _: Clock) -> None:
        queue.add("a")
        queue.add("b")
        assert await _next(queue) == "a"
        closing = asyncio.create_task(queue.close())
        await asyncio.sleep(0)
        queue.add("c")
        queue.add("a")
        assert not queue._waiting
        assert not closing.done()
        queue.done("a")
        await asyncio.wait_for(closing, 1)
        assert await _next(queue) is None

    _run(story)


def test_a_queue_without_work_closes_at_once() -> None:
    async def story(queue: WorkQueue[str], _: Clock) -> None:
        await asyncio.wait_for(queue.close(), 1)

    _run(story)
