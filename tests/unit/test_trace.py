import hashlib
from pathlib import Path

import pytest

from ci import trace
from ci.host.errors import InputError, ToolsmithError, UnknownOriginError
from ci.host.progress import quiet_reporter
from ci.release.origin import Kind

DIGEST = "ab" * 32


def test_a_file_is_what_is_there(tmp_path: Path) -> None:
    path = tmp_path / "v2026.11.23"
    path.write_bytes(b"data")
    subject = trace.read_subject(str(path), quiet_reporter())
    assert (subject.kind, subject.name, subject.size) == (Kind.FILE, "v2026.11.23", 4)
    assert subject.sha256 == hashlib.sha256(b"data").hexdigest()


@pytest.mark.parametrize("given", [DIGEST, DIGEST.upper(), f"sha256:{DIGEST}"])
def test_a_digest_is_taken_as_tools_print_it(given: str) -> None:
    subject = trace.read_subject(given, quiet_reporter())
    assert (subject.kind, subject.sha256) == (Kind.DIGEST, DIGEST)


def test_a_tag_is_a_version() -> None:
    assert trace.read_subject("v2026.11.23.1", quiet_reporter()).tag == "v2026.11.23.1"


@pytest.mark.parametrize("given", ["", ".", "latest", "v2026.02.30", DIGEST[:-1], f"{DIGEST}\n", "no/such/file.qcow2"])
def test_anything_else_is_refused(given: str) -> None:
    with pytest.raises(InputError, match="is no file, no SHA-256 and no tag"):
        trace.read_subject(given, quiet_reporter())


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
    options = trace.arguments().parse_args([DIGEST, "--releases", str(tmp_path), *flags])
    with pytest.raises(error):
        trace.main(options, quiet_reporter(), environ=environ)
