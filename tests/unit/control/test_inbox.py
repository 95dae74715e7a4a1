"""Objects cross from the thread of the watch into the work loop, in order, without blocking it."""

import asyncio
import threading
import time

from penstock.control.cluster.port import Manifest
from penstock.control.heartbeat import Heartbeat
from penstock.control.inbox import Inbox
from penstock.control.pace import Pace


def test_what_a_thread_hands_over_is_taken_in_order_by_the_loop() -> None:
    async def run() -> list[tuple[int, bool, bool]]:
        taken: list[tuple[int, bool, bool]] = []
        here = threading.current_thread()

        def take(manifest: Manifest, deleted: bool) -> None:
            taken.append((manifest["number"], deleted, threading.current_thread() is here))

        inbox = Inbox(take, Pace())
        keeping = asyncio.create_task(inbox.keep())

        def report() -> None:
            for number in range(1000):
                inbox.put({"number": number}, deleted=number % 2 == 1)
                if number % 100 == 0:
                    time.sleep(0.001)  # so that the loop has taken all there was, and waits

        thread = threading.Thread(target=report)
        thread.start()
        async with asyncio.timeout(10):
            while len(taken) < 1000:  # noqa: ASYNC110 - the thread must get the processor meanwhile
                await asyncio.sleep(0.001)
        thread.join()
        keeping.cancel()
        return taken

    assert asyncio.run(run()) == [(number, number % 2 == 1, True) for number in range(1000)]


def test_many_objects_at_once_do_not_block_the_loop() -> None:
    async def run() -> tuple[int, float]:
        taken: list[Manifest] = []

        def take(manifest: Manifest, deleted: bool) -> None:
            del deleted
            end = time.thread_time() + 0.0005
            while time.thread_time() < end:
                pass
            taken.append(manifest)

        inbox = Inbox(take, Pace())
        heartbeat = Heartbeat()
        beating = asyncio.create_task(heartbeat.keep())
        for number in range(1000):
            inbox.put({"number": number}, deleted=False)
        keeping = asyncio.create_task(inbox.keep())
        async with asyncio.timeout(30):
            while len(taken) < 1000:  # noqa: ASYNC110 - the thread must get the processor meanwhile
                await asyncio.sleep(0.001)
        beating.cancel()
        keeping.cancel()
        return len(taken), heartbeat.longest_block_cpu

    count, block = asyncio.run(run())
    assert count == 1000
    assert block < 0.1, "half a second of work"


def test_an_object_that_cannot_be_taken_does_not_stop_those_behind_it() -> None:
    async def run() -> list[str]:
        taken = []

        def take(manifest: Manifest, deleted: bool) -> None:
            del deleted
            taken.append(manifest["name"])

        inbox = Inbox(take, Pace())
        inbox.put({}, deleted=False)
        inbox.put({"name": "next"}, deleted=False)
        keeping = asyncio.create_task(inbox.keep())
        await asyncio.sleep(0.05)
        keeping.cancel()
        return taken

    assert asyncio.run(run()) == ["next"]
