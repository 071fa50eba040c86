"""The image on every bus that QEMU has for a disk, with both firmwares, and with every kind of seed.

Two boots of the boot test are on other hardware than the consumer's, and have a seed on a CD; here is the rest.
"""

import functools
import shutil
import threading
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest

from ci.boot import interruptible
from ci.boot.boot import BOOT_SECONDS
from ci.boot.vm import ssh
from ci.boot.vm.machine import start
from ci.boot.vm.qemu import SCSI_DISK, SEED_CD, SEED_DISK, SSH_PORT, VIRTIO_DISK, Devices, MachineSpec
from ci.host.accelerator import Acceleration
from ci.host.process import held_port, run
from ci.machine.ssh import USER
from tests.support.building import Built

pytestmark = [pytest.mark.integration, pytest.mark.full, pytest.mark.timeout(1800)]

OVMF_CODE, OVMF_VARIABLES = (Path("/usr/share/OVMF") / f"OVMF_{part}_4M.fd" for part in ("CODE", "VARS"))
needs_ovmf = pytest.mark.skipif(not OVMF_CODE.exists(), reason="OVMF is not here: apt-get install ovmf")
# As root, who needs no D-Bus: SSH is there before it.
STATE = "sudo -n systemctl is-system-running --wait; sudo -n systemctl --failed --no-legend --plain"
SEEDED = "hostname; cat /etc/from-seed"


def on_scsi(adapter: str) -> Devices:
    return (f"{adapter},id=scsi", "scsi-hd,bus=scsi.0,drive=root")


def on_usb(host: str) -> Devices:
    return (f"{host},id=usb", "usb-storage,bus=usb.0,drive=root")


