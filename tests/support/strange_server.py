"""A server on loopback that answers every request with bytes that a test made up, HTTP or not."""

import contextlib
import socket
import socketserver
import ssl
import threading
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path

from ci.host.process import held_port

# What is sent to a request: its own address is put in where `{server}` is.
Strange = Callable[[str], Iterable[bytes]]


def answer(status: str, body: bytes = b"", *headers: str, length: str | None = None) -> bytes:
    """An HTTP answer; `length` is what it says of its body."""
    lines = [f"HTTP/1.1 {status}", f"Content-Length: {length or len(body)}", "Connection: close", *headers]
    return "\r\n".join(lines).encode("latin-1") + b"\r\n\r\n" + body


class StrangeServer:
    """Answers as `effect` says; counts the requests, and the bytes that it got rid of."""

    def __init__(self, effect: Strange, scheme: str, port: int) -> None:
        self.effect = effect
        self.asked = 0
        self.sent = 0
        self.connections = 0
        self.heads: list[bytes] = []
        self.url = f"{scheme}://127.0.0.1:{port}"

    @property
    def authorizations(self) -> list[bytes]:
        """What each request said of who asks."""
        lines = (line for head in self.heads for line in head.splitlines())
        return [line for line in lines if line.lower().startswith((b"authorization:", b"proxy-authorization:"))]

    def serve(self, connection: socket.socket) -> None:
        with contextlib.suppress(OSError):
            head = connection.makefile("rb")
            # What speaks TLS to a server without it has no lines.
            lines = [] if head.peek(1)[:1] == b"\x16" else list(iter(head.readline, b"\r\n"))
            length = next((int(line[15:]) for line in lines if line.lower().startswith(b"content-length:")), 0)
            head.read(length)
            self.asked += 1
            self.heads.append(b"".join(lines))
            for piece in self.effect(self.url):
                connection.sendall(piece)
                self.sent += len(piece)


@contextmanager
def strange_server(effect: Strange, certificate: Path | None = None) -> Iterator[StrangeServer]:
    """Such a server, by https where it has a certificate."""
    tls = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    if certificate:
        tls.load_cert_chain(certificate)

    class Handler(socketserver.BaseRequestHandler):
        def handle(self) -> None:
            running.connections += 1
            with contextlib.suppress(OSError):  # such as a client that does not like the certificate
                if certificate:
                    with tls.wrap_socket(self.request, server_side=True) as connection:
                        running.serve(connection)
                else:
                    running.serve(self.request)

    class Server(socketserver.ThreadingTCPServer):
        allow_reuse_address = True
        daemon_threads = True
        block_on_close = False

    with held_port() as port, Server(("127.0.0.1", port), Handler) as server:
        running = StrangeServer(effect, "https" if certificate else "http", port)
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02})
        thread.start()
        try:
            yield running
        finally:
            server.shutdown()
            thread.join()
