"""The build, for real: what it makes of a hostile base, seen from outside and from inside the image."""

import json
import re
import tarfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest
from packageurl import PackageURL

from ci.host import qcow2
from ci.host.accelerator import Acceleration
from ci.host.appliance import guestfish
from ci.host.files import sha256_file
from ci.host.process import run
from ci.host.repository import BUILD, ROOT
from ci.image.authorized_keys import read_authorized_keys
from ci.image.definition import GIB, Definition, definition_files, input_digests, load_definition
from ci.records.build import Verification
from ci.records.packages import parse_packages
from ci.records.sbom import read_sbom
from tests.support.building import VERSION, Built
from tests.support.disks import compression
from tests.support.standin.base import IMAGE

pytestmark = pytest.mark.integration

# What provision.sh takes out for an OpenSSH before 8.5, such as the stand-in's.
NEWER_SSHD = b"PerSourceMaxStartups "

STEM = f"fountainkit-toolsmith-debian-11-{VERSION}"
NOT_ARTIFACTS = {".lock", ".work-lock", "build.log"}
# With something of the key: programs have the first line in themselves.
PRIVATE_KEY = re.compile(rb"-----BEGIN [A-Z ]*PRIVATE KEY-----[\r\n]+[A-Za-z0-9+/=]{40}")
SECTOR = 512


@pytest.fixture(scope="module")
def definition() -> Definition:
    return load_definition(IMAGE, BUILD / "images")


class TestArtifacts:
    def test_they_are_these_six_and_nothing_else_is_left(self, built: Built) -> None:
        names = {path.name for path in built.image.parent.iterdir()} - NOT_ARTIFACTS
        kinds = ("qcow2", "qcow2.sha256", "packages.tsv", "sizes.tsv", "sizes.svg", "cdx.json", "build.json")
        assert names == {f"{STEM}.{kind}" for kind in kinds}

    def test_the_image_is_one_compressed_file_of_20_gib_that_is_small(self, built: Built) -> None:
        qcow2.check_disk_image(built.image)
        assert qcow2.disk_format(built.image) is qcow2.DiskFormat.QCOW2
        assert (qcow2.virtual_size(built.image), compression(built.image)) == (20 * GIB, "zstd")
        assert built.image.stat().st_size < 500_000_000

    def test_the_checksum_passes_where_it_stands(self, built: Built) -> None:
        checked = run(["sha256sum", "-c", f"{STEM}.qcow2.sha256"], cwd=built.image.parent, timeout=120)
        assert checked.stdout == f"{STEM}.qcow2: OK\n"

    def test_the_record_describes_the_file(self, built: Built) -> None:
        image = built.record.image
        assert image.file == built.image.name
        assert image.sha256 == sha256_file(built.image)
        assert image.size == built.image.stat().st_size
        assert image.virtual_size == 20 * GIB

    def test_the_record_tells_what_it_was_made_from(self, built: Built) -> None:
        record = built.record
        assert (record.name, record.version, record.definition) == (STEM, VERSION, IMAGE)
        inputs = (*definition_files(IMAGE, BUILD / "images"), BUILD / "guest", BUILD / "provision")
        assert (record.definition_sha256, record.inputs) == input_digests(ROOT, *inputs)
        assert record.base.verification is Verification.PINNED_DIGEST
        (key,) = read_authorized_keys(Path(f"{built.identity}.pub"))
        assert record.authorized_keys == [key.fingerprint]
        assert set(record.tools) == {"guestfish", "qemu-img", "qemu"}
        assert all(re.search(r"\d+\.\d+", version) for version in record.tools.values())

    def test_the_time_is_accounted_for_and_our_own_memory_is_small(self, built: Built) -> None:
        assert built.record.seconds == pytest.approx(sum(step.seconds for step in built.record.steps), abs=0.1)
        assert 20_000_000 < built.record.peak_memory < 200_000_000

    def test_the_appliance_was_started_once(self, built: Built) -> None:
        log = (built.image.parent / "build.log").read_text()
        assert log.count("ci.guestfish > run\n") == 1

    def test_the_packages_are_listed_and_are_those_of_the_definition(
        self, built: Built, definition: Definition
    ) -> None:
        path = built.image.parent / f"{STEM}.packages.tsv"
        packages = parse_packages(path.read_bytes(), path.name)
        names = [package.name for package in packages]
        assert names == sorted(names)
        assert len(packages) == built.record.packages
        assert {package.architecture for package in packages} == {"amd64", "all"}
        assert set(definition.packages.install) <= set(names)
        assert not set(definition.packages.purge) & set(names)
        assert f"linux-image-{built.record.kernel}" in names

    def test_the_sbom_is_valid_and_has_exactly_the_packages_of_the_list(self, built: Built) -> None:
        listing, bill = (built.image.parent / f"{STEM}.{kind}" for kind in ("packages.tsv", "cdx.json"))
        packages = parse_packages(listing.read_bytes(), listing.name)
        summary = read_sbom(bill, image_sha256=built.record.image.sha256)
        components = json.loads(bill.read_text(encoding="utf-8"))["components"]
        purls = [PackageURL.from_string(item["purl"]) for item in components if "purl" in item]
        found = {
            (purl.name, purl.version, purl.qualifiers["arch"])
            for purl in purls
            if (purl.type, purl.namespace, purl.qualifiers.get("distro")) == ("deb", "debian", "debian-11")
        }
        assert found == {(package.name, package.version, package.architecture) for package in packages}
        assert summary.components == len(components) == len(packages) + 2  # the base, the distribution; no pip was run
        assert built.record.base.sha256 in [entry["content"] for item in components for entry in item.get("hashes", [])]
        licensed = [item for item in components if "licenses" in item]
        assert len(licensed) > len(packages) / 2

    def test_no_artifact_that_is_text_holds_a_private_key(self, built: Built) -> None:
        for path in built.image.parent.iterdir():
            assert path == built.image or not PRIVATE_KEY.search(path.read_bytes())


