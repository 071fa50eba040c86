from pathlib import Path

import pytest

from ci.host.errors import BaseImageError, BuildError, FetchError, ToolError, VerificationError
from ci.image.packages import apt, dpkg
from ci.image.packages.archive import CONFIGURATION
from ci.image.packages.transaction import POLICY, Transaction
from ci.records.build import PackageStep

FACTS = Path("/cache/facts")
STATUS = """\
Package: curl
Status: install ok installed
Version: 7.88.1-10
Architecture: amd64

Package: vim
Status: install ok installed
Version: 2:9.0
Architecture: amd64

Package: gone
Status: deinstall ok config-files
Version: 1.0
Architecture: all
"""


def test_what_there_will_be_is_what_is_there_and_what_becomes_of_it(tmp_path: Path) -> None:
    status = tmp_path / "facts" / dpkg.STATUS.strip("/")
    status.parent.mkdir(parents=True)
    status.write_text(STATUS)
    changes = (
        PackageStep(name="curl", before="7.88.1-10", after="7.88.1-11"),
        PackageStep(name="git", before="", after="1:2.39.5"),
        PackageStep(name="vim", before="2:9.0", after=""),
    )
    base = apt.Apt(tmp_path / "apt", tmp_path / "facts", tmp_path / "archives")
    nothing, something = (Transaction(request=(), changes=some, install=()) for some in ((), changes))
    assert base.versions(nothing) == {"curl": "7.88.1-10", "vim": "2:9.0"}
    assert base.versions(something) == {"curl": "7.88.1-11", "git": "1:2.39.5"}


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


def test_packages_are_chosen_by_the_same_rules_here_and_in_the_appliance() -> None:
    assert POLICY in apt.configuration(Path("/cache/apt"), FACTS, Path("/cache/packages"))
    assert POLICY in CONFIGURATION


def test_what_of_the_base_binds_packages_is_read_from_it() -> None:
    assert {dpkg.STATUS, dpkg.ARCHITECTURES, dpkg.DIVERSIONS} <= set(apt.FACT_FILES)


def test_lists_must_be_whole_for_an_image_not_to_lack_updates_quietly() -> None:
    assert 'Never-Include-Phased-Updates "true"' in apt.configuration(Path("/a"), FACTS, Path("/b"))
    assert 'Acquire::ForceHash "SHA256"' in apt.configuration(Path("/a"), FACTS, Path("/b"))


@pytest.mark.parametrize(
    ("details", "command", "kind"),
    [
        ("W: GPG error: http://a bookworm InRelease: NO_PUBKEY 6ED0E7B82643E131", "update", VerificationError),
        ("E: The repository 'http://a bookworm Release' is not signed.", "update", VerificationError),
        ("Err:1 http://a  Could not resolve 'a'", "update", FetchError),
        ("E: Failed to fetch http://a/x.deb  404  Not Found", "dist-upgrade", FetchError),
        ("E: Unable to locate package cuurl", "dist-upgrade", BuildError),
        ("E: Package 'x' has no installation candidate", "install", BuildError),
        ("E: Unmet dependencies", "dist-upgrade", ToolError),
    ],
)
def test_a_failure_is_told_by_what_it_means(details: str, command: str, kind: type[Exception]) -> None:
    explained = apt.explain(ToolError("apt-get failed", details=details), command)
    assert type(explained) is kind
    assert explained.details == details


def test_packages_that_no_archive_has_are_named_each_once() -> None:
    details = """\
E: Unable to locate package wgett
E: Package 'cuurl' has no installation candidate
E: Unable to locate package wgett
"""
    explained = apt.explain(ToolError("apt-get failed", details=details), "install")
    assert explained.message == "the package archive has no cuurl, wgett, which the image definition installs"
