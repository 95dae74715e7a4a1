"""The time zones that Kubernetes accepts: the names of the IANA database, written exactly as there."""

import functools
from importlib import resources
from zoneinfo import ZoneInfo


class UnknownZone(ValueError):
    """No time zone has this name."""


@functools.cache
def names() -> frozenset[str]:
    """All names, such as `Europe/Berlin` and `UTC`; their case counts."""
    return frozenset(resources.files("tzdata").joinpath("zones").read_text(encoding="utf-8").split())


def load(name: str) -> ZoneInfo:
    """The time zone of this name, from the package tzdata: the same on every machine.

    Raises:
        UnknownZone: Kubernetes would refuse the name. `Local`, an empty name and `posix/…` are refused, too.
    """
    if name not in names():
        raise UnknownZone(name)
    return _load(name)


@functools.lru_cache(maxsize=64)
def _load(name: str) -> ZoneInfo:
    with resources.files("tzdata").joinpath("zoneinfo", name).open("rb") as file:
        return ZoneInfo.from_file(file, key=name)


def similar(name: str) -> str | None:
    """The name that differs in case only, or ends in this city: `berlin` gives `Europe/Berlin`."""
    wanted = name.strip().replace(" ", "_").lower()
    cased = next((zone for zone in sorted(names()) if zone.lower() == wanted), None)
    ending = (zone for zone in sorted(names()) if wanted and zone.lower().endswith(f"/{wanted}"))
    return cased or next(ending, None)
