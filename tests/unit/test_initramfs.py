"""The initramfs as data: its drivers, its commands, its words."""

import fnmatch
import re

import pytest

from ci.boot.vm.console import FATAL, FATAL_FLAGS
from tests.support.shell_commands import commands
from tests.unit.test_guest import GUEST, definitions

# What busybox may have that a shell has not by itself.
APPLETS = {
    "awk", "basename", "blkid", "cat", "chmod", "chown", "chroot", "cp", "cpio", "cut", "date", "dd", "df",
    "dirname", "dmesg", "du", "expr", "find", "findfs", "fold", "grep", "gunzip", "gzip", "head", "hexdump",
    "ifconfig", "insmod", "ip", "ln", "losetup", "ls", "lsmod", "md5sum", "mdev", "mkdir", "mkfifo", "mknod",
    "mktemp", "modprobe", "mount", "mv", "nc", "od", "pivot_root", "ps", "readlink", "realpath", "reboot", "rm",
    "rmdir", "rmmod", "sed", "seq", "sh", "sleep", "sort", "stat", "stty", "switch_root", "sync", "tail", "tar",
    "tee", "touch", "tr", "tty", "udhcpc", "umount", "uname", "uniq", "vi", "wc", "which", "xargs", "xxd",
    "zcat",
}  # fmt: skip


def test_the_initramfs_has_the_drivers_of_the_consumers_disk() -> None:
    modules = (GUEST / "etc" / "initramfs-tools" / "modules").read_text().splitlines()
    assert {"virtio_pci", "virtio_blk", "ext4"} <= set(modules)


# Where Linux has the drivers of other-drivers, and what these need; below /lib/modules/VERSION/kernel.
DRIVER_FILES = {
    "sd_mod": ("drivers/scsi/sd_mod", "drivers/scsi/scsi_mod", "drivers/scsi/scsi_common", "block/t10-pi"),
    "virtio_scsi": ("drivers/scsi/virtio_scsi",),
    "ata_piix": ("drivers/ata/ata_piix", "drivers/ata/libata"),
    "ahci": ("drivers/ata/ahci", "drivers/ata/libahci"),
    "nvme": ("drivers/nvme/host/nvme", "drivers/nvme/host/nvme-core"),
    "xhci_pci": ("drivers/usb/host/xhci-pci", "drivers/usb/host/xhci-hcd", "drivers/usb/core/usbcore"),
    "ehci_pci": ("drivers/usb/host/ehci-pci", "drivers/usb/host/ehci-hcd"),
    "uhci_hcd": ("drivers/usb/host/uhci-hcd",),
    "ohci_pci": ("drivers/usb/host/ohci-pci", "drivers/usb/host/ohci-hcd"),
    "usb_storage": ("drivers/usb/storage/usb-storage",),
    "uas": ("drivers/usb/storage/uas",),
    "sym53c8xx": ("drivers/scsi/sym53c8xx_2/sym53c8xx", "drivers/scsi/scsi_transport_spi"),
    "megaraid_sas": ("drivers/scsi/megaraid/megaraid_sas",),
    "vmw_pvscsi": ("drivers/scsi/vmw_pvscsi",),
    "am53c974": ("drivers/scsi/am53c974", "drivers/scsi/esp_scsi"),
}


def test_no_driver_of_a_disk_or_a_seed_is_left_out_of_the_image(subtests: pytest.Subtests) -> None:
    lines = (GUEST / "usr" / "lib" / "fountainkit" / "other-drivers").read_text().splitlines()
    assert [line for line in lines if not line.startswith("#")] == list(DRIVER_FILES)
    files = [file for files in DRIVER_FILES.values() for file in files]
    for file in (*files, "drivers/scsi/sr_mod", "drivers/cdrom/cdrom", "fs/isofs/isofs", "fs/fat/vfat"):
        path = f"/lib/modules/6.1.0/kernel/{file}.ko"
        for image, definition in definitions().items():
            with subtests.test(image=image, path=path):
                left_out = any(fnmatch.fnmatch(path, pattern) for pattern in definition.files.exclude)
                assert not left_out or any(fnmatch.fnmatch(path, pattern) for pattern in definition.files.include)


def test_the_initramfs_has_every_command_that_its_init_runs(subtests: pytest.Subtests) -> None:
    for image, definition in definitions().items():
        with subtests.test(image=image):
            hook = (GUEST / "usr" / "lib" / "fountainkit" / "fill-initramfs").read_text()
            (linked,) = re.findall(r"^for command in (.*); do$", hook, re.MULTILINE)
            script = (GUEST / "usr" / "lib" / "fountainkit" / "initramfs-init").read_text()
            assert commands(script) & APPLETS == set(linked.split())
            assert "busybox-static" in definition.packages.install


def test_the_initramfs_says_the_words_that_the_boot_test_takes_for_a_failure() -> None:
    script = (GUEST / "usr" / "lib" / "fountainkit" / "initramfs-init").read_text()
    assert re.search(r'^echo "\(initramfs\) ', script, re.MULTILINE)
    assert any(re.search(fatal.pattern, "(initramfs) no root file system", FATAL_FLAGS) for fatal in FATAL)


def test_the_initramfs_is_a_list_of_modules() -> None:
    assert "MODULES=list" in (GUEST / "etc" / "initramfs-tools" / "conf.d" / "fountainkit").read_text()
