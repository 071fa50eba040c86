import pytest

from ci.image.inventory import DPKG_QUERY_FORMAT, parse_dpkg_query


def line(
    name: str, version: str = "1", architecture: str = "amd64", size: str = "10", status: str = "installed"
) -> str:
    return f"{name}\t{version}\t{architecture}\t{size}\t{status}"


def parse(*lines: str) -> list[tuple[str, str, str, int]]:
    packages = parse_dpkg_query("".join(f"{text}\n" for text in lines))
    return [(item.name, item.version, item.architecture, item.installed_kib) for item in packages]


def test_the_format_asks_for_as_many_fields_as_are_read() -> None:
    assert DPKG_QUERY_FORMAT.count("\\t") + 1 == len(line("curl").split("\t"))


def test_packages_come_sorted_by_name() -> None:
    assert [name for name, *_ in parse(line("zstd"), line("curl"), line("libc6"))] == ["curl", "libc6", "zstd"]


@pytest.mark.parametrize("status", ["config-files", "not-installed", "half-installed", "unpacked", "half-configured"])
def test_what_is_not_fully_installed_is_left_out(status: str) -> None:
    assert parse(line("gone", status=status), line("curl")) == [("curl", "1", "amd64", 10)]


def test_a_package_without_a_size_has_none() -> None:
    assert parse(line("meta", size="")) == [("meta", "1", "amd64", 0)]


def test_two_architectures_of_one_package_both_count() -> None:
    found = parse(line("libc6", architecture="i386"), line("libc6"))
    assert [architecture for _, _, architecture, _ in found] == ["amd64", "i386"]


def test_versions_are_ordered_as_debian_orders_them() -> None:
    in_order = ["1.0~rc1-1", "1.0-1", "1.0-1ubuntu1", "1.0-1+b1", "1.9-1", "1.10-1", "1:0.1-1", "2:0.1-1"]
    found = parse(*(line("linux", version) for version in reversed(in_order)))
    assert [version for _, version, _, _ in found] == in_order


def test_an_epoch_is_kept_in_the_list() -> None:
    assert parse(line("git", "1:2.39.5-0+deb12u2")) == [("git", "1:2.39.5-0+deb12u2", "amd64", 10)]


def test_no_packages_is_no_error() -> None:
    assert parse() == []
