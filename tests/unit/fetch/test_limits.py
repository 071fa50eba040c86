import pytest

from ci.fetch.limits import passes, wait_seconds


@pytest.mark.parametrize("status", [408, 425, 429, 500, 501, 502, 503, 504, 511, 599])
def test_these_pass(status: int) -> None:
    assert passes(status)


@pytest.mark.parametrize("status", [200, 301, 400, 401, 403, 404, 405, 407, 409, 410, 413, 416, 422, 451])
def test_these_do_not(status: int) -> None:
    assert not passes(status)


@pytest.mark.parametrize(
    ("status", "headers", "message", "seconds"),
    [
        (403, {"Retry-After": "7"}, "", 7),
        (403, {"retry-after": "soon"}, "", 60),
        (403, {}, "You have exceeded a secondary rate limit", 60),
        (
            403,
            {},
            "You have triggered an abuse detection mechanism. Please wait a few minutes before you try again.",
            60,
        ),
        (403, {"X-RateLimit-Remaining": "0", "X-RateLimit-Reset": "never"}, "", 60),
        (403, {"X-RateLimit-Remaining": "0", "X-RateLimit-Reset": "1"}, "", 1),
        (403, {"X-RateLimit-Remaining": "17"}, "Resource not accessible", None),
        (429, {}, "", 60),
        (503, {"Retry-After": "7"}, "rate limit", None),
    ],
)
def test_a_server_that_has_had_enough_says_for_how_long(
    status: int, headers: dict[str, str], message: str, seconds: float | None
) -> None:
    assert wait_seconds(status, headers, message) == seconds
