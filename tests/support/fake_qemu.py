"""A QEMU's monitor that agrees to everything, as long as the block lasts."""

import contextlib
import json
import socket
import threading
from collections.abc import Iterator
from pathlib import Path

GREETING = b'{"QMP": {"version": {}, "capabilities": []}}\r\n'


@contextlib.contextmanager
def listening_monitor(path: Path) -> Iterator[list[str]]:
    """It listens at `path` until it is told to quit; yields the commands that it was asked."""
    asked: list[str] = []
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind(bytes(path))
        listener.listen(1)
        thread = threading.Thread(target=_serve, args=(listener, asked), daemon=True)
        thread.start()
        yield asked
        listener.shutdown(socket.SHUT_RDWR)
        thread.join()


def _serve(listener: socket.socket, asked: list[str]) -> None:
    while "quit" not in asked:
        try:
            connection, _ = listener.accept()
        except OSError:
            return
        with connection, connection.makefile("rwb") as stream:
            stream.write(GREETING)
            stream.flush()
            for line in stream:
                command = json.loads(line)
                asked.append(command["execute"])
                stream.write(b'{"event": "A"}\r\n' + json.dumps({"return": {}, "id": command["id"]}).encode() + b"\r\n")
                stream.flush()
                if command["execute"] == "quit":
                    return
