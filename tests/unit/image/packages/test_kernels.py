from pathlib import Path

import pytest

from ci.host.errors import BaseImageError
from ci.image.packages.kernels import kernels, leftovers, module_lists, newest_kernel, require_shares

NEW = "5.15.0-151-generic"
# What Ubuntu's cloud image has of two kernels, and of none in particular.
OLD_PACKAGES = (
    "linux-headers-5.15.0-9",
    "linux-headers-5.15.0-9-generic",
    "linux-image-5.15.0-9-generic",
    "linux-modules-5.15.0-9-generic",
    "linux-modules-extra-5.15.0-9-generic",
)
NEW_PACKAGES = (
    "linux-headers-5.15.0-151",
    "linux-headers-5.15.0-151-generic",
    "linux-image-5.15.0-151-generic",
    "linux-modules-5.15.0-151-generic",
)
OTHERS = ("bash", "linux-base", "linux-firmware", "linux-image-virtual", "linux-libc-dev", "linux-virtual")


def listing(*modules: str, suffix: str = ".ko") -> str:
    return "".join(f"kernel/{module}{suffix}\n" for module in modules)


def write(facts: Path, name: str, text: str, release: str = NEW) -> None:
    folder = facts / "lib" / "modules" / release
    folder.mkdir(parents=True, exist_ok=True)
    (folder / name).write_text(text)


@pytest.mark.parametrize(
    ("packages", "releases"),
    [
        (("linux-image-5.15.0-151-generic", "linux-image-5.15.0-9-generic"), ("5.15.0-9-generic", NEW)),
        (("linux-image-6.10.3-amd64", "linux-image-6.9.12-amd64"), ("6.9.12-amd64", "6.10.3-amd64")),
        (("linux-image-6.1.0-0.deb11.13-amd64", "linux-image-5.10.0-33-amd64"),
         ("5.10.0-33-amd64", "6.1.0-0.deb11.13-amd64")),
        (("linux-image-unsigned-5.15.0-151-generic",), (NEW,)),
        (("linux-image-unsigned-5.15.0-151-generic", "linux-image-5.15.0-151-generic"), (NEW,)),
        (("linux-image-6.1.0-44-amd64", "linux-image-6.1.0-44-amd64-dbg"), ("6.1.0-44-amd64",)),
        (OTHERS, ()),
    ],
)  # fmt: skip
def test_kernels_are_in_the_order_of_their_versions(packages: tuple[str, ...], releases: tuple[str, ...]) -> None:
    assert kernels(packages) == releases
    assert newest_kernel(packages) == (releases[-1] if releases else "")


def test_all_of_an_older_kernel_is_left_over_and_nothing_else() -> None:
    assert leftovers([*OTHERS, *NEW_PACKAGES, *OLD_PACKAGES]) == OLD_PACKAGES


def test_nothing_is_left_over_where_there_is_one_kernel() -> None:
    assert leftovers([*OTHERS, *NEW_PACKAGES]) == ()


def test_of_two_flavours_what_they_share_stays() -> None:
    kvm = ("linux-headers-5.15.0-151-kvm", "linux-image-5.15.0-151-kvm", "linux-modules-5.15.0-151-kvm")
    assert leftovers([*NEW_PACKAGES, *kvm]) == NEW_PACKAGES[1:]


def test_a_version_that_ends_like_an_older_one_is_another() -> None:
    packages = ["linux-image-5.15.0-15-generic", "linux-image-115.15.0-15-generic", "linux-tools-115.15.0-15"]
    assert leftovers(packages) == ("linux-image-5.15.0-15-generic",)


def test_no_package_of_another_source_is_left_over() -> None:
    assert leftovers(["nvidia-5.15.0-9-generic", *NEW_PACKAGES, "linux-image-5.15.0-9-generic"]) == (
        "linux-image-5.15.0-9-generic",
    )


@pytest.mark.parametrize("suffix", [".ko", ".ko.zst", ".ko.xz"])
@pytest.mark.parametrize("built_in", [(), ("fs/9p/9p",), ("fs/9p/9p", "net/9p/9pnet_virtio")])
def test_a_kernel_that_has_9p_as_a_module_or_in_itself_can_mount_shares(
    suffix: str, built_in: tuple[str, ...], tmp_path: Path
) -> None:
    modules = {"fs/ext4/ext4", "fs/9p/9p", "net/9p/9pnet_virtio"} - {*built_in}
    write(tmp_path, "modules.order", listing(*sorted(modules), suffix=suffix))
    write(tmp_path, "modules.builtin", listing(*built_in))
    require_shares(NEW, tmp_path)


@pytest.mark.parametrize(
    ("there", "missing"),
    [
        (("fs/ext4/ext4",), "no 9p and no 9pnet_virtio module"),
        (("fs/9p/9p", "net/9p/9pnet"), "no 9pnet_virtio module"),
        (("net/9p/9pnet_virtio",), "no 9p module"),
    ],
)
@pytest.mark.parametrize("name", ["modules.order", "modules.builtin"])
def test_a_kernel_without_9p_is_named_with_what_it_lacks(
    name: str, there: tuple[str, ...], missing: str, tmp_path: Path
) -> None:
    write(tmp_path, name, listing(*there))
    with pytest.raises(BaseImageError, match=f"newest kernel, {NEW}, .* {missing}$") as caught:
        require_shares(NEW, tmp_path)
    assert "linux-virtual" in caught.value.hint


def test_a_kernel_that_is_yet_to_be_installed_is_looked_at_later(tmp_path: Path) -> None:
    write(tmp_path, "modules.order", listing("fs/ext4/ext4"), release="5.15.0-9-generic")
    require_shares(NEW, tmp_path)


def test_what_is_looked_into_is_read_from_the_base(tmp_path: Path) -> None:
    for path in module_lists([NEW]):
        write(tmp_path, path.rpartition("/")[2], listing("fs/ext4/ext4"))
        assert (tmp_path / path.strip("/")).exists()
        with pytest.raises(BaseImageError):
            require_shares(NEW, tmp_path)
        (tmp_path / path.strip("/")).unlink()
    assert len(module_lists([NEW, "5.15.0-9-generic"])) == 4
