"""Named steps of a run, for tests that end a worker at one of them. In the product nobody observes them."""

from collections.abc import Callable

STEPS = (
    "claimed",
    "planned",
    "first bytes staged",
    "staged",
    "metadata written",
    "before the commit",
    "committed",
    "before the acknowledgement",
    "acknowledged",
)
"""In the order in which a load passes them."""
DELIVERY_STEPS = (
    "claimed",
    "snapshot recorded",
    "rows delivered",
    "delivered",
    "delivery settled",
)
"""In the order in which a delivery passes them; a Target reaches "rows delivered" before it makes them visible."""

_observers: list[Callable[[str], None]] = []


def observe(observer: Callable[[str], None]) -> None:
    """Call `observer` with the name of each step that this process reaches from now on."""
    _observers.append(observer)


def reached(step: str) -> None:
    """Say that the run has come to this step."""
    for observer in _observers:
        observer(step)
