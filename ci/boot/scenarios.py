"""The four boots, each a start of the same unaltered image, and what is compared between them.

They share nothing but the image, so that they can run side by side.
"""

import json
import os
import secrets
import time
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path

from ci.boot import interruptible
from ci.boot.boot import Boot, Guest, Ports, Scenario
from ci.boot.checks.check import Expectation, ImageCheck, accepts_nothing, exactly, json_with
from ci.boot.checks.load import CHECKS, checks_of
from ci.boot.image_file import NO_RECORD
from ci.boot.start import look_at_start
from ci.boot.vm import ssh
from ci.boot.vm.qemu import (
    CONSUMER_PORT,
    MAC_ADDRESS,
    SCSI_DISK,
    SEED_CD,
    SSH_PORT,
    ConsumerSpec,
    MachineSpec,
)
from ci.boot.vm.seed import make_seed
from ci.machine.ssh import USER, WORKSPACE_TAG
from ci.records import artifacts
from ci.records.build import BuildRecord
from ci.records.validation import CheckResult

# Toolsmith gives no -m: this is QEMU's default.
CONSUMER_MEMORY_MIB = 128
EXPORT_TAG = "scratch"
# What the commands in checks.toml read. The second may be stumbled over by a shell, a protocol or a locale.
KNOWN_FILES = ("known.txt", "two words, naïve ☃.txt", "private/known.txt")
LIVE_FILE = "live.txt"
FIRST_OF_MACOS = 501  # the number of the first user there
SEED_HOSTNAME = "seeded"
SEED_MARKER = "/etc/toolsmith-seed-marker"
SEED_CARD = "lan0"
SEED_ADDRESS = "192.0.2.17/24"
SEED_NTP = "10.0.2.2"  # nobody answers there
CLOCK_SECONDS = 60.0
# What a host that slept leaves behind, and what the timer does within ten seconds.
FALL_BEHIND = "sudo -n date --set='1 hour ago' >/dev/null && sudo -n systemctl start fountainkit-clock.service"
LARGER_GIB = 40
SECOND_DISK_BYTES = 64 << 20
GROW = "sudo -n systemctl restart fountainkit-grow.service && df --block-size=1G --output=size / | tail -n 1"
# On the bus of the root, which is sda; older udevs have no link of its serial number.
USE_SECOND = """sudo -n sh -euc '
until [ -b /dev/sdb ]; do sleep 0.2; done
mkfs.ext4 -q /dev/sdb
mkdir /srv/second
mount /dev/sdb /srv/second
echo written >/srv/second/file
umount /srv/second
mount -o ro /dev/sdb /srv/second
cat /srv/second/file'"""
GIVE_ROOT_THE_KEY = f"sudo -n install -D -m 600 /home/{USER}/.ssh/authorized_keys /root/.ssh/authorized_keys"
A_LOGIN = "a login with the key"


def questions(boot: str, known: Mapping[str, Expectation]) -> list[ImageCheck]:
    """What is asked of the guest in a boot; `known` are the answers that no file could tell beforehand."""
    asked = [check for check in checks_of(boot) if check.command]
    return [replace(check, expected=known.get(check.id, check.expected)) for check in asked]


async def full(boot: Boot, ports: Ports) -> None:
    """An ordinary machine, and every question there is about the image itself."""
    record = boot.settings.record
    async with boot.guest(_machine(boot, ports), ports[0]) as guest:
        boot.add("ssh-22", passed=True, actual=A_LOGIN)
        await guest.machine.screenshot(boot.folder / f"{boot.name}{artifacts.SCREENSHOT}")
        asked = questions("full", recorded(record, guest.key.private.get_fingerprint()) if record else {})
        unknown = [check for check in asked if check.expected.accepts is accepts_nothing]
        boot.checks += [check.skipped(boot.name, NO_RECORD) for check in unknown]
        await guest.ask([check for check in asked if check not in unknown])
        await _knock(guest, *ports)
        await guest.attempt("clock", _compare_clocks(guest))
        boot.start = await look_at_start(guest)
        await guest.attempt("clock-behind", _fall_behind(guest))


async def clone(boot: Boot, ports: Ports) -> None:
    """A second start, as fresh as the first, and not the same machine: nor is its board, or the bus of its disk."""
    async with boot.guest(replace(_machine(boot, ports), machine="q35", disk=SCSI_DISK), ports[0]) as guest:
        await guest.ask(questions("clone", {}))
        await guest.attempt("larger-disk", _enlarge(guest))
        await guest.attempt("second-disk", _plug_in(guest, boot.folder))


