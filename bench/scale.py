"""What a reconciliation costs beside 100, 1,000 and 5,000 objects of each kind, and the longest block of the work loop.

    python -m bench.scale [PIPELINES]    for the second part; 2,000 by default

The API server is one in memory, in the same process and loop, so the block includes its part. CPU times are of this
process. `bench.controlplane` measures on a real API server.
"""

import asyncio
import sys
import time
from collections.abc import Callable
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent.parent / "tests"))

from penstock.api.objects import Key
from penstock.control.cluster.port import Listing, Manifest, Ref
from penstock.control.controller import Controller
from penstock.control.heartbeat import Heartbeat
from penstock.control.reconcile import World, reconcile
from penstock.control.settings import Settings
from support import manifests, scene
from support.fakecluster import FakeCluster
from support.scene import Scene

COUNTS = (100, 1000, 5000)
SAMPLE = 40
MAKE: dict[str, Callable[[int], Manifest]] = {
    "Source": lambda n: manifests.source(f"x{n}"),
    "Destination": lambda n: manifests.outbox(f"x{n}", suffix=f"{n}/"),
    "Dataset": lambda n: manifests.dataset(f"x{n}"),
    "Pipeline": lambda n: manifests.pipeline(f"x{n}", runNonce="", schedule=["0 3 * * *"]),
    "Subscription": lambda n: manifests.subscription(f"x{n}", settings={"suffix": f"{n}"}),
}


class Quick(FakeCluster):
    """Its lists copy and sort nothing: a real one is decoded page by page."""

    async def list(self, kind: str, namespace: str | None, selector: str) -> Listing:  # noqa: ARG002 - there are no other objects
        items = [item for ref, item in self._objects.items() if ref.kind == kind]
        return Listing(items, str(self._version))


def _stage() -> Scene:
    stage = Scene(Quick())
    stage.apply(manifests.source(), manifests.lake(), manifests.dataset(), manifests.outbox(), manifests.pipeline())
    stage.settle()
    return stage


def _cost(stage: Scene, keys: list[Key]) -> float:
    """Milliseconds of CPU for the reconciliation of one of `keys`."""
    world = World(stage.cluster, stage.store, stage.settings)

    async def run() -> None:
        for key in keys:
            await reconcile(key, world, stage.now)

    began = time.process_time()
    asyncio.run(run())
    return (time.process_time() - began) / len(keys) * 1000


def _costs() -> None:
    print("milliseconds of CPU for one reconciliation, new / unchanged, beside so many of its kind")
    print(f"{'':<14}" + "".join(f"{count:>16,}" for count in COUNTS))
    for kind, make in MAKE.items():
        cells = []
        for count in COUNTS:
            stage = _stage()
            stage.apply(*(make(number) for number in range(count)))
            stage.see()
            keys = [Key(kind, "default", f"x{number}") for number in range(0, count, count // SAMPLE)]  # type: ignore[arg-type]
            new = _cost(stage, keys)
            _cost(stage, keys)
            cells.append(f"{new:.1f} / {_cost(stage, keys):.1f}")
        print(f"{kind:<14}" + "".join(f"{cell:>16}" for cell in cells), flush=True)


def _cluster() -> Quick:
    """The quickstart, inspected and with its table made."""
    cluster = Quick()
    vars(cluster).update(vars(scene.ready().cluster))
    return cluster


async def _blocks(cluster: Quick, count: int) -> None:
    """One Source, one Dataset, one lake, and `count` Pipelines and Subscriptions that refer to them."""
    for number in range(count):
        cluster.put(MAKE["Pipeline"](number))
    for number in range(count // 4):
        cluster.put(manifests.outbox(f"x{number}", suffix=f"{number}/"))
        cluster.put(manifests.subscription(f"x{number}", destinationRef={"name": f"x{number}"}))
    controller = Controller(cluster, Settings(sweep_seconds=1e9))
    running = asyncio.create_task(controller.run())
    print(
        f"{count:,} Pipelines of one Source, {count // 4:,} Subscriptions and Destinations: longest block of the loop"
    )
    await _watched("all are new", controller)
    controller.seen(cluster.put(manifests.source(glob="*.tsv")))
    await _watched("the Source changes", controller)
    lake = Ref("Destination", "default", "lake")
    controller.seen(cluster.change(lake, {"metadata": {"labels": {"team": "blue"}}}))
    await _watched("a label of the lake changes", controller)
    sweeping = asyncio.create_task(controller.sweep())
    await _watched("sweep", controller, sweeping)
    running.cancel()


async def _watched(what: str, controller: Controller, work: "asyncio.Task[None] | None" = None) -> None:
    heartbeat = Heartbeat()
    beating = asyncio.create_task(heartbeat.keep())
    began, cpu = time.monotonic(), time.process_time()
    calm = 0
    while calm < 5:
        await asyncio.sleep(0.05)
        busy = not controller.queue.idle or not controller.synced.is_set() or (work is not None and not work.done())
        calm = 0 if busy else calm + 1
    beating.cancel()
    block, block_cpu = heartbeat.longest_block * 1000, heartbeat.longest_block_cpu * 1000
    took, used = time.monotonic() - began, time.process_time() - cpu
    print(
        f"    {what:<30} {took:6.1f} s  {used:6.1f} s of CPU   block {block:5.0f} ms ({block_cpu:.0f} ms of CPU)",
        flush=True,
    )


def main(count: int = 2000) -> None:
    """Print both tables."""
    _costs()
    asyncio.run(_blocks(_cluster(), count))


if __name__ == "__main__":
    main(*(int(word) for word in sys.argv[1:]))
