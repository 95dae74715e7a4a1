"""A Pod's process and its children end with the task that runs them, at whatever instant that is cancelled."""

import asyncio
import contextlib
import os
import random
from pathlib import Path

from embedded import harness
from localkube import podprocess
from localkube.podfolder import Command


def test_no_process_is_left_when_a_start_is_cancelled_at_any_instant(tmp_path: Path) -> None:
    mark = f"37.{os.getpid()}"  # a number of seconds that no other process sleeps
    command = Command(["sh", "-c", f"sleep {mark}; true"], {"PATH": os.environ["PATH"]}, tmp_path)
    chance = random.Random(1)

    async def run(folder: Path) -> None:
        async with podprocess.running(command, folder) as process:
            await process.wait()

    async def cancel_many() -> None:
        for number in range(60):
            (folder := tmp_path / str(number)).mkdir()
            task = asyncio.create_task(run(folder))
            while number % 2 and not podprocess.has_started(folder):  # noqa: ASYNC110 - every other one while it runs
                await asyncio.sleep(0.001)
            await asyncio.sleep(chance.uniform(0.0, 0.02))
            task.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await task
            harness.until(lambda: not [*harness.processes_named(mark)], 5)

    asyncio.run(cancel_many())
