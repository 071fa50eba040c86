import pytest

from ci.fetch.retry import LONGEST_PAUSE, LONGEST_RETRY_AFTER, Patience, Persistence
from ci.fetch.source import TransientError
from ci.host.errors import FetchError, RefusedError, RemoteError
from tests.support.quiet import quiet_reporter


class Clock:
    """Takes the waits instead of waiting."""

    def __init__(self) -> None:
        self.waits: list[float] = []

    def sleep(self, seconds: float) -> None:
        self.waits.append(seconds)


class Server:
    """Acts on each request, and loses the answers it was told to lose."""

    def __init__(self, *answers: Exception | None) -> None:
        self.answers = list(answers)
        self.made = 0

    def create(self) -> str:
        self.made += 1
        if self.answers and (failure := self.answers.pop(0)):
            raise failure
        return f"object {self.made}"

    def find(self) -> str | None:
        return f"object {self.made}" if self.made else None


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def persistence(clock: Clock) -> Persistence:
    return Persistence(Patience(attempts=4, sleep=clock.sleep), quiet_reporter())


def test_a_write_whose_answer_was_lost_is_not_made_twice(persistence: Persistence) -> None:
    server = Server(TransientError("connection reset"))
    assert persistence.write("creating", server.create, server.find) == "object 1"
    assert server.made == 1


def test_a_write_that_took_no_effect_is_repeated(persistence: Persistence) -> None:
    server = Server(TransientError("status 502"))
    assert persistence.write("creating", server.create, lambda: None) == "object 2"


def test_a_look_that_fails_in_passing_is_repeated_too(persistence: Persistence) -> None:
    server = Server(TransientError("connection reset"))
    looks = iter([TransientError("status 502"), None])

    def find() -> str | None:
        if failure := next(looks, None):
            raise failure
        return server.find()

    assert persistence.write("creating", server.create, find) == "object 1"
    assert server.made == 1


def test_a_first_attempt_is_made_without_looking(persistence: Persistence) -> None:
    assert persistence.write("creating", Server().create, lambda: "somebody else's") == "object 1"


def test_waits_grow_and_end_in_an_error_that_says_to_run_again(persistence: Persistence, clock: Clock) -> None:
    server = Server(*[TransientError("status 503")] * 9)
    with pytest.raises(RemoteError, match=r"creating failed: status 503 \(tried 4 times\)") as failure:
        persistence.read("creating", server.create)
    assert clock.waits == [1, 2, 4]
    assert "Run it again" in failure.value.hint


def test_the_server_says_how_long_to_wait(persistence: Persistence, clock: Clock) -> None:
    server = Server(TransientError("rate limit", retry_after=61))
    persistence.read("listing", server.create)
    assert clock.waits == [61]


def test_a_limit_that_outlasts_the_job_ends_it_at_once(persistence: Persistence, clock: Clock) -> None:
    server = Server(TransientError("GitHub's rate limit is reached", retry_after=LONGEST_RETRY_AFTER + 1))
    with pytest.raises(RemoteError, match="for another 901 s"):
        persistence.read("listing", server.create)
    assert clock.waits == []


def test_what_is_refused_is_not_repeated(persistence: Persistence) -> None:
    server = Server(RefusedError("no"))
    with pytest.raises(RefusedError):
        persistence.read("listing", server.create)
    assert server.made == 1


@pytest.mark.parametrize("retry_after", [0, -3])
def test_a_wait_that_is_over_is_none(persistence: Persistence, clock: Clock, retry_after: float) -> None:
    persistence.read("listing", Server(TransientError("busy", retry_after=retry_after)).create)
    assert clock.waits == [0]


def test_growing_waits_have_an_end(clock: Clock) -> None:
    server = Server(*[TransientError("status 503")] * 7)
    Persistence(Patience(attempts=8, sleep=clock.sleep), quiet_reporter()).read("listing", server.create)
    assert clock.waits == [1, 2, 4, 8, 16, LONGEST_PAUSE, LONGEST_PAUSE]


def test_after_an_attempt_that_moved_things_on_the_count_starts_again(persistence: Persistence, clock: Clock) -> None:
    server = Server(*[TransientError("connection reset")] * 6)
    progress = iter([False, False, True, False, False, True])
    assert persistence.read("download", server.create, lambda: next(progress)) == "object 7"
    assert clock.waits == [1, 2, 1, 2, 4, 1]


def test_a_download_that_is_given_up_is_a_fetch_error(clock: Clock) -> None:
    server = Server(*[TransientError("connection reset")] * 2)
    with pytest.raises(FetchError, match=r"download of x failed: connection reset \(tried 2 times\)"):
        Persistence(Patience(attempts=2, sleep=clock.sleep), quiet_reporter(), FetchError).read(
            "download of x", server.create
        )


def test_what_may_happen_once_is_final_where_it_happens_twice(persistence: Persistence, clock: Clock) -> None:
    refused = TransientError("403", final=FetchError("refused"))
    assert persistence.read("download", Server(refused).create) == "object 2"
    with pytest.raises(FetchError, match="refused"):
        persistence.read("download", Server(refused, TransientError("reset"), refused).create)
    assert clock.waits == [1, 1, 2]
    moved = iter([True, True, True])
    assert persistence.read("download", Server(refused, refused, refused).create, lambda: next(moved)) == "object 4"
