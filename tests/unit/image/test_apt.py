from pathlib import Path

import pytest

from ci.host.errors import BaseImageError, BuildError, FetchError, ToolError, VerificationError
from ci.image import apt

SHA = "a" * 64
FACTS = Path("/cache/facts")
STATUS = """\
Package: curl
Status: install ok installed
Version: 7.88.1-10
Architecture: amd64

Package: gone
Status: deinstall ok config-files
Version: 1.0
Architecture: all

Package: git
Status: install ok installed
Version: 1:2.39.5-0
Architecture: amd64
Description: a\x00description \udcff
 with a line
"""


def line(name: str, digest: str = f"SHA256:{SHA}") -> str:
    return f"'http://deb.example.org/pool/{name}' {name} 123 {digest}\n"


def test_files_are_read_with_their_digests_and_sorted() -> None:
    output = line("git_1%3a2.39.5-0+deb12u3_amd64.deb") + line("ca-certificates_20230311_all.deb")
    assert apt.parse_files(output) == (
        apt.Deb(name="ca-certificates", version="20230311", architecture="all", size=123, sha256=SHA),
        apt.Deb(name="git", version="1:2.39.5-0+deb12u3", architecture="amd64", size=123, sha256=SHA),
    )


def test_a_file_is_called_what_apt_calls_it() -> None:
    (deb,) = apt.parse_files(line("git_1%3a2.39.5-0+deb12u3_amd64.deb"))
    assert deb.file == "git_1%3a2.39.5-0+deb12u3_amd64.deb"


def test_a_file_without_a_digest_that_can_be_trusted_is_refused() -> None:
    with pytest.raises(BuildError, match="not understood"):
        apt.parse_files(line("git_2_amd64.deb", "MD5Sum:0123"))


def test_what_goes_is_read_from_the_simulation() -> None:
    output = "NOTE: a simulation\nPurg wget [1.21.3-1]\nRemv file [1:5.44-3] [libmagic1:amd64 ]\nInst git (2 [amd64])\n"
    assert apt.parse_removed(output) == ("file 1:5.44-3", "wget 1.21.3-1")


def test_only_what_is_installed_counts(tmp_path: Path) -> None:
    status = tmp_path / "status"
    status.write_bytes(STATUS.encode(errors="surrogateescape"))
    assert apt.installed(status) == {"curl": "7.88.1-10", "git": "1:2.39.5-0"}


def test_a_base_without_dpkg_is_refused(tmp_path: Path) -> None:
    with pytest.raises(BaseImageError, match="no dpkg status"):
        apt.installed(tmp_path / "status")


@pytest.mark.parametrize(
    "text",
    [
        "deb http://archive.ubuntu.com/ubuntu jammy main\n",
        "deb [arch=amd64] https://deb.debian.org/debian bookworm main\n",
        "Types: deb\nURIs: http://a.example https://b.example\nSuites: noble\n",
    ],
)
def test_sources_on_the_web_are_taken_as_they_are(text: str) -> None:
    assert apt.our_source(text, FACTS) == text


@pytest.mark.parametrize(
    "text",
    [
        "deb [trusted=yes] file:/etc ./\n",
        "deb copy:///root/ ./\n",
        "deb cdrom:[Debian]/ bookworm main\ndeb ssh://host/x ./\n",
        "Types: deb\nURIs: http://a.example file:/home\nSuites: ./\n",
        "URIs: mirror+file:/etc/passwd\n",
    ],
)
def test_sources_that_are_this_machines_files_are_refused(text: str) -> None:
    with pytest.raises(BaseImageError, match="this machine's"):
        apt.our_source(text, FACTS)


@pytest.mark.parametrize(
    "text",
    ["deb [signed-by=/usr/share/keyrings/x.gpg] http://a.example y z\n", "Signed-By: /usr/share/keyrings/x.gpg\n"],
)
def test_a_source_is_checked_with_the_bases_key_not_ours(text: str) -> None:
    assert apt.our_source(text, FACTS) == text.replace("/usr", f"{FACTS}/usr")


def test_apt_stays_out_of_this_machines_own_state() -> None:
    settings = apt.configuration(Path("/cache/apt"), FACTS, Path("/cache/packages"))
    folders = [row for row in settings.splitlines() if row.startswith("Dir")]
    allowed = ('"/cache/', '"none"', '"/bin/false"', '"apt.conf.d"', '"sources.list.d"', '"preferences.d"')
    assert folders
    assert all(row.split(" ")[1].startswith(allowed) for row in folders)


def test_lists_must_be_whole_for_an_image_not_to_lack_updates_quietly() -> None:
    assert 'Never-Include-Phased-Updates "true"' in apt.configuration(Path("/a"), FACTS, Path("/b"))
    assert 'Acquire::ForceHash "SHA256"' in apt.configuration(Path("/a"), FACTS, Path("/b"))


@pytest.mark.parametrize(
    ("details", "command", "kind"),
    [
        ("W: GPG error: http://a bookworm InRelease: NO_PUBKEY 6ED0E7B82643E131", "update", VerificationError),
        ("E: The repository 'http://a bookworm Release' is not signed.", "update", VerificationError),
        ("Err:1 http://a  Could not resolve 'a'", "update", FetchError),
        ("E: Failed to fetch http://a/x.deb  404  Not Found", "upgrade", FetchError),
        ("E: Unable to locate package cuurl", "upgrade", BuildError),
        ("E: Package 'x' has no installation candidate", "install", BuildError),
        ("E: Unmet dependencies", "upgrade", ToolError),
    ],
)
def test_a_failure_is_told_by_what_it_means(details: str, command: str, kind: type[Exception]) -> None:
    explained = apt.explain(ToolError("apt-get failed", details=details), command)
    assert type(explained) is kind
    assert explained.details == details
