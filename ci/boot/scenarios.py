"""The four boots, each a start of the same unaltered image, and what is compared between them.

They share nothing but the image, so that they can run side by side.
"""

import contextlib
import json
import secrets
import time
from collections.abc import Awaitable, Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TypeAlias

from ci.boot import interruptible
from ci.boot.boot import BOOT_CHECKS, COMMAND_SECONDS, Bench, BootOutcome, BootShape, Visit
from ci.boot.chart import save_boot_chart
from ci.boot.checks.access import SSH_PORTS, USER
from ci.boot.checks.check import Check, CommandCheck, not_reached, result, skipped
from ci.boot.checks.consumer import NO_OOM, SPECIAL_NAME, consumer_checks
from ci.boot.checks.guest import clone_checks, full_checks, seed_checks
from ci.boot.vm import ssh
from ci.boot.vm.machine import Machine
from ci.boot.vm.qemu import CONSUMER_TAG, ConsumerSpec, Forward, MachineSpec, Share
from ci.boot.vm.seed import make_seed, meta_data
from ci.host.errors import BootError
from ci.host.process import held_port
from ci.records.validation import CheckResult

SCREENSHOT = "console.png"
CHART = "boot.svg"

# Toolsmith gives no -m: this is QEMU's default.
CONSUMER_MEMORY_MIB = 128
EXPORT_TAG = "scratch"
KNOWN_FILE = "known.txt"
LIVE_FILE = "live.txt"
SEED_HOSTNAME = "seeded"
SEED_MARKER = "/etc/toolsmith-seed-marker"
CLOCK_SECONDS = 60.0
GIVE_ROOT_THE_KEY = f"sudo -n install -D -m 600 /home/{USER}/.ssh/authorized_keys /root/.ssh/authorized_keys"

SSH_ON_22 = Check(id="ssh-22", title="SSH answers on port 22", expected="a login with the key")
SSH_ON_3023 = Check(id="ssh-3023", title="SSH answers on port 3023", expected="a login with the key")
METHODS = Check(id="ssh-methods", title="sshd offers keys and nothing else", expected="publickey")
PASSWORD = Check(id="password-refused", title="A password does not log in", expected="refused")
KEYBOARD = Check(id="keyboard-interactive-refused", title="Keyboard-interactive does not log in", expected="refused")
ROOT_LOGIN = Check(
    id="root-login-refused", title="root does not log in with the key that fountain does", expected="refused"
)
CLOCK = Check(id="clock", title="The clock is right", expected=f"at most {CLOCK_SECONDS:g} s from the host's")
SHARE_LIVE = Check(
    id="share-live", title="The workspace follows the host's files", expected="the file made, changed and removed"
)
SHARE_WRITABLE = Check(
    id="share-writable", title="What the guest writes to a writable share is on the host", expected="the text written"
)
SEED_KEY = Check(id="seed-key", title="The seed's key logs in as fountain", expected="a login with the key")
HOST_KEYS_DIFFER = Check(
    id="host-keys-differ", title="Two starts have different host keys", expected="a key unlike the first start's"
)
MACHINE_IDS_DIFFER = Check(
    id="machine-ids-differ", title="Two starts have different machine-ids", expected="an id unlike the first start's"
)

FULL_CHECKS = (SSH_ON_22, SSH_ON_3023, METHODS, PASSWORD, KEYBOARD, ROOT_LOGIN, CLOCK)
CLONE_COMPARISONS = (HOST_KEYS_DIFFER, MACHINE_IDS_DIFFER)


Planned: TypeAlias = tuple[Check | CommandCheck, ...]
# The host's for the guest's 22 and 3023.
Ports: TypeAlias = tuple[int, int]


@dataclass(frozen=True, slots=True, kw_only=True)
class Scenario:
    """A boot and what it will have to say about each of its checks.

    `usual_seconds` is how long it takes without KVM, to start long ones first.
    """

    name: str
    shape: BootShape
    usual_seconds: int
    planned: Planned
    key: ssh.Key
    play: Callable[[Visit, Ports], Awaitable[None]]


