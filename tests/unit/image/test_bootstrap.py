from pathlib import Path

import pytest

from ci.image.bootstrap import contained_argv, mmdebstrap_argv, recipe_digest
from ci.image.definition import Bootstrap

BOOKWORM = Bootstrap(suite="bookworm", keyring=Path("/usr/share/keyrings/k.gpg"), packages=("sudo", "grub-pc"))


@pytest.fixture
def recipe(tmp_path: Path) -> Path:
    folder = tmp_path / "recipe"
    folder.mkdir()
    (folder / "finish.sh").write_text("a")
    (folder / "layout.sfdisk").write_text("b")
    return folder


@pytest.mark.parametrize("change", [{"suite": "trixie"}, {"packages": ("sudo",)}, {"packages": ("grub-pc", "sudo")}])
def test_other_packages_make_another_base(recipe: Path, change: dict[str, object]) -> None:
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
    assert "--include=sudo,grub-pc" in argv
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