async def consumer(boot: Boot, ports: Ports) -> None:
    """Toolsmith's own command line. With an identity nothing at all is added to it."""
    content = secrets.token_hex(16)
    known = dict.fromkeys(("share-readable", "share-names", "share-private"), exactly(content))
    asked = questions("consumer", known)
    # The one takes the share away for a moment, the other wants to know of all that was done.
    asked_last = [CHECKS["share-elsewhere"], CHECKS["no-oom-kill"]]
    workspace, export = _make_shares(boot.folder, content)
    spec = ConsumerSpec(
        image=boot.settings.image,
        workspace=workspace,
        exports={EXPORT_TAG: export},
        host_port=ports[1],
        instruments=boot.settings.identity is None,
    )
    async with boot.guest(spec, ports[1]) as guest:
        boot.add("ssh-3023", passed=True, actual=A_LOGIN)
        await guest.ask([check for check in asked if check not in asked_last])
        await guest.attempt("share-live", _follow_share(guest, workspace))
        await guest.attempt("share-writable", _write_to_share(guest, export))
        await guest.ask(asked_last)


async def seeded(boot: Boot, ports: Ports) -> None:
    """A NoCloud seed on a CD, which also tries to open the door: its password must not work."""
    key = ssh.new_key()
    marker, password = secrets.token_hex(16), secrets.token_hex(16)
    user_data = seed_user_data(public_key=key.public, marker=marker, password=password)
    instance = f"boot-test-{secrets.token_hex(4)}"
    seed = make_seed(boot.folder, user_data, instance=instance, network=seed_network())
    spec = replace(_machine(boot, ports), seed=seed, seed_drive=SEED_CD)
    async with boot.guest(spec, ports[0], key) as guest:
        boot.add("seed-key", passed=True, actual=A_LOGIN)
        await guest.ask(questions("seed", {"seed-file": exactly(marker)}))
        await guest.attempt("password-refused", _refused(ports[0], USER, "password", password))


def all_scenarios(memory_mib: int) -> tuple[Scenario, ...]:
    """The four boots; all but the consumer's have so much memory."""
    return (
        Scenario(name="full", memory_mib=memory_mib, cpus=2, usual_seconds=35, play=full),
        Scenario(name="clone", memory_mib=memory_mib, cpus=2, usual_seconds=16, play=clone),
        Scenario(name="consumer", memory_mib=CONSUMER_MEMORY_MIB, cpus=1, usual_seconds=31, play=consumer),
        Scenario(name="seed", memory_mib=memory_mib, cpus=2, usual_seconds=38, play=seeded),
    )


def recorded(record: BuildRecord, fingerprint: str) -> dict[str, Expectation]:
    """What the build record says of the guest, which lets in the key with this `fingerprint` as well."""
    values = {
        "name": record.name,
        "version": record.version,
        "commit": record.commit,
        "base_sha256": record.base.sha256,
    }
    return {"authorized-keys": exactly(*{*record.authorized_keys, fingerprint}), "image-json": json_with(values)}


def seed_user_data(*, public_key: str, marker: str, password: str) -> str:
    """The seed's user-data. It sets a password and asks for logins with it, as a careless person's would."""
    settings = {
        "hostname": SEED_HOSTNAME,
        "ssh_authorized_keys": [public_key],
        "ssh_pwauth": True,
        "password": password,
        "chpasswd": {"expire": False},
        "ntp": {"enabled": True, "servers": [SEED_NTP]},
        "write_files": [{"path": SEED_MARKER, "content": f"{marker}\n"}],
    }
    return f"#cloud-config\n{json.dumps(settings, indent=2)}\n"  # JSON is YAML


def seed_network() -> str:
    """The seed's network-config: another name and one more address for the card."""
    card = {
        "match": {"macaddress": MAC_ADDRESS},
        "set-name": SEED_CARD,
        "dhcp4": True,
        "addresses": [SEED_ADDRESS],
    }
    return json.dumps({"version": 2, "ethernets": {"card": card}}, indent=2)


def compare_clones(boots: Sequence[Boot]) -> list[CheckResult]:
    """Whether the second start is another machine than the first."""
    known = {boot.name: (boot.host_key, boot.machine_id) for boot in boots}
    first, second = known.get("full", ("", "")), known.get("clone", ("", ""))
    checks = (CHECKS["host-keys-differ"], CHECKS["machine-ids-differ"])
    if not all((*first, *second)):
        return [check.skipped("clone", "one of the two starts did not get far enough") for check in checks]
    return [
        check.result("clone", passed=one != two, actual=f"{one} and {two}")
        for check, one, two in zip(checks, first, second, strict=True)
    ]


def _machine(boot: Boot, ports: Ports) -> MachineSpec:
    return MachineSpec(
        image=boot.settings.image,
        memory_mib=boot.scenario.memory_mib,
        cpus=boot.scenario.cpus,
        forwards={ports[0]: SSH_PORT, ports[1]: CONSUMER_PORT},
    )


