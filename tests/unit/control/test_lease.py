"""The Lease has one holder: it is renewed, given up, taken over when it ran out, and lost rather than shared."""

import asyncio
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field, replace

import pytest

from penstock.control import lease
from penstock.control.cluster.port import Manifest, Ref, Unavailable
from penstock.control.lease import Lease
from penstock.control.probes import Health
from penstock.control.settings import Election
from support.fakecluster import Call, FakeCluster

REF = Ref("Lease", "penstock-system", "penstock-operator")
MINE = Election("penstock-system", identity="mine", lease_duration=1, renew_deadline=0.15, retry_period=0.01)
OTHER = replace(MINE, identity="other")
PATCH = Call("patch", REF)


@dataclass
class Told:
    """A cluster, and two operators that would act on it."""

    cluster: FakeCluster = field(default_factory=FakeCluster)
    health: Health = field(default_factory=Health)

    def __post_init__(self) -> None:
        self.mine, self.other = Lease(self.cluster, MINE), Lease(self.cluster, OTHER)

    @property
    def spec(self) -> Manifest:
        found: Manifest = self.cluster.read(REF)["spec"]
        return found


def _run(story: Callable[[Told], Awaitable[None]]) -> None:
    async def run() -> None:
        async with asyncio.timeout(5):
            await story(Told())

    asyncio.run(run())


async def _holds_still(task: "asyncio.Task[None]") -> bool:
    await asyncio.sleep(0.1)
    return not task.done()


def test_the_first_one_makes_it_and_the_second_stands_by() -> None:
    async def story(told: Told) -> None:
        await told.mine.acquire(told.health)
        assert (told.spec["holderIdentity"], told.spec["leaseDurationSeconds"]) == ("mine", 1)
        waiting = asyncio.create_task(told.other.acquire(told.health))
        assert await _holds_still(waiting)
        assert (told.health.told, told.health.ready) == (
            "stands by: mine holds the Lease penstock-system/penstock-operator",
            True,
        )
        waiting.cancel()

    _run(story)


def test_it_is_not_taken_over_while_it_is_renewed_however_long_that_lasts() -> None:
    async def story(told: Told) -> None:
        await told.mine.acquire(told.health)
        keeping = asyncio.create_task(told.mine.keep())
        waiting = asyncio.create_task(told.other.acquire(told.health))
        await asyncio.sleep(1.5)
        assert not waiting.done()
        keeping.cancel()
        await waiting
        assert (told.spec["holderIdentity"], told.spec["leaseTransitions"]) == ("other", 1)

    _run(story)


def test_it_is_free_at_once_when_it_was_given_up() -> None:
    async def story(told: Told) -> None:
        await told.mine.acquire(told.health)
        await told.mine.release()
        assert told.spec["holderIdentity"] == ""
        await asyncio.wait_for(told.other.acquire(told.health), 0.5)
        assert told.spec["holderIdentity"] == "other"

    _run(story)


def test_who_comes_back_under_its_name_goes_on_at_once() -> None:
    async def story(told: Told) -> None:
        await told.mine.acquire(told.health)
        await asyncio.wait_for(Lease(told.cluster, MINE).acquire(told.health), 0.5)
        assert told.spec["leaseTransitions"] == 0

    _run(story)


def test_of_two_that_take_it_at_the_same_time_one_gets_it() -> None:
    async def story(told: Told) -> None:
        await told.mine.acquire(told.health)
        await told.mine.release()
        tasks = [asyncio.create_task(one.acquire(told.health)) for one in (told.mine, told.other)]
        done, pending = await asyncio.wait(tasks, timeout=0.3)
        assert (len(done), len(pending)) == (1, 1)
        for task in pending:
            task.cancel()

    _run(story)


def test_a_holder_that_cannot_renew_in_time_has_lost_it_before_it_runs_out() -> None:
    async def story(told: Told) -> None:
        await told.mine.acquire(told.health)
        keeping = asyncio.create_task(told.mine.keep())
        assert await _holds_still(keeping)
        told.cluster.refuse[PATCH] = Unavailable(0, "ConnectionFailed", "the API server does not answer")
        with pytest.raises(lease.Lost, match="could not be renewed in time: the API server does not answer"):
            await asyncio.wait_for(keeping, 0.5)

    _run(story)


def test_a_short_silence_of_the_api_server_loses_nothing() -> None:
    async def story(told: Told) -> None:
        await told.mine.acquire(told.health)
        keeping = asyncio.create_task(told.mine.keep())
        told.cluster.refuse[PATCH] = Unavailable(0, "ConnectionFailed", "the API server does not answer")
        await asyncio.sleep(0.05)
        told.cluster.refuse.clear()
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

    async def story(told: Told) -> None:
        holder = Lease(Hanging(), MINE)
        await holder.acquire(told.health)
        with pytest.raises(lease.Lost, match="does not answer"):
            await asyncio.wait_for(holder.keep(), 1)

    _run(story)


def test_it_is_lost_when_somebody_else_holds_it() -> None:
    async def story(told: Told) -> None:
        await told.mine.acquire(told.health)
        told.cluster.change(REF, {"spec": {"holderIdentity": "other"}})
        with pytest.raises(lease.Lost, match="is held by other now"):
            await asyncio.wait_for(told.mine.keep(), 0.5)

    _run(story)


def test_a_label_on_it_or_its_deletion_changes_nothing() -> None:
    async def story(told: Told) -> None:
        await told.mine.acquire(told.health)
        keeping = asyncio.create_task(told.mine.keep())
        told.cluster.change(REF, {"metadata": {"labels": {"team": "blue"}}})
        assert await _holds_still(keeping)
        told.cluster.remove(REF)
        assert await _holds_still(keeping)
        assert told.spec["holderIdentity"] == "mine"
        keeping.cancel()

    _run(story)
