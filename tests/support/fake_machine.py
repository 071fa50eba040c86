"""What the scenarios meet in their tests instead of QEMU and SSH."""

import asyncio
from collections.abc import Awaitable
from dataclasses import dataclass, field
from pathlib import Path
from types import SimpleNamespace
from typing import Any, Self, TypeVar

from ci.boot.vm.machine import Shutdown
from ci.boot.vm.qemu import ConsumerSpec, MachineSpec
from ci.boot.vm.ssh import CommandResult
from ci.host.errors import BootError

T = TypeVar("T")

POWERED_OFF = Shutdown(reason="guest-shutdown", exit_code=0)
PANIC = BootError("the kernel panicked", hint="Read the console.", details="last line of the console")


@dataclass
class FakeSession:
    """Answers `answers[command]`, or nothing; an answer that is an exception is raised."""

    answers: dict[str, str | Exception]
    host_key: str = "ssh-ed25519 AAAA"
    commands: list[str] = field(default_factory=list)

    async def run(self, command: str, _timeout: float) -> CommandResult:
        await asyncio.sleep(0)
        self.commands.append(command)
        answer = self.answers.get(command, "")
        if isinstance(answer, Exception):
            raise answer
        return CommandResult(exit_status=0, stdout=answer, stderr="", seconds=0.5)

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *_: object) -> None:
        pass


@dataclass
class FakeMachine:
    """A machine whose every step can be made to fail."""

    shutdown: Shutdown | BootError = POWERED_OFF
    login_error: Exception | None = None
    lost_at: str = ""
    console: Any = field(default_factory=lambda: SimpleNamespace(text="the console", problems=lambda: ()))
    keys: list[tuple[str, str]] = field(default_factory=list)
    specs: list[MachineSpec | ConsumerSpec] = field(default_factory=list)
    screenshots: list[Path] = field(default_factory=list)
    answers: int = 0
    ended: bool = False
    kept: int = 0
    disk_gib: int = 20
    disks: list[Path] = field(default_factory=list)

    def elapsed(self) -> float:
        return 12.345

    def answered(self) -> None:
        self.answers += 1

    async def until(self, awaitable: Awaitable[T], _timeout: float, what: str, *, answers: bool = False) -> T:
        before = self.answers
        done = await awaitable
        assert answers == (self.answers > before), "whoever expects answers must be told of each"
        if self.lost_at and self.lost_at in what:
            raise PANIC
        return done

    async def login_prompt(self, _timeout: float) -> float:
        if self.login_error:
            raise self.login_error
        return 10.0

    async def add_authorized_key(self, user: str, public_key: str, _timeout: float) -> None:
        self.keys.append((user, public_key))

    async def screenshot(self, path: Path) -> None:
        self.screenshots.append(path)

    async def until_ended(self) -> None:
        await asyncio.sleep(0)
        self.ended = True
        self.kept += 1

    async def enlarge_disk(self, gib: int) -> None:
        self.disk_gib = gib

    async def plug_in(self, disk: Path) -> None:
        self.disks.append(disk)

    async def powered_off(self, _timeout: float) -> Shutdown:
        if isinstance(self.shutdown, BootError):
            raise self.shutdown
        return self.shutdown


@dataclass
class World:
    """What the scenarios meet instead of QEMU and SSH."""

    machine: FakeMachine = field(default_factory=FakeMachine)
    session: FakeSession = field(default_factory=lambda: FakeSession(answers={}))
    methods: tuple[str, ...] = ("publickey",)
    accepted: set[tuple[str, str]] = field(default_factory=set)
    start_error: Exception | None = None
