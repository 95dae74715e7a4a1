"""The Lease has one holder: it is renewed, given up, taken over when it ran out, and lost rather than shared."""

import asyncio
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import asynccontextmanager
from dataclasses import dataclass, field, replace

import pytest

from penstock.control import lease
from penstock.control.cluster.fence import Fence, Fenced
from penstock.control.cluster.port import Manifest, Ref, Unavailable
from penstock.control.heartbeat import Heartbeat
from penstock.control.lease import Lease
from penstock.control.probes import Health
from penstock.control.settings import Election
from support.fakecluster import Call, FakeCluster

REF = Ref("Lease", "penstock-system", "penstock-operator")
MINE = Election("penstock-system", identity="mine", lease_duration=1, renew_deadline=0.15, retry_period=0.01)
OTHER = replace(MINE, identity="other")
PATCH = Call("patch", REF)


@dataclass
class Stage:
    """A cluster, and two operators that would act on it."""

    cluster: FakeCluster = field(default_factory=FakeCluster)
    health: Health = field(default_factory=Health)
    fence: Fence = field(default_factory=Fence)

    def __post_init__(self) -> None:
        self.mine = Lease(self.cluster, MINE, self.health, self.fence)
        self.other = Lease(self.cluster, OTHER, self.health, Fence())

    @property
    def spec(self) -> Manifest:
        found: Manifest = self.cluster.read(REF)["spec"]
        return found


def _run(story: Callable[[Stage], Awaitable[None]]) -> None:
    async def run() -> None:
        async with asyncio.timeout(5):
            await story(Stage())

    asyncio.run(run())


async def _holds_still(task: "asyncio.Task[None]") -> bool:
    await asyncio.sleep(0.1)
    return not task.done()


def test_the_first_one_makes_it_and_the_second_stands_by() -> None:
    async def story(stage: Stage) -> None:
        await stage.mine.acquire()
        assert (stage.spec["holderIdentity"], stage.spec["leaseDurationSeconds"]) == ("mine", 1)
        waiting = asyncio.create_task(stage.other.acquire())
        assert await _holds_still(waiting)
        assert (stage.health.message, stage.health.ready) == (
            "stands by: mine holds the Lease penstock-system/penstock-operator",
            True,
        )
        waiting.cancel()

    _run(story)


def test_it_is_not_taken_over_while_it_is_renewed_however_long_that_lasts() -> None:
    async def story(stage: Stage) -> None:
        await stage.mine.acquire()
        keeping = asyncio.create_task(stage.mine.keep())
        waiting = asyncio.create_task(stage.other.acquire())
        await asyncio.sleep(1.5)
        assert not waiting.done()
        keeping.cancel()
        await waiting
        assert (stage.spec["holderIdentity"], stage.spec["leaseTransitions"]) == ("other", 1)

    _run(story)


def test_it_is_free_at_once_when_it_was_given_up() -> None:
    async def story(stage: Stage) -> None:
        await stage.mine.acquire()
        await stage.mine.release()
        assert stage.spec["holderIdentity"] == ""
        await asyncio.wait_for(stage.other.acquire(), 0.5)
        assert stage.spec["holderIdentity"] == "other"

    _run(story)


def test_who_comes_back_under_its_name_goes_on_at_once() -> None:
    async def story(stage: Stage) -> None:
        await stage.mine.acquire()
        await asyncio.wait_for(Lease(stage.cluster, MINE, stage.health, stage.fence).acquire(), 0.5)
        assert stage.spec["leaseTransitions"] == 0

    _run(story)


def test_of_two_that_take_it_at_the_same_time_one_gets_it() -> None:
    async def story(stage: Stage) -> None:
        await stage.mine.acquire()
        await stage.mine.release()
        tasks = [asyncio.create_task(one.acquire()) for one in (stage.mine, stage.other)]
        done, pending = await asyncio.wait(tasks, timeout=0.3)
        assert (len(done), len(pending)) == (1, 1)
        for task in pending:
            task.cancel()

    _run(story)


def test_a_holder_that_cannot_renew_in_time_has_lost_it_before_it_runs_out() -> None:
    async def story(stage: Stage) -> None:
        await stage.mine.acquire()
        keeping = asyncio.create_task(stage.mine.keep())
        assert await _holds_still(keeping)
        stage.cluster.refuse[PATCH] = Unavailable(0, "ConnectionFailed", "the API server does not answer")
        with pytest.raises(lease.Lost, match="was not renewed in time: the API server does not answer"):
            await asyncio.wait_for(keeping, 0.5)

    _run(story)


def test_a_short_silence_of_the_api_server_loses_nothing() -> None:
    async def story(stage: Stage) -> None:
        await stage.mine.acquire()
        keeping = asyncio.create_task(stage.mine.keep())
        stage.cluster.refuse[PATCH] = Unavailable(0, "ConnectionFailed", "the API server does not answer")
        await asyncio.sleep(0.05)
        stage.cluster.refuse.clear()
        for _ in range(3):
            assert await _holds_still(keeping)
        keeping.cancel()

    _run(story)


