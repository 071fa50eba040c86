"""One boot as a test sees it: the machine, the way in, and the results so far, which outlive the machine's end."""

import asyncio
import os
import shlex
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator, Sequence
from contextlib import asynccontextmanager, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import TypeAlias

from ci.boot import interruptible
from ci.boot.checks.check import ImageCheck
from ci.boot.checks.load import CHECKS, checks_of
from ci.boot.vm import machine, ssh
from ci.boot.vm.console import Console
from ci.boot.vm.machine import VirtualMachine
from ci.boot.vm.qemu import ConsumerSpec, MachineSpec
from ci.host.accelerator import Acceleration
from ci.host.errors import BootError
from ci.host.process import held_port
from ci.machine.ssh import USER
from ci.records.build import BuildRecord
from ci.records.validation import BootResult, CheckResult, Outcome, StartPart

# The host's for the guest's 22 and 3023.
Ports: TypeAlias = tuple[int, int]

# Limits in seconds for a machine with KVM; Acceleration.scaled() lengthens them.
BOOT_SECONDS = 90.0
COMMAND_SECONDS = 30.0
TRIAL_SECONDS = 60.0
SHUTDOWN_SECONDS = 30.0

# Commands in flight at once. Measured without KVM on two processors: 1 took 62 to 96 s for all of `full`, 2 took 55 s,
# 4 took 60 to 66 s.
CONCURRENCY = 2


@dataclass(frozen=True, slots=True, kw_only=True)
class BootSettings:
    """What all boots of one test have in common.

    `identity` is a private key that the image lets in; without one, each boot makes a key and has the guest agent add
    it.

    `boot_seconds` is how long a guest may take to come up, before it is scaled. `port` is the host's port for SSH, and
    the next one is for 3023; None takes free ones.

    `keep_running` is told how to get into the machine of a boot that failed, which then stays until it is powered off.
    """

    image: Path
    acceleration: Acceleration
    keep_running: Callable[[str], object] | None = None
    record: BuildRecord | None = None
    identity: ssh.Key | None = None
    boot_seconds: float = BOOT_SECONDS
    port: int | None = None
    memory_mib: int = 2048


@dataclass(frozen=True, slots=True, kw_only=True)
class Scenario:
    """A boot: the size of its machine, and what is done in it.

    `usual_seconds` is how long it takes without KVM, to start long ones first.
    """

    name: str
    memory_mib: int
    cpus: int
    usual_seconds: int
    play: Callable[["Boot", Ports], Awaitable[None]]

    @property
    def planned(self) -> tuple[ImageCheck, ...]:
        """The checks that it will have to say something about."""
        return checks_of(self.name)


@dataclass(slots=True, kw_only=True)
class Boot:
    """One boot under test, and what is known of it so far. `folder` is its own.

    `machine_id` and `host_key` must not be the same in two starts of one image; '' where they were not learnt.
    `error` is why it ended early, None where it did not.
    """

    scenario: Scenario
    settings: BootSettings
    folder: Path
    checks: list[CheckResult] = field(default_factory=list)
    console: Console | None = None
    machine_id: str = ""
    host_key: str = ""
    login_prompt_seconds: float | None = None
    ssh_seconds: float | None = None
    total_seconds: float = 0.0
    start: tuple[StartPart, ...] = ()
    error: BootError | None = None

    @property
    def name(self) -> str:
        """The scenario's."""
        return self.scenario.name

    @property
    def result(self) -> BootResult:
        """What the report says of it."""
        return BootResult(
            name=self.name,
            memory_mib=self.scenario.memory_mib,
            cpus=self.scenario.cpus,
            login_prompt_seconds=self.login_prompt_seconds,
            ssh_seconds=self.ssh_seconds,
            total_seconds=self.total_seconds,
            start=self.start,
        )

    def limit(self, seconds: float = COMMAND_SECONDS) -> float:
        """A limit chosen for KVM, as this machine needs it."""
        return self.settings.acceleration.scaled(seconds)

    def add(self, check_id: str, *, passed: bool, actual: str, seconds: float = 0.0) -> None:
        """Record a check that was judged here."""
        self.checks.append(CHECKS[check_id].result(self.name, passed=passed, actual=actual, seconds=seconds))

    async def run(self) -> None:
        """Play the scenario. A boot that fails is an outcome too; faults of the host are raised.

        Afterwards all planned checks have a result, in the order of the plan; what was not reached is skipped.
        """
        try:
            with _ports(self.settings.port) as ports:
                await self.scenario.play(self, ports)
        except BootError as error:
            self.error = error
            # The image may have come up and been lost later; the report must show a failure either way.
            self.checks = [done for done in self.checks if done.id != "came-up"]
            self.add("came-up", passed=False, actual="\n".join(filter(None, [error.message, error.details])))
            seen = {done.id for done in self.checks}
            reason = f"not reached: {error.message}"
            self.checks += [check.skipped(self.name, reason) for check in self.scenario.planned if check.id not in seen]
        order = [check.id for check in self.scenario.planned]
        self.checks.sort(key=lambda done: order.index(done.id))

    @asynccontextmanager
    async def guest(
        self, spec: MachineSpec | ConsumerSpec, port: int, seeded_key: ssh.Key | None = None
    ) -> AsyncIterator["Guest"]:
        """The guest, started and logged into; powered off as a person would when the block is left without an error.

        Its console and its time are kept however it ends.
        """
        known = seeded_key or self.settings.identity
        key = known or ssh.new_key()
        limit = self.limit(self.settings.boot_seconds)
        async with machine.start(spec, self.settings.acceleration, self.folder) as running:
            self.console = running.console
            try:
                if known is None:
                    await running.add_authorized_key(USER, key.public, limit)
                async with await running.until(ssh.connect(port, USER, key), limit, f"a login as {USER}") as session:
                    await self._note_arrival(running, session)
                    guest = Guest(self, running, session, key)
                    yield guest
                    if any(done.outcome is Outcome.FAILED for done in self.checks):
                        await self._stay(running, port, key)
                    await guest.shut_down()
            except BootError as error:
                await self._stay(running, port, key, error.message)
                raise
            finally:
                self.total_seconds = running.elapsed()

    async def _stay(self, running: VirtualMachine, port: int, key: ssh.Key, message: str = "") -> None:
        """Where that was asked for, keep the machine for a person who looks into it; returns when QEMU has ended."""
        if self.settings.keep_running is None or running.ended:
            return
        identity, console = self.folder / "id", self.folder / machine.CONSOLE_LOG
        key.private.write_private_key(identity)
        identity.chmod(0o600)
        failed = ", ".join(done.id for done in self.checks if done.outcome is Outcome.FAILED)
        self.settings.keep_running(
            f"The boot `{self.name}` failed ({message or failed}), and its machine stays.\n"
            f"  look into it, in another terminal:  {ssh.command_line(USER, port, identity)}\n"
            f"  what is on its console:             tail -f {shlex.quote(os.fspath(console))}\n"
            "  end it, and the test goes on:       sudo poweroff, in the machine; or Ctrl-C here, which ends the test"
        )
        await running.until_ended()

    async def _note_arrival(self, running: VirtualMachine, session: ssh.Session) -> None:
        """Wait for the login prompt too: then the guest has come up."""
        self.ssh_seconds = came_up = running.elapsed()
        self.host_key = session.host_key
        self.login_prompt_seconds = shown = await running.login_prompt(self.limit(self.settings.boot_seconds))
        self.add("came-up", passed=True, actual=f"SSH after {came_up:.1f} s", seconds=came_up)
        self.add("login-prompt", passed=True, actual=f"a login prompt after {shown:.1f} s", seconds=shown)
        problems = running.console.problems()
        self.add("console-clean", passed=not problems, actual="\n".join(problems) or "no line that tells of one")