def full(bench: Bench) -> Scenario:
    """An ordinary machine, and every question there is about the image itself."""
    key = bench.identity or ssh.new_key()
    shape = BootShape(memory_mib=bench.memory_mib, cpus=2)
    questions = full_checks(bench.record, () if bench.identity else (key.private.get_fingerprint(),))

    async def play(visit: Visit, ports: Ports) -> None:
        forwards = tuple(
            Forward(host_port=host, guest_port=guest) for host, guest in zip(ports, SSH_PORTS, strict=True)
        )
        spec = MachineSpec(image=bench.image, memory_mib=shape.memory_mib, cpus=shape.cpus, forwards=forwards)
        async with visit.started(spec) as running, await visit.log_in(running, ports[0]) as session:
            visit.add(SSH_ON_22, passed=True, actual="a login with the key")
            await running.screenshot(visit.folder / SCREENSHOT)
            await visit.ask(running, session, questions)
            await _knock(visit, running, session, *ports)
            await visit.attempt(running, CLOCK, _compare_clocks(session, visit.limit(COMMAND_SECONDS)))
            await save_boot_chart(running, session, visit.folder / CHART, visit.limit(COMMAND_SECONDS))
            await visit.shut_down(running, session)

    planned: Planned = (*BOOT_CHECKS, *FULL_CHECKS, *questions)
    return Scenario(name="full", shape=shape, usual_seconds=35, planned=planned, key=key, play=play)


def clone(bench: Bench) -> Scenario:
    """A second start: as fresh as the first, and not the same machine."""
    key = bench.identity or ssh.new_key()
    shape = BootShape(memory_mib=bench.memory_mib, cpus=2)
    questions = clone_checks()

    async def play(visit: Visit, ports: Ports) -> None:
        port = ports[0]
        forwards = (Forward(host_port=port),)
        spec = MachineSpec(image=bench.image, memory_mib=shape.memory_mib, cpus=shape.cpus, forwards=forwards)
        async with visit.started(spec) as running, await visit.log_in(running, port) as session:
            await visit.ask(running, session, questions)
            await visit.shut_down(running, session)

    planned: Planned = (*BOOT_CHECKS, *questions)
    return Scenario(name="clone", shape=shape, usual_seconds=16, planned=planned, key=key, play=play)


def consumer(bench: Bench) -> Scenario:
    """Toolsmith's own command line. With an identity nothing at all is added to it."""
    key = bench.identity or ssh.new_key()
    shape = BootShape(memory_mib=CONSUMER_MEMORY_MIB, cpus=1)
    content = secrets.token_hex(16)
    questions = consumer_checks(CONSUMER_TAG, KNOWN_FILE, content)

    async def play(visit: Visit, ports: Ports) -> None:
        port = ports[1]
        workspace, export = _make_shares(visit.folder, content)
        spec = ConsumerSpec(
            image=bench.image,
            workspace=workspace,
            exports=(Share(tag=EXPORT_TAG, path=export, writable=True),),
            host_port=port,
            instruments=bench.identity is None,
        )
        async with visit.started(spec) as running, await visit.log_in(running, port) as session:
            visit.add(SSH_ON_3023, passed=True, actual="a login with the key")
            await visit.ask(running, session, questions)
            limit = visit.limit(COMMAND_SECONDS)
            await visit.attempt(running, SHARE_LIVE, _follow_share(session, workspace, limit))
            await visit.attempt(running, SHARE_WRITABLE, _write_to_share(session, export, limit))
            await visit.ask(running, session, (NO_OOM,))
            await visit.shut_down(running, session)

    planned: Planned = (*BOOT_CHECKS, SSH_ON_3023, *questions, SHARE_LIVE, SHARE_WRITABLE, NO_OOM)
    return Scenario(name="consumer", shape=shape, usual_seconds=31, planned=planned, key=key, play=play)


