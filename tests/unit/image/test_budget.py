from pathlib import Path

import pytest

from ci.host.errors import BuildError
from ci.image.budget import MIB, Earlier, find_earlier, require_within
from ci.records.packages import Package, to_tsv

NAME = "fountainkit-toolsmith-debian-12-v2026.11.22.packages.tsv"


def package(name: str, mib: int) -> Package:
    return Package(name=name, version="1", architecture="amd64", installed_kib=mib * 1024)


OLD = (package("git", 40), package("linux-image-6.1.0-1-amd64", 390), package("nano", 3))
NEW = (package("git", 60), package("linux-image-6.1.0-2-amd64", 395), package("jq", 1))


def failure(earlier: Earlier | None) -> BuildError:
    with pytest.raises(BuildError) as caught:
        require_within(400, 400 * MIB + 1, NEW, earlier)
    return caught.value


@pytest.mark.parametrize(("budget", "size"), [(None, 1 << 60), (400, 400 * MIB), (400, 1)])
def test_an_image_within_its_budget_passes(budget: int | None, size: int) -> None:
    require_within(budget, size, NEW, None)


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


def test_the_newest_earlier_image_of_the_distribution_is_compared_with(tmp_path: Path) -> None:
    for name, packages in (
        ("debian-12-v2026.11.22", OLD),
        ("debian-12-v2026.11.9", NEW),  # no version
        ("debian-12-v2026.11.21.10", NEW),
        ("ubuntu-2204-v2026.11.30", NEW),
        ("debian-12-extra-v2026.11.30", NEW),
    ):
        (tmp_path / f"fountainkit-toolsmith-{name}.packages.tsv").write_text(to_tsv(packages))
    assert find_earlier(tmp_path, "debian-12") == Earlier(name=NAME, packages=OLD)
    (tmp_path / NAME.replace("22", "23")).write_text("damaged")
    (tmp_path / NAME.replace("22", "24")).mkdir()
    assert find_earlier(tmp_path, "debian-12") == Earlier(name=NAME, packages=OLD)
    assert find_earlier(tmp_path, "debian-13") is None
    assert find_earlier(tmp_path / "none", "debian-12") is None
