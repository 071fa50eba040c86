import re
import tomllib
from pathlib import Path

import pytest
from pydantic import ValidationError

from ci.boot.checks.load import CHECKS
from ci.host.errors import BaseImageError
from ci.host.repository import ROOT
from ci.image.guest_script import SCRIPT
from ci.image.make_image import REQUIREMENTS
from ci.image.packages.archive import CONFIGURATION
from ci.image.packages.requirements import Requirement, programs, read_requirements, require_met
from tests.support.shell_commands import commands

PROVISION = ROOT / "build" / "provision"
GUEST = ROOT / "build" / "guest"
OURS = read_requirements(PROVISION / REQUIREMENTS)
NEEDS = [(package, need, since) for package, one in OURS.items() for need, since in one.needs.items()]

# What the base had when it was last looked at, by package.
BULLSEYE = {
    "apt": "2.2.4", "busybox-static": "1:1.30.1-6+b3", "cloud-init": "20.4.1-2+deb11u1",
    "cpio": "2.13+dfsg-7.1~deb11u1", "debconf": "1.5.77", "netplan.io": "0.101-4",
    "dpkg": "1.20.13", "e2fsprogs": "1.46.2-2", "grub-common": "2.06-3~deb11u6", "initramfs-tools": "0.140",
    "kmod": "28-1", "openssh-server": "1:8.4p1-5+deb11u3", "passwd": "1:4.8.1-1", "sudo": "1.9.5p2-3+deb11u1",
    "cloud-guest-utils": "0.31-2",
    "systemd": "247.3-7+deb11u6", "udev": "247.3-7", "util-linux": "2.36.1-8+deb11u2", "zstd": "1.4.8+dfsg-2.1",
}  # fmt: skip
JAMMY = {
    "apt": "2.4.13", "busybox-static": "1:1.30.1-7ubuntu3.1", "cloud-init": "26.1-0ubuntu1~22.04.1",
    "cpio": "2.13+dfsg-7ubuntu0.1", "debconf": "1.5.79ubuntu1", "netplan.io": "0.107.1-3ubuntu0.22.04.2",
    "dpkg": "1.21.1ubuntu2.3", "e2fsprogs": "1.46.5-2ubuntu1.1",
    "grub-common": "2.06-2ubuntu7.2", "initramfs-tools": "0.140ubuntu13.4", "kmod": "29-1ubuntu1",
    "openssh-server": "1:8.9p1-3ubuntu0.13", "passwd": "1:4.8.1-2ubuntu2.2", "sudo": "1.9.9-1ubuntu2.4",
    "systemd": "249.11-0ubuntu3.16", "udev": "249.11", "util-linux": "2.37.2-4ubuntu3.4",
    "cloud-guest-utils": "0.32-22-g45fe84a5-0ubuntu1", "zstd": "1.4.8+dfsg-3build1",
}  # fmt: skip
BUSTER = BULLSEYE | {"systemd": "241-7~deb10u10", "openssh-server": "1:7.9p1-10+deb10u4"}

# What these packages have that scripts may call, as of Debian 12; `mount` is in util-linux's own source.
PROGRAMS = {
    "apt": "apt apt-cache apt-cdrom apt-config apt-get apt-key apt-mark",
    "busybox-static": "busybox",
    "cloud-guest-utils": "ec2metadata growpart vcs-run",
    "cloud-init": "cloud-id cloud-init cloud-init-per",
    "cpio": "cpio",
    "debconf": "debconf debconf-communicate debconf-copydb debconf-escape debconf-set-selections debconf-show "
    "dpkg-preconfigure dpkg-reconfigure",
    "dpkg": "dpkg dpkg-deb dpkg-divert dpkg-maintscript-helper dpkg-query dpkg-realpath dpkg-split dpkg-statoverride "
    "dpkg-trigger start-stop-daemon update-alternatives",
    "e2fsprogs": "badblocks chattr debugfs dumpe2fs e2fsck e2image e2label filefrag fsck.ext4 lsattr mke2fs mkfs.ext4 "
    "resize2fs tune2fs",
    "grub-common": "grub-editenv grub-file grub-mkconfig grub-mkimage grub-mkrelpath grub-probe grub-script-check",
    "initramfs-tools": "mkinitramfs lsinitramfs unmkinitramfs update-initramfs",
    "kmod": "depmod insmod kmod lsmod modinfo modprobe rmmod",
    "netplan.io": "netplan",
    "openssh-server": "scp sftp ssh ssh-add ssh-agent ssh-keygen ssh-keyscan sshd",
    "passwd": "chage chfn chpasswd chsh expiry gpasswd groupadd groupdel groupmod newusers passwd pwck useradd userdel "
    "usermod vipw",
    "sudo": "sudo sudoedit visudo",
    "systemd": "busctl hostnamectl journalctl localectl loginctl networkctl systemctl systemd-analyze systemd-cat "
    "systemd-detect-virt systemd-escape systemd-firstboot systemd-id128 systemd-machine-id-setup systemd-mount "
    "systemd-notify systemd-path systemd-run systemd-sysusers systemd-tmpfiles timedatectl",
    "udev": "udevadm systemd-hwdb",
    "util-linux": "agetty blkdiscard blkid blockdev dmesg fallocate findfs findmnt flock fsck fstrim getopt hwclock "
    "ionice ipcs last losetup lsblk lscpu lsmem lslocks mkfs mkswap mount mountpoint nsenter partx pivot_root prlimit "
    "runuser script setpriv setsid su sulogin swaplabel swapoff swapon switch_root taskset umount unshare wdctl "
    "whereis wipefs zramctl",
    "zstd": "unzstd zstd zstdcat zstdmt",
}
# Directives that are as old as systemd's own ways to start and stop, or part of one that is listed.
UNLISTED = {
    "After", "Alias", "AllowIsolate", "Before", "ConditionPathExists", "Conflicts", "DHCP", "DefaultDependencies",
    "Description", "Documentation", "EnvironmentFile", "ExecReload", "KillMode", "Nice", "RemainAfterExit",
    "RequiredBy", "Restart", "RestartPreventExitStatus", "RuntimeDirectoryMode", "Storage",
    "SuccessExitStatus", "WantedBy", "Wants",
}  # fmt: skip
# In the initramfs they are busybox's.
IN_INITRAMFS = "initramfs-init"


