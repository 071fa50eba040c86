from pathlib import Path

import pytest

from ci.host.accelerator import kernel
from ci.host.accelerator.kernel import HostKernel, find_kernel, module_files, newest_kernel

DEPENDENCIES = """\
kernel/drivers/virtio/virtio.ko.xz:
kernel/drivers/virtio/virtio_ring.ko.xz:
kernel/drivers/virtio/virtio_pci.ko.xz: kernel/drivers/virtio/virtio.ko.xz kernel/drivers/virtio/virtio_ring.ko.xz
kernel/drivers/block/virtio_blk.ko.xz: kernel/drivers/virtio/virtio.ko.xz kernel/drivers/virtio/virtio_ring.ko.xz
kernel/net/9p/9pnet-virtio.ko.xz: kernel/drivers/virtio/virtio.ko.xz
"""


@pytest.fixture
def modules(tmp_path: Path) -> Path:
    (tmp_path / "modules.dep").write_text(DEPENDENCIES)
    (tmp_path / "modules.builtin").write_text("kernel/drivers/char/hw_random/virtio-rng.ko\n")
    return tmp_path


def test_numbers_in_kernel_versions_count_as_numbers() -> None:
    kernels = [Path("/boot/vmlinuz-6.9.0"), Path("/boot/vmlinuz-6.10.0"), Path("/boot/vmlinuz-6.10.0-rc1")]
    assert newest_kernel(kernels).name.startswith("vmlinuz-6.10.0")


def test_what_a_module_needs_is_loaded_before_it_and_once(modules: Path) -> None:
    names = [file.name.partition(".")[0] for file in module_files(modules, ["virtio_pci", "virtio_blk"])]
    assert names == ["virtio_ring", "virtio", "virtio_pci", "virtio_blk"]


def test_what_is_built_in_needs_no_file_and_a_dash_is_an_underscore(modules: Path) -> None:
    assert module_files(modules, ["virtio_rng"]) == []
    assert [file.name for file in module_files(modules, ["9pnet_virtio"])] == ["virtio.ko.xz", "9pnet-virtio.ko.xz"]


def test_a_module_that_the_kernel_lacks_is_named(modules: Path) -> None:
    with pytest.raises(LookupError, match="no module virtio_scsi"):
        module_files(modules, ["virtio_scsi"])


def test_the_kernel_is_the_one_that_supermin_was_told_to_take(
    modules: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    image = tmp_path / "vmlinuz"
    monkeypatch.setenv("SUPERMIN_KERNEL", str(image))
    monkeypatch.setenv("SUPERMIN_MODULES", str(modules))
    assert find_kernel() is None
    image.touch()
    assert find_kernel() == HostKernel(image=image, modules=modules)


def test_without_a_choice_it_is_the_newest_with_modules_and_none_where_that_cannot_be_read(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    images = [tmp_path / f"vmlinuz-6.{number}" for number in (1, 9, 10)]
    for image in images:
        image.touch()
        (tmp_path / f"modules-of-{image.name}").mkdir()
    (tmp_path / "modules-of-vmlinuz-6.10").rmdir()
    monkeypatch.delenv("SUPERMIN_KERNEL", raising=False)
    monkeypatch.setattr(kernel, "kernels", lambda: images)
    monkeypatch.setattr(kernel, "modules_of", lambda image: tmp_path / f"modules-of-{image.name}")
    found = find_kernel()
    assert found is not None
    assert found.image.name == "vmlinuz-6.9"
    monkeypatch.setattr(kernel, "can_read", lambda _path: False)
    assert find_kernel() is None
