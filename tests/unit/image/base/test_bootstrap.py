import re
from itertools import pairwise
from pathlib import Path

import pytest

from ci.host.repository import ROOT
from ci.image.base.bootstrap import EXT4_FEATURES, LAYOUTS, contained_argv, mmdebstrap_argv, recipe_digest
from ci.image.definition import Bootstrap

RECIPE = ROOT / "build" / "bootstrap"
MIB = 1 << 20

BOOKWORM = Bootstrap(suite="bookworm", keyring=Path("/usr/share/keyrings/k.gpg"), packages=("sudo", "grub-pc"))


@pytest.fixture
def recipe(tmp_path: Path) -> Path:
    folder = tmp_path / "recipe"
    folder.mkdir()
    (folder / "finish.sh").write_text("a")
    (folder / "layout.sfdisk").write_text("b")
    return folder


@pytest.mark.parametrize(
    "change",
    [
        {"suite": "trixie"}, {"packages": ("sudo",)}, {"separate_boot": True},
    ],
)  # fmt: skip
def test_other_packages_or_partitions_make_another_base(recipe: Path, change: dict[str, object]) -> None:
    assert recipe_digest(BOOKWORM.model_copy(update=change), recipe) != recipe_digest(BOOKWORM, recipe)


@pytest.mark.parametrize("name", ["finish.sh", "layout.sfdisk", "new"])
def test_another_recipe_makes_another_base(recipe: Path, name: str) -> None:
    before = recipe_digest(BOOKWORM, recipe)
    (recipe / name).write_text("changed")
    assert recipe_digest(BOOKWORM, recipe) != before


def test_the_same_recipe_elsewhere_makes_the_same_base(recipe: Path, tmp_path: Path) -> None:
    before = recipe_digest(BOOKWORM, recipe)
    assert recipe_digest(BOOKWORM, recipe.rename(tmp_path / "elsewhere")) == before


def test_the_packages_are_vouched_for_by_the_definitions_keyring() -> None:
    argv = mmdebstrap_argv(BOOKWORM, [], Path("root.tar"))
    assert f"--keyring={BOOKWORM.keyring}" in argv
    assert "--include=grub-pc,sudo" in argv
    assert argv[-2:] == ["bookworm", "root.tar"]


def test_the_hosts_own_sources_come_after_the_target() -> None:
    sources = ["deb http://a bookworm main", "deb http://b bookworm-security main"]
    assert mmdebstrap_argv(BOOKWORM, sources, Path("root.tar"))[-4:] == ["bookworm", "root.tar", *sources]


def test_nothing_in_the_command_lets_unsigned_packages_in() -> None:
    command = " ".join(mmdebstrap_argv(BOOKWORM, ["deb http://a bookworm main"], Path("root.tar"))).lower()
    for weakness in ("trusted", "allow-unauthenticated", "allowinsecure", "allow-insecure"):
        assert weakness not in command


def test_only_root_needs_a_namespace_around_the_command() -> None:
    argv = mmdebstrap_argv(BOOKWORM, [], Path("root.tar"))
    assert contained_argv(argv, root=False) == argv
    around = contained_argv(argv, root=True)
    assert (around[0], around[-len(argv) :]) == ("unshare", argv)
    assert "--kill-child=KILL" in around


@pytest.mark.parametrize("separate_boot", [False, True])
def test_the_partitions_do_not_overlap_and_leave_the_root_room(*, separate_boot: bool) -> None:
    table, size = LAYOUTS[separate_boot]
    rows = re.findall(r"^(\d+) : start=(\d+)(?:, size=(\d+))?, ", (RECIPE / table).read_text(), re.MULTILINE)
    assert ("16" in {row[0] for row in rows}) == separate_boot
    places = sorted((int(start), int(start) + int(size or 0)) for _, start, size in rows)
    assert all(end <= start for (_, end), (start, _) in pairwise(places))
    (root,) = (int(start) for number, start, size in rows if number == "1" and not size)
    assert root == places[-1][0]
    assert size - root * 512 > 2048 * MIB


def test_the_file_systems_have_what_is_listed_and_nothing_that_this_machine_adds() -> None:
    first, *features = EXT4_FEATURES.split(",")
    assert first == "none"  # or the list would be added to the machine's own
    assert len(features) == len(set(features))
    assert {"has_journal", "extent", "metadata_csum", "64bit"} <= set(features)
    # grub before 2.12 reads no file system with these.
    assert not set(features) & {"metadata_csum_seed", "orphan_file"}
