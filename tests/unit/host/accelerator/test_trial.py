import gzip
import lzma
from pathlib import Path

import pytest

from ci.host.accelerator.trial import WORD, boot_sector, judge, kernel_argv, last_words, sector_argv, uncompressed
from ci.host.errors import ToolError
from ci.host.process import Completed

TCG = ["-accel", "tcg"]


def said(*lines: str) -> Completed:
    return Completed(argv=(), returncode=0, stdout="".join(f"{line}\n" for line in lines), stderr="", seconds=1.0)


def test_a_kernel_that_came_to_the_end_of_its_trial_is_fine() -> None:
    assert (
        judge(said("[    0.0] Linux version", "toolsmith: init runs", WORD, "[    2.9] reboot: machine restart"))
        is None
    )


def test_a_kernel_that_did_not_is_told_by_how_far_it_came() -> None:
    early = judge(said("[    0.0] Linux version", "[    0.1] HostKernel panic - not syncing"))
    assert early is not None
    assert "did not get as far as its init" in early.what
    late = judge(said("toolsmith: init runs", "toolsmith: the timer of CPU 0 works", "[    2.0] HostKernel panic"))
    assert late is not None
    assert "its last word was: the timer of CPU 0 works" in late.what
    assert "TOOLSMITH_ACCELERATOR=tcg" in late.fix


def test_the_word_in_a_message_of_the_kernel_is_not_the_disks() -> None:
    assert judge(said(f"[    1.0] HostKernel command line: {WORD}")) is not None


def test_the_kernel_gets_the_processors_and_the_accelerator_that_builds_get() -> None:
    argv = kernel_argv(["-accel", "kvm", "-cpu", "host"], 2, Path("/boot/vmlinuz"), Path("/i"), Path("/srv/a,b/disk"))
    assert argv[1:7] == ["-accel", "kvm", "-cpu", "host", "-smp", "2"]
    assert "file=/srv/a,,b/disk,format=raw,if=virtio,readonly=on" in argv


@pytest.mark.parametrize(
    ("name", "content"),
    [("a.ko", b"module"), ("a.ko.xz", lzma.compress(b"module")), ("a.ko.gz", gzip.compress(b"module", mtime=0))],
)
def test_a_module_is_unpacked(name: str, content: bytes, tmp_path: Path) -> None:
    (tmp_path / name).write_bytes(content)
    assert uncompressed(tmp_path / name, tmp_path) == b"module"


@pytest.mark.parametrize("name", ["a.ko.xz", "a.ko.gz", "a.ko.lz4", "absent.ko"])
def test_a_module_that_cannot_be_read_is_none_at_all(name: str, tmp_path: Path) -> None:
    if not name.startswith("absent"):
        (tmp_path / name).write_bytes(b"no archive")
    with pytest.raises(LookupError):
        uncompressed(tmp_path / name, tmp_path)


def test_the_boot_sector_is_one_that_a_bios_boots() -> None:
    sector = boot_sector()
    assert len(sector) == 512
    assert sector[510:] == b"\x55\xaa"


def test_a_comma_in_the_path_is_not_an_option_to_qemu() -> None:
    argv = sector_argv(TCG, Path("/srv/a,b/boot.img"))
    assert "file=/srv/a,,b/boot.img,format=raw,if=ide,snapshot=on" in argv


def test_the_reason_is_what_qemu_said_last() -> None:
    error = ToolError("qemu failed with exit code 1", details="warning: x\nfailed to set MSR\n\n")
    assert last_words(error) == "failed to set MSR (qemu failed with exit code 1)"
    assert last_words(ToolError("qemu was killed by SIGABRT")) == "qemu was killed by SIGABRT"
