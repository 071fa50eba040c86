"""Ends of waiting: for an answer and for its bytes as a whole, where a socket's timeout is for each byte anew.

What is late is cut off, so that no thread goes on with it: not reading for ever, and not sending what is given up.
"""

import math
import socket
import threading
import time
from collections.abc import Callable
from concurrent.futures import Future, wait
from contextlib import suppress
from typing import Any

import requests
from requests.adapters import HTTPAdapter
from urllib3.connection import HTTPConnection, HTTPSConnection
from urllib3.connectionpool import HTTPConnectionPool, HTTPSConnectionPool

from ci.fetch.places import require_elsewhere
from ci.fetch.source import TransientError

LATE = "the server did not answer in time"


class _Attempt(threading.local):
    """What the thread that asks has opened, and whether it is given up."""

    def __init__(self) -> None:
        self.connections: list[HTTPConnection] = []
        self.over = threading.Event()


_attempt = _Attempt()


class _Known(HTTPConnection):
    """A connection that can be cut from another thread."""

    def connect(self) -> None:
        self._be_known()
        super().connect()

    def request(self, *args: Any, **options: Any) -> None:  # noqa: ANN401 - the base class's
        self._be_known()
        super().request(*args, **options)

    def _new_conn(self) -> socket.socket:
        if self.proxy is None:  # what it asks is the proxy's matter, and where it is the environment's
            require_elsewhere(self._dns_host)
        made = super()._new_conn()
        if self.proxy is None:
            try:
                require_elsewhere(made.getpeername()[0])  # the name may lead elsewhere by now
            except BaseException:
                made.close()
                raise
        return made

    def _be_known(self) -> None:
        if _attempt.over.is_set():
            raise TransientError(LATE)
        _attempt.connections.append(self)


class _KnownTls(_Known, HTTPSConnection):
    pass


class _Pool(HTTPConnectionPool):
    ConnectionCls = _Known


class _TlsPool(HTTPSConnectionPool):
    ConnectionCls = _KnownTls


class Adapter(HTTPAdapter):
    """Takes such connections, with and without a proxy."""

    def init_poolmanager(self, *args: Any, **options: Any) -> None:  # noqa: ANN401 - the base class's
        super().init_poolmanager(*args, **options)
        self.poolmanager.pool_classes_by_scheme = {"http": _Pool, "https": _TlsPool}

    def proxy_manager_for(self, *args: Any, **options: Any) -> Any:  # noqa: ANN401 - the base class's
        manager = super().proxy_manager_for(*args, **options)
        manager.pool_classes_by_scheme = {"http": _Pool, "https": _TlsPool}
        return manager


def in_time(call: Callable[[], requests.Response], seconds: float) -> requests.Response:
    """What `call` returns; raises TransientError where it takes longer. The look-up of a name has no timeout at all."""
    result: Future[requests.Response] = Future()
    connections: list[HTTPConnection] = []
    over = threading.Event()

    def work() -> None:
        _attempt.connections, _attempt.over = connections, over
        try:
            result.set_result(call())
        except BaseException as failure:  # noqa: BLE001 - it is raised again below
            result.set_exception(failure)

    threading.Thread(target=work, name="request", daemon=True).start()
    try:
        if wait([result], seconds).done:
            return result.result()
        raise TransientError(LATE)
    finally:
        if not result.done():  # late, or we were interrupted
            over.set()
            for connection in connections:
                if connection.sock is not None:
                    with suppress(OSError):
                        connection.sock.shutdown(socket.SHUT_RDWR)
            result.add_done_callback(_close)


def _close(late: "Future[requests.Response]") -> None:
    if late.exception() is None:
        late.result().close()


class Pace:
    """Cuts a connection where the waits for its bytes reach a limit; `over` tells that it did.

    From a thread of its own, because one read can last for ever: the sizes of chunks, and what follows the last, are
    read line by line inside of it, with a socket's whole timeout for each byte.
    """

    def __init__(self, response: requests.Response, seconds: float) -> None:
        self.over = False
        self._cut = response.raw.shutdown
        self._seconds = seconds
        self._deadline = math.inf
        self._done = threading.Event()
        threading.Thread(target=self._watch, name="pace", daemon=True).start()

    def end(self) -> None:
        """Leave the connection alone."""
        self._done.set()

    def wait(self, seconds: float) -> None:
        """From now on it may wait for so long."""
        self._deadline = time.monotonic() + seconds

    def rest(self) -> None:
        """It no longer waits."""
        self._deadline = math.inf

    def _watch(self) -> None:
        while not self._done.wait(min(max(self._deadline - time.monotonic(), 0), self._seconds)):
            if time.monotonic() >= self._deadline:
                self.over = True
                with suppress(OSError, ValueError, RuntimeError):  # it has just ended by itself
                    self._cut()
                return
