"""Running a `run:` step as the runner does, in a folder that is the job's whole machine."""

import contextlib
import os
import re
import signal
import subprocess
import threading
import uuid
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path

# What the runner waits after each signal: https://docs.github.com/en/actions/reference/workflow-cancellation-reference
SIGNALS = ((signal.SIGINT, 7.5), (signal.SIGTERM, 2.5), (signal.SIGKILL, 60.0))
COMMAND = re.compile(r"^::(add-mask|error|warning)[^:]*::(.*)$", re.MULTILINE)

# How the runner starts a step's script: `shell: bash` is stricter than no shell at all.
SHELLS = {None: ["bash", "-e"], "bash": ["bash", "--noprofile", "--norc", "-eo", "pipefail"]}


@dataclass(slots=True, kw_only=True)
class Files:
    """The files through which a step hands things on."""

    folder: Path
    step: str = field(default_factory=lambda: uuid.uuid4().hex)

    def environment(self) -> dict[str, str]:
        names = ("OUTPUT", "ENV", "PATH", "STEP_SUMMARY", "STATE")
        for name in names:
            self.path(name).touch()
        return {f"GITHUB_{name}": str(self.path(name)) for name in names}

    def path(self, name: str) -> Path:
        return self.folder / f"{name.lower()}-{self.step}"

    def values(self, name: str) -> dict[str, str]:
        """Read GITHUB_OUTPUT or GITHUB_ENV."""
        result: dict[str, str] = {}
        lines = iter(self.path(name).read_text(encoding="utf-8").splitlines())
        for line in lines:
            key, here, end = line.partition("<<")
            if here:
                result[key] = "\n".join(iter(lambda: next(lines), end))
            elif line:
                key, _, result[key] = line.partition("=")
        return result


@dataclass(frozen=True, slots=True, kw_only=True)
class Ended:
    """A step's script that came to its end."""

    code: int
    log: str
    cancelled: bool

    @property
    def masks(self) -> list[str]:
        return [value for name, value in COMMAND.findall(self.log) if name == "add-mask"]


def run_script(
    script: str,
    *,
    shell: str | None,
    folder: Path,
    scratch: Path,
    environment: Mapping[str, str],
    timeout: float,
    cancel: Callable[[str], bool],
) -> Ended:
    """Run a step's script. Once `cancel` holds for its log so far, it is cancelled as the runner would cancel it."""
    file = scratch / f"{uuid.uuid4().hex}.sh"
    file.write_text(script, encoding="utf-8")
    with subprocess.Popen(
        [*SHELLS[shell], str(file)],
        cwd=folder,
        env=dict(environment),
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        errors="replace",
        start_new_session=True,
    ) as process:
        deadline = threading.Timer(timeout, _end, [process])
        deadline.start()
        cancelled = False
        lines: list[str] = []
        try:
            for line in _lines(process):
                lines.append(line)
                if not cancelled and cancel("".join(lines)):
                    cancelled = True
                    threading.Thread(target=_end, args=[process]).start()
            code = process.wait()
        finally:
            deadline.cancel()
            _kill_rest(process)
    return Ended(code=code, log="".join(lines), cancelled=cancelled)


def _lines(process: "subprocess.Popen[str]") -> Iterator[str]:
    if process.stdout is None:
        raise RuntimeError("the process has a pipe")
    yield from process.stdout


def _end(process: "subprocess.Popen[str]") -> None:
    """Signal only the step's own process, like the runner: what it started must be ended by it."""
    for number, seconds in SIGNALS:
        if process.poll() is None:
            process.send_signal(number)
            with contextlib.suppress(subprocess.TimeoutExpired):
                process.wait(seconds)


def _kill_rest(process: "subprocess.Popen[str]") -> None:
    with contextlib.suppress(ProcessLookupError):
        os.killpg(process.pid, signal.SIGKILL)
