import os
import time
from collections.abc import Iterable
from pathlib import Path

import pytest

from ci.host.errors import BaseImageError
from ci.image.definition import Packages
from ci.image.disk.root_files import RootFiles
from ci.image.packages.apt import KEEP_SECONDS
from ci.image.packages.choose import BaseFacts
from ci.image.packages.dpkg import DIVERSIONS, STATUS
from ci.image.packages.requirements import Requirement

SYSTEMD = {"systemd": Requirement(programs=("systemctl",), needs={"units": "1"})}
STATES = "Package: systemd\nStatus: install ok {}\nVersion: 252\n"


@pytest.fixture
def base(tmp_path: Path) -> BaseFacts:
    return BaseFacts(tmp_path, "a" * 64)


def write(base: BaseFacts, path: str, text: str) -> None:
    file = base.path / path.strip("/")
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_text(text)


def test_a_base_that_cannot_be_built_upon_is_refused_before_anything_is_fetched(base: BaseFacts) -> None:
    write(base, STATUS, STATES.format("unpacked"))
    with pytest.raises(BaseImageError, match="not completely installed: systemd"):
        base.choose(Packages(install=()), SYSTEMD)


def test_a_base_with_another_program_than_the_one_that_is_needed_is_refused_too(base: BaseFacts) -> None:
    write(base, STATUS, STATES.format("installed"))
    write(base, DIVERSIONS, "/usr/bin/systemctl\n/usr/bin/systemctl.real\n:\n")
    with pytest.raises(BaseImageError, match="in the place of: /usr/bin/systemctl"):
        base.choose(Packages(install=()), SYSTEMD)


class OneFile(RootFiles):
    """A root file system with dpkg's list alone."""

    def names(self, folders: Iterable[str]) -> dict[str, tuple[str, ...]]:
        del folders
        return {}

    def read(self, paths: Iterable[str], *, limit: int, total: int) -> dict[str, bytes]:
        del limit, total
        return {STATUS: STATES.format("installed").encode()} if STATUS in paths else {}


def test_the_facts_of_a_base_stay_while_another_or_the_same_is_read(base: BaseFacts, tmp_path: Path) -> None:
    other, files = BaseFacts(tmp_path, "b" * 64), OneFile("", tmp_path)
    for facts in (base, other, other):
        facts.read(files)
    assert sorted(path.name for path in base.path.parent.glob("[!.]*")) == [base.path.name, other.path.name]
    assert (base.path / STATUS.strip("/")).is_file()


def test_facts_that_nobody_used_for_long_go(base: BaseFacts, tmp_path: Path) -> None:
    other, files = BaseFacts(tmp_path, "b" * 64), OneFile("", tmp_path)
    base.read(files)
    long_ago = time.time() - KEEP_SECONDS - 1
    os.utime(base.path, (long_ago, long_ago))
    other.read(files)
    assert not base.path.exists()
    assert other.path.exists()