BUSES: Mapping[str, Devices] = {
    "virtio-blk": VIRTIO_DISK,
    "virtio-scsi": SCSI_DISK,
    "ide": ("ide-hd,bus=ide.0,drive=root",),  # SATA, on q35
    "ahci": ("ich9-ahci,id=sata", "ide-hd,bus=sata.0,drive=root"),
    "nvme": ("nvme,serial=one,drive=root",),
    "usb-xhci": on_usb("qemu-xhci"),
    # Not UHCI: at its speed the firmware alone takes minutes, and SeaBIOS gives up where the host is busy.
    "usb-ehci": on_usb("usb-ehci"),
    # SeaBIOS cannot read such a disk on xhci, whatever is on it.
    "usb-uas": ("usb-ehci,id=usb", "usb-uas,id=scsi,bus=usb.0", "scsi-hd,bus=scsi.0,drive=root"),
    "lsi53c895a": on_scsi("lsi53c895a"),
    "megasas": on_scsi("megasas"),
    "pvscsi": on_scsi("pvscsi"),
    "am53c974": on_scsi("am53c974"),
}
# OVMF, as Debian builds it, ends in its own shell on all others: it has no driver that sees the disk.
WITH_OVMF = ["virtio-blk", "virtio-scsi", "ide", "ahci", "nvme", "usb-xhci", "usb-ehci"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Machine(MachineSpec):
    """With any further arguments for QEMU, which refuses an IDE disk that cannot be written to."""

    more: tuple[str, ...] = ()

    def argv(self, acceleration: Acceleration, sockets: Path | None) -> list[str]:
        argv = MachineSpec.argv(self, acceleration, sockets)
        return [*(word.replace("readonly=on", "snapshot=on") for word in argv), *self.more]


def ovmf(folder: Path) -> tuple[str, ...]:
    variables = folder / "variables.fd"
    shutil.copy(OVMF_VARIABLES, variables)
    code = f"if=pflash,format=raw,readonly=on,file={OVMF_CODE}"
    return ("-drive", code, "-drive", f"if=pflash,format=raw,file={variables}")


@dataclass(frozen=True, slots=True)
class Bench:
    """The image, and where it is started."""

    built: Built
    acceleration: Acceleration
    folder: Path

    def answer(self, key: ssh.Key, command: str = "true", **spec: object) -> list[str]:
        """The words of the machine's state, and of its answer to `command`, once it is up."""
        limit = self.acceleration.scaled(BOOT_SECONDS)

        async def scenario(port: int) -> str:
            machine = Machine(image=self.built.image, forwards={port: SSH_PORT}, instruments=False, **spec)  # type: ignore[arg-type]
            async with (
                start(machine, self.acceleration, self.folder) as running,
                await running.until(ssh.connect(port, USER, key), limit, "a login") as session,
            ):
                return (await session.run(f"{STATE}; {command}", limit)).stdout

        with held_port() as port:
            return interruptible.run(scenario(port)).split()


@pytest.fixture
def bench(built: Built, acceleration: Acceleration, tmp_path: Path) -> Bench:
    return Bench(built, acceleration, tmp_path)


@pytest.mark.parametrize(
    ("machine", "bus", "firmware"),
    [
        *(("pc", bus, "seabios") for bus in BUSES),
        *(("q35", bus, "seabios") for bus in ("ide", "nvme", "usb-xhci")),
        *(pytest.param("q35", bus, "ovmf", marks=needs_ovmf) for bus in WITH_OVMF),
        *(pytest.param("pc", bus, "ovmf", marks=needs_ovmf) for bus in ("virtio-blk", "virtio-scsi", "ide")),
    ],
)
def test_the_root_is_found_on_every_bus(machine: str, bus: str, firmware: str, bench: Bench) -> None:
    key = ssh.load_key(bench.built.identity.read_text(encoding="utf-8"))
    more = ovmf(bench.folder) if firmware == "ovmf" else ()
    assert bench.answer(key, machine=machine, disk=BUSES[bus], more=more) == ["running"]


USER_DATA = """#cloud-config
hostname: from-seed
ssh_authorized_keys: ["{key}"]
write_files: [{{path: /etc/from-seed, content: "yes\\n"}}]
"""
# The same settings in both of their versions. The second card is one whose driver no start needs.
SECOND_CARD = ("-netdev", "user,id=net1", "-device", "e1000,netdev=net1,mac=52:54:00:12:34:57,romfile=")
NETWORKS = {
    "v1": """version: 1
config:
  - type: physical
    name: lan0
    mac_address: "52:54:00:12:34:56"
    subnets: [{type: dhcp4}, {type: static, address: 192.0.2.17/24}]
  - type: physical
    name: lan1
    mac_address: "52:54:00:12:34:57"
    subnets: [{type: static, address: 198.51.100.17/24}]
""",
    "v2": """version: 2
ethernets:
  card:
    match: {macaddress: "52:54:00:12:34:56"}
    set-name: lan0
    dhcp4: true
    addresses: [192.0.2.17/24]
  other:
    match: {macaddress: "52:54:00:12:34:57"}
    set-name: lan1
    addresses: [198.51.100.17/24]
""",
}
META_DATA = "instance-id: iid-test\n"
ADDRESSES = "ip -4 -oneline address | awk '$2 != \"lo\" {print $2, $4}' | sort"


def nocloud(folder: Path, key: ssh.Key, network: str = "") -> Path:
    files = folder / "files"
    files.mkdir()
    (files / "user-data").write_text(USER_DATA.format(key=key.public))
    (files / "meta-data").write_text(META_DATA)
    if network:
        (files / "network-config").write_text(network)
    return files


def config_drive(folder: Path, key: ssh.Key, more: str = "") -> Path:
    latest = folder / "files" / "openstack" / "latest"
    latest.mkdir(parents=True)
    (latest / "user_data").write_text(USER_DATA.format(key=key.public) + more)
    (latest / "meta_data.json").write_text('{"uuid": "iid-test", "hostname": "from-seed"}')
    return folder / "files"


def file_system(kind: str, label: str, files: Path) -> Path:
    image = files.parent / "seed.img"
    if kind == "iso9660":
        run(["genisoimage", "-quiet", "-joliet", "-rock", "-volid", label, "-output", image, files], timeout=60)
        return image
    with image.open("wb") as file:
        file.truncate(4 << 20)
    run(["mkfs.vfat", "-n", label, image], timeout=60)
    run(["mcopy", "-s", "-i", image, *files.iterdir(), "::/"], timeout=60)
    return image


ON_USB = ("qemu-xhci,id=seeds", "usb-storage,bus=seeds.0,drive=seed")


@pytest.mark.parametrize(
    ("kind", "label", "drive", "network"),
    [
        ("iso9660", "cidata", SEED_CD, "v1"),
        ("iso9660", "CIDATA", ("virtio-scsi-pci,id=seeds", "scsi-cd,bus=seeds.0,drive=seed"), "v2"),
        ("vfat", "CIDATA", SEED_DISK, "v2"),
        ("vfat", "cidata", ("ich9-ahci,id=seeds", "ide-hd,bus=seeds.0,drive=seed"), "v1"),
        ("vfat", "CIDATA", ON_USB, "v2"),
        ("vfat", "config-2", SEED_DISK, ""),
    ],
)
def test_a_seed_is_honoured_whatever_it_is_on(
    kind: str, label: str, drive: Devices, network: str, bench: Bench
) -> None:
    key = ssh.new_key()
    make = config_drive if label == "config-2" else functools.partial(nocloud, network=NETWORKS.get(network, ""))
    seed = file_system(kind, label, make(bench.folder, key))
    asked = f"{SEEDED}; {ADDRESSES if network else 'true'}"
    seen = bench.answer(key, asked, seed=seed, seed_drive=drive, more=SECOND_CARD if network else ())
    addresses = ["lan0", "10.0.2.15/24", "lan0", "192.0.2.17/24", "lan1", "198.51.100.17/24"] if network else []
    assert seen == ["running", "from-seed", "yes", *addresses]


MORE = """locale: de_DE.UTF-8
mounts: [[work, /srv/src, 9p, "ro,trans=virtio,version=9p2000.L", "0", "0"]]
"""


def test_a_seeds_locale_is_made_and_its_mounts_are_there(bench: Bench) -> None:
    key, work = ssh.new_key(), bench.folder / "work"
    work.mkdir()
    (work / "known").write_text("known\n")
    seed = file_system("iso9660", "config-2", config_drive(bench.folder, key, MORE))
    share = ("-virtfs", f"local,path={work},mount_tag=work,security_model=none,readonly=on")
    asked = f"{SEEDED}; cat /srv/src/known /mnt/work/known /etc/default/locale; locale -a | grep de_"
    seen = bench.answer(key, asked, seed=seed, seed_drive=SEED_CD, more=share)
    assert seen == ["running", "from-seed", "yes", "known", "known", "LANG=de_DE.UTF-8", "de_DE.utf8"]


@contextmanager
def served(files: Path) -> Iterator[int]:
    server = ThreadingHTTPServer(("127.0.0.1", 0), functools.partial(SimpleHTTPRequestHandler, directory=str(files)))
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    try:
        yield server.server_port
    finally:
        server.shutdown()
        thread.join()
        server.server_close()


def test_a_seed_on_the_web_is_honoured_where_the_serial_number_names_it(bench: Bench) -> None:
    key = ssh.new_key()
    with served(nocloud(bench.folder, key)) as web:
        # `nocloud` alone does in cloud-init 23.3 and later.
        serial = f"type=1,serial=ds=nocloud-net;s=http://10.0.2.2:{web}/"
        assert bench.answer(key, SEEDED, more=("-smbios", serial)) == ["running", "from-seed", "yes"]
