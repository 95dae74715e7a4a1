"""Work that never waits gives way to everything else in its event loop, by elapsed time."""

import asyncio

from penstock.control import pace
from penstock.control.pace import Pace


def test_each_turn_of_the_loop_has_work_for_a_limited_time_however_many_work() -> None:
    now = [0.0]
    done = [0]

    async def work(shared: Pace) -> None:
        for _ in range(50):
            await shared.turn()
            now[0] += pace.TURN_SECONDS / 4
            done[0] += 1

    async def run() -> list[int]:
        shared = Pace(lambda: now[0])
        tasks = [asyncio.create_task(work(shared)) for _ in range(8)]
        counts = []
        while not all(task.done() for task in tasks):
            before = done[0]
            await asyncio.sleep(0)
            counts.append(done[0] - before)
        return counts

    counts = asyncio.run(run())
    assert sum(counts) == 8 * 50
    assert max(counts) <= 5, "four pieces fill a turn; one more may have been ready in the same turn of this test"


def test_who_waits_often_anyway_is_not_delayed() -> None:
    async def run() -> int:
        shared, turns = Pace(lambda: 0.0), 0

        async def count() -> None:
            nonlocal turns
            while True:
                turns += 1
                await asyncio.sleep(0)

        counting = asyncio.create_task(count())
        for _ in range(100):
            await shared.turn()
        counting.cancel()
        return turns

    assert asyncio.run(run()) == 0
