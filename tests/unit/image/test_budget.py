import pytest

from ci.host.errors import BuildError
from ci.image.budget import MIB, require_within
from ci.image.earlier import Earlier
from ci.records.packages import Package

NAME = "fountainkit-toolsmith-debian-12-v2026.11.22.packages.tsv"


def package(name: str, mib: int) -> Package:
    return Package(name=name, version="1", architecture="amd64", installed_kib=mib * 1024)


OLD = (package("git", 40), package("linux-image-6.1.0-1-amd64", 390), package("nano", 3))
NEW = (package("git", 60), package("linux-image-6.1.0-2-amd64", 395), package("jq", 1))


def failure(earlier: Earlier | None) -> BuildError:
    with pytest.raises(BuildError) as caught:
        require_within(400, 400 * MIB + 1, NEW, lambda: earlier)
    return caught.value


@pytest.mark.parametrize(("budget", "size"), [(None, 1 << 60), (400, 400 * MIB), (400, 1)])
def test_an_image_within_its_budget_passes(budget: int | None, size: int) -> None:
    def nobody_asks() -> Earlier | None:
        raise AssertionError("an earlier image is of interest only where the budget is exceeded")

    require_within(budget, size, NEW, nobody_asks)


def test_a_larger_one_fails_and_names_what_grew_most() -> None:
    error = failure(Earlier(name=NAME, packages=OLD))
    assert error.message == (
        f"the image has 400.0 MiB, its budget is 400 MiB; since {NAME} grew git (+20.0 MiB), "
        "linux-image-6.1.0-2-amd64 (+5.0 MiB), jq (+1.0 MiB)"
    )
    assert "disk.max_image_mib" in error.hint
    largest, grown = error.details.split(f"Grown most since {NAME}:\n")
    assert [line.split()[2] for line in largest.splitlines()[1:]] == ["linux-image-6.1.0-2-amd64", "git", "jq"]
    assert [line.split()[2] for line in grown.splitlines()] == ["git", "linux-image-6.1.0-2-amd64", "jq"]


def test_without_an_earlier_image_the_largest_packages_have_to_do() -> None:
    error = failure(None)
    assert error.message == "the image has 400.0 MiB, its budget is 400 MiB"
    assert "linux-image-6.1.0-2-amd64" in error.details
    assert "no package list of an earlier image" in error.details


def test_where_no_package_grew_that_is_said() -> None:
    assert "grew no package" in failure(Earlier(name=NAME, packages=(*NEW, package("vim", 9)))).message