def seeded(bench: Bench) -> Scenario:
    """A NoCloud seed that also tries to open the door: its password must not work."""
    key = ssh.new_key()
    shape = BootShape(memory_mib=bench.memory_mib, cpus=2)
    marker, password = secrets.token_hex(16), secrets.token_hex(16)
    questions = seed_checks(SEED_HOSTNAME, SEED_MARKER, marker)

    async def play(visit: Visit, ports: Ports) -> None:
        port = ports[0]
        user_data = seed_user_data(public_key=key.public, marker=marker, password=password)
        seed = make_seed(visit.folder, user_data, meta_data(instance=f"boot-test-{secrets.token_hex(4)}"))
        spec = MachineSpec(
            image=bench.image,
            memory_mib=shape.memory_mib,
            cpus=shape.cpus,
            seed=seed,
            forwards=(Forward(host_port=port),),
        )
        async with visit.started(spec) as running, await visit.log_in(running, port, add_key=False) as session:
            visit.add(SEED_KEY, passed=True, actual="a login with the key")
            await visit.ask(running, session, questions)
            await visit.attempt(running, PASSWORD, _refused(ssh.password_accepted(port, USER, password)))
            await visit.shut_down(running, session)

    planned: Planned = (*BOOT_CHECKS, SEED_KEY, *questions, PASSWORD)
    return Scenario(name="seed", shape=shape, usual_seconds=38, planned=planned, key=key, play=play)


SCENARIOS: tuple[Callable[[Bench], Scenario], ...] = (full, clone, consumer, seeded)


def seed_user_data(*, public_key: str, marker: str, password: str) -> str:
    """The seed's user-data. It sets a password and asks for logins with it, as a careless person's would."""
    settings = {
        "hostname": SEED_HOSTNAME,
        "ssh_authorized_keys": [public_key],
        "ssh_pwauth": True,
        "password": password,
        "chpasswd": {"expire": False},
        "write_files": [{"path": SEED_MARKER, "content": f"{marker}\n"}],
    }
    return f"#cloud-config\n{json.dumps(settings, indent=2)}\n"  # JSON is YAML


async def run_scenario(bench: Bench, scenario: Scenario, folder: Path) -> BootOutcome:
    """Boot once, with `folder` for its files. A boot that fails is an outcome too; faults of the host are raised."""
    visit = Visit(name=scenario.name, bench=bench, folder=folder, key=scenario.key)
    error = None
    try:
        with _ports(bench) as ports:
            await scenario.play(visit, ports)
    except BootError as failure:
        error = failure
    return visit.finish(scenario.planned, scenario.shape, error)


def not_booted(scenario: Scenario, reason: str) -> list[CheckResult]:
    """The checks of a boot that was not tried."""
    return not_reached(scenario.planned, (), scenario.name, reason)


def compare_clones(outcomes: Sequence[BootOutcome]) -> list[CheckResult]:
    """Whether the second start is another machine than the first."""
    known = {outcome.result.name: outcome.identity for outcome in outcomes}
    first, second = known.get("full"), known.get("clone")
    if first is None or second is None:
        return [skipped(check, "clone", "one of the two starts did not get far enough") for check in CLONE_COMPARISONS]
    pairs = ((first.host_key, second.host_key), (first.machine_id, second.machine_id))
    return [
        result(check, "clone", passed=one != two, actual=f"{one} and {two}")
        for check, (one, two) in zip(CLONE_COMPARISONS, pairs, strict=True)
    ]


def _make_shares(folder: Path, content: str) -> tuple[Path, Path]:
    workspace, export = folder / "workspace", folder / "export"
    workspace.mkdir()
    for name in (KNOWN_FILE, SPECIAL_NAME):
        (workspace / name).write_text(f"{content}\n", encoding="utf-8")
    export.mkdir()
    # The guest's fountain is another user than ours, and 9p passes the numbers through.
    export.chmod(0o777)
    return workspace, export


