"""Large orders are encoded beside the work loop."""

import asyncio
import threading
from typing import Any

import pytest

from penstock.control import encoding
from penstock.control.desired import orders
from penstock.runs.order import RunOrder
from support import manifests, scene


def _order(fields: int, datasets: int) -> RunOrder:
    stage = scene.Scene()
    columns = [{"name": f"field_{number}", "type": "string"} for number in range(fields)]
    stage.apply(manifests.source(), manifests.lake())
    for number in range(datasets):
        stage.apply(manifests.dataset(f"d{number}", schema={"fields": columns}))
    entries = [{"datasetRef": {"name": f"d{number}"}, "sync": "incremental"} for number in range(datasets)]
    stage.apply(manifests.pipeline(datasets=entries))
    order = orders.of(stage.graph("Pipeline", "cities"))
    assert order is not None
    return order


class Recorded(RunOrder):
    """An order that records in which thread it is encoded."""

    def to_object(self) -> dict[str, Any]:
        object.__setattr__(self, "__thread", threading.current_thread())
        return super().to_object()


@pytest.mark.parametrize(("fields", "datasets", "beside"), [(3, 2, False), (100, 2, False), (500, 2, True)])
def test_orders_of_many_fields_are_encoded_in_another_thread(fields: int, datasets: int, beside: bool) -> None:
    order = Recorded(**{name: getattr(_order(fields, datasets), name) for name in RunOrder.model_fields})
    asyncio.run(encoding.prepare(order))
    assert ("compressed" in order.__dict__) == beside
    order.compress()
    assert (order.__dict__["__thread"] is not threading.main_thread()) == beside


def test_no_order_needs_no_encoding() -> None:
    asyncio.run(encoding.prepare(None))


def test_the_loop_runs_while_an_order_of_16_datasets_is_encoded() -> None:
    order, turns = _order(1000, 16), 0

    async def count() -> None:
        nonlocal turns
        while True:
            await asyncio.sleep(0.001)
            turns += 1

    async def run() -> None:
        counting = asyncio.create_task(count())
        await encoding.prepare(order)
        counting.cancel()

    asyncio.run(run())
    assert turns > 1
    assert len(order.compressed) > 1000
