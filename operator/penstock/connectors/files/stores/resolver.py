"""How clients that use aiohttp connect: to no address that must not be connected to, and to where no redirect leads."""

from typing import Any

from aiohttp import ClientSession, TraceConfig, TraceRequestRedirectParams
from aiohttp.abc import AbstractResolver, ResolveResult
from aiohttp.resolver import DefaultResolver

from penstock.connectors.files.stores import addresses


class Resolver(AbstractResolver):
    """Looks names up, and raises LocalAddress where one leads to an address that must not be connected to.

    `own` is the host that may be this node itself, if its name says so: `localhost`. Where it is None, every name may
    be this node: it is that of an endpoint. The addresses that are given are those that are connected to: a name cannot
    change its address in between. Written addresses are not looked up; whoever uses this checks them. `names` looks
    them up; by default, the system does.
    """

    def __init__(self, own: str | None, names: AbstractResolver | None = None) -> None:
        self._own, self._names = own, names

    async def resolve(self, host: str, port: int = 0, family: Any = 0) -> list[ResolveResult]:
        """The addresses of a name."""
        if self._names is None:  # it wants a running loop
            self._names = DefaultResolver()
        entries = await self._names.resolve(host, port, family)
        may_be_here = self._own is None or (host.lower() == self._own and addresses.is_local(host))
        for entry in entries:
            address = entry["host"]
            if addresses.is_metadata(address) or (addresses.is_local(address) and not may_be_here):
                raise addresses.LocalAddress(host, address)
        return entries

    async def close(self) -> None:
        """Nothing is kept open."""
        if self._names is not None:
            await self._names.close()


def without_redirects() -> TraceConfig:
    """For sessions whose library would follow redirects: raises Redirected instead.

    An answer without a place to go to is the library's: S3 says so that a bucket is in another region.
    """
    trace = TraceConfig()
    trace.on_request_redirect.append(_refuse)
    trace.freeze()
    return trace


async def _refuse(_: ClientSession, __: Any, answered: TraceRequestRedirectParams) -> None:
    if "Location" in answered.response.headers or "URI" in answered.response.headers:
        raise addresses.Redirected(answered.response.status)