def requirement(**needs: str) -> dict[str, Requirement]:
    return {"tool": Requirement(needs=needs)}


def texts(folder: Path, pattern: str = "*") -> list[str]:
    return [file.read_text(encoding="utf-8") for file in sorted(folder.rglob(pattern)) if file.is_file()]


def scripts() -> list[str]:
    """All that runs in the guest's file system."""
    files = [PROVISION / SCRIPT, *(file for file in sorted(GUEST.rglob("*")) if file.is_file())]
    found = [file.read_text() for file in files if file.name != IN_INITRAMFS and file.read_bytes().startswith(b"#!")]
    units = "\n".join(texts(GUEST / "etc" / "systemd" / "system"))
    return [*found, *re.findall(r"^Exec\w+=-?(.*)$", units, re.MULTILINE)]


def all_that_is_ours() -> str:
    """What runs in the guest, and what is asked of it from outside, without comments."""
    commands = [check.command for check in CHECKS.values()]
    text = "\n".join(
        [(PROVISION / SCRIPT).read_text(), *texts(GUEST), *commands, CONFIGURATION, *texts(ROOT / "ci", "*.py")]
    )
    return re.sub(r"(?m)(^|\s)#.*$", r"\1", text)


EVERYTHING = all_that_is_ours()


def directives() -> dict[str, set[str]]:
    """Each directive in systemd's files, with the sections that have it."""
    found: dict[str, set[str]] = {}
    for text in texts(GUEST / "etc" / "systemd"):
        section = ""
        for line in text.splitlines():
            if match := re.fullmatch(r"\[(\w+)\]", line):
                section = match[1]
            elif section and (match := re.match(r"([A-Z]\w+)=", line)):
                found.setdefault(match[1], set()).add(section)
    return found


def test_versions_are_compared_as_debian_does_and_without_what_it_puts_around_them() -> None:
    require_met(requirement(it="8.9"), {"tool": "1:8.9p1-3ubuntu0.13"})
    require_met(requirement(it="2.36"), {"tool": "2.36.1-8+deb11u2"})
    require_met(requirement(it="247"), {"tool": "1000"})
    require_met(requirement(it="1.9.1"), {"tool": "1.10-1"})
    require_met(requirement(it="0.139"), {"tool": "0.140ubuntu13.4"})


@pytest.mark.parametrize(
    ("version", "since"),
    [
        ("1:7.9p1-10", "8.2"),  # an epoch is no version
        ("9:1.30.1-6", "1.31"),
        ("241-7~deb10u10", "242"),
        ("1.9.5p2-3", "1.9.9"),
        ("1.9-10", "1.9.1"),  # nor is a revision
        ("257~rc2-3", "257"),
    ],
)
def test_a_tool_that_is_too_old_is_told_with_what_it_lacks(version: str, since: str) -> None:
    with pytest.raises(BaseImageError) as caught:
        require_met(requirement(feature=since), {"tool": version})
    assert caught.value.message.endswith(f": feature needs tool {since}, and it is {version}")
    assert REQUIREMENTS in caught.value.hint


def test_a_tool_that_is_not_there_is_told() -> None:
    with pytest.raises(BaseImageError, match="not what this image needs: tool is not there"):
        require_met(requirement(it="1"), {"other": "1"})


def test_of_several_lacks_the_first_is_the_message_and_the_others_the_details() -> None:
    with pytest.raises(BaseImageError) as caught:
        require_met(requirement(a="1", b="3", c="4"), {"tool": "2"})
    assert "b needs tool 3" in caught.value.message
    assert caught.value.details == "c needs tool 4, and it is 2"


