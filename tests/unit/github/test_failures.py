import time

import pytest

from ci.fetch.source import AbsentError, TransientError
from ci.github.answers import RepositoryFacts
from ci.github.failures import from_status
from ci.host.errors import AccessError, RefusedError, RejectedError

SECONDARY = {"message": "You have exceeded a secondary rate limit. Please wait a few minutes before you try again."}


@pytest.mark.parametrize("status", [408, 425, 500, 502, 503, 504])
def test_what_a_server_says_of_itself_passes(status: int) -> None:
    failure = from_status(status, {}, {}, "GET /x")
    assert isinstance(failure, TransientError)
    assert failure.retry_after is None


def test_a_secondary_limit_is_waited_for_as_long_as_it_says() -> None:
    failure = from_status(403, {"retry-after": "17"}, SECONDARY, "POST /x")
    assert isinstance(failure, TransientError)
    assert failure.retry_after == 17


def test_a_secondary_limit_without_a_time_is_a_minute() -> None:
    failure = from_status(403, {}, SECONDARY, "POST /x")
    assert isinstance(failure, TransientError)
    assert failure.retry_after == 60


def test_a_primary_limit_lasts_until_its_reset(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(time, "time", lambda: 1_000_000.0)
    headers = {"x-ratelimit-remaining": "0", "x-ratelimit-reset": "1000100"}
    failure = from_status(403, headers, {"message": "API rate limit exceeded for user ID 1."}, "GET /x")
    assert isinstance(failure, TransientError)
    assert failure.retry_after == 101  # a second more than it asks for


def test_a_reset_in_the_past_is_no_negative_wait() -> None:
    failure = from_status(429, {"x-ratelimit-remaining": "0", "x-ratelimit-reset": "1"}, {}, "GET /x")
    assert isinstance(failure, TransientError)
    assert failure.retry_after == 1


@pytest.mark.parametrize("wait", ["soon", "", "Wed, 21 Oct 1998 07:28:00 GMT"])
def test_a_wait_that_is_no_number_is_a_minute(wait: str) -> None:
    failure = from_status(429, {"retry-after": wait}, {}, "GET /x")
    assert isinstance(failure, TransientError)
    assert failure.retry_after == 60


REFUSED = {"message": "Resource not accessible by integration"}


@pytest.mark.parametrize(
    ("accepted", "words"),
    [
        ("contents=write", "it needs contents: write"),
        ("pull_requests=write", "it needs pull-requests: write"),
        ("issues=write; pull_requests=write", "it needs issues: write, or pull-requests: write"),
        (
            "contents=write; contents=write,workflows=write",
            "it needs contents: write, or contents: write and workflows: write",
        ),
    ],
)
def test_a_403_names_the_permission_that_github_names(accepted: str, words: str) -> None:
    headers = {"x-ratelimit-remaining": "4999", "X-Accepted-GitHub-Permissions": accepted}
    failure = from_status(403, headers, REFUSED, "POST /x")
    assert isinstance(failure, AccessError)
    assert words in failure.message
    assert ("which no GITHUB_TOKEN has" in failure.hint) == ("workflows" in accepted)


def test_a_403_that_names_nothing_is_about_the_permissions_of_a_release() -> None:
    failure = from_status(403, {}, REFUSED, "POST /x")
    assert isinstance(failure, AccessError)
    assert "contents: write" in failure.hint


def test_a_403_that_is_about_a_setting_names_the_setting() -> None:
    data = {"message": "GitHub Actions is not permitted to create or approve pull requests."}
    failure = from_status(403, {"X-Accepted-GitHub-Permissions": "pull_requests=write"}, data, "POST /pulls")
    assert isinstance(failure, AccessError)
    assert "Allow GitHub Actions to create and approve pull requests" in failure.hint
    assert "needs" not in failure.message


def test_a_403_of_an_archived_repository_is_not_about_the_token() -> None:
    failure = from_status(403, {}, {"message": "Repository was archived so is read-only."}, "POST /x")
    assert isinstance(failure, RefusedError)
    assert "Unarchive" in failure.hint


@pytest.mark.parametrize(
    "request_line",
    ["POST /releases", "POST /git/trees", "POST /git/refs", "POST /pulls", "PATCH /pulls/1", "PATCH /git/refs/heads/a"],
)
def test_a_404_to_what_is_made_anew_or_cannot_be_gone_is_how_a_classic_token_is_refused(request_line: str) -> None:
    failure = from_status(404, {"X-OAuth-Scopes": "gist"}, {"message": "Not Found"}, request_line)
    assert isinstance(failure, AccessError)
    assert "its scopes are: gist" in failure.message
    assert "`repo`" in failure.hint


@pytest.mark.parametrize("request_line", ["GET /releases", "PATCH /releases/1", "POST /releases/1/assets"])
def test_a_404_to_anything_else_is_an_absence(request_line: str) -> None:
    assert isinstance(from_status(404, {"X-OAuth-Scopes": "repo"}, {"message": "Not Found"}, request_line), AbsentError)


def test_a_401_is_about_the_token() -> None:
    failure = from_status(401, {}, {"message": "Bad credentials"}, "GET /x")
    assert isinstance(failure, AccessError)
    assert "expired" in failure.hint


def test_a_422_tells_its_codes_and_its_words() -> None:
    # As GitHub answered a second asset of one name: @octokit/fixtures 23.1.2, release-assets-conflict.
    data = {
        "message": "Validation Failed",
        "errors": [{"resource": "ReleaseAsset", "code": "already_exists", "field": "name"}],
    }
    failure = from_status(422, {}, data, "POST /x")
    assert isinstance(failure, RejectedError)
    assert failure.codes == {"already_exists"}
    assert "Validation Failed; name: already_exists" in failure.message


@pytest.mark.parametrize(
    "data", [{"errors": ["text"]}, {"errors": 5}, {"errors": None}, {"message": None}, {"message": {"a": 1}}]
)
def test_an_answer_of_another_shape_is_still_a_refusal(data: dict[str, object]) -> None:
    assert isinstance(from_status(422, {}, data, "POST /x"), RejectedError)


def test_nothing_can_depend_on_what_a_repository_says_of_a_user() -> None:
    """`permissions` is not what the token may: https://github.com/flathub-infra/flatpak-external-data-checker/pull/223."""
    told = {"id": 1, "full_name": "o/r", "default_branch": "main", "permissions": {"push": False}}
    assert not hasattr(RepositoryFacts.model_validate(told), "permissions")


def test_what_github_says_is_shown_on_one_line_and_harms_no_terminal() -> None:
    failure = from_status(422, {}, {"message": "a\x1b[2J\ud800\nb", "errors": [{"message": "\x07" * 9999}]}, "POST /x")
    assert isinstance(failure, RejectedError)
    assert failure.message.isprintable()
    assert len(failure.message) < 2500
