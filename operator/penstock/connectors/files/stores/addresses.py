"""Addresses that must not be connected to: metadata services and the node's link never, the node itself seldom.

Metadata services of clouds give whoever asks them the credentials of the node. A name, a redirect or an endpoint must
not lead there, whoever wrote it.

Whoever owns a name decides at each look-up what it leads to. So a name is looked up once, and what was checked is what
is connected to: `checked` gives the addresses for a client that takes them, `connected` a connection for one that takes
that (for clients over aiohttp, see `resolver`). TLS still verifies the name.
"""

import ipaddress
import re
import socket
from collections.abc import Callable, Sequence
from urllib.parse import urlsplit

from penstock.language.errors import InvalidSpec

_METADATA = frozenset(
    {"100.100.100.200", "168.63.129.16", "192.0.0.192", "fd00:ec2::254", "fd00:ec2::23", "fd20:ce::254"}
)
"""Metadata services outside the link-local ranges: Alibaba, Azure, Oracle; by IPv6 AWS, its Pod identities, Google."""
_IPV4_WITHIN = (ipaddress.ip_network("64:ff9b::/96"), ipaddress.ip_network("::/96"))
"""IPv6 addresses whose last four bytes are an IPv4 address: of NAT64, and those that are "compatible"."""

_NUMBERS = re.compile(r"(0[xX][0-9a-fA-F]+|[0-9]+)(\.(0[xX][0-9a-fA-F]+|[0-9]+)){0,3}\.?")

Address = ipaddress.IPv4Address | ipaddress.IPv6Address
LookUp = Callable[[str, int], Sequence[str]]
"""Gives the addresses of a host, a name or a written address, for a port. Raises OSError where it is not known."""


class LocalAddress(OSError):
    """A host has an address that is not connected to."""

    def __init__(self, host: str, address: str) -> None:
        super().__init__(None, f"{host} has the address {address}")
        self.host, self.address = host, address


class Redirected(Exception):
    """A server whose redirects are not followed answers with one. `code` is the status of its answer."""

    def __init__(self, code: int) -> None:
        super().__init__(f"redirected with status {code}")
        self.code = code


def is_metadata(host: str) -> bool:
    """Whether the host is a written address of the node's link or of a metadata service, in any notation."""
    address = _address(host)
    return address is not None and (str(address) in _METADATA or address.is_link_local or address.is_multicast)


def is_local(host: str) -> bool:
    """Whether the host, a name or a written address, is this node itself, its link, or a metadata service."""
    name = host.rstrip(".").lower()
    if name == "localhost" or name.endswith(".localhost"):
        return True
    address = _address(host)
    return address is not None and (is_metadata(host) or address.is_loopback or address.is_unspecified)


def _address(host: str) -> Address | None:
    """The address that is written, the IPv4 one where it is within an IPv6 one; None for a name."""
    if _NUMBERS.fullmatch(host):
        return _ipv4(host)
    try:
        address = ipaddress.ip_address(host.strip("[]").partition("%")[0])
    except ValueError:
        return None
    if isinstance(address, ipaddress.IPv4Address):
        return address
    if (inner := address.ipv4_mapped or address.sixtofour) is not None:
        return inner
    within = any(address in network for network in _IPV4_WITHIN) and int(address) > 1
    return ipaddress.IPv4Address(int(address) & 0xFFFFFFFF) if within else address


def _ipv4(host: str) -> Address | None:
    """The address, also in the forms of inet_aton(3), which clients take: `127.1`, `0x7f000001`, `0177.0.0.1`."""
    try:
        return ipaddress.IPv4Address(socket.inet_aton(host.rstrip(".")))
    except OSError:
        return None


def refused(error: BaseException | None) -> LocalAddress | Redirected | None:
    """What an error comes from, if that is a connection or redirect that was refused here; None for all else."""
    while error is not None and not isinstance(error, LocalAddress | Redirected):
        error = error.__cause__ or error.__context__
    return error


def check_url(url: str, subject: str) -> None:
    """Raise InvalidSpec where the host of the URL has an address that is never connected to."""
    parts = urlsplit(url)
    try:
        port = parts.port
    except ValueError:
        port = None  # the client says what is wrong with it
    check_host(parts.hostname or "", port or 0, subject)


def check_host(host: str, port: int, subject: str) -> None:
    """Raise InvalidSpec where the host has an address that is never connected to. A name that is not known has none."""
    try:
        checked(host, port, subject)
    except OSError:
        return


def system(host: str, port: int) -> list[str]:
    """The addresses by the system's look-up. See LookUp."""
    try:
        entries = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)
    except UnicodeError:
        raise socket.gaierror(socket.EAI_NONAME, "no name of a host") from None
    return [str(entry[4][0]) for entry in entries]


def checked(host: str, port: int, subject: str, look_up: LookUp = system) -> list[str]:
    """The addresses of the host, looked up once, to be connected to as they are.

    Raises InvalidSpec where one of them is never connected to, and OSError for a name that is not known.
    """
    if is_metadata(host):
        raise never(subject, host, host)
    addresses = [*dict.fromkeys(look_up(host, port))]
    for address in addresses:
        if is_metadata(address):
            raise never(subject, host, address)
    return addresses


def connected(host: str, port: int, subject: str, timeout: float, look_up: LookUp = system) -> socket.socket:
    """A connection to the first address of the host that accepts one within `timeout` seconds, which stays its timeout.

    Raises InvalidSpec as `checked` does, and OSError.
    """
    failure: OSError = socket.gaierror(socket.EAI_NODATA, "the name has no address")
    for address in checked(host, port, subject, look_up):
        try:
            connection = socket.create_connection((address, port), timeout)
        except OSError as error:
            failure = error
        else:
            connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            connection.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
            return connection
    raise failure


def never(subject: str, host: str, address: str) -> InvalidSpec:
    """What to say of a host with an address that is never connected to."""
    message = f"{subject}: {host} has the address {address}, which is of the node's link or of a cloud's metadata "
    return InvalidSpec(f"{message}service. Nothing is read from there. Name another host.", "WrongSpecification")
