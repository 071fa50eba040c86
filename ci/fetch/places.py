"""Where a name leads: to a server, to this machine, or to where no server is that publishes anything."""

import ipaddress
import socket
from typing import TypeAlias

from ci.fetch.source import printable
from ci.host.errors import FetchError

IpAddress: TypeAlias = ipaddress.IPv4Address | ipaddress.IPv6Address

# Where clouds tell a machine its own secrets, beside 169.254.169.254: AWS, Alibaba, Azure.
METADATA = {ipaddress.ip_address(text) for text in ("fd00:ec2::254", "100.100.100.200", "168.63.129.16")}


def require_elsewhere(host: str) -> None:
    """Raise FetchError where a host, a name or a number in whatever notation, leads to the link or to a cloud's own."""
    for address in addresses(host):
        if address.is_link_local or address in METADATA:
            raise FetchError(
                f"{printable(host)} leads to {address}, where clouds keep a machine's secrets, and nobody publishes; "
                "nothing was asked there",
                hint="Check the URL, and where it redirects to.",
            )


def require_no_way_in(before: str, host: str) -> None:
    """Raise FetchError where a redirect leads from a host that is not this machine to one that is."""
    if before != host and _is_here(host) and not _is_here(before):
        raise FetchError(
            f"{printable(before)} redirects to {printable(host)}, which is this machine; nothing was asked there",
            hint="Check the URL. What this machine serves itself is fetched where its URL says so.",
        )


def _is_here(host: str) -> bool:
    return any(address.is_loopback or address.is_unspecified for address in addresses(host))


def addresses(host: str) -> set[IpAddress]:
    """All that a host stands for; nothing where it is not known, which asking it tells."""
    try:
        found = socket.getaddrinfo(host, None, type=socket.SOCK_STREAM)
    except (OSError, ValueError):
        return set()
    known = (ipaddress.ip_address(address[0]) for *_, address in found)
    return {getattr(one, "ipv4_mapped", None) or one for one in known}
