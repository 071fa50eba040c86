import hashlib
from pathlib import Path

import pytest

from ci import verify_release
from ci.host.errors import InputError, ToolsmithError, UnknownOriginError
from ci.verify_release import VerifyReleaseRequest, read_subject
from tests.support.quiet import quiet_reporter

DIGEST = "ab" * 32


def test_a_file_is_known_by_its_bytes(tmp_path: Path) -> None:
    path = tmp_path / "some.qcow2"
    path.write_bytes(b"data")
    subject = read_subject(VerifyReleaseRequest(file=path), quiet_reporter())
    assert (subject.name, subject.size, subject.sha256) == (path.name, 4, hashlib.sha256(b"data").hexdigest())


@pytest.mark.parametrize("given", [DIGEST, DIGEST.upper(), f"sha256:{DIGEST}"])
def test_a_digest_is_taken_as_tools_print_it(given: str) -> None:
    subject = read_subject(VerifyReleaseRequest(digest=given), quiet_reporter())
    assert (subject.sha256, subject.name) == (DIGEST, None)


@pytest.mark.parametrize("given", ["", "latest", DIGEST[:-1], "g" * 64])
def test_what_is_no_digest_is_refused(given: str) -> None:
    with pytest.raises(InputError, match="is not a SHA-256"):
        read_subject(VerifyReleaseRequest(digest=given), quiet_reporter())


@pytest.mark.parametrize("name", ["", "nothing.qcow2"])
def test_a_file_that_cannot_be_read_is_named(tmp_path: Path, name: str) -> None:
    with pytest.raises(InputError, match="cannot be read"):
        read_subject(VerifyReleaseRequest(file=tmp_path / name), quiet_reporter())


@pytest.mark.parametrize(
    ("flags", "environ", "error"),
    [
        ([], {}, UnknownOriginError),
        (["--offline", "--repository", "o/r"], {}, UnknownOriginError),
        (["--repository", "r"], {}, InputError),
        (["--repository", "o/r"], {"GITHUB_API_URL": "http://api.github.com"}, InputError),
    ],
)
def test_what_nobody_needs_to_be_asked_about(
    flags: list[str], environ: dict[str, str], error: type[ToolsmithError], tmp_path: Path
) -> None:
    options = verify_release.arguments().parse_args(["--digest", DIGEST, "--releases", str(tmp_path), *flags])
    with pytest.raises(error):
        verify_release.main(options, quiet_reporter(), environ=environ)


def test_one_thing_is_asked_about_at_a_time() -> None:
    with pytest.raises(SystemExit):
        verify_release.arguments().parse_args(["--digest", DIGEST, "--tag", "v2026.11.23"])