@contextlib.contextmanager
def _ports(bench: Bench) -> Iterator[Ports]:
    if bench.port is not None:
        yield bench.port, bench.port + 1
        return
    with held_port() as port, held_port() as consumer_port:
        yield port, consumer_port


async def _knock(visit: Visit, running: Machine, session: ssh.Session, port: int, consumer_port: int) -> None:
    """Try the doors that must be open, and those that must not."""
    # Without a key of its own root would be refused by whatever sshd's settings are. This guest is thrown away.
    limit = visit.limit(COMMAND_SECONDS)
    await running.until(session.run(GIVE_ROOT_THE_KEY, limit), limit, "giving root the key")
    await interruptible.together(
        visit.attempt(running, SSH_ON_3023, _log_in(consumer_port, visit.key)),
        visit.attempt(running, METHODS, _ask_methods(port)),
        visit.attempt(running, PASSWORD, _refused(ssh.password_accepted(port, USER, USER))),
        visit.attempt(running, KEYBOARD, _refused(ssh.keyboard_interactive_accepted(port, USER, USER))),
        visit.attempt(running, ROOT_LOGIN, _refused(ssh.login_accepted(port, "root", visit.key))),
    )


async def _log_in(port: int, key: ssh.Key) -> tuple[bool, str]:
    async with await ssh.connect(port, USER, key):
        return True, "a login with the key"


async def _ask_methods(port: int) -> tuple[bool, str]:
    offered = await ssh.offered_methods(port, USER)
    return offered == ("publickey",), ", ".join(offered)


async def _refused(attempt: Awaitable[bool]) -> tuple[bool, str]:
    accepted = await attempt
    return not accepted, "a login" if accepted else "refused"


async def _compare_clocks(session: ssh.Session, limit: float) -> tuple[bool, str]:
    before = time.time()
    answer = await session.run("date +%s", limit)
    after = time.time()
    if not answer.stdout.strip().isdecimal():
        return False, f"{answer.stdout}{answer.stderr}".strip()
    guest = int(answer.stdout)
    off = max(before - guest, guest - after, 0.0)
    return off <= CLOCK_SECONDS, f"{off:.0f} s from the host's"


async def _follow_share(session: ssh.Session, workspace: Path, limit: float) -> tuple[bool, str]:
    """Make, change and remove a file on the host, with a look from the guest after each."""
    for text in (secrets.token_hex(8), secrets.token_hex(16)):
        (workspace / LIVE_FILE).write_text(f"{text}\n", encoding="utf-8")
        answer = await session.run(f"cat /mnt/{CONSUMER_TAG}/{LIVE_FILE}", limit)
        if answer.stdout.strip() != text:
            return False, f"{answer.stdout}{answer.stderr}".strip() or "nothing"
    (workspace / LIVE_FILE).unlink()
    answer = await session.run(f"ls /mnt/{CONSUMER_TAG}", limit)
    if LIVE_FILE in answer.stdout.splitlines():
        return False, "the file is still there"
    if answer.exit_status != 0:
        return False, answer.stderr.strip() or f"ls: exit status {answer.exit_status}"
    return True, "the file made, changed and removed"


async def _write_to_share(session: ssh.Session, export: Path, limit: float) -> tuple[bool, str]:
    text = secrets.token_hex(16)
    answer = await session.run(f"echo {text} >/mnt/{EXPORT_TAG}/from-guest", limit)
    try:
        found = (export / "from-guest").read_text(encoding="utf-8", errors="replace").strip()
    except OSError as error:
        return False, f"{error.strerror} on the host; in the guest: {answer.stderr.strip() or 'no error'}"
    return found == text, "the text written" if found == text else found