@pytest.mark.parametrize(
    "text",
    [
        '[tool]\nneed.a = "1"',
        "[tool]\nneeds.a = 1",
        '[tool]\nneeds.a = "v1"',
        '[tool]\nneeds.a = "1:2"',
        '[tool]\nneeds.a = "1-2"',
        "[tool]\nprograms = []",
        "[Tool]\nneeds = {}",
    ],
)
def test_a_mistake_in_the_file_is_found_before_anything_is_built(text: str, tmp_path: Path) -> None:
    path = tmp_path / REQUIREMENTS
    path.write_text(text)
    with pytest.raises(ValidationError):
        read_requirements(path)


class TestOurs:
    def test_every_table_of_the_file_is_a_requirement_and_says_what_it_needs(self) -> None:
        tables = tomllib.loads((PROVISION / REQUIREMENTS).read_text(encoding="utf-8"))
        assert list(OURS) == list(tables) == sorted(tables)
        assert all(one.needs and one.programs for one in OURS.values())

    @pytest.mark.parametrize("versions", [BULLSEYE, JAMMY], ids=["bullseye", "jammy"])
    def test_the_bases_of_our_images_meet_all_of_it(self, versions: dict[str, str]) -> None:
        assert versions.keys() == OURS.keys()
        require_met(OURS, versions)

    def test_debian_10_does_not_and_is_told_each_thing_that_it_lacks(self) -> None:
        with pytest.raises(BaseImageError) as caught:
            require_met(OURS, BUSTER)
        told = [caught.value.message.partition(": ")[2], *caught.value.details.splitlines()]
        assert "Include in sshd_config needs openssh-server 8.2, and it is 1:7.9p1-10+deb10u4" in told
        assert "[Unit] ConditionMemory= with an operator, in bytes needs systemd 242, and it is 241-7~deb10u10" in told
        assert {line.rpartition("and it is ")[2] for line in told} == {BUSTER["openssh-server"], BUSTER["systemd"]}

    def test_a_base_without_one_of_the_tools_is_refused(self, subtests: pytest.Subtests) -> None:
        for package in OURS:
            with subtests.test(package=package):
                others = {name: version for name, version in JAMMY.items() if name != package}
                with pytest.raises(BaseImageError, match=f": {package} is not there$"):
                    require_met(OURS, others)

    def test_every_program_that_a_script_calls_is_listed(self, subtests: pytest.Subtests) -> None:
        called = set().union(*(commands(script) for script in scripts()))
        for package, one in OURS.items():
            with subtests.test(package=package):
                known = set(PROGRAMS[package].split())
                assert called & known <= set(one.programs) <= known

    def test_every_program_that_is_listed_is_used(self, subtests: pytest.Subtests) -> None:
        for program in sorted(programs(OURS)):
            with subtests.test(program=program):
                assert re.search(rf"(?<![\w-]){re.escape(program)}(?![\w-])", EVERYTHING)

    def test_every_option_and_setting_that_is_listed_is_used(self, subtests: pytest.Subtests) -> None:
        for need in [need for _, need, _ in NEEDS if re.search(r"--\w|\w=", need)]:
            with subtests.test(need=need):
                for option in re.findall(r"--[a-z][a-z-]+", need):
                    assert re.search(rf"(?<![\w-]){option}(?![\w-])", EVERYTHING), option
                for setting in re.findall(r"\b[A-Za-z_.]+=\w*", need):
                    assert setting in EVERYTHING, setting

    def test_every_directive_that_is_listed_is_used_in_its_section(self) -> None:
        listed = [(match[1], match[2]) for _, need, _ in NEEDS if (match := re.match(r"\[(\w+)\] (\w+)=", need))]
        assert len(listed) > 5
        used = directives()
        for section, directive in listed:
            assert section in used.get(directive, set()), f"[{section}] {directive}="

    def test_a_directive_is_listed_once_somebody_has_looked_up_which_systemd_has_it(self) -> None:
        listed = {directive for _, need, _ in NEEDS for directive in re.findall(r"\b([A-Z]\w+)=", need)}
        assert directives().keys() - listed == UNLISTED

    def test_the_applets_are_those_that_the_initramfs_has(self) -> None:
        (listed,) = (need.removeprefix("applets ") for need in OURS["busybox-static"].needs)
        hook = (GUEST / "usr" / "lib" / "fountainkit" / "fill-initramfs").read_text()
        assert f"\nfor command in {listed}; do\n" in hook

    def test_the_version_of_apts_hook_is_the_one_that_is_asked_for(self) -> None:
        (version,) = re.findall(r"Pre-Install-Pkgs, version (\d+)", "\n".join(OURS["apt"].needs))
        assert f'DPkg::Tools::Options::sh::Version "{version}";' in CONFIGURATION
