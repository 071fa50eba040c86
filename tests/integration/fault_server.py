"""A real HTTP server on loopback that fails on command."""

import ssl
import sys
import threading
from collections import defaultdict, deque
from collections.abc import Mapping
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from types import TracebackType
from typing import Any, Self


@dataclass(frozen=True, slots=True, kw_only=True)
class Fault:
    """What goes wrong with one answer: after `cut_after` bytes the connection breaks, once `hold` is set."""

    status: int | None = None
    headers: Mapping[str, str] = field(default_factory=dict)
    cut_after: int | None = None
    hold: threading.Event | None = None
    ignore_range: bool = False
    announce: int | None = None


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
        server = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def do_GET(self) -> None:
                server._answer(self)

            def log_message(self, format: str, *args: object) -> None:  # noqa: A002 - the base class's name
                pass

        self.http = _Quiet(("127.0.0.1", 0), Handler)
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
        self.http.shutdown()
        self._thread.join()
        self.http.server_close()

    def url(self, path: str) -> str:
        return f"{self.scheme}://127.0.0.1:{self.http.server_address[1]}{path}"

    def publish(
        self, path: str, body: bytes, *, etag: str | None = '"1"', content_type: str = "application/octet-stream"
    ) -> str:
        self.files[path] = File(body, etag, content_type)
        return self.url(path)

    def arm(self, path: str, *faults: Fault) -> None:
        self.faults[path].extend(faults)

    def ranges(self, path: str) -> list[str | None]:
        """The Range of each request for `path` so far."""
        return [request.headers.get("Range") for request in self.requests if request.path == path]

    def _answer(self, handler: BaseHTTPRequestHandler) -> None:
        path = handler.path.partition("?")[0]
        fault = self.faults[path].popleft() if self.faults[path] else Fault()
        file = self.files.get(path)
        answer: Answer = 404, {}, b"not here"
        if file:
            answer = self._serve(file, handler.headers.get("Range"), handler.headers.get("If-Range"), fault)
        status, headers, body = answer
        if fault.status:
            status, body = fault.status, b""
        headers["Content-Length"] = str(len(body) if fault.announce is None else fault.announce)
        self.requests.append(Request(path=path, headers=dict(handler.headers), status=status))
        handler.send_response(status)
        for name, value in {**headers, **fault.headers}.items():
            handler.send_header(name, value)
        handler.end_headers()
        handler.wfile.write(body[: fault.cut_after])
        if fault.hold:
            fault.hold.wait()
        if fault.cut_after is not None or fault.announce is not None:
            handler.close_connection = True

    @staticmethod
    def _serve(file: File, wanted: str | None, condition: str | None, fault: Fault) -> Answer:
        headers = {"Content-Type": file.content_type}
        if file.etag:
            headers["ETag"] = file.etag
        if not wanted or fault.ignore_range or (condition and condition != file.etag):
            return 200, headers, file.body
        start = int(wanted.removeprefix("bytes=").removesuffix("-"))
        if start >= len(file.body):
            return 416, headers | {"Content-Range": f"bytes */{len(file.body)}"}, b""
        headers["Content-Range"] = f"bytes {start}-{len(file.body) - 1}/{len(file.body)}"
        return 206, headers, file.body[start:]
