"""Packages chosen and fetched with this machine's apt, for the real base and from the real archive."""

import hashlib
from pathlib import Path

import pytest
from debian.debfile import DebFile

from ci.build_image import BUILD
from ci.host.errors import BuildError
from ci.host.files import sha256_file
from ci.host.process import run
from ci.image import layout, qcow2
from ci.image.apt import STATUS, installed
from ci.image.definition import OperatingSystem, Packages, load_definition
from ci.image.packages import BaseFacts, Choice

pytestmark = pytest.mark.integration

BOOKWORM = OperatingSystem(id="debian", version_id="12")


@pytest.fixture(scope="module")
def wanted() -> Packages:
    return load_definition("bookworm", BUILD / "images").packages


@pytest.fixture(scope="module")
def cache(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("cache")


@pytest.fixture(scope="module")
def facts(bookworm_base: Path, cache: Path, tmp_path_factory: pytest.TempPathFactory) -> BaseFacts:
    work = tmp_path_factory.mktemp("work")
    raw = work / "base.raw"
    qcow2.convert_to_raw(bookworm_base, raw)
    root = layout.find_root(raw, layout.read_table(raw), BOOKWORM, work)
    facts = BaseFacts(cache, sha256_file(bookworm_base))
    facts.read(layout.root_files(raw, root, work))
    return facts


@pytest.fixture(scope="module")
def choice(wanted: Packages, facts: BaseFacts) -> Choice:
    return facts.choose(wanted)


def test_what_is_wanted_and_not_there_is_fetched(choice: Choice, wanted: Packages, facts: BaseFacts) -> None:
    there = set(installed(facts.path / STATUS.strip("/")))
    assert "systemd" in there
    assert set(wanted.install) <= there | {deb.name for deb in choice.transaction.install}


def test_what_is_unwanted_goes_with_what_nothing_else_needs(choice: Choice) -> None:
    gone = {name for name, _, _ in (entry.partition(" ") for entry in choice.transaction.remove)}
    assert {"needrestart", "unattended-upgrades", "libintl-perl"} <= gone
    assert not gone & {"python3", "systemd", "openssh-server"}


def test_the_files_are_those_that_were_chosen(choice: Choice) -> None:
    promised = {deb.file: deb.sha256 for deb in choice.transaction.install}
    assert {path.name: hashlib.sha256(path.read_bytes()).hexdigest() for path in choice.files} == promised


def test_a_second_look_comes_to_the_same_and_repairs_a_damaged_file(
    choice: Choice, wanted: Packages, facts: BaseFacts
) -> None:
    damaged = choice.files[0]
    content = bytearray(damaged.read_bytes())
    content[-1] ^= 1
    damaged.write_bytes(content)
    again = facts.choose(wanted)
    assert again == choice
    assert sha256_file(damaged) == choice.transaction.install[0].sha256


def test_a_package_that_the_archive_lacks_is_named(wanted: Packages, facts: BaseFacts) -> None:
    misspelt = wanted.model_copy(update={"install": (*wanted.install, "cuurl")})
    with pytest.raises(BuildError, match="does not have all packages") as caught:
        facts.choose(misspelt)
    assert "cuurl" in caught.value.details


def test_the_disk_holds_each_package_and_an_index_of_them(choice: Choice, tmp_path: Path) -> None:
    image = tmp_path / "archive.img"
    choice.write_archive(image, tmp_path)
    out = tmp_path / "out"
    out.mkdir()
    run(["debugfs", "-R", f"rdump / {out}", image], timeout=60)
    index = (out / "Packages").read_text(encoding="utf-8")
    for deb in choice.transaction.install:
        path = out / deb.file
        assert f"Filename: ./{deb.file}\nSize: {path.stat().st_size}\n" in index
        with path.open("rb") as file:
            assert DebFile(fileobj=file).debcontrol()["Version"] == deb.version
