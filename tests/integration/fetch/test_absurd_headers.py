"""Headers without sense: an error of the tree or an answer, never a traceback, and nothing of them on the terminal."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.support.absurd import EVERY, absurd_answers
from tests.support.asking import Asking, outcome
from tests.support.strange_server import strange_server

pytestmark = [
    pytest.mark.integration,
    # Where a header ends an answer, http.client and urllib3 leave its socket to Python, which closes it.
    pytest.mark.filterwarnings("ignore:unclosed:ResourceWarning"),
]

BODY = b'[{"id": 1}]'


@pytest.mark.parametrize("every", EVERY)
@pytest.mark.parametrize("call", ["a list", "an image"])
def test_no_header_ends_in_a_traceback(call: str, every: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("NO_PROXY", "*")
    current = [b""]
    begun = b'HTTP/1.1 200 OK\r\nETag: "x"\r\nContent-Length: 100\r\nConnection: close\r\n\r\nQFI\xfbbegun'
    asked = iter(range(1 << 30))

    def effect(_: str) -> Iterator[bytes]:
        # Only what was begun is continued, which is when a range is asked for.
        resumed = current[0].startswith(b"HTTP/1.1 206") and call == "an image"
        yield begun if resumed and next(asked) % 2 == 0 else current[0]

    with strange_server(effect) as server:
        asking = Asking(server.url, tmp_path)
        failures = []
        for what, current[0] in absurd_answers(BODY, every):
            try:
                told = outcome(call, asking)
            except Exception as bug:  # noqa: BLE001 - all of them are to be seen
                failures.append(f"{what}: {type(bug).__name__}: {bug}"[:300])
            else:
                if not told.isprintable() or len(told) > 4000:
                    failures.append(f"{what} is told: {told[:300]!r}")
    assert not failures, "\n".join(failures)
