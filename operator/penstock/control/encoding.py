"""Orders of thousands of fields, encoded in another thread: in the work loop that would block it for a quarter second.

Compression runs beside the loop; of the rest, which holds Python's lock, no step takes a tenth of a second.
"""

import asyncio

from penstock.runs.order import RunOrder

LARGE = 1000
"""How many fields an order has at least that is encoded in another thread; fewer take less than 20 ms."""


async def prepare(order: RunOrder | None) -> None:
    """Return when the order's JSON, digest and compressed form are made; at once where they are made quickly."""
    if order is not None and _fields(order) >= LARGE and "compressed" not in order.__dict__:
        await asyncio.to_thread(_encode, order)


def _fields(order: RunOrder) -> int:
    return sum(len(dataset.schema_.fields) for dataset in order.datasets)


def _encode(order: RunOrder) -> tuple[str, bytes]:
    return order.digest, order.compressed
