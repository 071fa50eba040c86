"""That the guest's apt does what was planned, asked by the script that apt calls before it begins."""

import shutil
from pathlib import Path

import pytest

from ci.host.process import Completed, run
from ci.host.repository import BUILD
from ci.image.guest_script import SCRIPT
from ci.image.packages.transaction import Transaction
from ci.records.build import PackageStep

pytestmark = pytest.mark.integration

# As apt 2.2 to 3.0 write it: see SendPkgsInfo in https://sources.debian.org/src/apt/2.4.13/apt-pkg/deb/dpkgpm.cc/
SAID = """\
VERSION 3
APT::Architecture=amd64
Dpkg::Use-Pty=0

snapd 2.58 amd64 foreign > - - none **REMOVE**
curl - - none < 7.81.0-1 amd64 foreign /var/lib/fountainkit-build/archive/curl_7.81.0-1_amd64.deb
git 1:2.34.1-1 amd64 foreign < 1:2.34.1-2 amd64 foreign /var/lib/fountainkit-build/archive/git_1%3a2.34.1-2_amd64.deb
curl - - none < 7.81.0-1 amd64 foreign **CONFIGURE**
"""
CURL = PackageStep(name="curl", before="", after="7.81.0-1")
GIT = PackageStep(name="git", before="1:2.34.1-1", after="1:2.34.1-2")
NEWER_GIT = PackageStep(name="git", before="1:2.34.1-1", after="1:2.34.1-3")
SNAPD = PackageStep(name="snapd", before="2.58", after="")
PLANNED = (CURL, GIT, SNAPD)


def compare(folder: Path, planned: tuple[PackageStep, ...], said: str = SAID) -> Completed:
    shutil.copy(BUILD / "provision" / SCRIPT, folder)
    plan = Transaction(request=(), changes=planned, install=()).plan
    (folder / "plan").write_text(plan)
    (folder / "said").write_text(said)
    return run(["sh", folder / SCRIPT, "compare"], stdin=folder / "said", timeout=60, ok=(0, 1))


def test_what_was_planned_is_let_through_and_noted(tmp_path: Path) -> None:
    assert compare(tmp_path, PLANNED).returncode == 0
    assert (tmp_path / "compared").exists()


@pytest.mark.parametrize(
    ("planned", "difference"),
    [
        ((CURL, GIT), "+snapd 2.58 -"),  # more goes
        ((*PLANNED, PackageStep(name="zstd", before="", after="1.4.8")), "-zstd - 1.4.8"),  # less comes
        ((CURL, NEWER_GIT, SNAPD), "-git 1:2.34.1-1 1:2.34.1-3"),
    ],
)
def test_anything_else_ends_it_before_it_begins_and_is_named(
    planned: tuple[PackageStep, ...], difference: str, tmp_path: Path
) -> None:
    done = compare(tmp_path, planned)
    assert done.returncode == 1
    assert difference in done.stderr.splitlines()
    assert "apt would not do what was planned" in done.stderr
    assert not (tmp_path / "compared").exists()
