"""A real HTTP server on loopback that fails on command."""

import contextlib
import ssl
import sys
import threading
from collections import defaultdict, deque
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from enum import Enum
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from types import TracebackType
from typing import Any, Self

from ci.host.process import held_port


class Dribble(Enum):
    HEADERS = "headers"
    BODY = "body"


DRIBBLE_SECONDS = 0.02


@dataclass(frozen=True, slots=True, kw_only=True)
class Fault:
    """What goes wrong with one answer: after `cut_after` bytes the connection breaks, once `hold` is set.

    Bytes behind that may also `dribble`, one at a time, until the client has had enough. `body` makes other bytes of
    those that are right, of which the headers then tell nothing but the length; `chunked` tells none (RFC 9112, 7.1).
    `before` and `after` run before the answer is looked up, and when it is sent.
    """

    status: int | None = None
    headers: Mapping[str, str] = field(default_factory=dict)
    cut_after: int | None = None
    hold: threading.Event | None = None
    ignore_range: bool = False
    ignore_condition: bool = False
    announce: int | None = None
    body: Callable[[bytes], bytes] | None = None
    chunked: bool = False
    dribble: Dribble | None = None
    before: Callable[[], object] = lambda: None
    after: Callable[[], object] = lambda: None


class Pause:
    """Holds an answer back, from its `before` or `after`: until it is `over`, or for a minute."""

    def __init__(self) -> None:
        self.reached = threading.Event()
        self.over = threading.Event()

    def __call__(self) -> None:
        self.reached.set()
        self.over.wait(60)


@dataclass(frozen=True, slots=True, kw_only=True)
class Request:
    path: str
    headers: Mapping[str, str]
    status: int


@dataclass(slots=True)
class File:
    body: bytes
    etag: str | None
    content_type: str


Answer = tuple[int, dict[str, str], bytes]


class _Quiet(ThreadingHTTPServer):
    """A client that hangs up is what many tests are about."""

    def handle_error(self, request: Any, client_address: Any) -> None:  # noqa: ANN401 - the base class's types
        if not isinstance(sys.exception(), OSError):
            super().handle_error(request, client_address)


class FaultServer:
    """Serves what is published, with the faults that are armed, one per request in their order."""

    def __init__(self, tls: ssl.SSLContext | None = None) -> None:
        self.files: dict[str, File] = {}
        self.faults: dict[str, deque[Fault]] = defaultdict(deque)
        self.requests: list[Request] = []
        self._leaving = threading.Event()
        server = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def do_GET(self) -> None:
                server._answer(self)

            def log_message(self, format: str, *args: object) -> None:  # noqa: A002 - the base class's name
                pass

        # Nobody else must listen there once the server does not, nor on ::1, which localhost may be too.
        self._held = contextlib.ExitStack()
        self.http = _Quiet(("127.0.0.1", self._held.enter_context(held_port())), Handler)
        self.scheme = "https" if tls else "http"
        if tls:
            self.http.socket = tls.wrap_socket(self.http.socket, server_side=True)
        self._thread = threading.Thread(target=self.http.serve_forever, kwargs={"poll_interval": 0.02})

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._leaving.set()
        self.http.shutdown()
        self._thread.join()
        self.http.server_close()
        self._held.close()

    def url(self, path: str) -> str:
        return f"{self.scheme}://127.0.0.1:{self.http.server_address[1]}{path}"

    def publish(
        self,
        path: str,
        body: bytes,
        *,
        etag: str | None = '"1"',
        content_type: str = "application/octet-stream",
    ) -> str:
        self.files[path] = File(body, etag, content_type)
        return self.url(path)

    def arm(self, path: str, *faults: Fault) -> None:
        self.faults[path].extend(faults)

    def ranges(self, path: str) -> list[str | None]:
        """The Range of each request for `path` so far."""
        return [request.headers.get("Range") for request in self.requests if request.path == path]

    def _answer(self, handler: BaseHTTPRequestHandler) -> None:
        path = handler.path.partition("?")[0]  # asked as a proxy, it is a whole URL
        fault = self.faults[path].popleft() if self.faults[path] else Fault()
        fault.before()
        file = self.files.get(path)
        answer: Answer = 404, {}, b"not here"
        if file:
            answer = self._serve(file, handler.headers.get("Range"), handler.headers.get("If-Range"), fault)
        status, headers, body = answer
        if fault.body:
            body = fault.body(body)
        if fault.status:
            status, body = fault.status, body if fault.body else b""
        if fault.chunked:
            headers["Transfer-Encoding"] = "chunked"
            body = b"%x\r\n%s\r\n0\r\n\r\n" % (len(body), body)
        else:
            headers["Content-Length"] = str(len(body) if fault.announce is None else fault.announce)
        self.requests.append(Request(path=path, headers=dict(handler.headers), status=status))
        if fault.dribble is Dribble.HEADERS:
            self._dribble(handler, b"HTTP/1.1 200 OK\r\nX: " + b"x" * 60_000)
            return
        handler.send_response(status)
        for name, value in {**headers, **fault.headers}.items():
            handler.send_header(name, value)
        handler.end_headers()
        handler.wfile.write(body[: fault.cut_after])
        if fault.dribble is Dribble.BODY:
            self._dribble(handler, body[fault.cut_after or 0 :])
        if fault.hold:
            fault.hold.wait()
        if fault.cut_after is not None or fault.announce is not None:
            handler.close_connection = True
        fault.after()

    def _dribble(self, handler: BaseHTTPRequestHandler, data: bytes) -> None:
        handler.close_connection = True
        for byte in data:
            handler.wfile.write(bytes([byte]))
            if self._leaving.wait(DRIBBLE_SECONDS):
                return

    @staticmethod
    def _serve(file: File, wanted: str | None, condition: str | None, fault: Fault) -> Answer:
        headers = {"Content-Type": file.content_type}
        if file.etag:
            headers["ETag"] = file.etag
        changed = condition and condition != file.etag and not fault.ignore_condition
        if not wanted or fault.ignore_range or changed:
            return 200, headers, file.body
        start = int(wanted.removeprefix("bytes=").removesuffix("-"))
        if start >= len(file.body):
            return 416, headers | {"Content-Range": f"bytes */{len(file.body)}"}, b""
        headers["Content-Range"] = f"bytes {start}-{len(file.body) - 1}/{len(file.body)}"
        return 206, headers, file.body[start:]