@dataclass(frozen=True, slots=True, kw_only=True)
class Inside:
    """What is in the image; `archive` has everything but large parts of /usr."""

    archive: tarfile.TarFile
    members: dict[str, tarfile.TarInfo]
    set_id: frozenset[str]
    partitions: str
    esp_type: str
    root_size: int
    block_count: int
    used_bytes: int

    def text(self, path: str) -> str:
        return self.read(self.members[path]).decode()

    def read(self, member: tarfile.TarInfo) -> bytes:
        file = self.archive.extractfile(member)
        assert file is not None
        return file.read()

    def below(self, folder: str) -> set[str]:
        return {name for name in self.members if name.startswith(f"{folder}/")}


@pytest.fixture(scope="module")
def inside(built: Built, acceleration: Acceleration, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Inside]:
    """One look into the image, through an overlay: the image itself is only read."""
    folder = tmp_path_factory.mktemp("inside")
    overlay, archive = folder / "overlay.qcow2", folder / "inside.tar"
    qcow2.create_overlay(built.image, overlay, built.record.image.virtual_size)
    with guestfish.session(overlay, "qcow2", acceleration=acceleration, temporary=folder) as guest:
        guest.start()
        guest.command("mount-ro", "/dev/sda1", "/")
        excludes = "./usr/lib ./usr/share ./usr/bin ./usr/include ./boot"
        guest.command("tar-out", "/", archive, "numericowner:true", f"excludes:{excludes}")
        # Programs are not in the archive.
        set_id = guest.command("debug", "sh", "find /sysroot -xdev -type f -perm /6000")
        superblock = guest.command("tune2fs-l", "/dev/sda1")
        statistics = guest.command("statvfs", "/")
        partitions = guest.command("part-list", "/dev/sda")
        esp_type = guest.command("part-get-gpt-type", "/dev/sda", "15").strip()
        root_size = int(guest.command("blockdev-getsize64", "/dev/sda1"))
    values = {name: int(value) for name, value in re.findall(r"(\w+): (\d+)", statistics)}
    with tarfile.open(archive) as opened:
        yield Inside(
            archive=opened,
            members={f"/{member.name.removeprefix('./')}".rstrip("/"): member for member in opened},
            set_id=frozenset(line.removeprefix("/sysroot") for line in set_id.splitlines()),
            partitions=partitions,
            esp_type=esp_type,
            root_size=root_size,
            block_count=int(re.findall(r"^Block count: (\d+)$", superblock, re.MULTILINE)[0]),
            used_bytes=(values["blocks"] - values["bfree"]) * values["frsize"],
        )


