"""One boot as a test sees it: the machine, the way in, and the results so far, which outlive the machine's end."""

import asyncio
import shlex
import time
from collections.abc import AsyncIterator, Awaitable, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path

from ci.boot.checks.access import MACHINE_ID, USER
from ci.boot.checks.check import Check, CommandCheck, command_result, judge, not_reached, result, skipped
from ci.boot.vm import machine, ssh
from ci.boot.vm.console import Console
from ci.boot.vm.machine import Machine
from ci.boot.vm.qemu import ConsumerSpec, MachineSpec
from ci.host.accelerator import Acceleration
from ci.host.errors import BootError
from ci.records.build import BuildRecord
from ci.records.validation import BootResult, CheckResult

# Limits in seconds for a machine with KVM; Acceleration.scaled() lengthens them.
BOOT_SECONDS = 90.0
COMMAND_SECONDS = 30.0
TRIAL_SECONDS = 60.0
SHUTDOWN_SECONDS = 30.0

# Commands in flight at once. Measured without KVM on two processors: 1 took 62 to 96 s for all of `full`, 2 took 55 s,
# 4 took 60 to 66 s.
CONCURRENCY = 2

CAME_UP = Check(id="came-up", title="The image comes up", expected="it starts, and SSH lets fountain in")
LOGIN_PROMPT = Check(id="login-prompt", title="The serial console shows a login prompt", expected="a login prompt")
CONSOLE_CLEAN = Check(
    id="console-clean", title="No errors on the console before the login prompt", expected="no line that tells of one"
)
SHUTDOWN = Check(
    id="clean-shutdown",
    title="`sudo shutdown now` ends the machine",
    expected="the guest powers itself off (guest-shutdown), QEMU ends with exit code 0",
)
BOOT_CHECKS = (CAME_UP, LOGIN_PROMPT, CONSOLE_CLEAN, SHUTDOWN)


@dataclass(frozen=True, slots=True, kw_only=True)
class Bench:
    """What all boots of one test have in common.

    `identity` is a private key that the image lets in; without one, each boot makes a key and has the guest agent add
    it.

    `boot_seconds` is how long a guest may take to come up, before it is scaled. `port` is the host's port for SSH, and
    the next one is for 3023; None takes free ones.
    """

    image: Path
    acceleration: Acceleration
    record: BuildRecord | None = None
    identity: ssh.Key | None = None
    boot_seconds: float = BOOT_SECONDS
    port: int | None = None
    memory_mib: int = 2048


@dataclass(frozen=True, slots=True, kw_only=True)
class BootShape:
    """The size of a machine."""

    memory_mib: int
    cpus: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Identity:
    """What must not be the same in two starts of one image."""

    machine_id: str
    host_key: str


@dataclass(frozen=True, slots=True, kw_only=True)
class BootOutcome:
    """What one boot left behind. `error` is why it ended early, None where it did not."""

    result: BootResult
    checks: tuple[CheckResult, ...]
    identity: Identity | None
    console: str
    error: BootError | None