def test_an_api_server_that_hangs_loses_it() -> None:
    @dataclass
    class Hanging(FakeCluster):
        async def patch(self, ref: Ref, patch: Manifest) -> Manifest:
            await asyncio.Event().wait()
            return await super().patch(ref, patch)

    async def story(stage: Stage) -> None:
        holder = Lease(Hanging(), MINE, stage.health, stage.fence)
        await holder.acquire()
        with pytest.raises(lease.Lost, match="does not answer"):
            await asyncio.wait_for(holder.keep(), 1)

    _run(story)


def test_it_is_lost_when_somebody_else_holds_it() -> None:
    async def story(stage: Stage) -> None:
        await stage.mine.acquire()
        stage.cluster.change(REF, {"spec": {"holderIdentity": "other"}})
        with pytest.raises(lease.Lost, match="is held by other now"):
            await asyncio.wait_for(stage.mine.keep(), 0.5)

    _run(story)


def test_a_label_on_it_or_its_deletion_changes_nothing() -> None:
    async def story(stage: Stage) -> None:
        await stage.mine.acquire()
        keeping = asyncio.create_task(stage.mine.keep())
        stage.cluster.change(REF, {"metadata": {"labels": {"team": "blue"}}})
        assert await _holds_still(keeping)
        stage.cluster.remove(REF)
        assert await _holds_still(keeping)
        assert stage.spec["holderIdentity"] == "mine"
        keeping.cancel()

    _run(story)


def test_it_is_not_renewed_while_the_work_loop_is_blocked_and_the_message_says_so() -> None:
    async def story(stage: Stage) -> None:
        beats = [0.0]
        stage.health.heartbeat = Heartbeat(lambda: beats[0])
        await stage.mine.acquire()
        keeping = asyncio.create_task(stage.mine.keep())
        assert await _holds_still(keeping)
        stage.fence.check()
        beats[0] = MINE.heartbeat_limit + 11
        with pytest.raises(lease.Lost, match="not renewed in time: the work loop of this operator has been blocked"):
            await asyncio.wait_for(keeping, 0.5)
        with pytest.raises(Fenced):
            stage.fence.check()

    _run(story)


def test_a_block_that_ends_in_time_loses_nothing() -> None:
    async def story(stage: Stage) -> None:
        beats = [0.0]
        stage.health.heartbeat = Heartbeat(lambda: beats[0])
        await stage.mine.acquire()
        keeping = asyncio.create_task(stage.mine.keep())
        beats[0] = MINE.heartbeat_limit + 1
        await asyncio.sleep(0.05)
        stage.health.heartbeat = Heartbeat()
        for _ in range(3):
            assert await _holds_still(keeping)
        stage.fence.check()
        keeping.cancel()

    _run(story)


def test_the_fence_closes_by_itself_though_nothing_runs_that_could_close_it() -> None:
    now = [0.0]
    fence = Fence(lambda: now[0])
    assert fence.check() > 0
    fence.allow_until(20, 30)
    now[0] = 19.0
    assert fence.check() == 11
    now[0] = 20.0
    with pytest.raises(Fenced):
        fence.check()


def test_a_holder_whose_loop_is_blocked_is_replaced_and_may_not_write_any_more() -> None:
    """The work loop is blocked for three times the Lease's duration: 60 s would be twice that of the defaults."""
    mine = Election("penstock-system", identity="mine", lease_duration=1, renew_deadline=0.6, retry_period=0.05)
    mine = replace(mine, heartbeat_limit=0.3)
    server = SharedCluster()

    def standby() -> tuple[float, bool]:
        """Run another operator in a thread; when it took over, and whether the first could write then."""

        async def wait() -> tuple[float, bool]:
            other = Lease(server, replace(mine, identity="other"), Health(), Fence())
            await other.acquire()
            return time.monotonic(), _may_write(fence)

        return asyncio.run(wait())

    fence = Fence()

    async def first() -> None:
        health = Health()
        beating = asyncio.create_task(health.heartbeat.keep())
        async with lease.leading(server.connect, mine, health, fence) as leading:
            assert leading is not None
            with ThreadPoolExecutor() as threads:
                waiting = threads.submit(standby)
                await asyncio.sleep(1.5)  # longer than the Lease: the holder renews while its loop runs
                assert not waiting.done()
                assert _may_write(fence)
                blocked_at = time.monotonic()
                time.sleep(3)  # noqa: ASYNC251 - what is tested is that this blocks the loop
                taken_at, both = waiting.result(timeout=1)
            assert blocked_at < taken_at < blocked_at + 2.5
            assert not both
            assert not _may_write(fence)
            with pytest.raises(lease.Lost, match="blocked"):
                await asyncio.wait_for(leading, 1)
        beating.cancel()

    asyncio.run(first())
    assert server.read(REF)["spec"]["holderIdentity"] == "other"


def _may_write(fence: Fence) -> bool:
    try:
        fence.check()
    except Fenced:
        return False
    return True


@dataclass
class SharedCluster(FakeCluster):
    """A cluster that operators in several threads use; each request is one step of Python without a pause."""

    @asynccontextmanager
    async def connect(self) -> AsyncIterator[FakeCluster]:
        yield self