class TestInside:
    def test_looking_inside_changed_nothing(self, inside: Inside, built: Built) -> None:
        assert inside.members
        assert sha256_file(built.image) == built.record.image.sha256

    def test_the_partitions_keep_their_numbers_and_places(self, inside: Inside) -> None:
        numbers = [int(number) for number in re.findall(r"part_num: (\d+)", inside.partitions)]
        starts = [int(start) // SECTOR for start in re.findall(r"part_start: (\d+)", inside.partitions)]
        layout = (BUILD / "bootstrap" / "layout.sfdisk").read_text()
        expected = re.findall(r"^(\d+) : start=(\d+)", layout, re.MULTILINE)
        assert dict(zip(numbers, starts, strict=True)) == {int(number): int(start) for number, start in expected}
        assert inside.esp_type == "C12A7328-F81F-11D2-BA4B-00A0C93EC93B"

    def test_the_root_fills_the_disk(self, inside: Inside) -> None:
        ends = [int(end) for end in re.findall(r"part_end: (\d+)", inside.partitions)]
        assert 20 * GIB - max(ends) <= 34 * SECTOR
        assert inside.block_count * 4096 == inside.root_size // 4096 * 4096

    def test_little_of_it_is_used(self, inside: Inside) -> None:
        assert inside.used_bytes < 2 * GIB

    def test_the_machine_has_no_identity_yet(self, inside: Inside) -> None:
        assert inside.members["/etc/machine-id"].size == 0
        assert not {name for name in inside.members if name.startswith("/etc/ssh/ssh_host_")}
        assert "/var/lib/systemd/random-seed" not in inside.members
        assert "/var/lib/systemd/credential.secret" not in inside.members

    def test_it_knows_which_image_it_is(self, inside: Inside, built: Built) -> None:
        record = built.record
        assert json.loads(inside.text("/etc/fountainkit/image.json")) == {
            "schema": "fountainkit-toolsmith-image/identity/1",
            "name": STEM,
            "version": VERSION,
            "commit": record.commit,
            "built_at": record.model_dump(mode="json")["built_at"],
            "base_sha256": record.base.sha256,
        }

    def test_exactly_our_key_opens_it(self, inside: Inside, built: Built) -> None:
        keys = {name for name in inside.members if "authorized_keys" in name}
        assert keys == {"/home/fountain/.ssh/authorized_keys"}
        member = inside.members["/home/fountain/.ssh/authorized_keys"]
        assert (member.mode, member.uid, member.gid) == (0o600, 1000, 1000)
        assert inside.members["/home/fountain/.ssh"].mode == 0o700
        assert inside.read(member) == Path(f"{built.identity}.pub").read_bytes()

    def test_nobody_has_a_password_and_only_root_and_fountain_have_a_shell(self, inside: Inside) -> None:
        shadow = [line.split(":") for line in inside.text("/etc/shadow").splitlines()]
        assert {password for _, password, *_ in shadow} <= {"*", "!", "!*"}
        passwd = [line.split(":") for line in inside.text("/etc/passwd").splitlines()]
        shells = {fields[0] for fields in passwd if not re.search(r"(nologin|false|sync)$", fields[6])}
        assert shells == {"root", "fountain"}
        assert [fields[0] for fields in passwd if fields[2] == "0"] == ["root"]
        assert not {"/etc/shadow-", "/etc/passwd-"} & set(inside.members)

    def test_no_private_key_is_in_it(self, inside: Inside) -> None:
        holders = [
            name
            for name, member in inside.members.items()
            if member.isfile() and member.size < 1 << 20 and PRIVATE_KEY.search(inside.read(member))
        ]
        assert holders == []

    def test_names_are_resolved_by_the_guests_own_resolver(self, inside: Inside) -> None:
        link = inside.members["/etc/resolv.conf"]
        assert link.issym()
        assert link.linkname == "../run/systemd/resolve/stub-resolv.conf"

    @pytest.mark.parametrize(
        "path",
        [
            "/usr/sbin/policy-rc.d",
            "/var/lib/fountainkit-build",
            "/var/lib/cloud",
            "/var/log/journal",
            "/root/.ssh",
            "/root/.bash_history",
            "/etc/apt/apt.conf.d/01proxy",
        ],
    )
    def test_what_the_build_needed_is_gone(self, inside: Inside, path: str) -> None:
        assert path not in inside.members

    @pytest.mark.parametrize(
        "folder",
        ["/var/lib/apt/lists", "/var/cache/apt/archives", "/var/lib/dhcp", "/tmp", "/var/tmp", "/run"],  # noqa: S108 - in the guest
    )
    def test_folders_of_leftovers_hold_nothing(self, inside: Inside, folder: str) -> None:
        # `apt clean` leaves an empty lock.
        assert {name for name in inside.below(folder) if inside.members[name].size} == set()

    def test_no_log_is_in_it(self, inside: Inside) -> None:
        assert {name for name in inside.below("/var/log") if inside.members[name].size} == set()

    def test_our_files_are_in_place_as_they_are_in_the_repository(self, inside: Inside) -> None:
        guest = BUILD / "guest"
        paths = [path for path in guest.rglob("*") if path.is_file() and not path.is_relative_to(guest / "usr")]
        for path in paths:
            member = inside.members[f"/{path.relative_to(guest)}"]
            ours = b"".join(
                line for line in path.read_bytes().splitlines(keepends=True) if not line.startswith(NEWER_SSHD)
            )
            assert inside.read(member) == ours, path
            assert (member.uid, member.gid) == (0, 0), path

    def test_sudo_accepts_its_rules(self, inside: Inside) -> None:
        assert {inside.members[name].mode for name in inside.below("/etc/sudoers.d")} <= {0o440, 0o644}
        assert inside.members["/etc/sudoers"].mode == 0o440
        assert inside.members["/etc/sudoers.d/90-fountainkit"].mode == 0o440

    def test_services_are_chosen(self, inside: Inside, definition: Definition) -> None:
        units = "/etc/systemd/system"
        masked = {
            name.removeprefix(f"{units}/")
            for name, member in inside.members.items()
            if name.startswith(f"{units}/") and member.linkname == "/dev/null"
        }
        # What a package's own link wants is not wanted by a link to nothing in front of it.
        unwanted = {name.rpartition("/")[2] for name in masked if "/" in name}
        assert {"systemd-binfmt.service", "sys-kernel-debug.mount"} <= unwanted <= set(definition.services.disable)
        masked = {name for name in masked if "/" not in name}
        assert {"apt-daily.timer", "apt-daily-upgrade.timer", "systemd-networkd-wait-online.service"} <= masked
        assert masked <= set(definition.services.mask)
        assert f"{units}/ssh.service.requires/fountainkit-hostkeys.service" in inside.members
        assert f"{units}/ssh.service.wants/fountainkit-shares.service" in inside.members

    def test_what_is_switched_off_can_be_asked_for(self, inside: Inside, definition: Definition) -> None:
        wants = [name for name in inside.below("/etc/systemd/system") if inside.members[name].linkname != "/dev/null"]
        off = {name.rpartition("/")[2] for name in wants} & set(definition.services.disable)
        assert off == set()
        assert not set(definition.services.disable) & set(definition.services.mask)

    def test_no_program_runs_as_somebody_else_that_need_not(self, inside: Inside, definition: Definition) -> None:
        assert "/usr/bin/sudo" in inside.set_id
        plain = {Path(one).name for one in definition.files.plain}
        assert not {Path(one).name for one in inside.set_id} & plain
        overridden = {line.split()[3] for line in inside.text("/var/lib/dpkg/statoverride").splitlines()}
        assert set(definition.files.plain) <= overridden

    def test_the_root_is_mounted_by_its_uuid_and_no_foreign_disk_is(self, inside: Inside) -> None:
        mounts = [line.split() for line in inside.text("/etc/fstab").splitlines()]
        assert [mount[1] for mount in mounts] == ["/", "/boot/efi"]
        assert all(mount[0].startswith("UUID=") for mount in mounts)
        assert "noauto" in mounts[1][3]
