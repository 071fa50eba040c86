"""A consumer whose server sends headers without sense: the image, or an error that says so."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from ci.host.errors import FetchError, ToolsmithError
from tests.support.absurd import ADDRESSES, EVERY, HUGE, absurd_answers
from tests.support.consuming import FILE, IMAGE, Consumer, manifest
from tests.support.strange_server import answer, strange_server

pytestmark = [
    pytest.mark.integration,
    pytest.mark.filterwarnings("ignore:unclosed:ResourceWarning"),  # as in tests/integration/fetch
]
# So that the many answers take little time; what an image is, is the manifest's to say.
SMALL = IMAGE[:1000]


@pytest.fixture
def consumer(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Consumer:
    monkeypatch.setenv("NO_PROXY", "*")
    return Consumer(tmp_path)


@pytest.mark.parametrize("every", EVERY)
def test_no_header_of_an_images_server_ends_in_a_traceback(consumer: Consumer, every: int) -> None:
    current = [b""]

    def effect(_: str) -> Iterator[bytes]:
        yield current[0]

    failures = []
    with strange_server(effect) as server:
        consumer.write(manifest(f"{server.url}/{FILE}"))
        for what, current[0] in absurd_answers(SMALL, every):
            try:
                consumer.run()
            except ToolsmithError as error:
                if not error.message.isprintable() or len(error.message) > 1500:
                    failures.append(f"{what} is told: {error.message[:300]!r}")
            except Exception as bug:  # noqa: BLE001 - all of them are to be seen
                failures.append(f"{what}: {type(bug).__name__}: {bug}"[:300])
    assert not failures, "\n".join(failures)
    assert all(file == ".toolsmith/tools.json" or ".part" in file for file in consumer.files())
    assert all(line.isprintable() for line in consumer.said.getvalue().replace("\r", "").split("\n"))


def test_a_manifest_behind_such_headers_is_refused_and_nothing_written(consumer: Consumer) -> None:
    with strange_server(lambda _: [answers.pop(0)] if len(answers) > 1 else answers) as server:
        for location in ADDRESSES:
            answers = [b"HTTP/1.1 302 X\r\nConnection: close\r\nLocation: " + location + b"\r\n\r\n"]
            with pytest.raises(FetchError) as raised:
                consumer.run("--manifest", f"{server.url}/tools.json")
            assert raised.value.message.isprintable()
        answers = [answer("200 OK", b"{}", length=HUGE.decode())]
        with pytest.raises(ToolsmithError):
            consumer.run("--manifest", f"{server.url}/tools.json")
    assert consumer.files() == set()
