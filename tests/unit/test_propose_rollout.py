import argparse
import io

import pytest
from rich.console import Console

from ci import propose_rollout
from ci.host.errors import AccessError, InputError, ToolsmithError
from ci.host.progress import Reporter
from ci.propose_rollout import ProposeRolloutRequest
from ci.records.version import Version
from tests.support.quiet import quiet_reporter

ENVIRON = {"GITHUB_REPOSITORY": "o/r", "GITHUB_TOKEN": "t" * 40}
TAG = "v2026.11.23"
REQUEST = ProposeRolloutRequest(tag=Version.parse(TAG))


def options(*argv: str) -> argparse.Namespace:
    return propose_rollout.arguments().parse_args(argv)


def test_by_default_it_does_what_it_says_and_reopens_nothing() -> None:
    plain = options()
    assert not plain.dry_run
    assert not plain.reopen
    assert plain.tag is None


@pytest.mark.parametrize(
    ("argv", "environ", "error"),
    [
        ([], {}, InputError),
        ([], {"GITHUB_REF_TYPE": "branch", "GITHUB_REF_NAME": TAG}, InputError),
        ([], {"GITHUB_REF_TYPE": "tag", "GITHUB_REF_NAME": "nightly"}, InputError),
        (["--tag", "v2026.02.30"], {}, InputError),
        (["--tag", TAG, "--repository", "r"], {}, InputError),
        (["--tag", TAG], {"GITHUB_TOKEN": ""}, AccessError),
        (["--tag", TAG], {"GITHUB_API_URL": "http://api.github.com"}, InputError),
        (["--tag", TAG], {"FOUNTAINKIT_REPOSITORY": "FountainKit", "FOUNTAINKIT_TOKEN": "f" * 40}, InputError),
    ],
)
def test_what_nobody_needs_to_be_asked_about(
    argv: list[str], environ: dict[str, str], error: type[ToolsmithError]
) -> None:
    with pytest.raises(error):
        propose_rollout.main(options(*argv), quiet_reporter(), environ=ENVIRON | environ)


def test_without_fountainkits_token_it_says_what_it_leaves_out() -> None:
    said = io.StringIO()
    reporter = Reporter(Console(file=said, width=400), in_actions=False)
    environ = ENVIRON | {"FOUNTAINKIT_REPOSITORY": "o/FountainKit"}
    assert propose_rollout._consumer(REQUEST, reporter, environ, None) is None
    assert f"o/FountainKit gets no pull request for {TAG}" in said.getvalue()


def test_without_fountainkit_it_says_nothing() -> None:
    said = io.StringIO()
    reporter = Reporter(Console(file=said), in_actions=False)
    assert propose_rollout._consumer(REQUEST, reporter, ENVIRON | {"FOUNTAINKIT_TOKEN": "f" * 40}, None) is None
    assert said.getvalue() == ""


def test_fountainkit_is_asked_with_its_own_token() -> None:
    environ = ENVIRON | {"FOUNTAINKIT_REPOSITORY": "o/FountainKit", "FOUNTAINKIT_TOKEN": "f" * 40}
    found = propose_rollout._consumer(REQUEST, quiet_reporter(), environ, None)
    assert found is not None
    assert (found.context.repository, found.context.token) == ("o/FountainKit", "f" * 40)
