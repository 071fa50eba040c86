import contextlib
import errno
import socket

import pytest

from ci.host.process import held_port

CHOICES = 3000
HELD = 100
ADDRESSES = [
    (socket.AF_INET, "127.0.0.1"),
    (socket.AF_INET, ""),
    (socket.AF_INET6, "::1"),
    (socket.AF_INET6, ""),
]


def chosen(family: int, address: str, *, reuse: bool) -> int:
    """The port that the kernel gives to a server that asks for any."""
    with socket.socket(family) as server:
        server.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, reuse)
        server.bind((address, 0))
        server.listen()
        return int(server.getsockname()[1])


@pytest.mark.parametrize(("family", "address"), ADDRESSES)
@pytest.mark.parametrize("reuse", [True, False])
def test_nobody_is_given_a_held_port(family: int, address: str, *, reuse: bool) -> None:
    try:
        chosen(family, address, reuse=reuse)
    except OSError as error:
        if error.errno not in {errno.EAFNOSUPPORT, errno.EADDRNOTAVAIL}:
            raise
        pytest.skip("this machine has no IPv6")
    with contextlib.ExitStack() as stack:
        held = {stack.enter_context(held_port()) for _ in range(HELD)}
        assert len(held) == HELD
        assert held.isdisjoint(chosen(family, address, reuse=reuse) for _ in range(CHOICES))


def test_who_is_told_of_a_held_port_listens_there_alone() -> None:
    with (
        held_port() as port,
        socket.create_server(("127.0.0.1", port)),
        pytest.raises(OSError, match="already in use"),
    ):
        socket.create_server(("127.0.0.1", port))
