import pytest
from pytest_mock import MockerFixture

from ci import verify_release
from ci.github import context
from ci.host.errors import InputError, ToolError
from tests.support.quiet import quiet_reporter


def test_a_tag_of_no_repository_that_could_be_meant_is_an_error_that_says_so(mocker: MockerFixture) -> None:
    mocker.patch.object(context, "run", side_effect=ToolError("git failed", details="fatal: not a git repository"))
    options = verify_release.arguments().parse_args(["--tag", "v2026.11.23"])
    with pytest.raises(InputError, match="no repository is named"):
        verify_release.main(options, quiet_reporter(), environ={})