def _make_shares(folder: Path, content: str) -> tuple[Path, Path]:
    workspace, export = folder / "workspace", folder / "export"
    private = workspace / "private"
    private.mkdir(mode=0o700, parents=True)
    for name in KNOWN_FILES:
        (workspace / name).write_text(f"{content}\n", encoding="utf-8")
    (private / "known.txt").chmod(0o600)
    if os.geteuid() == 0:  # else it is ours
        for path in (private, private / "known.txt"):
            os.chown(path, FIRST_OF_MACOS, -1)
    export.mkdir()
    # The guest's fountain is another user than ours, and 9p passes the numbers through.
    export.chmod(0o777)
    return workspace, export


async def _knock(guest: Guest, port: int, consumer_port: int) -> None:
    """Try the doors that must be open, and those that must not."""
    # Without a key of its own root would be refused by whatever sshd's settings are. This guest is thrown away.
    await guest.machine.until(guest.run(GIVE_ROOT_THE_KEY), guest.boot.limit(), "giving root the key")
    await interruptible.together(
        guest.attempt("ssh-3023", _log_in(consumer_port, guest.key)),
        guest.attempt("ssh-methods", _ask_methods(port)),
        guest.attempt("password-refused", _refused(port, USER, "password", USER)),
        guest.attempt("keyboard-interactive-refused", _refused(port, USER, "keyboard-interactive", USER)),
        guest.attempt("root-login-refused", _refused(port, "root", "publickey", guest.key)),
    )


async def _log_in(port: int, key: ssh.Key) -> tuple[bool, str]:
    async with await ssh.connect(port, USER, key):
        return True, A_LOGIN


async def _ask_methods(port: int) -> tuple[bool, str]:
    offered = await ssh.offered_methods(port, USER)
    return offered == ("publickey",), ", ".join(offered)


async def _refused(port: int, user: str, method: str, secret: ssh.Key | str) -> tuple[bool, str]:
    accepted = await ssh.login_accepted(port, user, method, secret)
    return not accepted, "a login" if accepted else "refused"


async def _compare_clocks(guest: Guest) -> tuple[bool, str]:
    before = time.time()
    answer = await guest.run("date +%s")
    after = time.time()
    if not answer.stdout.strip().isdecimal():
        return False, f"{answer.stdout}{answer.stderr}".strip()
    seconds = int(answer.stdout)
    off = max(before - seconds, seconds - after, 0.0)
    return off <= CLOCK_SECONDS, f"{off:.0f} s from the host's"


async def _fall_behind(guest: Guest) -> tuple[bool, str]:
    answer = await guest.run(FALL_BEHIND)
    return await _compare_clocks(guest) if answer.exit_status == 0 else (False, answer.stderr.strip())


async def _enlarge(guest: Guest) -> tuple[bool, str]:
    await guest.machine.enlarge_disk(LARGER_GIB)
    answer = await guest.run(GROW)
    size = answer.stdout.strip()
    return size.isdecimal() and LARGER_GIB - 2 <= int(size) <= LARGER_GIB, f"{size} GiB {answer.stderr}".strip()


async def _plug_in(guest: Guest, folder: Path) -> tuple[bool, str]:
    disk = folder / "second.raw"
    with disk.open("wb") as file:
        file.truncate(SECOND_DISK_BYTES)
    await guest.machine.plug_in(disk)
    answer = await guest.run(USE_SECOND)
    return answer.stdout.strip() == "written", f"{answer.stdout}{answer.stderr}".strip()


async def _follow_share(guest: Guest, workspace: Path) -> tuple[bool, str]:
    """Make, change and remove a file on the host, with a look from the guest after each."""
    for text in (secrets.token_hex(8), secrets.token_hex(16)):
        (workspace / LIVE_FILE).write_text(f"{text}\n", encoding="utf-8")
        answer = await guest.run(f"cat /mnt/{WORKSPACE_TAG}/{LIVE_FILE}")
        if answer.stdout.strip() != text:
            return False, f"{answer.stdout}{answer.stderr}".strip() or "nothing"
    (workspace / LIVE_FILE).unlink()
    answer = await guest.run(f"ls /mnt/{WORKSPACE_TAG}")
    if LIVE_FILE in answer.stdout.splitlines():
        return False, "the file is still there"
    if answer.exit_status != 0:
        return False, answer.stderr.strip() or f"ls: exit status {answer.exit_status}"
    return True, "the file made, changed and removed"


async def _write_to_share(guest: Guest, export: Path) -> tuple[bool, str]:
    text = secrets.token_hex(16)
    answer = await guest.run(f"echo {text} >/mnt/{EXPORT_TAG}/from-guest")
    try:
        found = (export / "from-guest").read_text(encoding="utf-8", errors="replace").strip()
    except OSError as error:
        return False, f"{error.strerror} on the host; in the guest: {answer.stderr.strip() or 'no error'}"
    return found == text, "the text written" if found == text else found
