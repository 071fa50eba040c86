"""Addresses that nothing is asked of, in whatever notation and under whatever name."""

import socket
from collections.abc import Callable

import pytest

from ci.fetch import places
from ci.host.errors import FetchError


def resolver(names: dict[str, list[str]]) -> Callable[..., list[tuple[int, int, int, str, tuple[str, int]]]]:
    """`socket.getaddrinfo` for such names; what else there is, is in no unit test's reach."""

    def look_up(host: str, _port: object, **_: object) -> list[tuple[int, int, int, str, tuple[str, int]]]:
        if host not in names:
            raise socket.gaierror(host)
        return [(0, 0, 0, "", (address, 0)) for address in names[host]]

    return look_up


ANY = "0.0.0.0"  # noqa: S104 - nothing is bound to it
NAMES = {
    "metadata.example": ["203.0.113.5", "169.254.169.254"],
    "2852039166": ["169.254.169.254"],
    "0xa9.0376.43518": ["169.254.169.254"],
    "::ffff:a9fe:a9fe": ["::ffff:169.254.169.254"],
    "fe80::1%lo": ["fe80::1%lo"],
    "fd00:ec2::254": ["fd00:ec2::254"],
    "alibaba.example": ["100.100.100.200"],
    "wire.example": ["168.63.129.16"],
    "public.example": ["203.0.113.5"],
    "intranet.example": ["10.0.0.5", "fd12::1"],
    "localhost": ["127.0.0.1", "::1"],
    ANY: [ANY],
    "::ffff:7f00:1": ["::ffff:127.0.0.1"],
}
LINK = ("metadata", "2852", "0xa9", "::ffff:a9", "fe80", "fd00", "alibaba", "wire")


@pytest.fixture(autouse=True)
def _names(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(socket, "getaddrinfo", resolver(NAMES))


@pytest.mark.parametrize("host", NAMES)
def test_the_link_and_a_clouds_own_addresses_are_refused_and_nothing_else(host: str) -> None:
    if host.startswith(LINK):
        with pytest.raises(FetchError, match="nothing was asked there"):
            places.require_elsewhere(host)
    else:
        places.require_elsewhere(host)


@pytest.mark.parametrize("host", ["localhost", ANY, "::ffff:7f00:1"])
def test_no_redirect_from_outside_leads_to_this_machine(host: str) -> None:
    for before in ("public.example", "intranet.example", "unknown.example"):
        with pytest.raises(FetchError, match="which is this machine"):
            places.require_no_way_in(before, host)
        places.require_no_way_in(host, before)
    places.require_no_way_in("localhost", host)


def test_a_name_that_nobody_knows_is_for_the_connection_to_tell() -> None:
    assert places.addresses("unknown.example") == set()
    places.require_elsewhere("unknown.example")