@dataclass(frozen=True, slots=True)
class Guest:
    """A guest that came up: what can be asked of it and tried on it."""

    boot: Boot
    machine: VirtualMachine
    session: ssh.Session
    key: ssh.Key

    async def run(self, command: str) -> ssh.CommandResult:
        """Run a command that is no check."""
        return await self.session.run(command, self.boot.limit())

    async def ask(self, checks: Sequence[ImageCheck]) -> None:
        """Put all questions to the guest over one connection. The first is answered before the others are asked."""
        limit = self.boot.limit() * (len(checks) + 1)
        await self.machine.until(self._ask_all(checks), limit, "the answers of the guest", answers=True)

    async def _ask_all(self, checks: Sequence[ImageCheck]) -> None:
        first, *others = checks
        gate = asyncio.Semaphore(CONCURRENCY)
        await self._ask_one(first, gate)
        await interruptible.together(*(self._ask_one(check, gate) for check in others))

    async def _ask_one(self, check: ImageCheck, gate: asyncio.Semaphore) -> None:
        boot = self.boot
        async with gate:
            started = time.monotonic()
            try:
                answer = await self.run(check.shell_line())
            except BootError as error:
                seconds = time.monotonic() - started
                boot.checks.append(check.result(boot.name, passed=False, actual=error.message, seconds=seconds))
                return
        self.machine.answered()
        boot.checks.append(check.judge(boot.name, answer))
        if check.id == "machine-id":
            boot.machine_id = answer.stdout.strip()

    async def attempt(self, check_id: str, trial: Awaitable[tuple[bool, str]]) -> None:
        """Record what a trial found: whether it passed, and what it saw. One that cannot be made has failed."""
        started = self.machine.elapsed()
        limit = self.boot.limit(TRIAL_SECONDS)
        try:
            passed, actual = await self.machine.until(trial, limit, CHECKS[check_id].title)
        except BootError as error:
            passed, actual = False, error.message
        self.boot.add(check_id, passed=passed, actual=actual, seconds=self.machine.elapsed() - started)

    async def shut_down(self) -> None:
        """Power the guest off as a person would, and see QEMU end by itself."""
        before, limit = self.machine.elapsed(), self.boot.limit(SHUTDOWN_SECONDS)
        # The connection breaks while the command runs; what counts is how QEMU ends.
        command = asyncio.ensure_future(self.session.run("sudo -n shutdown now", limit))
        try:
            ended = await self.machine.powered_off(limit)
        except BootError as error:
            self.boot.add("clean-shutdown", passed=False, actual=f"{error.message}\n{error.details}".strip())
            return
        finally:
            command.cancel()
            await asyncio.gather(command, return_exceptions=True)
        self.boot.add(
            "clean-shutdown",
            # Without a monitor nobody tells the reason.
            passed=ended.reason in ("guest-shutdown", "") and ended.exit_code == 0,
            actual=f"{ended.reason or 'no monitor to tell the reason'}, exit code {ended.exit_code}",
            seconds=self.machine.elapsed() - before,
        )


@contextmanager
def _ports(port: int | None) -> Iterator[Ports]:
    if port is not None:
        yield port, port + 1
        return
    with held_port() as free, held_port() as another:
        yield free, another
