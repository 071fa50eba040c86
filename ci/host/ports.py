"""TCP ports for programs that can only be told which one to listen on."""

import contextlib
import socket
from collections.abc import Iterator


@contextlib.contextmanager
def held_port() -> Iterator[int]:
    """A TCP port that the kernel gives to nobody while the block is entered, whichever address they ask for.

    Whoever is told of it can listen there, with SO_REUSEADDR as servers have it, QEMU's forwards too. Until then it
    refuses connections.
    """
    both = socket.has_dualstack_ipv6()
    with socket.socket(socket.AF_INET6 if both else socket.AF_INET) as holder:
        if both:
            holder.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 0)
        # For Linux sockets that both have this are in each other's way only once one listens, and this one never does;
        # but it picks no such port for a third, nor for a connection.
        holder.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        holder.bind(("", 0))
        yield int(holder.getsockname()[1])
