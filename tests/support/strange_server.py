"""A server on loopback that answers every request with bytes that a test made up, HTTP or not."""

import contextlib
import socket
import socketserver
import threading
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager

from ci.host.process import held_port

# What is sent to a request: its own address is put in where `{server}` is.
Strange = Callable[[str], Iterable[bytes]]


def answer(status: str, body: bytes = b"", *headers: str, length: str | None = None) -> bytes:
    """An HTTP answer; `length` is what it says of its body."""
    lines = [f"HTTP/1.1 {status}", f"Content-Length: {length or len(body)}", "Connection: close", *headers]
    return "\r\n".join(lines).encode("latin-1") + b"\r\n\r\n" + body


class StrangeServer:
    """Answers as `effect` says; counts the requests, and the bytes that it got rid of."""

    def __init__(self, effect: Strange, port: int) -> None:
        self.effect = effect
        self.asked = 0
        self.sent = 0
        self.tokens = 0
        self.leaving = threading.Event()
        self.url = f"http://127.0.0.1:{port}"

    def serve(self, connection: socket.socket) -> None:
        with contextlib.suppress(OSError):
            head = connection.makefile("rb")
            lines = list(iter(head.readline, b"\r\n"))
            length = next((int(line[15:]) for line in lines if line.lower().startswith(b"content-length:")), 0)
            head.read(length)
            self.asked += 1
            self.tokens += any(line.lower().startswith(b"authorization:") for line in lines)
            for piece in self.effect(self.url):
                connection.sendall(piece)
                self.sent += len(piece)


@contextmanager
def strange_server(effect: Strange) -> Iterator[StrangeServer]:
    class Handler(socketserver.BaseRequestHandler):
        def handle(self) -> None:
            running.serve(self.request)

    class Server(socketserver.ThreadingTCPServer):
        allow_reuse_address = True
        daemon_threads = True
        block_on_close = False

    with held_port() as port, Server(("127.0.0.1", port), Handler) as server:
        running = StrangeServer(effect, port)
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02})
        thread.start()
        try:
            yield running
        finally:
            running.leaving.set()
            server.shutdown()
            thread.join()
