"""For all tests: how the property tests draw their examples, what is left to the night, and who works on what."""

import signal
from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import HealthCheck, settings
from hypothesis.internal.conjecture import providers
from hypothesis.internal.constants_ast import Constants

# Without a database no run depends on what an earlier one had found. A deadline, and the check for slow drawing, are
# assertions about the wall clock, which a busy machine breaks.
settings.register_profile(
    "repeatable",
    derandomize=True,
    max_examples=100,
    database=None,
    deadline=None,
    print_blob=True,
    suppress_health_check=[HealthCheck.too_slow],
)
settings.register_profile("searching", settings.get_profile("repeatable"), derandomize=False, max_examples=5000)
settings.load_profile("repeatable")

TESTS = Path(__file__).parent
# For two workers of pytest-xdist, each of which takes the next file that nobody has (`-n 2 --dist loadfile
# --no-loadscope-reorder`): the first file makes what all wait for that need an image. Meanwhile the other worker has
# the second, and those that need none; the third is what the first worker takes beforehand.
FIRST = ("workflows/test_real_release.py", "host/test_accelerator.py", "boot/test_consumer_machine.py")
BASE = "base"  # the fixture that everything with an image stands on


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption("--full", action="store_true", help="run the tests marked `full`, too; `make full` runs them")


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    if not config.getoption("full"):
        left_out = [item for item in items if item.get_closest_marker("full")]
        config.hook.pytest_deselected(items=left_out)
        items[:] = [item for item in items if not item.get_closest_marker("full")]
    ranks = {TESTS / "integration" / name: rank for rank, name in enumerate(FIRST)}
    items.sort(key=lambda item: ranks.get(item.path, len(ranks) + (BASE in getattr(item, "fixturenames", ()))))


@pytest.hookimpl(trylast=True)  # when the profile that was asked for is loaded
def pytest_configure(config: pytest.Config) -> None:
    config.addinivalue_line("markers", "full: one more case of what another test has shown; left out without --full")
    if settings().derandomize:
        # Hypothesis draws literals of the modules that are loaded, too: of others when a test is run alone, and of none
        # where a folder above the checkout is called `tests`.
        providers._get_local_constants = Constants


@pytest.fixture
def hangups() -> Iterator[None]:
    """As in a terminal: nohup(1) has them ignored."""
    before = signal.signal(signal.SIGHUP, signal.SIG_DFL)
    yield
    signal.signal(signal.SIGHUP, before)


@pytest.fixture(params=[(signal.default_int_handler, signal.SIG_DFL), (signal.SIG_IGN, signal.SIG_IGN)])
def ctrl_c_while_loading(request: pytest.FixtureRequest) -> Iterator[signal.Handlers]:
    """What handles Ctrl-C while a command is loaded, given what did before, which this sets."""
    before, while_loading = request.param
    outside = signal.signal(signal.SIGINT, before)
    yield while_loading
    signal.signal(signal.SIGINT, outside)