@dataclass(slots=True, kw_only=True)
class Visit:
    """One boot under test. `folder` is its own."""

    name: str
    bench: Bench
    folder: Path
    key: ssh.Key
    results: list[CheckResult] = field(default_factory=list)
    console: Console | None = None
    machine_id: str = ""
    host_key: str = ""
    login_prompt_seconds: float | None = None
    ssh_seconds: float | None = None
    total_seconds: float = 0.0

    def limit(self, seconds: float) -> float:
        """A limit chosen for KVM, as this machine needs it."""
        return self.bench.acceleration.scaled(seconds)

    def add(self, check: Check, *, passed: bool, actual: str, seconds: float = 0.0) -> None:
        """Record a check that was judged here."""
        self.results.append(result(check, self.name, passed=passed, actual=actual, seconds=seconds))

    @asynccontextmanager
    async def started(self, spec: MachineSpec | ConsumerSpec) -> AsyncIterator[Machine]:
        """The machine, running; its console and its time are kept however it ends."""
        async with machine.start(spec, self.bench.acceleration, self.folder) as running:
            self.console = running.console
            try:
                yield running
            finally:
                self.total_seconds = running.elapsed()

    async def log_in(self, running: Machine, port: int, *, add_key: bool = True) -> ssh.Session:
        """Open the first SSH session, and wait for the login prompt too: then the guest has come up."""
        limit = self.limit(self.bench.boot_seconds)
        if add_key and self.bench.identity is None:
            agent = await running.agent(limit)
            await running.until(agent.add_authorized_key(USER, self.key.public), limit, "adding a key")
        session = await running.until(ssh.connect(port, USER, self.key), limit, f"a login as {USER}")
        self.ssh_seconds = running.elapsed()
        self.host_key = session.host_key
        try:
            self.login_prompt_seconds = await running.login_prompt(limit)
        except BaseException:
            await session.close()
            raise
        self.add(CAME_UP, passed=True, actual=f"SSH after {self.ssh_seconds:.1f} s", seconds=self.ssh_seconds)
        shown = self.login_prompt_seconds
        self.add(LOGIN_PROMPT, passed=True, actual=f"a login prompt after {shown:.1f} s", seconds=shown)
        problems = running.console.problems()
        self.add(CONSOLE_CLEAN, passed=not problems, actual="\n".join(problems) or "no line that tells of one")
        return session

    async def ask(self, running: Machine, session: ssh.Session, checks: Sequence[CommandCheck]) -> None:
        """Put all questions to the guest over one connection. The first is answered before the others are asked."""
        each = self.limit(COMMAND_SECONDS)
        answers = self._ask_all(running, session, checks)
        await running.until(answers, each * (len(checks) + 1), "the answers of the guest", answers=True)

    async def _ask_all(self, running: Machine, session: ssh.Session, checks: Sequence[CommandCheck]) -> None:
        first, *others = checks
        gate = asyncio.Semaphore(CONCURRENCY)
        await self._ask_one(running, session, first, gate)
        async with asyncio.TaskGroup() as group:
            for check in others:
                group.create_task(self._ask_one(running, session, check, gate))

    async def _ask_one(
        self, running: Machine, session: ssh.Session, check: CommandCheck, gate: asyncio.Semaphore
    ) -> None:
        if check.skip:
            self.results.append(skipped(check, self.name, check.skip))
            return
        async with gate:
            started = time.monotonic()
            try:
                answer = await session.run(shell_line(check), self.limit(COMMAND_SECONDS))
            except BootError as error:
                seconds = time.monotonic() - started
                failed = command_result(check, self.name, passed=False, actual=error.message, seconds=seconds)
                self.results.append(failed)
                return
        running.answered()
        self.results.append(judge(check, self.name, answer))
        if check.id == MACHINE_ID.id:
            self.machine_id = answer.stdout.strip()

    async def attempt(self, running: Machine, check: Check, trial: Awaitable[tuple[bool, str]]) -> None:
        """Record what a trial found: whether it passed, and what it saw. One that cannot be made has failed."""
        started = running.elapsed()
        try:
            passed, actual = await running.until(trial, self.limit(TRIAL_SECONDS), check.title)
        except BootError as error:
            passed, actual = False, error.message
        self.add(check, passed=passed, actual=actual, seconds=running.elapsed() - started)

    async def shut_down(self, running: Machine, session: ssh.Session) -> None:
        """Power the guest off as a person would, and see QEMU end by itself."""
        before = running.elapsed()
        # The connection breaks while the command runs; what counts is how QEMU ends.
        command = asyncio.ensure_future(session.run("sudo -n shutdown now", self.limit(SHUTDOWN_SECONDS)))
        try:
            ended = await running.powered_off(self.limit(SHUTDOWN_SECONDS))
        except BootError as error:
            self.add(SHUTDOWN, passed=False, actual=f"{error.message}\n{error.details}".strip())
            return
        finally:
            command.cancel()
            await asyncio.gather(command, return_exceptions=True)
        # Without a monitor nobody tells the reason.
        by_guest = ended.guest and ended.reason == "guest-shutdown" if ended.reason else True
        self.add(
            SHUTDOWN,
            passed=by_guest and ended.exit_code == 0,
            actual=f"{ended.reason or 'no monitor to tell the reason'}, exit code {ended.exit_code}",
            seconds=running.elapsed() - before,
        )

    def finish(self, planned: Sequence[Check | CommandCheck], spec: BootShape, error: BootError | None) -> BootOutcome:
        """Everything this boot left behind, in the order of the plan; what it did not reach is skipped."""
        if error is not None:
            words = "\n".join(filter(None, [error.message, error.details]))
            # The image may have come up and been lost later; the report must show a failure either way.
            self.results = [done for done in self.results if done.id != CAME_UP.id]
            self.add(CAME_UP, passed=False, actual=words)
            self.results += not_reached(planned, self.results, self.name, f"not reached: {error.message}")
        order = {check.id: number for number, check in enumerate(planned)}
        self.results.sort(key=lambda done: order[done.id])
        boot = BootResult(
            name=self.name,
            memory_mib=spec.memory_mib,
            cpus=spec.cpus,
            login_prompt_seconds=_rounded(self.login_prompt_seconds),
            ssh_seconds=_rounded(self.ssh_seconds),
            total_seconds=round(self.total_seconds, 2),
        )
        known = self.machine_id and self.host_key
        return BootOutcome(
            result=boot,
            checks=tuple(self.results),
            identity=Identity(machine_id=self.machine_id, host_key=self.host_key) if known else None,
            console=self.console.text if self.console else "",
            error=error,
        )


def shell_line(check: CommandCheck) -> str:
    """What is sent to the guest: every part of a pipeline must succeed, not only its last."""
    return f"{'sudo -n ' if check.root else ''}bash -o pipefail -c {shlex.quote(check.command)}"


def _rounded(seconds: float | None) -> float | None:
    return None if seconds is None else round(seconds, 2)
