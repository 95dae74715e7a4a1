"""Addresses that a name must not lead to: the node's own, those of its link, and the metadata services of clouds."""

import ipaddress
from typing import Any

from aiohttp.abc import AbstractResolver, ResolveResult
from aiohttp.resolver import DefaultResolver

_METADATA = frozenset({"100.100.100.200", "168.63.129.16", "fd00:ec2::254", "fd20:ce::254"})
"""Metadata services outside the link-local ranges: Alibaba, Azure, AWS and Google by IPv6."""


class LocalAddress(OSError):
    """A name that is looked up has an address of the node, its link or a metadata service."""

    def __init__(self, host: str, address: str) -> None:
        super().__init__(None, f"{host} has the address {address}")
        self.host, self.address = host, address


def is_local(host: str) -> bool:
    """Whether the host, a name or a written address, is this node itself, its link, or a metadata service."""
    if host == "localhost" or host.endswith(".localhost"):
        return True
    try:
        address = ipaddress.ip_address(host.strip("[]").partition("%")[0])
    except ValueError:
        return False
    inner = getattr(address, "ipv4_mapped", None) or getattr(address, "sixtofour", None) or address
    return str(inner) in _METADATA or (
        inner.is_loopback or inner.is_link_local or inner.is_unspecified or inner.is_multicast
    )


def refused(error: BaseException | None) -> LocalAddress | None:
    """The LocalAddress that an error comes from, None where it comes from something else."""
    while error is not None and not isinstance(error, LocalAddress):
        error = error.__cause__ or error.__context__
    return error


class Resolver(AbstractResolver):
    """Looks names up, and raises LocalAddress where one leads to a local address. `own` may be localhost itself.

    The addresses that it gives are those that are connected to: a name cannot change its address in between.
    """

    def __init__(self, own: str) -> None:
        self._own = own
        self._names: AbstractResolver | None = None

    async def resolve(self, host: str, port: int = 0, family: Any = 0) -> list[ResolveResult]:
        """The addresses of a name."""
        if self._names is None:  # it wants a running loop
            self._names = DefaultResolver()
        found = await self._names.resolve(host, port, family)
        if not (host.lower() == self._own and is_local(host.lower())):
            for entry in found:
                if is_local(entry["host"]):
                    raise LocalAddress(host, entry["host"])
        return found

    async def close(self) -> None:
        """Nothing is kept open."""
        if self._names is not None:
            await self._names.close()
